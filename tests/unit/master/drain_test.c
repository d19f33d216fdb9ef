/* SPDX-License-Identifier: Apache-2.0 */
/* Draining: what goes on, what ends, and when a segment is idle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "master/evict.h"
#include "master/health.h"
#include "t_core.h"

static void test_takes_nothing_new(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = t_segment(core, KIND_NOF, 0, 16 * MiB);

	assert_int_equal(t_put(core, "a", 100, 0, 1), 0);
	segment_set_draining(core, seg, true);
	segment_set_draining(core, seg, true);
	assert_string_equal(segment_state_name(seg), "DRAINING");
	assert_int_equal(t_start(core, "b", 100, 0, 1), -200);
	assert_int_equal(t_get(core, "a"), 0);
	assert_true(t_exist(core, "a"));
	assert_int_equal(t_evict(core, KIND_NOF), 0);
	segment_set_draining(core, seg, false);
	assert_string_equal(segment_state_name(seg), "ONLINE");
	assert_int_equal(t_put(core, "b", 100, 0, 1), 0);
	core_destroy(core);
}

/* Health goes on beside it, in any order. */
static void test_offline_meanwhile(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = t_segment(core, KIND_NOF, 0, 16 * MiB);

	segment_set_draining(core, seg, true);
	segment_set_state(core, seg, SEG_OFFLINE, "away");
	assert_string_equal(segment_state_name(seg), "OFFLINE");
	segment_set_state(core, seg, SEG_ONLINE, "");
	assert_string_equal(segment_state_name(seg), "DRAINING");
	assert_int_equal(core->online_count[KIND_NOF], 0);
	segment_set_state(core, seg, SEG_OFFLINE, "away");
	segment_set_draining(core, seg, false);
	assert_int_equal(core->online_count[KIND_NOF], 0);
	segment_set_state(core, seg, SEG_ONLINE, "");
	assert_int_equal(core->online_count[KIND_NOF], 1);
	segment_set_draining(core, seg, true);
	segment_start_unmount(core, seg);
	assert_false(segments_reap(core, 10));
	core_destroy(core);
}

static void test_leases(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = t_segment(core, KIND_NOF, 0, 16 * MiB);
	uint64_t lease_ns = core->opts.lease_ns;

	assert_int_equal(t_put(core, "a", 100, 0, 1), 0);
	assert_int_equal(segment_busy_until(core, seg), 0);
	assert_int_equal(t_get(core, "a"), 0);
	segment_set_draining(core, seg, true);
	assert_int_equal(segment_busy_until(core, seg),
			 core->now_ns + lease_ns);
	t_pass(core, lease_ns - 1);
	assert_int_not_equal(segment_busy_until(core, seg), 0);
	assert_int_equal(t_get(core, "a"), 0); /* there is nothing else */
	t_pass(core, 1);
	assert_int_not_equal(segment_busy_until(core, seg), 0);
	t_pass(core, lease_ns - 1);
	assert_int_equal(segment_busy_until(core, seg), 0);
	core_destroy(core);
}

/* Readers are sent elsewhere where they can be, and hold it up no more. */
static void test_readers_move(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *one = t_segment(core, KIND_NOF, 0, 16 * MiB);
	struct segment *two = t_segment(core, KIND_NOF, 1, 16 * MiB);
	uint64_t hits;

	assert_int_equal(t_put(core, "a", 100, 0, 2), 0);
	segment_set_draining(core, one, true);
	hits = two->hits;
	assert_int_equal(t_get(core, "a"), 0);
	assert_int_equal(two->hits, hits + 1);
	assert_int_equal(segment_busy_until(core, one), 0);
	assert_int_not_equal(segment_busy_until(core, two), 0);
	segment_set_state(core, two, SEG_OFFLINE, "away");
	assert_int_equal(t_get(core, "a"), 0);
	assert_int_not_equal(segment_busy_until(core, one), 0);
	core_destroy(core);
}

static void test_writers(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = t_segment(core, KIND_NOF, 0, 16 * MiB);

	assert_int_equal(t_start(core, "a", 100, 0, 1), 0);
	assert_int_equal(t_start(core, "b", 100, 0, 1), 0);
	segment_set_draining(core, seg, true);
	assert_int_not_equal(segment_busy_until(core, seg), 0);
	assert_int_equal(t_end(core, "a"), 0);
	assert_int_equal(seg->unfinished, 1);
	assert_int_not_equal(segment_busy_until(core, seg), 0);
	obj_destroy(core, obj_find(core, STR("b")));
	assert_int_equal(segment_busy_until(core, seg), 0);
	segment_set_draining(core, seg, false);
	/* One that never ends holds it up until it has to have stopped. */
	assert_int_equal(t_start(core, "c", 100, 0, 1), 0);
	segment_set_draining(core, seg, true);
	t_pass(core, core->opts.write_ns);
	assert_int_equal(seg->unfinished, 1);
	assert_int_equal(segment_busy_until(core, seg), 0);
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes_nothing_new),
		cmocka_unit_test(test_offline_meanwhile),
		cmocka_unit_test(test_leases),
		cmocka_unit_test(test_readers_move),
		cmocka_unit_test(test_writers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
