/* SPDX-License-Identifier: Apache-2.0 */
/* What is cut off is there to be looked at, and there is an end to it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "life.h"

#define FIRST  "journal-0000000000000001.log"
#define SECOND "journal-0000000000000004.log"
#define BYTES  (JR_FRAME_BYTES + 1)
#define AT     (JR_HEADER_BYTES + BYTES) /* 277 */

/* Two logs of three records each. */
static void make_logs(struct t_dir *d)
{
	struct life life;

	for (char c = 1; c < 7; c += 3) {
		begin(&life, d);
		for (char k = 0; k < 3; k++)
			append(&life, (char)(c + k));
		end(&life);
	}
}

static void assert_bytes(struct t_dir *d, const char *name,
			 const uint8_t *bytes, size_t n)
{
	uint8_t *got;
	size_t len;

	assert_int_equal(faccessat(d->fd, name, F_OK, 0), 0);
	got = t_dir_read(d, name, &len);
	assert_int_equal(len, n);
	assert_memory_equal(got, bytes, n);
	free(got);
}

static void test_cut(void **state)
{
	struct jr_report report;
	struct err err = {0};
	uint8_t *first, *second;
	size_t n, n2;
	struct t_dir d;

	t_dir_open(&d);
	make_logs(&d);
	first = t_dir_read(&d, FIRST, &n);
	second = t_dir_read(&d, SECOND, &n2);
	first[AT + 5] ^= 1;
	t_dir_write(&d, FIRST, first, n);
	assert_int_equal(files_cut(d.path, read_any, &report, &err), 1);
	assert_int_equal(report.cut_no, 1);
	assert_int_equal(report.next, 2);
	assert_bytes(&d, FIRST, first, AT);
	assert_bytes(&d, "cut-1-" FIRST "-277", first + AT, n - AT);
	assert_bytes(&d, "cut-1-" SECOND "-0", second, n2);
	assert_int_equal(count_files(&d), 1);
	free(first);
	free(second);
	t_dir_close(&d);
}

/* As a killed master leaves it: half a record more. */
static void tear(struct t_dir *d, const char *name)
{
	struct jr_header h;
	struct err err = {0};
	uint8_t *bytes, *more;
	size_t n;

	bytes = t_dir_read(d, name, &n);
	more = malloc(n + 5);
	memcpy(more, bytes, n);
	memset(more + n, 7, 5);
	assert_int_equal(jr_header_decode(bytes, &h, &err), 0);
	h.flags &= ~JR_CLOSED;
	jr_header_encode(&h, more);
	t_dir_write(d, name, more, n + 5);
	free(bytes);
	free(more);
}

static unsigned count_cuts(struct t_dir *d, unsigned upto)
{
	unsigned count = 0;

	for (unsigned no = 1; no <= upto; no++) {
		char name[64];

		snprintf(name, sizeof(name), "cut-%u-%s-277", no, FIRST);
		count += faccessat(d->fd, name, F_OK, 0) == 0;
	}
	return count;
}

static void test_torn(void **state)
{
	static const uint8_t tail[] = {7, 7, 7, 7, 7};
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	begin(&life, &d);
	append(&life, 1);
	end(&life);
	for (unsigned i = 0; i < 6; i++) {
		tear(&d, FIRST);
		begin(&life, &d);
		assert_int_equal(life.count, 1);
		assert_int_equal(life.report.torn_bytes, sizeof(tail));
		end(&life);
		/* The log that it began is empty. */
		unlinkat(d.fd, "journal-0000000000000002.log", 0);
	}
	assert_bytes(&d, "cut-6-" FIRST "-277", tail, sizeof(tail));
	assert_int_equal(count_cuts(&d, 6), 4);
	t_dir_close(&d);
}

static bool is_full;

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (!is_full)
		return syscall(SYS_pwrite64, fd, p, n, at);
	return syscall(SYS_pwrite64, -1, p, n, at);
}

/* For the copy; the start fails later, with a log of its own. */
static void test_no_room(void **state)
{
	struct jr_report report;
	struct err err = {0};
	struct life life;
	struct t_dir d;
	uint8_t *bytes;
	size_t n;

	t_dir_open(&d);
	make_logs(&d);
	bytes = t_dir_read(&d, FIRST, &n);
	bytes[AT + 5] ^= 1;
	t_dir_write(&d, FIRST, bytes, n);
	is_full = true;
	assert_true(files_cut(d.path, read_any, &report, &err) < 0);
	assert_bytes(&d, FIRST, bytes, n);
	assert_int_equal(count_files(&d), 2);
	free(bytes);
	is_full = false;
	t_dir_empty(&d);
	begin(&life, &d);
	append(&life, 1);
	end(&life);
	tear(&d, FIRST);
	is_full = true;
	assert_true(try_begin(&life, &d, "c") < 0);
	is_full = false;
	bytes = t_dir_read(&d, FIRST, &n);
	free(bytes);
	assert_int_equal(n, AT);
	assert_int_equal(count_cuts(&d, 3), 0);
	t_dir_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_no_room),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
