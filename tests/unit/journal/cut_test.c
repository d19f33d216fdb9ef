/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever is damaged: the sentence says what to do, and what it says helps. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc.h"
#include "base/log.h"
#include "life.h"

#define LONG_DIR 62 /* bytes that the master puts before a sentence */

static const char *const logs[] = {"journal-0000000000000001.log",
				   "journal-0000000000000004.log",
				   "journal-0000000000000007.log"};

static off_t bad_block = -1;

/* A disk with a block that can't be read, as the memory of a process that has
 * nothing at 0. */
ssize_t pread(int fd, void *p, size_t n, off_t at)
{
	ssize_t ret;

	if (bad_block < at || bad_block >= at + (off_t)n)
		return syscall(SYS_pread64, fd, p, n, at);
	fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	ret = syscall(SYS_pread64, fd, p, n, (off_t)0);
	close(fd);
	return ret;
}

/* Three logs of three records each. */
static void make_logs(struct t_dir *d)
{
	struct life life;

	for (char c = 1; c < 10; c += 3) {
		begin(&life, d);
		for (char k = 0; k < 3; k++)
			append(&life, (char)(c + k));
		end(&life);
	}
}

static int walk(struct t_dir *d, struct err *err)
{
	struct life life = {0};
	int ret;

	*err = (struct err){0};
	ret = jr_walk(d->fd, NULL, see, &life, &life.report, err);
	/* Nothing of it is lost behind a directory's name. */
	assert_true(strlen(err->text) + LONG_DIR < sizeof(err->text));
	return ret;
}

static void assert_cut(struct t_dir *d, uint64_t left)
{
	struct jr_report report;
	struct err err = {0};
	struct life life;

	assert_int_equal(walk(d, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "'mooncakectl journal cut'"));
	assert_int_equal(try_begin(&life, d, "c"), -EBADMSG);
	err = (struct err){0};
	assert_int_equal(files_cut(d->path, read_any, &report, &err), 1);
	assert_int_equal(report.next, left + 1);
	assert_int_equal(files_cut(d->path, read_any, &report, &err), 0);
	begin(&life, d);
	assert_int_equal(life.count, left);
	end(&life);
}

static void flip(struct t_dir *d, const char *name, size_t at)
{
	size_t n;
	uint8_t *bytes = t_dir_read(d, name, &n);

	assert_true(at < n);
	bytes[at] ^= 0x41;
	t_dir_write(d, name, bytes, n);
	free(bytes);
}

static void test_header_of_a_log(void **state)
{
	struct t_dir d;

	t_dir_open(&d);
	for (size_t i = 0; i < ARRAY_SIZE(logs); i++)
		for (size_t at = 0; at < JR_HEADER_BYTES; at += 3) {
			t_dir_empty(&d);
			make_logs(&d);
			flip(&d, logs[i], at);
			assert_cut(&d, i * 3);
		}
	t_dir_close(&d);
}

/* Headers are read first; what is cut first is not the first fault. */
static void test_several_faults(void **state)
{
	struct t_dir d;

	t_dir_open(&d);
	make_logs(&d);
	flip(&d, logs[0], JR_HEADER_BYTES + JR_FRAME_BYTES + 5);
	flip(&d, logs[1], JR_HEADER_BYTES + 5);
	flip(&d, logs[2], 5);
	assert_cut(&d, 1);
	t_dir_close(&d);
}

static void test_renamed(void **state)
{
	struct t_dir d;
	struct err err;

	t_dir_open(&d);
	make_logs(&d);
	assert_int_equal(
		renameat(d.fd, logs[2], d.fd, "journal-0000000000000008.log"),
		0);
	assert_int_equal(walk(&d, &err), -EBADMSG);
	assert_non_null(strstr(err.text, logs[2]));
	assert_cut(&d, 6);
	t_dir_close(&d);
}

static void set_version(struct t_dir *d, const char *name)
{
	size_t n;
	uint8_t *bytes = t_dir_read(d, name, &n);
	struct jr_header h;
	struct err err = {0};
	uint32_t crc;

	assert_int_equal(jr_header_decode(bytes, &h, &err), 0);
	bytes[8] = JR_VERSION + 1;
	crc = crc32c(0, bytes, JR_HEADER_BYTES - sizeof(crc));
	memcpy(bytes + JR_HEADER_BYTES - sizeof(crc), &crc, sizeof(crc));
	t_dir_write(d, name, bytes, n);
	free(bytes);
}

/* Nothing that a newer program wrote is given up. */
static void test_newer(void **state)
{
	struct jr_report report;
	struct t_dir d;
	struct err err;

	t_dir_open(&d);
	make_logs(&d);
	set_version(&d, logs[1]);
	assert_int_equal(walk(&d, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "newer program"));
	assert_null(strstr(err.text, "cut"));
	err = (struct err){0};
	assert_int_equal(files_cut(d.path, read_any, &report, &err),
			 -EPROTONOSUPPORT);
	assert_int_equal(faccessat(d.fd, logs[2], F_OK, 0), 0);
	t_dir_close(&d);
}

