/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the target serves and to whom, as nvmf_get_* say it.  Control loop.
 * Invariant: nothing here changes anything.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "control/address.h"
#include "control/methods.h"

#define POLL_GROUP "nvmf_tgt_poll_group_000"

static void hex_upper(const uint8_t *bytes, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02X", bytes[i]);
}

static bool is_zero(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i])
			return false;
	}
	return true;
}

/* nguid and eui64 as they are added again; without what is not set. */
void ns_ids_json(const struct tgt_ns_info *info, json_t *out)
{
	char nguid[33], eui64[17], uuid[UUID_TEXT_LEN];

	hex_upper(info->opts.nguid.b, sizeof(info->opts.nguid.b), nguid);
	json_object_set_new(out, "nguid", json_string(nguid));
	if (!is_zero(info->opts.eui64, sizeof(info->opts.eui64))) {
		hex_upper(info->opts.eui64, sizeof(info->opts.eui64), eui64);
		json_object_set_new(out, "eui64", json_string(eui64));
	}
	uuid_format_hex(&info->opts.uuid, uuid);
	json_object_set_new(out, "uuid", json_string(uuid));
}

static json_t *namespaces(struct control *ctl, const struct tgt_subsys *ss,
			  bool has_ana)
{
	json_t *out = json_array(), *one;
	struct tgt_ns_info info;
	struct disk *disk;
	uint32_t nsid = 0;
	const char *name;

	while ((nsid = tgt_ns_after(ss, nsid))) {
		if (!tgt_ns_info_get(ss, nsid, &info))
			continue;
		disk = disk_of_bdev(&ctl->registry, info.bdev);
		name = disk ? disk->name : info.bdev->name;
		one = json_pack("{s:I, s:s, s:s}", "nsid", (json_int_t)nsid,
				"bdev_name", name, "name", name);
		ns_ids_json(&info, one);
		if (has_ana)
			json_object_set_new(one, "anagrpid",
					    json_integer(info.opts.anagrpid));
		json_array_append_new(out, one);
	}
	return out;
}

/* The newest first, as SPDK has them. */
static json_t *listeners(const struct tgt_subsys *ss, bool is_discovery)
{
	struct tgt_listener_info info;
	json_t *out = json_array(), *one;

	for (unsigned i = 0; tgt_subsys_listener_at(ss, i, &info); i++) {
		if (info.is_discovery != is_discovery)
			continue;
		one = address_json(&info.addr);
		/* what older versions call trtype besides */
		json_object_set_new(one, "transport", json_string("TCP"));
		json_array_insert_new(out, 0, one);
	}
	return out;
}

static json_t *subsys_json(struct control *ctl, const struct tgt_subsys *ss)
{
	struct tgt_subsys_info info;
	json_t *out, *more;

	tgt_subsys_info_get(ss, &info);
	out = json_pack("{s:s, s:s, s:o, s:b, s:o}", "nqn", info.opts.nqn,
			"subtype", info.is_discovery ? "Discovery" : "NVMe",
			"listen_addresses", listeners(ss, info.is_discovery),
			"allow_any_host", !info.opts.is_host_list, "hosts",
			hosts_json(ctl, ss));
	if (info.is_discovery)
		return out;
	more = json_pack("{s:s, s:s, s:I, s:I, s:I, s:b, s:o}", "serial_number",
			 info.opts.serial, "model_number", info.opts.model,
			 "max_namespaces", (json_int_t)info.opts.max_namespaces,
			 "min_cntlid", (json_int_t)info.opts.min_cntlid,
			 "max_cntlid", (json_int_t)info.opts.max_cntlid,
			 "ana_reporting", info.opts.ana_reporting, "namespaces",
			 namespaces(ctl, ss, info.opts.ana_reporting));
	json_object_update(out, more);
	json_decref(more);
	return out;
}

static const struct param get_params[] = {
	{"nqn", PARAM_STR, offsetof(struct nqn_args, nqn)},
	{"tgt_name", PARAM_STR, offsetof(struct nqn_args, tgt_name)},
};
static const struct param one_params[] = {NQN_PARAMS};

static void get_subsystems(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	const struct nqn_args *a = args;
	struct tgt_subsys *ss = NULL;
	json_t *out;

	if (a->nqn) {
		ss = subsys_of(ctl, a);
		if (ss)
			jrpc_result(call,
				    json_pack("[o]", subsys_json(ctl, ss)));
		else
			jrpc_fail_errno(call, -ENODEV);
		return;
	}
	out = json_array();
	while ((ss = tgt_subsys_next(ctl->tgt, ss)))
		json_array_append_new(out, subsys_json(ctl, ss));
	jrpc_result(call, out);
}

