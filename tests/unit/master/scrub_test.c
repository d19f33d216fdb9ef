/* SPDX-License-Identifier: Apache-2.0 */
/* Checks: what is read, how fast, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_copy.h"

static void test_scrub(void **state)
{
	struct core *core = t_pool(2);
	struct object *obj, *found;
	struct task *task;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	assert_null(t_next(core, &found));
	t_pass(core, core->opts.scrub_interval_ns);
	task = t_next(core, &found);
	assert_int_equal(task->kind, TASK_CHECK);
	obj = copy_object(core, &T_CLIENT, task->id);
	assert_ptr_equal(obj, obj_find(core, STR("a")));
	t_lose(core, obj, 1); /* that is how a client's finding arrives */
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(core->stats.checks, 1);
	assert_int_equal(core->stats.checked_bytes, 2 * MiB);
	assert_int_equal(core->stats.checksum_mismatches, 1);
	task = t_next(core, &found);
	assert_int_equal(task->kind, TASK_COPY);
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(t_readable(obj), 2);
	t_pass(core, 10 * NS_PER_S);
	assert_null(t_next(core, &found)); /* the next one is a week away */
	core_destroy(core);
}

/* Too late, or not all of it could be read; what is gone does not count. */
static void test_scrub_fails(void **state)
{
	struct core *core = t_pool(1);
	struct object *found;
	struct task *task;
	uint64_t id;

	assert_int_equal(t_put(core, "a", MiB, 0, 1), 0);
	assert_int_equal(t_put(core, "b", MiB, 0, 1), 0);
	assert_int_equal(t_put(core, "c", MiB, 0, 1), 0);
	assert_null(t_next(core, &found));
	t_pass(core, core->opts.scrub_interval_ns);
	core->opts.scrub_bytes_per_s = 0;
	task = t_next(core, &found);
	assert_int_equal(t_task_end(core, task->id, false), 0);
	assert_int_equal(core->stats.checks_failed, 1);
	task = t_next(core, &found);
	id = task->id;
	obj_destroy(core, found);
	assert_int_equal(t_task_end(core, id, true), MOONCAKE_OBJECT_NOT_FOUND);
	assert_int_equal(core->stats.checks_failed, 1);
	task = t_next(core, &found);
	t_pass(core, task->deadline_ns - core->now_ns);
	assert_null(t_next(core, &found));
	assert_int_equal(core->stats.checks_failed, 2);
	assert_int_equal(core->stats.checks, 0);
	core_destroy(core);
}

/* All that is read counts, and against the limit of checks alone. */
static void test_scrub_bandwidth(void **state)
{
	static const unsigned replicas[] = {2, 3, 1};
	struct core *core = t_pool(3);
	struct object *found;
	uint64_t wait_ns;
	char key[2] = "a";

	core->opts.scrub_bytes_per_s = MiB;
	for (unsigned i = 0; i < ARRAY_SIZE(replicas); i++) {
		key[0] = (char)('a' + i);
		assert_int_equal(t_put(core, key, 2 * MiB, 0, (int)replicas[i]),
				 0);
	}
	assert_null(t_next(core, &found));
	t_pass(core, core->opts.scrub_interval_ns);
	for (unsigned i = 0; i < ARRAY_SIZE(replicas); i++) {
		struct task *task = t_next(core, &found);
		unsigned looks = T_LOOKS;

		assert_non_null(task);
		assert_int_equal(task->kind, TASK_CHECK);
		assert_int_equal(task->bytes, replicas[i] * 2 * MiB);
		assert_int_equal(task->deadline_ns - core->now_ns,
				 core->opts.write_ns +
					 replicas[i] * 4 * NS_PER_S);
		assert_null(
			copy_next(core, &T_CLIENT, &looks, &found, &wait_ns));
		assert_int_equal(wait_ns, replicas[i] * 2 * NS_PER_S);
		t_pass(core, wait_ns - 1);
		assert_null(t_next(core, &found));
		t_pass(core, 1);
	}
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scrub),
		cmocka_unit_test(test_scrub_fails),
		cmocka_unit_test(test_scrub_bandwidth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
