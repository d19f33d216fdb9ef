/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nvmf_discovery_*_referral: other discovery services that ours names.
 * Control loop.  Invariant: the target has the list.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "base/log.h"
#include "control/address.h"
#include "control/methods.h"
#include "nvme/pdu.h"

struct referral_args {
	struct address_args address; /* first: see ADDRESS_PARAM */
	const char *tgt_name, *subnqn;
	bool secure_channel, allow_any_host;
};

#define OFF(field) offsetof(struct referral_args, field)
static const struct param change_params[] = {
	ADDRESS_PARAM("address"),
	{"tgt_name", PARAM_STR, OFF(tgt_name)},
	{"subnqn", PARAM_STR, OFF(subnqn)},
	{"secure_channel", PARAM_BOOL, OFF(secure_channel)},
	{"allow_any_host", PARAM_BOOL, OFF(allow_any_host), .def = true},
};
static const struct param get_params[] = {
	{"tgt_name", PARAM_STR, OFF(tgt_name)},
};

static int referral_parse(const struct referral_args *a,
			  struct tgt_referral *out, struct err *err)
{
	struct addr addr;
	int ret = address_parse(&a->address, &addr, err);

	if (ret)
		return ret;
	*out = (struct tgt_referral){
		.port = addr_port(&addr),
		.is_ipv6 = addr.ss.ss_family == AF_INET6,
		.is_secure = a->secure_channel,
	};
	addr_format_host(&addr, out->traddr);
	if (a->subnqn && nqn_check(str_of(a->subnqn), err))
		return -EINVAL;
	if (a->subnqn)
		snprintf(out->nqn, sizeof(out->nqn), "%s", a->subnqn);
	return 0;
}

static void add(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	struct tgt_referral ref;
	struct err err = {0};
	int ret = referral_parse(args, &ref, &err);

	if (ret) {
		log_warn("referral refused", "reason=\"%s\"", err.text);
		jrpc_fail_params(call);
		return;
	}
	ret = tgt_referral_add(ctl->tgt, &ref, &err);
	if (ret && ret != -EEXIST)
		jrpc_fail(call, JRPC_INTERNAL_ERROR, "Internal error");
	else
		jrpc_true(call);
}

static void remove_referral(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	struct tgt_referral ref;
	struct err err = {0};

	if (referral_parse(args, &ref, &err))
		jrpc_fail_params(call);
	else if (tgt_referral_remove(ctl->tgt, &ref, &err))
		jrpc_fail(call, JRPC_INTERNAL_ERROR,
			  "Unable to remove a referral.");
	else
		jrpc_true(call);
}

json_t *referral_json(const struct tgt_referral *ref)
{
	char port[8];

	snprintf(port, sizeof(port), "%u", ref->port);
	return json_pack("{s:{s:s, s:s, s:s, s:s}, s:b, s:s}", "address",
			 "trtype", "TCP", "adrfam",
			 ref->is_ipv6 ? "IPv6" : "IPv4", "traddr", ref->traddr,
			 "trsvcid", port, "secure_channel", ref->is_secure,
			 "subnqn", ref->nqn[0] ? ref->nqn : NVME_DISC_NQN);
}

static void get(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct tgt_referral *ref;
	json_t *out = json_array();

	for (unsigned i = 0; (ref = tgt_referral_at(ctl->tgt, i)); i++)
		json_array_append_new(out, referral_json(ref));
	jrpc_result(call, out);
}

#define METHOD(name_, params_, run_, attrs_)                                   \
	{                                                                      \
		.name = name_, .params = params_,                              \
		.param_count = ARRAY_SIZE(params_),                            \
		.args_size = sizeof(struct referral_args), .run = run_,        \
		.attrs = attrs_                                                \
	}

static const struct jrpc_method methods[] = {
	METHOD("nvmf_discovery_add_referral", change_params, add, JRPC_CHANGES),
	METHOD("nvmf_discovery_remove_referral", change_params, remove_referral,
	       JRPC_CHANGES),
	METHOD("nvmf_discovery_get_referrals", get_params, get, 0),
};

const struct jrpc_table control_referrals = {methods, ARRAY_SIZE(methods)};
