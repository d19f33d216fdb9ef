/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C API's gets: arguments in, batches out.  In the caller's thread.
 *
 * Invariant: every entry of results_out is written exactly once.
 */
#include <stdlib.h>
#include <string.h>

#include "client/batch.h"
#include "client/call.h"
#include "client/store.h"
#include "io/memory.h"

/* --- into the caller's memory --- */

static void get_some(struct client *c, const struct batch_in *in, size_t n,
		     int64_t *results)
{
	struct arena arena;
	struct item *items;

	arena_init(&arena, 0);
	items = batch_items(c, in, n, &arena);
	if (items && (in->values || in->into))
		get_items(c, items, n, &arena);
	else if (items)
		get_sizes(c, items, n, &arena);
	for (size_t i = 0; i < n; i++)
		results[i] = items ? items[i].result : MOONCAKE_INTERNAL_ERROR;
	arena_fini(&arena);
}

/* Neither values nor into: sizes only. */
static void get_all(struct client *c, struct batch_in in, int64_t *results)
{
	while (in.count > 0) {
		size_t n = batch_cut(&in);

		get_some(c, &in, n, results);
		results += n;
		in.keys += n;
		if (in.values)
			in.values += n;
		if (in.into)
			in.into += n;
		in.count -= n;
	}
}

int mooncake_store_batch_get_pieces(mooncake_store_t handle,
				    const char *const *keys,
				    const mooncake_pieces_t *values,
				    size_t count, int64_t *results_out)
{
	struct batch_in in = {keys, values, count, true, NULL};
	struct store *store = store_of(handle);
	struct client *c;

	if (!store || (count && (!keys || !values || !results_out)))
		return -1;
	c = store_enter(store);
	for (size_t i = 0; !c && i < count; i++)
		results_out[i] = MOONCAKE_INVALID_PARAMS;
	if (!c)
		return 0;
	get_all(c, in, results_out);
	store_leave(store);
	return 0;
}

int64_t mooncake_store_get_into(mooncake_store_t store, const char *key,
				void *buffer, size_t size)
{
	mooncake_pieces_t pieces = {&buffer, &size, 1};
	int64_t result = -1;

	if (!key || !buffer)
		return -1;
	if (mooncake_store_batch_get_pieces(store, &key, &pieces, 1, &result) <
	    0)
		return -1;
	return result;
}

int mooncake_store_batch_get_into(mooncake_store_t store, const char **keys,
				  void **buffers, const size_t *sizes,
				  size_t count, int64_t *results_out)
{
	mooncake_pieces_t *pieces;
	struct arena arena;
	int ret = -1;

	if (!store_of(store) ||
	    (count && (!keys || !buffers || !sizes || !results_out)))
		return -1;
	arena_init(&arena, 0);
	pieces = batch_pieces(buffers, sizes, count, &arena);
	if (pieces)
		ret = mooncake_store_batch_get_pieces(store, keys, pieces,
						      count, results_out);
	arena_fini(&arena);
	return ret;
}

int64_t mooncake_store_get_size(mooncake_store_t handle, const char *key)
{
	struct batch_in in = {&key, NULL, 1, false, NULL};
	struct store *store = store_of(handle);
	struct client *c;
	int64_t result;

	if (!store || !key)
		return -1;
	c = store_enter(store);
	if (!c)
		return MOONCAKE_INVALID_PARAMS;
	get_all(c, in, &result);
	store_leave(store);
	return result;
}

/* --- into memory of ours --- */

int mooncake_store_batch_get_buffer(mooncake_store_t handle,
				    const char *const *keys, size_t count,
				    mooncake_buffer_t *out)
{
	struct batch_in in = {keys, NULL, count, true, out};
	struct store *store = store_of(handle);
	int64_t *results;
	struct client *c;

	if (!store || (count && (!keys || !out)))
		return -1;
	if (count == 0)
		return 0;
	results = calloc(count, sizeof(*results));
	c = store_enter(store);
	memset(out, 0, count * sizeof(*out));
	for (size_t i = 0; i < count; i++) {
		out[i].status =
			c ? MOONCAKE_INTERNAL_ERROR : MOONCAKE_INVALID_PARAMS;
	}
	if (c && results)
		get_all(c, in, results);
	for (size_t i = 0; c && results && i < count; i++) {
		out[i].status = results[i] < 0 ? (int)results[i] : 0;
		if (results[i] < 0)
			mooncake_host_free(TAKE(out[i].ptr));
		out[i].size = results[i] < 0 ? 0 : (size_t)results[i];
	}
	if (c)
		store_leave(store);
	free(results);
	return 0;
}

void mooncake_buffer_free(mooncake_buffer_t *buffer)
{
	if (!buffer)
		return;
	mooncake_host_free(TAKE(buffer->ptr));
	buffer->size = 0;
}

/* --- host memory --- */

void *mooncake_host_alloc(size_t size)
{
	void *p;

	/* Small ones too: who asks wants to hand it to a device. */
	if (size == 0 || posix_memalign(&p, 4096, size) != 0)
		return NULL;
	return p;
}

void mooncake_host_free(void *ptr)
{
	free(ptr);
}
