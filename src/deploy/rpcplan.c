/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Desired state against what a target answers.  The caller's thread.
 * Invariant: what exists is never changed or removed; steps only add.
 */
#include "deploy/rpcplan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MIN_NAMESPACES 32 /* room for disks that come later */

struct rpc_want *rpc_want_new(const struct deployment *d)
{
	struct rpc_want *want = calloc(1, sizeof(*want));

	if (want) {
		want->trtype = d->trtype;
		want->transport = d->opts->transport;
		want->nqn = d->nqn;
		want->serial = d->serial;
		want->node = d->node;
		want->keys = &d->keys;
	}
	return want;
}

/* --- transport --- */

static void note_difference(struct plan *plan, const json_t *have,
			    const json_t *want)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)want, key, value)
	{
		const json_t *now = json_object_get(have, key);

		if (now && json_is_integer(value) &&
		    json_integer_value(now) != json_integer_value(value))
			plan_note(plan,
				  "the transport is there already with %s %lld "
				  "(not %lld): left as it is; --replace starts "
				  "the target anew",
				  key, (long long)json_integer_value(now),
				  (long long)json_integer_value(value));
	}
}

int rpcplan_transport(struct relay *relay, const struct rpc_want *want,
		      struct plan *plan, struct err *err)
{
	json_t *list, *item, *params;
	char title[96];
	size_t i;
	int ret;

	ret = relay_list(relay, "nvmf_get_transports", &list, err);
	if (ret)
		return ret;
	json_array_foreach(list, i, item)
	{
		const char *type =
			json_string_value(json_object_get(item, "trtype"));

		if (!type || !str_eq_nocase(str_of(type), str_of(want->trtype)))
			continue;
		note_difference(plan, item, want->transport);
		json_decref(list);
		return 0;
	}
	json_decref(list);
	params = json_deep_copy(want->transport);
	json_object_set_new(params, "trtype", json_string(want->trtype));
	snprintf(title, sizeof(title), "create the transport %s", want->trtype);
	/* Nothing takes a transport back: it does no harm. */
	plan_rpc(plan, title, "nvmf_create_transport", params);
	return 0;
}

/* --- subsystem --- */

static json_t *address(const struct rpc_want *want, const char *traddr)
{
	char port[8];

	snprintf(port, sizeof(port), "%u", want->node->trsvcid);
	return json_pack("{s:s, s:s, s:s, s:s}", "trtype", want->trtype,
			 "adrfam", strchr(traddr, ':') ? "IPv6" : "IPv4",
			 "traddr", traddr, "trsvcid", port);
}

static bool has_listener(const json_t *ss, const struct rpc_want *want,
			 const char *traddr)
{
	json_t *list = json_object_get(ss, "listen_addresses"), *item;
	const char *addr, *svc, *type;
	char port[8];
	size_t i;

	snprintf(port, sizeof(port), "%u", want->node->trsvcid);
	json_array_foreach(list, i, item)
	{
		addr = json_string_value(json_object_get(item, "traddr"));
		svc = json_string_value(json_object_get(item, "trsvcid"));
		type = json_string_value(json_object_get(item, "trtype"));
		if (addr && svc && type && !strcmp(addr, traddr) &&
		    !strcmp(svc, port) &&
		    str_eq_nocase(str_of(type), str_of(want->trtype)))
			return true;
	}
	return false;
}

static void plan_create(const struct rpc_want *want, struct plan *plan)
{
	char title[NVME_NQN_LEN + 40];
	struct step *step;

	snprintf(title, sizeof(title), "create the subsystem %s", want->nqn);
	step = plan_rpc(
		plan, title, "nvmf_create_subsystem",
		json_pack("{s:s, s:s, s:b, s:i}", "nqn", want->nqn,
			  "serial_number", want->serial, "allow_any_host",
			  want->node->allow_count == 0, "max_namespaces",
			  (int)MAX(want->bdev_count, (size_t)MIN_NAMESPACES)));
	step_undo_rpc(plan, step, "nvmf_delete_subsystem",
		      json_pack("{s:s}", "nqn", want->nqn));
}

