/* SPDX-License-Identifier: Apache-2.0 */
#include "base/def.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "t_death.h"

static void fail_assert(void *arg)
{
	int apples = *(int *)arg;

	ASSERT(apples == 3);
}

static void reach(void *arg)
{
	(void)arg;
	UNREACHABLE();
}

static void test_assert(void **state)
{
	int two = 2, three = 3;
	const char *said = t_death(fail_assert, &two);

	assert_non_null(strstr(said, "def_test.c:"));
	assert_non_null(strstr(said, "fail_assert"));
	assert_non_null(strstr(said, "'apples == 3' does not hold"));
	assert_string_equal(t_death(fail_assert, &three), "");
	assert_non_null(strstr(t_death(reach, NULL), "unreachable"));
}

/* A condition longer than the message must still end its line. */
static void fail_long(void *arg)
{
	assert_failed(arg, "file.c", 1, "func");
}

static void test_long_assert(void **state)
{
	char cond[2000];
	const char *said;

	memset(cond, 'x', sizeof(cond));
	cond[sizeof(cond) - 1] = '\0';
	said = t_death(fail_long, cond);
	assert_true(strlen(said) > 100 && strlen(said) < 1000);
	assert_int_equal(said[strlen(said) - 1], '\n');
}

static void test_shorthands(void **state)
{
	int calls = 0, *p = &calls, *q;
	size_t sum;

	assert_int_equal(MIN(++calls, 5), 1);
	assert_int_equal(MAX(MIN(3, 4), 2), 3);
	q = TAKE(p);
	assert_null(p);
	assert_ptr_equal(q, &calls);
	assert_int_equal(ALIGN_UP((uint64_t)5, 4), 8);
	assert_int_equal(ALIGN_UP((uint64_t)8, 4), 8);
	assert_int_equal(ALIGN_DOWN((uint64_t)7, 4), 4);
	assert_true(IS_ALIGNED((uint64_t)1 << 40, 4096));
	assert_false(IS_ALIGNED(4097, 4096));
	assert_false(IS_POW2(0));
	assert_true(IS_POW2(64));
	assert_false(IS_POW2(65));
	assert_true(add_overflows(SIZE_MAX, (size_t)1, &sum));
	assert_true(mul_overflows(SIZE_MAX, (size_t)2, &sum));
	assert_false(mul_overflows((size_t)6, (size_t)7, &sum));
	assert_int_equal(sum, 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_assert),
		cmocka_unit_test(test_long_assert),
		cmocka_unit_test(test_shorthands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
