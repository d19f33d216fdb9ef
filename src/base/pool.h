/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed-size objects from slabs.  pool_take returns NULL when the limit is
 * reached (back-pressure) or memory is out; contents are not cleared.  Single
 * owner.  Debug builds (ASan) poison what is given back.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/def.h"

struct pool_slab;

struct pool {
	size_t obj_size;
	size_t limit; /* objects; 0 = no limit */
	size_t in_use;
	size_t total;
	void *free; /* singly linked through the object's first word */
	struct pool_slab *slabs;
};

void pool_init(struct pool *pool, size_t obj_size, size_t limit);
void pool_fini(struct pool *pool); /* asserts that nothing is in use */
void *pool_take(struct pool *pool);
void pool_give(struct pool *pool, void *obj);

#endif
