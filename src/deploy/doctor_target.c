/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of targets, seen from this host: reachable, their limits, what their
 * namespaces are and hold, how their disks are.  One thread, which turns the
 * loop; probes of superblocks have threads of their own.  Invariant: nothing is
 * written to a namespace.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "deploy/ask.h"
#include "deploy/doctor_check.h"
#include "deploy/table.h"
#include "io/thread.h"

static void name_path(const struct endpoint *ep, char out[ENDPOINT_TEXT_LEN])
{
	char text[ENDPOINT_TEXT_LEN];
	struct strbuf name = {0};

	endpoint_format(ep, text);
	add_endpoint_name(&name, text);
	snprintf(out, ENDPOINT_TEXT_LEN, "%s", name.p ? name.p : text);
	strbuf_fini(&name);
}

/* --- which targets --- */

static void note_left_out(const char *text)
{
	/* What is no NVMe/TCP is none of our business here. */
}

static void take_list(struct doctor *d, const struct doctor_check *c,
		      const struct nslist *list)
{
	for (size_t i = 0; i < list->count; i++) {
		for (size_t k = 0; k < list->items[i].path_count; k++) {
			struct endpoint ep = list->items[i].paths[k];
			struct err err = {0};

			if (doctor_add_look(d, &ep, NULL, &err))
				doctor_add(d, c, DOCTOR_FAIL, ep.traddr, "%s",
					   err.text);
		}
	}
}

/* Its namespaces become looks; what can't be asked, a failure. */
static void list_subsystem(struct doctor *d, const struct doctor_check *c,
			   struct ask *ask, const struct ns_entry *entry)
{
	struct nslist found = {0};
	struct err err = {0};
	int ret = ask_subsystem(ask, entry->paths, entry->path_count, &found,
				&err);

	if (ret)
		doctor_add(d, c, DOCTOR_FAIL, entry->subnqn, "%s", err.text);
	else if (!found.count)
		doctor_add(d, c, DOCTOR_WARN, entry->subnqn,
			   "it has no namespaces");
	take_list(d, c, &found);
	nslist_fini(&found);
}

static int resolve_ep(struct doctor *d, struct endpoint *ep, struct err *err)
{
	struct hostport hp = {.port = ep->trsvcid};
	struct addr addr;
	int ret;

	snprintf(hp.host, sizeof(hp.host), "%s", ep->traddr);
	ret = doctor_resolve(d, &hp, &addr, err);
	if (ret == 0)
		addr_format_host(&addr, ep->traddr);
	return ret;
}

static void take_endpoint(struct doctor *d, const struct doctor_check *c,
			  struct ask *ask, const char *text)
{
	struct ns_entry entry = {.path_count = 1};
	struct err err = {0};
	struct endpoint ep;
	int ret = endpoint_parse(str_of(text), &ep, &err);

	if (ret == 0)
		ret = resolve_ep(d, &ep, &err);
	if (ret == 0 && ep.nsid)
		ret = doctor_add_look(d, &ep, NULL, &err);
	if (ret) {
		doctor_add(d, c, DOCTOR_FAIL, text, "%s", err.text);
	} else if (!ep.nsid) {
		entry.paths = &ep;
		snprintf(entry.subnqn, sizeof(entry.subnqn), "%s", ep.subnqn);
		list_subsystem(d, c, ask, &entry);
	}
}

struct lost {
	struct doctor *d;
	const struct doctor_check *c;
};

static void on_lost(void *arg, const char *service, const char *why)
{
	const struct lost *lost = arg;

	doctor_add(lost->d, lost->c, DOCTOR_FAIL, service, "%s", why);
}

static void take_discovery(struct doctor *d, const struct doctor_check *c,
			   struct ask *ask, const char *text)
{
	struct nslist found = {0};
	struct err err = {0};
	struct endpoint ep;
	int ret = discovery_parse(str_of(text), &ep, &err);

	if (ret == 0)
		ret = resolve_ep(d, &ep, &err);
	if (ret == 0)
		ret = ask_discovery(ask, &ep, &found, &err);
	if (ret)
		doctor_add(d, c, DOCTOR_FAIL, text, "%s", err.text);
	else
		doctor_add(d, c, found.count ? DOCTOR_OK : DOCTOR_WARN, text,
			   "the discovery service names %zu subsystems",
			   found.count);
	for (size_t i = 0; i < found.count; i++)
		list_subsystem(d, c, ask, &found.items[i]);
	nslist_fini(&found);
}

