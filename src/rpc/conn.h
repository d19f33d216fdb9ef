/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the RPC server: one connection, on one shard. */
#ifndef RPC_CONN_H
#define RPC_CONN_H

#include "base/log.h"
#include "io/stream.h"
#include "rpc/server.h"
#include "rpc/wire.h"

struct rpc_shard {
	struct rpc_server *server;
	const struct rpc_server_opts *opts; /* constant */
	struct rx_budget *rx_budget;	    /* the server's */
	struct loop *loop;
	/* the shard's */
	struct list conns;
	struct log_rate malformed_rate;
	struct mbox_msg msg;
};

struct rpc_conn {
	/* constant after accept */
	struct rpc_shard *shard;
	int fd;
	char peer[ADDR_TEXT_LEN];
	void (*gone)(struct mbox_msg *msg); /* on the listener's loop */
	/* shard to listener's loop and back */
	struct mbox_msg msg;

	/* the shard's */
	struct list node;
	struct stream stream;
	struct rx rx;
	struct iovec rx_iov;
	struct timer idle;
	uint64_t heard_ns;
	unsigned in_flight;  /* requests from parse until release */
	struct list spare;   /* requests to use again */
	struct list answers; /* encoded, to be sent */
	struct list sending; /* in the send under way */
	unsigned spare_count;
	bool is_reading, is_sending, is_parsing, is_closed, is_last;
};

void rconn_start(struct rpc_conn *conn);
/* From any state; the connection reports itself gone later. */
void rconn_close(struct rpc_conn *conn);

#endif
