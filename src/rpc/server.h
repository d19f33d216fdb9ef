/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RPC server: a listener and its connections, spread over network shards.
 * Handlers run on the connection's shard and answer then or later; a request
 * may travel to another shard through its embedded message and come back.
 */
#ifndef RPC_SERVER_H
#define RPC_SERVER_H

#include "io/loop.h"
#include "proto/codec.h"

struct rpc_server;

struct rpc_req {
	struct mbox_msg msg; /* free for the handler's use */
	struct loop *loop;   /* the connection's shard */
	uint16_t method;
	const ProtobufCMessage *body; /* in arena */
	struct arena arena;	      /* build the answer here as well */
	uint64_t deadline_ns;	      /* monotonic; late answers are dropped */
	uint64_t received_ns;
	/* private */
	struct rpc_conn *conn;
	uint64_t id;
	struct list node;
	uint8_t *out; /* encoded answer, in arena */
	uint32_t out_len;
};

typedef void (*rpc_handler_fn)(struct rpc_req *req, void *arg);

struct rpc_server_opts {
	struct loop *loop;    /* the listener's */
	struct loop **shards; /* for connections; 0 = the listener's loop */
	unsigned shard_count;
	struct addr addr;
	rpc_handler_fn handler;
	void *arg;
	uint32_t max_connections; /* 0 = 4096 */
	uint32_t max_in_flight;	  /* requests per connection, 0 = 256 */
	uint32_t idle_timeout_ms; /* 0 = none */
	/* Receive buffers of all connections; who would need more than is left
	 * is disconnected.  0 = 1 GiB */
	uint64_t max_rx_bytes;
};
int rpc_server_open(const struct rpc_server_opts *opts, struct addr *bound,
		    struct rpc_server **out, struct err *err);
/* From any thread, once per request.  rsp NULL with a status = no message.
 * The encoding happens inside; req is gone afterwards. */
void rpc_reply(struct rpc_req *req, int32_t status,
	       const ProtobufCMessage *rsp);
/* The same in two steps, for answers that have to wait for something: between
 * them node is the caller's, and rpc_reply() may still say something else. */
void rpc_encode(struct rpc_req *req, int32_t status,
		const ProtobufCMessage *rsp);
void rpc_send(struct rpc_req *req);
/* On the listener's loop; open requests are answered or dropped first. */
void rpc_server_close(struct rpc_server *rs, void (*done)(void *arg),
		      void *arg);

#endif
