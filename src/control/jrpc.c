/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a call: checked, its parameters decoded, run, answered, held
 * until it is remembered, done.  One thread.  Invariant: done runs once for
 * each jrpc_run().
 */
#include "control/jrpc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"

const struct jrpc_method *jrpc_find(const struct jrpc *rpc, const char *name)
{
	for (size_t t = 0; rpc->tables[t]; t++) {
		const struct jrpc_table *table = rpc->tables[t];

		for (size_t i = 0; i < table->count; i++) {
			if (strcmp(table->methods[i].name, name) == 0)
				return &table->methods[i];
		}
	}
	return NULL;
}

json_t *jrpc_error_object(json_t *id, int code, const char *text)
{
	return json_pack("{s:s, s:O, s:{s:i, s:s}}", "jsonrpc", "2.0", "id",
			 id ? id : json_null(), "error", "code", code,
			 "message", text);
}

/* NULL for a notification: no id, or null. */
static json_t *call_id(const struct jrpc_call *call)
{
	json_t *id = json_object_get(call->request, "id");

	return json_is_null(id) ? NULL : id;
}

static void call_free(struct jrpc_call *call)
{
	json_decref(call->request);
	json_decref(call->answer);
	free(call->args);
	free(call);
}

void jrpc_release(struct jrpc_call *call)
{
	json_t *answer = call->answer;

	ASSERT(call->is_answered);
	call->answer = NULL;
	call->done(call, answer, call->done_arg);
	call_free(call);
}

void jrpc_release_fail(struct jrpc_call *call, int code, const char *text)
{
	json_t *id = call_id(call);

	json_decref(call->answer);
	call->answer = id ? jrpc_error_object(id, code, text) : NULL;
	jrpc_release(call);
}

static void call_answer(struct jrpc_call *call, json_t *answer, bool is_ok)
{
	struct jrpc *rpc = call->rpc;

	ASSERT(!call->is_answered);
	call->is_answered = true;
	call->answer = answer;
	if (is_ok && call->method && (call->method->attrs & JRPC_CHANGES) &&
	    rpc->hold)
		rpc->hold(rpc, call);
	else
		jrpc_release(call);
}

void jrpc_result(struct jrpc_call *call, json_t *result)
{
	json_t *id = call_id(call);

	if (!result) {
		jrpc_fail_errno(call, -ENOMEM);
		return;
	}
	if (id)
		call_answer(call,
			    json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id",
				      id, "result", result),
			    true);
	else
		call_answer(call, NULL, true);
	if (!id)
		json_decref(result);
}

void jrpc_true(struct jrpc_call *call)
{
	jrpc_result(call, json_true());
}

static void call_fail(struct jrpc_call *call, json_t *id, int code,
		      const char *text)
{
	log_info("control request refused", "method=%s code=%d message=\"%s\"",
		 call->method ? call->method->name : "-", code, text);
	call_answer(call, id ? jrpc_error_object(id, code, text) : NULL, false);
}

void jrpc_fail(struct jrpc_call *call, int code, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	call_fail(call, call_id(call), code, text);
}

void jrpc_fail_errno(struct jrpc_call *call, int code)
{
	jrpc_fail(call, code, "%s", strerror(-code));
}

void jrpc_fail_params(struct jrpc_call *call)
{
	jrpc_fail(call, JRPC_INVALID_PARAMS, "Invalid parameters");
}

/* What a client has to say besides: jsonrpc (may be absent), id, params. */
static bool is_request(const json_t *request)
{
	static const char *const known[] = {"jsonrpc", "id", "method",
					    "params"};
	json_t *o = (json_t *)(uintptr_t)request; /* only looked at */
	const json_t *version = json_object_get(o, "jsonrpc");
	const json_t *id = json_object_get(o, "id");
	size_t found = 0;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		found += json_object_get(o, known[i]) != NULL;
	if (found != json_object_size(o) ||
	    !json_is_string(json_object_get(o, "method")))
		return false;
	if (version && (!json_is_string(version) ||
			strcmp(json_string_value(version), "2.0") != 0))
		return false;
	return !id || json_is_string(id) || json_is_number(id) ||
	       json_is_null(id);
}

static void call_refuse_params(struct jrpc_call *call, const struct err *err)
{
	log_info("control parameters refused", "method=%s reason=\"%s\"",
		 call->method->name, err->text);
	if (call->method->attrs & JRPC_BDEV_STYLE)
		jrpc_fail(call, JRPC_INTERNAL_ERROR,
			  "spdk_json_decode_object failed");
	else
		jrpc_fail_params(call);
}

static void call_start(struct jrpc_call *call)
{
	const struct jrpc_method *m = call->method;
	json_t *params = json_object_get(call->request, "params");
	struct err err = {0};

	if (params && !m->param_count && !(m->attrs & JRPC_RELAXED)) {
		jrpc_fail(call, JRPC_INVALID_PARAMS,
			  "%s method requires no parameters", m->name);
		return;
	}
	call->args = calloc(1, m->args_size ? m->args_size : 1);
	if (!call->args)
		jrpc_fail_errno(call, -ENOMEM);
	else if (params_decode(m->params, m->param_count,
			       m->attrs & JRPC_RELAXED, params, call->args,
			       &err))
		call_refuse_params(call, &err);
	else
		m->run(call, call->args);
}

void jrpc_run(struct jrpc *rpc, json_t *request,
	      void (*done)(struct jrpc_call *call, json_t *answer, void *arg),
	      void *arg)
{
	struct jrpc_call *call = calloc(1, sizeof(*call));
	const json_t *params = json_object_get(request, "params");
	const char *name;

	if (!call) {
		done(NULL, NULL, arg);
		return;
	}
	call->rpc = rpc;
	call->request = json_incref(request);
	call->done = done;
	call->done_arg = arg;
	list_init(&call->node);
	if (!is_request(request)) {
		call_fail(call, json_null(), JRPC_INVALID_REQUEST,
			  "Invalid request");
		return;
	}
	if (params && !json_is_object(params) && !json_is_array(params)) {
		jrpc_fail(call, JRPC_INVALID_REQUEST, "Invalid request");
		return;
	}
	name = json_string_value(json_object_get(request, "method"));
	call->method = jrpc_find(rpc, name);
	if (!call->method)
		jrpc_fail(call, JRPC_METHOD_NOT_FOUND, "Method not found");
	else if (rpc->is_leaving && (call->method->attrs & JRPC_CHANGES))
		jrpc_fail(call, JRPC_INVALID_STATE, "The target is stopping");
	else
		call_start(call);
}
