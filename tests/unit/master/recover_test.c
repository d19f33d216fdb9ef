/* SPDX-License-Identifier: Apache-2.0 */
/* What a restart keeps from being used again, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "master/copy.h"
#include "master/group.h"
#include "master/note.h"
#include "master/recover.h"
#include "t_core.h"
#include "t_journal.h"

static struct core *slow_core(void)
{
	struct core_opts opts;

	core_opts_default(&opts);
	opts.seed = 1;
	opts.copy_bytes_per_s = MiB;
	return t_core(&opts);
}

static struct core *restart_as(struct core *core,
			       const struct t_journal *journal, bool has_snap)
{
	struct recovery *rec;
	struct err err = {0};

	assert_int_equal(recovery_create(core, &rec), 0);
	t_journal_replay(journal, has_snap, journal->log_count, recovery_apply,
			 rec);
	assert_int_equal(recovery_finish(rec, &err), 0);
	return core;
}

static struct core *restart(const struct t_journal *journal, bool has_snap)
{
	return restart_as(slow_core(), journal, has_snap);
}

/* When the last of what rests may be used again. */
static uint64_t last_rest_ns(const struct core *core)
{
	const struct quarantine *q = &core->quarantine;
	uint64_t last_ns = 0;

	assert_true(q->count > 0);
	for (size_t i = 0; i < q->count; i++)
		last_ns = MAX(last_ns, q->heap[i].release_ns);
	return last_ns - core->now_ns;
}

static struct task *next_task(struct core *core)
{
	unsigned looks = 10;
	struct object *obj;
	uint64_t wait_ns;

	return copy_next(core, &T_CLIENT, &looks, &obj, &wait_ns);
}

/* Also: who ends a task of the former life does not end one of this. */
static void check_restart(const struct t_journal *journal, bool has_snap,
			  const struct task *old, uint64_t left_ns)
{
	struct core *core = restart(journal, has_snap);
	struct segment *seg;
	struct task *task;

	assert_true(last_rest_ns(core) >= left_ns);
	list_for_each (seg, &core->segments, node)
		segment_set_state(core, seg, SEG_ONLINE, "");
	task = next_task(core);
	assert_non_null(task);
	assert_true(task->id > old->id);
	assert_true(task->target != old->target);
	core_destroy(core);
}

static void save(struct core *core, struct t_journal *journal)
{
	struct object *obj;

	t_journal_forget_snap(journal);
	journal->snap_at = journal->log_count;
	save_rest(core);
	list_for_each (obj, &core->all, all_node)
		save_object(core, obj);
}

/* Who copies at the pace asked for has longer than who puts: its target rests
 * until then also when the master has come up again, from the log or from a
 * snapshot, and whether the task is under way or has failed. */
static void test_copy_has_its_time(void **state)
{
	struct core *core = slow_core();
	struct t_journal *journal = t_journal_create();
	struct task *task, old;
	struct object *obj;
	uint64_t left_ns;

	assert_int_equal(notes_init(core, &journal->j), 0);
	for (unsigned i = 0; i < 3; i++)
		t_segment(core, KIND_NOF, i, 16 * MiB);
	assert_int_equal(t_put(core, "a", 4 * MiB, 0, 2), 0);
	obj = obj_find(core, STR("a"));
	get_report_bad(core, obj_key(obj),
		       &(struct bad_replica){.generation = obj->generation,
					     .index = 0});
	task = next_task(core);
	assert_non_null(task);
	/* What was sent in time has a while longer. */
	left_ns = task->deadline_ns - core->now_ns + core->opts.discard_ns -
		  core->opts.write_ns;
	assert_true(left_ns > core->opts.discard_ns + core->opts.margin_ns);
	old = *task;
	check_restart(journal, false, &old, left_ns);
	save(core, journal);
	check_restart(journal, true, &old, left_ns);
	assert_int_equal(copy_end(core, &T_CLIENT,
				  &(struct task_result){.id = task->id}),
			 0);
	left_ns -= core->opts.discard_ns - core->opts.write_ns;
	save(core, journal);
	check_restart(journal, true, &old, left_ns);
	notes_fini(core);
	core_destroy(core);
	t_journal_destroy(journal);
}

