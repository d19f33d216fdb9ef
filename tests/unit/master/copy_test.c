/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks: what is copied, by whom, how fast, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_copy.h"

static void test_lost_is_copied(void **state)
{
	struct core *core = t_pool(3);
	struct object *obj, *found;
	const struct replica *rep;
	struct task *task;

	assert_int_equal(t_put(core, "a", 5 * MiB, 0, 2), 0);
	assert_null(t_next(core, &found));
	assert_false(copy_is_waiting(core));
	obj = obj_find(core, STR("a"));
	t_lose(core, obj, 0);
	assert_int_equal(t_readable(obj), 1);
	assert_true(copy_is_waiting(core));
	task = t_next(core, &found);
	assert_ptr_equal(found, obj);
	assert_int_equal(task->kind, TASK_COPY);
	/* One at a time, not readable before it has ended well. */
	assert_null(t_next(core, &found));
	assert_int_equal(t_readable(obj), 1);
	rep = obj_replica(obj, task->target);
	assert_ptr_not_equal(rep->extents[0].seg,
			     obj_replica(obj, 1)->extents[0].seg);
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(t_readable(obj), 2);
	assert_null(t_next(core, &found));
	assert_int_equal(core->stats.copies, 1);
	assert_int_equal(core->stats.copied_bytes, 5 * MiB);
	core_destroy(core);
}

/* One after the other; nothing else has to happen for the second. */
static void test_two_are_lost(void **state)
{
	struct core *core = t_pool(4);
	struct object *obj, *found;
	struct task *task;

	assert_int_equal(t_put(core, "a", MiB, 0, 3), 0);
	obj = obj_find(core, STR("a"));
	t_lose(core, obj, 0);
	t_lose(core, obj, 1);
	task = t_next(core, &found);
	assert_non_null(task);
	assert_null(t_next(core, &found));
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(t_readable(obj), 2);
	t_pass(core, 10 * NS_PER_S);
	assert_true(copy_is_waiting(core));
	task = t_next(core, &found);
	assert_non_null(task);
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(t_readable(obj), 3);
	assert_null(t_next(core, &found));
	t_pass(core, 10 * NS_PER_S);
	assert_false(copy_is_waiting(core));
	core_destroy(core);
}

/* Who did not say how a copy ended may have sent it to a target that stands
 * still: its extents rest as if it had failed. */
static void test_task_that_is_late(void **state)
{
	struct core *core = t_pool(2);
	struct object *obj, *found;
	uint64_t id, before;
	struct task *task;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	obj = obj_find(core, STR("a"));
	t_lose(core, obj, 0);
	task = t_next(core, &found);
	id = task->id;
	before = task->deadline_ns;
	t_pass(core, before - core->now_ns);
	copy_is_waiting(core);
	assert_int_equal(obj->replica_count, 1);
	assert_int_equal(t_task_end(core, id, true), MOONCAKE_OBJECT_NOT_FOUND);
	assert_int_equal(obj->replica_count, 1);
	assert_int_equal(core->stats.copies_failed, 1);
	/* Once more, after a while. */
	assert_null(t_next(core, &found));
	t_pass(core, core->opts.write_ns + core->opts.margin_ns - 1);
	quarantine_release(core);
	assert_true(core->quarantine.count > 0);
	t_pass(core, 1);
	quarantine_release(core);
	assert_int_equal(core->quarantine.count, 0);
	assert_non_null(t_next(core, &found));
	core_destroy(core);
}

/* Who copies goes on until its deadline; what it has sent by then is given as
 * long as that of a put. */
static void test_object_goes_meanwhile(void **state)
{
	struct core *core = t_pool(2);
	struct object *obj, *found;
	struct segment *seg;
	struct task *task;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	t_lose(core, obj_find(core, STR("a")), 0);
	task = t_next(core, &found);
	obj = obj_find(core, STR("a"));
	seg = obj_replica(obj, task->target)->extents[0].seg;
	obj_destroy(core, obj);
	assert_int_equal(seg->quarantined, MiB);
	assert_int_equal(core->quarantine.heap[0].release_ns,
			 task->deadline_ns + core->opts.discard_ns -
				 core->opts.write_ns);
	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	assert_null(copy_object(core, &T_CLIENT, task->id));
	assert_int_equal(t_task_end(core, task->id, true),
			 MOONCAKE_OBJECT_NOT_FOUND);
	assert_int_equal(t_readable(obj_find(core, STR("a"))), 2);
	core_destroy(core);
}

