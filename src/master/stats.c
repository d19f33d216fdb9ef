/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the metadata shard counts, as Prometheus text and as the one-line
 * summary operators and scripts of upstream read.  The tables tbl/counters.h
 * and tbl/ops.h are the only list of names.
 */
#include "master/stats.h"

#include "master/evict.h"
#include "master/object.h"
#include "master/quarantine.h"
#include "nvmf/nvmf.h"
#include "web/metrics.h"

void stats_init(struct stats *st)
{
	*st = (struct stats){0};
	hist_init(&st->value_bytes);
	hist_init(&st->probe_ms);
}

void stats_op(struct stats *st, enum op_kind op, size_t items, size_t failed)
{
	struct op_stats *os = &st->ops[op];

	ASSERT(failed <= items);
	if (items == 1) {
		os->requests++;
		os->failures += failed;
		return;
	}
	os->batches++;
	os->batch_failures += items > 0 && failed == items;
	os->batch_partial += failed > 0 && failed < items;
	os->items += items;
	os->failed_items += failed;
}

/* --- Prometheus --- */

static const struct {
	const char *name, *help;
	size_t off;
} counters[] = {
#define COUNTER(field, name, help) {name, help, offsetof(struct stats, field)},
#include "master/tbl/counters.h"
#undef COUNTER
};

static const struct {
	const char *metric, *word;
} ops[OP_COUNT] = {
#define OP(name, metric, word) [OP_##name] = {metric, word},
#include "master/tbl/ops.h"
#undef OP
};

static const struct {
	const char *format, *help;
	size_t off;
	bool is_batch; /* only for calls that come in batches */
} op_metrics[] = {
	{"master_%s_requests_total", "Calls with one item",
	 offsetof(struct op_stats, requests), false},
	{"master_%s_failures_total", "Calls with one item that failed",
	 offsetof(struct op_stats, failures), false},
	{"master_batch_%s_requests_total", "Batches",
	 offsetof(struct op_stats, batches), true},
	{"master_batch_%s_failures_total", "Batches that failed as a whole",
	 offsetof(struct op_stats, batch_failures), true},
	{"master_batch_%s_partial_successes_total",
	 "Batches of which a part failed",
	 offsetof(struct op_stats, batch_partial), true},
	{"master_batch_%s_items_total", "Items in batches",
	 offsetof(struct op_stats, items), true},
	{"master_batch_%s_failed_items_total", "Items that failed",
	 offsetof(struct op_stats, failed_items), true},
};

static void one_u64(struct strbuf *out, const char *name, enum metric_type type,
		    const char *help, uint64_t value)
{
	metric_head(out, name, type, help);
	metric_u64(out, name, NULL, NULL, value);
}

static void op_metric_lines(const struct stats *st, struct strbuf *out)
{
	for (unsigned o = 0; o < OP_COUNT; o++) {
		for (size_t m = 0; m < ARRAY_SIZE(op_metrics); m++) {
			struct strbuf name = {0};
			uint64_t value;

			if (op_metrics[m].is_batch && o > OP_REMOVE)
				continue;
			memcpy(&value,
			       (const char *)&st->ops[o] + op_metrics[m].off,
			       sizeof(value));
			strbuf_addf(&name, op_metrics[m].format, ops[o].metric);
			if (!name.failed)
				one_u64(out, name.p, METRIC_COUNTER,
					op_metrics[m].help, value);
			strbuf_fini(&name);
		}
	}
}

/* One gauge of all segments of a kind. */
static void segment_gauge(struct core *core, enum kind kind, const char *name,
			  const char *help,
			  uint64_t (*value)(const struct segment *seg),
			  struct strbuf *out)
{
	struct segment *seg;
	bool has_head = false;

	list_for_each (seg, &core->segments, node) {
		if (seg->kind != kind)
			continue;
		if (!has_head)
			metric_head(out, name, METRIC_GAUGE, help);
		has_head = true;
		metric_u64(out, name, "segment", seg->name, value(seg));
	}
}

static uint64_t seg_used(const struct segment *seg)
{
	return ext_used(seg->space);
}

static uint64_t seg_size(const struct segment *seg)
{
	return seg->size;
}

static uint64_t seg_online(const struct segment *seg)
{
	return seg->state == SEG_ONLINE;
}

static uint64_t seg_replicas(const struct segment *seg)
{
	return seg->replicas;
}

void stats_usage(struct core *core, struct stats_usage *out)
{
	struct segment *seg;

	static_assert(ARRAY_SIZE(out->used) == KIND_COUNT, "kinds");
	quarantine_release(core);
	*out = (struct stats_usage){0};
	list_for_each (seg, &core->segments, node) {
		out->used[seg->kind] += ext_used(seg->space);
		out->capacity[seg->kind] += seg->size;
		out->quarantined += seg->quarantined;
	}
}

