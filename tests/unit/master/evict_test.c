/* SPDX-License-Identifier: Apache-2.0 */
/* Eviction: order by last access, leases, pins, the background round. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "master/evict.h"
#include "t_core.h"

static struct core *full(unsigned count)
{
	struct core *core = t_core(NULL);
	char key[16];

	t_segment(core, KIND_NOF, 0, (uint64_t)count * MiB);
	for (unsigned i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		t_pass(core, NS_PER_MS);
		ASSERT(t_put(core, key, MiB, 0, 1) == 0);
	}
	return core;
}

static bool has(struct core *core, const char *key)
{
	return obj_find(core, str_of(key)) != NULL;
}

static void test_coldest_goes_first(void **state)
{
	struct core *core = full(16);

	t_pass(core, NS_PER_MS);
	assert_int_equal(t_get(core, "k0"), 0);
	t_pass(core, NS_PER_MS);
	assert_int_equal(t_put(core, "new", MiB, 0, 1), 0);
	assert_true(has(core, "k0"));
	assert_false(has(core, "k1"));
	/* Its lease is over, and it is older than all that came later. */
	t_pass(core, 11 * NS_PER_S);
	for (unsigned i = 2; i < 16; i++) {
		char key[16];

		snprintf(key, sizeof(key), "n%u", i);
		assert_int_equal(t_put(core, key, MiB, 0, 1), 0);
	}
	assert_true(has(core, "k0"));
	assert_false(has(core, "k15"));
	assert_int_equal(t_put(core, "last", MiB, 0, 1), 0);
	assert_false(has(core, "k0"));
	assert_true(has(core, "new"));
	core_destroy(core);
}

static void test_leases_hold(void **state)
{
	struct core *core = full(4);
	char key[16];

	for (unsigned i = 0; i < 4; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_true(t_exist(core, key));
	}
	assert_int_equal(t_put(core, "new", MiB, 0, 1), -200);
	t_pass(core, core->opts.lease_ns - 1);
	assert_int_equal(t_put(core, "new", MiB, 0, 1), -200);
	t_pass(core, 1);
	/* Evicted, but readers' clocks get a margin. */
	assert_int_equal(t_put(core, "new", MiB, 0, 1), PUT_LATER);
	t_pass(core, core->opts.margin_ns);
	assert_int_equal(t_put(core, "new", MiB, 0, 1), 0);
	/* One was enough. */
	assert_int_equal(core->objects.count, 4);
	core_destroy(core);
}

static void test_pins(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask hard = {.client = T_CLIENT,
			       .count = {1, 0},
			       .budget = 100,
			       .has_hard_pin = true};
	struct put_ask soft = {.client = T_CLIENT,
			       .count = {1, 0},
			       .budget = 100,
			       .has_soft_pin = true,
			       .soft_pin_ms = 5000};
	struct object *obj;

	t_segment(core, KIND_MEM, 0, 3 * MiB);
	assert_int_equal(put_start(core, &hard, STR("h"), MiB, &obj), 0);
	assert_int_equal(t_end(core, "h"), 0);
	assert_int_equal(put_start(core, &soft, STR("s"), MiB, &obj), 0);
	assert_int_equal(t_end(core, "s"), 0);
	assert_int_equal(t_put(core, "a", MiB, 1, 0), 0);
	t_pass(core, NS_PER_MS);
	/* The youngest goes, for the others are pinned. */
	assert_int_equal(t_put(core, "b", MiB, 1, 0), 0);
	assert_false(has(core, "a"));
	assert_int_equal(t_put(core, "c", 2 * MiB, 1, 0), 0);
	assert_false(has(core, "s")); /* pass two */
	assert_int_equal(t_put(core, "d", 3 * MiB, 1, 0), -200);
	assert_true(has(core, "h"));
	core->opts.can_evict_soft_pinned = false;
	assert_int_equal(remove_key(core, STR("h"), false), 0);
	assert_int_equal(put_start(core, &soft, STR("t"), MiB, &obj), 0);
	assert_int_equal(t_end(core, "t"), 0);
	assert_int_equal(t_put(core, "e", 3 * MiB, 1, 0), -200);
	assert_true(has(core, "t"));
	t_pass(core, 5 * NS_PER_S);
	assert_int_equal(t_put(core, "e", 3 * MiB, 1, 0), 0);
	core_destroy(core);
}

