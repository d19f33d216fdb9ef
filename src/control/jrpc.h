/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON-RPC 2.0 as SPDK speaks it: a table of methods, and one call at a time
 * through it.  No I/O here: session.h cuts bytes into requests, server.h has
 * the socket.  One thread.
 *
 * A method's run() answers its call exactly once, at once or later, by one of
 * jrpc_result(), jrpc_true() and jrpc_fail(); the call and its arguments live
 * until then.
 */
#ifndef CONTROL_JRPC_H
#define CONTROL_JRPC_H

#include <jansson.h>

#include "base/list.h"
#include "control/params.h"

/* The specification's codes; others are errno values, as SPDK has them. */
enum {
	JRPC_PARSE_ERROR = -32700,
	JRPC_INVALID_REQUEST = -32600,
	JRPC_METHOD_NOT_FOUND = -32601,
	JRPC_INVALID_PARAMS = -32602,
	JRPC_INTERNAL_ERROR = -32603,
	JRPC_INVALID_STATE = -1,
};

struct jrpc_call;

enum {			     /* jrpc_method.attrs */
	JRPC_CHANGES = 1,    /* what --state remembers may differ afterwards */
	JRPC_RELAXED = 2,    /* parameters unknown to us are passed over */
	JRPC_BDEV_STYLE = 4, /* wrong parameters are -32603, as bdev_* has it */
	JRPC_HIDDEN = 8,     /* rpc_get_methods {current: true} leaves it out */
};

struct jrpc_method {
	const char *name;
	const struct param *params;
	size_t param_count; /* 0: any parameter is an error */
	size_t args_size;   /* of the struct that params fill */
	/* args: that struct; its texts and objects live as long as the call */
	void (*run)(struct jrpc_call *call, void *args);
	unsigned attrs;
};

struct jrpc_table {
	const struct jrpc_method *methods;
	size_t count;
};

struct jrpc {
	const struct jrpc_table *const *tables; /* ends with NULL */
	void *ctx;				/* whose methods these are */
	/* Optional: a successful call of a method with JRPC_CHANGES is
	 * given away before it is answered; jrpc_release() goes on. */
	void (*hold)(struct jrpc *rpc, struct jrpc_call *call);
	bool is_leaving; /* methods with JRPC_CHANGES are refused */
};

struct jrpc_call {
	struct jrpc *rpc;
	const struct jrpc_method *method;
	struct list node; /* of whoever holds the call */
	/* private */
	json_t *request, *answer;
	void *args;
	void (*done)(struct jrpc_call *call, json_t *answer, void *arg);
	void *done_arg;
	bool is_answered;
};

/* NULL when there is none. */
const struct jrpc_method *jrpc_find(const struct jrpc *rpc, const char *name);

/*
 * Runs one request (any JSON value; a reference is kept while it runs).  done
 * runs exactly once, inside or later, and owns answer; answer is NULL for a
 * notification.  Nothing is owed to a caller whom memory has failed: answer is
 * NULL then too.
 */
void jrpc_run(struct jrpc *rpc, json_t *request,
	      void (*done)(struct jrpc_call *call, json_t *answer, void *arg),
	      void *arg);

/* --- for methods --- */
static inline void *jrpc_ctx(const struct jrpc_call *call)
{
	return call->rpc->ctx;
}

/* Takes result over; NULL: memory ran out while it was built. */
void jrpc_result(struct jrpc_call *call, json_t *result);
void jrpc_true(struct jrpc_call *call);
void jrpc_fail(struct jrpc_call *call, int code, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* code: -errno; the message is the system's. */
void jrpc_fail_errno(struct jrpc_call *call, int code);
/* -32602, "Invalid parameters". */
void jrpc_fail_params(struct jrpc_call *call);
/* What hold() was given goes on to its caller. */
void jrpc_release(struct jrpc_call *call);
/* Turns a held answer into an error. */
void jrpc_release_fail(struct jrpc_call *call, int code, const char *text);

/* An answer without a call, for what is no request. */
json_t *jrpc_error_object(json_t *id, int code, const char *text);

#endif
