/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of DH-HMAC-CHAP (NVMe Base 2.0 section 8.13.5): what a host or
 * controller that knows the secret answers to a challenge.
 *
 *	key       = secret, or HMAC(hh, secret, NQN | "NVMe-over-Fabrics")
 *	challenge = C, or HMAC(hash, H(g^xy mod p), C) with a DH group
 *	response  = HMAC(hash, key, challenge | seqnum | t_id | sc_c |
 *	            "HostHost" hostnqn 0 subnqn, or "Controller" subnqn 0
 *hostnqn)
 */
#ifndef CRYPT_DHCHAP_H
#define CRYPT_DHCHAP_H

#include "crypt/key.h"

#define DHCHAP_HASH_MAX	 64   /* bytes of SHA-512 */
#define DHCHAP_GROUP_MAX 1024 /* bytes of ffdhe8192 */
#define DHCHAP_HASHES	 3
#define DHCHAP_GROUPS	 6

enum dhchap_group { /* as on the wire */
	DHCHAP_GROUP_NULL = 0,
	DHCHAP_FFDHE2048 = 1,
	DHCHAP_FFDHE3072 = 2,
	DHCHAP_FFDHE4096 = 3,
	DHCHAP_FFDHE6144 = 4,
	DHCHAP_FFDHE8192 = 5,
};

/* Bytes of a digest, 0 for what is no hash. */
size_t dhchap_hash_len(unsigned hash);
/* Bytes of a public value, 0 for the null group and what is no group. */
size_t dhchap_group_len(unsigned group);
/* "sha256"; "null", "ffdhe2048".  NULL for what has no name. */
const char *dhchap_hash_name(unsigned hash);
const char *dhchap_group_name(unsigned group);
/* The other way round; -EINVAL. */
int dhchap_hash_parse(struct str name);
int dhchap_group_parse(struct str name);

struct dhchap_response {
	const struct dhchap_key *key;
	bool is_controller; /* whose response: names, order and NQN of key */
	unsigned hash;	    /* agreed on */
	const uint8_t *challenge; /* dhchap_hash_len(hash) bytes */
	const uint8_t *secret;	  /* g^xy mod p; NULL for the null group */
	size_t secret_len;
	uint32_t seqnum;
	uint16_t t_id;
	uint8_t sc_c;
	const char *hostnqn, *subnqn;
};
/* 0; -EIO when libcrypto can't. */
int dhchap_respond(const struct dhchap_response *in,
		   uint8_t out[DHCHAP_HASH_MAX]);
/* Takes the same time wherever they differ. */
bool dhchap_is_equal(const void *a, const void *b, size_t n);
int dhchap_random(void *p, size_t n);

/* Diffie-Hellman: a key pair of our own for one exchange. */
struct dhchap_dh;
int dhchap_dh_create(unsigned group, struct dhchap_dh **out);
void dhchap_dh_destroy(struct dhchap_dh *dh); /* NULL is fine */
/* dhchap_group_len() bytes, leading zeros included. */
int dhchap_dh_public(const struct dhchap_dh *dh, uint8_t *out);
/* Shared secret of that length.  -EINVAL: not a public value of the group. */
int dhchap_dh_secret(const struct dhchap_dh *dh, const uint8_t *peer,
		     size_t peer_len, uint8_t *out);

#endif
