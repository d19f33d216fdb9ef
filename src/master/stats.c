/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the metadata shard counts, as Prometheus text.  The tables
 * tbl/counters.h and tbl/ops.h are the only list of names.
 */
#include "master/stats.h"

#include "master/evict.h"
#include "master/object.h"
#include "master/quarantine.h"
#include "master/seg_stats.h"
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
	const char *metric;
} ops[OP_COUNT] = {
#define OP(name, metric) [OP_##name] = {metric},
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
	seg_metrics(core, out);
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
	/* Upstream's name, for its dashboards. */
	one_u64(out, "master_nof_segments_unmounted_by_heartbeat_total",
		METRIC_COUNTER,
		"Always 0: a failed probe makes a segment OFFLINE, no more", 0);
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
