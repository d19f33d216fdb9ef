/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of namespaces: merging of paths, and the texts they come from. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "deploy/nslist.h"

#define NQN "nqn.2024-01.io.example:a"

static void add(struct nslist *list, const char *text)
{
	struct endpoint ep;
	struct err err = {0};

	assert_int_equal(endpoint_parse(str_of(text), &ep, &err), 0);
	assert_int_equal(nslist_add(list, &ep, NULL, &err), 0);
}

static void test_merge(void **state)
{
	struct nslist list = {0};

	add(&list, "traddr:10.0.0.1 subnqn:" NQN " ns:1");
	add(&list, "traddr:10.0.0.2 subnqn:" NQN " ns:1");
	add(&list, "traddr:10.0.0.1 subnqn:" NQN " ns:2");
	add(&list, "traddr:10.0.0.1 subnqn:" NQN "b ns:1");
	add(&list, "traddr:10.0.0.1 subnqn:" NQN " ns:1 trsvcid:4421");
	add(&list, "traddr:10.0.0.1 subnqn:" NQN " ns:1 trsvcid:4420");
	assert_int_equal(list.count, 3);
	assert_int_equal(list.items[0].path_count, 3);
	assert_string_equal(list.items[0].paths[1].traddr, "10.0.0.2");
	assert_int_equal(list.items[0].paths[2].trsvcid, 4421);
	assert_int_equal(list.items[1].nsid, 2);
	assert_string_equal(list.items[2].subnqn, NQN "b");
	nslist_fini(&list);
	assert_int_equal(list.count, 0);
}

static void test_limits(void **state)
{
	struct endpoint ep = {.traddr = "1.2.3.4", .subnqn = NQN};
	struct nslist list = {0};
	struct err err = {0};

	for (unsigned i = 0; i < NSLIST_MAX; i++) {
		ep.nsid = i + 1;
		assert_int_equal(nslist_add(&list, &ep, NULL, &err), 0);
	}
	for (unsigned i = 0; i < 2 * NS_PATHS_MAX; i++) {
		ep.trsvcid = (uint16_t)(i + 1);
		assert_int_equal(nslist_add(&list, &ep, NULL, &err), 0);
	}
	assert_int_equal(list.items[NSLIST_MAX - 1].path_count, NS_PATHS_MAX);
	ep.nsid++;
	assert_int_equal(nslist_add(&list, &ep, NULL, &err), -E2BIG);
	assert_non_null(strstr(err.text, "4096"));
	nslist_fini(&list);
}

static const struct {
	const char *text, *traddr;
	unsigned port;
	const char *word; /* of the error */
} discovery[] = {
	{"10.0.0.1", "10.0.0.1", 8009, NULL},
	{"10.0.0.1:4420", "10.0.0.1", 4420, NULL},
	{" host.example:1 ", "host.example", 1, NULL},
	{"[::1]:8010", "::1", 8010, NULL},
	{"traddr:10.0.0.1 trsvcid:8011", "10.0.0.1", 8011, NULL},
	{"traddr:10.0.0.1", "10.0.0.1", 8009, NULL},
	{"", NULL, 0, ""},
	{":8009", NULL, 0, ""},
	{"host:0x1", NULL, 0, "0x1"},
	{"host:70000", NULL, 0, "70000"},
	{"traddr:10.0.0.1 trsvcid:no", NULL, 0, "no"},
};

static void test_discovery(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(discovery); i++) {
		struct endpoint ep;
		struct err err = {0};
		int ret = discovery_parse(str_of(discovery[i].text), &ep, &err);

		if (discovery[i].word) {
			if (ret != -EINVAL ||
			    !strstr(err.text, discovery[i].word))
				fail_msg("'%s': %d %s", discovery[i].text, ret,
					 err.text);
			continue;
		}
		if (ret)
			fail_msg("'%s': %s", discovery[i].text, err.text);
		assert_string_equal(ep.traddr, discovery[i].traddr);
		assert_int_equal(ep.trsvcid, discovery[i].port);
		assert_string_equal(ep.subnqn,
				    "nqn.2014-08.org.nvmexpress.discovery");
	}
}

static void test_resolve(void **state)
{
	struct endpoint ep = {.traddr = "localhost", .trsvcid = 1};
	struct err err = {0};

	assert_int_equal(endpoint_resolve(&ep, &err), 0);
	assert_true(strcmp(ep.traddr, ep.is_ipv6 ? "::1" : "127.0.0.1") == 0);
}

static void test_wildcard(void **state)
{
	static const char *const texts[][2] = {
		{"0.0.0.0", "fe80::7"},
		{"::", "fe80::7"},
		{"10.0.0.1", "10.0.0.1"},
		{"host.example", "host.example"},
	};
	struct endpoint asked = {.traddr = "fe80::7", .is_ipv6 = true};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct endpoint ep = {.trsvcid = 4420};

		snprintf(ep.traddr, sizeof(ep.traddr), "%s", texts[i][0]);
		endpoint_fix_wildcard(&ep, &asked);
		assert_string_equal(ep.traddr, texts[i][1]);
		assert_int_equal(ep.is_ipv6, i < 2);
		assert_int_equal(ep.trsvcid, 4420);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_discovery),
		cmocka_unit_test(test_wildcard),
		cmocka_unit_test(test_resolve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
