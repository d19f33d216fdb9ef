/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of NVMe/TCP over TLS and what is derived from them.  Any thread, no
 * state.  Invariant: what stands between a key and its PSK is cleared on
 * return.
 */
#include "crypt/tlskey.h"

#include <errno.h>
#include <stdio.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "crypt/key.h"
#include "crypt/keyfile.h"
#include "crypt/keytext.h"

#define INFO_MAX    (2 + 1 + 32 + 1 + TLS_IDENTITY_LEN)
#define CONTEXT_MAX 255 /* its length is one byte */

static_assert(TLS_KEY_TEXT_LEN == KEYTEXT_MAX, "");

static const struct keytext_kind kind = {
	.prefix = "NVMeTLSkey-1:",
	.what = "TLS key",
	.hint = "a key reads NVMeTLSkey-1:01:…: as 'nvme gen-tls-key' and "
		"'mooncakectl gen-tls-key' write it",
	.hash_max = TLS_SHA384,
};

static const char *const form_names[] = {
	[TLS_FORM_V1] = "1",
	[TLS_FORM_V0] = "0",
	[TLS_FORM_V1_COMPAT] = "1-compat",
	[TLS_FORM_V0_COMPAT] = "0-compat",
};

const char *tls_form_name(enum tls_form form)
{
	return form_names[form];
}

static size_t hash_len(unsigned hash)
{
	return hash == TLS_SHA256 ? 32 : 48;
}

static const EVP_MD *hash_md(unsigned hash)
{
	return hash == TLS_SHA256 ? EVP_sha256() : EVP_sha384();
}

int tls_key_parse(struct str text, struct tls_key *out, struct err *err)
{
	struct keytext key;
	int ret = keytext_parse(&kind, text, &key, err);

	*out = (struct tls_key){0};
	if (ret == 0 && key.len > TLS_KEY_MAX)
		ret = keytext_bad(&kind, err,
				  "the secret has not 32 or 48 bytes");
	if (ret == 0 && key.hash && key.len != hash_len(key.hash))
		ret = keytext_bad(&kind, err,
				  "with hash 01 a secret has 32 bytes, with 02 "
				  "it has 48");
	if (ret == 0) {
		out->hash = key.hash;
		out->len = key.len;
		memcpy(out->bytes, key.bytes, key.len);
	}
	secret_clear(&key, sizeof(key));
	return ret;
}

void tls_key_format(const struct tls_key *key, char out[TLS_KEY_TEXT_LEN])
{
	struct keytext text = {.hash = key->hash, .len = key->len};

	memcpy(text.bytes, key->bytes, key->len);
	keytext_format(&kind, &text, out);
	secret_clear(&text, sizeof(text));
}

int tls_key_make(enum tls_hash hash, struct tls_key *out)
{
	ASSERT(hash == TLS_SHA256 || hash == TLS_SHA384);
	*out = (struct tls_key){.hash = (uint8_t)hash,
				.len = (uint8_t)hash_len(hash)};
	return RAND_priv_bytes(out->bytes, out->len) == 1 ? 0 : -EIO;
}

int tls_key_load(const char *path, struct tls_key *out, struct err *err)
{
	char buf[KEYFILE_MAX];
	struct err why = {0};
	struct str text;
	int ret;

	*out = (struct tls_key){0};
	ret = keyfile_read(path, buf, &text, err);
	if (ret)
		return ret;
	ret = tls_key_parse(text, out, &why);
	if (ret)
		err_set(err, ret, "key file '%.80s': %s", path, why.text);
	secret_clear(buf, sizeof(buf));
	return ret;
}

/* --- derivation --- */

struct label {
	unsigned hash; /* of the HKDF */
	const char *text;
	const char *context;
	bool is_compat; /* without lengths */
};

/* The HkdfLabel of RFC 8446 section 7.1. */
static int put_info(const struct label *label, size_t len,
		    uint8_t info[INFO_MAX], size_t *n)
{
	size_t text_len = strlen(label->text);
	size_t context_len = strlen(label->context);
	uint8_t *p = info;

	if (!label->is_compat && context_len > CONTEXT_MAX)
		return -ENAMETOOLONG;
	ASSERT(2 + 1 + text_len + 1 + context_len <= INFO_MAX);
	*p++ = label->is_compat ? (uint8_t)len : 0;
	*p++ = label->is_compat ? 0 : (uint8_t)len;
	if (!label->is_compat)
		*p++ = (uint8_t)text_len;
	memcpy(p, label->text, text_len);
	p += text_len;
	if (!label->is_compat)
		*p++ = (uint8_t)context_len;
	memcpy(p, label->context, context_len);
	*n = (size_t)(p - info) + context_len;
	return 0;
}

