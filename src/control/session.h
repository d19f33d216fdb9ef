/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation with one client, without its socket: bytes in, requests
 * through struct jrpc one after the other, bytes out.  Requests may come in
 * any pieces, several at once, or as a batch (an array).
 *
 * Answers come in the order of the requests: the next one is not looked at
 * before the last one is answered, which bounds what a client can ask for.
 */
#ifndef CONTROL_SESSION_H
#define CONTROL_SESSION_H

#include "base/str.h"
#include "control/jrpc.h"

#define SESSION_REQUEST_MAX (1 << 20) /* bytes of a request or batch */

struct session {
	struct jrpc *rpc;
	void *arg; /* the owner's */
	/* out has grown, or a call has ended; inside session_feed() or later */
	void (*notify)(struct session *s);
	struct strbuf out; /* the owner sends and empties it */
	/* Nothing more will be read: what came is no JSON, or too much. */
	bool is_broken;
	/* private */
	struct strbuf in;
	size_t scan, start; /* looked at so far; where the request begins */
	unsigned depth;
	bool is_in_text, is_escaped;
	json_t *batch, *answers; /* of the batch that runs */
	size_t batch_next;
	bool is_busy; /* a call is under way */
	bool is_running;
};

void session_init(struct session *s, struct jrpc *rpc,
		  void (*notify)(struct session *s), void *arg);
/* Not while it is busy. */
void session_fini(struct session *s);
/* The owner does not feed it while it is busy or broken. */
void session_feed(struct session *s, const void *p, size_t n);
static inline bool session_is_busy(const struct session *s)
{
	return s->is_busy;
}

/* Bytes of a request that is not complete are there. */
bool session_is_waiting(const struct session *s);

#endif
