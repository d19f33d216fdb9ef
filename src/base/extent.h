/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extent allocator: hands out [offset, offset + length) ranges of one segment.
 *
 * Two-level segregated fit over an array of nodes beside the space (the space
 * itself is remote): allocation finds a bin by two bit scans, free merges with
 * both neighbours in O(1).  All offsets and lengths are bytes, 64-bit, and
 * multiples of the unit given at init.  Single owner, no locks.
 */
#ifndef BASE_EXTENT_H
#define BASE_EXTENT_H

#include "base/def.h"

struct ext_alloc;

struct ext {
	uint64_t off;
	uint64_t len;  /* what was taken, a multiple of the unit */
	uint32_t node; /* handle for free */
};

#define EXT_SIZE_MAX ((uint64_t)1 << 61)

/* base, size: multiples of unit (a power of two).  -EINVAL, -ENOMEM. */
int ext_create(uint64_t base, uint64_t size, uint64_t unit,
	       struct ext_alloc **out);
void ext_destroy(struct ext_alloc *ea);
/* len is rounded up to the unit; align: 0 or a power of two >= unit.
 * -ENOSPC when no single free range fits, -ENOMEM when the node array can't
 * grow, -EINVAL for len 0 or a wrong align. */
int ext_take(struct ext_alloc *ea, uint64_t len, uint64_t align,
	     struct ext *out);
/* Takes the exact range, for restoring state: O(log n) in a row of such calls
 * and gives, O(n) for the first one after an ext_take().  -EBUSY when not
 * free, -EINVAL when not within the segment, -ENOMEM. */
int ext_take_at(struct ext_alloc *ea, uint64_t off, uint64_t len,
		struct ext *out);
void ext_give(struct ext_alloc *ea, const struct ext *ext);
uint64_t ext_used(const struct ext_alloc *ea); /* rounded, as taken */
uint64_t ext_largest_free(const struct ext_alloc *ea);
/* In order of offset; *used tells which kind it is.  Start with *node =
 * UINT32_MAX; false at the end. */
bool ext_next(const struct ext_alloc *ea, uint32_t *node, struct ext *out,
	      bool *used);

#endif
