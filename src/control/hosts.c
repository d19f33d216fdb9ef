/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may connect: allowed hosts of a subsystem.  Control loop.  Invariant:
 * the target has the list; here is only what it was made of.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "control/methods.h"

struct host_args {
	struct nqn_args nqn;
	const char *host, *psk, *dhchap_key, *dhchap_ctrlr_key;
	bool allow_any_host;
};

#define OFF(field) offsetof(struct host_args, field)
static const struct param add_params[] = {
	NQN_PARAMS,
	{"host", PARAM_STR, OFF(host), true},
	{"psk", PARAM_STR, OFF(psk)},
	{"dhchap_key", PARAM_STR, OFF(dhchap_key)},
	{"dhchap_ctrlr_key", PARAM_STR, OFF(dhchap_ctrlr_key)},
};
static const struct param remove_params[] = {
	NQN_PARAMS,
	{"host", PARAM_STR, OFF(host), true},
};
static const struct param any_params[] = {
	NQN_PARAMS,
	{"allow_any_host", PARAM_BOOL, OFF(allow_any_host), true},
};

static void answer(struct jrpc_call *call, int ret, const struct err *err)
{
	if (ret == 0) {
		jrpc_true(call);
		return;
	}
	log_warn("host refused", "method=%s reason=\"%s\"", call->method->name,
		 err->text);
	jrpc_fail(call, JRPC_INTERNAL_ERROR, "Internal error");
}

static void add(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct host_args *a = args;
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);
	struct err err = {0};

	if (!ss || a->psk || a->dhchap_key || a->dhchap_ctrlr_key)
		jrpc_fail_params(call);
	else
		answer(call,
		       tgt_host_add(ss,
				    &(struct tgt_host_opts){.hostnqn = a->host},
				    &err),
		       &err);
}

static void remove_host(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct host_args *a = args;
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);
	struct err err = {0};

	if (!ss)
		jrpc_fail_params(call);
	else
		answer(call, tgt_host_remove(ss, a->host, &err), &err);
}

static void allow_any(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct host_args *a = args;
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);

	if (!ss) {
		jrpc_fail_params(call);
		return;
	}
	tgt_allow_any_host(ss, a->allow_any_host);
	jrpc_true(call);
}

json_t *hosts_json(struct control *ctl, const struct tgt_subsys *ss)
{
	struct tgt_host *host = NULL;
	json_t *out = json_array();

	while ((host = tgt_host_next(ss, host)))
		json_array_append_new(
			out, json_pack("{s:s}", "nqn", tgt_host_nqn(host)));
	return out;
}

#define METHOD(name_, params_, run_)                                           \
	{                                                                      \
		.name = name_, .params = params_,                              \
		.param_count = ARRAY_SIZE(params_),                            \
		.args_size = sizeof(struct host_args), .run = run_,            \
		.attrs = JRPC_CHANGES                                          \
	}

static const struct jrpc_method methods[] = {
	METHOD("nvmf_subsystem_add_host", add_params, add),
	METHOD("nvmf_subsystem_remove_host", remove_params, remove_host),
	METHOD("nvmf_subsystem_allow_any_host", any_params, allow_any),
};

const struct jrpc_table control_hosts = {methods, ARRAY_SIZE(methods)};
