/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting of I/O; stat_done() on the one thread that writes, the rest on any.
 * Invariant: a bucket only grows; readers see each of them alone.
 */
#include "pool/stat.h"

#define STEP_BITS 2 /* four steps in a power of two */

static unsigned bucket_of(uint64_t us)
{
	unsigned exp, bucket;

	if (us < 1u << STEP_BITS)
		return (unsigned)us;
	exp = 63 - (unsigned)__builtin_clzll(us);
	bucket = (exp - STEP_BITS + 1) << STEP_BITS |
		 (us >> (exp - STEP_BITS) & ((1u << STEP_BITS) - 1));
	return MIN(bucket, STAT_BUCKETS - 1u);
}

/* Largest value of the bucket. */
static uint64_t edge_of(unsigned bucket)
{
	unsigned exp = bucket >> STEP_BITS;
	uint64_t step = bucket & ((1u << STEP_BITS) - 1);

	if (exp == 0)
		return step;
	return (((1u << STEP_BITS) + step + 1) << (exp - 1)) - 1;
}

void stat_done(struct stat_dir *dir, uint64_t bytes, uint64_t ns)
{
	stat_add(&dir->ops, 1);
	stat_add(&dir->bytes, bytes);
	stat_add(&dir->us[bucket_of(ns / 1000)], 1);
}

uint64_t stat_percentile(const uint64_t us[STAT_BUCKETS], uint64_t count,
			 unsigned percent)
{
	uint64_t rank = (count * percent + 99) / 100, seen = 0;

	for (unsigned i = 0; count && i < STAT_BUCKETS; i++) {
		seen += us[i];
		if (seen >= rank)
			return edge_of(i);
	}
	return 0;
}
