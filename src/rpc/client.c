/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RPC client.  Everything runs on its loop.
 *
 * A call is in exactly one list: waiting (not sent yet), sent (the answer is
 * awaited) or ended (done is to be called by end_task).  Calls end inside
 * end_task or the receive handler only, never inside a public function.
 */
#include "rpc/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "io/resolve.h"
#include "io/stream.h"
#include "rpc/wire.h"

#define CONNECT_TIMEOUT_MS 3000
#define HELLO_TIMEOUT_MS   3000
#define DEAF_NS		   (2 * NS_PER_S)
#define BACKOFF_MIN_MS	   20
#define BACKOFF_MAX_MS	   2000

enum rc_state {
	RC_BACKOFF,    /* the timer starts the next attempt */
	RC_RESOLVING,  /* it has begun: where is the master now? */
	RC_CONNECTING, /* TCP */
	RC_HELLO,      /* the one call under way is hello */
	RC_READY,
	RC_DROPPING, /* the stream is closing, then RC_BACKOFF */
	RC_CLOSED,   /* destroy was called */
};

struct tx_slot {
	struct rpc_call *call; /* NULL: ended meanwhile, arena is kept here */
	struct arena arena;
};

struct rpc_client {
	struct loop *loop;
	struct rpc_client_opts opts;
	char addr_text[ADDR_TEXT_LEN];
	char host[HOST_TEXT_LEN]; /* "": addr is all there is */
	struct resolve *resolve;
	enum rc_state state;
	struct stream stream;
	struct rx rx;
	struct iovec rx_iov;
	struct timer backoff;
	uint32_t backoff_ms;
	struct rng rng;
	uint64_t next_id;
	_Atomic(uint64_t) failures; /* others read it */
	uint64_t heard_ns;	    /* last byte from the peer */
	int last_err;		    /* of connecting; 0 = none yet */
	bool has_logged;

	struct list waiting, sent, ended;
	struct loop_task end_task;
	unsigned slot_count; /* of the send under way */
	struct tx_slot slots[RPC_TX_BATCH];

	struct rpc_call hello;
	Mc__HelloReq hello_req;
	char hello_who[96];

	bool is_stream_closed; /* with RC_CLOSED */
	void (*destroy_done)(void *arg);
	void *destroy_arg;
};

static void rc_connect(struct rpc_client *rc);
static void rc_flush(struct rpc_client *rc);

/* --- the end of a call --- */

/* The bytes on their way out must outlive the call. */
static void call_leave_slot(struct rpc_client *rc, struct rpc_call *call)
{
	struct tx_slot *slot;

	if (call->tx_slot < 0)
		return;
	slot = &rc->slots[call->tx_slot];
	ASSERT(slot->call == call);
	slot->call = NULL;
	slot->arena = call->arena;
	arena_init(&call->arena, 0);
	call->tx_slot = -1;
}

static void call_end(struct rpc_client *rc, struct rpc_call *call, int ret)
{
	call_leave_slot(rc, call);
	timer_cancel(rc->loop, &call->timer);
	list_del(&call->node);
	call->ret = ret;
	list_add_tail(&rc->ended, &call->node);
	loop_defer(rc->loop, &rc->end_task);
}

static void rc_end_all(struct rpc_client *rc, struct list *calls, int ret)
{
	while (!list_is_empty(calls))
		call_end(rc, list_first(calls, struct rpc_call, node), ret);
}

static void rc_try_finish(struct rpc_client *rc)
{
	if (rc->state != RC_CLOSED || !rc->is_stream_closed || rc->resolve ||
	    !list_is_empty(&rc->ended))
		return;
	loop_undefer(rc->loop, &rc->end_task);
	rc->destroy_done(rc->destroy_arg);
	free(rc);
}

static void rc_run_ended(struct loop_task *task)
{
	struct rpc_client *rc = container_of(task, struct rpc_client, end_task);
	struct list batch;

	list_init(&batch);
	list_splice_tail(&batch, &rc->ended);
	while (!list_is_empty(&batch)) {
		struct rpc_call *call =
			list_first(&batch, struct rpc_call, node);

		list_del(&call->node);
		call->done(call);
	}
	rc_try_finish(rc);
}

/* --- losing the connection --- */

static void rc_stream_closed(struct stream *s)
{
	struct rpc_client *rc = s->arg;
	uint64_t wait_ms;

	for (unsigned i = 0; i < rc->slot_count; i++)
		if (!rc->slots[i].call)
			arena_fini(&rc->slots[i].arena);
	rc->slot_count = 0;
	rx_fini(&rc->rx);
	if (rc->state == RC_CLOSED) {
		rc->is_stream_closed = true;
		rc_try_finish(rc);
		return;
	}
	rc->state = RC_BACKOFF;
	/* Half fixed, half random: a hundred clients don't come at once. */
	wait_ms = rc->backoff_ms / 2 + rng_below(&rc->rng, rc->backoff_ms);
	rc->backoff_ms = MIN(rc->backoff_ms * 2, (uint32_t)BACKOFF_MAX_MS);
	timer_set(rc->loop, &rc->backoff, wait_ms * NS_PER_MS);
}