static bool has_nsid(const json_t *taken, uint32_t nsid)
{
	json_t *item;
	size_t i;

	json_array_foreach(
		taken, i,
		item) if (json_integer_value(json_object_get(item, "nsid")) ==
			  nsid) return true;
	return false;
}

static int plan_namespaces(const struct rpc_want *want, const json_t *ss,
			   struct plan *plan, struct err *err)
{
	json_t *have = json_object_get(ss, "namespaces");
	size_t max = (size_t)json_integer_value(
		json_object_get(ss, "max_namespaces"));
	size_t count = json_array_size(have);
	uint32_t nsid = 0;

	for (size_t i = 0; i < want->bdev_count; i++) {
		const char *bdev = want->bdevs[i];
		struct step *step;
		char title[128];

		if (relay_find(have, "bdev_name", bdev))
			continue;
		if (ss && max && ++count > max)
			return err_set(err, -EEXIST,
				       "the subsystem %.80s takes %zu "
				       "namespaces at most, and %s would be "
				       "one more; use another nqn: or "
				       "--replace",
				       want->nqn, max, bdev);
		do
			nsid++;
		while (has_nsid(have, nsid));
		snprintf(title, sizeof(title), "add %s as namespace %u", bdev,
			 nsid);
		step = plan_rpc(plan, title, "nvmf_subsystem_add_ns",
				json_pack("{s:s, s:{s:s, s:I}}", "nqn",
					  want->nqn, "namespace", "bdev_name",
					  bdev, "nsid", (json_int_t)nsid));
		step_undo_rpc(plan, step, "nvmf_subsystem_remove_ns",
			      json_pack("{s:s, s:I}", "nqn", want->nqn, "nsid",
					(json_int_t)nsid));
	}
	return 0;
}

static void plan_listeners(const struct rpc_want *want, const json_t *ss,
			   struct plan *plan)
{
	const struct node *node = want->node;

	for (size_t i = 0; i < node->addr_count; i++) {
		const char *addr = node->addr[i];
		char title[320];
		struct step *step;

		if (has_listener(ss, want, addr))
			continue;
		snprintf(title, sizeof(title), "listen on %s port %u", addr,
			 node->trsvcid);
		step = plan_rpc(plan, title, "nvmf_subsystem_add_listener",
				json_pack("{s:s, s:o}", "nqn", want->nqn,
					  "listen_address",
					  address(want, addr)));
		step_undo_rpc(plan, step, "nvmf_subsystem_remove_listener",
			      json_pack("{s:s, s:o}", "nqn", want->nqn,
					"listen_address", address(want, addr)));
	}
}

int rpcplan_subsystem(struct relay *relay, const struct rpc_want *want,
		      struct plan *plan, struct err *err)
{
	json_t *list, *ss;
	int ret;

	ret = relay_list(relay, "nvmf_get_subsystems", &list, err);
	if (ret)
		return ret;
	ss = relay_find(list, "nqn", want->nqn);
	if (!ss)
		plan_create(want, plan);
	ret = plan_namespaces(want, ss, plan, err);
	if (ret == 0)
		ret = rpcplan_hosts(relay, want, ss, plan, err);
	/* Last, so that nobody connects to what is half done. */
	if (ret == 0)
		plan_listeners(want, ss, plan);
	json_decref(list);
	return ret;
}

/* --- over a reboot --- */

/* {"subsystems": [{"subsystem": …, "config": …}, …]} as nvmf_tgt -c reads it */
static int whole_config(struct relay *relay, json_t **out, struct err *err)
{
	json_t *names, *item, *all = json_array();
	size_t i;
	int ret;

	ret = relay_list(relay, "framework_get_subsystems", &names, err);
	json_array_foreach(names, i, item)
	{
		json_t *name = json_object_get(item, "subsystem"), *config;
		json_t *params = json_pack("{s:O}", "name", name);

		ret = relay_call(relay, "framework_get_config", params, &config,
				 err);
		json_decref(params);
		if (ret)
			break;
		json_array_append_new(all, json_pack("{s:O, s:o}", "subsystem",
						     name, "config", config));
	}
	json_decref(names);
	*out = json_pack("{s:o}", "subsystems", all);
	return ret;
}

