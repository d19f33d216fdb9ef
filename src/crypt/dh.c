/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diffie-Hellman in the groups of RFC 7919 by libcrypto.  Any thread, one at a
 * time per object.  Invariant: a peer's value is checked to be of the group
 * before a secret is made of it.
 */
#include "crypt/dhchap.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/dh.h>
#include <openssl/err.h>
#include <openssl/evp.h>

struct dhchap_dh {
	EVP_PKEY *pair;
	unsigned group;
};

static OSSL_PARAM group_param(unsigned group)
{
	/* Only read, whatever the type says. */
	char *name = (char *)(uintptr_t)dhchap_group_name(group);

	return OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
						name, 0);
}

/* libcrypto keeps reasons per thread; nobody is going to ask for ours. */
static int fail(int code)
{
	ERR_clear_error();
	return code;
}

int dhchap_dh_create(unsigned group, struct dhchap_dh **out)
{
	OSSL_PARAM params[2] = {group_param(group), OSSL_PARAM_construct_end()};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	struct dhchap_dh *dh = calloc(1, sizeof(*dh));

	ASSERT(dhchap_group_len(group));
	if (dh && ctx && EVP_PKEY_keygen_init(ctx) > 0 &&
	    EVP_PKEY_CTX_set_params(ctx, params) > 0)
		EVP_PKEY_generate(ctx, &dh->pair);
	EVP_PKEY_CTX_free(ctx);
	if (!dh || !dh->pair) {
		free(dh);
		return fail(-EIO);
	}
	dh->group = group;
	*out = dh;
	return 0;
}

void dhchap_dh_destroy(struct dhchap_dh *dh)
{
	if (!dh)
		return;
	EVP_PKEY_free(dh->pair); /* clears the private value */
	free(dh);
}

int dhchap_dh_public(const struct dhchap_dh *dh, uint8_t *out)
{
	int len = (int)dhchap_group_len(dh->group);
	BIGNUM *bn = NULL;
	int ret = -EIO;

	if (EVP_PKEY_get_bn_param(dh->pair, OSSL_PKEY_PARAM_PUB_KEY, &bn) &&
	    BN_bn2binpad(bn, out, len) == len)
		ret = 0;
	BN_free(bn);
	return ret ? fail(ret) : 0;
}

/* NULL when p is no number that fits the group. */
static EVP_PKEY *peer_key(unsigned group, const uint8_t *p, size_t len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	uint8_t native[DHCHAP_GROUP_MAX];
	EVP_PKEY *key = NULL;
	OSSL_PARAM params[3];

	/* Parameters are numbers in the machine's order: little-endian. */
	for (size_t i = 0; i < len; i++)
		native[i] = p[len - 1 - i];
	params[0] = group_param(group);
	params[1] =
		OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PUB_KEY, native, len);
	params[2] = OSSL_PARAM_construct_end();
	if (ctx && EVP_PKEY_fromdata_init(ctx) > 0)
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

int dhchap_dh_secret(const struct dhchap_dh *dh, const uint8_t *peer,
		     size_t peer_len, uint8_t *out)
{
	size_t len = dhchap_group_len(dh->group), n = len;
	EVP_PKEY *other = NULL;
	EVP_PKEY_CTX *ctx = NULL;
	int ret = -EINVAL;

	if (peer_len != len)
		return -EINVAL;
	other = peer_key(dh->group, peer, peer_len);
	ctx = EVP_PKEY_CTX_new_from_pkey(NULL, dh->pair, NULL);
	/* set_peer checks that the value is of the group. */
	if (other && ctx && EVP_PKEY_derive_init(ctx) > 0 &&
	    EVP_PKEY_CTX_set_dh_pad(ctx, 1) > 0 &&
	    EVP_PKEY_derive_set_peer(ctx, other) > 0 &&
	    EVP_PKEY_derive(ctx, out, &n) > 0 && n == len)
		ret = 0;
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(other);
	return ret ? fail(ret) : 0;
}