/* A life that gives no number of its own, and whose snapshot is all that is
 * left, hands on what it was told. */
static void test_numbers_stay_used(void **state)
{
	struct t_journal *first = t_journal_create();
	struct t_journal *second = t_journal_create();
	struct core *core = slow_core(), *next;
	uint64_t generation;
	uint32_t segment_no;

	assert_int_equal(notes_init(core, &first->j), 0);
	t_segment(core, KIND_NOF, 0, 16 * MiB);
	assert_int_equal(t_put(core, "a", MiB, 0, 1), 0);
	generation = core->generation;
	segment_no = core->segment_no;
	next = restart(first, false);
	assert_true(next->generation > generation);
	assert_true(next->segment_no > segment_no);
	generation = next->generation;
	segment_no = next->segment_no;
	assert_int_equal(notes_init(next, &second->j), 0);
	save(next, second);
	notes_fini(next);
	core_destroy(next);
	next = restart(second, true);
	assert_true(next->generation >= generation);
	assert_true(next->segment_no >= segment_no);
	core_destroy(next);
	notes_fini(core);
	core_destroy(core);
	t_journal_destroy(first);
	t_journal_destroy(second);
}

static void put_in_group(struct core *core, const char *key)
{
	struct put_ask ask = t_ask(core, 0, 1);
	struct object *obj;

	ask.group = STR("a group");
	assert_int_equal(put_start(core, &ask, str_of(key), 4096, &obj), 0);
	assert_int_equal(t_end(core, key), 0);
}

static void check_groups(const struct t_journal *journal, bool has_snap)
{
	struct core *core = restart(journal, has_snap);

	assert_int_equal(core->groups.count, 1);
	assert_int_equal(core->members.count, 2);
	assert_true(str_eq(group_id(core, obj_find(core, STR("a"))),
			   STR("a group")));
	assert_int_equal(group_id(core, obj_find(core, STR("c"))).n, 0);
	core_destroy(core);
}

/* Also of an object that was told twice. */
static void test_groups_are_kept(void **state)
{
	struct core *core = slow_core();
	struct t_journal *journal = t_journal_create();

	assert_int_equal(notes_init(core, &journal->j), 0);
	t_segment(core, KIND_NOF, 0, 16 * MiB);
	put_in_group(core, "a");
	put_in_group(core, "b");
	put_in_group(core, "gone");
	assert_int_equal(t_put(core, "c", 4096, 0, 1), 0);
	obj_destroy(core, obj_find(core, STR("gone")));
	check_groups(journal, false);
	save(core, journal);
	note_object(core, obj_find(core, STR("a")));
	check_groups(journal, true);
	notes_fini(core);
	core_destroy(core);
	t_journal_destroy(journal);
}

/* 0 or -errno. */
static int tell_group(struct recovery *rec, const char *key,
		      uint64_t generation, struct str group, size_t cut)
{
	struct jr_group r = {
		.generation = generation, .key = str_of(key), .group = group};
	struct strbuf body = {0};
	struct jr_frame frame = {.type = JR_GROUP};
	struct err err = {0};
	int ret;

	jr_group_encode(&r, &body);
	frame.body = (const uint8_t *)body.p;
	frame.len = (uint32_t)(body.n - cut);
	ret = recovery_apply(&frame, rec, &err);
	strbuf_fini(&body);
	return ret;
}

