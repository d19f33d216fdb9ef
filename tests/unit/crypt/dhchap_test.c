/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Responses against vectors that Python's hmac and hashlib computed: secret
 * byte i is 7i + hh, challenge byte i is 200 - i, shared secret byte i is
 * 3i + its length.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "crypt/dhchap.h"

#define HOST                                                                   \
	"nqn.2014-08.org.nvmexpress:uuid:00112233-4455-6677-8899-aabbccddeeff"
#define SUB "nqn.2026-11.io.mooncake:target:a:4420"

static const struct {
	unsigned hash, key_hash, key_len, secret_len;
	bool is_controller;
	const char *hex;
} vectors[] = {
	{1, 0, 32, 0, false,
	 "358b8696ea0bf0921b2a63cd8fa8ebfe9d7b03f40154f2c0e4744f884a89"
	 "da84"},
	{1, 0, 32, 0, true,
	 "5d4f1d445b729ca52a7e0f483893437d7a1f8da52608dff4e9354050b2a7"
	 "9bcb"},
	{1, 1, 32, 256, false,
	 "728f19ecc95a7c8d8da76ec842e1adf6ea83466f6de268b35f32005a1e42"
	 "9e11"},
	{1, 1, 32, 256, true,
	 "ae3e982192a84705e6cd4319846aa9090cd4e31042b7d05292409096d19f"
	 "9290"},
	{2, 2, 48, 0, false,
	 "bc6b20e7e3eb84e3dce6cc1cb1f4c5aab9d649904d14db56b7cb5c07640f"
	 "fcbb3987e901341f63228da6c527fd1bb8f7"},
	{2, 2, 48, 0, true,
	 "f8e8d7f361c7b508cb70c16cce963692611de77a3818460d1dd29dda105d"
	 "ac26afa44421f97e09481404136234c30192"},
	{2, 3, 64, 512, false,
	 "b8facf3d8136e74f75e1a3c15a79a6e9e8105d39c4a88d8739ae09cbcd22"
	 "1b4379a77ada58784544cf796051c8a0120c"},
	{2, 3, 64, 512, true,
	 "2873d0fa79b6ab289b2b06409f1c90ae95118c5d0df66fc03c5327a0dd3f"
	 "3c0489b4a48c6cfedc6b364ea3c0471ab943"},
	{3, 3, 64, 0, false,
	 "8c1cf0eff9d1773286097d9cef04d7fc3299aea039b755d555fe647321af"
	 "bdde38bc7028c961ac124e36e58587b7919e46c98e4189370e7347d0468d"
	 "fc8300eb"},
	{3, 3, 64, 0, true,
	 "318575a466097f9ffb09557a9b718dac3cf682bbb0108a09868b02ed2985"
	 "7e160d6f9041431bb648bd5cebb54aabe65d41d1b3e15dd343fbfd3779ba"
	 "8707c49b"},
	{3, 1, 48, 1024, false,
	 "f81f8298c54f713e5c891a36db3d161d3c573213667b8a3997acbf891fde"
	 "818db4a6b099061acd35dc634816551103da82e28c72670e801a34bbf0aa"
	 "38b0150b"},
	{3, 1, 48, 1024, true,
	 "fa5d59b94056353adc88c9ec54e2e6aad60ae3b8f5e86d44f190799e968f"
	 "368153a9901363791c87a6c2167a03d4c15e53d65722ebbfbc6a2c2a0ed8"
	 "8d7840ce"},

};

static void test_vectors(void **state)
{
	uint8_t secret[DHCHAP_GROUP_MAX], challenge[DHCHAP_HASH_MAX];
	uint8_t out[DHCHAP_HASH_MAX];
	char hex[2 * DHCHAP_HASH_MAX + 1];

	for (size_t v = 0; v < ARRAY_SIZE(vectors); v++) {
		struct dhchap_key key = {
			.hash = (uint8_t)vectors[v].key_hash,
			.len = (uint8_t)vectors[v].key_len,
		};
		struct dhchap_response in = {
			.key = &key,
			.is_controller = vectors[v].is_controller,
			.hash = vectors[v].hash,
			.challenge = challenge,
			.secret = vectors[v].secret_len ? secret : NULL,
			.secret_len = vectors[v].secret_len,
			.seqnum = 0x01020304,
			.t_id = 0xbeef,
			.hostnqn = HOST,
			.subnqn = SUB,
		};
		size_t len = dhchap_hash_len(in.hash);

		for (size_t i = 0; i < key.len; i++)
			key.bytes[i] = (uint8_t)(7 * i + key.hash);
		for (size_t i = 0; i < sizeof(challenge); i++)
			challenge[i] = (uint8_t)(200 - i);
		for (size_t i = 0; i < in.secret_len; i++)
			secret[i] = (uint8_t)(3 * i + in.secret_len);
		assert_int_equal(dhchap_respond(&in, out), 0);
		for (size_t i = 0; i < len; i++)
			snprintf(hex + 2 * i, 3, "%02x", out[i]);
		assert_string_equal(hex, vectors[v].hex);
		/* Every input counts. */
		in.seqnum++;
		assert_int_equal(dhchap_respond(&in, out), 0);
		for (size_t i = 0; i < len; i++)
			snprintf(hex + 2 * i, 3, "%02x", out[i]);
		assert_string_not_equal(hex, vectors[v].hex);
	}
}

static void test_names(void **state)
{
	assert_int_equal(dhchap_hash_parse(STR("SHA384")), DHCHAP_SHA384);
	assert_int_equal(dhchap_hash_parse(STR("sha1")), -22);
	assert_int_equal(dhchap_hash_parse(STR("")), -22);
	assert_int_equal(dhchap_group_parse(STR("null")), DHCHAP_GROUP_NULL);
	assert_int_equal(dhchap_group_parse(STR("ffdhe8192")),
			 DHCHAP_FFDHE8192);
	assert_int_equal(dhchap_group_parse(STR("ffdhe1024")), -22);
	for (unsigned i = 1; i <= DHCHAP_HASHES; i++)
		assert_int_equal(dhchap_hash_parse(str_of(dhchap_hash_name(i))),
				 i);
	for (unsigned i = 0; i < DHCHAP_GROUPS; i++)
		assert_int_equal(
			dhchap_group_parse(str_of(dhchap_group_name(i))), i);
	assert_null(dhchap_hash_name(0));
	assert_null(dhchap_hash_name(4));
	assert_null(dhchap_group_name(6));
	assert_int_equal(dhchap_hash_len(0) + dhchap_hash_len(77), 0);
	assert_int_equal(dhchap_group_len(0) + dhchap_group_len(77), 0);
}

static void test_equal(void **state)
{
	uint8_t a[32], b[32];

	assert_int_equal(dhchap_random(a, sizeof(a)), 0);
	memcpy(b, a, sizeof(b));
	assert_true(dhchap_is_equal(a, b, sizeof(a)));
	b[31] ^= 1;
	assert_false(dhchap_is_equal(a, b, sizeof(a)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
