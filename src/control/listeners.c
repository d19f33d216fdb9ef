/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a subsystem is reachable: listeners, their ANA states, referrals.
 * Control loop.  Invariant: a socket that no subsystem is reached through any
 * more, and that was opened here, is closed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "control/address.h"
#include "control/methods.h"

struct listener_args {
	struct address_args address; /* first: see ADDRESS_PARAM */
	struct nqn_args nqn;
	const char *ana_state, *sock_impl;
	uint32_t anagrpid;
	bool secure_channel;
};

#define OFF(field) offsetof(struct listener_args, field)
#define LISTENER_PARAMS                                                        \
	{"nqn", PARAM_STR, OFF(nqn.nqn), true},                                \
		{"tgt_name", PARAM_STR, OFF(nqn.tgt_name)},                    \
		ADDRESS_PARAM("listen_address")
static const struct param add_params[] = {
	LISTENER_PARAMS,
	{"secure_channel", PARAM_BOOL, OFF(secure_channel)},
	{"ana_state", PARAM_STR, OFF(ana_state)},
	{"sock_impl", PARAM_STR, OFF(sock_impl)},
};
static const struct param remove_params[] = {LISTENER_PARAMS};
static const struct param ana_params[] = {
	LISTENER_PARAMS,
	{"ana_state", PARAM_STR, OFF(ana_state), true},
	{"anagrpid", PARAM_U32, OFF(anagrpid)},
};
static const struct param get_params[] = {
	{"nqn", PARAM_STR, OFF(nqn.nqn), true},
	{"tgt_name", PARAM_STR, OFF(nqn.tgt_name)},
};

static const struct {
	const char *name;
	enum tgt_ana state;
} ana_states[] = {
	{"optimized", TGT_ANA_OPTIMIZED},
	{"non_optimized", TGT_ANA_NON_OPTIMIZED},
	{"inaccessible", TGT_ANA_INACCESSIBLE},
};

const char *ana_name(enum tgt_ana state)
{
	for (size_t i = 0; i < ARRAY_SIZE(ana_states); i++) {
		if (ana_states[i].state == state)
			return ana_states[i].name;
	}
	return "change";
}

static int ana_parse(const char *name, enum tgt_ana *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(ana_states); i++) {
		if (strcmp(ana_states[i].name, name) == 0) {
			*out = ana_states[i].state;
			return 0;
		}
	}
	return -EINVAL;
}

static bool is_discovery(const struct tgt_subsys *ss)
{
	struct tgt_subsys_info info;

	tgt_subsys_info_get(ss, &info);
	return info.is_discovery;
}

/* The target's socket there, opened when there is none. */
static int socket_get(struct tgt *tgt, struct addr *addr, bool is_tls,
		      struct err *err)
{
	struct tgt_listener_info info;

	for (unsigned i = 0; tgt_listener_at(tgt, i, &info); i++) {
		if (!addr_eq(&info.addr, addr) || info.is_discovery)
			continue;
		if (info.is_tls == is_tls)
			return 0;
		return err_set(err, -EINVAL,
			       "secure_channel is %s on the listener that is "
			       "there",
			       info.is_tls ? "on" : "off");
	}
	return is_tls ? tgt_listen_tls(tgt, addr, false, err)
		      : tgt_listen(tgt, addr, err);
}

static bool is_reached(struct tgt *tgt, const struct addr *addr)
{
	struct tgt_subsys *ss = NULL;
	struct tgt_listener_info info;

	while ((ss = tgt_subsys_next(tgt, ss))) {
		if (is_discovery(ss))
			continue;
		for (unsigned i = 0; tgt_subsys_listener_at(ss, i, &info);
		     i++) {
			if (addr_eq(&info.addr, addr))
				return true;
		}
	}
	return false;
}

static void nothing(void *arg)
{
}

static void socket_put(struct tgt *tgt, const struct addr *addr)
{
	struct err err = {0};

	if (!is_reached(tgt, addr))
		tgt_listen_remove(tgt, addr, nothing, NULL, &err);
}

static int add_try(struct control *ctl, const struct listener_args *a,
		   struct err *err)
{
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);
	enum tgt_ana state = TGT_ANA_OPTIMIZED;
	struct err none = {0};
	struct addr addr;
	int ret;

	if (!ctl->has_transport)
		return err_set(err, -ENODEV, "there is no transport yet");
	if (!ss)
		return err_set(err, -ENODEV, "no subsystem %s", a->nqn.nqn);
	if (a->ana_state && ana_parse(a->ana_state, &state))
		return err_set(err, -EINVAL, "no ANA state '%.40s'",
			       a->ana_state);
	ret = address_parse(&a->address, &addr, err);
	if (ret)
		return ret;
	if (is_discovery(ss) && a->secure_channel)
		return tgt_listen_tls(ctl->tgt, &addr, true, err);
	if (is_discovery(ss))
		return tgt_listen_discovery(ctl->tgt, &addr, err);
	ret = socket_get(ctl->tgt, &addr, a->secure_channel, err);
	if (ret)
		return ret;
	ret = tgt_subsys_listen(ss, &addr, err);
	if (!ret && state != TGT_ANA_OPTIMIZED) {
		ret = tgt_subsys_ana_set(ss, &addr, 0, state, err);
		if (ret)
			(void)tgt_subsys_unlisten(ss, &addr, &none);
	}
	if (ret)
		socket_put(ctl->tgt, &addr);
	return ret;
}

