/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which host has which keys.  Control loop, or before it runs.  Invariant: an
 * entry that names more wins over one that names less, so that keys for all
 * hosts never replace those of one.
 */
#include "target/keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypt/dhchap.h"
#include "target/subsys.h"

struct key_entry {
	struct list node;
	char subnqn[NVME_NQN_LEN], hostnqn[NVME_NQN_LEN]; /* empty = any */
	struct tgt_keys keys;
};

/* In the order in which they are picked when a host knows several. */
static const struct auth_ids all_hashes = {
	3, {DHCHAP_SHA256, DHCHAP_SHA384, DHCHAP_SHA512}};
static const struct auth_ids all_groups = {
	6,
	{DHCHAP_FFDHE2048, DHCHAP_FFDHE3072, DHCHAP_FFDHE4096, DHCHAP_FFDHE6144,
	 DHCHAP_FFDHE8192, DHCHAP_GROUP_NULL}};

static void entry_free(struct key_entry *entry)
{
	list_del(&entry->node);
	secret_clear(&entry->keys, sizeof(entry->keys));
	free(entry);
}

void keyring_destroy(struct tgt_keyring *ring)
{
	if (!ring)
		return;
	while (!list_is_empty(&ring->keys))
		entry_free(list_first(&ring->keys, struct key_entry, node));
	free(ring);
}

static struct tgt_keyring *keyring_get(struct tgt *tgt)
{
	struct tgt_keyring *ring = tgt->keyring;

	if (ring)
		return ring;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return NULL;
	list_init(&ring->keys);
	ring->hashes = all_hashes;
	ring->groups = all_groups;
	tgt->keyring = ring;
	return ring;
}

static struct key_entry *entry_find(struct tgt_keyring *ring,
				    const char *subnqn, const char *hostnqn)
{
	struct key_entry *entry;

	list_for_each (entry, &ring->keys, node) {
		if (!strcmp(entry->subnqn, subnqn) &&
		    !strcmp(entry->hostnqn, hostnqn))
			return entry;
	}
	return NULL;
}

/* How much of it names this host there; 0 = it does not match. */
static unsigned match(const struct key_entry *entry, const char *subnqn,
		      const char *hostnqn)
{
	if ((entry->subnqn[0] && strcmp(entry->subnqn, subnqn)) ||
	    (entry->hostnqn[0] && strcmp(entry->hostnqn, hostnqn)))
		return 0;
	return 1u + (entry->hostnqn[0] ? 2 : 0) + (entry->subnqn[0] ? 1 : 0);
}

const struct tgt_keys *keyring_find(const struct tgt_keyring *ring,
				    const char *subnqn, const char *hostnqn)
{
	const struct tgt_keys *best = NULL;
	const struct key_entry *entry;
	unsigned most = 0, n;

	if (!ring)
		return NULL;
	list_for_each (entry, &ring->keys, node) {
		n = match(entry, subnqn, hostnqn);
		if (n > most) {
			most = n;
			best = &entry->keys;
		}
	}
	return best;
}

int tgt_keys_set(struct tgt *tgt, const char *subnqn, const char *hostnqn,
		 const struct tgt_keys *keys)
{
	struct tgt_keyring *ring = keys ? keyring_get(tgt) : tgt->keyring;
	struct key_entry *entry;

	if (!ring)
		return keys ? -ENOMEM : -ENOENT;
	subnqn = subnqn ? subnqn : "";
	hostnqn = hostnqn ? hostnqn : "";
	entry = entry_find(ring, subnqn, hostnqn);
	if (!keys) {
		if (entry)
			entry_free(entry);
		return entry ? 0 : -ENOENT;
	}
	if (!keys->host.len)
		return -EINVAL;
	if (!entry) {
		entry = calloc(1, sizeof(*entry));
		if (!entry)
			return -ENOMEM;
		snprintf(entry->subnqn, sizeof(entry->subnqn), "%s", subnqn);
		snprintf(entry->hostnqn, sizeof(entry->hostnqn), "%s", hostnqn);
		list_add_tail(&ring->keys, &entry->node);
	}
	entry->keys = *keys;
	return 0;
}

void tgt_keys_drop(struct tgt *tgt, const char *subnqn)
{
	struct key_entry *entry, *next;

	if (!tgt->keyring)
		return;
	list_for_each_safe (entry, next, &tgt->keyring->keys, node) {
		if (!strcmp(entry->subnqn, subnqn))
			entry_free(entry);
	}
}

int tgt_auth_set(struct tgt *tgt, const struct auth_ids *hashes,
		 const struct auth_ids *groups)
{
	struct tgt_keyring *ring = keyring_get(tgt);

	if (!ring)
		return -ENOMEM;
	ring->hashes = hashes && hashes->count ? *hashes : all_hashes;
	ring->groups = groups && groups->count ? *groups : all_groups;
	return 0;
}
