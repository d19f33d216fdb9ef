/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash table against an array with one flag per possible key: adds,
 * deletes, single and batched lookups at every stage of growth, and visits
 * that delete.  In half of the rounds hashes are cut to 8 bits, so that
 * chains are long and different keys have equal hashes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "t_rand.h"

#define KEYS   3000
#define BATCH  200
#define ROUNDS 10
#define STEPS  12000

struct item {
	struct hnode node;
	char key[16];
	size_t key_len;
	bool is_in;
	bool was_seen;
};

struct model {
	struct htab ht;
	uint64_t hash_mask;
	size_t count;
	struct item items[KEYS];
};

static struct str item_key(const struct hnode *node)
{
	const struct item *item = container_of((struct hnode *)(uintptr_t)node,
					       struct item, node);

	return (struct str){item->key, item->key_len};
}

static struct item *pick(struct model *m, struct rng *rng)
{
	return &m->items[rng_below(rng, KEYS)];
}

static uint64_t hash_of(const struct model *m, struct str key)
{
	return hash_str(key) & m->hash_mask;
}

static void step_change(struct model *m, struct item *item)
{
	int ret;

	if (item->is_in) {
		htab_del(&m->ht, &item->node);
		m->count--;
	} else {
		item->node.hash = hash_of(m, item_key(&item->node));
		ret = htab_add(&m->ht, &item->node);
		ASSERT(ret == 0);
		m->count++;
	}
	item->is_in = !item->is_in;
	ASSERT(m->ht.count == m->count);
}

static void step_get(struct model *m, struct item *item)
{
	struct str key = item_key(&item->node);
	struct hnode *node = htab_get(&m->ht, key, hash_of(m, key));

	ASSERT(node == (item->is_in ? &item->node : NULL));
}

/* Batches hash for themselves, so only where hashes are not cut. */
static void step_batch(struct model *m, struct rng *rng)
{
	size_t count = rng_below(rng, BATCH + 1);
	struct item *items[BATCH];
	struct hnode *nodes[BATCH];
	struct str keys[BATCH];
	uint64_t hashes[BATCH];

	for (size_t i = 0; i < count; i++) {
		items[i] = pick(m, rng);
		keys[i] = item_key(&items[i]->node);
	}
	htab_warm(&m->ht, keys, MIN(count, (size_t)HTAB_WARM_MAX));
	htab_get_batch(&m->ht, keys, count, hashes, nodes);
	for (size_t i = 0; i < count; i++) {
		ASSERT(hashes[i] == hash_str(keys[i]));
		ASSERT(nodes[i] == (items[i]->is_in ? &items[i]->node : NULL));
	}
}

struct visit {
	struct model *m;
	struct rng *rng;
	size_t seen;
};

static bool visit_some(struct hnode *node, void *arg)
{
	struct item *item = container_of(node, struct item, node);
	struct visit *v = arg;

	ASSERT(item->is_in && !item->was_seen);
	item->was_seen = true;
	v->seen++;
	if (rng_below(v->rng, 4) == 0)
		step_change(v->m, item);
	return true;
}

static void step_visit(struct model *m, struct rng *rng)
{
	struct visit v = {.m = m, .rng = rng};
	size_t count = m->count;

	htab_visit(&m->ht, visit_some, &v);
	ASSERT(v.seen == count);
	for (size_t i = 0; i < KEYS; i++)
		m->items[i].was_seen = false;
}

/* Growth is short and has its own bugs: look at everything while it lasts. */
static void check_growth(struct model *m, struct rng *rng)
{
	if (rng_below(rng, 4) == 0)
		for (size_t i = 0; i < KEYS; i++)
			step_get(m, &m->items[i]);
	if (rng_below(rng, 16) == 0)
		step_visit(m, rng);
}

static void run_round(struct model *m, struct rng *rng, uint64_t hash_mask)
{
	int ret;

	*m = (struct model){.hash_mask = hash_mask};
	ret = htab_init(&m->ht, rng_below(rng, 100), item_key);
	ASSERT(ret == 0);
	for (size_t i = 0; i < KEYS; i++) {
		struct item *item = &m->items[i];

		snprintf(item->key, sizeof(item->key), "key-%zu", i);
		item->key_len = i ? strlen(item->key) : 0;
	}
	for (int i = 0; i < STEPS; i++) {
		if (i % 3 == 0)
			step_get(m, pick(m, rng));
		else
			step_change(m, pick(m, rng));
		if (m->ht.old)
			check_growth(m, rng);
		if (i % 100 == 0 && hash_mask == UINT64_MAX)
			step_batch(m, rng);
		if (i % 2000 == 1999)
			step_visit(m, rng);
	}
	htab_fini(&m->ht);
}

int main(void)
{
	struct model *m = malloc(sizeof(*m));
	struct rng rng = t_rng(0);

	ASSERT(m);
	for (int round = 0; round < ROUNDS; round++)
		run_round(m, &rng, round % 2 ? 0xff : UINT64_MAX);
	free(m);
	return 0;
}
