/* SPDX-License-Identifier: Apache-2.0 */
/* The journal over files: lives, snapshots, a full disk, and who may have it.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "life.h"

/* --- a disk that can't be written to --- */

static struct {
	_Atomic(unsigned) fail_at; /* the sync of that number fails; 0 = none */
	_Atomic(unsigned) count;
	_Atomic(ino_t) files[64]; /* what was synced */
} syncs;

/* As Linux does it: an error is told once. */
int fdatasync(int fd)
{
	unsigned i = atomic_fetch_add(&syncs.count, 1);
	struct stat st;

	if (i + 1 == syncs.fail_at)
		return (int)syscall(SYS_fdatasync, -1);
	if (i < ARRAY_SIZE(syncs.files) && fstat(fd, &st) == 0)
		syncs.files[i] = st.st_ino;
	return (int)syscall(SYS_fdatasync, fd);
}

static void fail_sync(unsigned at)
{
	syncs.count = 0;
	syncs.fail_at = at;
}

static void test_lives(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	assert_int_equal(life.count, 0);
	append(&life, 1);
	append(&life, 2);
	assert_int_equal(life.j->ops->commit(life.j), 0);
	append(&life, 3);
	end(&life); /* commits */
	for (unsigned i = 0; i < 3; i++) {
		begin(&life, &d);
		assert_int_equal(life.count, 3);
		assert_int_equal(life.sum, (1 * 31 + 2) * 31 + 3);
		end(&life);
	}
	begin(&life, &d);
	append(&life, 4);
	life.j->ops->commit(life.j);
	life.j->ops->sync(life.j);
	settle(&life);
	assert_int_equal(life.synced, 1);
	assert_int_equal(life.ret, 0);
	again(&life, &d);
	assert_int_equal(life.count, 4);
	end(&life);
	t_dir_close(&d);
}

static void write_snapshot(struct life *life)
{
	save_record(life, 50);
	life->j->ops->snap_push(life->j);
	settle(life);
	assert_int_equal(life->pushed, 1);
	assert_int_equal(life->ret, 0);
	save_record(life, 51);
	append(life, 52);
	assert_int_equal(life->j->ops->commit(life->j), 0);
	life->j->ops->snap_end(life->j);
	settle(life);
	assert_int_equal(life->ended, 1);
	assert_int_equal(life->ret, 0);
}

static void test_snapshot(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	for (unsigned i = 0; i < 3; i++) {
		begin(&life, &d);
		append(&life, 1);
		assert_int_equal(life.j->ops->snap_begin(life.j), 0);
		write_snapshot(&life);
		/* Older logs and snapshots are gone. */
		assert_int_equal(count_files(&d), 2);
		again(&life, &d);
		assert_int_equal(life.report.snapshot_records, 2);
		assert_int_equal(life.count, 3);
		assert_int_equal(life.sum, (50 * 31 + 51) * 31 + 52);
		end(&life);
	}
	/* One that is not finished changes nothing. */
	begin(&life, &d);
	append(&life, 7);
	assert_int_equal(life.j->ops->snap_begin(life.j), 0);
	save_record(&life, 9);
	life.j->ops->snap_push(life.j);
	settle(&life);
	life.j->ops->snap_abort(life.j);
	append(&life, 8);
	again(&life, &d);
	assert_int_equal(life.count, 5);
	end(&life);
	t_dir_close(&d);
}

static void test_full_disk(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	fill_disk(&life);
	/* Dropped: whoever appends was told. */
	append(&life, 2);
	assert_false(life.j->has_news);
	limit_files(RLIM_INFINITY);
	/* Killed now, the state is the one that was acknowledged. */
	assert_int_equal(life.j->ops->snap_begin(life.j), 0);
	append(&life, 3);
	assert_int_equal(life.j->ops->commit(life.j), 0);
	life.j->ops->snap_abort(life.j);
	again(&life, &d);
	assert_int_equal(life.count, 1);
	assert_int_equal(life.sum, 1);
	end(&life);
	t_dir_close(&d);
}

