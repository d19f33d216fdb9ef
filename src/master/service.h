/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata shard: the core, its clock and timers, and who waits for it.
 *
 * Requests come by mailbox from the network shards, are answered with
 * rpc_reply(), and never hold the shard for long: long walks are cut into
 * slices, and puts that need resting space are parked.
 */
#ifndef MASTER_SERVICE_H
#define MASTER_SERVICE_H

#include "io/loop.h"
#include "master/core.h"
#include "master/keeper.h"
#include "pool/vol.h"
#include "rpc/server.h"

struct service_opts {
	struct core_opts core;
	const char *cluster_id; /* outlives the service */
	uint64_t owner_key;	/* of this life, pool/owner.h; 0 = none */
	uint64_t probe_interval_ns;
	uint32_t probe_timeout_ms;
	bool has_summary;		   /* log it every 10 s */
	const struct keeper_opts *journal; /* NULL: nothing is kept */
};

struct service {
	/* constant after open */
	struct service_opts opts;
	struct loop *loop;
	struct vol_set *vols; /* NULL: no pool segments (tests) */
	uint64_t instance;    /* changes with every start */
	uint64_t started_ns;
	/* More than this objects don't take of an answer, but for the last. */
	size_t answer_bytes;

	/* the shard's */
	struct core *core;
	struct keeper *keeper;		   /* NULL: no journal */
	uint64_t recovery_ns, snapshot_ns; /* how long it took; the last one */
	struct list parked;		   /* struct put_job, rpc_put.c */
	struct list slices;		   /* struct slice */
	struct list mounts;		   /* struct nof_mount, mount_nof.c */
	struct list releases;		   /* struct release, release.c */
	struct timer park_timer, evict_timer, client_timer, abandon_timer;
	struct timer summary_timer;
	struct loop_task slice_task, reap_task;
	unsigned vol_ops; /* probes and labels under way */
	bool is_stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;
	struct stats summary_stats; /* at the last summary */
	uint64_t summary_ns;
};

int service_open(struct loop *loop, const struct service_opts *opts,
		 struct vol_set *vols, struct service **out, struct err *err);
/* From the shard: parked requests are answered, probes are waited for, then
 * done runs. */
void service_stop(struct service *svc, void (*done)(void *arg), void *arg);
/* After it has stopped; NULL is fine. */
void service_destroy(struct service *svc);

/* rpc_handler_fn: from any thread; arg is the service. */
void service_handle(struct rpc_req *req, void *arg);

/* --- for the files that answer --- */

/* Work in slices: step() does a few hundred microseconds of it and returns
 * false when it has finished (the slice is then its own again). */
struct slice {
	struct list node;
	bool (*step)(struct service *svc, struct slice *slice);
};
void service_slice(struct service *svc, struct slice *slice);

/* The clock goes on; every entry into the core begins with this. */
struct core *service_enter(struct service *svc);
/* Space was taken: is the watermark passed, and does nobody end the put? */
void service_space_taken(struct service *svc);
/* A segment is on its way out. */
void service_reap(struct service *svc);
/* A client was seen: the expiry timer must run. */
void service_client_seen(struct service *svc);
/* A probe or label has ended. */
void service_vol_op_done(struct service *svc);
/* Something that the end waits for has ended. */
void service_try_stopped(struct service *svc);
/* As rpc_reply(), when what the answer says can't be lost any more. */
void service_reply(struct service *svc, struct rpc_req *req, int32_t status,
		   const ProtobufCMessage *rsp);
/* Status only, for a message that has a status field or none. */
void service_refuse(struct rpc_req *req, enum mooncake_status st);

typedef void (*service_method_fn)(struct service *svc, struct rpc_req *req);
/* rpc_put.c */
void rpc_put_start(struct service *svc, struct rpc_req *req);
void rpc_put_end(struct service *svc, struct rpc_req *req);
void rpc_put_revoke(struct service *svc, struct rpc_req *req);
void rpc_put_run_parked(struct service *svc); /* those that are due, or all */
/* rpc_get.c */
void rpc_get(struct service *svc, struct rpc_req *req);
void rpc_exist(struct service *svc, struct rpc_req *req);
void rpc_report(struct service *svc, struct rpc_req *req);
/* What a client says of a replica or its segment. */
enum mooncake_status rpc_take_report(struct service *svc,
				     const struct uuid *client,
				     const Mc__ReportItem *item);
/* rpc_remove.c */
void rpc_remove(struct service *svc, struct rpc_req *req);
void rpc_remove_by_regex(struct service *svc, struct rpc_req *req);
void rpc_remove_all(struct service *svc, struct rpc_req *req);
/* rpc_list.c */
void rpc_list_keys(struct service *svc, struct rpc_req *req);
void rpc_stats(struct service *svc, struct rpc_req *req);
/* rpc_segment.c */
void rpc_hello(struct service *svc, struct rpc_req *req);
void rpc_ping(struct service *svc, struct rpc_req *req);
void rpc_mount(struct service *svc, struct rpc_req *req);
void rpc_unmount(struct service *svc, struct rpc_req *req);
void rpc_list_segments(struct service *svc, struct rpc_req *req);
void rpc_unmount_gone(struct segment *seg, void *arg);
/* rpc_drain.c */
void rpc_drain(struct service *svc, struct rpc_req *req);
/* rpc_tasks.c */
void rpc_tasks(struct service *svc, struct rpc_req *req);

#endif
