/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters of the metadata shard, their Prometheus text and the one-line
 * summary (upstream's format; what this master has not got reads 0).
 */
#ifndef MASTER_STATS_H
#define MASTER_STATS_H

#include "base/hist.h"
#include "base/str.h"

enum op_kind {
#define OP(name, metric) OP_##name,
#include "master/tbl/ops.h"
#undef OP
	OP_COUNT
};

/* Calls of one kind; single = a batch of one. */
struct op_stats {
	uint64_t requests, failures;
	uint64_t batches, batch_failures, batch_partial;
	uint64_t items, failed_items;
};

struct stats {
#define COUNTER(field, name, help) uint64_t field;
#include "master/tbl/counters.h"
#undef COUNTER
	struct op_stats ops[OP_COUNT];
	struct hist value_bytes;
	struct hist probe_ms;
};

struct core;

void stats_init(struct stats *st);
/* One call of items parts of which failed did not succeed. */
void stats_op(struct stats *st, enum op_kind op, size_t items, size_t failed);
struct stats_usage {
	uint64_t used[2], capacity[2]; /* by enum kind, OFFLINE included */
	uint64_t quarantined;
};
/* Frees what has rested long enough first. */
void stats_usage(struct core *core, struct stats_usage *out);
/* Everything, in the text format of Prometheus. */
void stats_metrics(struct core *core, struct strbuf *out);
/* before: the counters at the start of the window of seconds that rates are
 * about. */
void stats_summary(struct core *core, const struct stats *before,
		   double seconds, struct strbuf *out);

#endif
