/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RPCs of API threads.  Invariant: between post and gate the call belongs to
 * the control shard; every call has a deadline there, so every wait ends.
 */
#include "client/call.h"

#include <errno.h>
#include <stdlib.h>

#include "base/time.h"

static enum mooncake_status call_status(const struct rpc_call *rpc)
{
	if (rpc->ret == -EREMOTEIO)
		return (enum mooncake_status)rpc->status;
	return status_of_errno(rpc->ret);
}

static void call_submit(struct mbox_msg *msg)
{
	struct call *call = container_of(msg, struct call, msg);

	rpc_call_submit(call->client->rpc, &call->rpc);
}

static void call_done(struct rpc_call *rpc)
{
	struct call *call = container_of(rpc, struct call, rpc);
	uint64_t now = time_mono_ns();

	if (rpc->ret == -ECONNRESET && call->can_repeat &&
	    now + NS_PER_MS < call->deadline_ns) {
		rpc_call_fini(rpc);
		rpc->timeout_ms =
			(uint32_t)((call->deadline_ns - now) / NS_PER_MS);
		rpc_call_submit(call->client->rpc, rpc);
		return;
	}
	gate_open(&call->gate);
}

enum mooncake_status call_run_until(struct client *c, struct call *call,
				    const struct call_what *what,
				    uint64_t deadline_ns)
{
	uint64_t now_ns = time_mono_ns();
	uint64_t timeout_ms = c->conf.rpc_timeout_ms;
	enum mooncake_status st;

	if (deadline_ns != UINT64_MAX && deadline_ns > now_ns)
		timeout_ms =
			MIN(timeout_ms, (deadline_ns - now_ns) / NS_PER_MS + 1);
	*call = (struct call){
		.rpc = {.done = call_done,
			.method = what->method,
			.req = what->req,
			.timeout_ms = (uint32_t)timeout_ms},
		.client = c,
		.msg.run = call_submit,
		.deadline_ns = now_ns + timeout_ms * NS_PER_MS,
		.can_repeat = what->kind == CALL_REPEATABLE,
	};
	gate_init(&call->gate);
	loop_post(c->ctl.loop, &call->msg);
	gate_wait(&call->gate);
	st = call_status(&call->rpc);
	if (st != MOONCAKE_OK)
		stats_add(&c->stats, STAT_rpc_errors, 1);
	return st;
}

enum mooncake_status call_run(struct client *c, struct call *call,
			      uint16_t method, const ProtobufCMessage *req,
			      enum call_kind kind)
{
	const struct call_what what = {method, req, kind};

	return call_run_until(c, call, &what, UINT64_MAX);
}

void call_fini(struct call *call)
{
	rpc_call_fini(&call->rpc);
}

/* --- not waited for --- */

struct sent_call {
	struct rpc_call rpc;
	struct client *client;
	struct mbox_msg msg;
	struct arena arena;
};

static void sent_done(struct rpc_call *rpc)
{
	struct sent_call *call = container_of(rpc, struct sent_call, rpc);

	rpc_call_fini(rpc);
	arena_fini(&call->arena);
	free(call);
}

static void sent_submit(struct mbox_msg *msg)
{
	struct sent_call *call = container_of(msg, struct sent_call, msg);

	rpc_call_submit(call->client->rpc, &call->rpc);
}

void call_send(struct client *c, uint16_t method, const ProtobufCMessage *req,
	       struct arena *arena)
{
	struct sent_call *call = calloc(1, sizeof(*call));

	if (!call) {
		arena_fini(arena);
		return;
	}
	call->arena = *arena;
	arena_init(arena, 0);
	call->rpc.done = sent_done;
	call->rpc.method = method;
	call->rpc.req = req;
	call->rpc.timeout_ms = c->conf.rpc_timeout_ms;
	call->client = c;
	call->msg.run = sent_submit;
	loop_post(c->ctl.loop, &call->msg);
}
