/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the client library: one client of one master.
 *
 * Threads: the control shard has the connection to the master, its pings and
 * the mounting of the memory segment; the volumes' workers move bytes; the
 * segment's shard serves it to others.  An API call runs in the caller's
 * thread and waits at gates for what it asked of the others.
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "base/status.h"
#include "base/uuid.h"
#include "client/conf.h"
#include "client/latency.h"
#include "client/memreg.h"
#include "client/segment.h"
#include "client/stats.h"
#include "client/task.h"
#include "io/thread.h"
#include "pool/vol.h"
#include "rpc/client.h"

enum mount_state {
	MOUNT_NONE, /* not mounted, or the master forgot it */
	MOUNT_ASKED,
	MOUNT_DONE,
	MOUNT_RENEWING, /* it gets another id */
};

/* Second reads, hedge.h. */
struct hedges {
	pthread_mutex_t mu;
	struct bell idle;
	unsigned count; /* under way, orphans included */
	uint64_t bytes; /* of them */
};

struct client {
	/* constant after open */
	struct client_conf conf;
	struct uuid id;
	char name[HOST_TEXT_LEN + 8]; /* host:port, the segment's name */
	char host[HOST_TEXT_LEN];
	int port_fd; /* keeps the port ours when nothing listens on it, or -1 */
	struct addr master;
	struct shard ctl;
	struct vol_set *vols;
	struct segment segment; /* mem NULL: none */

	/* any thread */
	struct memreg memreg;
	struct stats stats;
	_Atomic(uint64_t) puts_begun; /* keys of all PutStarts */
	struct tasks tasks;
	struct latency latency;
	struct hedges hedges;

	/* the control shard's */
	struct rpc_client *rpc;
	struct timer ping_timer;
	uint32_t ping_ms;
	uint64_t instance;
	struct rpc_call ping;
	Mc__PingReq ping_req;
	ProtobufCBinaryData ping_segment;
	bool is_pinging;
	enum mount_state mount;
	struct rpc_call mount_call;
	Mc__MountReq mount_req;
	Mc__Segment mount_segment;
	char *mount_endpoints[1];
	bool is_asked;	   /* for this id, at least once */
	bool is_forgotten; /* by the master: it needs another id */
	struct vol_detach detach;
	struct mbox_msg renewed;
	int renew_ret;
	bool is_closing;
	Mc__UnmountReq unmount_req;
	void (*stop_done)(void *arg);
	void *stop_arg;

	/* set-up: under the gate */
	struct gate ready; /* opened once */
	bool is_ready;	   /* the gate was opened; the control shard's */
	struct err ready_err;
	enum mooncake_status ready_status;
};

/* Blocks until connected and mounted, at most conf's connect timeout.  OK, or
 * a status with a sentence. */
enum mooncake_status client_open(const struct client_conf *conf,
				 struct client **out, struct err *err);
/* No call may be under way.  NULL is fine. */
void client_close(struct client *c);

static inline ProtobufCBinaryData client_id_bytes(struct client *c)
{
	return (ProtobufCBinaryData){sizeof(c->id.b), c->id.b};
}

/* --- hedge.c --- */
void hedges_init(struct hedges *h);
/* Waits for those that nobody else waits for any more. */
void hedges_stop(struct hedges *h);
void hedges_fini(struct hedges *h);

/* --- session.c: on the control shard --- */
int session_start(struct client *c); /* -ENOMEM */
/* Unmounts (waits a little for the answer), then done. */
void session_stop(struct client *c, void (*done)(void *arg), void *arg);

#endif
