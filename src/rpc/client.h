/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RPC client: one connection to the master, on one loop, kept open.
 *
 * Calls are pipelined.  While the master is away, calls wait for it until
 * their own deadline; the connection is tried again with jittered back-off.
 */
#ifndef RPC_CLIENT_H
#define RPC_CLIENT_H

#include "io/loop.h"
#include "proto/codec.h"

struct rpc_client;

struct rpc_client_opts {
	struct addr addr;
	/* The name that addr came from, NULL when from none; copied.  Asked
	 * again before each further attempt: a master may move. */
	const char *host;
	const char *version; /* said in HELLO; static storage */
	/* Called on the loop each time a HELLO was answered, or could not be
	 * (rsp NULL, err says why); may be NULL, may destroy the client. */
	void (*on_hello)(const Mc__HelloRsp *rsp, const struct err *err,
			 void *arg);
	void *arg;
};

/* Copies opts; starts connecting.  -ENOMEM. */
int rpc_client_create(struct loop *loop, const struct rpc_client_opts *opts,
		      struct rpc_client **out);
/* Outstanding calls end with -ECANCELED first. */
void rpc_client_destroy(struct rpc_client *rc, void (*done)(void *arg),
			void *arg);

struct rpc_call {
	void (*done)(struct rpc_call *call);
	uint16_t method;
	const ProtobufCMessage *req; /* encoded inside submit */
	uint32_t timeout_ms;	     /* > 0 */
	/*
	 * Result: 0; -ETIMEDOUT; -ECONNREFUSED and other errors of connecting
	 * (it never reached the master); -ECONNRESET (sent, the connection
	 * broke: it may have been done); -EPROTONOSUPPORT (another release);
	 * -EREMOTEIO (the server answered with status alone); -EBADMSG;
	 * -EMSGSIZE; -ECANCELED.
	 */
	int ret;
	int32_t status;	       /* Mooncake's number with -EREMOTEIO */
	ProtobufCMessage *rsp; /* lives until rpc_call_fini */
	/* private */
	struct arena arena;
	uint64_t id, deadline_ns, sent_ns;
	struct list node;
	struct timer timer;
	struct rpc_client *client;
	uint8_t *out; /* encoded, in arena */
	uint32_t out_len;
	int tx_slot; /* in the send under way, or -1 */
	bool is_sent;
};
/* A call with the fields above set; the rest need not be initialised. */
void rpc_call_submit(struct rpc_client *rc, struct rpc_call *call);
/* After done: frees the response. */
void rpc_call_fini(struct rpc_call *call);
bool rpc_client_is_connected(const struct rpc_client *rc);
/* Connection attempts that failed and connections that broke so far; any
 * thread. */
uint64_t rpc_client_failures(const struct rpc_client *rc);

/* For programs: a shard of its own, one call at a time, waits. */
struct rpc_sync;
int rpc_sync_open(const struct addr *addr, uint32_t timeout_ms,
		  struct rpc_sync **out, struct err *err);
/* To the master at HOST:PORT, port 50051 when absent.  That nobody is there is
 * told after 3 s, whatever timeout_ms is. */
int rpc_sync_dial(const char *address, uint32_t timeout_ms,
		  struct rpc_sync **out, struct err *err);
/* On success *rsp lives until the next call.  0, or -errno with a sentence
 * that names the address. */
int rpc_sync_call(struct rpc_sync *rs, uint16_t method,
		  const ProtobufCMessage *req, const ProtobufCMessage **rsp,
		  struct err *err);
void rpc_sync_close(struct rpc_sync *rs);

#endif
