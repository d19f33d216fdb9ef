/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The present state as the calls that make it.  Control loop.  Invariant: each
 * call in a section stands behind those that it needs.
 */
#include "control/config.h"

#include <errno.h>
#include <string.h>

#include "control/address.h"
#include "control/methods.h"

/* Takes params over; a NULL anywhere leaves the entry out. */
static void add_call(json_t *out, const char *method, json_t *params)
{
	json_array_append_new(out, json_pack("{s:s, s:o}", "method", method,
					     "params", params));
}

static json_t *disks_config(struct control *ctl, bool with_given)
{
	json_t *out = json_array();
	struct disk *disk;

	list_for_each (disk, &ctl->registry.disks, node) {
		/* A drive is one call, the first namespace's. */
		if (!disk->is_deleting && disk->params &&
		    (with_given || !disk->is_given))
			add_call(out, disk->kind->create,
				 json_incref(disk->params));
	}
	return out;
}

static void subsys_call(json_t *out, const struct tgt_subsys_info *info)
{
	add_call(out, "nvmf_create_subsystem",
		 json_pack("{s:s, s:b, s:s, s:s, s:I, s:I, s:I, s:b}", "nqn",
			   info->opts.nqn, "allow_any_host",
			   !info->opts.is_host_list, "serial_number",
			   info->opts.serial, "model_number", info->opts.model,
			   "max_namespaces",
			   (json_int_t)info->opts.max_namespaces, "min_cntlid",
			   (json_int_t)info->opts.min_cntlid, "max_cntlid",
			   (json_int_t)info->opts.max_cntlid, "ana_reporting",
			   info->opts.ana_reporting));
}

static void host_calls(struct control *ctl, json_t *out,
		       const struct tgt_subsys *ss, const char *nqn)
{
	json_t *hosts = hosts_json(ctl, ss), *params;

	for (size_t i = 0; i < json_array_size(hosts); i++) {
		params = json_copy(json_array_get(hosts, i));
		/* "nqn" is the host's there, the subsystem's here */
		json_object_set(params, "host", json_object_get(params, "nqn"));
		json_object_set_new(params, "nqn", json_string(nqn));
		add_call(out, "nvmf_subsystem_add_host", params);
	}
	json_decref(hosts);
}

static void ns_calls(struct control *ctl, json_t *out,
		     const struct tgt_subsys *ss, const char *nqn,
		     bool with_given)
{
	struct tgt_ns_info info;
	struct disk *disk;
	uint32_t nsid = 0;
	json_t *ns, *resv;

	while ((nsid = tgt_ns_after(ss, nsid))) {
		if (!tgt_ns_info_get(ss, nsid, &info))
			continue;
		disk = disk_of_bdev(&ctl->registry, info.bdev);
		if (!disk)
			continue;
		resv = reservation_call(nqn, ss, &info);
		if (disk->is_given && !with_given) {
			if (resv)
				json_array_append_new(out, resv);
			continue;
		}
		ns = json_pack("{s:I, s:s, s:I}", "nsid", (json_int_t)nsid,
			       "bdev_name", disk->name, "anagrpid",
			       (json_int_t)info.opts.anagrpid);
		ns_ids_json(&info, ns);
		add_call(out, "nvmf_subsystem_add_ns",
			 json_pack("{s:s, s:o}", "nqn", nqn, "namespace", ns));
		if (resv)
			json_array_append_new(out, resv);
	}
}

/* One call per group that is not optimized there. */
static void ana_calls(json_t *out, const struct tgt_subsys *ss, const char *nqn,
		      const struct addr *addr)
{
	uint32_t groups[TGT_NS_MAX + 1];
	size_t count = ana_groups(ss, groups);
	enum tgt_ana state;

	for (size_t i = 0; i < count; i++) {
		state = tgt_subsys_ana_get(ss, addr, groups[i]);
		if (state == TGT_ANA_OPTIMIZED)
			continue;
		add_call(out, "nvmf_subsystem_listener_set_ana_state",
			 json_pack("{s:s, s:o, s:s, s:I}", "nqn", nqn,
				   "listen_address", address_json(addr),
				   "ana_state", ana_name(state), "anagrpid",
				   (json_int_t)groups[i]));
	}
}

static json_t *listener_params(const char *nqn,
			       const struct tgt_listener_info *info)
{
	json_t *params = json_pack("{s:s, s:o}", "nqn", nqn, "listen_address",
				   address_json(&info->addr));

	if (info->is_tls)
		json_object_set_new(params, "secure_channel", json_true());
	return params;
}

