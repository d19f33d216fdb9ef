/* SPDX-License-Identifier: Apache-2.0 */
/* Transport ids and NQNs: what is taken, what is refused with which word. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "nvme/endpoint.h"

#define NQN "nqn.2016-06.io.spdk:cnode1"

static const struct {
	const char *text, *canonical;
} good[] = {
	{"traddr:10.0.0.1 trsvcid:4420 subnqn:" NQN
	 " trtype:RDMA adrfam:IPv4 ns:3",
	 "traddr:10.0.0.1 trsvcid:4420 subnqn:" NQN
	 " trtype:RDMA adrfam:IPv4 ns:3"},
	{"  ns:1\tsubnqn:nqn.2024-01.org.x:a:ns:7   TRADDR:host.example ",
	 "traddr:host.example trsvcid:4420 subnqn:nqn.2024-01.org.x:a:ns:7 "
	 "trtype:TCP adrfam:IPv4 ns:1"},
	{"traddr:fe80::1 subnqn:" NQN,
	 "traddr:fe80::1 trsvcid:4420 subnqn:" NQN " trtype:TCP adrfam:IPv6"},
	{"traddr:[::1] trsvcid:1 adrfam:ipv6 trtype:tcp subnqn:" NQN,
	 "traddr:::1 trsvcid:1 subnqn:" NQN " trtype:TCP adrfam:IPv6"},
	{"traddr:h subnqn:nqn.2014-08.org.nvmexpress.discovery",
	 "traddr:h trsvcid:8009 "
	 "subnqn:nqn.2014-08.org.nvmexpress.discovery trtype:TCP adrfam:IPv4"},
};

static void test_good(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		char text[ENDPOINT_TEXT_LEN];
		struct endpoint ep, again;
		struct err err = {0};

		if (endpoint_parse(str_of(good[i].text), &ep, &err))
			fail_msg("%s: %s", good[i].text, err.text);
		endpoint_format(&ep, text);
		assert_string_equal(text, good[i].canonical);
		assert_int_equal(endpoint_parse(str_of(text), &again, &err), 0);
		assert_memory_equal(&ep, &again, sizeof(ep));
	}
}

static const struct {
	const char *text, *word;
} broken[] = {
	{"", "traddr"},
	{"traddr:1.2.3.4", "subnqn"},
	{"subnqn:" NQN, "traddr"},
	{"traddr: subnqn:" NQN, "traddr"},
	{"traddr:1.2.3.4 subnqn:" NQN " trsvcid:0", "trsvcid:0"},
	{"traddr:1.2.3.4 subnqn:" NQN " trsvcid:65536", "65536"},
	{"traddr:1.2.3.4 subnqn:" NQN " trsvcid:http", "http"},
	{"traddr:1.2.3.4 subnqn:" NQN " trtype:FC", "FC"},
	{"traddr:1.2.3.4 subnqn:" NQN " adrfam:IB", "IB"},
	{"traddr:1.2.3.4 subnqn:" NQN " adrfam:IPv6", "adrfam"},
	{"traddr:::1 subnqn:" NQN " adrfam:IPv4", "adrfam"},
	{"traddr:1.2.3.4 subnqn:" NQN " ns:0", "ns:0"},
	{"traddr:1.2.3.4 subnqn:" NQN " ns:4294967295", "4294967295"},
	{"traddr:1.2.3.4 subnqn:" NQN " ns:-1", "ns:-1"},
	{"traddr:1.2.3.4 subnqn:" NQN " nsid:1", "nsid"},
	{"traddr:1.2.3.4 traddr:1.2.3.4 subnqn:" NQN, "second time"},
	{"1.2.3.4:4420", "1.2.3.4"},
	{"traddr:1.2.3.4 subnqn:cnode1", "cnode1"},
};

static void test_broken(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		struct err err = {0};
		struct endpoint ep;

		assert_int_equal(
			endpoint_parse(str_of(broken[i].text), &ep, &err),
			-EINVAL);
		if (!strstr(err.text, broken[i].word))
			fail_msg("'%s' does not name '%s'", err.text,
				 broken[i].word);
	}
}

static void test_long_values(void **state)
{
	char text[1024] = "traddr:";
	struct err err = {0};
	struct endpoint ep;

	memset(text + 7, 'a', 256);
	memcpy(text + 263, " subnqn:" NQN, sizeof(" subnqn:" NQN));
	assert_int_equal(endpoint_parse(str_of(text), &ep, &err), -EINVAL);
	text[262] = ' '; /* 255 characters are allowed */
	assert_int_equal(endpoint_parse(str_of(text), &ep, &err), 0);
}

static void test_nqn(void **state)
{
	static const char *const ok[] = {
		NQN,
		"nqn.2014-08.org.nvmexpress.discovery",
		("nqn.2014-08.org.nvmexpress:uuid:"
		 "0f01fb42-9f7f-4856-b0b3-51e60b8de349"),
		"nqn.2020-12.x",
	};
	static const char *const bad[] = {
		"",
		"nqn",
		"nqn.",
		"nqn.2016-06.",
		"nqn.2016-13.io.x",
		"nqn.2016-00.io.x",
		"nqn.16-06.io.x",
		"NQN.2016-06.io.x",
		"iqn.2016-06.io.x",
		"nqn.2016-06.io.x y",
		"nqn.2016-06.io.x\n",
		"nqn.2014-08.org.nvmexpress:uuid:0f01fb42",
		("nqn.2014-08.org.nvmexpress:uuid:"
		 "0f01fb42-9f7f-4856-b0b3-51e60b8de34x"),
	};
	char longest[NVME_NQN_LEN + 1] = "nqn.2016-06.";

	for (size_t i = 0; i < ARRAY_SIZE(ok); i++)
		assert_int_equal(nqn_check(str_of(ok[i]), &(struct err){0}), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (nqn_check(str_of(bad[i]), &(struct err){0}) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	memset(longest + 12, 'x', sizeof(longest) - 13);
	assert_int_equal(nqn_check(str_of(longest), &(struct err){0}), -EINVAL);
	longest[NVME_NQN_LEN - 1] = '\0';
	assert_int_equal(nqn_check(str_of(longest), &(struct err){0}), 0);
}

static void names_are_text(void **state)
{
	static const char *const ok[] = {"n",
					 "nqn.2014-08.org.a:b",
					 "a b",
					 "\xc3\xa4",
					 "\xe2\x82\xac",
					 "\xf0\x9f\x98\x80",
					 "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"",
					  "a\n",
					  "\x7f",
					  "\x80",
					  "a\xff",
					  "\xc3",
					  "\xc3(",
					  "\xc0\xaf",
					  "\xe0\x80\xaf",
					  "\xed\xa0\x80",
					  "\xe2\x82",
					  "\xf4\x90\x80\x80",
					  "\xf8\x88\x80\x80\x80"};

	for (size_t i = 0; i < ARRAY_SIZE(ok); i++)
		assert_true(nqn_is_text(ok[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (nqn_is_text(bad[i]))
			fail_msg("bad %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_text),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_long_values),
		cmocka_unit_test(test_nqn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
