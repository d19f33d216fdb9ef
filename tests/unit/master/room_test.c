/* SPDX-License-Identifier: Apache-2.0 */
/* Copies that find no room, or fail: when somebody looks again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_copy.h"

/* No room, no client: nothing is moved, and nobody waits for it. */
static void test_drain_without_room(void **state)
{
	struct core *core = t_pool(2);
	struct segment *seg;
	struct object *found;
	struct task *task;

	for (unsigned i = 0; i < 26; i++) {
		char key[8];

		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(t_put(core, key, MiB, 0, 1), 0);
	}
	seg = core->online[KIND_NOF][0];
	segment_set_draining(core, seg, true);
	for (unsigned i = 0; i < 3; i++) { /* what moved may have left room */
		while ((task = t_next(core, &found)))
			assert_int_equal(t_task_end(core, task->id, true), 0);
		t_pass(core, NS_PER_S);
	}
	assert_false(copy_is_moving(core));
	assert_true(seg->replicas > 0 && seg->moved > 0);
	assert_int_equal(core->stats.evicted_keys_nof, 0);
	segment_set_draining(core, seg, false);
	segment_set_draining(core, seg, true);
	assert_int_equal(seg->moved, 0);
	assert_true(copy_is_moving(core));
	t_pass(core, 10 * core->opts.client_ttl_ns);
	assert_false(copy_is_moving(core));
	core_destroy(core);
}

/* A full cache: what finds no room is copied when some comes. */
static void test_room_comes_later(void **state)
{
	struct core *core = t_pool(3);
	struct object *obj, *found;
	struct task *task;
	char key[8];

	for (unsigned i = 0; i < 22; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(t_put(core, key, MiB, 0, 2), 0);
	}
	obj = obj_find(core, STR("k21"));
	t_lose(core, obj, 0);
	assert_null(t_next_pass(core, &found));
	/* Nothing has gone, so nobody looks again; then too little. */
	t_pass(core, 10 * 60 * NS_PER_S);
	assert_false(copy_is_waiting(core));
	assert_int_equal(t_put(core, "small", 100, 0, 1), 0);
	obj_destroy(core, obj_find(core, STR("small")));
	assert_false(copy_is_waiting(core));
	obj_destroy(core, obj_find(core, STR("k0")));
	/* Not at every ping: it takes a look at all segments. */
	assert_false(copy_is_waiting(core));
	t_pass(core, NS_PER_S);
	assert_true(copy_is_waiting(core));
	task = t_next(core, &found);
	assert_non_null(task);
	assert_ptr_equal(found, obj);
	assert_int_equal(task->kind, TASK_COPY);
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(t_readable(obj), 2);
	assert_null(t_next_pass(core, &found));
	assert_false(copy_is_waiting(core));
	core_destroy(core);
}

/* Room that is no use: passes in vain are ever further apart. */
static void test_room_that_does_not_fit(void **state)
{
	struct core *core = t_pool(2);
	struct object *found;
	unsigned passes = 0;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	assert_int_equal(t_put(core, "b", MiB, 0, 1), 0);
	segment_set_state(core, core->online[KIND_NOF][0], SEG_OFFLINE, "");
	t_pass(core, 2 * core->opts.lost_ns);
	assert_null(t_next_pass(core, &found));
	for (unsigned s = 0; s < 3600; s++) {
		assert_int_equal(t_put(core, "c", 100, 0, 1), 0);
		obj_destroy(core, obj_find(core, STR("c")));
		passes += copy_is_waiting(core);
		assert_null(t_next(core, &found));
		t_pass(core, NS_PER_S);
	}
	assert_in_range(passes, 20, 40);
	core_destroy(core);
}

/* Copies that always fail are tried seldom, but not given up; who waits for a
 * drain does not wait for them. */
static void test_failures_are_not_forgotten(void **state)
{
	struct core *core = t_pool(2);
	struct object *found;
	struct task *task;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	t_lose(core, obj_find(core, STR("a")), 0);
	for (unsigned i = 0; i < 20; i++) {
		task = t_next(core, &found);
		assert_non_null(task);
		assert_int_equal(t_task_end(core, task->id, false), 0);
		assert_null(t_next(core, &found));
		copy_seen_client(core);
		assert_true(copy_is_moving(core) == (i < 4));
		t_pass(core, 5 * NS_PER_S);
		assert_true(copy_is_waiting(core) == (i < 4));
		t_pass(core, i < 4 ? 0 : 115 * NS_PER_S);
	}
	task = t_next(core, &found);
	assert_non_null(task);
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(t_readable(obj_find(core, STR("a"))), 2);
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drain_without_room),
		cmocka_unit_test(test_room_comes_later),
		cmocka_unit_test(test_room_that_does_not_fit),
		cmocka_unit_test(test_failures_are_not_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