/* The last good replica goes while it is copied: the copy is the object. */
static void test_source_lost_meanwhile(void **state)
{
	struct core *core = t_pool(3);
	struct object *obj, *found;
	struct task *task;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	obj = obj_find(core, STR("a"));
	t_lose(core, obj, 0);
	task = t_next(core, &found);
	t_lose(core, obj, 1);
	assert_int_equal(t_get(core, "a"), MOONCAKE_OBJECT_NOT_FOUND);
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(t_get(core, "a"), 0);
	core_destroy(core);
}

static enum mooncake_status report(struct core *core, const struct object *obj,
				   uint32_t index, const struct uuid *where)
{
	struct bad_replica bad = {
		.generation = obj->generation,
		.index = index,
		.segment = *where,
	};

	return get_report_bad(core, obj_key(obj), &bad);
}

/* Who read the bad replica and says so late, perhaps after a restart, must not
 * make the master drop what came in its place. */
static void test_report_that_is_late(void **state)
{
	static const struct uuid anywhere;
	struct core *core = t_pool(3);
	struct object *obj, *found;
	struct task *task;
	struct uuid where;
	uint32_t targets[3];

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	obj = obj_find(core, STR("a"));
	where = obj_replica(obj, 1)->extents[0].seg->id;
	t_lose(core, obj, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(targets); i++) {
		task = t_next_pass(core, &found);
		assert_non_null(task);
		targets[i] = task->target;
		/* Nobody reads it yet. */
		assert_int_equal(report(core, obj, targets[i], &anywhere),
				 MOONCAKE_REPLICA_NOT_FOUND);
		assert_int_equal(t_task_end(core, task->id, true), 0);
		for (uint32_t old = 0; old < i; old++)
			assert_int_equal(
				report(core, obj, targets[old], &anywhere),
				MOONCAKE_REPLICA_NOT_FOUND);
		assert_int_equal(report(core, obj, 1, &where),
				 MOONCAKE_REPLICA_NOT_FOUND);
		assert_int_equal(t_readable(obj), 2);
		t_lose(core, obj, targets[i]);
	}
	core_destroy(core);
}

/* It is the replica's number, but nothing of it is there. */
static void test_report_from_elsewhere(void **state)
{
	struct core *core = t_pool(3);
	struct object *obj;
	struct uuid where;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	obj = obj_find(core, STR("a"));
	where = obj_replica(obj, 1)->extents[0].seg->id;
	assert_int_equal(report(core, obj, 0, &where),
			 MOONCAKE_REPLICA_NOT_FOUND);
	assert_int_equal(t_readable(obj), 2);
	assert_int_equal(report(core, obj, 1, &where), 0);
	assert_int_equal(t_readable(obj), 1);
	core_destroy(core);
}

/* The copy's segment is unmounted and another copy begun: what becomes of the
 * first task is not the second one's. */
static void test_target_goes_meanwhile(void **state)
{
	struct core *core = t_pool(4);
	struct object *obj, *found;
	const struct replica *rep;
	struct task *task;
	uint64_t old[2];
	uint32_t target;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	obj = obj_find(core, STR("a"));
	t_lose(core, obj, 1);
	for (unsigned i = 0; i < 2; i++) {
		task = t_next_pass(core, &found);
		assert_non_null(task);
		old[i] = task->id;
		rep = obj_replica(obj, task->target);
		segment_start_unmount(core, rep->extents[0].seg);
		segments_reap(core, UINT32_MAX);
	}
	task = t_next_pass(core, &found);
	assert_non_null(task);
	target = task->target;
	assert_int_equal(t_task_end(core, old[0], true),
			 MOONCAKE_REPLICA_IS_GONE);
	assert_int_equal(t_readable(obj), 1);
	assert_int_equal(t_task_end(core, old[1], false), 0);
	assert_non_null(obj_replica(obj, target));
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(t_readable(obj), 2);
	core_destroy(core);
}