static void collect(struct doctor *d, const struct doctor_check *c)
{
	const struct flag_list *endpoints = d->opts.endpoints;
	const struct flag_list *discover = d->opts.discover;
	struct lost lost = {d, c};
	struct ask ask = {
		.loop = d->loop,
		.nvmf = d->vol.nvmf,
		.timeout_ms = d->opts.timeout_ms,
		.note = note_left_out,
		.lost = on_lost,
		.arg = &lost,
	};

	for (size_t i = 0; i < endpoints->count; i++)
		take_endpoint(d, c, &ask, endpoints->items[i]);
	for (size_t i = 0; i < discover->count; i++)
		take_discovery(d, c, &ask, discover->items[i]);
	secret_clear(&ask.nvmf, sizeof(ask.nvmf));
}

/* --- reachable --- */

static void add_reach(struct doctor *d, const struct doctor_check *c,
		      const struct look *look)
{
	char name[ENDPOINT_TEXT_LEN];

	name_path(&look->ep, name);
	if (!look->err.code) {
		doctor_add(d, c, DOCTOR_OK, name, "answered in %.1f ms (%s %s)",
			   (double)look->connect_ns / 1e6, look->info.model,
			   look->info.firmware);
		return;
	}
	doctor_add(d, c, DOCTOR_FAIL, name, "%s", look->err.text);
	if (look->err.code == -EACCES || look->err.code == -EPERM ||
	    look->err.code == -EKEYREJECTED)
		doctor_advise(d,
			      "The target refuses this host: allow the host "
			      "NQN above there (mooncakectl target add-host), "
			      "with the key of MC_NVME_DHCHAP_KEY_FILE, or "
			      "of MC_NVME_TLS_KEY_FILE on a port with TLS.");
	else if (!d->vol.nvmf.tls_key.len &&
		 (look->err.code == -EPROTO || look->err.code == -ECONNRESET))
		doctor_advise(d, "If that is a port with TLS: set "
				 "MC_NVME_TLS_KEY_FILE to a file with the key "
				 "that the target has for this host.");
	else if (look->err.code == -ENODEV)
		doctor_advise(d, "The namespace is gone: add it to the target "
				 "again, or unregister it.");
}

static void check_targets(struct doctor *d, const struct doctor_check *c)
{
	struct look_opts opts = {.timeout_ms = d->opts.timeout_ms};

	if (!d->has_identity) {
		if (d->look_count || d->opts.endpoints->count ||
		    d->opts.discover->count)
			doctor_add(d, c, DOCTOR_FAIL, "",
				   "not asked, as clients here refuse to start "
				   "(see above)");
		return;
	}
	collect(d, c);
	opts.nvmf = d->vol.nvmf;
	if (!opts.nvmf.io_queues)
		opts.nvmf.io_queues = (uint16_t)d->vol.workers;
	if (look_at_all(d->loop, &opts, d->looks, d->look_count))
		d->is_out_of_memory = true;
	secret_clear(&opts.nvmf, sizeof(opts.nvmf));
	for (size_t i = 0; i < d->look_count; i++)
		add_reach(d, c, &d->looks[i]);
	if (!d->look_count)
		doctor_add(d, c, DOCTOR_OK, "",
			   "none to ask (--master, --endpoint, --discover)");
}

static void check_connections(struct doctor *d, const struct doctor_check *c)
{
	uint64_t need = d->look_count * (d->vol.workers + 1ull) + 64;

	if (!d->look_count || !d->has_vol)
		return;
	doctor_add(d, c, d->facts.open_files < need ? DOCTOR_FAIL : DOCTOR_OK,
		   "",
		   "a client needs about %" PRIu64 " descriptors for %zu paths",
		   need, d->look_count);
}

/* --- limits --- */

static bool is_same_controller(const struct look *a, const struct look *b)
{
	return a->ep.trsvcid == b->ep.trsvcid &&
	       strcmp(a->ep.traddr, b->ep.traddr) == 0 &&
	       strcmp(a->ep.subnqn, b->ep.subnqn) == 0;
}

static bool is_of_memory(const struct look *look)
{
	const struct doctor_segment *segment = look->owner;

	return segment && !segment->is_nof;
}

static bool is_same_namespace(const struct look *a, const struct look *b)
{
	return a->ep.nsid == b->ep.nsid &&
	       strcmp(a->ep.subnqn, b->ep.subnqn) == 0;
}

/* The first look of the list that is like this one and got an answer. */
static bool is_first(const struct doctor *d, const struct look *look,
		     bool (*is_same)(const struct look *a,
				     const struct look *b))
{
	for (const struct look *it = d->looks; it < look; it++)
		if (!it->err.code && is_same(it, look))
			return false;
	return true;
}