static void rc_drop(struct rpc_client *rc, int ret, const char *why)
{
	struct err err = {0};

	if (rc->state == RC_DROPPING || rc->state == RC_CLOSED)
		return;
	rc->failures++;
	if (!rc->has_logged) {
		log_warn("no connection to the master",
			 "master=%s error=\"%s\" (trying again)", rc->addr_text,
			 why);
		rc->has_logged = true;
	}
	rc->last_err = 0;
	if (rc->state != RC_READY) {
		rc->last_err = ret;
		err_set(&err, ret, "cannot reach the master at %s: %s",
			rc->addr_text, why);
	}
	rc->state = RC_DROPPING;
	rc_end_all(rc, &rc->sent, -ECONNRESET);
	if (ret == -EPROTONOSUPPORT)
		rc_end_all(rc, &rc->waiting, ret);
	stream_close(&rc->stream, rc_stream_closed);
	/* Last, because it may destroy the client. */
	if (err.code && rc->opts.on_hello)
		rc->opts.on_hello(NULL, &err, rc->opts.arg);
}

/* --- deadlines --- */

static void call_timeout(struct timer *timer)
{
	struct rpc_call *call = container_of(timer, struct rpc_call, timer);
	struct rpc_client *rc = call->client;
	uint64_t silent_ns =
		loop_now_ns(rc->loop) - MAX(rc->heard_ns, call->sent_ns);
	bool is_deaf = call->is_sent && silent_ns >= DEAF_NS;
	int ret = -ETIMEDOUT;

	if (!call->is_sent && rc->last_err)
		ret = rc->last_err;
	call_end(rc, call, ret);
	/* The host may be gone without a word: try another connection. */
	if (is_deaf)
		rc_drop(rc, -ETIMEDOUT, "no answer");
}

/* --- receiving --- */

static void rc_answer(struct rpc_client *rc, struct rpc_call *call,
		      const struct frame *frame, const uint8_t *body)
{
	struct arena *arena = &call->arena;

	call_leave_slot(rc, call);
	if (frame->status != 0) {
		call->status = frame->status;
		call->ret = -EREMOTEIO;
	} else {
		arena->limit = arena->used + wire_unpack_limit(frame->body_len);
		call->rsp = codec_unpack(codec_response(call->method), arena,
					 body, frame->body_len);
		call->ret = call->rsp ? 0 : -EBADMSG;
	}
	timer_cancel(rc->loop, &call->timer);
	list_del(&call->node);
	call->done(call);
}

static void rc_dispatch(struct rpc_client *rc, const struct frame *frame,
			const uint8_t *body)
{
	struct rpc_call *call;

	list_for_each (call, &rc->sent, node) {
		if (call->id != frame->id)
			continue;
		rc_answer(rc, call, frame, body);
		return;
	}
	/* Not found: its deadline passed before the answer came. */
}

static void rc_recv(struct rpc_client *rc);

static void rc_recv_done(struct stream *s, int res)
{
	struct rpc_client *rc = s->arg;
	struct err err = {0};
	struct frame frame;
	const uint8_t *body;
	int ret = 1;

	if (!stream_is_open(s))
		return;
	if (res <= 0) {
		ret = res < 0 ? res : -ECONNRESET;
		rc_drop(rc, ret,
			res < 0 ? strerror(-res) : "it closed the connection");
		return;
	}
	rc->heard_ns = loop_now_ns(rc->loop);
	rc->rx.tail += (size_t)res;
	while (stream_is_open(s)) {
		ret = rx_next(&rc->rx, &frame, &body, &err);
		if (ret == 1 && frame.type != FRAME_RESPONSE)
			ret = err_set(&err, -EBADMSG, "it sent a request");
		if (ret != 1)
			break;
		rc_dispatch(rc, &frame, body);
	}
	if (ret < 0)
		rc_drop(rc, ret, err.text);
	else if (stream_is_open(s))
		rc_recv(rc);
}

static void rc_recv(struct rpc_client *rc)
{
	int ret = rx_prepare(&rc->rx, &rc->rx_iov);

	if (ret < 0)
		rc_drop(rc, ret, strerror(-ret));
	else
		stream_recv(&rc->stream, &rc->rx_iov, 1, rc_recv_done);
}

/* --- sending --- */

