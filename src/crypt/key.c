/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DHHC-1 secrets as text.  Any thread, no state.  Invariant: a key that was
 * parsed or made has a length and a hash of the specification's.
 */
#include "crypt/key.h"

#include <errno.h>
#include <stdio.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/crc.h"
#include "crypt/keyfile.h"

#define PREFIX	"DHHC-1:"
#define CRC_LEN 4
#define RAW_MAX (DHCHAP_KEY_MAX + CRC_LEN)
/* base64 of RAW_MAX bytes; decoding writes whole groups of three */
#define B64_MAX 92

void secret_clear(void *p, size_t n)
{
	OPENSSL_cleanse(p, n);
}

static bool is_secret_len(size_t len)
{
	return len == 32 || len == 48 || len == 64;
}

static int bad_form(struct err *err, const char *why)
{
	return err_set(err, -EINVAL,
		       "this is no DHHC-1 key (%s): a key reads "
		       "DHHC-1:00:…: as 'nvme gen-dhchap-key' and 'mooncakectl "
		       "gen-dhchap-key' write it",
		       why);
}

/* Strict: the canonical alphabet, padding where it belongs and nowhere else.
 * Returns the number of bytes or -EINVAL. */
static int base64_decode(struct str text, uint8_t out[RAW_MAX + 2])
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz"
				       "0123456789+/";
	size_t pad = 0;

	if (!text.n || text.n > B64_MAX || text.n % 4)
		return -EINVAL;
	while (pad < 2 && text.p[text.n - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < text.n - pad; i++) {
		if (!memchr(alphabet, text.p[i], sizeof(alphabet) - 1))
			return -EINVAL;
	}
	if (EVP_DecodeBlock(out, (const uint8_t *)text.p, (int)text.n) < 0)
		return -EINVAL;
	return (int)(text.n / 4 * 3 - pad);
}

static int decode_secret(struct str base64, struct dhchap_key *out,
			 struct err *err)
{
	uint8_t raw[RAW_MAX + 2];
	uint32_t crc, want;
	size_t len;
	int n = base64_decode(base64, raw);
	int ret = 0;

	if (n < 0)
		return bad_form(err, "what stands between the colons is not "
				     "base64");
	len = (size_t)n < CRC_LEN ? 0 : (size_t)n - CRC_LEN;
	if (!is_secret_len(len)) {
		ret = bad_form(err, "the secret has not 32, 48 or 64 bytes");
	} else {
		memcpy(&crc, raw + len, CRC_LEN);
		want = crc32_zlib(0, raw, len);
		if (crc != want)
			ret = bad_form(err, "its checksum is wrong: it was "
					    "mistyped or cut");
	}
	if (ret == 0) {
		out->len = (uint8_t)len;
		memcpy(out->bytes, raw, len);
	}
	secret_clear(raw, sizeof(raw));
	return ret;
}

int dhchap_key_parse(struct str text, struct dhchap_key *out, struct err *err)
{
	struct str prefix = STR(PREFIX), rest, hash, base64, tail = {0};

	*out = (struct dhchap_key){0};
	if (!str_has_prefix(text, prefix))
		return bad_form(err, "it does not begin with DHHC-1:");
	rest = (struct str){text.p + prefix.n, text.n - prefix.n};
	hash = str_cut(rest, ':', &rest);
	if (hash.n != 2 || hash.p[0] != '0' || hash.p[1] < '0' ||
	    hash.p[1] > '3')
		return bad_form(err, "its hash is not 00, 01, 02 or 03");
	if (!rest.n || rest.p[rest.n - 1] != ':')
		return bad_form(err, "it does not end in a colon");
	base64 = str_cut(rest, ':', &tail);
	if (tail.n)
		return bad_form(err, "something follows its last colon");
	out->hash = (uint8_t)(hash.p[1] - '0');
	return decode_secret(base64, out, err);
}

void dhchap_key_format(const struct dhchap_key *key,
		       char out[DHCHAP_KEY_TEXT_LEN])
{
	uint8_t raw[RAW_MAX];
	char base64[B64_MAX + 1];
	uint32_t crc = crc32_zlib(0, key->bytes, key->len);

	ASSERT(is_secret_len(key->len) && key->hash <= DHCHAP_SHA512);
	memcpy(raw, key->bytes, key->len);
	memcpy(raw + key->len, &crc, CRC_LEN);
	EVP_EncodeBlock((uint8_t *)base64, raw, key->len + CRC_LEN);
	snprintf(out, DHCHAP_KEY_TEXT_LEN, PREFIX "%02u:%s:", key->hash,
		 base64);
	secret_clear(raw, sizeof(raw));
	secret_clear(base64, sizeof(base64));
}

int dhchap_key_make(unsigned hash, size_t len, struct dhchap_key *out)
{
	ASSERT(is_secret_len(len) && hash <= DHCHAP_SHA512);
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
