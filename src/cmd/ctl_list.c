/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl status, segments, ls: what the master knows.  One thread, one
 * call at a time.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "cmd/ctl.h"
#include "deploy/table.h"

#define PAGE_KEYS 1000

static const struct flag common_flags[] = {CTL_COMMON_FLAGS};

static const char *const state_names[] = {
	[MC__SEGMENT_STATE__SEGMENT_UNKNOWN] = "unknown",
	[MC__SEGMENT_STATE__SEGMENT_ONLINE] = "online",
	[MC__SEGMENT_STATE__SEGMENT_OFFLINE] = "offline",
	[MC__SEGMENT_STATE__SEGMENT_MOUNTING] = "mounting",
	[MC__SEGMENT_STATE__SEGMENT_UNMOUNTING] = "unmounting",
	[MC__SEGMENT_STATE__SEGMENT_DRAINING] = "draining",
};

const char *ctl_segment_state(const Mc__Segment *seg)
{
	size_t state = (size_t)seg->state;

	return state < ARRAY_SIZE(state_names) ? state_names[state] : "?";
}

static const char *kind_name(const Mc__Segment *seg)
{
	return seg->kind == MC__KIND__NOF_SSD ? "nof" : "memory";
}

void ctl_segment_id(const Mc__Segment *seg, char out[UUID_TEXT_LEN])
{
	struct uuid id;

	out[0] = '\0';
	if (seg->id.len != sizeof(id.b))
		return;
	memcpy(id.b, seg->id.data, sizeof(id.b));
	uuid_format_hex(&id, out);
}

/* --- status --- */

struct status_counts {
	size_t online, other;
};

static int count_segments(struct ctl *ctl, struct status_counts *counts,
			  struct err *err)
{
	Mc__ListSegmentsReq req = MC__LIST_SEGMENTS_REQ__INIT;
	const ProtobufCMessage *msg;
	const Mc__ListSegmentsRsp *rsp;
	int ret = ctl_call(ctl, METHOD_LIST_SEGMENTS, &req.base, &msg, err);

	if (ret < 0)
		return ret;
	rsp = (const void *)msg;
	for (size_t i = 0; i < rsp->n_segments; i++) {
		if (rsp->segments[i]->state ==
		    MC__SEGMENT_STATE__SEGMENT_ONLINE)
			counts->online++;
		else
			counts->other++;
	}
	return 0;
}

static void add_usage(struct strbuf *out, const char *name, uint64_t used,
		      uint64_t capacity)
{
	strbuf_addf(out, "%-10s ", name);
	if (capacity == 0) {
		strbuf_adds(out, "none\n");
		return;
	}
	strbuf_add_size(out, used);
	strbuf_adds(out, " of ");
	strbuf_add_size(out, capacity);
	strbuf_addf(out, " used (%.0f %%)\n",
		    100.0 * (double)used / (double)capacity);
}

static void add_uptime(struct strbuf *out, uint64_t ms)
{
	uint64_t minutes = ms / 60000;

	if (minutes < 1)
		strbuf_addf(out, "up %" PRIu64 " s", ms / 1000);
	else if (minutes < 60)
		strbuf_addf(out, "up %" PRIu64 " min", minutes);
	else
		strbuf_addf(out, "up %" PRIu64 " h %" PRIu64 " min",
			    minutes / 60, minutes % 60);
}

static const char *journal_text(enum _Mc__JournalState state)
{
	if (state == MC__JOURNAL_STATE__JOURNAL_KEPT)
		return "kept";
	return state == MC__JOURNAL_STATE__JOURNAL_FAILED
		       ? "FAILED: changes are refused, the master's log says "
			 "why"
		       : "none";
}

static void status_text_add(struct ctl *ctl, const Mc__StatsRsp *rsp,
			    const struct status_counts *counts)
{
	struct strbuf *out = &ctl->out;

	strbuf_addf(out, "Master     %s, version %s, cluster %s, ",
		    ctl->config.master, rsp->version, rsp->cluster_id);
	add_uptime(out, rsp->uptime_ms);
	strbuf_addf(out, "\nSegments   %zu online", counts->online);
	if (counts->other)
		strbuf_addf(out,
			    ", %zu NOT online ('" CTL_NAME
			    " segments' says why)",
			    counts->other);
	strbuf_addf(out, "\nObjects    %" PRIu64 "\n", rsp->keys);
	strbuf_addf(out, "Clients    %" PRIu64 "\n", rsp->clients);
	add_usage(out, "Memory", rsp->mem_used, rsp->mem_capacity);
	add_usage(out, "SSD pool", rsp->nof_used, rsp->nof_capacity);
	strbuf_addf(out, "Journal    %s\n", journal_text(rsp->journal));
}