/* A record counts for the very object that it names, and once. */
static void test_group_records(void **state)
{
	struct core *core = slow_core();
	struct t_journal *journal = t_journal_create();
	struct recovery *rec;
	struct err err = {0};
	uint64_t generation;

	assert_int_equal(notes_init(core, &journal->j), 0);
	t_segment(core, KIND_NOF, 0, 16 * MiB);
	assert_int_equal(t_put(core, "a", 4096, 0, 1), 0);
	assert_int_equal(t_put(core, "b", 4096, 0, 1), 0);
	generation = obj_find(core, STR("a"))->generation;
	notes_fini(core);
	core_destroy(core);
	core = slow_core();
	assert_int_equal(recovery_create(core, &rec), 0);
	t_journal_replay(journal, false, journal->log_count, recovery_apply,
			 rec);
	assert_int_equal(tell_group(rec, "a", generation, STR("g"), 0), 0);
	assert_int_equal(tell_group(rec, "a", generation, STR("h"), 0), 0);
	assert_int_equal(tell_group(rec, "b", generation, STR("g"), 0), 0);
	assert_int_equal(tell_group(rec, "c", generation, STR("g"), 0), 0);
	assert_true(tell_group(rec, "b", generation + 1, STR("g"), 1) < 0);
	assert_true(tell_group(rec, "b", generation + 1, STR(""), 0) < 0);
	assert_int_equal(recovery_finish(rec, &err), 0);
	assert_int_equal(core->members.count, 1);
	assert_true(str_eq(group_id(core, obj_find(core, STR("a"))), STR("g")));
	core_destroy(core);
	t_journal_destroy(journal);
}

/* A reader of the former life may be at any object for as long as a lease. */
static void test_former_leases(void **state)
{
	struct core *core = slow_core();
	struct t_journal *journal = t_journal_create();

	assert_int_equal(notes_init(core, &journal->j), 0);
	t_segment(core, KIND_NOF, 0, 16 * MiB);
	assert_int_equal(t_put(core, "a", MiB, 0, 1), 0);
	notes_fini(core);
	core_destroy(core);
	core = restart(journal, false);
	assert_int_equal(remove_key(core, STR("a"), false), -706);
	core->now_ns += core->opts.lease_ns;
	assert_int_equal(remove_key(core, STR("a"), false), 0);
	core_destroy(core);
	t_journal_destroy(journal);
}

static enum mooncake_status end_resent(struct core *core, const char *key)
{
	static uint8_t crcs[256];
	struct object *obj = obj_find(core, str_of(key));

	return put_end(core,
		       &(struct put_end){
			       .client = T_CLIENT,
			       .key = str_of(key),
			       .generation = obj->generation,
			       .crcs = {(char *)crcs, obj_crc_count(obj->size) *
							      sizeof(uint32_t)},
			       .is_resent = true,
		       });
}

/* Removed when the lease of the former life's readers is over, it still rests.
 */
static void check_late(const struct t_journal *journal, bool has_snap,
		       uint64_t late_ns)
{
	struct core *core = restart(journal, has_snap);
	struct object *obj = obj_find(core, STR("a"));

	assert_non_null(obj);
	t_pass(core, core->opts.lease_ns + core->opts.margin_ns);
	late_ns -= core->opts.lease_ns + core->opts.margin_ns;
	quarantine_release(core);
	obj_destroy(core, obj);
	assert_true(last_rest_ns(core) >= late_ns);
	core_destroy(core);
}

/* What was sent twice may be written for as long after a restart, too. */
static void test_resent_put(void **state)
{
	struct core *core = slow_core();
	struct t_journal *journal = t_journal_create();
	uint64_t late_ns = core->opts.write_ns + core->opts.margin_ns;

	assert_true(late_ns > 2 * core->opts.lease_ns);
	assert_int_equal(notes_init(core, &journal->j), 0);
	t_segment(core, KIND_NOF, 0, 16 * MiB);
	assert_int_equal(t_start(core, "a", MiB, 0, 1), 0);
	assert_int_equal(end_resent(core, "a"), 0);
	check_late(journal, false, late_ns);
	save(core, journal);
	check_late(journal, true, late_ns);
	notes_fini(core);
	core_destroy(core);
	t_journal_destroy(journal);
}

/* This life is in more of a hurry than the one in which it was sent. */
static struct core *hasty_core(void)
{
	struct core_opts opts;

