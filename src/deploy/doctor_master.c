/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of a master: its two ports, its release, its clock, its segments and
 * how full they are.  One thread.  Invariant: only questions are asked that
 * change nothing at the master.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "deploy/doctor_check.h"
#include "deploy/table.h"
#include "deploy/tool.h"

#define CLOCK_APART_S 2 /* Date counts whole seconds */
#define FULL_NOTE     0.90
#define FULL_WARN     0.98

static int find_master(struct doctor *d, struct addr *out, struct err *err)
{
	struct hostport hp;
	int ret = hostport_parse(str_of(d->opts.master), DOCTOR_RPC_PORT, &hp,
				 err);

	if (ret == 0)
		ret = doctor_resolve(d, &hp, out, err);
	if (ret)
		return ret;
	doctor_add_peer(d, hp.host, out);
	return 0;
}

static int open_master(struct doctor *d, struct err *err)
{
	char name[ADDR_TEXT_LEN];
	struct addr addr;
	int ret = find_master(d, &addr, err);

	if (ret)
		return ret;
	addr_format(&addr, name);
	ret = doctor_connect(&addr, d->opts.timeout_ms);
	if (ret)
		return err_set(err, ret, "%s can't be reached: %s", name,
			       strerror(-ret));
	return rpc_sync_dial(name, d->opts.timeout_ms, &d->master, err);
}

static void add_version(struct doctor *d, const struct doctor_check *c,
			const char *version)
{
	if (strcmp(version, mooncake_version) == 0) {
		doctor_add(d, c, DOCTOR_OK, d->opts.master,
			   "version %s, as here", version);
		return;
	}
	doctor_add(d, c, DOCTOR_WARN, d->opts.master,
		   "version %s, but this host has %s", version,
		   mooncake_version);
	doctor_advise(d, "Install the same release on all hosts, the master "
			 "first.");
}

static void add_usage(struct doctor *d, const struct doctor_check *c,
		      const char *name, uint64_t used, uint64_t capacity)
{
	double share = capacity ? (double)used / (double)capacity : 0;
	struct strbuf text = {0};

	strbuf_add_size(&text, used);
	strbuf_adds(&text, " of ");
	strbuf_add_size(&text, capacity);
	if (!capacity) {
		doctor_add(d, c, DOCTOR_NOTE, name, "there is none");
		doctor_advise(d, "If it is wanted: mooncake_ssd_register adds "
				 "SSDs, mooncake_store_service adds memory.");
	} else {
		doctor_add(d, c,
			   share >= FULL_WARN	? DOCTOR_WARN
			   : share >= FULL_NOTE ? DOCTOR_NOTE
						: DOCTOR_OK,
			   name, "%s used (%.0f %%)", text.p ? text.p : "",
			   100 * share);
		if (share >= FULL_NOTE)
			doctor_advise(d,
				      "Eviction makes room, but puts may fail "
				      "with -200 when it can't keep up: add "
				      "SSDs or memory, or lower "
				      "--eviction_high_watermark_ratio (SSDs: "
				      "--nof_eviction_high_watermark_ratio) of "
				      "the master.");
	}
	strbuf_fini(&text);
}

static void add_journal(struct doctor *d, const struct doctor_check *c,
			enum _Mc__JournalState state)
{
	if (state == MC__JOURNAL_STATE__JOURNAL_KEPT) {
		doctor_add(d, c, DOCTOR_OK, "journal", "kept");
	} else if (state == MC__JOURNAL_STATE__JOURNAL_FAILED) {
		doctor_add(d, c, DOCTOR_FAIL, "journal",
			   "it can't be written: puts are refused");
		doctor_advise(d, "Make room on the file system of the "
				 "master's --journal_dir; its log has the "
				 "cause. It goes on by itself.");
	} else {
		doctor_add(d, c, DOCTOR_NOTE, "journal",
			   "none: a restart of the master empties the store");
		doctor_advise(d, "Give it a --journal_dir.");
	}
}

