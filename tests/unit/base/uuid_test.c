/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct uuid sample = {{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd,
				    0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54,
				    0x32, 0x10}};

static void test_format(void **state)
{
	char text[UUID_TEXT_LEN];

	uuid_format_hex(&sample, text);
	assert_string_equal(text, "01234567-89ab-cdef-fedc-ba9876543210");
	uuid_format_dec(&sample, text);
	assert_string_equal(text, "81985529216486895-18364758544493064720");
	uuid_format_dec(&(struct uuid){{0}}, text);
	assert_string_equal(text, "0-0");
}

static void test_parse(void **state)
{
	static const char *const good[] = {
		"01234567-89ab-cdef-fedc-ba9876543210",
		"01234567-89AB-CDEF-FEDC-BA9876543210",
		"0123456789abcdeffedcba9876543210",
		"81985529216486895-18364758544493064720",
	};
	static const char *const bad[] = {
		"",
		"-",
		"1",
		"1-",
		"-1",
		"1-2-3",
		"1-18446744073709551616",
		"01234567-89ab-cdef-fedc-ba987654321",
		"01234567-89ab-cdef-fedc-ba98765432100",
		"01234567-89ab-cdef-fedcba-9876543210",
		"0123456789abcdeffedcba987654321g",
		"0123456789abcdeffedcba98765432@0",
		"012345678-9ab-cdef-fedc-ba9876543210",
	};
	struct uuid u = {{0}};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		u = (struct uuid){{0}};
		assert_int_equal(uuid_parse(str_of(good[i]), &u), 0);
		assert_true(uuid_eq(&u, &sample));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(uuid_parse(str_of(bad[i]), &u), -EINVAL);
	assert_true(uuid_eq(&u, &sample));
}

static void test_make(void **state)
{
	char text[UUID_TEXT_LEN];
	struct uuid a, b;

	uuid_make(&a);
	uuid_make(&b);
	assert_false(uuid_eq(&a, &b));
	assert_false(uuid_is_zero(&a));
	assert_true(uuid_is_zero(&(struct uuid){{0}}));
	uuid_format_hex(&a, text);
	assert_int_equal(text[14], '4');
	assert_non_null(strchr("89ab", text[19]));
	assert_int_equal(uuid_parse(str_of(text), &b), 0);
	assert_true(uuid_eq(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_make),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
