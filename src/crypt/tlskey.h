/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-shared keys for NVMe/TCP over TLS 1.3 (NVMe TCP Transport 1.1 section
 * 3.6.1).  What an operator has is a configured PSK:
 *
 *	NVMeTLSkey-1:hh:base64(key, CRC-32 of it little-endian):
 *
 * From it come, by HKDF, the retained PSK of a host, and from that the PSK and
 * its identity for one host and subsystem, which is what TLS is given:
 *
 *	NVMe1R01 hostnqn subnqn base64(HMAC(retained PSK, …))
 */
#ifndef CRYPT_TLSKEY_H
#define CRYPT_TLSKEY_H

#include "base/err.h"
#include "base/str.h"

#define TLS_KEY_MAX	 48
#define TLS_KEY_TEXT_LEN 112 /* with NUL */
#define TLS_IDENTITY_LEN 560 /* two NQNs and a digest, with NUL */

enum tls_hash { /* as on the wire */
	TLS_HASH_NONE = 0,
	TLS_SHA256 = 1, /* TLS_AES_128_GCM_SHA256 */
	TLS_SHA384 = 2, /* TLS_AES_256_GCM_SHA384 */
};

struct tls_key {
	uint8_t hash; /* enum tls_hash, of the retained PSK */
	uint8_t len;  /* 32 or 48; 0 = no key */
	uint8_t bytes[TLS_KEY_MAX];
};

/*
 * How PSK and identity are derived.  The first is the specification's; SPDK
 * and kernels before 6.7 know version 0 alone; nvme-cli before 2.16 leaves the
 * lengths in the HKDF labels out ("compat" there).
 */
enum tls_form {
	TLS_FORM_V1,
	TLS_FORM_V0,
	TLS_FORM_V1_COMPAT,
	TLS_FORM_V0_COMPAT,
	TLS_FORM_COUNT
};
/* "1", "0", "1-compat", "0-compat". */
const char *tls_form_name(enum tls_form form);

struct tls_psk {
	char identity[TLS_IDENTITY_LEN];
	uint8_t hash; /* TLS_SHA256 or TLS_SHA384: decides the cipher suite */
	uint8_t len;  /* 32, 48; 0 = none */
	uint8_t bytes[TLS_KEY_MAX];
};

/* -EINVAL with a sentence that says what is wrong with the form. */
int tls_key_parse(struct str text, struct tls_key *out, struct err *err);
void tls_key_format(const struct tls_key *key, char out[TLS_KEY_TEXT_LEN]);
/* A new key, TLS_SHA256 or TLS_SHA384.  -EIO when there is no randomness. */
int tls_key_make(enum tls_hash hash, struct tls_key *out);
/* The key in a file, see keyfile.h. */
int tls_key_load(const char *path, struct tls_key *out, struct err *err);

/* -ENAMETOOLONG: names too long for this form; -EIO when libcrypto can't. */
int tls_psk_derive(const struct tls_key *key, enum tls_form form,
		   const char *hostnqn, const char *subnqn,
		   struct tls_psk *out);

/* The NQNs in an identity of any form, each at least one byte and shorter than
 * n; -EINVAL. */
int tls_identity_names(struct str identity, char *hostnqn, char *subnqn,
		       size_t n);

#endif