static void answer(struct jrpc_call *call, int ret, const struct err *err)
{
	if (ret == 0) {
		jrpc_true(call);
		return;
	}
	log_warn("listener refused", "method=%s reason=\"%s\"",
		 call->method->name, err->text);
	jrpc_fail_params(call);
}

static void add(struct jrpc_call *call, void *args)
{
	struct err err = {0};

	answer(call, add_try(jrpc_ctx(call), args, &err), &err);
}

static void on_closed(void *arg)
{
	jrpc_true(arg);
}

/* Answered when the address is free again. */
static void remove_listener(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct listener_args *a = args;
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);
	struct err err = {0};
	struct addr addr;
	int ret = address_parse(&a->address, &addr, &err);

	if (!ret && !ss)
		ret = err_set(&err, -ENODEV, "no subsystem %s", a->nqn.nqn);
	if (!ret && !is_discovery(ss))
		ret = tgt_subsys_unlisten(ss, &addr, &err);
	if (!ret && is_reached(ctl->tgt, &addr))
		jrpc_true(call); /* for others */
	else if (ret ||
		 tgt_listen_remove(ctl->tgt, &addr, on_closed, call, &err))
		answer(call, -ENOENT, &err);
}

static void set_ana(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct listener_args *a = args;
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);
	struct err err = {0};
	enum tgt_ana state = TGT_ANA_OPTIMIZED;
	struct addr addr;
	int ret = address_parse(&a->address, &addr, &err);

	if (!ret && !ss)
		ret = err_set(&err, -ENODEV, "no subsystem %s", a->nqn.nqn);
	if (!ret && ana_parse(a->ana_state, &state))
		ret = err_set(&err, -EINVAL, "no ANA state '%.40s'",
			      a->ana_state);
	if (!ret)
		ret = tgt_subsys_ana_set(ss, &addr, a->anagrpid, state, &err);
	answer(call, ret, &err);
}

size_t ana_groups(const struct tgt_subsys *ss, uint32_t out[TGT_NS_MAX + 1])
{
	bool seen[TGT_NS_MAX + 1] = {0};
	struct tgt_ns_info info;
	uint32_t nsid = 0, group;
	size_t count = 0;

	while ((nsid = tgt_ns_after(ss, nsid))) {
		if (!tgt_ns_info_get(ss, nsid, &info))
			continue;
		group = info.opts.anagrpid;
		if (group > TGT_NS_MAX || seen[group])
			continue;
		seen[group] = true;
		out[count++] = group;
	}
	return count;
}

static json_t *ana_list(const struct tgt_subsys *ss, const struct addr *addr)
{
	uint32_t groups[TGT_NS_MAX + 1];
	size_t count = ana_groups(ss, groups);
	json_t *out = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(
			out, json_pack("{s:I, s:s}", "ana_group",
				       (json_int_t)groups[i], "ana_state",
				       ana_name(tgt_subsys_ana_get(
					       ss, addr, groups[i]))));
	return out;
}

static void get(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct listener_args *a = args;
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);
	struct tgt_subsys_info subsys;
	struct tgt_listener_info info;
	json_t *out, *one;

	if (!ss) {
		jrpc_fail_params(call);
		return;
	}
	out = json_array();
	tgt_subsys_info_get(ss, &subsys);
	/* The newest first, as SPDK has them. */
	for (unsigned i = 0; tgt_subsys_listener_at(ss, i, &info); i++) {
		one = json_pack("{s:o}", "address", address_json(&info.addr));
		if (subsys.opts.ana_reporting)
			json_object_set_new(one, "ana_states",
					    ana_list(ss, &info.addr));
		json_array_insert_new(out, 0, one);
	}
	jrpc_result(call, out);
}

#define METHOD(name_, params_, run_, attrs_)                                   \
	{                                                                      \
		.name = name_, .params = params_,                              \
		.param_count = ARRAY_SIZE(params_),                            \
		.args_size = sizeof(struct listener_args), .run = run_,        \
		.attrs = attrs_                                                \
	}

static const struct jrpc_method methods[] = {
	METHOD("nvmf_subsystem_add_listener", add_params, add, JRPC_CHANGES),
	METHOD("nvmf_subsystem_remove_listener", remove_params, remove_listener,
	       JRPC_CHANGES),
	METHOD("nvmf_subsystem_listener_set_ana_state", ana_params, set_ana,
	       JRPC_CHANGES),
	METHOD("nvmf_subsystem_get_listeners", get_params, get, 0),
};

const struct jrpc_table control_listeners = {methods, ARRAY_SIZE(methods)};