static void test_full_disk_recovers(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	fill_disk(&life);
	limit_files(100);
	assert_int_equal(life.j->ops->snap_begin(life.j), -EFBIG);
	assert_true(life.j->is_failed);
	limit_files(RLIM_INFINITY);
	assert_int_equal(life.j->ops->snap_begin(life.j), 0);
	assert_false(life.j->is_failed);
	write_snapshot(&life);
	append(&life, 4);
	again(&life, &d);
	assert_int_equal(life.count, 4);
	assert_int_equal(life.sum, ((50 * 31 + 51) * 31 + 52) * 31 + 4);
	end(&life);
	t_dir_close(&d);
}

static uint64_t sum_of(const char *bytes, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = sum * 31 + (uint64_t)bytes[i];
	return sum;
}

/* Another snapshot of the same place cannot be begun, or is begun on a full
 * disk: the log goes on where it is. */
static void test_snapshot_begun_twice(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	append(&life, 1);
	assert_int_equal(life.j->ops->snap_begin(life.j), 0);
	write_snapshot(&life);
	append(&life, 2);
	assert_int_equal(life.j->ops->snap_begin(life.j), 0);
	settle(&life);
	life.j->ops->snap_abort(life.j);
	limit_files(100);
	if (life.j->ops->snap_begin(life.j) == 0)
		life.j->ops->snap_abort(life.j);
	limit_files(RLIM_INFINITY);
	settle(&life);
	append(&life, 4);
	assert_int_equal(life.j->ops->commit(life.j), 0);
	again(&life, &d);
	assert_int_equal(life.count, 5);
	assert_int_equal(life.sum, sum_of((char[]){50, 51, 52, 2, 4}, 5));
	end(&life);
	t_dir_close(&d);
}

/* Its first snapshot fails, too, and the master dies in the second: nothing of
 * either counts. */
static void full_disk_for(unsigned tries)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	fill_disk(&life);
	limit_files(RLIM_INFINITY);
	for (unsigned i = 0; i < tries; i++) {
		assert_int_equal(life.j->ops->snap_begin(life.j), 0);
		if (i == 2)
			append(&life, 2);
		assert_int_equal(life.j->ops->commit(life.j), 0);
		settle(&life);
		life.j->ops->snap_abort(life.j);
	}
	again(&life, &d);
	assert_int_equal(life.count, 1);
	end(&life);
	t_dir_close(&d);
}

static void test_full_disk_for_longer(void **state)
{
	for (unsigned tries = 1; tries < 5; tries++)
		full_disk_for(tries);
}

/* A new beginning, and what a start reads then. */
static void mend(struct life *life, struct t_dir *d)
{
	assert_true(life->j->is_failed);
	life->pushed = life->ended = 0;
	assert_int_equal(life->j->ops->snap_begin(life->j), 0);
	assert_false(life->j->is_failed);
	write_snapshot(life);
	append(life, 4);
	assert_int_equal(life->j->ops->commit(life->j), 0);
	life->j->ops->sync(life->j);
	settle(life);
	assert_int_equal(life->ret, 0);
	end(life);
	begin(life, d);
	assert_int_equal(life->count, 4);
	assert_int_equal(life->sum, sum_of((char[]){50, 51, 52, 4}, 4));
	end(life);
}

/* One that somebody waits for. */
static void test_sync_fails(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	append(&life, 1);
	assert_int_equal(life.j->ops->commit(life.j), 0);
	fail_sync(1);
	life.j->ops->sync(life.j);
	settle(&life);
	assert_int_equal(life.ret, -EBADF);
	mend(&life, &d);
	t_dir_close(&d);
}

