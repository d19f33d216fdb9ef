/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys by name: files that hold a secret each.  The keyring knows where a key
 * is; what is in the file is read when a host gets it.  Control loop.
 */
#ifndef CONTROL_KEYRING_H
#define CONTROL_KEYRING_H

#include "base/list.h"
#include "crypt/key.h"

struct key {
	struct list node;
	char *name, *path;
	unsigned uses; /* hosts that have it */
};

struct keyring {
	struct list keys;
};

void keyring_init(struct keyring *ring);
void keyring_fini(struct keyring *ring);
/* -EEXIST, -EINVAL (no absolute path), -EPERM (others can read it), -ENOENT,
 * -ENOMEM. */
int named_key_add(struct keyring *ring, const char *name, const char *path,
		  struct err *err);
struct key *named_key_find(struct keyring *ring, const char *name);
void named_key_remove(struct key *key);

#endif
