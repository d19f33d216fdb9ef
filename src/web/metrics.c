/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prometheus text.  Pure functions that append to the caller's buffer; any
 * thread.  Invariant: every sample ends with a newline, so that samples of
 * different modules can follow each other.
 */
#include "web/metrics.h"

#include <inttypes.h>

static const char *const type_names[] = {
	[METRIC_COUNTER] = "counter",
	[METRIC_GAUGE] = "gauge",
	[METRIC_HISTOGRAM] = "histogram",
};

static void add_escaped(struct strbuf *out, const char *text, bool is_label)
{
	for (; *text; text++) {
		if (*text == '\n')
			strbuf_adds(out, "\\n");
		else if (*text == '\\' || (is_label && *text == '"'))
			strbuf_addf(out, "\\%c", *text);
		else
			strbuf_addc(out, *text);
	}
}

void metric_head(struct strbuf *out, const char *name, enum metric_type type,
		 const char *help)
{
	ASSERT(type < ARRAY_SIZE(type_names));
	strbuf_addf(out, "# HELP %s ", name);
	add_escaped(out, help, false);
	strbuf_addf(out, "\n# TYPE %s %s\n", name, type_names[type]);
}

void metric_labels_u64(struct strbuf *out, const char *name,
		       const struct metric_label *labels, size_t count,
		       uint64_t value)
{
	strbuf_adds(out, name);
	for (size_t i = 0; i < count; i++) {
		strbuf_addf(out, "%c%s=\"", i ? ',' : '{', labels[i].name);
		add_escaped(out, labels[i].value, true);
		strbuf_addc(out, '"');
	}
	strbuf_addf(out, "%s %" PRIu64 "\n", count ? "}" : "", value);
}

void metric_u64(struct strbuf *out, const char *name, const char *label,
		const char *label_value, uint64_t value)
{
	struct metric_label one = {label, label_value};

	metric_labels_u64(out, name, &one, label ? 1 : 0, value);
}

void metric_hist(struct strbuf *out, const char *name, const struct hist *h,
		 const double *bounds, size_t count)
{
	uint64_t sum = 0;
	size_t bucket = 0;

	for (size_t i = 0; i < count; i++) {
		ASSERT(i == 0 || bounds[i] > bounds[i - 1]);
		while (bucket < HIST_BUCKETS &&
		       (double)hist_edge(bucket) <= bounds[i])
			sum += h->bucket[bucket++];
		strbuf_addf(out, "%s_bucket{le=\"%.10g\"} %" PRIu64 "\n", name,
			    bounds[i], sum);
	}
	strbuf_addf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name,
		    h->count);
	strbuf_addf(out, "%s_sum %" PRIu64 "\n", name, h->sum);
	strbuf_addf(out, "%s_count %" PRIu64 "\n", name, h->count);
}
