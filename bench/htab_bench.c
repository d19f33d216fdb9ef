/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash table lookups: ns per key, one at a time and in batches of 128, keys in
 * random order so that each lookup misses the caches.  Also the slowest add,
 * which is what growing costs.
 *
 *	htab_bench [KEYS, default 1000000]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/rand.h"
#include "base/time.h"

#define BATCH 128

struct item {
	struct hnode node;
	char key[32];
};

static struct str item_key(const struct hnode *node)
{
	const struct item *item = (const struct item *)node;

	_Static_assert(offsetof(struct item, node) == 0, "cast above");
	return str_of(item->key);
}

static void fill(struct htab *ht, struct item *items, size_t count)
{
	uint64_t slowest = 0, start = time_mono_ns();

	for (size_t i = 0; i < count; i++) {
		uint64_t begin = time_mono_ns();
		struct hnode *node = &items[i].node;
		int ret;

		snprintf(items[i].key, sizeof(items[i].key), "object-%zu", i);
		node->hash = hash_str(item_key(node));
		ret = htab_add(ht, node);
		ASSERT(ret == 0);
		slowest = MAX(slowest, time_mono_ns() - begin);
	}
	printf("add     %6.1f ns per key, slowest %" PRIu64 " us\n",
	       (double)(time_mono_ns() - start) / (double)count,
	       slowest / NS_PER_US);
}

static void look_up(struct htab *ht, const struct str *keys, size_t count,
		    size_t batch)
{
	struct hnode *nodes[BATCH];
	uint64_t hashes[BATCH], start = time_mono_ns();
	size_t found = 0;

	for (size_t i = 0; i + batch <= count; i += batch) {
		if (batch == 1)
			nodes[0] = htab_get(ht, keys[i], hash_str(keys[i]));
		else
			htab_get_batch(ht, keys + i, batch, hashes, nodes);
		for (size_t k = 0; k < batch; k++)
			found += nodes[k] != NULL;
	}
	printf("get %3zu %6.1f ns per key, %zu found\n", batch,
	       (double)(time_mono_ns() - start) / (double)count, found);
}

int main(int argc, char **argv)
{
	uint64_t count = 1000 * 1000;
	struct item *items;
	struct rng rng;
	struct htab ht;
	struct str *keys;

	if (argc > 1 && (str_to_u64(str_of(argv[1]), &count) || !count)) {
		fprintf(stderr, "usage: %s [KEYS]\n", argv[0]);
		return 2;
	}
	items = calloc(count, sizeof(*items));
	keys = calloc(count, sizeof(*keys));
	if (!items || !keys || htab_init(&ht, 0, item_key)) {
		fprintf(stderr, "no memory for %" PRIu64 " keys\n", count);
		return 1;
	}
	fill(&ht, items, count);
	rng_seed(&rng, 1);
	for (size_t i = 0; i < count; i++)
		keys[i] = str_of(items[rng_below(&rng, count)].key);
	for (int round = 0; round < 3; round++) {
		look_up(&ht, keys, count, 1);
		look_up(&ht, keys, count, BATCH);
	}
	htab_fini(&ht);
	free(items);
	free(keys);
	return 0;
}
