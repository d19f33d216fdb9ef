/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a subsystem from a target that speaks SPDK's JSON-RPC, and the service
 * with it when it was the last one.  The caller's thread.  Invariant: the
 * subsystem goes last of what the target has, so that a second run finds what
 * an interrupted one has left; nothing is written to a disk.
 */
#include "deploy/removal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "deploy/limit.h"

static const char *text_of(const json_t *item, const char *key)
{
	const char *text = json_string_value(json_object_get(item, key));

	return text ? text : "";
}

/* --- may it go? --- */

static int check_ours(struct deployment *d, const json_t *ss, struct err *err)
{
	const char *serial = text_of(ss, "serial_number");

	if (d->opts->is_forced || !strcmp(serial, d->serial))
		return 0;
	return err_set(err, -EEXIST,
		       "%s: %.80s was made by somebody else (its serial is "
		       "%.20s, not %.20s): serial:%.20s or --force removes it",
		       d->node->host, d->nqn, serial, d->serial, serial);
}

int removal_check_pool(const struct deployment *d,
		       const struct registered_ns *ns, struct err *err)
{
	if (d->opts->is_forced || !d->opts->registered ||
	    !registered_has(d->opts->registered, ns))
		return 0;
	return err_set(err, -EBUSY,
		       "%s: %.60s ns %u is registered with the master %.40s: "
		       "take it out of the pool first "
		       "(mooncake_ssd_unregister), or use --force",
		       d->node->host, ns->nqn, ns->nsid,
		       d->opts->registered->master);
}

static int check_idle(struct deployment *d, struct relay *relay,
		      struct err *err)
{
	json_t *params = json_pack("{s:s}", "nqn", d->nqn), *list = NULL;
	struct err why = {0};
	size_t count;
	int ret = relay_call(relay, "nvmf_subsystem_get_controllers", params,
			     &list, &why);

	count = json_array_size(list);
	json_decref(params);
	if (ret && ret != -ENOSYS)
		err_set(err, ret, "%s", why.text);
	else if (d->opts->is_forced)
		ret = 0;
	else if (ret)
		err_set(err, ret = -EBUSY,
			"%s: the target there can't say who is connected: "
			"--force removes %.80s all the same",
			d->node->host, d->nqn);
	else if (count)
		ret = err_set(err, -EBUSY,
			      "%s: %zu hosts are connected to %.60s (%.50s): "
			      "take it out of the pool first "
			      "(mooncake_ssd_unregister), or use --force",
			      d->node->host, count, d->nqn,
			      text_of(json_array_get(list, 0), "hostnqn"));
	json_decref(list);
	return ret;
}

/* --- what goes --- */

static bool names_disks(const struct node *node)
{
	return node->disk_count || node->pci_count;
}

static bool is_wanted(const struct deployment *d, const struct removal *r,
		      const struct removal_disk *disk)
{
	return !names_disks(d->node) || r->names(d->node, disk->at);
}

static bool serves(const struct removal *r, const json_t *ss, const char *disk)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(ss, "namespaces"), i, item)
	{
		if (r->has(disk, text_of(item, "bdev_name")))
			return true;
	}
	return false;
}

static bool is_discovery(const json_t *ss)
{
	return !strcmp(text_of(ss, "subtype"), "Discovery");
}

static bool serves_elsewhere(const struct removal *r, const json_t *list,
			     const json_t *ss, const char *disk)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (item != ss && serves(r, item, disk))
			return true;
	}
	return false;
}

/* By a volume, a RAID, or whatever else has it open for itself. */
static bool is_claimed(const struct removal *r, const json_t *bdevs,
		       const json_t *ss, const char *disk)
{
	const json_t *namespaces = json_object_get(ss, "namespaces");
	json_t *item;
	size_t i;

	json_array_foreach(bdevs, i, item)
	{
		const char *bdev = text_of(item, "name");

		if (r->has(disk, bdev) &&
		    !relay_find(namespaces, "bdev_name", bdev) &&
		    json_is_true(json_object_get(item, "claimed")))
			return true;
	}
	return false;
}

/* In a target of our own, also what an interrupted run has left. */
static bool may_go(const struct removal *r, const json_t *bdevs,
		   const json_t *ss, const char *disk)
{
	return (r->is_ours || serves(r, ss, disk)) &&
	       !is_claimed(r, bdevs, ss, disk);
}

static int mark_disks(struct deployment *d, struct removal *r,
		      const json_t *list, const json_t *ss, struct err *err)
{
	struct relay relay = deployment_relay(d);
	bool is_named = names_disks(d->node);
	json_t *bdevs;
	int ret = relay_list(&relay, "bdev_get_bdevs", &bdevs, err);

	for (size_t i = 0; i < r->count && ret == 0; i++) {
		struct removal_disk *disk = &r->disks[i];

		if (!is_wanted(d, r, disk))
			continue;
		disk->goes = ((d->opts->is_forced && is_named) ||
			      may_go(r, bdevs, ss, disk->name)) &&
			     !serves_elsewhere(r, list, ss, disk->name);
		if (!disk->goes && is_named)
			plan_note(&d->plan,
				  "%s (%s) stays: %.80s does not have it, or "
				  "something else uses it, too",
				  disk->name, disk->at, d->nqn);
	}
	if (ret == 0)
		json_decref(bdevs);
	return ret;
}

