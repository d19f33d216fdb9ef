/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nvmf_create_subsystem, nvmf_delete_subsystem, and the namespaces of one.
 * Control loop.  Invariant: a subsystem made here is reachable through the
 * listeners that it was given, and no other.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "control/methods.h"

#define SERIAL_MAX 20
#define MODEL_MAX  40
#define TGT_NAME   "nvmf_tgt" /* what SPDK calls the only target */

static bool is_our_target(const struct nqn_args *args)
{
	return !args->tgt_name || strcmp(args->tgt_name, TGT_NAME) == 0;
}

struct tgt_subsys *subsys_of(struct control *ctl, const struct nqn_args *args)
{
	if (!is_our_target(args))
		return NULL;
	return tgt_subsys_find(ctl->tgt, args->nqn);
}

struct create_args {
	struct nqn_args nqn;
	const char *serial_number, *model_number;
	uint32_t max_namespaces, min_cntlid, max_cntlid;
	bool allow_any_host, ana_reporting, passthrough, enable_nssr;
	uint32_t max_discard, max_zeroes;
};

#define OFF(field) offsetof(struct create_args, field)
static const struct param create_params[] = {
	NQN_PARAMS,
	{"serial_number", PARAM_STR, OFF(serial_number)},
	{"model_number", PARAM_STR, OFF(model_number)},
	{"max_namespaces", PARAM_U32, OFF(max_namespaces)},
	{"min_cntlid", PARAM_U32, OFF(min_cntlid)},
	{"max_cntlid", PARAM_U32, OFF(max_cntlid)},
	{"allow_any_host", PARAM_BOOL, OFF(allow_any_host)},
	{"ana_reporting", PARAM_BOOL, OFF(ana_reporting)},
	{"passthrough", PARAM_BOOL, OFF(passthrough)},
	{"enable_nssr", PARAM_BOOL, OFF(enable_nssr)},
	{"max_discard_size_kib", PARAM_U32, OFF(max_discard)},
	{"max_write_zeroes_size_kib", PARAM_U32, OFF(max_zeroes)},
};

static void create(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct create_args *a = args;
	struct tgt_subsys_opts opts = {
		.nqn = a->nqn.nqn,
		.serial = a->serial_number,
		.model = a->model_number,
		.max_namespaces = a->max_namespaces,
		.min_cntlid = (uint16_t)a->min_cntlid,
		.max_cntlid = (uint16_t)a->max_cntlid,
		.is_host_list = !a->allow_any_host,
		.is_listener_list = true,
		.ana_reporting = a->ana_reporting,
	};
	struct tgt_subsys *ss;
	struct err err = {0};

	if (!is_our_target(&a->nqn) || a->min_cntlid > UINT16_MAX ||
	    a->max_cntlid > UINT16_MAX ||
	    (a->serial_number && strlen(a->serial_number) > SERIAL_MAX) ||
	    (a->model_number && strlen(a->model_number) > MODEL_MAX)) {
		jrpc_fail_params(call);
		return;
	}
	if (tgt_subsys_add(ctl->tgt, &opts, &ss, &err)) {
		log_warn("subsystem refused", "reason=\"%s\"", err.text);
		jrpc_fail(call, JRPC_INTERNAL_ERROR,
			  "Unable to create subsystem %s", a->nqn.nqn);
		return;
	}
	jrpc_true(call);
}

static const struct param nqn_params[] = {NQN_PARAMS};

static void on_done(void *arg)
{
	jrpc_true(arg);
}

static void delete_subsys(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	struct tgt_subsys *ss = subsys_of(ctl, args);
	struct tgt_subsys_info info;
	struct err err = {0};

	if (ss)
		tgt_subsys_info_get(ss, &info);
	if (!ss || info.is_discovery ||
	    tgt_subsys_remove(ss, on_done, call, &err))
		jrpc_fail_params(call);
	else
		hosts_forget(ctl, ((const struct nqn_args *)args)->nqn);
}

struct ns_args {
	struct nqn_args nqn;
	const char *bdev_name, *nguid, *eui64, *uuid;
	uint32_t nsid, anagrpid;
	bool no_auto_visible, hide_metadata;
};