static json_t *status_json(const Mc__StatsRsp *rsp,
			   const struct status_counts *counts)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:I, s:I, s:b, "
			 "s:b}",
			 "version", rsp->version, "cluster_id", rsp->cluster_id,
			 "uptime_ms", (json_int_t)rsp->uptime_ms, "keys",
			 (json_int_t)rsp->keys, "clients",
			 (json_int_t)rsp->clients, "mem_used",
			 (json_int_t)rsp->mem_used, "mem_capacity",
			 (json_int_t)rsp->mem_capacity, "nof_used",
			 (json_int_t)rsp->nof_used, "nof_capacity",
			 (json_int_t)rsp->nof_capacity, "quarantined",
			 (json_int_t)rsp->quarantined, "segments_online",
			 (json_int_t)counts->online, "segments_not_online",
			 (json_int_t)counts->other, "journal",
			 rsp->journal != MC__JOURNAL_STATE__JOURNAL_NONE,
			 "journal_failed",
			 rsp->journal == MC__JOURNAL_STATE__JOURNAL_FAILED);
}

static int run_status(struct ctl *ctl, struct err *err)
{
	Mc__StatsReq req = MC__STATS_REQ__INIT;
	struct status_counts counts = {0};
	const ProtobufCMessage *msg;
	int ret = count_segments(ctl, &counts, err);

	if (ret == 0)
		ret = ctl_call(ctl, METHOD_STATS, &req.base, &msg, err);
	if (ret < 0)
		return ret;
	if (ctl->config.json)
		return ctl_print_json(
			ctl, status_json((const void *)msg, &counts), err);
	status_text_add(ctl, (const void *)msg, &counts);
	return 0;
}

const struct ctl_command ctl_status = {
	.prog = {.name = CTL_NAME " status",
		 .summary = "is the master there, how full is the store",
		 .usage = "[options]",
		 .details = "Exit status 1 when the master can't be reached.",
		 .flags = common_flags,
		 .flag_count = ARRAY_SIZE(common_flags)},
	.run = run_status,
};

/* --- segments --- */

static int segments_json(struct ctl *ctl, const Mc__ListSegmentsRsp *rsp,
			 struct err *err)
{
	json_t *root = json_array();

	for (size_t i = 0; i < rsp->n_segments; i++) {
		const Mc__Segment *seg = rsp->segments[i];
		json_t *paths = json_array();
		char id[UUID_TEXT_LEN];

		ctl_segment_id(seg, id);
		for (size_t k = 0; k < seg->n_endpoints; k++)
			json_array_append_new(paths,
					      json_string(seg->endpoints[k]));
		json_array_append_new(
			root,
			json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:s, "
				  "s:s, s:o}",
				  "id", id, "name", seg->name, "kind",
				  kind_name(seg), "state",
				  ctl_segment_state(seg), "size",
				  (json_int_t)seg->size, "used",
				  (json_int_t)seg->used, "objects",
				  (json_int_t)seg->objects, "identity",
				  seg->identity, "message", seg->message,
				  "endpoints", paths));
	}
	return ctl_print_json(ctl, root, err);
}

static void add_share(struct table *table, const Mc__Segment *seg)
{
	double share =
		seg->size ? 100.0 * (double)seg->used / (double)seg->size : 0.0;

	if (seg->used && share < 1)
		table_add(table, "<1%");
	else
		table_addf(table, "%.0f%%", share);
}

/* An endpoint would need a terminal of 200 columns beside the other cells. */
static void add_paths(struct table *table, const Mc__Segment *seg)
{
	struct strbuf text = {0};

	/* A node is known by its address; its NQN is an id again. */
	if (seg->kind == MC__KIND__MEMORY || seg->n_endpoints == 0) {
		table_add_line(table, seg->name);
		return;
	}
	for (size_t i = 0; i < seg->n_endpoints; i++) {
		strbuf_reset(&text);
		add_endpoint_name(&text, seg->endpoints[i]);
		table_add_line(table, text.p ? text.p : "");
	}
	strbuf_fini(&text);
}

static int run_segments(struct ctl *ctl, struct err *err)
{
	static const char *const heads[] = {"STATE", "KIND",	 ">SIZE",
					    ">USED", ">OBJECTS", "ID"};
	Mc__ListSegmentsReq req = MC__LIST_SEGMENTS_REQ__INIT;
	const ProtobufCMessage *msg;
	const Mc__ListSegmentsRsp *rsp;
	char id[UUID_TEXT_LEN];
	struct table table;
	int ret = ctl_call(ctl, METHOD_LIST_SEGMENTS, &req.base, &msg, err);

	if (ret < 0)
		return ret;
	rsp = (const void *)msg;
	if (ctl->config.json)
		return segments_json(ctl, rsp, err);
	table_init(&table, heads, ARRAY_SIZE(heads));
	for (size_t i = 0; i < rsp->n_segments; i++) {
		const Mc__Segment *seg = rsp->segments[i];

		ctl_segment_id(seg, id);
		table_add(&table, ctl_segment_state(seg));
		table_add(&table, kind_name(seg));
		table_add_size(&table, seg->size);
		add_share(&table, seg);
		table_addf(&table, "%" PRIu64, seg->objects);
		table_add(&table, id);
		add_paths(&table, seg);
		table_add_line(&table, seg->message);
	}
	table_format(&table, &ctl->out);
	if (rsp->n_segments == 0)
		strbuf_adds(&ctl->out,
			    "(none: 'mooncake_ssd_register' adds SSDs, a store "
			    "service adds memory)\n");
	return 0;
}

