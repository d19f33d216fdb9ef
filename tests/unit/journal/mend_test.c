/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots that come to nothing, and what they leave. */
#include <signal.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "life.h"

static _Atomic bool is_dir_broken;

int fsync(int fd)
{
	struct stat st;
	bool fails =
		is_dir_broken && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);

	return (int)syscall(SYS_fsync, fails ? -1 : fd);
}

/* A snapshot of two records, and one in the log behind it. */
static int try_snapshot(struct life *life)
{
	life->pushed = life->ended = 0;
	assert_int_equal(life->j->ops->snap_begin(life->j), 0);
	save_record(life, 50);
	life->j->ops->snap_push(life->j);
	settle(life);
	assert_int_equal(life->pushed, 1);
	save_record(life, 51);
	append(life, 52);
	assert_int_equal(life->j->ops->commit(life->j), 0);
	life->j->ops->snap_end(life->j);
	settle(life);
	assert_int_equal(life->ended, 1);
	return life->ret;
}

static void begin_in_vain(struct life *life)
{
	assert_int_equal(life->j->ops->snap_begin(life->j), 0);
	settle(life);
	life->j->ops->snap_abort(life->j);
}

/* The log is as long as before. */
static void test_log_bytes(void **state)
{
	uint64_t record, bytes;
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	bytes = life.j->log_bytes;
	append(&life, 1);
	assert_int_equal(life.j->ops->commit(life.j), 0);
	record = life.j->log_bytes - bytes;
	assert_true(record > 0);
	bytes = life.j->log_bytes;
	begin_in_vain(&life);
	assert_int_equal(life.j->log_bytes, bytes);
	begin_in_vain(&life);
	assert_int_equal(life.j->log_bytes, bytes);
	is_dir_broken = true;
	assert_int_equal(try_snapshot(&life), -EBADF);
	is_dir_broken = false;
	assert_int_equal(life.j->log_bytes, bytes + record);
	assert_int_equal(try_snapshot(&life), 0);
	assert_int_equal(life.j->log_bytes, record);
	end(&life);
	t_dir_close(&d);
}

/* Each second of a disk that has room for no more than a header. */
static void test_logs_of_attempts(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	fill_disk(&life);
	limit_files(RLIM_INFINITY);
	for (unsigned i = 0; i < 10; i++) {
		begin_in_vain(&life);
		assert_int_equal(count_files(&d), 2);
	}
	again(&life, &d);
	assert_int_equal(life.count, 1);
	assert_int_equal(life.sum, 1);
	end(&life);
	t_dir_close(&d);
}

/* It has its name, and nobody knows whether that is on the disk: if so, it
 * counts with its log. */
static void test_snapshot_may_count(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	fill_disk(&life);
	limit_files(RLIM_INFINITY);
	begin_in_vain(&life);
	assert_int_equal(life.j->ops->snap_begin(life.j), 0);
	settle(&life);
	save_record(&life, 50);
	append(&life, 51);
	is_dir_broken = true;
	life.j->ops->snap_end(life.j);
	settle(&life);
	assert_int_equal(life.ret, -EBADF);
	is_dir_broken = false;
	begin_in_vain(&life);
	again(&life, &d);
	assert_int_equal(life.report.snapshot_records, 1);
	assert_int_equal(life.count, 2);
	assert_int_equal(life.sum, 50 * 31 + 51);
	end(&life);
	t_dir_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_bytes),
		cmocka_unit_test(test_logs_of_attempts),
		cmocka_unit_test(test_snapshot_may_count),
	};

	signal(SIGXFSZ, SIG_IGN);
	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