static void put_pinned(struct core *core, const char *key, uint64_t ms)
{
	struct put_ask ask = {.client = T_CLIENT,
			      .count = {1, 0},
			      .budget = 100,
			      .has_soft_pin = true,
			      .soft_pin_ms = ms};
	struct object *obj;

	t_pass(core, NS_PER_MS);
	assert_int_equal(put_start(core, &ask, str_of(key), MiB, &obj), 0);
	assert_int_equal(t_end(core, key), 0);
}

/* A pin that is over does not shield an object because a colder one's holds. */
static void test_pin_ends_behind_another(void **state)
{
	struct core *core = t_core(NULL);

	t_segment(core, KIND_MEM, 0, 4 * MiB);
	put_pinned(core, "long", 60000);
	put_pinned(core, "short", 1000);
	put_pinned(core, "late", 9000);
	t_pass(core, NS_PER_MS);
	assert_int_equal(t_put(core, "a", MiB, 1, 0), 0);
	t_pass(core, 990 * NS_PER_MS); /* none is over */
	assert_int_equal(t_put(core, "b", MiB, 1, 0), 0);
	assert_false(has(core, "a"));
	t_pass(core, NS_PER_S);
	assert_int_equal(t_put(core, "c", MiB, 1, 0), 0);
	assert_false(has(core, "short"));
	assert_true(has(core, "b"));
	t_pass(core, NS_PER_S); /* none of the other two */
	assert_int_equal(t_put(core, "e", MiB, 1, 0), 0);
	assert_false(has(core, "b"));
	t_pass(core, 8 * NS_PER_S);
	assert_int_equal(t_put(core, "d", MiB, 1, 0), 0);
	assert_false(has(core, "late"));
	assert_true(has(core, "c"));
	assert_true(has(core, "long"));
	core_destroy(core);
}

static void expect_pinned(struct core *core, const char *summary)
{
	struct strbuf text = {0};

	stats_summary(core, &core->stats, 1, &text);
	if (!strstr(text.p, summary))
		fail_msg("'%s' is not in %s", summary, text.p);
	strbuf_fini(&text);
}

static void test_soft_pins_are_counted(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask soft = {.client = T_CLIENT,
			       .count = {1, 0},
			       .budget = 100,
			       .has_soft_pin = true,
			       .soft_pin_ms = 5000};
	struct object *obj;

	t_segment(core, KIND_MEM, 0, 8 * MiB);
	assert_int_equal(t_put(core, "a", MiB, 1, 0), 0);
	assert_int_equal(put_start(core, &soft, STR("s"), MiB, &obj), 0);
	expect_pinned(core, "Keys: 2 (soft-pinned: 0)");
	assert_int_equal(t_end(core, "s"), 0);
	assert_int_equal(put_start(core, &soft, STR("t"), MiB, &obj), 0);
	assert_int_equal(t_end(core, "t"), 0);
	expect_pinned(core, "Keys: 3 (soft-pinned: 2)");
	assert_int_equal(remove_key(core, STR("s"), false), 0);
	expect_pinned(core, "Keys: 2 (soft-pinned: 1)");
	t_pass(core, 5 * NS_PER_S);
	assert_int_equal(t_get(core, "t"), 0);
	expect_pinned(core, "Keys: 2 (soft-pinned: 0)");
	core_destroy(core);
}

