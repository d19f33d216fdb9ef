/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log-linear histogram.  Single owner.  Values below 16 have a bucket each;
 * above, each power of two is cut into 16 equal steps.
 */
#include "base/hist.h"

#include <string.h>

#define SUB_COUNT (1u << HIST_SUB_BITS)

void hist_init(struct hist *h)
{
	memset(h, 0, sizeof(*h));
}

static size_t bucket_of(uint64_t v)
{
	unsigned shift;

	if (v < SUB_COUNT)
		return (size_t)v;
	shift = 63 - (unsigned)__builtin_clzll(v) - HIST_SUB_BITS;
	return ((size_t)shift << HIST_SUB_BITS) + (size_t)(v >> shift);
}

void hist_add(struct hist *h, uint64_t value)
{
	h->count++;
	h->sum += value;
	h->max = MAX(h->max, value);
	h->bucket[bucket_of(value)]++;
}

uint64_t hist_edge(size_t bucket)
{
	unsigned shift;
	uint64_t step;

	if (bucket < SUB_COUNT)
		return bucket;
	shift = (unsigned)(bucket >> HIST_SUB_BITS) - 1;
	step = (bucket & (SUB_COUNT - 1)) | SUB_COUNT;
	return ((step + 1) << shift) - 1; /* wraps to the largest value */
}

void hist_merge(struct hist *to, const struct hist *from)
{
	to->count += from->count;
	to->sum += from->sum;
	to->max = MAX(to->max, from->max);
	for (size_t i = 0; i < HIST_BUCKETS; i++)
		to->bucket[i] += from->bucket[i];
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
	double want = (double)h->count * percent / 100.0;
	uint64_t seen = 0;

	for (size_t i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen && (double)seen >= want)
			return MIN(hist_edge(i), h->max);
	}
	return h->max;
}
