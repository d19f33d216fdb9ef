/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What anybody may write into the control socket.  The first byte says in how
 * large pieces the rest comes.  Promise: no memory error, answers are JSON,
 * and pieces make no difference.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct args {
	const char *text, *inner;
	uint32_t small;
	uint64_t large;
	bool flag;
	const json_t *list, *any;
};

#define OFF(field) offsetof(struct args, field)
static const struct param inner[] = {
	{"inner", PARAM_STR, OFF(inner), true},
};
static const struct param params[] = {
	{"text", PARAM_STR, OFF(text), true},
	{"small", PARAM_U32, OFF(small), .def = 7},
	{"large", PARAM_U64, OFF(large)},
	{"flag", PARAM_BOOL, OFF(flag), .def = true},
	{"list", PARAM_STRS, OFF(list)},
	{"any", PARAM_JSON, OFF(any)},
	{"object", PARAM_OBJECT, .sub = inner, .sub_count = 1},
};

static void run_echo(struct jrpc_call *call, void *args)
{
	const struct args *a = args;

	jrpc_result(call, json_pack("{s:s, s:s?, s:I, s:I, s:b, s:O?, s:O?}",
				    "text", a->text, "inner", a->inner, "small",
				    (json_int_t)a->small, "large",
				    (json_int_t)a->large, "flag", a->flag,
				    "list", a->list, "any", a->any));
}

static void run_fail(struct jrpc_call *call, void *args)
{
	jrpc_fail(call, -19, "No such device");
}

static const struct jrpc_method methods[] = {
	{.name = "echo",
	 .params = params,
	 .param_count = ARRAY_SIZE(params),
	 .args_size = sizeof(struct args),
	 .run = run_echo},
	{.name = "loose",
	 .params = params,
	 .param_count = ARRAY_SIZE(params),
	 .args_size = sizeof(struct args),
	 .run = run_echo,
	 .attrs = JRPC_RELAXED | JRPC_BDEV_STYLE},
	{.name = "fail", .run = run_fail},
};
static const struct jrpc_table table = {methods, ARRAY_SIZE(methods)};
static const struct jrpc_table *const tables[] = {&table, NULL};
static struct jrpc rpc = {.tables = tables};

static void on_notify(struct session *s)
{
}

static void feed(struct session *s, const uint8_t *data, size_t size,
		 size_t piece)
{
	session_init(s, &rpc, on_notify, NULL);
	while (size && !s->is_broken) {
		size_t n = MIN(piece, size);

		session_feed(s, data, n);
		data += n;
		size -= n;
	}
}

static void check_json(const struct strbuf *out)
{
	json_error_t where;
	size_t at = 0;
	json_t *value;

	while (at < out->n) {
		value = json_loadb(out->p + at, out->n - at,
				   JSON_DISABLE_EOF_CHECK, &where);
		ASSERT(value);
		json_decref(value);
		at += (size_t)where.position + 1; /* and the newline */
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct session whole, pieces;

	log_level_max = LOG_ERROR;
	if (size < 1)
		return 0;
	feed(&whole, data + 1, size - 1, size);
	feed(&pieces, data + 1, size - 1, (size_t)data[0] % 32 + 1);
	ASSERT(whole.is_broken == pieces.is_broken);
	ASSERT(whole.out.n == pieces.out.n);
	ASSERT(!whole.out.n ||
	       memcmp(whole.out.p, pieces.out.p, whole.out.n) == 0);
	check_json(&whole.out);
	session_fini(&whole);
	session_fini(&pieces);
	return 0;
}