static void check_limits(struct doctor *d, const struct doctor_check *c)
{
	for (size_t i = 0; i < d->look_count; i++) {
		const struct look *look = &d->looks[i];

		if (look->err.code || is_of_memory(look))
			continue;
		if (is_first(d, look, is_same_controller))
			doctor_judge_target(d, look);
		if (is_first(d, look, is_same_namespace))
			doctor_judge_namespace(d, look);
	}
}

/* --- what they hold --- */

struct probe {
	struct vol_probe probe;
	const struct look *look;
	_Atomic(size_t) *left;
	struct gate *gate;
};

static void on_probed(struct vol_probe *vp)
{
	struct probe *probe = container_of(vp, struct probe, probe);
	struct gate *gate = probe->gate;

	if (atomic_fetch_sub(probe->left, 1) == 1)
		gate_open(gate);
}

/* A life that is not the one the master knows. */
static void add_epoch(struct doctor *d, const struct doctor_check *c,
		      const char *name, uint64_t epoch,
		      const struct doctor_segment *owner)
{
	doctor_add(d, c, DOCTOR_FAIL, name,
		   "its superblock has epoch %" PRIu64 ", the master's is "
		   "%" PRIu64,
		   epoch, owner->epoch);
	if (*owner->fenced || epoch > owner->epoch)
		doctor_advise_fenced(d, owner->fenced);
	else
		doctor_advise(d, "The master is about to take it over: look "
				 "again in a minute. If it stays so, the "
				 "target serves an older copy of that "
				 "namespace.");
}

/* It has a superblock of ours. */
static void judge_owned(struct doctor *d, const struct doctor_check *c,
			const char *name, const struct superblock *sb,
			const struct doctor_segment *owner)
{
	if (*d->cluster_id && strcmp(sb->cluster_id, d->cluster_id))
		doctor_add(d, c, owner ? DOCTOR_FAIL : DOCTOR_NOTE, name,
			   "it belongs to cluster '%s', the master is of '%s'",
			   sb->cluster_id, d->cluster_id);
	else if (owner && !uuid_eq(&owner->id, &sb->segment))
		doctor_add(d, c, DOCTOR_FAIL, name,
			   "its superblock is of another segment");
	else if (owner && owner->epoch != sb->epoch)
		add_epoch(d, c, name, sb->epoch, owner);
	else
		doctor_add(d, c, DOCTOR_OK, name,
			   "cluster '%s', epoch %" PRIu64 ", %s master",
			   sb->cluster_id, sb->epoch,
			   owner ? "as of the" : "not compared to a");
}

void doctor_judge_superblock(struct doctor *d, const struct doctor_check *c,
			     const char *name, const struct vol_probe *probe,
			     const struct doctor_segment *owner)
{
	if (probe->ret) {
		doctor_add(d, c, DOCTOR_FAIL, name, "%s", probe->err.text);
		doctor_advise(d, "Nothing is known of what it holds. Is its "
				 "target well, and its disk?");
	} else if (probe->label != LABEL_OURS) {
		doctor_add(d, c, owner ? DOCTOR_FAIL : DOCTOR_NOTE, name,
			   "no superblock of ours: it holds %s",
			   probe->label == LABEL_EMPTY ? "nothing"
						       : probe->label_text);
		if (!owner)
			doctor_advise(d, "It is in no pool; "
					 "mooncake_ssd_register adds it.");
	} else {
		judge_owned(d, c, name, &probe->sb, owner);
	}
}

static void add_superblock(struct doctor *d, const struct doctor_check *c,
			   const struct probe *probe)
{
	char name[ENDPOINT_TEXT_LEN];

	name_path(&probe->look->ep, name);
	doctor_judge_superblock(d, c, name, &probe->probe, probe->look->owner);
}

static bool wants_probe(const struct look *look)
{
	return look->has_ns && !look->err.code && !is_of_memory(look);
}

static void probe_all(struct doctor *d, const struct doctor_check *c,
		      struct vol_set *set, struct probe *probes)
{
	_Atomic(size_t) left = 1; /* until all are submitted */
	struct gate gate;
	size_t count = 0;

