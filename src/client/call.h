/* SPDX-License-Identifier: Apache-2.0 */
/* One RPC from an API thread: posted to the control shard, waited for. */
#ifndef CLIENT_CALL_H
#define CLIENT_CALL_H

#include "client/client.h"

struct call {
	struct rpc_call rpc;
	struct client *client;
	struct mbox_msg msg;
	struct gate gate;
	uint64_t deadline_ns;
	bool can_repeat;
};

enum call_kind {
	CALL_ONCE,	/* lost on the way: RPC_FAIL, it may have been done */
	CALL_REPEATABLE /* doing it twice is as good as once */
};

/* OK with call->rpc.rsp, or why not.  call_fini() in either case. */
enum mooncake_status call_run(struct client *c, struct call *call,
			      uint16_t method, const ProtobufCMessage *req,
			      enum call_kind kind);
struct call_what {
	uint16_t method;
	const ProtobufCMessage *req;
	enum call_kind kind;
};
/* The same, waiting no longer than until deadline_ns (monotonic). */
enum mooncake_status call_run_until(struct client *c, struct call *call,
				    const struct call_what *what,
				    uint64_t deadline_ns);
void call_fini(struct call *call);

/*
 * Not waited for, the answer is dropped.  req is one that was built in *arena,
 * which is taken over.
 */
void call_send(struct client *c, uint16_t method, const ProtobufCMessage *req,
	       struct arena *arena);

#endif