static void rc_send_done(struct stream *s, int res)
{
	struct rpc_client *rc = s->arg;

	for (unsigned i = 0; i < rc->slot_count; i++) {
		if (rc->slots[i].call)
			rc->slots[i].call->tx_slot = -1;
		else
			arena_fini(&rc->slots[i].arena);
	}
	rc->slot_count = 0;
	if (!stream_is_open(s))
		return;
	if (res < 0)
		rc_drop(rc, res, strerror(-res));
	else
		rc_flush(rc);
}

static void rc_put_in_slot(struct rpc_client *rc, struct rpc_call *call,
			   struct iovec *iov)
{
	uint64_t now = loop_now_ns(rc->loop), left_ms = 1;

	if (call->deadline_ns > now)
		left_ms = (call->deadline_ns - now) / NS_PER_MS + 1;
	wire_set_header(call->out,
			(struct frame){
				.type = FRAME_REQUEST,
				.method = call->method,
				.id = call->id,
				.deadline_ms = (uint32_t)MIN(
					left_ms, (uint64_t)UINT32_MAX),
			});
	call->is_sent = true;
	call->sent_ns = now;
	call->tx_slot = (int)rc->slot_count;
	rc->slots[rc->slot_count].call = call;
	*iov = (struct iovec){call->out, call->out_len};
	rc->slot_count++;
	list_del(&call->node);
	list_add_tail(&rc->sent, &call->node);
}

static void rc_flush(struct rpc_client *rc)
{
	struct iovec iov[RPC_TX_BATCH];
	bool is_hello = rc->state == RC_HELLO;

	if (rc->slot_count > 0 || (rc->state != RC_READY && !is_hello))
		return;
	if (is_hello && !rc->hello.is_sent)
		rc_put_in_slot(rc, &rc->hello, iov);
	while (!is_hello && rc->slot_count < RPC_TX_BATCH &&
	       !list_is_empty(&rc->waiting))
		rc_put_in_slot(rc,
			       list_first(&rc->waiting, struct rpc_call, node),
			       &iov[rc->slot_count]);
	if (rc->slot_count > 0)
		stream_send(&rc->stream, iov, rc->slot_count, rc_send_done);
}

/* --- connecting --- */

static int call_prepare(struct rpc_client *rc, struct rpc_call *call)
{
	arena_init(&call->arena, 0);
	list_init(&call->node);
	call->timer = (struct timer){.fire = call_timeout};
	call->client = rc;
	call->id = ++rc->next_id;
	call->ret = 0;
	call->status = 0;
	call->rsp = NULL;
	call->tx_slot = -1;
	call->is_sent = false;
	call->deadline_ns =
		loop_now_ns(rc->loop) + call->timeout_ms * NS_PER_MS;
	return wire_encode(&call->arena, call->req, &call->out, &call->out_len);
}

static void rc_hello_answered(struct rpc_client *rc, const Mc__HelloRsp *rsp)
{
	char why[256];

	if (rsp->status != 0) {
		snprintf(why, sizeof(why),
			 "it speaks protocol %u (version %.40s), this program "
			 "%u (%.40s): use the same release on both sides",
			 rsp->protocol, rsp->version, PROTO_VERSION,
			 rc->opts.version);
		rc_drop(rc, -EPROTONOSUPPORT, why);
		return;
	}
	if (rc->has_logged)
		log_warn("connected to the master", "master=%s", rc->addr_text);
	rc->has_logged = false;
	rc->last_err = 0;
	rc->backoff_ms = BACKOFF_MIN_MS;
	rc->state = RC_READY;
	if (rc->opts.on_hello)
		rc->opts.on_hello(rsp, NULL, rc->opts.arg);
	rc_flush(rc);
}

static void rc_hello_done(struct rpc_call *call)
{
	struct rpc_client *rc = call->client;
	int ret = call->ret;

	if (rc->state == RC_HELLO) {
		if (ret == 0)
			rc_hello_answered(rc, (Mc__HelloRsp *)call->rsp);
		else if (ret == -EREMOTEIO)
			rc_drop(rc, -EPROTONOSUPPORT, "it refused the HELLO");
		else
			rc_drop(rc, ret, strerror(-ret));
	}
	rpc_call_fini(call);
}

static void rc_connected(struct stream *s, int res)
{
	struct rpc_client *rc = s->arg;
	int ret = res;

	if (rc->state != RC_CONNECTING)
		return;
	if (res < 0)
		goto fail;
	rc->state = RC_HELLO;
	rc->heard_ns = 0;
	rc->hello.done = rc_hello_done;
	rc->hello.method = METHOD_HELLO;
	rc->hello.req = &rc->hello_req.base;
	rc->hello.timeout_ms = HELLO_TIMEOUT_MS;
	ret = call_prepare(rc, &rc->hello);
	if (ret < 0)
		goto fail;
	timer_set_at(rc->loop, &rc->hello.timer, rc->hello.deadline_ns);
	rc_flush(rc);
	rc_recv(rc);
	return;
fail:
	rc_drop(rc, ret, strerror(-ret));
}