	gate_init(&gate);
	for (size_t i = 0; i < d->look_count; i++) {
		struct probe *probe = &probes[count];

		if (!wants_probe(&d->looks[i]))
			continue;
		count++;
		probe->look = &d->looks[i];
		probe->left = &left;
		probe->gate = &gate;
		probe->probe.done = on_probed;
		probe->probe.sb_only = true;
		probe->probe.timeout_ms = d->opts.timeout_ms;
		endpoint_format(&d->looks[i].ep, probe->probe.endpoint);
		atomic_fetch_add(&left, 1);
		vol_probe_submit(set, &probe->probe);
	}
	if (atomic_fetch_sub(&left, 1) > 1)
		gate_wait(&gate);
	for (size_t i = 0; i < count; i++)
		add_superblock(d, c, &probes[i]);
}

static void check_superblocks(struct doctor *d, const struct doctor_check *c)
{
	struct probe *probes;
	struct vol_opts opts = d->vol;
	struct vol_set *set = NULL;
	struct err err = {0};

	if (!d->look_count || !d->has_identity)
		return; /* said already */
	opts.workers = 1;
	probes = calloc(d->look_count, sizeof(*probes));
	if (!probes)
		d->is_out_of_memory = true;
	else if (vol_set_create(&opts, &set, &err))
		doctor_add(d, c, DOCTOR_FAIL, "", "%s", err.text);
	else
		probe_all(d, c, set, probes);
	vol_set_destroy(set);
	free(probes);
	secret_clear(&opts, sizeof(opts));
}

/* --- one namespace, two names --- */

static void compare(struct doctor *d, const struct doctor_check *c,
		    const struct look *a, const struct look *b)
{
	char id[2][80], name[2][ENDPOINT_TEXT_LEN];
	bool is_same_owner = a->owner && a->owner == b->owner;
	bool is_same_name = a->ep.nsid == b->ep.nsid &&
			    strcmp(a->ep.subnqn, b->ep.subnqn) == 0;
	bool is_same;

	vol_identity(&a->ns, id[0]);
	vol_identity(&b->ns, id[1]);
	is_same = strcmp(id[0], id[1]) == 0 && strcmp(id[0], "none") != 0;
	name_path(&a->ep, name[0]);
	name_path(&b->ep, name[1]);
	if (is_same_owner && !is_same) {
		doctor_add(d, c, DOCTOR_FAIL, name[1],
			   "leads to another namespace than '%s' (%s, %s)",
			   name[0], id[1], id[0]);
		doctor_advise(d, "Paths of one segment must lead to one "
				 "namespace: correct the target. If the "
				 "objects may go, unregister the segment and "
				 "register it with the right paths.");
	} else if (!is_same_owner && is_same && !is_same_name) {
		doctor_add(d, c,
			   a->owner && b->owner ? DOCTOR_FAIL : DOCTOR_WARN,
			   name[1], "is the same namespace as '%s' (%s)",
			   name[0], id[0]);
	}
}

static void check_twins(struct doctor *d, const struct doctor_check *c)
{
	size_t before = d->count, seen = 0;

	for (size_t i = 0; i < d->look_count; i++) {
		if (!wants_probe(&d->looks[i]))
			continue;
		seen++;
		for (size_t k = 0; k < i; k++)
			if (wants_probe(&d->looks[k]))
				compare(d, c, &d->looks[k], &d->looks[i]);
	}
	if (seen > 1 && d->count == before)
		doctor_add(d, c, DOCTOR_OK, "", "%zu paths, none leads astray",
			   seen);
}

const struct doctor_check doctor_target_checks[] = {
	{"target", "a connection of our initiator to each endpoint",
	 DOCTOR_FAIL,
	 "Is the target running, does it listen on that address, and does a "
	 "firewall let TCP through? On its node: mooncakectl target list.",
	 check_targets},
	{"connections", "ulimit -n against paths and MC_NOF_WORKERS",
	 DOCTOR_FAIL,
	 "Raise ulimit -n (LimitNOFILE= of a systemd unit) for programs that "
	 "use the pool.",
	 check_connections},
	{"limits", "Identify, Connect, Set Features, SMART", DOCTOR_FAIL, NULL,
	 check_limits},
	{"superblock", "the first 4 KiB of each namespace", DOCTOR_FAIL,
	 "Is it the right namespace? What the master's segment has on it is "
	 "not found there. If that and what it holds may go: "
	 "mooncake_ssd_unregister, then mooncake_ssd_register --force.",
	 check_superblocks},
	{"paths", "NGUID, UUID and EUI-64 of all namespaces", DOCTOR_FAIL,
	 "Registered twice, one overwrites the other: name both paths in one "
	 "registration, which makes them one segment.",
	 check_twins},
	{0},
};