static void check_master(struct doctor *d, const struct doctor_check *c)
{
	Mc__StatsReq req = MC__STATS_REQ__INIT;
	const ProtobufCMessage *msg;
	const Mc__StatsRsp *rsp;
	struct err err = {0};
	int ret;

	if (!*d->opts.master) {
		doctor_add(d, c, DOCTOR_OK, "", "none was named (--master)");
		return;
	}
	ret = open_master(d, &err);
	if (ret == 0)
		ret = rpc_sync_call(d->master, METHOD_STATS, &req.base, &msg,
				    &err);
	if (ret) {
		doctor_add(d, c, DOCTOR_FAIL, d->opts.master, "%s", err.text);
		rpc_sync_close(TAKE(d->master));
		return;
	}
	rsp = (const void *)msg;
	snprintf(d->cluster_id, sizeof(d->cluster_id), "%s", rsp->cluster_id);
	add_version(d, c, rsp->version);
	add_usage(d, c, "memory", rsp->mem_used, rsp->mem_capacity);
	add_usage(d, c, "SSD pool", rsp->nof_used, rsp->nof_capacity);
	add_journal(d, c, rsp->journal);
}

/* --- admin pages --- */

static int find_admin(struct doctor *d, struct addr *out, struct err *err)
{
	bool is_given = *d->opts.admin;
	struct hostport hp;
	int ret = hostport_parse(
		str_of(is_given ? d->opts.admin : d->opts.master),
		DOCTOR_ADMIN_PORT, &hp, err);

	if (!is_given)
		hp.port = DOCTOR_ADMIN_PORT;
	return ret ? ret : doctor_resolve(d, &hp, out, err);
}

static void add_clock(struct doctor *d, const struct doctor_check *c,
		      int64_t date_s)
{
	int64_t apart = date_s - (int64_t)(time_wall_ns() / NS_PER_S);

	if (date_s < 0)
		return; /* it does not say */
	if (apart >= -CLOCK_APART_S && apart <= CLOCK_APART_S) {
		doctor_add(d, c, DOCTOR_OK, "clock", "as here");
		return;
	}
	doctor_add(d, c, DOCTOR_NOTE, "clock",
		   "the master's is %" PRId64 " s %s this host's",
		   apart < 0 ? -apart : apart, apart < 0 ? "behind" : "before");
	doctor_advise(d, "Nothing of Mooncake depends on it, but logs are "
			 "hard to compare: run chronyd or systemd-timesyncd on "
			 "both.");
}

static void check_admin(struct doctor *d, const struct doctor_check *c)
{
	struct doctor_page page;
	struct err err = {0};
	struct addr addr;
	int ret;

	if (!*d->opts.master)
		return; /* the check before this one said so */
	ret = find_admin(d, &addr, &err);
	if (ret == 0)
		ret = doctor_get(&addr, "/health", d->opts.timeout_ms, &page,
				 &err);
	if (ret) {
		doctor_add(d, c, *d->opts.admin ? DOCTOR_FAIL : DOCTOR_WARN, "",
			   "%s", err.text);
		return;
	}
	if (page.status == 200 && strstr(page.body, "\"service_ready\":true"))
		doctor_add(d, c, DOCTOR_OK, "", "healthy");
	else
		doctor_add(d, c, DOCTOR_FAIL, "",
			   "not ready: status %d, %.200s", page.status,
			   page.body);
	add_clock(d, c, page.date_s);
}

/* --- segments --- */

static const char *state_name(const Mc__Segment *seg)
{
	static const char *const names[] = {
		[MC__SEGMENT_STATE__SEGMENT_OFFLINE] = "offline",
		[MC__SEGMENT_STATE__SEGMENT_MOUNTING] = "mounting",
		[MC__SEGMENT_STATE__SEGMENT_UNMOUNTING] = "unmounting",
		[MC__SEGMENT_STATE__SEGMENT_DRAINING] = "draining",
	};
	size_t state = (size_t)seg->state;

	return state < ARRAY_SIZE(names) && names[state]
		       ? names[state]
		       : "in an unknown state";
}

/* The master says "fenced" of what somebody else went on with; nothing else
 * begins so. */
static bool is_fenced(const Mc__Segment *seg)
{
	return seg->kind == MC__KIND__NOF_SSD &&
	       seg->state == MC__SEGMENT_STATE__SEGMENT_OFFLINE &&
	       strncmp(seg->message, "fenced", strlen("fenced")) == 0;
}

void doctor_advise_fenced(struct doctor *d, const char *says)
{
	const char *todo = strstr(says, "; ");

	doctor_advise(d,
		      "Another master went on with it, or the journal of this "
		      "one is older than the namespace: %s. "
		      "Don't unregister it: that gives up the objects on it.",
		      todo    ? todo + 2
		      : *says ? "run only one of the two masters"
			      : "look again in a minute, 'mooncakectl "
				"segments' says what to do then");
}

