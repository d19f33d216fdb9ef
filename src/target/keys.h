/* SPDX-License-Identifier: Apache-2.0 */
/* The target's keys, for those who authenticate hosts.  Control loop. */
#ifndef TARGET_KEYS_H
#define TARGET_KEYS_H

#include "base/list.h"
#include "target/target.h"

/* Owner: the target (tgt->keyring), from the first call that sets something. */
struct tgt_keyring {
	struct list keys; /* struct key_entry */
	struct auth_ids hashes, groups;
};

/* The keys for that host there, or NULL: it need not authenticate. */
const struct tgt_keys *keyring_find(const struct tgt_keyring *ring,
				    const char *subnqn, const char *hostnqn);
void keyring_destroy(struct tgt_keyring *ring); /* NULL is fine */

#endif
