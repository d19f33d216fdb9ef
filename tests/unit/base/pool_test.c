/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "t_death.h"

static void test_take_and_give(void **state)
{
	struct pool pool;
	char *objs[1000];

	pool_init(&pool, 24, 0);
	for (size_t i = 0; i < ARRAY_SIZE(objs); i++) {
		objs[i] = pool_take(&pool);
		assert_non_null(objs[i]);
		assert_true(IS_ALIGNED((uintptr_t)objs[i], 16));
		memset(objs[i], (int)i, 24);
	}
	assert_int_equal(pool.in_use, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(objs); i++) {
		for (size_t k = 0; k < 24; k++)
			assert_int_equal((uint8_t)objs[i][k], (uint8_t)i);
		pool_give(&pool, objs[i]);
	}
	pool_give(&pool, NULL);
	assert_ptr_equal(pool_take(&pool), objs[999]);
	pool_give(&pool, objs[999]);
	pool_fini(&pool);
	pool_fini(&pool);
	pool_fini(NULL);
}

static void test_limit(void **state)
{
	struct pool pool;
	void *a, *b;

	pool_init(&pool, 1, 2);
	a = pool_take(&pool);
	b = pool_take(&pool);
	assert_int_equal(pool.total, 2);
	assert_null(pool_take(&pool));
	pool_give(&pool, a);
	assert_ptr_equal(pool_take(&pool), a);
	pool_give(&pool, a);
	pool_give(&pool, b);
	pool_fini(&pool);
}

static void leave_one(void *arg)
{
	struct pool pool;

	(void)arg;
	pool_init(&pool, 8, 0);
	pool_take(&pool);
	pool_fini(&pool);
}

static void test_fini_asserts(void **state)
{
	assert_non_null(strstr(t_death(leave_one, NULL), "in_use == 0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take_and_give),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_fini_asserts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