const struct ctl_command ctl_segments = {
	.prog = {.name = CTL_NAME " segments",
		 .summary = "memory and SSD segments with their state",
		 .usage = "[options]",
		 .details = "A segment that is offline keeps its objects; they "
			    "are read again when it is back.",
		 .flags = common_flags,
		 .flag_count = ARRAY_SIZE(common_flags)},
	.run = run_segments,
};

/* --- ls --- */

struct listing {
	struct table table;
	json_t *json;
	uint64_t count;
	bool has_more;
};

static void add_key(struct ctl *ctl, struct listing *ls,
		    const Mc__KeyInfo *info)
{
	struct strbuf key = {0};

	ctl_add_key(&key,
		    (struct str){(const char *)info->key.data, info->key.len});
	if (ctl->config.json) {
		json_array_append_new(
			ls->json,
			json_pack("{s:s, s:I, s:I, s:I, s:b, s:b}", "key",
				  key.p ? key.p : "", "size",
				  (json_int_t)info->size, "memory_replicas",
				  (json_int_t)info->memory_replicas,
				  "nof_replicas",
				  (json_int_t)info->nof_replicas, "lease",
				  info->has_lease, "pin", info->has_pin));
	} else {
		table_add_size(&ls->table, info->size);
		table_addf(&ls->table, "%u", info->memory_replicas);
		table_addf(&ls->table, "%u", info->nof_replicas);
		table_addf(&ls->table, "%s%s", info->has_lease ? "L" : "-",
			   info->has_pin ? "P" : "-");
		table_add(&ls->table, key.p ? key.p : "");
	}
	strbuf_fini(&key);
}

static int list_keys(struct ctl *ctl, struct listing *ls, struct err *err)
{
	char *prefix = ctl->args->count ? ctl->args->items[0] : NULL;
	uint64_t limit = ctl->config.limit ? ctl->config.limit : UINT64_MAX;
	struct strbuf after = {0};
	int ret = 0;

	ls->has_more = true;
	while (ls->has_more && ls->count < limit && ret == 0) {
		Mc__ListKeysReq req = MC__LIST_KEYS_REQ__INIT;
		const ProtobufCMessage *msg;
		const Mc__ListKeysRsp *rsp;

		if (prefix)
			req.prefix = prefix;
		req.limit =
			(uint32_t)MIN(limit - ls->count, (uint64_t)PAGE_KEYS);
		req.after.data = (uint8_t *)after.p;
		req.after.len = after.n;
		ret = ctl_call(ctl, METHOD_LIST_KEYS, &req.base, &msg, err);
		if (ret < 0)
			break;
		rsp = (const void *)msg;
		for (size_t i = 0; i < rsp->n_keys; i++)
			add_key(ctl, ls, rsp->keys[i]);
		ls->count += rsp->n_keys;
		ls->has_more = rsp->more && rsp->n_keys > 0;
		strbuf_reset(&after);
		if (rsp->n_keys > 0)
			strbuf_add(&after, rsp->keys[rsp->n_keys - 1]->key.data,
				   rsp->keys[rsp->n_keys - 1]->key.len);
		term_status("%" PRIu64 " keys …", ls->count);
	}
	strbuf_fini(&after);
	return ret;
}

static int run_ls(struct ctl *ctl, struct err *err)
{
	static const char *const heads[] = {">SIZE", ">MEM", ">NOF", "FLAGS",
					    "KEY"};
	struct listing ls = {.json = json_array()};
	json_t *root;
	int ret;

	table_init(&ls.table, heads, ARRAY_SIZE(heads));
	ret = list_keys(ctl, &ls, err);
	if (ctl->config.json && ret == 0) {
		root = json_pack("{s:O, s:b}", "keys", ls.json, "more",
				 ls.has_more);
		ret = ctl_print_json(ctl, root, err);
	}
	if (ctl->config.json || ret < 0) {
		strbuf_fini(&ls.table.cells);
	} else {
		table_format(&ls.table, &ctl->out);
		if (ls.has_more)
			strbuf_addf(&ctl->out,
				    "(the first %" PRIu64
				    " keys; --limit=0 lists all)\n",
				    ls.count);
	}
	json_decref(ls.json);
	return ret;
}

static const struct flag ls_flags[] = {
	{.name = "limit",
	 .type = FLAG_UINT,
	 .off = offsetof(struct ctl_config, limit),
	 .def = "1000",
	 .arg = "COUNT",
	 .help = "List at most so many keys; 0 = all."},
	CTL_COMMON_FLAGS,
};

const struct ctl_command ctl_ls = {
	.prog = {.name = CTL_NAME " ls",
		 .summary = "keys with their sizes and replicas",
		 .usage = "[PREFIX] [options]",
		 .details = "Lists keys in order, those that begin with PREFIX "
			    "when one is given. MEM and NOF count replicas in "
			    "memory and on SSDs; flag L is a lease, P a pin.",
		 .examples = "  " CTL_NAME " ls model/ --limit=20\n",
		 .flags = ls_flags,
		 .flag_count = ARRAY_SIZE(ls_flags),
		 .args_max = 1},
	.run = run_ls,
};