int rpc_config_text(struct deployment *d, char **out, struct err *err)
{
	struct relay relay = deployment_relay(d);
	json_t *config = NULL;
	int ret = whole_config(&relay, &config, err);

	*out = ret ? NULL : json_dumps(config, JSON_INDENT(2));
	json_decref(config);
	return ret || *out ? ret : err_set(err, -ENOMEM, "out of memory");
}

int rpcplan_config(struct deployment *d, const char *path, struct err *err)
{
	struct relay relay = deployment_relay(d);
	struct remote_result res = {0};
	json_t *config = NULL, *have = NULL;
	char *text = NULL;
	int ret = whole_config(&relay, &config, err);

	if (ret == 0)
		ret = deployment_read(d, path, &res, err);
	if (ret == 0)
		have = json_loadb(res.out.p ? res.out.p : "", res.out.n, 0,
				  NULL);
	if (ret == 0 && !json_equal(have, config)) {
		text = json_dumps(config, JSON_INDENT(2));
		plan_file(&d->plan, "keep the configuration for a reboot", path,
			  text ? text : "", 0600);
		d->plan.failed |= !text;
	}
	free(text);
	json_decref(config);
	json_decref(have);
	remote_result_fini(&res);
	return ret;
}

/* --- what is there, for the register --- */

static int add_paths(const json_t *ss, uint32_t nsid, const struct node *node,
		     struct nslist *out, struct err *err)
{
	json_t *list = json_object_get(ss, "listen_addresses"), *item;
	const char *nqn = json_string_value(json_object_get(ss, "nqn"));
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *type =
			json_string_value(json_object_get(item, "trtype"));
		const char *addr =
			json_string_value(json_object_get(item, "traddr"));
		const char *svc =
			json_string_value(json_object_get(item, "trsvcid"));
		struct endpoint ep = {.trtype = NVME_TRTYPE_TCP, .nsid = nsid};
		struct endpoint asked = {0};
		uint64_t port;
		int ret;

		if (type && addr && svc && strcmp(type, "TCP")) {
			char where[300];

			snprintf(where, sizeof(where), "%.200s port %.20s",
				 addr, svc);
			nslist_leave_out(out, type, where, nqn);
			continue;
		}
		if (!type || !addr || !svc || str_to_u64(str_of(svc), &port) ||
		    port > UINT16_MAX)
			continue;
		snprintf(ep.traddr, sizeof(ep.traddr), "%s", addr);
		snprintf(ep.subnqn, sizeof(ep.subnqn), "%s", nqn);
		snprintf(asked.traddr, sizeof(asked.traddr), "%s", node->host);
		asked.is_ipv6 = strchr(node->host, ':') != NULL;
		ep.trsvcid = (uint16_t)port;
		ep.is_ipv6 = strchr(addr, ':') != NULL;
		endpoint_fix_wildcard(&ep, &asked);
		ret = nslist_add(out, &ep, NULL, err);
		if (ret)
			return ret;
	}
	return 0;
}

static int add_subsystem(const json_t *ss, const struct node *node,
			 struct nslist *out, struct err *err)
{
	json_t *list = json_object_get(ss, "namespaces"), *item;
	size_t i;
	int ret = 0;

	json_array_foreach(list, i, item)
	{
		json_int_t nsid =
			json_integer_value(json_object_get(item, "nsid"));

		if (nsid < 1 || nsid >= UINT32_MAX ||
		    (node->nsid && node->nsid != nsid))
			continue;
		ret = add_paths(ss, (uint32_t)nsid, node, out, err);
		if (ret)
			break;
	}
	return ret;
}

int rpc_namespaces(struct relay *relay, const struct node *node,
		   struct nslist *out, struct err *err)
{
	json_t *list, *item;
	size_t i;
	int ret;

	ret = relay_list(relay, "nvmf_get_subsystems", &list, err);
	if (ret)
		return ret;
	json_array_foreach(list, i, item)
	{
		const char *nqn =
			json_string_value(json_object_get(item, "nqn"));
		struct err ignored = {0};

		if (!nqn || nqn_check(str_of(nqn), &ignored) ||
		    (node->nqn[0] && strcmp(node->nqn, nqn)))
			continue;
		ret = add_subsystem(item, node, out, err);
		if (ret)
			break;
	}
	json_decref(list);
	return ret;
}
