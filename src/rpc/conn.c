/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's connection; its shard's thread, but for rpc_reply() which encodes
 * where it is called and posts the request home.
 *
 * Invariant: in_flight = requests that a handler has, wait in answers or are in
 * sending; reading stops at max_in_flight, and the connection is gone when its
 * stream is closed and in_flight is 0.
 */
#include "rpc/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "base/time.h"

#define SPARE_MAX	    16
#define SPARE_ARENA_MAX	    ((size_t)256 << 10)
#define DEFAULT_DEADLINE_MS 60000

static void conn_read(struct rpc_conn *conn);
static void conn_flush(struct rpc_conn *conn);

/* --- the end --- */

static void conn_try_gone(struct rpc_conn *conn)
{
	struct loop *home = conn->shard->opts->loop;

	if (!conn->is_closed || conn->in_flight)
		return;
	while (!list_is_empty(&conn->spare)) {
		struct rpc_req *req;

		req = list_first(&conn->spare, struct rpc_req, node);
		list_del(&req->node);
		arena_fini(&req->arena);
		free(req);
	}
	rx_fini(&conn->rx);
	list_del(&conn->node);
	conn->msg.run = conn->gone;
	loop_post(home, &conn->msg);
}

static void req_release(struct rpc_req *req)
{
	struct rpc_conn *conn = req->conn;

	list_del(&req->node);
	conn->in_flight--;
	if (conn->spare_count < SPARE_MAX &&
	    req->arena.used < SPARE_ARENA_MAX) {
		conn->spare_count++;
		list_add_head(&conn->spare, &req->node);
		return;
	}
	arena_fini(&req->arena);
	free(req);
}

static void conn_release_all(struct list *reqs)
{
	while (!list_is_empty(reqs))
		req_release(list_first(reqs, struct rpc_req, node));
}

static void conn_stream_closed(struct stream *s)
{
	struct rpc_conn *conn = s->arg;

	conn_release_all(&conn->sending);
	conn_release_all(&conn->answers);
	conn->is_closed = true;
	conn_try_gone(conn);
}

void rconn_close(struct rpc_conn *conn)
{
	if (conn->is_closed)
		return;
	timer_cancel(conn->shard->loop, &conn->idle);
	stream_close(&conn->stream, conn_stream_closed);
}

/* --- answering --- */

static void conn_send_done(struct stream *s, int res)
{
	struct rpc_conn *conn = s->arg;

	conn->is_sending = false;
	conn_release_all(&conn->sending);
	if (!stream_is_open(s))
		return;
	if (res < 0 || (conn->is_last && list_is_empty(&conn->answers))) {
		rconn_close(conn);
		return;
	}
	conn_flush(conn);
	conn_read(conn);
}

static void conn_flush(struct rpc_conn *conn)
{
	struct iovec iov[RPC_TX_BATCH];
	unsigned n = 0;

	if (conn->is_sending || conn->is_parsing ||
	    !stream_is_open(&conn->stream))
		return;
	while (n < RPC_TX_BATCH && !list_is_empty(&conn->answers)) {
		struct rpc_req *req =
			list_first(&conn->answers, struct rpc_req, node);

		list_del(&req->node);
		list_add_tail(&conn->sending, &req->node);
		iov[n++] = (struct iovec){req->out, req->out_len};
	}
	if (n == 0)
		return;
	conn->is_sending = true;
	stream_send(&conn->stream, iov, n, conn_send_done);
}

static void conn_take_answer(struct rpc_req *req)
{
	struct rpc_conn *conn = req->conn;
	bool is_late = loop_now_ns(req->loop) > req->deadline_ns;

	if (conn->is_closed) {
		req_release(req);
		conn_try_gone(conn); /* conn may be freed from here on */
		return;
	}
	if (is_late || !req->out || !stream_is_open(&conn->stream)) {
		req_release(req);
		conn_read(conn);
		return;
	}
	list_add_tail(&conn->answers, &req->node);
	conn_flush(conn);
}

static void conn_answer_posted(struct mbox_msg *msg)
{
	conn_take_answer(container_of(msg, struct rpc_req, msg));
}