#undef OFF
#define OFF(field) offsetof(struct ns_args, field)
static const struct param ns_sub_params[] = {
	{"bdev_name", PARAM_STR, OFF(bdev_name), true},
	{"nsid", PARAM_U32, OFF(nsid)},
	{"nguid", PARAM_STR, OFF(nguid)},
	{"eui64", PARAM_STR, OFF(eui64)},
	{"uuid", PARAM_STR, OFF(uuid)},
	{"anagrpid", PARAM_U32, OFF(anagrpid)},
	{"no_auto_visible", PARAM_BOOL, OFF(no_auto_visible)},
	{"hide_metadata", PARAM_BOOL, OFF(hide_metadata)},
};
static const struct param add_ns_params[] = {
	NQN_PARAMS,
	{"namespace", PARAM_OBJECT, .is_required = true, .sub = ns_sub_params,
	 .sub_count = ARRAY_SIZE(ns_sub_params)},
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly n bytes as hex digits. */
static int parse_hex(const char *text, uint8_t *out, size_t n)
{
	if (strlen(text) != 2 * n)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		int hi = hex_digit(text[2 * i]);
		int lo = hex_digit(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

static int ns_opts(const struct ns_args *a, struct tgt_ns_opts *opts,
		   struct err *err)
{
	*opts = (struct tgt_ns_opts){.nsid = a->nsid, .anagrpid = a->anagrpid};
	if (a->uuid && uuid_parse(str_of(a->uuid), &opts->uuid))
		return err_set(err, -EINVAL, "'%.60s' is no UUID", a->uuid);
	if (a->nguid &&
	    parse_hex(a->nguid, opts->nguid.b, sizeof(opts->nguid.b)))
		return err_set(err, -EINVAL, "nguid '%.60s': 32 hex digits",
			       a->nguid);
	if (a->eui64 && parse_hex(a->eui64, opts->eui64, sizeof(opts->eui64)))
		return err_set(err, -EINVAL, "eui64 '%.60s': 16 hex digits",
			       a->eui64);
	if (a->no_auto_visible)
		return err_set(err, -EINVAL,
			       "no_auto_visible: every host of the subsystem "
			       "sees its namespaces");
	return 0;
}

static int add_ns_try(struct control *ctl, const struct ns_args *a,
		      struct err *err)
{
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);
	struct disk *disk = disk_find(&ctl->registry, a->bdev_name);
	struct tgt_subsys_info info;
	struct tgt_ns_opts opts;
	int ret;

	if (!ss)
		return err_set(err, -ENODEV, "no subsystem %s", a->nqn.nqn);
	if (!disk)
		return err_set(err, -ENODEV, "no bdev %s", a->bdev_name);
	tgt_subsys_info_get(ss, &info);
	if (info.is_discovery)
		return err_set(err, -EINVAL, "discovery has no namespaces");
	ret = ns_opts(a, &opts, err);
	return ret ? ret : disk_serve(disk, ss, &opts, err);
}

static void add_ns(struct jrpc_call *call, void *args)
{
	struct err err = {0};
	int ret = add_ns_try(jrpc_ctx(call), args, &err);

	if (ret > 0) {
		jrpc_result(call, json_integer(ret));
		return;
	}
	log_warn("namespace refused", "reason=\"%s\"", err.text);
	jrpc_fail_params(call);
}

struct remove_ns_args {
	struct nqn_args nqn;
	uint32_t nsid;
};
static const struct param remove_ns_params[] = {
	NQN_PARAMS,
	{"nsid", PARAM_U32, offsetof(struct remove_ns_args, nsid), true},
};

static void remove_ns(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct remove_ns_args *a = args;
	struct tgt_subsys *ss = subsys_of(ctl, &a->nqn);
	struct err err = {0};

	if (!ss || tgt_ns_remove(ss, a->nsid, on_done, call, &err))
		jrpc_fail_params(call);
}

#define METHOD(name_, params_, args_, run_)                                    \
	{                                                                      \
		.name = name_, .params = params_,                              \
		.param_count = ARRAY_SIZE(params_),                            \
		.args_size = sizeof(struct args_), .run = run_,                \
		.attrs = JRPC_CHANGES                                          \
	}

static const struct jrpc_method methods[] = {
	METHOD("nvmf_create_subsystem", create_params, create_args, create),
	METHOD("nvmf_delete_subsystem", nqn_params, nqn_args, delete_subsys),
	METHOD("nvmf_subsystem_add_ns", add_ns_params, ns_args, add_ns),
	METHOD("nvmf_subsystem_remove_ns", remove_ns_params, remove_ns_args,
	       remove_ns),
};

const struct jrpc_table control_subsystem = {methods, ARRAY_SIZE(methods)};