/* What was written twice may be written once more after the object's end. */
static void test_resent_copy_rests(void **state)
{
	struct core *core = t_pool(2);
	struct task_result result = {.is_good = true, .is_resent = true};
	struct object *obj, *found;
	struct task *task;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	obj = obj_find(core, STR("a"));
	t_lose(core, obj, 0);
	task = t_next(core, &found);
	result.id = task->id;
	assert_int_equal(copy_end(core, &T_CLIENT, &result), 0);
	obj_destroy(core, obj);
	quarantine_release(core);
	assert_true(core->quarantine.count > 0);
	t_pass(core, core->opts.write_ns + core->opts.margin_ns);
	quarantine_release(core);
	assert_int_equal(core->quarantine.count, 0);
	core_destroy(core);
}

/* So may what has failed at the end of its time. */
static void test_failed_copy_rests(void **state)
{
	struct core *core = t_pool(2);
	struct object *obj, *found;
	struct task *task;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	obj = obj_find(core, STR("a"));
	t_lose(core, obj, 0);
	task = t_next(core, &found);
	t_pass(core, task->deadline_ns - core->now_ns - 1);
	assert_int_equal(t_task_end(core, task->id, false), 0);
	t_pass(core, core->opts.write_ns + core->opts.margin_ns - 1);
	quarantine_release(core);
	assert_true(core->quarantine.count > 0);
	t_pass(core, 1);
	quarantine_release(core);
	assert_int_equal(core->quarantine.count, 0);
	core_destroy(core);
}

static void test_eviction_is_no_loss(void **state)
{
	struct core *core = t_pool(2);
	struct object *found;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	assert_true(t_evict(core, KIND_NOF) > 0);
	copy_is_due(core);
	assert_null(t_next(core, &found));
	core_destroy(core);
}

/* The namespace that drained was registered again while its object was copied:
 * who evicts the one too many leaves one that is to stay. */
static void test_eviction_of_a_surplus(void **state)
{
	struct core *core = t_pool(1);
	struct segment *seg = core->online[KIND_NOF][0];
	struct object *obj, *found;
	struct task *task;

	assert_int_equal(t_put(core, "a", MiB, 0, 1), 0);
	obj = obj_find(core, STR("a"));
	t_segment(core, KIND_NOF, 1, 16 * MiB);
	segment_set_draining(core, seg, true);
	task = t_next(core, &found);
	assert_non_null(task);
	segment_set_draining(core, seg, false);
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(t_readable(obj), 2);
	assert_int_equal(t_evict(core, KIND_NOF), MiB);
	seg = obj->replicas->extents[0].seg;
	segment_set_draining(core, seg, true);
	task = t_next_pass(core, &found);
	assert_non_null(task);
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(seg->replicas, 0);
	assert_int_equal(t_evict(core, KIND_NOF), MiB);
	assert_null(obj_find(core, STR("a")));
	core_destroy(core);
}

/* A copy neither takes the place that the end of its lease gives an object,
 * nor does the object go while it is copied. */
static void test_copied_keeps_its_place(void **state)
{
	struct core *core = t_pool(2);
	struct object *found;
	struct segment *seg;
	struct task *task;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	assert_int_equal(t_put(core, "b", MiB, 0, 2), 0);
	t_lose(core, obj_find(core, STR("a")), 0);
	assert_int_equal(t_get(core, "a"), 0);
	t_pass(core, core->opts.lease_ns / 2);
	assert_int_equal(t_get(core, "b"), 0);
	seg = obj_find(core, STR("a"))->replicas->extents[0].seg;
	task = t_next(core, &found);
	assert_ptr_equal(found, obj_find(core, STR("a")));
	t_pass(core, core->opts.lease_ns / 2);
	assert_int_equal(t_evict(core, KIND_NOF), 0);
	assert_int_equal(t_task_end(core, task->id, false), 0);
	/* b is leased, and does not shield a; whose last reader has a margin.
	 */
	assert_int_equal(t_evict(core, KIND_NOF), MiB);
	assert_null(obj_find(core, STR("a")));
	assert_int_equal(seg->quarantined, MiB);
	core_destroy(core);
}

