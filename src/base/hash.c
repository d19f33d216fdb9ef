/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chained hash table.  Single owner.
 *
 * Growing never moves everything at once: the old buckets stay beside the new
 * ones and each add moves a few.  At any time exactly one chain can hold a
 * given hash - that of the old bucket until it has been moved, then the new
 * one - so a lookup follows one chain, growing or not.
 */
#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKETS_MIN 16
#define BUCKETS_MAX ((size_t)1 << 40)

/*
 * Old buckets moved per add.  Two would do to be finished before the next
 * doubling; more shortens the time in which both arrays are in use.
 */
#define MOVES_PER_ADD 8

/*
 * Old buckets whose pages go back to the kernel at once.  Freeing a large
 * array in one call takes it milliseconds, and the owner serves requests.
 */
#define RELEASE_STEP ((size_t)32 * 1024)
#define PAGE_BYTES   4096

/* Keys looked up together: what the prefetches fill stays in the L1 cache. */
#define BATCH HTAB_WARM_MAX

uint64_t hash_bytes(const void *p, size_t n)
{
	return XXH3_64bits(p, n);
}

int htab_init(struct htab *ht, size_t expected, htab_key_fn key)
{
	size_t count = BUCKETS_MIN;

	ASSERT(key);
	*ht = (struct htab){.key = key};
	while (count < expected && count < BUCKETS_MAX)
		count *= 2;
	ht->buckets = calloc(count, sizeof(*ht->buckets));
	if (!ht->buckets)
		return -ENOMEM;
	ht->bucket_count = count;
	return 0;
}

void htab_fini(struct htab *ht)
{
	if (!ht)
		return;
	free(ht->buckets);
	free(ht->old);
	*ht = (struct htab){0};
}

/* The one chain in which a node of this hash is or would be. */
static inline struct hnode **chain_of(const struct htab *ht, uint64_t hash)
{
	if (unlikely(ht->old)) {
		size_t i = hash & (ht->old_count - 1);

		if (i >= ht->old_next)
			return &ht->old[i];
	}
	return &ht->buckets[hash & (ht->bucket_count - 1)];
}

static inline struct hnode *find_in_chain(const struct htab *ht,
					  struct hnode *node, struct str key,
					  uint64_t hash)
{
	for (; node; node = node->next)
		if (node->hash == hash && str_eq(ht->key(node), key))
			return node;
	return NULL;
}

struct hnode *htab_get(struct htab *ht, struct str key, uint64_t hash)
{
	return find_in_chain(ht, *chain_of(ht, hash), key, hash);
}

/* Each loop starts the memory reads that the next one waits for.  out[i] is
 * the first node of that hash, or NULL. */
static void approach(const struct htab *ht, const struct str *keys,
		     size_t count, uint64_t *hashes, struct hnode **out)
{
	for (size_t i = 0; i < count; i++) {
		hashes[i] = hash_str(keys[i]);
		__builtin_prefetch(chain_of(ht, hashes[i]));
	}
	for (size_t i = 0; i < count; i++) {
		out[i] = *chain_of(ht, hashes[i]);
		__builtin_prefetch(out[i]);
	}
	for (size_t i = 0; i < count; i++) {
		while (out[i] && out[i]->hash != hashes[i])
			out[i] = out[i]->next;
		if (out[i])
			__builtin_prefetch(ht->key(out[i]).p);
	}
}

void htab_warm(const struct htab *ht, const struct str *keys, size_t count)
{
	uint64_t hashes[HTAB_WARM_MAX];
	struct hnode *nodes[HTAB_WARM_MAX];

	ASSERT(count <= HTAB_WARM_MAX);
	approach(ht, keys, count, hashes, nodes);
}

void htab_get_batch(struct htab *ht, const struct str *keys, size_t count,
		    uint64_t *hashes, struct hnode **out)
{
	while (count > 0) {
		size_t n = MIN(count, (size_t)BATCH);

		approach(ht, keys, n, hashes, out);
		for (size_t i = 0; i < n; i++)
			out[i] = find_in_chain(ht, out[i], keys[i], hashes[i]);
		keys += n;
		hashes += n;
		out += n;
		count -= n;
	}
}

static void push(struct hnode **chain, struct hnode *node)
{
	node->next = *chain;
	*chain = node;
}

/* Drops the whole pages of the last RELEASE_STEP buckets that were moved. */
static void release_pages(struct htab *ht)
{
	struct hnode **end = ht->old + ht->old_next;
	uintptr_t from = ALIGN_UP((uintptr_t)(end - RELEASE_STEP), PAGE_BYTES);
	uintptr_t to = ALIGN_DOWN((uintptr_t)end, PAGE_BYTES);

	/* Only saves time later: no matter when the kernel refuses. */
	madvise((void *)from, to - from, MADV_DONTNEED);
}

static void move_some(struct htab *ht)
{
	size_t mask = ht->bucket_count - 1;

	for (int i = 0; i < MOVES_PER_ADD && ht->old_next < ht->old_count;
	     i++) {
		struct hnode *node = ht->old[ht->old_next++], *next;

		for (; node; node = next) {
			next = node->next;
			push(&ht->buckets[node->hash & mask], node);
		}
	}
	if (ht->old_next % RELEASE_STEP == 0)
		release_pages(ht);
	if (ht->old_next < ht->old_count)
		return;
	free(ht->old);
	ht->old = NULL;
	ht->old_count = 0;
	ht->old_next = 0;
}

static int grow(struct htab *ht)
{
	struct hnode **buckets;

	ASSERT(!ht->old);
	if (ht->bucket_count >= BUCKETS_MAX)
		return -ENOMEM;
	/* calloc() of this size takes fresh pages, cleared when touched. */
	buckets = calloc(ht->bucket_count * 2, sizeof(*buckets));
	if (!buckets)
		return -ENOMEM;
	ht->old = ht->buckets;
	ht->old_count = ht->bucket_count;
	ht->old_next = 0;
	ht->buckets = buckets;
	ht->bucket_count *= 2;
	return 0;
}

int htab_add(struct htab *ht, struct hnode *node)
{
	if (ht->count >= ht->bucket_count) {
		int ret = grow(ht);

		if (ret)
			return ret;
	}
	if (ht->old)
		move_some(ht);
	push(chain_of(ht, node->hash), node);
	ht->count++;
	return 0;
}

/* Moves nothing, so that htab_visit()'s function may call it. */
void htab_del(struct htab *ht, struct hnode *node)
{
	struct hnode **at = chain_of(ht, node->hash);

	while (*at && *at != node)
		at = &(*at)->next;
	ASSERT(*at == node);
	*at = node->next;
	node->next = NULL;
	ht->count--;
}

static bool visit_chains(struct hnode **chains, size_t count,
			 bool (*fn)(struct hnode *node, void *arg), void *arg)
{
	for (size_t i = 0; i < count; i++) {
		struct hnode *node = chains[i], *next;

		for (; node; node = next) {
			next = node->next;
			if (!fn(node, arg))
				return false;
		}
	}
	return true;
}

void htab_visit(struct htab *ht, bool (*fn)(struct hnode *node, void *arg),
		void *arg)
{
	if (ht->old && !visit_chains(ht->old + ht->old_next,
				     ht->old_count - ht->old_next, fn, arg))
		return;
	visit_chains(ht->buckets, ht->bucket_count, fn, arg);
}
