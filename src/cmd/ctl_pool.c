/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl pool: the namespaces of the SSD pool as the master sees them.
 * One thread, one call.  Invariant: --json holds all that the tables hold, in
 * the same shape for every sub-command.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "cmd/ctl.h"
#include "deploy/table.h"

static const struct flag pool_flags[] = {CTL_COMMON_FLAGS};

/* What the sub-commands work on: the pool's segments of one answer. */
struct pool {
	struct ctl *ctl;
	Mc__Segment *const *items; /* memory segments are among them */
	size_t count;
	const char *which; /* as given, NULL = all */
};

/* A master of before has none. */
static const Mc__SegmentHealth *health_of(const Mc__Segment *seg)
{
	static const Mc__SegmentHealth none = MC__SEGMENT_HEALTH__INIT;

	return seg->health ? seg->health : &none;
}

static bool is_meant(const struct pool *pool, const Mc__Segment *seg)
{
	char id[UUID_TEXT_LEN];

	if (seg->kind != MC__KIND__NOF_SSD)
		return false;
	if (!pool->which)
		return true;
	ctl_segment_id(seg, id);
	if (strcmp(seg->name, pool->which) == 0 ||
	    str_has_prefix(str_of(id), str_of(pool->which)))
		return true;
	for (size_t i = 0; i < seg->n_endpoints; i++)
		if (strcmp(seg->endpoints[i], pool->which) == 0)
			return true;
	return false;
}

/* --- texts --- */

static void add_age(struct strbuf *out, uint64_t ms)
{
	if (ms < 1000)
		strbuf_addf(out, "%" PRIu64 " ms", ms);
	else if (ms < 60000)
		strbuf_addf(out, "%.1f s", (double)ms / 1000);
	else if (ms < 7200000)
		strbuf_addf(out, "%" PRIu64 " min", ms / 60000);
	else
		strbuf_addf(out, "%" PRIu64 " h", ms / 3600000);
}

static void cell_age(struct table *table, bool has, uint64_t ms)
{
	struct strbuf text = {0};

	if (has)
		add_age(&text, ms);
	table_add(table, text.p ? text.p : "-");
	strbuf_fini(&text);
}

static void cell_latency(struct table *table, uint64_t us)
{
	if (us)
		table_addf(table, "%.2f ms", (double)us / 1000);
	else
		table_add(table, "-");
}

static uint64_t error_sum(const Mc__SegmentHealth *health)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < health->n_errors; i++)
		sum += health->errors[i]->count;
	return sum;
}

/* "timeout 3, report 1"; "" = none. */
static void add_errors(struct strbuf *out, const Mc__SegmentHealth *health)
{
	size_t begin = out->n;

	for (size_t i = 0; i < health->n_errors; i++)
		if (health->errors[i]->count)
			strbuf_addf(out, "%s%s %" PRIu64,
				    out->n > begin ? ", " : "",
				    health->errors[i]->kind,
				    health->errors[i]->count);
}

static void row_name(struct table *table, const char *endpoint)
{
	struct strbuf text = {0};

	add_endpoint_name(&text, endpoint);
	table_add_line(table, text.p ? text.p : "");
	strbuf_fini(&text);
}

/* --- list --- */

static const char *const list_heads[] = {"STATE",  ">SIZE",  ">USED", ">WEAR",
					 ">SPARE", ">PATHS", "ID"};

static void list_row(struct table *table, const Mc__Segment *seg)
{
	const Mc__SegmentHealth *health = health_of(seg);
	char id[UUID_TEXT_LEN];

	ctl_segment_id(seg, id);
	table_add(table, ctl_segment_state(seg));
	table_add_size(table, seg->size);
	table_addf(table, "%.0f%%",
		   seg->size ? 100.0 * (double)seg->used / (double)seg->size
			     : 0.0);
	if (health->smart) {
		table_addf(table, "%u%%", health->smart->used_percent);
		table_addf(table, "%u%%", health->smart->spare_percent);
	} else {
		table_add(table, "?");
		table_add(table, "?");
	}
	table_addf(table, "%zu", seg->n_endpoints);
	table_add(table, id);
	row_name(table, seg->name);
	table_add_line(table, seg->message);
}

