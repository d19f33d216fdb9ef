/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log-linear histogram.  Single owner.  Values below 16 have a bucket each;
 * above, each power of two is cut into 16 equal steps.
 */
#include "base/hist.h"

#include <math.h>
#include <string.h>

#define SUB_COUNT (1u << HIST_SUB_BITS)

void hist_init(struct hist *h)
{
	memset(h, 0, sizeof(*h));
	h->min = UINT64_MAX;
}

static size_t bucket_of(uint64_t v)
{
	unsigned shift;

	if (v < SUB_COUNT)
		return (size_t)v;
	shift = 63 - (unsigned)__builtin_clzll(v) - HIST_SUB_BITS;
	return ((size_t)shift << HIST_SUB_BITS) + (size_t)(v >> shift);
}

static uint64_t upper_edge(size_t bucket)
{
	unsigned shift;
	uint64_t step;

	if (bucket < SUB_COUNT)
		return bucket;
	shift = (unsigned)(bucket >> HIST_SUB_BITS) - 1;
	step = (bucket & (SUB_COUNT - 1)) | SUB_COUNT;
	return ((step + 1) << shift) - 1; /* wraps to the largest value */
}

void hist_add(struct hist *h, uint64_t value)
{
	h->count++;
	h->sum += value;
	h->min = MIN(h->min, value);
	h->max = MAX(h->max, value);
	h->bucket[bucket_of(value)]++;
}

void hist_merge(struct hist *into, const struct hist *from)
{
	into->count += from->count;
	into->sum += from->sum;
	into->min = MIN(into->min, from->min);
	into->max = MAX(into->max, from->max);
	for (size_t i = 0; i < HIST_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

uint64_t hist_quantile(const struct hist *h, double q)
{
	uint64_t rank, seen = 0;

	ASSERT(q >= 0 && q <= 1);
	if (h->count == 0)
		return 0;
	rank = (uint64_t)ceil(q * (double)h->count);
	rank = MIN(MAX(rank, (uint64_t)1), h->count);
	for (size_t i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= rank)
			return MIN(upper_edge(i), h->max);
	}
	UNREACHABLE();
}

double hist_mean(const struct hist *h)
{
	return h->count ? (double)h->sum / (double)h->count : 0;
}
