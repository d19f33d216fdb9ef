/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is counted per segment, as Prometheus text, on the metadata shard.  The
 * tables below are the only list of names.  Invariant: a name's samples stand
 * together, behind one head.
 */
#include "master/seg_stats.h"

#include "master/segment.h"
#include "web/metrics.h"

static const char *const error_names[] = {
#define SEG_ERROR(NAME, word) [SEG_ERROR_##NAME] = (word),
#include "master/tbl/seg_errors.h"
#undef SEG_ERROR
};

const char *seg_error_name(unsigned error)
{
	ASSERT(error < ARRAY_SIZE(error_names));
	return error_names[error];
}

uint64_t seg_age_ms(const struct core *core, uint64_t since_ns)
{
	return core->now_ns > since_ns ? (core->now_ns - since_ns) / NS_PER_MS
				       : 0;
}

typedef uint64_t (*seg_value_fn)(const struct core *core,
				 const struct segment *seg);

static uint64_t used(const struct core *core, const struct segment *seg)
{
	return ext_used(seg->space);
}

static uint64_t size(const struct core *core, const struct segment *seg)
{
	return seg->size;
}

static uint64_t is_online(const struct core *core, const struct segment *seg)
{
	return seg->state == SEG_ONLINE;
}

static uint64_t replicas(const struct core *core, const struct segment *seg)
{
	return seg->replicas;
}

static uint64_t resting(const struct core *core, const struct segment *seg)
{
	return seg->quarantined;
}

static uint64_t ok_age(const struct core *core, const struct segment *seg)
{
	return seg_age_ms(core, seg->ok_ns);
}

static uint64_t latency(const struct core *core, const struct segment *seg)
{
	return seg->latency_ns / NS_PER_US;
}

static uint64_t failures(const struct core *core, const struct segment *seg)
{
	return seg->failures;
}

static uint64_t paths(const struct core *core, const struct segment *seg)
{
	return seg->endpoint_count;
}

static uint64_t hits(const struct core *core, const struct segment *seg)
{
	return seg->hits;
}

static uint64_t hit_bytes(const struct core *core, const struct segment *seg)
{
	return seg->hit_bytes;
}

static const struct {
	enum kind kind;
	enum metric_type type;
	const char *name, *help;
	seg_value_fn value;
} table[] = {
	{KIND_MEM, METRIC_GAUGE, "segment_allocated_bytes",
	 "In use per memory segment", used},
	{KIND_MEM, METRIC_GAUGE, "segment_total_capacity_bytes",
	 "Size per memory segment", size},
	{KIND_NOF, METRIC_GAUGE, "nof_segment_allocated_bytes",
	 "In use per NVMe-oF segment", used},
	{KIND_NOF, METRIC_GAUGE, "nof_segment_total_capacity_bytes",
	 "Size per NVMe-oF segment", size},
	{KIND_NOF, METRIC_GAUGE, "nof_segment_online",
	 "1 = ONLINE or DRAINING, 0 = OFFLINE", is_online},
	{KIND_NOF, METRIC_GAUGE, "nof_segment_replicas",
	 "Replicas per NVMe-oF segment", replicas},
	{KIND_NOF, METRIC_GAUGE, "nof_segment_quarantined_bytes",
	 "Freed extents that rest before they are reused", resting},
	{KIND_NOF, METRIC_GAUGE, "nof_segment_last_success_age_ms",
	 "Since the last good probe", ok_age},
	{KIND_NOF, METRIC_GAUGE, "nof_segment_probe_latency_us",
	 "Latency of the last good probe", latency},
	{KIND_NOF, METRIC_GAUGE, "nof_segment_probe_failures",
	 "Probes in a row that failed", failures},
	{KIND_NOF, METRIC_GAUGE, "nof_segment_paths", "Endpoints", paths},
	{KIND_NOF, METRIC_COUNTER, "nof_segment_hits_total",
	 "Gets that are sent to the segment first", hits},
	{KIND_NOF, METRIC_COUNTER, "nof_segment_hit_bytes_total",
	 "Bytes of these gets", hit_bytes},
};