/* --- paths --- */

static const char *const path_heads[] = {"LAST", ">GOOD", ">FAILED", ">LATENCY",
					 "ID"};

static void path_rows(struct table *table, const Mc__Segment *seg)
{
	const Mc__SegmentHealth *health = health_of(seg);
	char id[UUID_TEXT_LEN];

	ctl_segment_id(seg, id);
	for (size_t i = 0; i < health->n_paths; i++) {
		const Mc__PathHealth *path = health->paths[i];

		table_add(table, path->answered_last ? "*" : "");
		cell_age(table, path->has_ok, path->ok_age_ms);
		cell_age(table, path->has_failed, path->failed_age_ms);
		cell_latency(table, path->latency_us);
		table_add(table, id);
		row_name(table, path->endpoint);
	}
}

/* --- stats --- */

static const char *const stat_heads[] = {">PROBE", ">LATENCY", ">HITS",
					 ">READ",  ">ERRORS",  "ID"};

static void stat_row(struct table *table, const Mc__Segment *seg)
{
	const Mc__SegmentHealth *health = health_of(seg);
	struct strbuf errors = {0};
	char id[UUID_TEXT_LEN];

	ctl_segment_id(seg, id);
	cell_age(table, seg->health, health->ok_age_ms);
	cell_latency(table, health->latency_us);
	table_addf(table, "%" PRIu64, health->hits);
	table_add_size(table, health->hit_bytes);
	table_addf(table, "%" PRIu64, error_sum(health));
	table_add(table, id);
	row_name(table, seg->name);
	add_errors(&errors, health);
	table_add_line(table, errors.p ? errors.p : "");
	strbuf_fini(&errors);
}

/* --- show --- */

static void show_size(struct strbuf *out, const char *what, uint64_t bytes)
{
	strbuf_addf(out, "%-12s", what);
	strbuf_add_size(out, bytes);
	strbuf_addc(out, '\n');
}

static void show_smart(struct strbuf *out, const Mc__Smart *smart)
{
	if (!smart) {
		strbuf_adds(out, "Wear        not told by the target\n");
		return;
	}
	strbuf_addf(out,
		    "Wear        %u %% used, spare %u %% (warns below %u %%)\n"
		    "Media       %" PRIu64 " errors, %u K, %" PRIu64 " h",
		    smart->used_percent, smart->spare_percent,
		    smart->spare_threshold_percent, smart->media_errors,
		    smart->temperature_k, smart->power_on_hours);
	if (smart->critical_warning)
		strbuf_addf(out, ", CRITICAL WARNING 0x%02x",
			    smart->critical_warning);
	strbuf_addc(out, '\n');
	show_size(out, "Written", smart->written_bytes);
}

static void show_one(struct strbuf *out, const Mc__Segment *seg)
{
	const Mc__SegmentHealth *health = health_of(seg);
	char id[UUID_TEXT_LEN];

	ctl_segment_id(seg, id);
	strbuf_addf(out, "Segment     %s\nState       %s%s%s\n", id,
		    ctl_segment_state(seg), seg->message[0] ? ": " : "",
		    seg->message);
	show_size(out, "Size", seg->size);
	show_size(out, "Used", seg->used);
	show_size(out, "Resting", health->quarantined);
	strbuf_addf(out,
		    "Objects     %" PRIu64
		    "\nIdentity    %s\nBlocks      %u bytes, epoch %" PRIu64
		    "\nReserved    %s\n",
		    seg->objects, seg->identity, seg->block_size, seg->epoch,
		    health->reservation);
	strbuf_addf(out, "Hits        %" PRIu64 ", ", health->hits);
	strbuf_add_size(out, health->hit_bytes);
	strbuf_adds(out, "\nLast probe  ");
	add_age(out, health->ok_age_ms);
	strbuf_addf(out, " ago, %.2f ms\nErrors      ",
		    (double)health->latency_us / 1000);
	add_errors(out, health);
	strbuf_adds(out, error_sum(health) ? "\n" : "none\n");
	show_smart(out, health->smart);
	for (size_t i = 0; i < seg->n_endpoints; i++) {
		bool is_last =
			i < health->n_paths && health->paths[i]->answered_last;

		strbuf_addf(out, "Path        ");
		add_endpoint_name(out, seg->endpoints[i]);
		strbuf_adds(out, is_last ? " (answered last)\n" : "\n");
	}
}

