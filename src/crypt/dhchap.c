/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Responses of DH-HMAC-CHAP.  Any thread, no state.  Invariant: whatever is
 * derived from a secret and is not the response itself is cleared on return.
 */
#include "crypt/dhchap.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#define NQN_MAX 256
/* challenge, numbers, "Controller", two names, the zero between */
#define TEXT_MAX (DHCHAP_HASH_MAX + 7 + 10 + 2 * NQN_MAX + 1)

static const struct {
	const char *name;
	const EVP_MD *(*md)(void);
	size_t len;
} hashes[] = {
	[DHCHAP_SHA256] = {"sha256", EVP_sha256, 32},
	[DHCHAP_SHA384] = {"sha384", EVP_sha384, 48},
	[DHCHAP_SHA512] = {"sha512", EVP_sha512, 64},
};

static const struct {
	const char *name;
	size_t len;
} groups[] = {
	[DHCHAP_GROUP_NULL] = {"null", 0},
	[DHCHAP_FFDHE2048] = {"ffdhe2048", 256},
	[DHCHAP_FFDHE3072] = {"ffdhe3072", 384},
	[DHCHAP_FFDHE4096] = {"ffdhe4096", 512},
	[DHCHAP_FFDHE6144] = {"ffdhe6144", 768},
	[DHCHAP_FFDHE8192] = {"ffdhe8192", 1024},
};

size_t dhchap_hash_len(unsigned hash)
{
	return hash < ARRAY_SIZE(hashes) ? hashes[hash].len : 0;
}

size_t dhchap_group_len(unsigned group)
{
	return group < ARRAY_SIZE(groups) ? groups[group].len : 0;
}

const char *dhchap_hash_name(unsigned hash)
{
	return hash < ARRAY_SIZE(hashes) ? hashes[hash].name : NULL;
}

const char *dhchap_group_name(unsigned group)
{
	return group < ARRAY_SIZE(groups) ? groups[group].name : NULL;
}

int dhchap_hash_parse(struct str name)
{
	for (unsigned i = DHCHAP_SHA256; i < ARRAY_SIZE(hashes); i++) {
		if (str_eq_nocase(name, str_of(hashes[i].name)))
			return (int)i;
	}
	return -EINVAL;
}

int dhchap_group_parse(struct str name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(groups); i++) {
		if (str_eq_nocase(name, str_of(groups[i].name)))
			return (int)i;
	}
	return -EINVAL;
}

struct text {
	uint8_t bytes[TEXT_MAX];
	size_t n;
};

static void add(struct text *text, const void *p, size_t n)
{
	ASSERT(n <= sizeof(text->bytes) - text->n);
	memcpy(text->bytes + text->n, p, n);
	text->n += n;
}

static void add_nqn(struct text *text, const char *nqn)
{
	add(text, nqn, strnlen(nqn, NQN_MAX));
}

static int hmac(unsigned hash, const void *key, size_t key_len,
		const struct text *text, uint8_t out[DHCHAP_HASH_MAX])
{
	unsigned n;

	if (!HMAC(hashes[hash].md(), key, (int)key_len, text->bytes, text->n,
		  out, &n))
		return -EIO;
	ASSERT(n == hashes[hash].len);
	return 0;
}

/* The secret as the key of one NQN; returns its length or -errno. */
static int transform(const struct dhchap_key *key, const char *nqn,
		     uint8_t out[DHCHAP_KEY_MAX])
{
	struct text text = {.n = 0};
	int ret;

	if (key->hash == DHCHAP_HASH_NONE) {
		memcpy(out, key->bytes, key->len);
		return key->len;
	}
	add_nqn(&text, nqn);
	add(&text, "NVMe-over-Fabrics", 17);
	ret = hmac(key->hash, key->bytes, key->len, &text, out);
	return ret ? ret : (int)hashes[key->hash].len;
}

/* The challenge as it goes into the response, with what Diffie-Hellman gave. */
static int augment(const struct dhchap_response *in,
		   uint8_t out[DHCHAP_HASH_MAX])
{
	size_t len = hashes[in->hash].len;
	uint8_t digest[DHCHAP_HASH_MAX];
	struct text text = {.n = 0};
	int ret = -EIO;

	if (!in->secret) {
		memcpy(out, in->challenge, len);
		return 0;
	}
	add(&text, in->challenge, len);
	if (EVP_Digest(in->secret, in->secret_len, digest, NULL,
		       hashes[in->hash].md(), NULL))
		ret = hmac(in->hash, digest, len, &text, out);
	secret_clear(digest, sizeof(digest));
	return ret;
}

static void add_parties(struct text *text, const struct dhchap_response *in)
{
	if (in->is_controller)
		add(text, "Controller", 10);
	else
		add(text, "HostHost", 8);
	add_nqn(text, in->is_controller ? in->subnqn : in->hostnqn);
	add(text, "", 1);
	add_nqn(text, in->is_controller ? in->hostnqn : in->subnqn);
}

int dhchap_respond(const struct dhchap_response *in,
		   uint8_t out[DHCHAP_HASH_MAX])
{
	uint8_t key[DHCHAP_KEY_MAX], challenge[DHCHAP_HASH_MAX];
	const uint8_t numbers[] = {
		(uint8_t)in->seqnum,
		(uint8_t)(in->seqnum >> 8),
		(uint8_t)(in->seqnum >> 16),
		(uint8_t)(in->seqnum >> 24),
		(uint8_t)in->t_id,
		(uint8_t)(in->t_id >> 8),
		in->sc_c,
	};
	struct text text = {.n = 0};
	int ret, key_len;

	ASSERT(dhchap_hash_len(in->hash) && in->key->len);
	key_len = transform(in->key,
			    in->is_controller ? in->subnqn : in->hostnqn, key);
	ret = key_len < 0 ? key_len : augment(in, challenge);
	if (ret == 0) {
		add(&text, challenge, hashes[in->hash].len);
		add(&text, numbers, sizeof(numbers));
		add_parties(&text, in);
		ret = hmac(in->hash, key, (size_t)key_len, &text, out);
	}
	secret_clear(key, sizeof(key));
	secret_clear(challenge, sizeof(challenge));
	secret_clear(&text, sizeof(text));
	return ret;
}

bool dhchap_is_equal(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}

int dhchap_random(void *p, size_t n)
{
	return RAND_bytes(p, (int)n) == 1 ? 0 : -EIO;
}
