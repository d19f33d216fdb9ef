/* SPDX-License-Identifier: Apache-2.0 */
/* Single cases; prop/htab has the random ones. */
#include "base/hash.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "t_death.h"

struct item {
	struct str key;
	struct hnode node;
};

static struct str item_key(const struct hnode *node)
{
	return ((const struct item *)((const char *)node -
				      offsetof(struct item, node)))
		->key;
}

static void test_hash_is_xxh3(void **state)
{
	/* Published test vector of XXH3_64bits for no input, seed 0. */
	assert_true(hash_bytes("", 0) == 0x2d06800538d394c2);
	assert_true(hash_str(STR("a")) != hash_str(STR("b")));
}

static void test_equal_hashes(void **state)
{
	struct item a = {.key = STR("a")}, b = {.key = STR("b")};
	struct htab ht;

	assert_int_equal(htab_init(&ht, 0, item_key), 0);
	a.node.hash = b.node.hash = 5;
	assert_int_equal(htab_add(&ht, &a.node), 0);
	assert_int_equal(htab_add(&ht, &b.node), 0);
	assert_ptr_equal(htab_get(&ht, STR("a"), 5), &a.node);
	assert_ptr_equal(htab_get(&ht, STR("b"), 5), &b.node);
	assert_null(htab_get(&ht, STR("c"), 5));
	assert_null(htab_get(&ht, STR("a"), 5 + 16));
	htab_del(&ht, &a.node);
	assert_null(htab_get(&ht, STR("a"), 5));
	assert_ptr_equal(htab_get(&ht, STR("b"), 5), &b.node);
	htab_fini(&ht);
}

/* Growing moves a bounded number of buckets per add. */
static void test_growth_is_in_steps(void **state)
{
	static struct item items[1025];
	struct htab ht;
	size_t last;

	assert_int_equal(htab_init(&ht, 1024, item_key), 0);
	for (size_t i = 0; i < 1024; i++) {
		items[i].key = (struct str){(const char *)&items[i], 8};
		items[i].node.hash = i * 0x9e3779b97f4a7c15;
		assert_int_equal(htab_add(&ht, &items[i].node), 0);
		assert_null(ht.old);
	}
	items[1024].node.hash = 77;
	assert_int_equal(htab_add(&ht, &items[1024].node), 0);
	assert_int_equal(ht.bucket_count, 2048);
	for (int adds = 0; ht.old; adds++) {
		assert_true(adds < 1024);
		last = ht.old_next;
		htab_del(&ht, &items[1024].node);
		assert_int_equal(htab_add(&ht, &items[1024].node), 0);
		assert_true(!ht.old || ht.old_next - last <= 16);
	}
	assert_int_equal(ht.count, 1025);
	htab_fini(&ht);
}

static bool stop_at_once(struct hnode *node, void *arg)
{
	(void)node;
	++*(int *)arg;
	return false;
}

static void test_visit_stops(void **state)
{
	struct item a = {.key = STR("a")}, b = {.key = STR("b")};
	struct htab ht;
	int visits = 0;

	assert_int_equal(htab_init(&ht, 0, item_key), 0);
	htab_add(&ht, &a.node);
	htab_add(&ht, &b.node);
	htab_visit(&ht, stop_at_once, &visits);
	assert_int_equal(visits, 1);
	htab_fini(&ht);
}

static void test_fini_of_nothing(void **state)
{
	struct htab ht = {0};

	htab_fini(&ht);
	htab_fini(NULL);
}

static void del_absent(void *arg)
{
	struct item a = {.key = STR("a")};

	htab_del(arg, &a.node);
}

static void test_del_of_an_absent_node_is_a_bug(void **state)
{
	struct htab ht;

	assert_int_equal(htab_init(&ht, 0, item_key), 0);
	assert_non_null(strstr(t_death(del_absent, &ht), "does not hold"));
	htab_fini(&ht);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hash_is_xxh3),
		cmocka_unit_test(test_equal_hashes),
		cmocka_unit_test(test_growth_is_in_steps),
		cmocka_unit_test(test_visit_stops),
		cmocka_unit_test(test_fini_of_nothing),
		cmocka_unit_test(test_del_of_an_absent_node_is_a_bug),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
