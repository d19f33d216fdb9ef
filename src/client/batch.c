/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch's input, checked.  In the caller's thread.
 *
 * Invariant: an item that is ITEM_OPEN has a good key, and pieces that can be
 * read (or written) without a fault.
 */
#include "client/batch.h"

#include <stdlib.h>

enum mooncake_status key_check(const char *key)
{
	size_t n;

	if (!key)
		return MOONCAKE_INVALID_PARAMS;
	n = strnlen(key, KEY_LEN_MAX + 1);
	if (n == 0)
		return MOONCAKE_INVALID_PARAMS;
	return n > KEY_LEN_MAX ? MOONCAKE_INVALID_KEY : MOONCAKE_OK;
}

mooncake_pieces_t *batch_pieces(void *const *buffers, const size_t *sizes,
				size_t count, struct arena *arena)
{
	mooncake_pieces_t *pieces = arena_alloc(arena, count * sizeof(*pieces));

	for (size_t i = 0; pieces && i < count; i++)
		pieces[i] = (mooncake_pieces_t){&buffers[i], &sizes[i], 1};
	return pieces;
}

size_t batch_cut(const struct batch_in *in)
{
	size_t bytes = 0, n = 0;

	while (n < in->count && n < BATCH_ITEMS_MAX) {
		bytes += in->keys[n] ? strnlen(in->keys[n], KEY_LEN_MAX) : 0;
		if (n > 0 && bytes > BATCH_KEY_BYTES_MAX)
			break;
		n++;
	}
	return n;
}

static int64_t item_set_pieces(struct client *c, const struct batch_in *in,
			       const mooncake_pieces_t *value,
			       struct item *item, struct arena *arena)
{
	if (value->count > UINT32_MAX / sizeof(struct iovec) ||
	    (value->count && (!value->ptrs || !value->sizes)))
		return MOONCAKE_INVALID_PARAMS;
	item->iov = arena_alloc(arena, value->count * sizeof(struct iovec));
	if (!item->iov)
		return MOONCAKE_INTERNAL_ERROR;
	for (size_t i = 0; i < value->count; i++) {
		void *p = value->ptrs[i];
		size_t n = value->sizes[i];

		if (n == 0)
			continue;
		if (add_overflows(item->bytes, n, &item->bytes) ||
		    !memreg_check(&c->memreg, p, n, in->is_write))
			return MOONCAKE_INVALID_PARAMS;
		item->iov[item->iovcnt++] = (struct iovec){p, n};
	}
	/* A put of nothing: decided here, so that no equal key follows it. */
	if (!in->is_write && item->bytes == 0)
		return MOONCAKE_INVALID_PARAMS;
	return ITEM_OPEN;
}

static int item_cmp(const void *a, const void *b)
{
	const struct item *x = *(struct item *const *)a;
	const struct item *y = *(struct item *const *)b;
	int ret = memcmp(x->key.p, y->key.p, MIN(x->key.n, y->key.n));

	if (ret == 0 && x->key.n != y->key.n)
		ret = x->key.n < y->key.n ? -1 : 1;
	if (ret == 0)
		ret = x < y ? -1 : 1; /* the first of the batch stays first */
	return ret;
}

/* Of equal keys all but the first point to the first. */
static int batch_find_same(struct item *items, size_t n, struct arena *arena)
{
	struct item **order = arena_alloc(arena, n * sizeof(*order));
	size_t open = 0;

	if (!order)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (items[i].result == ITEM_OPEN)
			order[open++] = &items[i];
	if (open > 1)
		qsort(order, open, sizeof(*order), item_cmp);
	for (size_t i = 1; i < open; i++)
		if (str_eq(order[i]->key, order[i - 1]->key))
			order[i]->same = order[i - 1]->same ? order[i - 1]->same
							    : order[i - 1];
	return 0;
}

struct item *batch_items(struct client *c, const struct batch_in *in, size_t n,
			 struct arena *arena)
{
	struct item *items = arena_alloc(arena, n * sizeof(*items));

	if (!items)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		enum mooncake_status st = key_check(in->keys[i]);

		items[i].result = st;
		if (st != MOONCAKE_OK)
			continue;
		items[i].result = ITEM_OPEN;
		items[i].key = str_of(in->keys[i]);
		items[i].into = in->into ? &in->into[i] : NULL;
		if (in->values)
			items[i].result = item_set_pieces(c, in, &in->values[i],
							  &items[i], arena);
	}
	return batch_find_same(items, n, arena) == 0 ? items : NULL;
}