	core_opts_default(&opts);
	opts.seed = 1;
	opts.lease_ns = opts.write_ns = NS_PER_S;
	return t_core(&opts);
}

static void check_late_rest(const struct t_journal *journal, uint64_t late_ns)
{
	struct core *core = restart_as(hasty_core(), journal, true);

	assert_true(last_rest_ns(core) >= late_ns);
	core_destroy(core);
}

/* Also when the object went before the restart: as a whole, by replica, or
 * with another put of its key. */
static void test_resent_put_that_went(void **state)
{
	static const char *const ways[] = {"removed", "lost", "put again"};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct core *core = slow_core();
		struct t_journal *journal = t_journal_create();
		struct segment *seg;
		struct object *obj;

		assert_int_equal(notes_init(core, &journal->j), 0);
		seg = t_segment(core, KIND_NOF, 0, 16 * MiB);
		assert_int_equal(t_start(core, "a", MiB, 0, 1), 0);
		assert_int_equal(end_resent(core, "a"), 0);
		save(core, journal); /* without the grant, which rests, too */
		obj = obj_find(core, STR("a"));
		if (i == 0)
			obj_destroy(core, obj);
		if (i == 1)
			obj_lose_replica(core, obj->replicas);
		if (i == 2) {
			segment_set_state(core, seg, SEG_OFFLINE, "");
			t_segment(core, KIND_NOF, 1, 16 * MiB);
			assert_int_equal(t_put(core, "a", MiB, 0, 1), 0);
		}
		check_late_rest(journal,
				core->opts.write_ns + core->opts.margin_ns);
		notes_fini(core);
		core_destroy(core);
		t_journal_destroy(journal);
	}
}

static void check_tomb(const struct t_journal *journal, bool has_snap,
		       const struct segment *seg, uint64_t left_ns)
{
	struct core *core = restart(journal, has_snap);

	assert_true(segment_tomb(core, &seg->id, "none") - core->now_ns >=
		    left_ns);
	core_destroy(core);
}

/* A namespace that is unregistered while somebody copies slowly to it comes
 * back only when that has ended, whatever was restarted meanwhile. */
static void test_tomb_of_a_copy(void **state)
{
	struct core *core = slow_core();
	struct t_journal *journal = t_journal_create();
	struct segment seg;
	struct object *obj;
	struct task *task;
	uint64_t left_ns;

	assert_int_equal(notes_init(core, &journal->j), 0);
	for (unsigned i = 0; i < 3; i++)
		t_segment(core, KIND_NOF, i, 16 * MiB);
	assert_int_equal(t_put(core, "a", 4 * MiB, 0, 2), 0);
	obj = obj_find(core, STR("a"));
	get_report_bad(core, obj_key(obj),
		       &(struct bad_replica){.generation = obj->generation,
					     .index = 0});
	task = next_task(core);
	assert_non_null(task);
	left_ns = task->deadline_ns - core->now_ns + core->opts.discard_ns -
		  core->opts.write_ns;
	assert_true(left_ns > core->opts.discard_ns + core->opts.margin_ns);
	seg = *obj_replica(obj, task->target)->extents[0].seg;
	segment_start_unmount(core, segment_find(core, &seg.id));
	check_tomb(journal, false, &seg, left_ns);
	save(core, journal); /* it is being emptied */
	check_tomb(journal, true, &seg, left_ns);
	segments_reap(core, UINT32_MAX);
	save(core, journal); /* it is gone */
	check_tomb(journal, true, &seg, left_ns);
	notes_fini(core);
	core_destroy(core);
	t_journal_destroy(journal);
}