static void listener_calls(json_t *out, const struct tgt_subsys *ss,
			   const struct tgt_subsys_info *subsys)
{
	struct tgt_listener_info info;

	for (unsigned i = 0; tgt_subsys_listener_at(ss, i, &info); i++) {
		if (info.is_discovery)
			continue;
		add_call(out, "nvmf_subsystem_add_listener",
			 listener_params(subsys->opts.nqn, &info));
		if (subsys->opts.ana_reporting)
			ana_calls(out, ss, subsys->opts.nqn, &info.addr);
	}
}

static void discovery_calls(struct control *ctl, json_t *out, const char *nqn,
			    bool with_given)
{
	const struct tgt_referral *ref;
	struct tgt_listener_info info;

	for (unsigned i = 0; tgt_listener_at(ctl->tgt, i, &info); i++) {
		if (!info.is_discovery ||
		    (!with_given && addr_eq(&info.addr, &ctl->given_discovery)))
			continue;
		add_call(out, "nvmf_subsystem_add_listener",
			 listener_params(nqn, &info));
	}
	for (unsigned i = 0; (ref = tgt_referral_at(ctl->tgt, i)); i++)
		add_call(out, "nvmf_discovery_add_referral",
			 referral_json(ref));
}

static json_t *nvmf_config(struct control *ctl, bool with_given)
{
	struct tgt_subsys *ss = NULL;
	struct tgt_subsys_info info;
	json_t *out = json_array();
	bool is_given;

	if (ctl->auth_config)
		add_call(out, "nvmf_set_config", json_copy(ctl->auth_config));
	if (ctl->has_transport && (with_given || !ctl->is_transport_given))
		add_call(out, "nvmf_create_transport", transport_json(ctl));
	while ((ss = tgt_subsys_next(ctl->tgt, ss))) {
		tgt_subsys_info_get(ss, &info);
		if (info.is_discovery) {
			discovery_calls(ctl, out, info.opts.nqn, with_given);
			continue;
		}
		/* Those of the options are reachable everywhere. */
		is_given = !info.opts.is_listener_list;
		if (with_given || !is_given)
			subsys_call(out, &info);
		host_calls(ctl, out, ss, info.opts.nqn);
		ns_calls(ctl, out, ss, info.opts.nqn, with_given);
		if (with_given || !is_given)
			listener_calls(out, ss, &info);
	}
	return out;
}

static json_t *keyring_config(struct control *ctl, bool with_given)
{
	return keyring_json(&ctl->keyring);
}

/* In the order in which they are loaded. */
static const struct {
	const char *name;
	json_t *(*make)(struct control *ctl, bool with_given);
	const char *needs[2];
} sections[] = {
	{"keyring", keyring_config, {NULL, NULL}},
	{"bdev", disks_config, {"keyring", NULL}},
	{"nvmf", nvmf_config, {"bdev", "keyring"}},
};

json_t *config_section(struct control *ctl, const char *name, bool with_given)
{
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		if (strcmp(sections[i].name, name) == 0)
			return sections[i].make(ctl, with_given);
	}
	return NULL;
}

json_t *config_all(struct control *ctl, bool with_given)
{
	json_t *list = json_array(), *calls;

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		calls = sections[i].make(ctl, with_given);
		json_array_extend(calls, json_object_get(ctl->not_loaded,
							 sections[i].name));
		json_array_append_new(list, json_pack("{s:s, s:o}", "subsystem",
						      sections[i].name,
						      "config", calls));
	}
	return json_pack("{s:o}", "subsystems", list);
}

struct config_args {
	const char *name;
};
static const struct param config_params[] = {
	{"name", PARAM_STR, offsetof(struct config_args, name), true},
};

static void get_config(struct jrpc_call *call, void *args)
{
	const struct config_args *a = args;
	json_t *out = config_section(jrpc_ctx(call), a->name, true);

	if (out)
		jrpc_result(call, out);
	else
		jrpc_fail(call, JRPC_INVALID_PARAMS,
			  "Subsystem '%.60s' not found", a->name);
}

static void get_subsystems(struct jrpc_call *call, void *args)
{
	json_t *out = json_array(), *needs;

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		needs = json_array();
		for (size_t n = 0; n < ARRAY_SIZE(sections[i].needs); n++) {
			if (sections[i].needs[n])
				json_array_append_new(
					needs,
					json_string(sections[i].needs[n]));
		}
		json_array_append_new(out, json_pack("{s:s, s:o}", "subsystem",
						     sections[i].name,
						     "depends_on", needs));
	}
	jrpc_result(call, out);
}

static const struct jrpc_method methods[] = {
	{.name = "framework_get_config",
	 .params = config_params,
	 .param_count = ARRAY_SIZE(config_params),
	 .args_size = sizeof(struct config_args),
	 .run = get_config},
	{.name = "framework_get_subsystems", .run = get_subsystems},
};

const struct jrpc_table control_config = {methods, ARRAY_SIZE(methods)};