/* A namespace without a disk that we know goes with the whole only. */
static bool ns_goes(const struct deployment *d, const struct removal *r,
		    const json_t *ns)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->has(r->disks[i].name, text_of(ns, "bdev_name")))
			return is_wanted(d, r, &r->disks[i]);
	return !names_disks(d->node);
}

/* How many of its namespaces go. */
static size_t count_going(const struct deployment *d, const struct removal *r,
			  const json_t *ss)
{
	size_t i, count = 0;
	json_t *item;

	json_array_foreach(json_object_get(ss, "namespaces"), i, item)
	{
		count += ns_goes(d, r, item);
	}
	return count;
}

static int check_pool(const struct deployment *d, const struct removal *r,
		      const json_t *ss, struct err *err)
{
	struct registered_ns ns = {.nqn = d->nqn};
	json_t *item;
	size_t i;
	int ret = 0;

	json_array_foreach(json_object_get(ss, "listen_addresses"), i, item)
	{
		if (ns.addr_count < ARRAY_SIZE(ns.addrs))
			snprintf(ns.addrs[ns.addr_count++], sizeof(ns.addrs[0]),
				 "%s", text_of(item, "traddr"));
	}
	json_array_foreach(json_object_get(ss, "namespaces"), i, item)
	{
		ns.nsid = (uint32_t)json_integer_value(
			json_object_get(item, "nsid"));
		if (ret == 0 && ns_goes(d, r, item))
			ret = removal_check_pool(d, &ns, err);
	}
	return ret;
}

/* --- steps --- */

/* First, so that nobody comes to what is half gone. */
static void plan_listeners(struct deployment *d, const json_t *ss)
{
	json_t *item, *address;
	char title[320];
	size_t i;

	json_array_foreach(json_object_get(ss, "listen_addresses"), i, item)
	{
		snprintf(title, sizeof(title), "stop listening on %.200s %.20s",
			 text_of(item, "traddr"), text_of(item, "trsvcid"));
		/* What older versions call trtype besides is not taken. */
		address = json_pack("{s:O, s:O, s:O, s:O}", "trtype",
				    json_object_get(item, "trtype"), "adrfam",
				    json_object_get(item, "adrfam"), "traddr",
				    json_object_get(item, "traddr"), "trsvcid",
				    json_object_get(item, "trsvcid"));
		plan_rpc(&d->plan, title, "nvmf_subsystem_remove_listener",
			 json_pack("{s:s, s:o}", "nqn", d->nqn,
				   "listen_address", address));
	}
}

static void plan_namespaces(struct deployment *d, const struct removal *r,
			    const json_t *ss)
{
	json_t *item;
	char title[128];
	size_t i;

	json_array_foreach(json_object_get(ss, "namespaces"), i, item)
	{
		json_int_t nsid =
			json_integer_value(json_object_get(item, "nsid"));

		if (!ns_goes(d, r, item))
			continue;
		snprintf(title, sizeof(title), "remove namespace %lld (%.60s)",
			 (long long)nsid, text_of(item, "bdev_name"));
		plan_rpc(&d->plan, title, "nvmf_subsystem_remove_ns",
			 json_pack("{s:s, s:I}", "nqn", d->nqn, "nsid", nsid));
	}
}

static void plan_disks(struct deployment *d, const struct removal *r)
{
	char title[360];

	for (size_t i = 0; i < r->count; i++) {
		const struct removal_disk *disk = &r->disks[i];

		if (!disk->goes)
			continue;
		snprintf(title, sizeof(title), "let go of %s (%s)", disk->name,
			 disk->at);
		plan_rpc(&d->plan, title, r->method,
			 json_pack("{s:s}", "name", disk->name));
	}
}

/* Does another subsystem's host have that key? */
static bool is_key_used(const json_t *list, const json_t *ss, const char *name)
{
	json_t *item, *host;
	size_t i, k;

	json_array_foreach(list, i, item)
		json_array_foreach(json_object_get(item, "hosts"), k, host)
	{
		if (item != ss &&
		    (!strcmp(text_of(host, "dhchap_key"), name) ||
		     !strcmp(text_of(host, "dhchap_ctrlr_key"), name)))
			return true;
	}
	return false;
}

/* One that a deployment named; the scripts of a kernel's target may need its
 * file, too. */
