/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RPC server: listener and shards.  The server's own fields belong to the
 * listener's loop; a connection belongs to its shard and comes back by message
 * when it has ended.
 *
 * Invariant: conn_count counts connections from accept until that message.
 */
#include "rpc/server.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "io/listener.h"
#include "rpc/conn.h"

#define MAX_CONNECTIONS 4096
#define MAX_IN_FLIGHT	256
#define MAX_RX_BYTES	((uint64_t)1 << 30)

struct rpc_server {
	struct rpc_server_opts opts;
	struct listener listener;
	struct rpc_shard *shards;
	unsigned shard_count;
	unsigned next_shard;
	unsigned conn_count;
	unsigned shards_open; /* while closing */
	uint64_t refused;
	struct rx_budget rx_budget; /* the shards' */
	bool is_closing, is_listener_closed;
	void (*close_done)(void *arg);
	void *close_arg;
};

static void server_free(struct rpc_server *rs)
{
	free(rs->shards);
	free(rs);
}

static void server_try_finish(struct rpc_server *rs)
{
	if (!rs->is_closing || !rs->is_listener_closed || rs->shards_open ||
	    rs->conn_count)
		return;
	rs->close_done(rs->close_arg);
	server_free(rs);
}

/* --- connections come and go --- */

static void server_conn_gone(struct mbox_msg *msg)
{
	struct rpc_conn *conn = container_of(msg, struct rpc_conn, msg);
	struct rpc_server *rs = conn->shard->server;

	rs->conn_count--;
	free(conn);
	server_try_finish(rs);
}

static void server_conn_start(struct mbox_msg *msg)
{
	rconn_start(container_of(msg, struct rpc_conn, msg));
}

static void server_accept(struct listener *l, int fd, const struct addr *peer)
{
	struct rpc_server *rs = l->arg;
	struct rpc_conn *conn = NULL;
	uint32_t limit = rs->opts.max_connections;

	if (rs->conn_count < limit)
		conn = calloc(1, sizeof(*conn));
	if (!conn) {
		/* Powers of two: a storm must not fill the log. */
		rs->refused++;
		if (IS_POW2(rs->refused))
			log_warn("rpc connection refused: too many",
				 "connections=%u limit=%u refused=%llu",
				 rs->conn_count, limit,
				 (unsigned long long)rs->refused);
		io_close(l->loop, fd);
		return;
	}
	rs->conn_count++;
	conn->shard = &rs->shards[rs->next_shard++ % rs->shard_count];
	conn->fd = fd;
	addr_format(peer, conn->peer);
	conn->gone = server_conn_gone;
	conn->msg.run = server_conn_start;
	loop_post(conn->shard->loop, &conn->msg);
}

/* --- open and close --- */

static int server_make_shards(struct rpc_server *rs)
{
	unsigned count = MAX(rs->opts.shard_count, 1u);

	rs->shards = calloc(count, sizeof(*rs->shards));
	if (!rs->shards)
		return -ENOMEM;
	rs->shard_count = count;
	for (unsigned i = 0; i < count; i++) {
		struct rpc_shard *shard = &rs->shards[i];

		shard->server = rs;
		shard->opts = &rs->opts;
		shard->rx_budget = &rs->rx_budget;
		shard->loop = rs->opts.shard_count ? rs->opts.shards[i]
						   : rs->opts.loop;
		list_init(&shard->conns);
	}
	return 0;
}

int rpc_server_open(const struct rpc_server_opts *opts, struct addr *bound,
		    struct rpc_server **out, struct err *err)
{
	struct rpc_server *rs = calloc(1, sizeof(*rs));
	int ret = -ENOMEM;

	*out = NULL;
	if (!rs)
		return err_set(err, ret, "out of memory");
	rs->opts = *opts;
	if (!rs->opts.max_connections)
		rs->opts.max_connections = MAX_CONNECTIONS;
	if (!rs->opts.max_in_flight)
		rs->opts.max_in_flight = MAX_IN_FLIGHT;
	rs->rx_budget.limit =
		opts->max_rx_bytes ? opts->max_rx_bytes : MAX_RX_BYTES;
	ret = server_make_shards(rs);
	if (ret < 0) {
		err_set(err, ret, "out of memory");
		goto fail;
	}
	ret = listener_open(&rs->listener, opts->loop, &opts->addr,
			    server_accept, rs, err);
	if (ret < 0)
		goto fail;
	if (bound)
		*bound = rs->listener.local;
	*out = rs;
	return 0;
fail:
	server_free(rs);
	return ret;
}

static void server_shard_closed(struct mbox_msg *msg)
{
	struct rpc_shard *shard = container_of(msg, struct rpc_shard, msg);
	struct rpc_server *rs = shard->server;

	rs->shards_open--;
	server_try_finish(rs);
}

static void server_shard_close(struct mbox_msg *msg)
{
	struct rpc_shard *shard = container_of(msg, struct rpc_shard, msg);
	struct rpc_conn *conn;

	/* Closing is asynchronous, so no connection leaves the list here. */
	list_for_each (conn, &shard->conns, node)
		rconn_close(conn);
	msg->run = server_shard_closed;
	loop_post(shard->opts->loop, msg);
}

static void server_listener_closed(struct listener *l)
{
	struct rpc_server *rs = l->arg;

	rs->is_listener_closed = true;
	rs->shards_open = rs->shard_count;
	for (unsigned i = 0; i < rs->shard_count; i++) {
		rs->shards[i].msg.run = server_shard_close;
		loop_post(rs->shards[i].loop, &rs->shards[i].msg);
	}
}

void rpc_server_close(struct rpc_server *rs, void (*done)(void *arg), void *arg)
{
	ASSERT(!rs->is_closing);
	rs->is_closing = true;
	rs->close_done = done;
	rs->close_arg = arg;
	listener_close(&rs->listener, server_listener_closed);
}
