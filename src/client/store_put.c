/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C API's puts: arguments in, batches out.  In the caller's thread.
 *
 * Invariant: every entry of results_out is written exactly once.
 */
#include "client/batch.h"
#include "client/store.h"

/* One message's worth. */
static void put_some(struct client *c, const struct batch_in *in, size_t n,
		     const struct put_opts *po, int *results)
{
	struct arena arena;
	struct item *items;

	arena_init(&arena, 0);
	items = batch_items(c, in, n, &arena);
	if (items)
		put_items(c, items, n, po, &arena);
	for (size_t i = 0; i < n; i++)
		results[i] =
			items ? (int)items[i].result : MOONCAKE_INTERNAL_ERROR;
	arena_fini(&arena);
}

static void put_all(struct client *c, struct batch_in *in,
		    const mooncake_put_opts_t *opts, int *results)
{
	struct put_opts po = {.opts = opts};
	struct policy wish = {opts->replica_num, opts->nof_replica_num};
	bool is_bad =
		policy_resolve(&c->conf, wish, &po.policy) < 0 ||
		(opts->preferred_segments_count && !opts->preferred_segments) ||
		(opts->preferred_nof_segments_count &&
		 !opts->preferred_nof_segments) ||
		(opts->group_ids_count && !opts->group_ids) ||
		(opts->group_ids_count && opts->group_ids_count != in->count);

	for (size_t i = 0; is_bad && i < in->count; i++)
		results[i] = MOONCAKE_INVALID_PARAMS;
	while (!is_bad && in->count > 0) {
		size_t n = batch_cut(in);

		put_some(c, in, n, &po, results);
		po.first += n;
		results += n;
		in->keys += n;
		in->values += n;
		in->count -= n;
	}
}

int mooncake_store_batch_put_pieces(mooncake_store_t handle,
				    const char *const *keys,
				    const mooncake_pieces_t *values,
				    size_t count,
				    const mooncake_put_opts_t *opts,
				    int *results_out)
{
	static const mooncake_put_opts_t defaults = MOONCAKE_PUT_OPTS_INIT;
	struct batch_in in = {keys, values, count, false, NULL};
	struct store *store = store_of(handle);
	struct client *c;

	if (!store || (count && (!keys || !values || !results_out)))
		return -1;
	c = store_enter(store);
	if (!c) {
		for (size_t i = 0; i < count; i++)
			results_out[i] = MOONCAKE_INVALID_PARAMS;
		return 0;
	}
	put_all(c, &in, opts ? opts : &defaults, results_out);
	store_leave(store);
	return 0;
}

/* --- upstream's shapes --- */

static mooncake_put_opts_t
opts_of_config(const mooncake_replicate_config_t *config)
{
	mooncake_put_opts_t opts = MOONCAKE_PUT_OPTS_INIT;

	if (!config)
		return opts;
	opts.replica_num = config->replica_num > POLICY_REPLICAS_MAX
				   ? POLICY_REPLICAS_MAX + 1
				   : (int64_t)config->replica_num;
	opts.with_soft_pin = config->with_soft_pin;
	opts.with_hard_pin = config->with_hard_pin;
	opts.preferred_segments = config->preferred_segments;
	opts.preferred_segments_count = config->preferred_segments_count;
	return opts;
}

static int put_one(mooncake_store_t store, const char *key, const void *value,
		   size_t size, const mooncake_replicate_config_t *config)
{
	void *ptr = (void *)(uintptr_t)value; /* only read */
	mooncake_pieces_t pieces = {&ptr, &size, 1};
	mooncake_put_opts_t opts = opts_of_config(config);
	int result = -1;

	if (!key || !value)
		return -1;
	if (mooncake_store_batch_put_pieces(store, &key, &pieces, 1, &opts,
					    &result) < 0)
		return -1;
	return result;
}

int mooncake_store_put(mooncake_store_t store, const char *key,
		       const void *value, size_t size,
		       const mooncake_replicate_config_t *config)
{
	return put_one(store, key, value, size, config);
}

int mooncake_store_put_from(mooncake_store_t store, const char *key,
			    void *buffer, size_t size,
			    const mooncake_replicate_config_t *config)
{
	/* As upstream: nothing to store is success. */
	if (store_of(store) && key && size == 0)
		return 0;
	return put_one(store, key, buffer, size, config);
}

int mooncake_store_batch_put_from(mooncake_store_t store, const char **keys,
				  void **buffers, const size_t *sizes,
				  size_t count,
				  const mooncake_replicate_config_t *config,
				  int *results_out)
{
	mooncake_put_opts_t opts = opts_of_config(config);
	mooncake_pieces_t *pieces;
	struct arena arena;
	int ret = -1;

	if (!store_of(store) ||
	    (count && (!keys || !buffers || !sizes || !results_out)))
		return -1;
	arena_init(&arena, 0);
	pieces = batch_pieces(buffers, sizes, count, &arena);
	if (pieces)
		ret = mooncake_store_batch_put_pieces(
			store, keys, pieces, count, &opts, results_out);
	/* As upstream: nothing to store is success. */
	for (size_t i = 0; ret == 0 && i < count; i++)
		if (sizes[i] == 0 && key_check(keys[i]) == MOONCAKE_OK)
			results_out[i] = 0;
	arena_fini(&arena);
	return ret;
}
