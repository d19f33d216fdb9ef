/* SPDX-License-Identifier: Apache-2.0 */
/* Puts that find no room: how much is evicted for one, over slices and waits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_core.h"

#define SMALL 1024 /* objects that fill a memory of 16 MiB */

/* All of them are read, one after the other. */
static void fill_small(struct core *core, uint64_t pause_ns)
{
	char key[16];

	for (unsigned i = 0; i < SMALL; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(t_put(core, key, 16 * KiB, 1, 0), 0);
	}
	for (unsigned i = 0; i < SMALL; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(t_get(core, key), 0);
		t_pass(core, pause_ns);
	}
}

/* As many slices of so many evictions as it takes at once. */
static int start_by_slices(struct core *core, struct put_ask *ask,
			   uint64_t size, unsigned budget)
{
	struct object *obj;
	int st;

	do {
		ask->budget = budget;
		st = put_start(core, ask, STR("new"), size, &obj);
	} while (st == PUT_LATER && ask->retry_ns == core->now_ns);
	return st;
}

/* What rests was evicted for this put, in whichever slice. */
static void test_slices_evict_once(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask = t_ask(core, 1, 0);

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	fill_small(core, 0);
	t_pass(core, core->opts.lease_ns);
	assert_int_equal(start_by_slices(core, &ask, 4 * MiB, 64), PUT_LATER);
	assert_int_equal(core->stats.evicted_keys_mem, 256);
	core_enter(core, ask.retry_ns);
	assert_int_equal(start_by_slices(core, &ask, 4 * MiB, 64), 0);
	assert_int_equal(core->stats.evicted_keys_mem, 256);
	core_destroy(core);
}

/* Nor is it evicted again since the first of it has rested. */
static void test_rest_one_by_one(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask = t_ask(core, 1, 0);
	int st;

	t_segment(core, KIND_MEM, 0, 16 * MiB);
	fill_small(core, NS_PER_MS);
	t_pass(core, core->opts.lease_ns - 700 * NS_PER_MS);
	st = start_by_slices(core, &ask, 4 * MiB, 64);
	while (st == PUT_LATER) {
		core_enter(core, ask.retry_ns);
		st = start_by_slices(core, &ask, 4 * MiB, 64);
	}
	assert_int_equal(st, 0);
	assert_in_range(core->stats.evicted_keys_mem, 256, 288);
	core_destroy(core);
}

/* The range that is looked for is made on one segment after some rounds, also
 * if no slice pays for one. */
static void test_slices_count_rounds(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask = t_ask(core, 1, 0);

	for (unsigned i = 0; i < 16; i++)
		t_segment(core, KIND_MEM, i, MiB);
	fill_small(core, NS_PER_MS);
	t_pass(core, core->opts.lease_ns + core->opts.margin_ns);
	assert_int_equal(start_by_slices(core, &ask, 768 * KiB, 8), 0);
	assert_in_range(core->stats.evicted_keys_mem, 48, 288);
	core_destroy(core);
}

/* Who can't wait gets nothing from evicting what has to rest. */
static void test_last_try_evicts_what_is_free_at_once(void **state)
{
	struct core *core = t_core(NULL);
	struct put_ask ask = t_ask(core, 2, 0);
	struct object *obj;

	for (unsigned i = 0; i < 4; i++)
		t_segment(core, KIND_MEM, i, 4 * MiB);
	fill_small(core, 0);
	t_pass(core, core->opts.lease_ns);
	ask.is_last = true;
	assert_int_equal(put_start(core, &ask, STR("new"), MiB, &obj), -200);
	assert_int_equal(core->stats.evicted_keys_mem, 0);
	t_pass(core, core->opts.margin_ns);
	assert_int_equal(put_start(core, &ask, STR("new"), MiB, &obj), 0);
	assert_int_equal(obj->replica_count, 2);
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slices_evict_once),
		cmocka_unit_test(test_rest_one_by_one),
		cmocka_unit_test(test_slices_count_rounds),
		cmocka_unit_test(test_last_try_evicts_what_is_free_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
