/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prometheus text (version 0.0.4).  A metric is described once in a table
 * (name, type, help); the writer asks for values.
 */
#ifndef WEB_METRICS_H
#define WEB_METRICS_H

#include "base/hist.h"
#include "base/str.h"

enum metric_type {
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_HISTOGRAM
};

/* Writes # HELP and # TYPE once, before the samples of a name. */
void metric_head(struct strbuf *out, const char *name, enum metric_type type,
		 const char *help);
/* label NULL = none; the value is escaped. */
void metric_u64(struct strbuf *out, const char *name, const char *label,
		const char *label_value, uint64_t value);
struct metric_label {
	const char *name, *value;
};
void metric_labels_u64(struct strbuf *out, const char *name,
		       const struct metric_label *labels, size_t count,
		       uint64_t value);
/* Cumulative buckets with the given upper bounds (in the histogram's unit),
 * _sum and _count. */
void metric_hist(struct strbuf *out, const char *name, const struct hist *h,
		 const double *bounds, size_t count);

#endif