static void rc_connect(struct rpc_client *rc)
{
	const struct io_sockopts so = {.user_timeout_ms = RPC_USER_TIMEOUT_MS};

	rc->state = RC_CONNECTING;
	stream_connect(&rc->stream, &rc->opts.addr, CONNECT_TIMEOUT_MS, &so,
		       rc_connected);
}

static void rc_resolved(int ret, const struct addr *addr,
			const struct err *err, void *arg)
{
	struct rpc_client *rc = arg;

	rc->resolve = NULL;
	if (rc->state == RC_CLOSED) {
		rc_try_finish(rc);
		return;
	}
	/* Without an answer it is tried where it was. */
	if (ret == 0) {
		rc->opts.addr = *addr;
		addr_format(addr, rc->addr_text);
	}
	rc_connect(rc);
}

static void rc_backoff_over(struct timer *timer)
{
	struct rpc_client *rc = container_of(timer, struct rpc_client, backoff);

	if (rc->host[0])
		rc->resolve = resolve_start(
			rc->loop, &(struct resolve_req){
					  .host = rc->host,
					  .port = addr_port(&rc->opts.addr),
					  .timeout_ms = CONNECT_TIMEOUT_MS,
					  .done = rc_resolved,
					  .arg = rc,
				  });
	if (rc->resolve)
		rc->state = RC_RESOLVING;
	else
		rc_connect(rc);
}

/* --- public --- */

int rpc_client_create(struct loop *loop, const struct rpc_client_opts *opts,
		      struct rpc_client **out)
{
	struct rpc_client *rc = calloc(1, sizeof(*rc));
	char host[64] = "?";
	uint64_t seed;

	*out = NULL;
	if (!rc)
		return -ENOMEM;
	rc->loop = loop;
	rc->opts = *opts;
	addr_format(&opts->addr, rc->addr_text);
	snprintf(rc->host, sizeof(rc->host), "%s",
		 opts->host ? opts->host : "");
	list_init(&rc->waiting);
	list_init(&rc->sent);
	list_init(&rc->ended);
	rc->end_task.run = rc_run_ended;
	rc->backoff.fire = rc_backoff_over;
	rc->backoff_ms = BACKOFF_MIN_MS;
	rand_fill_os(&seed, sizeof(seed));
	rng_seed(&rc->rng, seed);
	gethostname(host, sizeof(host) - 1);
	snprintf(rc->hello_who, sizeof(rc->hello_who), "%s pid %d", host,
		 (int)getpid());
	mc__hello_req__init(&rc->hello_req);
	rc->hello_req.protocol = PROTO_VERSION;
	/* protobuf-c has no const in its structs; packing only reads. */
	rc->hello_req.version = (char *)(uintptr_t)opts->version;
	rc->hello_req.client = rc->hello_who;
	stream_init(&rc->stream, loop, rc);
	rc_connect(rc);
	*out = rc;
	return 0;
}

void rpc_client_destroy(struct rpc_client *rc, void (*done)(void *arg),
			void *arg)
{
	ASSERT(rc->state != RC_CLOSED);
	rc->destroy_done = done;
	rc->destroy_arg = arg;
	rc->state = RC_CLOSED;
	timer_cancel(rc->loop, &rc->backoff);
	if (rc->resolve && resolve_cancel(rc->resolve))
		rc->resolve = NULL; /* else rc_resolved() comes */
	rc_end_all(rc, &rc->sent, -ECANCELED);
	rc_end_all(rc, &rc->waiting, -ECANCELED);
	stream_close(&rc->stream, rc_stream_closed);
}

void rpc_call_submit(struct rpc_client *rc, struct rpc_call *call)
{
	int ret = call_prepare(rc, call);

	ASSERT(call->done && call->timeout_ms > 0);
	ASSERT(codec_request(call->method) == call->req->descriptor);
	list_add_tail(&rc->waiting, &call->node);
	if (rc->state == RC_CLOSED)
		ret = -ECANCELED;
	if (ret == 0 && rc->last_err == -EPROTONOSUPPORT)
		ret = rc->last_err;
	if (ret < 0) {
		call_end(rc, call, ret);
		return;
	}
	timer_set_at(rc->loop, &call->timer, call->deadline_ns);
	rc_flush(rc);
}

void rpc_call_fini(struct rpc_call *call)
{
	arena_fini(&call->arena);
	call->rsp = NULL;
}

bool rpc_client_is_connected(const struct rpc_client *rc)
{
	return rc->state == RC_READY;
}

uint64_t rpc_client_failures(const struct rpc_client *rc)
{
	return rc->failures;
}