static void get_controllers(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	struct tgt_subsys *ss = subsys_of(ctl, args);
	struct tgt_ctrl *ctrl = NULL;
	struct tgt_ctrl_info info;
	char hostid[UUID_TEXT_LEN];
	struct uuid id;
	json_t *out;

	if (!ss) {
		jrpc_fail_params(call);
		return;
	}
	out = json_array();
	while ((ctrl = tgt_ctrl_next(ss, ctrl))) {
		tgt_ctrl_info_get(ctrl, &info);
		memcpy(id.b, info.hostid, sizeof(id.b));
		uuid_format_hex(&id, hostid);
		json_array_append_new(
			out,
			json_pack("{s:i, s:s, s:s, s:s, s:i}", "cntlid",
				  info.cntlid, "cntrltype", "io", "hostnqn",
				  info.hostnqn, "hostid", hostid,
				  "num_io_qpairs", (int)info.io_queues));
	}
	jrpc_result(call, out);
}

static json_t *qpair_json(const struct tgt_qpair_info *q)
{
	static const char *const states[] = {
		[TGT_AUTH_UNDERWAY] = "negotiate",
		[TGT_AUTH_DONE] = "completed",
		[TGT_AUTH_FAILED] = "failure1",
	};
	json_t *out = json_pack("{s:i, s:i, s:s, s:s, s:s, s:o, s:o}", "cntlid",
				q->cntlid, "qid", q->qid, "state",
				q->auth == TGT_AUTH_UNDERWAY ? "authenticating"
							     : "enabled",
				"thread", POLL_GROUP, "hostnqn", q->hostnqn,
				"listen_address", address_json(&q->listen),
				"peer_address", address_json(&q->peer));
	json_t *auth;

	if (q->auth == TGT_AUTH_NONE)
		return out;
	auth = json_pack("{s:s}", "state", states[q->auth]);
	if (q->hash) {
		json_object_set_new(auth, "digest", json_string(q->hash));
		json_object_set_new(auth, "dhgroup", json_string(q->group));
	}
	json_object_set_new(out, "auth", auth);
	return out;
}

static void get_qpairs(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	struct tgt_subsys *ss = subsys_of(ctl, args);
	struct tgt_ctrl *ctrl = NULL;
	struct tgt_qpair_info info;
	json_t *out;

	if (!ss) {
		jrpc_fail_params(call);
		return;
	}
	out = json_array();
	while ((ctrl = tgt_ctrl_next(ss, ctrl))) {
		struct tgt_conn *conn = NULL;

		while ((conn = tgt_qpair_next(ctrl, conn))) {
			tgt_qpair_info_get(conn, &info);
			json_array_append_new(out, qpair_json(&info));
		}
	}
	jrpc_result(call, out);
}

/* All threads as one group: connections are spread over them evenly. */
static void get_stats(struct jrpc_call *call, void *args)
{
	struct control *ctl = jrpc_ctx(call);
	struct tgt_stats st;
	json_int_t admin, io;

	tgt_stats_get(ctl->tgt, &st);
	admin = (json_int_t)MIN(st.controllers, st.connections);
	io = (json_int_t)st.connections - admin;
	jrpc_result(
		call,
		json_pack("{s:I, s:[{s:s, s:I, s:I, s:I, s:I, s:i, s:i, s:I,"
			  " s:[{s:s}]}]}",
			  "tick_rate", (json_int_t)NS_PER_S, "poll_groups",
			  "name", POLL_GROUP, "admin_qpairs", admin,
			  "io_qpairs", io, "current_admin_qpairs", admin,
			  "current_io_qpairs", io,
			  "current_unassociated_qpairs", 0, "pending_bdev_io",
			  0, "completed_nvme_io",
			  (json_int_t)(st.reads + st.writes), "transports",
			  "trtype", "TCP"));
}

static const struct param stats_params[] = {
	{"tgt_name", PARAM_STR, offsetof(struct nqn_args, tgt_name)},
};

#define METHOD(name_, params_, run_)                                           \
	{                                                                      \
		.name = name_, .params = params_,                              \
		.param_count = ARRAY_SIZE(params_),                            \
		.args_size = sizeof(struct nqn_args), .run = run_              \
	}

static const struct jrpc_method methods[] = {
	METHOD("nvmf_get_subsystems", get_params, get_subsystems),
	METHOD("nvmf_subsystem_get_controllers", one_params, get_controllers),
	METHOD("nvmf_subsystem_get_qpairs", one_params, get_qpairs),
	METHOD("nvmf_get_stats", stats_params, get_stats),
};

const struct jrpc_table control_nvmf_info = {methods, ARRAY_SIZE(methods)};