static void segment_metrics(struct core *core, struct strbuf *out)
{
	struct stats_usage u;

	stats_usage(core, &u);
	one_u64(out, "master_allocated_bytes", METRIC_GAUGE,
		"Memory in use, rounded, resting extents included",
		u.used[KIND_MEM]);
	one_u64(out, "master_total_capacity_bytes", METRIC_GAUGE,
		"Memory mounted", u.capacity[KIND_MEM]);
	one_u64(out, "master_nof_allocated_bytes", METRIC_GAUGE,
		"NVMe-oF pool in use, rounded, resting extents included",
		u.used[KIND_NOF]);
	one_u64(out, "master_total_nof_capacity_bytes", METRIC_GAUGE,
		"NVMe-oF pool mounted", u.capacity[KIND_NOF]);
	one_u64(out, "master_quarantined_bytes", METRIC_GAUGE,
		"Freed extents that rest before they are reused",
		u.quarantined);
	segment_gauge(core, KIND_MEM, "segment_allocated_bytes",
		      "In use per memory segment", seg_used, out);
	segment_gauge(core, KIND_MEM, "segment_total_capacity_bytes",
		      "Size per memory segment", seg_size, out);
	segment_gauge(core, KIND_NOF, "nof_segment_allocated_bytes",
		      "In use per NVMe-oF segment", seg_used, out);
	segment_gauge(core, KIND_NOF, "nof_segment_total_capacity_bytes",
		      "Size per NVMe-oF segment", seg_size, out);
	segment_gauge(core, KIND_NOF, "nof_segment_online",
		      "1 = ONLINE, 0 = OFFLINE", seg_online, out);
	segment_gauge(core, KIND_NOF, "nof_segment_replicas",
		      "Replicas per NVMe-oF segment", seg_replicas, out);
}

/* Probes and registrations. */
static void nvmf_metrics(struct strbuf *out)
{
	struct nvmf_stats st;

	nvmf_stats_get(&st);
#define NVMF_STAT(NAME, name, help)                                            \
	one_u64(out, "master_nvmf_" #name "_total", METRIC_COUNTER, help,      \
		st.name);
#include "nvmf/tbl/stats.h"
#undef NVMF_STAT
}

void stats_metrics(struct core *core, struct strbuf *out)
{
	static const double value_bounds[] = {
		4096, 65536, 262144, 1048576, 4194304, 16777216, 67108864};
	static const double probe_bounds[] = {1,   2,	5,   10,   20,	50,
					      100, 200, 500, 1000, 2000};
	const struct stats *st = &core->stats;

	segment_metrics(core, out);
	one_u64(out, "master_key_count", METRIC_GAUGE, "Objects",
		core->objects.count);
	one_u64(out, "master_soft_pin_key_count", METRIC_GAUGE,
		"Soft-pinned objects, expired ones until they are read",
		core->soft_pinned);
	one_u64(out, "master_active_clients", METRIC_GAUGE, "Clients that ping",
		core->clients.count);
	one_u64(out, "master_successful_evictions_total", METRIC_COUNTER,
		"Eviction rounds that freed something",
		st->evictions_mem + st->evictions_nof);
	one_u64(out, "master_attempted_evictions_total", METRIC_COUNTER,
		"Eviction rounds", st->evict_tries_mem + st->evict_tries_nof);
	one_u64(out, "master_evicted_key_count", METRIC_COUNTER,
		"Replicas evicted",
		st->evicted_keys_mem + st->evicted_keys_nof);
	one_u64(out, "master_evicted_size_bytes", METRIC_COUNTER,
		"Bytes evicted", st->evicted_bytes_mem + st->evicted_bytes_nof);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		uint64_t value;

		memcpy(&value, (const char *)st + counters[i].off,
		       sizeof(value));
		one_u64(out, counters[i].name, METRIC_COUNTER, counters[i].help,
			value);
	}
	nvmf_metrics(out);
	op_metric_lines(st, out);
	metric_head(out, "master_value_size_bytes", METRIC_HISTOGRAM,
		    "Sizes of the objects that were put");
	metric_hist(out, "master_value_size_bytes", &st->value_bytes,
		    value_bounds, ARRAY_SIZE(value_bounds));
	metric_head(out, "master_nof_heartbeat_probe_latency_ms",
		    METRIC_HISTOGRAM, "Latency of good probes");
	metric_hist(out, "master_nof_heartbeat_probe_latency_ms", &st->probe_ms,
		    probe_bounds, ARRAY_SIZE(probe_bounds));
}