static void test_offline_is_left_alone(void **state)
{
	struct core *core = full(4);
	struct segment *seg = core->online[KIND_NOF][0];

	segment_set_state(core, seg, SEG_OFFLINE, "test");
	assert_int_equal(t_get(core, "k0"), -704);
	assert_int_equal(t_put(core, "new", MiB, 0, 1), -200);
	assert_int_equal(core->objects.count, 4);
	t_segment(core, KIND_NOF, 1, 2 * MiB);
	assert_int_equal(t_put(core, "a", MiB, 0, 1), 0);
	assert_int_equal(t_put(core, "b", MiB, 0, 1), 0);
	assert_int_equal(t_put(core, "c", MiB, 0, 1), 0);
	assert_false(has(core, "a"));
	assert_true(has(core, "k0"));
	/* Who missed may put again, elsewhere. */
	assert_int_equal(t_put(core, "k0", MiB, 0, 1), 0);
	assert_int_equal(t_get(core, "k0"), 0);
	segment_set_state(core, seg, SEG_ONLINE, "");
	assert_int_equal(t_get(core, "k1"), 0);
	core_destroy(core);
}

static void test_kinds_apart(void **state)
{
	struct core *core = t_core(NULL);

	t_segment(core, KIND_MEM, 0, 1 * MiB);
	t_segment(core, KIND_NOF, 0, 4 * MiB);
	assert_int_equal(t_put(core, "a", MiB, 1, 1), 0);
	assert_int_equal(t_put(core, "b", MiB, 1, 1), 0);
	/* a lost its place in memory, not the one in the pool. */
	assert_int_equal(obj_find(core, STR("a"))->replica_count, 1);
	assert_int_equal(t_get(core, "a"), 0);
	assert_int_equal(core->stats.hits_nof, 1);
	core_destroy(core);
}

static void test_background(void **state)
{
	struct core *core = full(100);
	uint64_t live, capacity;

	assert_true(evict_is_due(core, KIND_NOF));
	/* A slice at a time. */
	assert_int_equal(evict_background(core, KIND_NOF, 10), core->now_ns);
	assert_int_equal(core->objects.count, 90);
	assert_int_equal(evict_background(core, KIND_NOF, 100), 0);
	evict_usage(core, KIND_NOF, &live, &capacity);
	assert_int_equal(live, 85 * MiB);
	assert_false(has(core, "k14"));
	assert_true(has(core, "k15"));
	assert_int_equal(evict_background(core, KIND_NOF, 100), 0);
	assert_int_equal(core->stats.evicted_keys_nof, 15);
	core_destroy(core);
}

static void test_background_waits_for_leases(void **state)
{
	struct core *core = full(4);
	uint64_t first;
	char key[16];

	for (unsigned i = 0; i < 4; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(t_get(core, key), 0);
		t_pass(core, NS_PER_S);
	}
	first = obj_lease_end(core, obj_find(core, STR("k0")));
	assert_int_equal(evict_background(core, KIND_NOF, 100), first);
	core_enter(core, first);
	assert_int_equal(evict_background(core, KIND_NOF, 100), 0);
	assert_false(has(core, "k0"));
	core_destroy(core);
}

static void test_large_among_small(void **state)
{
	struct core *core = t_core(NULL);
	char key[16];

	for (unsigned s = 0; s < 4; s++)
		t_segment(core, KIND_NOF, s, 16 * MiB);
	for (unsigned i = 0; i < 1024; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(t_put(core, key, 64 * KiB, 0, 1), 0);
	}
	assert_int_equal(t_put(core, "big", 12 * MiB, 0, 1), 0);
	assert_int_equal(t_get(core, "big"), 0);
	assert_true(core->objects.count > 500);
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_coldest_goes_first),
		cmocka_unit_test(test_leases_hold),
		cmocka_unit_test(test_pins),
		cmocka_unit_test(test_pin_ends_behind_another),
		cmocka_unit_test(test_soft_pins_are_counted),
		cmocka_unit_test(test_offline_is_left_alone),
		cmocka_unit_test(test_kinds_apart),
		cmocka_unit_test(test_background),
		cmocka_unit_test(test_background_waits_for_leases),
		cmocka_unit_test(test_large_among_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
