/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of graded sizes for the metadata shard.  Invariant: a piece goes
 * back to the pool that its size names, so the caller keeps the size.
 */
#include "master/bins.h"

#include <stdlib.h>
#include <string.h>

static_assert(BINS_FINE << (BINS_COUNT - BINS_FINE / BINS_STEP) / BINS_COARSE ==
		      BINS_LARGE,
	      "the last pool has the largest pieces");

/* The pool of the smallest pieces that hold n. */
static size_t bin_of(size_t n)
{
	size_t fine = (n + BINS_STEP - 1) / BINS_STEP, step;
	unsigned doublings;

	if (n <= BINS_FINE)
		return MAX(fine, (size_t)1) - 1;
	doublings = 63 - (unsigned)__builtin_clzll((n - 1) / BINS_FINE);
	step = (size_t)BINS_FINE / BINS_COARSE << doublings;
	return BINS_FINE / BINS_STEP + doublings * (size_t)BINS_COARSE +
	       (n - 1) / step - BINS_COARSE;
}

static size_t size_of(size_t bin)
{
	size_t coarse = bin - BINS_FINE / BINS_STEP, size;

	if (bin < BINS_FINE / BINS_STEP)
		return (bin + 1) * BINS_STEP;
	size = (size_t)BINS_FINE << coarse / BINS_COARSE;
	return size + size / BINS_COARSE * (coarse % BINS_COARSE + 1);
}

void bins_init(struct bins *bins)
{
	*bins = (struct bins){0};
	for (size_t i = 0; i < BINS_COUNT; i++)
		pool_init(&bins->pools[i], size_of(i), 0);
}

void bins_fini(struct bins *bins)
{
	ASSERT(bins->large_bytes == 0);
	for (size_t i = 0; i < BINS_COUNT; i++)
		pool_fini(&bins->pools[i]);
}

void *bins_take(struct bins *bins, size_t n)
{
	void *p;

	if (n > BINS_LARGE) {
		p = calloc(1, n);
		if (p)
			bins->large_bytes += n;
		return p;
	}
	p = pool_take(&bins->pools[bin_of(n)]);
	if (p)
		memset(p, 0, n);
	return p;
}

void bins_give(struct bins *bins, void *p, size_t n)
{
	if (!p)
		return;
	if (n <= BINS_LARGE) {
		pool_give(&bins->pools[bin_of(n)], p);
		return;
	}
	ASSERT(bins->large_bytes >= n);
	bins->large_bytes -= n;
	free(p);
}
