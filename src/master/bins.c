/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of doubling sizes for the metadata shard.  Invariant: a piece goes
 * back to the pool that its size names, so the caller keeps the size.
 */
#include "master/bins.h"

#include <stdlib.h>
#include <string.h>

void bins_init(struct bins *bins)
{
	*bins = (struct bins){0};
	for (unsigned i = 0; i < BINS_COUNT; i++)
		pool_init(&bins->pools[i], (size_t)BINS_MIN << i, 0);
}

void bins_fini(struct bins *bins)
{
	ASSERT(bins->large_bytes == 0);
	for (unsigned i = 0; i < BINS_COUNT; i++)
		pool_fini(&bins->pools[i]);
}

static struct pool *bin_of(struct bins *bins, size_t n)
{
	unsigned i = 0;

	while (i < BINS_COUNT && ((size_t)BINS_MIN << i) < n)
		i++;
	return i < BINS_COUNT ? &bins->pools[i] : NULL;
}

void *bins_take(struct bins *bins, size_t n)
{
	struct pool *pool = bin_of(bins, n);
	void *p;

	if (!pool) {
		p = calloc(1, n);
		if (p)
			bins->large_bytes += n;
		return p;
	}
	p = pool_take(pool);
	if (p)
		memset(p, 0, n);
	return p;
}

void bins_give(struct bins *bins, void *p, size_t n)
{
	struct pool *pool = bin_of(bins, n);

	if (!p)
		return;
	if (pool) {
		pool_give(pool, p);
		return;
	}
	ASSERT(bins->large_bytes >= n);
	bins->large_bytes -= n;
	free(p);
}
