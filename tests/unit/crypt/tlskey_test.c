/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMeTLSkey-1 texts and what comes of them.  The expected values were computed
 * with Python's hmac and hashlib from RFC 5869, RFC 8446 section 7.1 and the
 * NVMe TCP Transport's section 3.6.1.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "crypt/tlskey.h"

#define HOST                                                                   \
	"nqn.2014-08.org.nvmexpress:uuid:2f1b3c4d-0000-4000-8000-000000000001"
#define SUB "nqn.2026-11.io.mooncake:target:a:4420"

/* Byte i of each is 5i + hash + length. */
static const struct {
	const char *text;
	unsigned hash, len;
	struct {
		const char *digest, *psk; /* digest NULL: version 0 */
	} want[TLS_FORM_COUNT];
} vectors[] = {
	{"NVMeTLSkey-1:00:ICUqLzQ5PkNITVJXXGFma3B1en+EiY6TmJ2ip6yxtrsW"
	 "jykY:",
	 0,
	 32,
	 {
		 {"BgCMAOaFqmnr4f9wJGP0Vzx3S/Ct01Va279q9O4j2dA=",
		  "43d6100b6579a72ea757abe8b33b9df50d515aaee4b96b69b9e048aa9278"
		  "3571"},
		 {NULL,
		  "d2d79079c9b304e8daca89a4c11c2e749fd7b7d92d58f9845c4f2ee9b2ff"
		  "648b"},
		 {"BgCMAOaFqmnr4f9wJGP0Vzx3S/Ct01Va279q9O4j2dA=",
		  "7a90504fb15c3dc1ad39789ff20999ba3657fd5dc104b53b13a1e72ea514"
		  "481c"},
		 {NULL,
		  "b2a4cb2c786a145df6adcd94f09607b7df344a2543cf7665b096d8428474"
		  "c040"},
	 }},
	{"NVMeTLSkey-1:00:MDU6P0RJTlNYXWJnbHF2e4CFio+UmZ6jqK2yt7zBxsvQ"
	 "1drf5Onu8/j9AgcMERYbMmAivg==:",
	 0,
	 48,
	 {
		 {"w6opj1Y0SEdfsr1xtFthmlbXbfCbbEORWV/TMu/lU4STEFcC7DwePwjBxhAB"
		  "iUsP",
		  "43b79dd91225122e239c0724e3eb1672d6a9335ba476bd2edfa7d0a993f3"
		  "f49194377d0268a0fc023d21e0ccb1d4000c"},
		 {NULL,
		  "04caa9b116a1251ea97f5aaf8c82dad38c19badc6dd6c3889b47b36ddeb7"
		  "295f7c3e0ac2634f49da4daae6c3348e523e"},
		 {"w6opj1Y0SEdfsr1xtFthmlbXbfCbbEORWV/TMu/lU4STEFcC7DwePwjBxhAB"
		  "iUsP",
		  "2e332d52a4e1ab9e6c5d74a8b887a03d1a7470e9cb6e02692be9bc6bdc83"
		  "2b459cb8409fd12614b8fc8f412e7a92f9b6"},
		 {NULL,
		  "98a9e4574d9adc0e0aedd93beac42827c704436a027b03dc3167ce3fc26b"
		  "c14dada73b77cb79f03a5ab98ce1273821ef"},
	 }},
	{"NVMeTLSkey-1:01:ISYrMDU6P0RJTlNYXWJnbHF2e4CFio+UmZ6jqK2yt7yF"
	 "wnI9:",
	 1,
	 32,
	 {
		 {"mtlnOZ19fwiGzmqJkZgS9Y7lrXfQsGn1s3109BitQ0g=",
		  "342e9ab81309dcf7ddfbcc88d9b997f0bc52352f7bc83c150c9fb7a8afb1"
		  "124e"},
		 {NULL,
		  "139ca0e51ae1bec80987e2f309fb320500d08621624a54b3789f6b3b9834"
		  "7dac"},
		 {"3LQVv3YwmySBXvqMPCE0IJCInbAX5FaDfhMIyD3HAtc=",
		  "3c6b194ed3addd8d7a95128dc1837e4b1d074fa8efc4033270dc6aa563aa"
		  "6738"},
		 {NULL,
		  "d336ce4d18a7f0b05ee8ddfd834654684f195c9d613cef6091ac17eeb62d"
		  "d5b8"},
	 }},
	{"NVMeTLSkey-1:02:Mjc8QUZLUFVaX2RpbnN4fYKHjJGWm6Clqq+0ub7DyM3S"
	 "19zh5uvw9fr/BAkOExgdV8cXrw==:",
	 2,
	 48,
	 {
		 {"XJX7vAjDyKg776Eglow3NjDBQi3SaeR8Ad3MoNiBS3T0HXOfc7Yc9fD+69Y8"
		  "Ib39",
		  "f399d25d9c4a70b2cb063cc50eef28ba8c6145bb077588420c44b02ee4ac"
		  "2413a38a044b94ff653d3892ab1513929856"},
		 {NULL,
		  "e4b17289006bb1601925130b78b58ec8fb7385cb6dca1999bc68eeee96ea"
		  "b48c499710b0062db8a3206ff16704b2b22b"},
		 {"Q2Z5jmrN13bUL6N94MAgMfXKHhHUxHL2FOiNVyLBexA7EwemOsdl+iv3yCfd"
		  "Yhu1",
		  "9259803a6058b657d1299ee05453036b46514e471b00ce04fde13712923f"
		  "17cbc4f7d05e7bb08373a8d47bf0ca45939a"},
		 {NULL,
		  "cc0d350aac462b9c65ba6aa4a7356c8feb477e631f7d0c6beb7bcd93ed5d"
		  "6a71a6f3b1e353aad0240cd8b82a995e827a"},
	 }},
};

