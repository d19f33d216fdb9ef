/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lru.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "t_death.h"

static void test_order(void **state)
{
	struct lru lru;
	struct list a, b, c;

	lru_init(&lru);
	assert_null(lru_coldest(&lru));
	lru_add(&lru, &a);
	lru_add(&lru, &b);
	lru_add(&lru, &c);
	lru_del(&lru, &a);
	lru_add(&lru, &a);
	assert_ptr_equal(lru_coldest(&lru), &b);
	assert_ptr_equal(lru_next(&lru, &b), &c);
	assert_ptr_equal(lru_next(&lru, &c), &a);
	assert_null(lru_next(&lru, &a));
	assert_int_equal(lru.count, 3);
	lru_del(&lru, &b);
	assert_ptr_equal(lru_coldest(&lru), &c);
	lru_del(&lru, &c);
	lru_del(&lru, &a);
	assert_null(lru_coldest(&lru));
	assert_int_equal(lru.count, 0);
}

static void del_twice(void *arg)
{
	struct lru lru;
	struct list a, b;

	(void)arg;
	lru_init(&lru);
	lru_add(&lru, &a);
	lru_add(&lru, &b);
	lru_del(&lru, &a);
	lru_del(&lru, &a);
}

static void test_del_twice_is_a_bug(void **state)
{
	assert_non_null(strstr(t_death(del_twice, NULL), "list_is_empty"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_del_twice_is_a_bug),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