/* A file of another cluster among ours. */
static void test_two_clusters(void **state)
{
	struct jr_header h = {
		.kind = JR_LOG, .sequence = 7, .cluster_id = "other"};
	uint8_t head[JR_HEADER_BYTES];
	struct t_dir d;
	struct err err;

	t_dir_open(&d);
	make_logs(&d);
	jr_header_encode(&h, head);
	t_dir_write(&d, logs[2], head, sizeof(head));
	assert_int_equal(walk(&d, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "of cluster 'other'"));
	assert_cut(&d, 6);
	t_dir_close(&d);
}

static void make_snapshot(struct t_dir *d)
{
	struct life life;

	begin(&life, d);
	for (char c = 1; c < 4; c++)
		append(&life, c);
	assert_int_equal(life.j->ops->snap_begin(life.j), 0);
	for (char c = 1; c < 4; c++)
		save_record(&life, c);
	life.j->ops->snap_end(life.j);
	settle(&life);
	assert_int_equal(life.ended, 1);
	append(&life, 4);
	end(&life);
}

/* No log is cut for its sake: what to do is said, and is something else. */
static void test_snapshot(void **state)
{
	static const char name[] = "snapshot-0000000000000003.zst";
	static const char log[] = "journal-0000000000000004.log";
	struct jr_report report;
	struct life life;
	uint8_t *bytes;
	struct t_dir d;
	struct err err;
	size_t n;

	t_dir_open(&d);
	make_snapshot(&d);
	flip(&d, log, 5);
	bytes = t_dir_read(&d, name, &n);
	for (size_t len = 0; len < n; len++) {
		t_dir_write(&d, name, bytes, len);
		assert_int_equal(walk(&d, &err), -EBADMSG);
		assert_non_null(strstr(err.text, name));
		assert_non_null(strstr(err.text, "from a copy, or begin an "
						 "empty one and register"));
		assert_null(strstr(err.text, "cut'"));
		err = (struct err){0};
		assert_int_equal(files_cut(d.path, read_any, &report, &err),
				 -EBADMSG);
		assert_non_null(strstr(err.text, "an empty one"));
	}
	for (size_t at = 0; at < JR_HEADER_BYTES; at++) {
		bytes[at] ^= 0x41;
		t_dir_write(&d, name, bytes, n);
		assert_int_equal(walk(&d, &err), -EBADMSG);
		assert_non_null(strstr(err.text, "an empty one"));
		bytes[at] ^= 0x41;
	}
	/* From a copy. */
	t_dir_write(&d, name, bytes, n);
	flip(&d, log, 5);
	begin(&life, &d);
	assert_int_equal(life.count, 4);
	end(&life);
	free(bytes);
	t_dir_close(&d);
}

static void fail_and_mend(struct life *life)
{
	struct strbuf sb = {.failed = true};

	life->j->ops->append(life->j, JR_OBJECT, &sb);
	assert_true(life->j->ops->commit(life->j) < 0);
	assert_int_equal(life->j->ops->snap_begin(life->j), 0);
	save_record(life, 1);
	life->j->ops->snap_end(life->j);
	settle(life);
	assert_int_equal(life->ret, 0);
}

/* What counts with its snapshot only is not taken for nothing when that was
 * removed by somebody. */
static void test_snapshot_is_gone(void **state)
{
	struct life life;
	struct t_dir d;
	struct err err;

	t_dir_open(&d);
	begin(&life, &d);
	append(&life, 1);
	assert_int_equal(life.j->ops->commit(life.j), 0);
	fail_and_mend(&life);
	append(&life, 2);
	end(&life);
	assert_int_equal(walk(&d, &err), 0);
	assert_int_equal(unlinkat(d.fd, "snapshot-0000000000000002.zst", 0), 0);
	assert_int_equal(walk(&d, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "records 1 to 2 are missing"));
	assert_cut(&d, 0);
	t_dir_close(&d);
}

/* Nothing is cut: the disk may give back more than that. */
static void test_bad_block(void **state)
{
	struct jr_report report;
	struct t_dir d;
	struct err err;
	int ret;

	t_dir_open(&d);
	make_logs(&d);
	bad_block = JR_HEADER_BYTES + 5;
	assert_int_equal(walk(&d, &err), -EIO);
	assert_non_null(strstr(err.text, logs[0]));
	assert_non_null(strstr(err.text, "ddrescue"));
	err = (struct err){0};
	ret = files_cut(d.path, read_any, &report, &err);
	bad_block = -1;
	assert_int_equal(ret, -EIO);
	assert_int_equal(walk(&d, &err), 0);
	t_dir_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_of_a_log),
		cmocka_unit_test(test_several_faults),
		cmocka_unit_test(test_renamed),
		cmocka_unit_test(test_newer),
		cmocka_unit_test(test_two_clusters),
		cmocka_unit_test(test_bad_block),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_snapshot_is_gone),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