/* That of a snapshot's log: the next one of the same log is not believed. */
static void test_sync_fails_at_the_end(void **state)
{
	struct life life;
	struct t_dir d;
	unsigned files;

	t_dir_open(&d);
	begin(&life, &d);
	append(&life, 1);
	assert_int_equal(life.j->ops->snap_begin(life.j), 0);
	save_record(&life, 50);
	append(&life, 2);
	assert_int_equal(life.j->ops->commit(life.j), 0);
	settle(&life);
	files = count_files(&d);
	fail_sync(1);
	life.j->ops->snap_end(life.j);
	life.j->ops->sync(life.j); /* before anybody knows */
	settle(&life);
	assert_int_equal(life.synced, 1);
	assert_int_equal(life.ret, -EBADF);
	assert_int_equal(life.ended, 1);
	assert_int_equal(count_files(&d), files); /* nothing is given up */
	mend(&life, &d);
	t_dir_close(&d);
}

/* A sync fails, and a snapshot's end comes before anybody knows. */
static void test_snapshot_after_a_failed_sync(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	append(&life, 1);
	assert_int_equal(life.j->ops->snap_begin(life.j), 0);
	save_record(&life, 50);
	append(&life, 2);
	assert_int_equal(life.j->ops->commit(life.j), 0);
	settle(&life);
	fail_sync(1);
	life.j->ops->sync(life.j);
	life.j->ops->snap_end(life.j);
	settle(&life);
	assert_int_equal(life.ended, 1);
	assert_int_equal(life.ret, -EBADF);
	mend(&life, &d);
	t_dir_close(&d);
}

/* A full log can't be synced: what follows in the next one does not count. */
static void test_old_log_is_lost(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	append(&life, 1);
	fail_sync(1);
	assert_int_equal(life.j->ops->snap_begin(life.j), 0);
	settle(&life);
	append(&life, 2);
	assert_int_equal(life.j->ops->commit(life.j), 0);
	life.j->ops->sync(life.j);
	settle(&life);
	assert_int_equal(life.ret, -EBADF);
	life.j->ops->snap_abort(life.j);
	mend(&life, &d);
	t_dir_close(&d);
}

/* What a master that was killed had not synced is, before another one goes on
 * from it.  Of one that never syncs, too: its life's epochs must not get to a
 * superblock and be lost here. */
static void logs_are_synced_at_start(bool never_sync)
{
	struct life life;
	struct t_dir d;
	struct stat st;
	bool is_synced = false;

	t_dir_open(&d);
	assert_int_equal(try_begin_as(&life, &d, "c", never_sync), 0);
	append(&life, 1);
	end(&life);
	assert_int_equal(fstatat(d.fd, "journal-0000000000000001.log", &st, 0),
			 0);
	memset(&syncs, 0, sizeof(syncs));
	assert_int_equal(try_begin_as(&life, &d, "c", never_sync), 0);
	for (size_t i = 0; i < ARRAY_SIZE(syncs.files); i++)
		is_synced |= syncs.files[i] == st.st_ino;
	assert_true(is_synced);
	end(&life);
	fail_sync(1);
	assert_int_equal(try_begin_as(&life, &d, "c", never_sync), -EBADF);
	fail_sync(0);
	t_dir_close(&d);
}

static void test_logs_are_synced_at_start(void **state)
{
	logs_are_synced_at_start(false);
	logs_are_synced_at_start(true);
}

static void cut_last_byte(struct t_dir *d, const char *name)
{
	uint8_t *bytes;
	size_t n;

	bytes = t_dir_read(d, name, &n);
	t_dir_write(d, name, bytes, n - 1);
	free(bytes);
}

/* Nothing was synced, and the power takes the end of a log that is not the
 * last one.  What follows is void, in the next mode, too. */
