/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker counts of one path and direction: one writer, any readers.
 */
#ifndef POOL_STAT_H
#define POOL_STAT_H

#include <stdatomic.h>

#include "base/def.h"

/* Latencies in steps of a quarter of a power of two of microseconds. */
#define STAT_BUCKETS 128

struct stat_dir {
	_Atomic(uint64_t) ops, bytes;
	_Atomic(uint64_t) us[STAT_BUCKETS];
};

/* Cheaper than a locked addition: there is one writer. */
static inline void stat_add(_Atomic(uint64_t) *counter, uint64_t n)
{
	atomic_store_explicit(
		counter,
		atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}
static inline uint64_t stat_get(const _Atomic(uint64_t) *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void stat_done(struct stat_dir *dir, uint64_t bytes, uint64_t ns);
/* Microseconds below which the given share (per cent) of count values lies;
 * us holds sums of struct stat_dir's. */
uint64_t stat_percentile(const uint64_t us[STAT_BUCKETS], uint64_t count,
			 unsigned percent);

#endif