/* HKDF-Extract with no salt, then HKDF-Expand-Label, which is one block: all
 * that is made here is as long as the hash. */
static int expand(const struct label *label, const uint8_t *in, uint8_t *out)
{
	static const uint8_t no_salt[TLS_KEY_MAX];
	const EVP_MD *md = hash_md(label->hash);
	size_t len = hash_len(label->hash), n = 0;
	uint8_t info[INFO_MAX + 1], prk[EVP_MAX_MD_SIZE];
	int ret = put_info(label, len, info, &n);

	if (ret)
		return ret;
	info[n++] = 1;
	if (!HMAC(md, no_salt, (int)len, in, len, prk, NULL) ||
	    !HMAC(md, prk, (int)len, info, n, out, NULL))
		ret = -EIO;
	secret_clear(prk, sizeof(prk));
	return ret;
}

/* Of the retained PSK, in base64. */
static int make_digest(const struct tls_psk *psk, const uint8_t *retained,
		       const char *hostnqn, const char *subnqn, char *out)
{
	char text[TLS_IDENTITY_LEN];
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned mac_len;
	int n = snprintf(text, sizeof(text), "%s %s NVMe-over-Fabrics", hostnqn,
			 subnqn);

	if (n >= (int)sizeof(text))
		return -ENAMETOOLONG;
	if (!HMAC(hash_md(psk->hash), retained, psk->len, (uint8_t *)text,
		  (size_t)n, mac, &mac_len))
		return -EIO;
	EVP_EncodeBlock((uint8_t *)out, mac, (int)mac_len);
	return 0;
}

static int derive(const struct tls_key *key, enum tls_form form,
		  const char *const nqns[2], struct tls_psk *out)
{
	bool is_compat =
		form == TLS_FORM_V1_COMPAT || form == TLS_FORM_V0_COMPAT;
	bool is_v1 = form == TLS_FORM_V1 || form == TLS_FORM_V1_COMPAT;
	char digest[72] = "", context[80];
	struct label host = {key->hash, "tls13 HostNQN", nqns[0], is_compat};
	struct label psk = {out->hash, "tls13 nvme-tls-psk", out->identity,
			    is_compat};
	uint8_t retained[TLS_KEY_MAX];
	int ret = 0;

	memcpy(retained, key->bytes, key->len);
	if (key->hash)
		ret = expand(&host, key->bytes, retained);
	if (ret == 0 && is_v1) {
		ret = make_digest(out, retained, nqns[0], nqns[1], digest);
		snprintf(context, sizeof(context), "%02u %s", out->hash,
			 digest);
		psk.context = context;
	}
	if (ret == 0 && snprintf(out->identity, sizeof(out->identity),
				 "NVMe%dR%02u %s %s%s%s", is_v1, out->hash,
				 nqns[0], nqns[1], is_v1 ? " " : "",
				 digest) >= (int)sizeof(out->identity))
		ret = -ENAMETOOLONG;
	if (ret == 0)
		ret = expand(&psk, retained, out->bytes);
	secret_clear(retained, sizeof(retained));
	return ret;
}

int tls_psk_derive(const struct tls_key *key, enum tls_form form,
		   const char *hostnqn, const char *subnqn, struct tls_psk *out)
{
	const char *const nqns[] = {hostnqn, subnqn};
	int ret;

	ASSERT(key->len == 32 || key->len == 48);
	*out = (struct tls_psk){.len = key->len};
	/* Without a hash of its own the length says which. */
	out->hash = key->len == 32 ? TLS_SHA256 : TLS_SHA384;
	ret = derive(key, form, nqns, out);
	if (ret) {
		secret_clear(out, sizeof(*out));
		out->len = 0;
	}
	return ret;
}

int tls_identity_names(struct str identity, char *hostnqn, char *subnqn,
		       size_t n)
{
	struct str rest, host, sub;
	struct str head = str_cut(identity, ' ', &rest);

	if (head.n != 8 ||
	    (!str_eq(head, STR("NVMe0R01")) && !str_eq(head, STR("NVMe0R02")) &&
	     !str_eq(head, STR("NVMe1R01")) && !str_eq(head, STR("NVMe1R02"))))
		return -EINVAL;
	host = str_cut(rest, ' ', &rest);
	sub = str_cut(rest, ' ', &rest);
	if (!host.n || !sub.n || host.n >= n || sub.n >= n ||
	    memchr(identity.p, 0, identity.n))
		return -EINVAL;
	snprintf(hostnqn, n, STR_FMT, STR_ARG(host));
	snprintf(subnqn, n, STR_FMT, STR_ARG(sub));
	return 0;
}