/* The same when the restart came first. */
static void test_tomb_of_what_rests(void **state)
{
	struct core *core = slow_core(), *second;
	struct t_journal *journal = t_journal_create();
	struct object *obj;
	struct task *task;
	struct uuid id;
	uint64_t left_ns;

	assert_int_equal(notes_init(core, &journal->j), 0);
	for (unsigned i = 0; i < 3; i++)
		t_segment(core, KIND_NOF, i, 16 * MiB);
	assert_int_equal(t_put(core, "a", 4 * MiB, 0, 2), 0);
	obj = obj_find(core, STR("a"));
	get_report_bad(core, obj_key(obj),
		       &(struct bad_replica){.generation = obj->generation,
					     .index = 0});
	task = next_task(core);
	left_ns = task->deadline_ns - core->now_ns + core->opts.discard_ns -
		  core->opts.write_ns;
	id = obj_replica(obj, task->target)->extents[0].seg->id;
	second = restart(journal, false);
	assert_int_equal(notes_init(second, &journal->j), 0);
	segment_start_unmount(second, segment_find(second, &id));
	check_tomb(journal, false, &(struct segment){.id = id}, left_ns);
	notes_fini(core);
	notes_fini(second);
	core_destroy(core);
	core_destroy(second);
	t_journal_destroy(journal);
}

static struct core *striped_core(void)
{
	struct core_opts opts;

	core_opts_default(&opts);
	opts.seed = 1;
	opts.stripe_bytes = MiB;
	return t_core(&opts);
}

static void check_rests(const struct t_journal *journal, const struct uuid *id,
			uint64_t bytes)
{
	struct core *core = restart(journal, true);

	assert_int_equal(segment_find(core, id)->quarantined, bytes);
	core_destroy(core);
}

/* A part of it lies on a namespace that is unregistered: somebody may still
 * read the others, or write to them, wherever a snapshot comes in between. */
static void test_stripes_of_a_segment_that_goes(void **state)
{
	struct core *core = striped_core();
	struct t_journal *journal = t_journal_create();
	struct segment *one, *two;

	assert_int_equal(notes_init(core, &journal->j), 0);
	one = t_segment(core, KIND_NOF, 0, 16 * MiB);
	two = t_segment(core, KIND_NOF, 1, 16 * MiB);
	assert_int_equal(t_put(core, "a", 4 * MiB, 0, 1), 0);
	assert_int_equal(t_get(core, "a"), 0);
	save(core, journal);
	segment_start_unmount(core, one);
	check_rests(journal, &two->id, 2 * MiB);
	save(core, journal); /* it is being emptied */
	check_rests(journal, &two->id, 2 * MiB);
	segments_reap(core, UINT32_MAX);
	check_rests(journal, &two->id, 2 * MiB);
	save(core, journal); /* it is gone */
	check_rests(journal, &two->id, 2 * MiB);
	notes_fini(core);
	core_destroy(core);
	t_journal_destroy(journal);
}

/* The same of a put under way, which has its time from the start. */
static void test_stripes_of_a_put(void **state)
{
	struct core *core = striped_core(), *next;
	struct t_journal *journal = t_journal_create();
	struct segment *one, *two;

	assert_int_equal(notes_init(core, &journal->j), 0);
	one = t_segment(core, KIND_NOF, 0, 16 * MiB);
	two = t_segment(core, KIND_NOF, 1, 16 * MiB);
	assert_int_equal(t_start(core, "a", 4 * MiB, 0, 1), 0);
	segment_start_unmount(core, one);
	save(core, journal);
	check_rests(journal, &two->id, 2 * MiB);
	next = restart(journal, true);
	assert_true(last_rest_ns(next) >= core->opts.discard_ns);
	core_destroy(next);
	notes_fini(core);
	core_destroy(core);
	t_journal_destroy(journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_stay_used),
		cmocka_unit_test(test_groups_are_kept),
		cmocka_unit_test(test_group_records),
		cmocka_unit_test(test_resent_put),
		cmocka_unit_test(test_resent_put_that_went),
		cmocka_unit_test(test_tomb_of_a_copy),
		cmocka_unit_test(test_tomb_of_what_rests),
		cmocka_unit_test(test_copy_has_its_time),
		cmocka_unit_test(test_former_leases),
		cmocka_unit_test(test_stripes_of_a_segment_that_goes),
		cmocka_unit_test(test_stripes_of_a_put),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