static void test_power_fails_unsynced(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	assert_int_equal(try_begin_as(&life, &d, "c", true), 0);
	append(&life, 1);
	append(&life, 2);
	assert_int_equal(life.j->ops->commit(life.j), 0);
	assert_int_equal(life.j->ops->snap_begin(life.j), 0);
	settle(&life);
	life.j->ops->snap_abort(life.j);
	append(&life, 3);
	end(&life);
	cut_last_byte(&d, "journal-0000000000000001.log");
	begin(&life, &d);
	assert_int_equal(life.count, 1);
	append(&life, 4);
	again(&life, &d);
	assert_int_equal(life.sum, sum_of((char[]){1, 4}, 2));
	end(&life);
	/* This one was synced. */
	cut_last_byte(&d, "journal-0000000000000001.log");
	assert_int_equal(try_begin(&life, &d, "c"), -EBADMSG);
	t_dir_close(&d);
}

static void test_one_master(void **state)
{
	struct life life, other;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	assert_int_equal(try_begin(&other, &d, "c"), -EBUSY);
	append(&life, 1);
	end(&life);
	assert_int_equal(try_begin(&other, &d, "another"), -EINVAL);
	begin(&life, &d);
	assert_int_equal(life.count, 1);
	end(&life);
	t_dir_close(&d);
}

static void test_cut(void **state)
{
	struct jr_report report;
	struct err err = {0};
	struct life life;
	struct t_dir d;
	uint8_t *bytes;
	size_t n;

	t_dir_open(&d);
	begin(&life, &d);
	for (char c = 1; c < 10; c++)
		append(&life, c);
	end(&life);
	assert_int_equal(files_cut(d.path, read_any, &report, &err), 0);
	bytes = t_dir_read(&d, "journal-0000000000000001.log", &n);
	bytes[JR_HEADER_BYTES + 4 * (JR_FRAME_BYTES + 1) + 3] ^= 1;
	t_dir_write(&d, "journal-0000000000000001.log", bytes, n);
	free(bytes);
	assert_int_equal(try_begin(&life, &d, "c"), -EBADMSG);
	assert_int_equal(files_cut(d.path, read_any, &report, &err), 1);
	begin(&life, &d);
	assert_int_equal(life.count, 4);
	end(&life);
	t_dir_close(&d);
}

/* A file of a log that was never begun, as a power failure brings it back. */
static void test_bare_logs_go(void **state)
{
	static const char *const bare[] = {"journal-0000000000000002.log",
					   "journal-0000000000000004.log"};
	struct jr_report report;
	struct err err = {0};
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	for (char c = 1; c < 4; c++)
		append(&life, c);
	end(&life);
	for (size_t i = 0; i < ARRAY_SIZE(bare); i++)
		t_dir_write(&d, bare[i], "MCJRNLOG", 8);
	begin(&life, &d);
	assert_int_equal(life.count, 3);
	append(&life, 4);
	again(&life, &d);
	assert_int_equal(life.count, 4);
	end(&life);
	assert_int_equal(faccessat(d.fd, bare[0], F_OK, 0), -1);
	/* One that had something in it: nothing is removed, but by an
	 * operator. */
	t_dir_write(&d, bare[1], "", 0);
	assert_int_equal(try_begin(&life, &d, "c"), -EBADMSG);
	assert_int_equal(files_cut(d.path, read_any, &report, &err), 1);
	begin(&life, &d);
	assert_int_equal(life.count, 3);
	end(&life);
	t_dir_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lives),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_full_disk_recovers),
		cmocka_unit_test(test_snapshot_begun_twice),
		cmocka_unit_test(test_full_disk_for_longer),
		cmocka_unit_test(test_sync_fails),
		cmocka_unit_test(test_sync_fails_at_the_end),
		cmocka_unit_test(test_snapshot_after_a_failed_sync),
		cmocka_unit_test(test_old_log_is_lost),
		cmocka_unit_test(test_logs_are_synced_at_start),
		cmocka_unit_test(test_power_fails_unsynced),
		cmocka_unit_test(test_one_master),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_bare_logs_go),
	};

	signal(SIGXFSZ, SIG_IGN);
	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