void rpc_encode(struct rpc_req *req, int32_t status,
		const ProtobufCMessage *rsp)
{
	int ret;

	ASSERT(!rsp || codec_response(req->method) == rsp->descriptor);
	ret = wire_encode(&req->arena, rsp, &req->out, &req->out_len);
	if (ret == -EMSGSIZE) {
		log_err("rpc answer is too large",
			"method=%s limit=%u: ask for fewer keys at once",
			method_name(req->method), FRAME_BODY_MAX);
		status = MOONCAKE_BUFFER_OVERFLOW;
		ret = wire_encode(&req->arena, NULL, &req->out, &req->out_len);
	}
	if (ret < 0)
		req->out = NULL; /* out of memory: it will time out */
	else
		wire_set_header(req->out, (struct frame){
						  .type = FRAME_RESPONSE,
						  .method = req->method,
						  .id = req->id,
						  .status = status,
					  });
}

void rpc_send(struct rpc_req *req)
{
	if (loop_is_owner(req->loop)) {
		conn_take_answer(req);
		return;
	}
	req->msg.run = conn_answer_posted;
	loop_post(req->loop, &req->msg);
}

void rpc_reply(struct rpc_req *req, int32_t status, const ProtobufCMessage *rsp)
{
	rpc_encode(req, status, rsp);
	rpc_send(req);
}

/* --- reading --- */

static struct rpc_req *conn_take_req(struct rpc_conn *conn)
{
	struct rpc_req *req;

	if (list_is_empty(&conn->spare)) {
		req = calloc(1, sizeof(*req));
		if (!req)
			return NULL;
		arena_init(&req->arena, 0);
	} else {
		req = list_first(&conn->spare, struct rpc_req, node);
		list_del(&req->node);
		conn->spare_count--;
		arena_reset(&req->arena);
	}
	list_init(&req->node);
	req->conn = conn;
	req->loop = conn->shard->loop;
	req->out = NULL;
	req->body = NULL;
	conn->in_flight++;
	return req;
}

static int conn_dispatch(struct rpc_conn *conn, const struct frame *frame,
			 const uint8_t *body)
{
	const struct rpc_server_opts *opts = conn->shard->opts;
	const ProtobufCMessageDescriptor *desc;
	struct rpc_req *req = conn_take_req(conn);
	uint32_t left_ms = frame->deadline_ms;

	if (!req)
		return -ENOMEM;
	req->method = frame->method;
	req->id = frame->id;
	req->received_ns = loop_now_ns(req->loop);
	req->deadline_ns =
		req->received_ns +
		(left_ms ? left_ms : DEFAULT_DEADLINE_MS) * NS_PER_MS;
	desc = codec_request(frame->method);
	if (!desc) {
		rpc_reply(req, MOONCAKE_NOT_SUPPORTED, NULL);
		return 0;
	}
	req->arena.limit = wire_unpack_limit(frame->body_len);
	req->body = codec_unpack(desc, &req->arena, body, frame->body_len);
	/* Of the request alone: the answer may be as large as it has to be. */
	req->arena.limit = 0;
	if (req->body)
		opts->handler(req, opts->arg);
	else
		rpc_reply(req, MOONCAKE_DESERIALIZE_FAIL, NULL);
	return 0;
}

/* Another release can at least read the header: tell it before we part. */
static void conn_refuse_version(struct rpc_conn *conn,
				const struct frame *frame)
{
	struct rpc_req *req = conn_take_req(conn);

	if (!req)
		return;
	req->method = frame->method;
	req->id = frame->id;
	req->deadline_ns = UINT64_MAX;
	conn->is_last = true;
	rpc_reply(req, MOONCAKE_INVALID_VERSION, NULL);
}

static void conn_fail(struct rpc_conn *conn, int ret, const struct err *err,
		      const struct frame *frame)
{
	uint32_t held_back;

	if (log_rate_take(&conn->shard->malformed_rate,
			  loop_now_ns(conn->shard->loop), &held_back))
		log_warn("rpc connection closed: malformed input",
			 "peer=%s error=\"%s\" held_back=%u", conn->peer,
			 err->text, held_back);
	if (ret == -EPROTONOSUPPORT) {
		conn_refuse_version(conn, frame);
		conn->is_parsing = false;
		conn_flush(conn);
	}
	/* Nothing on its way: not asked for, or no memory for the answer. */
	if (!conn->is_last || !conn->is_sending)
		rconn_close(conn);
}

