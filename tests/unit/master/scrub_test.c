/* SPDX-License-Identifier: Apache-2.0 */
/* Checks: what is read, how fast, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "master/note.h"
#include "master/recover.h"
#include "t_copy.h"
#include "t_journal.h"

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

/* --- restarts --- */

#define OBJECTS 8

static uint64_t now_ns;

static uint64_t the_clock(bool is_wall)
{
	return now_ns + (is_wall ? 20000 * 86400 * NS_PER_S : 0);
}

/* Checks of an hour's interval, at a pace of an object in 20 minutes. */
static struct core *slow_core(void)
{
	struct core_opts opts;
	struct core *core;

	core_opts_default(&opts);
	opts.seed = 1;
	opts.scrub_interval_ns = 3600 * NS_PER_S;
	opts.scrub_bytes_per_s = MiB / 1200;
	assert_int_equal(core_create(&opts, &core), 0);
	core_enter(core, now_ns);
	return core;
}

/* What a life ends with, as a snapshot or as the log has it. */
static struct core *restart(struct core *core, struct t_journal *journal,
			    bool has_snap)
{
	struct core *next = slow_core();
	struct recovery *rec;
	struct segment *seg;
	struct object *obj;
	struct err err = {0};

	t_journal_forget_snap(journal);
	journal->snap_at = journal->log_count;
	save_rest(core);
	list_for_each (obj, &core->all, all_node)
		save_object(core, obj);
	notes_fini(core);
	core_destroy(core);
	assert_int_equal(recovery_create(next, &rec), 0);
	t_journal_replay(journal, has_snap, journal->log_count, recovery_apply,
			 rec);
	assert_int_equal(recovery_finish(rec, &err), 0);
	list_for_each (seg, &next->segments, node)
		segment_set_state(next, seg, SEG_ONLINE, "");
	assert_int_equal(notes_init(next, &journal->j), 0);
	return next;
}

/* Does what there is to do; counts it by the last letter of keys. */
static unsigned live(struct core *core, uint64_t minutes,
		     unsigned checked[OBJECTS])
{
	unsigned n = 0;

	for (uint64_t i = 0; i < minutes; i++) {
		struct object *obj;
		struct task *task = t_next(core, &obj);

		if (task) {
			assert_int_equal(task->kind, TASK_CHECK);
			checked[task->key[0] - 'a']++;
			n++;
			assert_int_equal(t_task_end(core, task->id, true), 0);
		}
		now_ns += 60 * NS_PER_S;
		core_enter(core, now_ns);
	}
	return n;
}

/* None lives for as long as a check takes, nor as its interval is. */
static void test_scrub_outlives_masters(void **state)
{
	struct t_journal *journal = t_journal_create();
	unsigned checked[OBJECTS] = {0}, n = 0;
	struct core *core;
	char key[2] = "a";

	now_ns = 1000 * NS_PER_S;
	time_world = the_clock;
	core = slow_core();
	assert_int_equal(notes_init(core, &journal->j), 0);
	t_segment(core, KIND_NOF, 0, 16 * MiB);
	for (unsigned i = 0; i < OBJECTS; i++, key[0]++)
		assert_int_equal(t_put(core, key, MiB, 0, 1), 0);
	assert_int_equal(live(core, 50, checked), 0);
	/* As when a copy of them was made. */
	note_object(core, obj_find(core, STR("a")));
	note_object(core, obj_find(core, STR("b")));
	for (unsigned life = 0; life < 4; life++) {
		core = restart(core, journal, life % 2);
		n += live(core, 50, checked);
	}
	/* Each of them, and hardly any twice. */
	for (unsigned i = 0; i < OBJECTS; i++)
		assert_true(checked[i] > 0);
	assert_in_range(n, OBJECTS, OBJECTS + 3);
	/* The next one an hour after that one's end, not before. */
	assert_true(live(core, 59, checked) <= 2);
	core = restart(core, journal, false);
	now_ns += 10 * 60 * NS_PER_S;
	core = restart(core, journal, true);
	assert_true(live(core, 10, checked) > 0);
	notes_fini(core);
	core_destroy(core);
	t_journal_destroy(journal);
	time_world = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scrub),
		cmocka_unit_test(test_scrub_fails),
		cmocka_unit_test(test_scrub_bandwidth),
		cmocka_unit_test(test_scrub_outlives_masters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
