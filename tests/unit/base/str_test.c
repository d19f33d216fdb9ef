/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_compare(void **state)
{
	assert_true(str_eq(STR("abc"), str_of("abc")));
	assert_false(str_eq(STR("abc"), STR("abd")));
	assert_false(str_eq(STR("abc"), STR("ab")));
	assert_true(str_eq(str_of(NULL), STR("")));
	assert_true(str_eq_nocase(STR("MiB"), STR("mIb")));
	assert_false(str_eq_nocase(STR("mib"), STR("mb")));
	assert_false(str_eq_nocase(STR("["), STR("{")));
	assert_true(str_has_prefix(STR("traddr:1"), STR("traddr:")));
	assert_false(str_has_prefix(STR("tr"), STR("traddr")));
}

static void test_trim_and_cut(void **state)
{
	struct str rest;

	assert_true(str_eq(str_trim(STR(" \t a b\r\n")), STR("a b")));
	assert_int_equal(str_trim(STR("  ")).n, 0);
	assert_true(str_eq(str_cut(STR("a=b=c"), '=', &rest), STR("a")));
	assert_true(str_eq(rest, STR("b=c")));
	assert_true(str_eq(str_cut(STR("a="), '=', &rest), STR("a")));
	assert_non_null(rest.p);
	assert_int_equal(rest.n, 0);
	assert_true(str_eq(str_cut(STR("abc"), '=', &rest), STR("abc")));
	assert_null(rest.p);
	assert_int_equal(str_cut(str_of(NULL), '=', &rest).n, 0);
}

static void test_u64(void **state)
{
	static const char *const bad[] = {"",	"-1",	"+1",  " 1",
					  "1 ", "0x10", "1.0", "12a"};
	uint64_t v = 0;

	assert_int_equal(str_to_u64(STR("0"), &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(str_to_u64(STR("18446744073709551615"), &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(str_to_u64(STR("18446744073709551616"), &v), -ERANGE);
	assert_int_equal(str_to_u64(STR("99999999999999999999999"), &v),
			 -ERANGE);
	/* Garbage after an overflow is garbage, not a large number. */
	assert_int_equal(str_to_u64(STR("99999999999999999999999x"), &v),
			 -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(str_to_u64(str_of(bad[i]), &v), -EINVAL);
	assert_true(v == UINT64_MAX);
}

static void test_i64(void **state)
{
	int64_t v = 0;

	assert_int_equal(str_to_i64(STR("-9223372036854775808"), &v), 0);
	assert_true(v == INT64_MIN);
	assert_int_equal(str_to_i64(STR("9223372036854775807"), &v), 0);
	assert_true(v == INT64_MAX);
	assert_int_equal(str_to_i64(STR("9223372036854775808"), &v), -ERANGE);
	assert_int_equal(str_to_i64(STR("-9223372036854775809"), &v), -ERANGE);
	assert_int_equal(str_to_i64(STR("-"), &v), -EINVAL);
	assert_int_equal(str_to_i64(STR("--1"), &v), -EINVAL);
}

static void test_double(void **state)
{
	static const char *const bad[] = {
		"",   ".",  "nan", "inf",   "0x1p3", "1,5",
		" 1", "1 ", "1e",  "1.2.3", "1e5e",
	};
	double v = 0;

	assert_int_equal(str_to_double(STR("-1.5e-3"), &v), 0);
	assert_true(v == -1.5e-3);
	assert_int_equal(str_to_double((struct str){"0.95xyz", 4}, &v), 0);
	assert_true(v == 0.95);
	assert_int_equal(str_to_double(STR("1e999"), &v), -ERANGE);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(str_to_double(str_of(bad[i]), &v), -EINVAL);
}

static void test_bool(void **state)
{
	bool v = false;

	assert_int_equal(str_to_bool(STR("True"), &v), 0);
	assert_true(v);
	assert_int_equal(str_to_bool(STR("OFF"), &v), 0);
	assert_false(v);
	assert_int_equal(str_to_bool(STR("enabled"), &v), 0);
	assert_true(v);
	assert_int_equal(str_to_bool(STR(""), &v), -EINVAL);
	assert_int_equal(str_to_bool(STR("2"), &v), -EINVAL);
}

static void test_size(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"0", 0},
		{"16777216", 16777216},
		{"50gb", 50 * GiB},
		{"4 GB", 4 * GiB},
		{" 1g ", GiB},
		{"1.5KiB", 1536},
		{"0.5m", MiB / 2},
		{"2t", 2048 * GiB},
		{"1p", MiB * GiB},
		{"7b", 7},
		{"16383.999999999999999999p", UINT64_MAX},
		{"18446744073709551615", UINT64_MAX},
	};
	static const char *const bad[] = {"",	 "g",  "-1",  "1.5", "1.g",
					  ".5g", "1x", "1gg", "1 2", "1e3"};
	uint64_t v = 0;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(str_to_size(str_of(good[i].text), &v), 0);
		assert_true(v == good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(str_to_size(str_of(bad[i]), &v), -EINVAL);
	assert_int_equal(str_to_size(STR("16384p"), &v), -ERANGE);
	assert_int_equal(str_to_size(STR("18446744073709551616"), &v), -ERANGE);
}

static void test_ms(void **state)
{
	uint64_t v = 0;

	assert_int_equal(str_to_ms(STR("250"), &v), 0);
	assert_int_equal(v, 250);
	assert_int_equal(str_to_ms(STR("1.5s"), &v), 0);
	assert_int_equal(v, 1500);
	assert_int_equal(str_to_ms(STR("2 M"), &v), 0);
	assert_int_equal(v, 120000);
	assert_int_equal(str_to_ms(STR("1h"), &v), 0);
	assert_int_equal(v, 3600000);
	assert_int_equal(str_to_ms(STR("1d"), &v), -EINVAL);
	assert_int_equal(str_to_ms(STR("0.5ms"), &v), -EINVAL);
	assert_int_equal(str_to_ms(STR("18446744073709551615h"), &v), -ERANGE);
}

static void test_dup(void **state)
{
	char *copy = str_dup((struct str){"abcdef", 3});

	assert_string_equal(copy, "abc");
	free(copy);
	copy = str_dup(str_of(NULL));
	assert_string_equal(copy, "");
	free(copy);
	assert_null(str_dup((struct str){"", SIZE_MAX}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_trim_and_cut),
		cmocka_unit_test(test_u64),
		cmocka_unit_test(test_i64),
		cmocka_unit_test(test_double),
		cmocka_unit_test(test_bool),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_ms),
		cmocka_unit_test(test_dup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
