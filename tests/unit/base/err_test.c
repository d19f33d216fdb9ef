/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "t_death.h"

static void test_first_cause_wins(void **state)
{
	struct err err = {0};

	assert_int_equal(err_set(&err, -EIO, "disk %d is gone", 7), -EIO);
	assert_int_equal(err_set(&err, -EINVAL, "cannot start"), -EINVAL);
	assert_int_equal(err.code, -EIO);
	assert_string_equal(err.text, "disk 7 is gone");
}

static void test_nobody_listens(void **state)
{
	assert_int_equal(err_set(NULL, -EPERM, "%s", "unheard"), -EPERM);
}

static void test_long_text_is_cut(void **state)
{
	struct err err = {0};
	char text[1000];

	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	err_set(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void set_success(void *arg)
{
	err_set(arg, 0, "success is no error");
}

static void test_zero_is_a_bug(void **state)
{
	struct err err = {0};

	assert_non_null(strstr(t_death(set_success, &err), "code < 0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_cause_wins),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_long_text_is_cut),
		cmocka_unit_test(test_zero_is_a_bug),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
