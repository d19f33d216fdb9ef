/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets as text.  Any thread, no state.  Invariant: what was parsed has a
 * length and a hash of its kind, and no copy of it is left behind here.
 */
#include "crypt/keytext.h"

#include <errno.h>
#include <stdio.h>

#include <openssl/evp.h>

#include "base/crc.h"
#include "crypt/key.h"

#define CRC_LEN 4
#define RAW_MAX (KEYTEXT_SECRET_MAX + CRC_LEN)
/* base64 of RAW_MAX bytes; decoding writes whole groups of three */
#define B64_MAX 92

static bool is_secret_len(size_t len)
{
	return len == 32 || len == 48 || len == 64;
}

int keytext_bad(const struct keytext_kind *kind, struct err *err,
		const char *why)
{
	return err_set(err, -EINVAL, "this is no %s (%s): %s", kind->what, why,
		       kind->hint);
}

/* Strict: the canonical alphabet, padding where it belongs and nowhere else.
 * Returns the number of bytes or -EINVAL. */
static int decode_base64(struct str text, uint8_t out[RAW_MAX + 2])
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

static int decode_secret(const struct keytext_kind *kind, uint8_t hash,
			 struct str base64, struct keytext *out,
			 struct err *err)
{
	uint8_t raw[RAW_MAX + 2];
	uint32_t crc, want;
	size_t len;
	int n = decode_base64(base64, raw);
	int ret = 0;

	if (n < 0)
		return keytext_bad(kind, err,
				   "what stands between the colons is not "
				   "base64");
	len = (size_t)n < CRC_LEN ? 0 : (size_t)n - CRC_LEN;
	if (!is_secret_len(len)) {
		ret = keytext_bad(kind, err,
				  "the secret has not 32, 48 or 64 bytes");
	} else {
		memcpy(&crc, raw + len, CRC_LEN);
		want = crc32_zlib(0, raw, len);
		if (crc != want)
			ret = keytext_bad(kind, err,
					  "its checksum is wrong: it was "
					  "mistyped or cut");
	}
	if (ret == 0) {
		out->hash = hash;
		out->len = (uint8_t)len;
		memcpy(out->bytes, raw, len);
	}
	secret_clear(raw, sizeof(raw));
	return ret;
}

int keytext_parse(const struct keytext_kind *kind, struct str text,
		  struct keytext *out, struct err *err)
{
	struct str prefix = str_of(kind->prefix), rest, hash, base64,
		   tail = {0};
	char why[64];

	*out = (struct keytext){0};
	if (!str_has_prefix(text, prefix)) {
		snprintf(why, sizeof(why), "it does not begin with %s",
			 kind->prefix);
		return keytext_bad(kind, err, why);
	}
	rest = (struct str){text.p + prefix.n, text.n - prefix.n};
	hash = str_cut(rest, ':', &rest);
	if (hash.n != 2 || hash.p[0] != '0' || hash.p[1] < '0' ||
	    hash.p[1] > '0' + kind->hash_max) {
		snprintf(why, sizeof(why), "its hash is not one of 00 to %02u",
			 kind->hash_max);
		return keytext_bad(kind, err, why);
	}
	if (!rest.n || rest.p[rest.n - 1] != ':')
		return keytext_bad(kind, err, "it does not end in a colon");
	base64 = str_cut(rest, ':', &tail);
	if (tail.n)
		return keytext_bad(kind, err,
				   "something follows its last colon");
	return decode_secret(kind, (uint8_t)(hash.p[1] - '0'), base64, out,
			     err);
}

void keytext_format(const struct keytext_kind *kind, const struct keytext *in,
		    char out[KEYTEXT_MAX])
{
	uint8_t raw[RAW_MAX];
	char base64[B64_MAX + 1];
	uint32_t crc = crc32_zlib(0, in->bytes, in->len);

	ASSERT(is_secret_len(in->len) && in->hash <= kind->hash_max);
	memcpy(raw, in->bytes, in->len);
	memcpy(raw + in->len, &crc, CRC_LEN);
	EVP_EncodeBlock((uint8_t *)base64, raw, in->len + CRC_LEN);
	snprintf(out, KEYTEXT_MAX, "%s%02u:%s:", kind->prefix, in->hash,
		 base64);
	secret_clear(raw, sizeof(raw));
	secret_clear(base64, sizeof(base64));
}