static void hex(const uint8_t *p, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i]);
}

static void test_parse(void **state)
{
	char text[TLS_KEY_TEXT_LEN];
	struct err err = {0};
	struct tls_key key;

	for (unsigned k = 0; k < ARRAY_SIZE(vectors); k++) {
		unsigned hash = vectors[k].hash, len = vectors[k].len;

		assert_int_equal(
			tls_key_parse(str_of(vectors[k].text), &key, &err), 0);
		assert_int_equal(key.hash, hash);
		assert_int_equal(key.len, len);
		for (unsigned i = 0; i < len; i++)
			assert_int_equal(key.bytes[i],
					 (uint8_t)(5 * i + hash + len));
		tls_key_format(&key, text);
		assert_string_equal(text, vectors[k].text);
	}
}

static void test_derive(void **state)
{
	char got[2 * TLS_KEY_MAX + 1], identity[TLS_IDENTITY_LEN];
	struct err err = {0};
	struct tls_key key;
	struct tls_psk psk;

	for (unsigned k = 0; k < ARRAY_SIZE(vectors); k++) {
		unsigned suite = vectors[k].len == 32 ? 1 : 2;

		tls_key_parse(str_of(vectors[k].text), &key, &err);
		for (unsigned f = 0; f < TLS_FORM_COUNT; f++) {
			const char *digest = vectors[k].want[f].digest;

			snprintf(identity, sizeof(identity),
				 "NVMe%dR0%u %s %s%s%s", digest ? 1 : 0, suite,
				 HOST, SUB, digest ? " " : "",
				 digest ? digest : "");
			assert_int_equal(
				tls_psk_derive(&key, f, HOST, SUB, &psk), 0);
			assert_string_equal(psk.identity, identity);
			assert_int_equal(psk.hash, suite);
			assert_int_equal(psk.len, key.len);
			hex(psk.bytes, psk.len, got);
			assert_string_equal(got, vectors[k].want[f].psk);
		}
	}
}

static void refused(const char *text, const char *why)
{
	struct tls_key key;
	struct err err = {0};

	assert_int_equal(tls_key_parse(str_of(text), &key, &err), -EINVAL);
	assert_non_null(strstr(err.text, why));
	assert_int_equal(key.len, 0);
	/* No piece of the secret may get into a log. */
	assert_null(strstr(err.text, "ICUq"));
	assert_null(strstr(err.text, "ISYr"));
}

static void test_bad(void **state)
{
	refused("", "does not begin");
	refused("DHHC-1:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPo:",
		"does not begin with NVMeTLSkey-1:");
	refused("NVMeTLSkey-1", "does not begin");
	refused("NVMeTLSkey-1:", "hash");
	refused("NVMeTLSkey-1:1:ICUq:", "hash");
	refused("NVMeTLSkey-1:03:"
		"ISYrMDU6P0RJTlNYXWJnbHF2e4CFio+UmZ6jqK2yt7yFwnI9:",
		"not one of 00 to 02");
	refused("NVMeTLSkey-1:01:", "colon");
	refused("NVMeTLSkey-1:01::", "base64");
	refused("NVMeTLSkey-1:01:"
		"ISYrMDU6P0RJTlNYXWJnbHF2e4CFio+UmZ6jqK2yt7yFwnI9",
		"end in a colon");
	refused("NVMeTLSkey-1:01:"
		"ISYrMDU6P0RJTlNYXWJnbHF2e4CFio+UmZ6jqK2yt7yFwnI9:x:",
		"last colon");
	refused("NVMeTLSkey-1:01:"
		"ISYrMDU6P0RJTlNYXWJnbHF2e4CFio+UmZ6jqK2yt7yFwnI8:",
		"checksum");
	refused("NVMeTLSkey-1:01:"
		"ISYrMDU6P0RJTlNYXWJnbHF2e4CFio+UmZ6jqK2yt7yF*nI9:",
		"base64");
	refused("NVMeTLSkey-1:01:ISYrMDU6:", "32, 48 or 64");
	/* A good key of the wrong length for its hash. */
	refused("NVMeTLSkey-1:02:"
		"ISYrMDU6P0RJTlNYXWJnbHF2e4CFio+UmZ6jqK2yt7yFwnI9:",
		"with 02 it has 48");
}