/* The same of one that fails while the lease is there. */
static void test_failed_copy_keeps_its_place(void **state)
{
	struct core *core = t_pool(2);
	struct object *found;
	struct task *task;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	assert_int_equal(t_put(core, "b", MiB, 0, 2), 0);
	t_lose(core, obj_find(core, STR("a")), 0);
	assert_int_equal(t_get(core, "a"), 0);
	t_pass(core, core->opts.lease_ns / 2);
	assert_int_equal(t_get(core, "b"), 0);
	task = t_next(core, &found);
	assert_int_equal(t_task_end(core, task->id, false), 0);
	assert_int_equal(t_evict(core, KIND_NOF), 0);
	t_pass(core, core->opts.lease_ns / 2);
	assert_int_equal(t_evict(core, KIND_NOF), MiB);
	assert_null(obj_find(core, STR("a")));
	core_destroy(core);
}

static void test_drain_moves(void **state)
{
	struct core *core = t_pool(2);
	struct object *obj, *found;
	struct segment *seg;
	struct task *task;
	unsigned n = 0;
	char key[8];

	for (unsigned i = 0; i < 8; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(t_put(core, key, MiB, 0, 1), 0);
	}
	seg = core->online[KIND_NOF][0];
	n = (unsigned)seg->replicas;
	assert_true(n > 0 && n < 8);
	segment_set_draining(core, seg, true);
	assert_true(copy_is_moving(core));
	while ((task = t_next(core, &found)))
		assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_false(copy_is_moving(core));
	assert_int_equal(seg->replicas, 0);
	assert_int_equal(seg->moved, n);
	assert_int_equal(seg->moved_bytes, n * MiB);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		obj = obj_find(core, str_of(key));
		assert_int_equal(t_readable(obj), 1);
	}
	core_destroy(core);
}

/* A put that ends on a namespace that drains, when the pass of copies has gone
 * past it: what was acknowledged is moved like the rest. */
static void test_drain_moves_what_ends_there(void **state)
{
	struct core *core = t_pool(1);
	struct segment *seg = core->online[KIND_NOF][0];
	struct object *found;
	struct task *task;

	assert_int_equal(t_start(core, "a", MiB, 0, 1), 0);
	t_segment(core, KIND_NOF, 1, 16 * MiB);
	segment_set_draining(core, seg, true);
	assert_null(t_next(core, &found));
	assert_false(copy_is_moving(core));
	assert_int_equal(t_end(core, "a"), 0);
	assert_true(copy_is_moving(core));
	task = t_next(core, &found);
	assert_non_null(task);
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(seg->replicas, 0);
	assert_int_equal(t_readable(found), 1);
	core_destroy(core);
}

/* Away for a while is waited for, away for long is not; what comes back then is
 * one too many. */
static void test_offline_for_long(void **state)
{
	struct core *core = t_pool(3);
	struct object *obj, *found;
	struct segment *seg;
	struct task *task;

	assert_int_equal(t_put(core, "a", MiB, 0, 2), 0);
	obj = obj_find(core, STR("a"));
	seg = obj_replica(obj, 0)->extents[0].seg;
	segment_set_state(core, seg, SEG_OFFLINE, "away");
	assert_null(t_next(core, &found));
	t_pass(core, core->opts.lost_ns - 1);
	assert_null(t_next(core, &found));
	t_pass(core, core->opts.lost_ns + 1);
	task = t_next(core, &found);
	assert_non_null(task);
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(t_readable(obj), 2);
	assert_int_equal(obj->replica_count, 2);
	assert_int_equal(seg->replicas, 0);
	core_destroy(core);
}

