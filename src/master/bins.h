/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the metadata: pools of doubling sizes, so that objects with keys
 * and extents of any length cost no malloc each.  Single owner.
 */
#ifndef MASTER_BINS_H
#define MASTER_BINS_H

#include "base/pool.h"

#define BINS_MIN   64
#define BINS_COUNT 9 /* 64 B … 16 KiB; larger pieces come from malloc */

struct bins {
	struct pool pools[BINS_COUNT];
	uint64_t large_bytes; /* in use beside the pools */
};

void bins_init(struct bins *bins);
void bins_fini(struct bins *bins); /* asserts that nothing is in use */
/* Zeroed, or NULL when memory is out. */
void *bins_take(struct bins *bins, size_t n);
/* n: as taken.  p may be NULL. */
void bins_give(struct bins *bins, void *p, size_t n);

#endif
