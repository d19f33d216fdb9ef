/* SPDX-License-Identifier: Apache-2.0 */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
	int value;
	struct list link;
};

static int digits(struct list *head)
{
	struct item *item;
	int sum = 0;

	list_for_each (item, head, link)
		sum = sum * 10 + item->value;
	return sum;
}

static void test_add_and_del(void **state)
{
	struct item items[4] = {{1}, {2}, {3}, {4}}, *item, *tmp;
	struct list head;

	list_init(&head);
	assert_true(list_is_empty(&head));
	list_add_tail(&head, &items[1].link);
	list_add_tail(&head, &items[2].link);
	list_add_head(&head, &items[0].link);
	list_add_tail(&head, &items[3].link);
	assert_int_equal(digits(&head), 1234);
	assert_int_equal(list_first(&head, struct item, link)->value, 1);
	list_for_each_safe (item, tmp, &head, link)
		if (item->value % 2)
			list_del(&item->link);
	assert_int_equal(digits(&head), 24);
	list_del(&items[0].link);
	assert_int_equal(digits(&head), 24);
}

static void test_splice(void **state)
{
	struct item items[4] = {{1}, {2}, {3}, {4}};
	struct list a, b;

	list_init(&a);
	list_init(&b);
	list_add_tail(&a, &items[0].link);
	list_add_tail(&b, &items[1].link);
	list_add_tail(&b, &items[2].link);
	list_splice_tail(&a, &b);
	assert_true(list_is_empty(&b));
	assert_int_equal(digits(&a), 123);
	list_splice_tail(&a, &b);
	assert_int_equal(digits(&a), 123);
	list_splice_tail(&b, &a);
	list_add_tail(&b, &items[3].link);
	assert_int_equal(digits(&b), 1234);
	assert_true(list_is_empty(&a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_and_del),
		cmocka_unit_test(test_splice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