/* --- JSON --- */

static json_t *paths_json(const Mc__SegmentHealth *health)
{
	json_t *list = json_array();

	for (size_t i = 0; i < health->n_paths; i++) {
		const Mc__PathHealth *path = health->paths[i];
		json_t *one =
			json_pack("{s:s, s:b, s:I}", "endpoint", path->endpoint,
				  "answered_last", path->answered_last,
				  "latency_us", (json_int_t)path->latency_us);

		json_object_set_new(
			one, "good_age_ms",
			path->has_ok ? json_integer((json_int_t)path->ok_age_ms)
				     : json_null());
		json_object_set_new(
			one, "failed_age_ms",
			path->has_failed
				? json_integer((json_int_t)path->failed_age_ms)
				: json_null());
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *smart_json(const Mc__Smart *smart)
{
	if (!smart)
		return json_null();
	return json_pack("{s:I, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I}",
			 "age_ms", (json_int_t)smart->age_ms,
			 "critical_warning", (int)smart->critical_warning,
			 "temperature_k", (int)smart->temperature_k,
			 "spare_percent", (int)smart->spare_percent,
			 "spare_threshold_percent",
			 (int)smart->spare_threshold_percent, "used_percent",
			 (int)smart->used_percent, "written_bytes",
			 (json_int_t)smart->written_bytes, "read_bytes",
			 (json_int_t)smart->read_bytes, "media_errors",
			 (json_int_t)smart->media_errors, "power_on_hours",
			 (json_int_t)smart->power_on_hours);
}

static json_t *segment_json(const Mc__Segment *seg)
{
	const Mc__SegmentHealth *health = health_of(seg);
	json_t *errors = json_object();
	char id[UUID_TEXT_LEN];

	ctl_segment_id(seg, id);
	for (size_t i = 0; i < health->n_errors; i++)
		json_object_set_new(
			errors, health->errors[i]->kind,
			json_integer((json_int_t)health->errors[i]->count));
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, "
		"s:I, s:I, s:I, s:i, s:s, s:o, s:o, s:o}",
		"id", id, "name", seg->name, "state", ctl_segment_state(seg),
		"message", seg->message, "identity", seg->identity,
		"block_size", (int)seg->block_size, "epoch",
		(json_int_t)seg->epoch, "size", (json_int_t)seg->size, "used",
		(json_int_t)seg->used, "quarantined",
		(json_int_t)health->quarantined, "objects",
		(json_int_t)seg->objects, "hits", (json_int_t)health->hits,
		"hit_bytes", (json_int_t)health->hit_bytes,
		"last_success_age_ms", (json_int_t)health->ok_age_ms,
		"probe_latency_us", (json_int_t)health->latency_us,
		"probe_failures", (int)health->failures, "reservation",
		health->reservation, "errors", errors, "paths",
		paths_json(health), "smart", smart_json(health->smart));
}

/* --- the command --- */

static int print_json(struct pool *pool, bool is_one, struct err *err)
{
	json_t *root = json_array(), *first;

	for (size_t i = 0; i < pool->count; i++)
		if (is_meant(pool, pool->items[i]))
			json_array_append_new(root,
					      segment_json(pool->items[i]));
	if (is_one) {
		first = json_incref(json_array_get(root, 0));
		json_decref(root);
		root = first;
	}
	return ctl_print_json(pool->ctl, root, err);
}

static const struct {
	const char *name;
	const char *const *heads; /* NULL: no table but lines of one segment */
	size_t columns;
	void (*row)(struct table *table, const Mc__Segment *seg);
} words[] = {
	{"list", list_heads, ARRAY_SIZE(list_heads), list_row},
	{"paths", path_heads, ARRAY_SIZE(path_heads), path_rows},
	{"stats", stat_heads, ARRAY_SIZE(stat_heads), stat_row},
	{"show", NULL, 0, NULL},
};

static void print_text(struct pool *pool, size_t word)
{
	struct strbuf *out = &pool->ctl->out;
	struct table table;

	if (words[word].heads)
		table_init(&table, words[word].heads, words[word].columns);
	for (size_t i = 0; i < pool->count; i++) {
		if (!is_meant(pool, pool->items[i]))
			continue;
		if (words[word].heads)
			words[word].row(&table, pool->items[i]);
		else
			show_one(out, pool->items[i]);
	}
	if (words[word].heads)
		table_format(&table, out);
}

/* A part of an id must name one. */
static int check_which(const struct pool *pool, struct err *err)
{
	size_t found = 0;

	for (size_t i = 0; i < pool->count; i++)
		found += is_meant(pool, pool->items[i]);
	if (!pool->which || found == 1)
		return 0;
	if (found)
		return err_set(err, -EINVAL,
			       "'%.100s' names %zu segments; write more of "
			       "the id",
			       pool->which, found);
	return err_set(err, -ENOENT,
		       "the pool has no segment '%.150s'; '" CTL_NAME
		       " pool list' says what it has",
		       pool->which);
}

static int print(struct ctl *ctl, size_t word, struct err *err)
{
	Mc__ListSegmentsReq req = MC__LIST_SEGMENTS_REQ__INIT;
	struct pool pool = {.ctl = ctl};
	const ProtobufCMessage *msg;
	const Mc__ListSegmentsRsp *rsp;
	int ret = ctl_call(ctl, METHOD_LIST_SEGMENTS, &req.base, &msg, err);

	if (ret < 0)
		return ret;
	rsp = (const void *)msg;
	pool.items = rsp->segments;
	pool.count = rsp->n_segments;
	if (ctl->args->count > 1)
		pool.which = ctl->args->items[1];
	ret = check_which(&pool, err);
	if (ret < 0)
		return ret;
	if (ctl->config.json)
		return print_json(&pool, !words[word].heads, err);
	print_text(&pool, word);
	return 0;
}

static int run_pool(struct ctl *ctl, struct err *err)
{
	const char *name = ctl->args->count ? ctl->args->items[0] : "list";

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(words[i].name, name) != 0)
			continue;
		if (!words[i].heads && ctl->args->count < 2)
			return err_set(err, -EINVAL,
				       "write '" CTL_NAME
				       " pool show SEGMENT'");
		return print(ctl, i, err);
	}
	return err_set(err, -EINVAL,
		       "there is no '%.40s'; '" CTL_NAME
		       " pool --help' says what there is",
		       name);
}

const struct ctl_command ctl_pool = {
	.prog = {.name = CTL_NAME " pool",
		 .summary = "SSDs of the pool: state, paths, use, wear",
		 .usage = "[options] [list|show|paths|stats] [SEGMENT]",
		 .details =
			 "list: state, use, wear and spare of each namespace\n"
			 "show SEGMENT: all that is known of one\n"
			 "paths: each address, when probes of it went well and "
			 "failed last; * answered last of all\n"
			 "stats: last good probe, gets that were sent there "
			 "first, errors by kind\n\n"
			 "SEGMENT is an id, its beginning, or an endpoint. "
			 "Wear and spare are what the target's SMART log says, "
			 "? where it has none.",
		 .examples = "  " CTL_NAME " pool list\n"
			     "  " CTL_NAME " pool show 3f2c\n",
		 .flags = pool_flags,
		 .flag_count = ARRAY_SIZE(pool_flags),
		 .args_max = 2},
	.run = run_pool,
};