/* One metric of all segments of a kind. */
static void plain_metrics(struct core *core, size_t row, struct strbuf *out)
{
	struct segment *seg;
	bool has_head = false;

	list_for_each (seg, &core->segments, node) {
		if (seg->kind != table[row].kind)
			continue;
		if (!has_head)
			metric_head(out, table[row].name, table[row].type,
				    table[row].help);
		has_head = true;
		metric_u64(out, table[row].name, "segment", seg->name,
			   table[row].value(core, seg));
	}
}

static void state_metrics(struct core *core, struct strbuf *out)
{
	static const char *const states[] = {"ONLINE", "DRAINING", "OFFLINE"};
	static const char name[] = "nof_segment_state";
	struct segment *seg;

	metric_head(out, name, METRIC_GAUGE, "1 for the state it is in");
	list_for_each (seg, &core->segments, node) {
		const char *now = segment_state_name(seg);

		if (seg->kind != KIND_NOF)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
			struct metric_label labels[] = {{"segment", seg->name},
							{"state", states[i]}};

			metric_labels_u64(out, name, labels, ARRAY_SIZE(labels),
					  strcmp(now, states[i]) == 0);
		}
	}
}

static void error_metrics(struct core *core, struct strbuf *out)
{
	static const char name[] = "nof_segment_errors_total";
	struct segment *seg;

	metric_head(out, name, METRIC_COUNTER,
		    "Failed probes, clients' reports and bad checksums");
	list_for_each (seg, &core->segments, node) {
		if (seg->kind != KIND_NOF)
			continue;
		for (unsigned e = 0; e < SEG_ERROR_COUNT; e++) {
			struct metric_label labels[] = {
				{"segment", seg->name},
				{"kind", seg_error_name(e)}};

			metric_labels_u64(out, name, labels, ARRAY_SIZE(labels),
					  seg->errors[e]);
		}
	}
}

/* --- SMART --- */

#define SMART(field, message, name, type, help)                                \
	static uint64_t smart_##field(const struct core *core,                 \
				      const struct segment *seg)               \
	{                                                                      \
		return seg->smart.field;                                       \
	}
#include "master/tbl/smart.h"
#undef SMART

static uint64_t smart_age(const struct core *core, const struct segment *seg)
{
	return seg_age_ms(core, seg->smart_ns);
}

static const struct {
	enum metric_type type;
	const char *name, *help;
	seg_value_fn value;
} smart_table[] = {
#define SMART(field, message, name, type, help)                                \
	{METRIC_##type, name, help, smart_##field},
#include "master/tbl/smart.h"
#undef SMART
	{METRIC_GAUGE, "nof_segment_smart_age_ms",
	 "Since the SMART log was read", smart_age},
};

static void smart_metrics(struct core *core, size_t row, struct strbuf *out)
{
	struct segment *seg;
	bool has_head = false;

	list_for_each (seg, &core->segments, node) {
		if (!seg->smart_ns)
			continue;
		if (!has_head)
			metric_head(out, smart_table[row].name,
				    smart_table[row].type,
				    smart_table[row].help);
		has_head = true;
		metric_u64(out, smart_table[row].name, "segment", seg->name,
			   smart_table[row].value(core, seg));
	}
}

void seg_metrics(struct core *core, struct strbuf *out)
{
	bool has_pool = false;
	struct segment *seg;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		plain_metrics(core, i, out);
	list_for_each (seg, &core->segments, node)
		has_pool = has_pool || seg->kind == KIND_NOF;
	if (!has_pool)
		return;
	state_metrics(core, out);
	error_metrics(core, out);
	for (size_t i = 0; i < ARRAY_SIZE(smart_table); i++)
		smart_metrics(core, i, out);
}