/* Every text that is one byte away from a good one is refused, or equal. */
static void test_damaged(void **state)
{
	struct tls_key good, key;
	struct err err = {0};
	char text[TLS_KEY_TEXT_LEN];

	tls_key_parse(str_of(vectors[2].text), &good, &err);
	for (size_t i = 0; i < strlen(vectors[2].text); i++) {
		for (int c = 1; c < 256; c++) {
			snprintf(text, sizeof(text), "%s", vectors[2].text);
			text[i] = (char)c;
			/* 00: the same secret, no hash. */
			if (c == '0' && i == 14)
				continue;
			if (tls_key_parse(str_of(text), &key, &err) == 0)
				assert_string_equal(text, vectors[2].text);
		}
	}
}

static void test_names(void **state)
{
	char host[64], sub[64];

	assert_int_equal(tls_identity_names(STR("NVMe1R02 a bc dig"), host, sub,
					    sizeof(host)),
			 0);
	assert_string_equal(host, "a");
	assert_string_equal(sub, "bc");
	assert_int_equal(tls_identity_names(STR("NVMe0R01 a bc"), host, sub,
					    sizeof(host)),
			 0);
	assert_string_equal(sub, "bc");
	static const char *const bad[] = {
		"",
		"NVMe1R01",
		"NVMe1R01 ",
		"NVMe1R01 a",
		"NVMe1R01 a ",
		"NVMe1R01  b",
		"NVMe2R01 a b",
		"NVMe1R03 a b",
		"NVMe1G01 a b",
		"NVMe1R01 a "
		"0123456789012345678901234567890123456789012345678901234567890"
		"123 d",
	};
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(tls_identity_names(str_of(bad[i]), host, sub,
						    sizeof(host)),
				 -EINVAL);
	assert_int_equal(tls_identity_names((struct str){"NVMe1R01 a\0x b", 14},
					    host, sub, sizeof(host)),
			 -EINVAL);
}

/* Version 0 has room for 255 bytes of context; others take any NQN. */
static void test_long_names(void **state)
{
	char host[224], sub[224];
	struct tls_key key;
	struct tls_psk psk;

	memset(host, 'h', 223);
	memset(sub, 's', 223);
	host[223] = sub[223] = 0;
	assert_int_equal(tls_key_make(TLS_SHA384, &key), 0);
	assert_int_equal(tls_psk_derive(&key, TLS_FORM_V0, host, sub, &psk),
			 -ENAMETOOLONG);
	assert_int_equal(psk.len, 0);
	assert_int_equal(tls_psk_derive(&key, TLS_FORM_V1, host, sub, &psk), 0);
	assert_int_equal(strlen(psk.identity), 8 + 1 + 223 + 1 + 223 + 1 + 64);
	assert_int_equal(
		tls_psk_derive(&key, TLS_FORM_V0_COMPAT, host, sub, &psk), 0);
}

static void test_load(void **state)
{
	char dir[] = "/tmp/tlskey-XXXXXX", path[64];
	struct err err = {0};
	struct tls_key key;
	FILE *f;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/key", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "%s\n", vectors[3].text);
	fclose(f);
	chmod(path, 0640);
	assert_int_equal(tls_key_load(path, &key, &err), -EPERM);
	assert_int_equal(key.len, 0);
	chmod(path, 0600);
	err = (struct err){0};
	assert_int_equal(tls_key_load(path, &key, &err), 0);
	assert_int_equal(key.len, 48);
	f = fopen(path, "w");
	fprintf(f, "NVMeTLSkey-1:01:secret:\n");
	fclose(f);
	assert_int_equal(tls_key_load(path, &key, &err), -EINVAL);
	assert_non_null(strstr(err.text, path));
	assert_null(strstr(err.text, "secret:"));
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse), cmocka_unit_test(test_derive),
		cmocka_unit_test(test_bad),   cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_names), cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
