/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hostport.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_good(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
		bool has_port;
		const char *formatted;
	} cases[] = {
		{"node1:50051", "node1", 50051, true, "node1:50051"},
		{"node1", "node1", 99, false, "node1:99"},
		{"10.0.0.1:0", "10.0.0.1", 0, true, "10.0.0.1:0"},
		{"[::1]:4420", "::1", 4420, true, "[::1]:4420"},
		{"[fe80::1%eth0]", "fe80::1%eth0", 99, false,
		 "[fe80::1%eth0]:99"},
		{"fe80::1", "fe80::1", 99, false, "[fe80::1]:99"},
		{":8080", "", 8080, true, ":8080"},
	};
	char text[HOST_TEXT_LEN + 8];
	struct hostport hp;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str s = str_of(cases[i].text);

		assert_int_equal(hostport_parse(s, 99, &hp, NULL), 0);
		assert_string_equal(hp.host, cases[i].host);
		assert_int_equal(hp.port, cases[i].port);
		assert_int_equal(hp.has_port, cases[i].has_port);
		hostport_format(&hp, text);
		assert_string_equal(text, cases[i].formatted);
	}
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{"", "empty"},
		{"node1:", "port ''"},
		{"node1:http", "port 'http'"},
		{"node1:65536", "0 to 65535"},
		{"node1:-1", "port '-1'"},
		{"[::1", "[IPv6 address]:PORT"},
		{"[]:1", "[IPv6 address]:PORT"},
		{"[::1]1", "[IPv6 address]:PORT"},
		{"http://node1", "not a number"},
		{"a b:1", "blanks"},
		{"a/b", "not a host name"},
		{"a\n:1", "not a host name"},
		{"user@host:1", "not a host name"},
	};
	struct hostport hp = {.port = 7};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str s = str_of(cases[i].text);
		struct err err = {0};

		assert_int_equal(hostport_parse(s, 99, &hp, &err), -EINVAL);
		assert_non_null(strstr(err.text, cases[i].said));
		assert_int_equal(hp.port, 7);
	}
}

static void test_lengths(void **state)
{
	char host[HOST_TEXT_LEN + 1], text[HOST_TEXT_LEN + 8];
	struct hostport hp;

	memset(host, 'h', sizeof(host));
	assert_int_equal(hostport_parse((struct str){host, HOST_TEXT_LEN - 1},
					65535, &hp, NULL),
			 0);
	hostport_format(&hp, text);
	assert_int_equal(strlen(text), HOST_TEXT_LEN - 1 + strlen(":65535"));
	assert_int_equal(hostport_parse((struct str){host, HOST_TEXT_LEN},
					65535, &hp, NULL),
			 -EINVAL);
	/* A NUL inside would cut the host that is printed and resolved. */
	assert_int_equal(hostport_parse((struct str){"a\0b", 3}, 1, &hp, NULL),
			 -EINVAL);
	/* The longest address with brackets still fits what format fills. */
	memset(host, ':', sizeof(host));
	assert_int_equal(hostport_parse((struct str){host, HOST_TEXT_LEN - 1},
					65535, &hp, NULL),
			 0);
	hostport_format(&hp, text);
	assert_int_equal(strlen(text), sizeof(text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