static void test_bandwidth(void **state)
{
	struct core *core = t_pool(3);
	struct object *found;
	unsigned looks = T_LOOKS;
	struct task *task;
	uint64_t wait_ns;

	core->opts.copy_bytes_per_s = MiB;
	assert_int_equal(t_put(core, "a", 4 * MiB, 0, 2), 0);
	assert_int_equal(t_put(core, "b", 4 * MiB, 0, 2), 0);
	t_lose(core, obj_find(core, STR("a")), 0);
	t_lose(core, obj_find(core, STR("b")), 0);
	task = t_next(core, &found);
	assert_non_null(task);
	assert_int_equal(task->deadline_ns,
			 core->now_ns + core->opts.write_ns + 8 * NS_PER_S);
	assert_null(copy_next(core, &T_CLIENT, &looks, &found, &wait_ns));
	assert_int_equal(wait_ns, 4 * NS_PER_S);
	t_pass(core, wait_ns);
	assert_non_null(t_next(core, &found));
	core_destroy(core);
}

/* That there is no limit, or a high one, makes nobody faster. */
static void test_time_of_large_ones(void **state)
{
	static const uint64_t paces[] = {0, GiB, 64 * MiB};

	for (size_t i = 0; i < ARRAY_SIZE(paces); i++) {
		struct core *core = t_pool(0);
		struct object *found;
		struct task *task;

		core->opts.copy_bytes_per_s = paces[i];
		for (unsigned n = 0; n < 3; n++)
			t_segment(core, KIND_NOF, n, 4 * GiB);
		assert_int_equal(t_put(core, "a", 2 * GiB, 0, 2), 0);
		t_lose(core, obj_find(core, STR("a")), 0);
		task = t_next(core, &found);
		assert_non_null(task);
		assert_int_equal(task->deadline_ns - core->now_ns,
				 core->opts.write_ns + 64 * NS_PER_S);
		core_destroy(core);
	}
}

/* A memory replica that was the only one of its kind is not made again; one of
 * two is, and stands before those of the pool. */
static void test_memory(void **state)
{
	struct core *core = t_pool(2);
	struct object *obj, *found;
	struct task *task;

	for (unsigned i = 0; i < 3; i++)
		t_segment(core, KIND_MEM, i, 16 * MiB);
	assert_int_equal(t_put(core, "one", MiB, 1, 1), 0);
	assert_int_equal(t_put(core, "two", MiB, 2, 1), 0);
	t_lose(core, obj_find(core, STR("one")), 0);
	obj = obj_find(core, STR("two"));
	t_lose(core, obj, 1);
	task = t_next(core, &found);
	assert_ptr_equal(found, obj);
	assert_int_equal(obj_replica(obj, task->target)->kind, KIND_MEM);
	assert_int_equal(t_task_end(core, task->id, true), 0);
	assert_int_equal(obj->replicas->kind, KIND_MEM);
	assert_int_equal(obj->replicas->next->kind, KIND_MEM);
	assert_int_equal(obj->replicas->next->next->kind, KIND_NOF);
	assert_null(t_next(core, &found));
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lost_is_copied),
		cmocka_unit_test(test_two_are_lost),
		cmocka_unit_test(test_task_that_is_late),
		cmocka_unit_test(test_object_goes_meanwhile),
		cmocka_unit_test(test_source_lost_meanwhile),
		cmocka_unit_test(test_report_that_is_late),
		cmocka_unit_test(test_report_from_elsewhere),
		cmocka_unit_test(test_target_goes_meanwhile),
		cmocka_unit_test(test_resent_copy_rests),
		cmocka_unit_test(test_failed_copy_rests),
		cmocka_unit_test(test_eviction_is_no_loss),
		cmocka_unit_test(test_eviction_of_a_surplus),
		cmocka_unit_test(test_copied_keeps_its_place),
		cmocka_unit_test(test_failed_copy_keeps_its_place),
		cmocka_unit_test(test_drain_moves),
		cmocka_unit_test(test_drain_moves_what_ends_there),
		cmocka_unit_test(test_offline_for_long),
		cmocka_unit_test(test_bandwidth),
		cmocka_unit_test(test_time_of_large_ones),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
