/* SPDX-License-Identifier: Apache-2.0 */
#include "io/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

static void numeric_text_goes_there_and_back(void **state)
{
	static const struct {
		const char *host, *text;
		uint16_t port;
	} good[] = {
		{"127.0.0.1", "127.0.0.1:4420", 4420},
		{"0.0.0.0", "0.0.0.0:0", 0},
		{"::1", "[::1]:65535", 65535},
		{"fe80:0:0:0:1:2:3:4", "[fe80::1:2:3:4]:1", 1},
		{"::ffff:10.0.0.1", "[::ffff:10.0.0.1]:8", 8},
	};
	char text[ADDR_TEXT_LEN];
	struct addr addr;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(addr_parse(good[i].host, good[i].port, &addr),
				 0);
		assert_int_equal(addr_port(&addr), good[i].port);
		addr_format(&addr, text);
		assert_string_equal(text, good[i].text);
	}
}

static void other_text_is_refused(void **state)
{
	static const char *const bad[] = {
		"",	     "localhost",  "127.0.0.1:80", "1",
		"127.1",     "0x7f000001", "[::1]",	   "::1::",
		"1.2.3.256", "12345::1",   " 127.0.0.1",
	};
	struct addr addr;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(addr_parse(bad[i], 1, &addr), -EINVAL);
}

static void comparing(void **state)
{
	struct addr a, b;

	assert_int_equal(addr_parse("10.0.0.1", 1, &a), 0);
	assert_int_equal(addr_parse("10.0.0.1", 2, &b), 0);
	assert_false(addr_eq(&a, &b));
	addr_set_port(&b, 1);
	assert_true(addr_eq(&a, &b));
	assert_false(addr_is_any(&a));
	assert_int_equal(addr_parse("::", 1, &b), 0);
	assert_true(addr_is_any(&b));
	assert_false(addr_eq(&a, &b));
	assert_int_equal(addr_parse("0.0.0.0", 1, &a), 0);
	assert_true(addr_is_any(&a));
	assert_false(addr_is_loopback(&a));
	assert_int_equal(addr_parse("127.9.0.1", 1, &a), 0);
	assert_true(addr_is_loopback(&a));
	assert_int_equal(addr_parse("128.0.0.1", 1, &a), 0);
	assert_false(addr_is_loopback(&a));
	assert_int_equal(addr_parse("::1", 1, &a), 0);
	assert_true(addr_is_loopback(&a));
}

static void names_are_resolved(void **state)
{
	struct err err = {0};
	struct addr addr;
	char host[ADDR_TEXT_LEN];

	assert_int_equal(addr_resolve("localhost", 77, &addr, &err), 0);
	assert_int_equal(addr_port(&addr), 77);
	addr_format_host(&addr, host);
	assert_true(!strcmp(host, "127.0.0.1") || !strcmp(host, "::1"));
	assert_int_equal(addr_resolve("10.1.2.3", 1, &addr, &err), 0);
	assert_true(addr_resolve("", 1, &addr, &err) < 0);
	err = (struct err){0};
	assert_true(addr_resolve("no.such.host.invalid", 1, &addr, &err) < 0);
	assert_non_null(strstr(err.text, "no.such.host.invalid"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numeric_text_goes_there_and_back),
		cmocka_unit_test(other_text_is_refused),
		cmocka_unit_test(comparing),
		cmocka_unit_test(names_are_resolved),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
