/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the metadata: pools of many sizes, so that objects with keys and
 * extents of any length cost no malloc each, and no more than they need.
 * Single owner.
 */
#ifndef MASTER_BINS_H
#define MASTER_BINS_H

#include "base/pool.h"

#define BINS_STEP   16	       /* sizes up to BINS_FINE are multiples of it */
#define BINS_FINE   1024       /* from there on eight sizes per doubling */
#define BINS_LARGE  (16 * KiB) /* larger pieces come from malloc */
#define BINS_COARSE 8
#define BINS_COUNT  (BINS_FINE / BINS_STEP + 4 * BINS_COARSE)

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
