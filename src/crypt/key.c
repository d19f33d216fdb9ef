/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DHHC-1 secrets as text.  Any thread, no state.  Invariant: a key that was
 * parsed or made has a length and a hash of the specification's.
 */
#include "crypt/key.h"

#include <errno.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "crypt/keyfile.h"
#include "crypt/keytext.h"

static_assert(DHCHAP_KEY_MAX == KEYTEXT_SECRET_MAX, "");
static_assert(DHCHAP_KEY_TEXT_LEN == KEYTEXT_MAX, "");

static const struct keytext_kind kind = {
	.prefix = "DHHC-1:",
	.what = "DHHC-1 key",
	.hint = "a key reads DHHC-1:00:…: as 'nvme gen-dhchap-key' and "
		"'mooncakectl gen-dhchap-key' write it",
	.hash_max = DHCHAP_SHA512,
};

void secret_clear(void *p, size_t n)
{
	OPENSSL_cleanse(p, n);
}

int dhchap_key_parse(struct str text, struct dhchap_key *out, struct err *err)
{
	struct keytext key;
	int ret = keytext_parse(&kind, text, &key, err);

	*out = (struct dhchap_key){.hash = key.hash, .len = key.len};
	memcpy(out->bytes, key.bytes, key.len);
	secret_clear(&key, sizeof(key));
	return ret;
}

void dhchap_key_format(const struct dhchap_key *key,
		       char out[DHCHAP_KEY_TEXT_LEN])
{
	struct keytext text = {.hash = key->hash, .len = key->len};

	memcpy(text.bytes, key->bytes, key->len);
	keytext_format(&kind, &text, out);
	secret_clear(&text, sizeof(text));
}

int dhchap_key_make(unsigned hash, size_t len, struct dhchap_key *out)
{
	ASSERT((len == 32 || len == 48 || len == 64) && hash <= DHCHAP_SHA512);
	*out = (struct dhchap_key){.hash = (uint8_t)hash, .len = (uint8_t)len};
	return RAND_priv_bytes(out->bytes, (int)len) == 1 ? 0 : -EIO;
}

int dhchap_key_load(const char *path, struct dhchap_key *out, struct err *err)
{
	char buf[KEYFILE_MAX];
	struct err why = {0};
	struct str text;
	int ret;

	*out = (struct dhchap_key){0};
	ret = keyfile_read(path, buf, &text, err);
	if (ret)
		return ret;
	ret = dhchap_key_parse(text, out, &why);
	if (ret)
		err_set(err, ret, "key file '%.80s': %s", path, why.text);
	secret_clear(buf, sizeof(buf));
	return ret;
}
