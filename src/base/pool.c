/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Object pool.  Single owner.  Slabs are never given back before pool_fini();
 * free objects are poisoned for ASan, so touching one is caught at once.
 */
#include "base/pool.h"

#include <errno.h>
#include <sanitizer/asan_interface.h>
#include <stdlib.h>

#define OBJ_ALIGN	 16
#define SLAB_BYTES_MAX	 (256 * KiB)
#define SLAB_OBJECTS_MIN 16

struct pool_slab {
	struct pool_slab *next;
	_Alignas(OBJ_ALIGN) char objects[];
};

void pool_init(struct pool *pool, size_t obj_size, size_t limit)
{
	ASSERT(obj_size > 0 && obj_size <= SIZE_MAX / 2);
	*pool = (struct pool){
		.obj_size = ALIGN_UP(obj_size, OBJ_ALIGN),
		.limit = limit,
	};
}

static void push_free(struct pool *pool, void *obj)
{
	*(void **)obj = pool->free;
	pool->free = obj;
	ASAN_POISON_MEMORY_REGION(obj, pool->obj_size);
}

static int add_slab(struct pool *pool, size_t count)
{
	struct pool_slab *slab;
	size_t bytes;

	if (mul_overflows(count, pool->obj_size, &bytes) ||
	    add_overflows(bytes, sizeof(*slab), &bytes))
		return -ENOMEM;
	slab = malloc(bytes);
	if (!slab)
		return -ENOMEM;
	slab->next = pool->slabs;
	pool->slabs = slab;
	/* Backwards, so that objects are taken in order of address. */
	for (size_t i = count; i > 0; i--)
		push_free(pool, slab->objects + (i - 1) * pool->obj_size);
	pool->total += count;
	return 0;
}

/* As many again as there are, within the bounds of a slab and the limit. */
static int grow(struct pool *pool)
{
	size_t most = MAX(SLAB_BYTES_MAX / pool->obj_size, (size_t)1);
	size_t count = MAX(pool->total, (size_t)SLAB_OBJECTS_MIN);

	count = MIN(count, most);
	if (pool->limit)
		count = MIN(count, pool->limit - pool->total);
	return count ? add_slab(pool, count) : -ENOMEM;
}

void pool_fini(struct pool *pool)
{
	struct pool_slab *slab, *next;

	if (!pool)
		return;
	ASSERT(pool->in_use == 0);
	for (slab = pool->slabs; slab; slab = next) {
		next = slab->next;
		free(slab);
	}
	*pool = (struct pool){0};
}

void *pool_take(struct pool *pool)
{
	void *obj;

	if (!pool->free && grow(pool))
		return NULL;
	obj = pool->free;
	ASAN_UNPOISON_MEMORY_REGION(obj, pool->obj_size);
	pool->free = *(void **)obj;
	pool->in_use++;
	return obj;
}

void pool_give(struct pool *pool, void *obj)
{
	if (!obj)
		return;
	ASSERT(pool->in_use > 0);
	pool->in_use--;
	push_free(pool, obj);
}
