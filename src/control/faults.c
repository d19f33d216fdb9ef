/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods for fault filters, ours alone.  Control loop.  Invariant: no fault
 * is remembered by --state, so that a restart ends every drill.
 */
#include <errno.h>
#include <stddef.h>

#include "control/methods.h"
#include "target/fault.h"

struct set_args {
	const char *fault;
};

static const struct param set_params[] = {
	{"fault", PARAM_STR, offsetof(struct set_args, fault), true},
};

static void fault_set(struct jrpc_call *call, void *args)
{
	const struct set_args *a = args;
	struct control *ctl = jrpc_ctx(call);
	struct err err = {0};
	uint32_t id;
	int ret = tgt_fault_set(ctl->tgt, a->fault, &id, &err);

	if (ret == -EINVAL)
		jrpc_fail(call, JRPC_INVALID_PARAMS, "%s", err.text);
	else if (ret)
		jrpc_fail(call, ret, "%s", err.text);
	else
		jrpc_result(call, json_pack("{s:I}", "id", (json_int_t)id));
}

static void add_one(const struct tgt_fault_info *info, void *arg)
{
	json_array_append_new(
		arg,
		json_pack("{s:I, s:s, s:o, s:I, s:I, s:b, s:I}", "id",
			  (json_int_t)info->id, "fault", info->text, "seed",
			  /* as text: a reader with doubles would round it */
			  json_sprintf("%llu", (unsigned long long)info->seed),
			  "seen", (json_int_t)info->seen, "injected",
			  (json_int_t)info->injected, "active", info->is_active,
			  "left_ms", (json_int_t)info->left_ms));
}

static void fault_list(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	json_t *list = json_array();

	if (list)
		tgt_fault_list(ctl->tgt, add_one, list);
	jrpc_result(call, list);
}

struct clear_args {
	uint32_t id;
};

static const struct param clear_params[] = {
	{"id", PARAM_U32, offsetof(struct clear_args, id)},
};

static void fault_clear(struct jrpc_call *call, void *args)
{
	const struct clear_args *a = args;
	struct control *ctl = jrpc_ctx(call);
	unsigned cleared = tgt_fault_clear(ctl->tgt, a->id);

	if (a->id && !cleared)
		jrpc_fail(call, -ENOENT, "there is no fault %u", a->id);
	else
		jrpc_result(call,
			    json_pack("{s:I}", "cleared", (json_int_t)cleared));
}

static const struct jrpc_method methods[] = {
	{.name = "mooncake_fault_set",
	 .params = set_params,
	 .param_count = ARRAY_SIZE(set_params),
	 .args_size = sizeof(struct set_args),
	 .run = fault_set},
	{.name = "mooncake_fault_list", .run = fault_list},
	{.name = "mooncake_fault_clear",
	 .params = clear_params,
	 .param_count = ARRAY_SIZE(clear_params),
	 .args_size = sizeof(struct clear_args),
	 .run = fault_clear},
};

const struct jrpc_table control_faults = {methods, ARRAY_SIZE(methods)};
