/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets for DH-HMAC-CHAP in their standard text form (NVMe Base 2.0 section
 * 8.13.5):
 *
 *	DHHC-1:hh:base64(secret, CRC-32 of it little-endian):
 *
 * hh is the hash by which the secret is turned into a key for one NQN: 00
 * none, 01 SHA-256, 02 SHA-384, 03 SHA-512.  A secret has 32, 48 or 64 bytes.
 *
 * A key is a plain value: copies are allowed, and whoever holds one clears it.
 * No function here ever puts a part of a secret into a sentence.
 */
#ifndef CRYPT_KEY_H
#define CRYPT_KEY_H

#include "base/err.h"
#include "base/str.h"

#define DHCHAP_KEY_MAX	    64
#define DHCHAP_KEY_TEXT_LEN 112 /* with NUL */

enum dhchap_hash { /* as on the wire */
	DHCHAP_HASH_NONE = 0,
	DHCHAP_SHA256 = 1,
	DHCHAP_SHA384 = 2,
	DHCHAP_SHA512 = 3,
};

struct dhchap_key {
	uint8_t hash; /* enum dhchap_hash */
	uint8_t len;  /* 0 = no key */
	uint8_t bytes[DHCHAP_KEY_MAX];
};

/* -EINVAL with a sentence that says what is wrong with the form. */
int dhchap_key_parse(struct str text, struct dhchap_key *out, struct err *err);
void dhchap_key_format(const struct dhchap_key *key,
		       char out[DHCHAP_KEY_TEXT_LEN]);
/* A new secret of 32, 48 or 64 bytes.  -EIO when there is no randomness. */
int dhchap_key_make(unsigned hash, size_t len, struct dhchap_key *out);
/* The secret in a file, see keyfile.h. */
int dhchap_key_load(const char *path, struct dhchap_key *out, struct err *err);

/* Overwrites memory in a way that no compiler leaves out. */
void secret_clear(void *p, size_t n);

#endif