static void advise_offline(struct doctor *d, const Mc__Segment *seg)
{
	if (is_fenced(seg))
		doctor_advise_fenced(d, seg->message);
	else if (seg->kind == MC__KIND__NOF_SSD)
		doctor_advise(d, "Is the target running, and does it serve "
				 "that namespace? The master takes it back by "
				 "itself when it answers. Only if it never "
				 "will: mooncake_ssd_unregister takes it out "
				 "for good, with the objects on it.");
	else
		doctor_advise(d, "Is that process running, and does it reach "
				 "the master? It is forgotten after the "
				 "master's --client_ttl.");
}

bool doctor_judge_segment(struct doctor *d, const struct doctor_check *c,
			  const Mc__Segment *seg)
{
	bool is_offline = seg->state == MC__SEGMENT_STATE__SEGMENT_OFFLINE;
	struct strbuf name = {0};

	if (seg->state == MC__SEGMENT_STATE__SEGMENT_ONLINE)
		return false;
	add_endpoint_name(&name, seg->name);
	doctor_add(d, c, is_offline ? DOCTOR_FAIL : DOCTOR_NOTE,
		   name.p ? name.p : "", "%s%s%s", state_name(seg),
		   *seg->message ? ": " : "", seg->message);
	if (is_offline)
		advise_offline(d, seg);
	else
		doctor_advise(d, "Somebody is adding it or taking it out; look "
				 "again in a minute.");
	strbuf_fini(&name);
	return true;
}

static void take_segment(struct doctor *d, const struct doctor_check *c,
			 const Mc__Segment *seg)
{
	struct doctor_segment *own = &d->segments[d->segment_count];

	if (seg->id.len != sizeof(own->id.b))
		return;
	d->segment_count++;
	memcpy(own->id.b, seg->id.data, sizeof(own->id.b));
	snprintf(own->name, sizeof(own->name), "%s", seg->name);
	own->epoch = seg->epoch;
	own->is_nof = seg->kind == MC__KIND__NOF_SSD;
	snprintf(own->fenced, sizeof(own->fenced), "%s",
		 is_fenced(seg) ? seg->message : "");
	for (size_t i = 0; i < seg->n_endpoints; i++) {
		struct err err = {0};
		struct endpoint ep;
		int ret = endpoint_parse(str_of(seg->endpoints[i]), &ep, &err);

		if (ret == 0)
			ret = doctor_add_look(d, &ep, own, &err);
		if (ret == 0)
			continue;
		doctor_add(d, c, DOCTOR_FAIL, seg->name, "%s", err.text);
		doctor_advise(d, "This host must find the same addresses as "
				 "the master: correct DNS or /etc/hosts, or "
				 "register by address.");
	}
}

static void check_segments(struct doctor *d, const struct doctor_check *c)
{
	Mc__ListSegmentsReq req = MC__LIST_SEGMENTS_REQ__INIT;
	const ProtobufCMessage *msg;
	const Mc__ListSegmentsRsp *rsp;
	struct err err = {0};
	size_t bad = 0;

	if (!d->master)
		return; /* said already */
	if (rpc_sync_call(d->master, METHOD_LIST_SEGMENTS, &req.base, &msg,
			  &err)) {
		doctor_add(d, c, DOCTOR_FAIL, "", "%s", err.text);
		return;
	}
	rsp = (const void *)msg;
	d->segments = calloc(rsp->n_segments + 1, sizeof(*d->segments));
	if (!d->segments) {
		d->is_out_of_memory = true;
		return;
	}
	for (size_t i = 0; i < rsp->n_segments; i++) {
		bad += doctor_judge_segment(d, c, rsp->segments[i]);
		take_segment(d, c, rsp->segments[i]);
	}
	if (!rsp->n_segments)
		doctor_add(d, c, DOCTOR_WARN, "",
			   "there are none, so nothing can be stored");
	else if (!bad)
		doctor_add(d, c, DOCTOR_OK, "", "all %zu online",
			   rsp->n_segments);
}

const struct doctor_check doctor_master_checks[] = {
	{"master", "its RPC port: HELLO, Stats", DOCTOR_FAIL,
	 "Is mooncake_master running there, does its --rpc_address listen on "
	 "that interface, and does a firewall let TCP through to the port?",
	 check_master},
	{"master admin", "its HTTP port: /health and Date", DOCTOR_FAIL,
	 "--admin=HOST:PORT names the pages when they are not on port 9003 of "
	 "the master's host; the master's --metrics_host and --metrics_port "
	 "choose them.",
	 check_admin},
	{"segments", "its list of segments", DOCTOR_FAIL,
	 "Add memory by mooncake_store_service, SSDs by "
	 "mooncake_ssd_register.",
	 check_segments},
	{0},
};