static void conn_parse(struct rpc_conn *conn)
{
	uint32_t max = conn->shard->opts->max_in_flight;
	struct err err = {0};
	struct frame frame;
	const uint8_t *body;
	int ret = 0;

	conn->is_parsing = true;
	while (conn->in_flight < max && stream_is_open(&conn->stream)) {
		ret = rx_next(&conn->rx, &frame, &body, &err);
		if (ret == 1 && frame.type != FRAME_REQUEST)
			ret = err_set(&err, -EBADMSG, "a response was sent");
		if (ret == 1)
			ret = conn_dispatch(conn, &frame, body);
		else if (ret == 0)
			break;
		if (ret < 0)
			break;
	}
	conn->is_parsing = false;
	if (ret < 0) {
		err_set(&err, ret, "%s", strerror(-ret));
		conn_fail(conn, ret, &err, &frame);
		return;
	}
	conn_flush(conn);
}

static void conn_recv_done(struct stream *s, int res)
{
	struct rpc_conn *conn = s->arg;

	conn->is_reading = false;
	if (!stream_is_open(s))
		return;
	if (res <= 0) {
		rconn_close(conn);
		return;
	}
	conn->heard_ns = loop_now_ns(conn->shard->loop);
	conn->rx.tail += (size_t)res;
	conn_read(conn);
}

/* What is buffered first, then more, unless enough is under way: the peer's
 * socket fills up and the peer waits. */
static void conn_read(struct rpc_conn *conn)
{
	int ret;

	if (conn->is_reading || conn->is_last || conn->is_parsing ||
	    !stream_is_open(&conn->stream))
		return;
	conn_parse(conn);
	if (conn->is_last || !stream_is_open(&conn->stream) ||
	    conn->in_flight >= conn->shard->opts->max_in_flight)
		return;
	ret = rx_prepare(&conn->rx, &conn->rx_iov);
	if (ret < 0) {
		log_warn("rpc connection closed: no memory to receive into",
			 "peer=%s limit=%llu error=\"%s\"", conn->peer,
			 (unsigned long long)conn->shard->rx_budget->limit,
			 strerror(-ret));
		rconn_close(conn);
		return;
	}
	conn->is_reading = true;
	stream_recv(&conn->stream, &conn->rx_iov, 1, conn_recv_done);
}

/* --- starting and idling --- */

static void conn_idle(struct timer *timer)
{
	struct rpc_conn *conn = container_of(timer, struct rpc_conn, idle);
	uint64_t limit_ns = conn->shard->opts->idle_timeout_ms * NS_PER_MS;
	uint64_t now = loop_now_ns(conn->shard->loop);

	if (conn->in_flight == 0 && now - conn->heard_ns >= limit_ns)
		rconn_close(conn);
	else
		timer_set_at(conn->shard->loop, timer,
			     MAX(conn->heard_ns, now - limit_ns / 2) +
				     limit_ns);
}

void rconn_start(struct rpc_conn *conn)
{
	struct loop *loop = conn->shard->loop;
	const struct io_sockopts so = {.user_timeout_ms = RPC_USER_TIMEOUT_MS,
				       .keepalive_s = RPC_KEEPALIVE_S};
	uint32_t idle_ms = conn->shard->opts->idle_timeout_ms;

	list_init(&conn->spare);
	list_init(&conn->answers);
	list_init(&conn->sending);
	list_add_tail(&conn->shard->conns, &conn->node);
	stream_init(&conn->stream, loop, conn);
	stream_attach(&conn->stream, conn->fd);
	conn->rx.budget = conn->shard->rx_budget;
	io_set_sockopts(loop, conn->fd, &so);
	conn->heard_ns = loop_now_ns(loop);
	conn->idle.fire = conn_idle;
	if (idle_ms)
		timer_set(loop, &conn->idle, idle_ms * NS_PER_MS);
	conn_read(conn);
}