static void plan_key(struct deployment *d, const char *name)
{
	char title[HOSTKEY_NAME_LEN + 32];
	struct strbuf script = {0};

	snprintf(title, sizeof(title), "forget the key %s", name);
	plan_rpc(&d->plan, title, "keyring_file_remove_key",
		 json_pack("{s:s}", "name", name));
	strbuf_addf(&script,
		    "f=" HOSTKEY_FOLDER "/%s\n"
		    "grep -qF \"$f\" " DEPLOY_FOLDER "/*.sh 2>/dev/null || "
		    "rm -f \"$f\"\nrmdir " HOSTKEY_FOLDER " 2>/dev/null || :\n",
		    name);
	snprintf(title, sizeof(title), "remove the key %s", name);
	plan_script(&d->plan, title, script.p ? script.p : "", NULL);
	d->plan.failed |= script.failed;
	strbuf_fini(&script);
}

static void plan_keys(struct deployment *d, const json_t *list,
		      const json_t *ss)
{
	static const char *const params[] = {"dhchap_key", "dhchap_ctrlr_key"};
	const json_t *hosts = json_object_get(ss, "hosts");
	json_t *host;
	size_t i;

	json_array_foreach(hosts, i, host)
	{
		char want[HOSTKEY_NAME_LEN];

		for (int k = 0; k < HOSTKEY_KINDS; k++) {
			hostkey_name(text_of(host, "nqn"), k, want);
			if (!strcmp(text_of(host, params[k]), want) &&
			    !is_key_used(list, ss, want))
				plan_key(d, want);
		}
	}
}

static void plan_service(struct deployment *d, const struct removal *r)
{
	const char *s = r->service;
	struct strbuf script = {0};
	char title[128];
	struct step *step;

	strbuf_addf(&script, "%s%ssocket=", shell_late, r->find);
	shell_quote(&script, d->socket);
	strbuf_addf(
		&script,
		"\nu=/etc/systemd/system/%s.service\n"
		"if [ -e $u ]; then\n"
		"  systemctl disable --now --no-block %s.service || exit 1\n"
		"else kill $(one) 2>/dev/null; fi\n"
		"while [ -n \"$(one)\" ]; do\n"
		"  ! late || { echo 'it does not end' >&2; exit 1; }\n"
		"  sleep 0.1; done\n"
		"rm -f $u /run/%s.pid \"$socket\" " DEPLOY_FOLDER
		"/%s.sh " DEPLOY_FOLDER "/%s.json || exit 1\n"
		"[ ! -d /run/systemd/system ] || systemctl daemon-reload\n"
		"%s",
		s, s, s, s, s, r->with_service);
	snprintf(title, sizeof(title), "end and remove the service %s", s);
	step = plan_script(&d->plan, title, script.p ? script.p : "", NULL);
	if (step)
		step->timeout_ms = LIMIT_END_MS;
	d->plan.failed |= script.failed;
	strbuf_fini(&script);
}

/* Is anything left that keeps it? */
static bool is_last(struct deployment *d, const struct removal *r,
		    const json_t *list, const json_t *ss)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (item != ss && !is_discovery(item))
			return false;
	}
	for (i = 0; i < r->count; i++)
		if (!r->disks[i].goes) {
			plan_note(&d->plan,
				  "the target stays: it has %s (%s), too",
				  r->disks[i].name, r->disks[i].at);
			return false;
		}
	return true;
}

int removal_plan(struct deployment *d, struct removal *r, struct err *err)
{
	struct relay relay = deployment_relay(d);
	char title[NVME_NQN_LEN + 32];
	json_t *list, *ss;
	size_t going;
	bool is_whole;
	int ret = relay_list(&relay, "nvmf_get_subsystems", &list, err);

	if (ret)
		return ret;
	ss = relay_find(list, "nqn", d->nqn);
	going = count_going(d, r, ss);
	is_whole = going == json_array_size(json_object_get(ss, "namespaces"));
	ret = mark_disks(d, r, list, ss, err);
	if (ss && ret == 0)
		ret = check_ours(d, ss, err);
	if (ss && ret == 0)
		ret = check_pool(d, r, ss, err);
	if (ss && ret == 0 && (going || is_whole))
		ret = check_idle(d, &relay, err);
	if (ret == 0) {
		if (is_whole)
			plan_listeners(d, ss);
		plan_namespaces(d, r, ss);
		plan_disks(d, r);
		if (r->let_go)
			r->let_go(d, r);
	}
	if (ret == 0 && ss && is_whole) {
		snprintf(title, sizeof(title), "delete the subsystem %s",
			 d->nqn);
		plan_rpc(&d->plan, title, "nvmf_delete_subsystem",
			 json_pack("{s:s}", "nqn", d->nqn));
		plan_keys(d, list, ss);
	}
	if (ret == 0 && r->is_ours && is_whole && is_last(d, r, list, ss))
		plan_service(d, r);
	json_decref(list);
	return ret;
}

int removal_plan_stopped(struct deployment *d, const struct removal *r,
			 struct err *err)
{
	if (!r->is_ours)
		return 0; /* there is nothing of ours */
	if (!d->opts->is_forced)
		return err_set(err, -ENOTCONN,
			       "%s: the target of the service %s does not run, "
			       "so that it can't say what it serves: start it "
			       "and try again, or let --force remove the "
			       "service with all that it has",
			       d->node->host, r->service);
	plan_service(d, r);
	return 0;
}
