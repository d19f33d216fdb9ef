/* SPDX-License-Identifier: Apache-2.0 */
/* Lives of masters that go on from one journal, and whose a namespace is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "master/health.h"
#include "master/note.h"
#include "master/recover.h"
#include "t_core.h"
#include "t_journal.h"

static struct t_journal *journal_of_a_pool(void)
{
	struct core *core = t_core(NULL);
	struct t_journal *journal = t_journal_create();

	assert_int_equal(notes_init(core, &journal->j), 0);
	t_segment(core, KIND_NOF, 0, 16 * MiB);
	notes_fini(core);
	core_destroy(core);
	return journal;
}

static struct segment *first(struct core *core)
{
	return list_first(&core->segments, struct segment, node);
}

/* A life that has this journal, or a copy of it. */
static struct core *life(const struct t_journal *journal)
{
	static uint64_t lives;
	struct core_opts opts;
	struct core *core;
	struct recovery *rec;
	struct err err = {0};

	core_opts_default(&opts);
	opts.seed = ++lives;
	core = t_core(&opts);
	assert_int_equal(recovery_create(core, &rec), 0);
	t_journal_replay(journal, false, journal->log_count, recovery_apply,
			 rec);
	assert_int_equal(recovery_finish(rec, &err), 0);
	snprintf(first(core)->identity, sizeof(first(core)->identity), "none");
	return core;
}

static struct vol_probe disk_of(const struct segment *seg, uint64_t epoch)
{
	struct vol_probe probe = {.label = LABEL_OURS};

	probe.ns.size_lba = seg->ns_bytes / 4096;
	probe.ns.lba_bytes = 4096;
	probe.sb.segment = seg->id;
	probe.sb.epoch = epoch;
	return probe;
}

static void expect_fenced(struct core *core, const struct vol_probe *disk)
{
	struct segment *seg = first(core);
	struct superblock sb;

	health_probed(core, seg, disk);
	assert_int_equal(seg->state, SEG_OFFLINE);
	assert_non_null(strstr(seg->message, "fenced: "));
	assert_false(health_is_awaited(seg, disk, &sb));
}

/* Written, and seen by the probe behind it. */
static void adopted(struct core *core, const struct superblock *sb)
{
	struct vol_probe disk = disk_of(first(core), sb->epoch);

	health_adopted(first(core), &(struct vol_label){0});
	health_probed(core, first(core), &disk);
	assert_int_equal(first(core)->state, SEG_ONLINE);
}

/* Each has seen the disk as it was before the other one wrote. */
static void test_two_at_once(void **state)
{
	struct t_journal *journal = journal_of_a_pool();
	struct core *a = life(journal), *b = life(journal);
	struct vol_probe disk = disk_of(first(a), 1);
	struct superblock of_a, of_b;

	assert_true(health_is_awaited(first(a), &disk, &of_a));
	assert_true(health_is_awaited(first(b), &disk, &of_b));
	assert_true(of_a.epoch > 1 && of_b.epoch > 1);
	assert_int_not_equal(of_a.epoch, of_b.epoch);
	/* The one that wrote last has it. */
	disk.sb = of_b;
	adopted(b, &of_b);
	expect_fenced(a, &disk);
	/* Also where the other one had taken it for its own by then. */
	health_adopted(first(a), &(struct vol_label){0});
	segment_set_state(a, first(a), SEG_ONLINE, "");
	expect_fenced(a, &disk);
	core_destroy(a);
	core_destroy(b);
	t_journal_destroy(journal);
}

/* However few of its lives the journal has not seen, and by however much their
 * epochs grew. */
static void test_journal_is_older(void **state)
{
	struct t_journal *journal = journal_of_a_pool();

	for (unsigned i = 0; i < 20; i++) {
		struct core *a = life(journal), *b = life(journal);
		struct vol_probe disk = disk_of(first(a), 1);
		struct superblock sb;

		assert_true(health_is_awaited(first(a), &disk, &sb));
		disk.sb = sb;
		adopted(a, &sb);
		expect_fenced(b, &disk);
		core_destroy(a);
		core_destroy(b);
	}
	t_journal_destroy(journal);
}

/* What this life has written itself, and could not read back, or what any
 * former life has left. */
static void test_own(void **state)
{
	struct t_journal *journal = journal_of_a_pool();
	struct core *core = life(journal);
	struct vol_probe disk = disk_of(first(core), 0);
	struct superblock sb, again;

	assert_true(health_is_awaited(first(core), &disk, &sb));
	disk.sb = sb;
	assert_true(health_is_awaited(first(core), &disk, &again));
	assert_int_equal(again.epoch, sb.epoch);
	adopted(core, &again);
	core_destroy(core);
	t_journal_destroy(journal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_at_once),
		cmocka_unit_test(test_journal_is_older),
		cmocka_unit_test(test_own),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