/* --- the summary --- */

static void add_usage(struct strbuf *out, const char *what, uint64_t used,
		      uint64_t capacity)
{
	strbuf_addf(out, "%s: ", what);
	strbuf_add_size(out, used);
	strbuf_adds(out, " / ");
	strbuf_add_size(out, capacity);
	strbuf_addf(out, " (%.1f%%)",
		    capacity ? 100.0 * (double)used / (double)capacity : 0.0);
}

struct window {
	const struct stats *now, *before;
	double seconds;
};

static double rate(const struct window *w, uint64_t now, uint64_t before)
{
	return w->seconds > 0 ? (double)(now - before) / w->seconds : 0.0;
}

static void add_requests(const struct window *w, struct strbuf *out)
{
	strbuf_adds(out, "Requests (Success/Total per sec): ");
	for (unsigned o = 0; o < OP_COUNT; o++) {
		const struct op_stats *a = &w->now->ops[o];
		const struct op_stats *b = &w->before->ops[o];
		double total = rate(w, a->requests, b->requests);
		double failed = rate(w, a->failures, b->failures);

		strbuf_addf(out, "%s%s=%.2f/%.2f", o ? ", " : "", ops[o].word,
			    total - failed, total);
	}
	strbuf_adds(out, " | Batch Requests (per sec, Req=Success/"
			 "PartialSuccess/Total, Item=Success/Total): ");
	for (unsigned o = 0; o <= OP_REMOVE; o++) {
		const struct op_stats *a = &w->now->ops[o];
		const struct op_stats *b = &w->before->ops[o];
		double total = rate(w, a->batches, b->batches);
		double bad = rate(w, a->batch_failures, b->batch_failures);
		double part = rate(w, a->batch_partial, b->batch_partial);
		double items = rate(w, a->items, b->items);
		double bad_items = rate(w, a->failed_items, b->failed_items);

		strbuf_addf(out, "%s%s:(Req=%.2f/%.2f/%.2f, Item=%.2f/%.2f)",
			    o ? ", " : "", ops[o].word, total - bad - part,
			    part, total, items - bad_items, items);
	}
}

static void add_evictions(struct strbuf *out, const char *what,
			  const uint64_t v[4])
{
	strbuf_addf(out,
		    " | %s: Success/Attempts=%llu/%llu, keys=%llu, size=", what,
		    (unsigned long long)v[0], (unsigned long long)v[1],
		    (unsigned long long)v[2]);
	strbuf_add_size(out, v[3]);
}

void stats_summary(struct core *core, const struct stats *before,
		   double seconds, struct strbuf *out)
{
	const struct stats *st = &core->stats;
	struct window w = {st, before, seconds};
	struct stats_usage u;

	stats_usage(core, &u);
	add_usage(out, "Mem Storage", u.used[KIND_MEM], u.capacity[KIND_MEM]);
	add_usage(out, " | NVMe-oF SSD", u.used[KIND_NOF],
		  u.capacity[KIND_NOF]);
	strbuf_adds(out, " | SSD Storage: 0 B / 0 B (0.0%)");
	strbuf_addf(out, " | Keys: %zu (soft-pinned: %zu) | Clients: %zu | ",
		    core->objects.count, core->soft_pinned,
		    core->clients.count);
	add_requests(&w, out);
	strbuf_addf(
		out,
		" | Eviction: Success/Attempts=%llu/%llu, AllocFail=%llu, "
		"PartialAlloc=%llu, keys=%llu, size=",
		(unsigned long long)(st->evictions_mem + st->evictions_nof),
		(unsigned long long)(st->evict_tries_mem + st->evict_tries_nof),
		(unsigned long long)st->alloc_failures,
		(unsigned long long)st->partial_allocs,
		(unsigned long long)(st->evicted_keys_mem +
				     st->evicted_keys_nof));
	strbuf_add_size(out, st->evicted_bytes_mem + st->evicted_bytes_nof);
	add_evictions(out, "Mem Eviction",
		      (uint64_t[]){st->evictions_mem, st->evict_tries_mem,
				   st->evicted_keys_mem,
				   st->evicted_bytes_mem});
	add_evictions(out, "NoF Eviction",
		      (uint64_t[]){st->evictions_nof, st->evict_tries_nof,
				   st->evicted_keys_nof,
				   st->evicted_bytes_nof});
	strbuf_addf(out, " | Discard: Released/Total=%llu/%llu, StagingSize=",
		    (unsigned long long)st->released,
		    (unsigned long long)(st->released + st->discarded));
	strbuf_add_size(out, u.quarantined);
}
