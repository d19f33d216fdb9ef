/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text form that secrets for DH-HMAC-CHAP and for TLS share:
 *
 *	PREFIX hh : base64(secret, CRC-32 of it little-endian) :
 *
 * Inside of src/crypt: others use key.h and tlskey.h.
 */
#ifndef CRYPT_KEYTEXT_H
#define CRYPT_KEYTEXT_H

#include "base/err.h"
#include "base/str.h"

#define KEYTEXT_SECRET_MAX 64
#define KEYTEXT_MAX	   112 /* longest text with NUL, of any prefix here */

struct keytext_kind {
	const char *prefix; /* with its colon */
	const char *what;   /* "DHHC-1 key" */
	const char *hint;   /* how such a key looks and who makes one */
	uint8_t hash_max;
};

struct keytext {
	uint8_t hash, len; /* len: 32, 48 or 64 */
	uint8_t bytes[KEYTEXT_SECRET_MAX];
};

/* -EINVAL with a sentence that says what is wrong with the form, and nothing
 * of the secret; out is all zero then. */
int keytext_parse(const struct keytext_kind *kind, struct str text,
		  struct keytext *out, struct err *err);
void keytext_format(const struct keytext_kind *kind, const struct keytext *in,
		    char out[KEYTEXT_MAX]);
/* The sentence of keytext_parse(), for what else may be wrong. */
int keytext_bad(const struct keytext_kind *kind, struct err *err,
		const char *why);

#endif
