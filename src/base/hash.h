/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash table of intrusive nodes, made for lookups in batches: the batch call
 * computes all hashes, prefetches all buckets, then all candidates, and only
 * then compares, so that cache misses overlap.  Single owner, no locks.
 * Lookups never allocate; htab_add may grow the bucket array (-ENOMEM leaves
 * the table as it was).
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/str.h"

struct hnode {
	struct hnode *next; /* same bucket */
	uint64_t hash;	    /* full 64-bit hash of the key */
};

/* Returns the key of a node that is in the table. */
typedef struct str (*htab_key_fn)(const struct hnode *node);

struct htab {
	struct hnode **buckets; /* power of two */
	size_t bucket_count;
	size_t count;
	htab_key_fn key;
	/* growth in small steps: old buckets not yet moved, or NULL */
	struct hnode **old;
	size_t old_count, old_next;
};

uint64_t hash_bytes(const void *p, size_t n); /* XXH3-64 */
static inline uint64_t hash_str(struct str s)
{
	return hash_bytes(s.p, s.n);
}

int htab_init(struct htab *ht, size_t expected, htab_key_fn key);
void htab_fini(struct htab *ht); /* nodes belong to the caller */
struct hnode *htab_get(struct htab *ht, struct str key, uint64_t hash);
/* out[i] is NULL where keys[i] is absent; hashes[i] is filled in. */
void htab_get_batch(struct htab *ht, const struct str *keys, size_t count,
		    uint64_t *hashes, struct hnode **out);
/* Brings what lookups of these keys will read into the cache: for callers that
 * change the table from one key to the next.  At most HTAB_WARM_MAX. */
#define HTAB_WARM_MAX 64
void htab_warm(const struct htab *ht, const struct str *keys, size_t count);
/* node->hash must be set; the key must not be present (the caller looked). */
int htab_add(struct htab *ht, struct hnode *node);
void htab_del(struct htab *ht, struct hnode *node);
/* Visits every node; fn may delete the node it is given. Stops when fn
 * returns false. */
void htab_visit(struct htab *ht, bool (*fn)(struct hnode *node, void *arg),
		void *arg);

#endif
