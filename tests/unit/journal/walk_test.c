/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a journal: a torn tail is cut wherever it is torn, and whatever else
 * is wrong is refused or makes no difference. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "journal/record.h"
#include "journal/walk.h"
#include "t_dir.h"

#define RECORDS 6

struct seen {
	uint64_t count, sum;
};

static int count_record(const struct jr_frame *frame, void *arg,
			struct err *err)
{
	struct seen *seen = arg;

	seen->count++;
	seen->sum = seen->sum * 31 + frame->type + frame->len;
	for (uint32_t i = 0; i < frame->len; i++)
		seen->sum = seen->sum * 31 + frame->body[i];
	return 0;
}

static int walk(struct t_dir *d, struct seen *seen, struct jr_report *report)
{
	struct err err = {0};
	int ret;

	*seen = (struct seen){0};
	ret = jr_walk(d->fd, "c", count_record, seen, report, &err);
	assert_true((ret < 0) == (err.text[0] != 0));
	return ret;
}

/* A log of count records from first on; returns its length. */
static size_t make_log(uint8_t *out, uint64_t first, unsigned count,
		       uint32_t flags)
{
	struct jr_header h = {.kind = JR_LOG,
			      .flags = flags,
			      .sequence = first,
			      .cluster_id = "c"};
	size_t n = JR_HEADER_BYTES;

	jr_header_encode(&h, out);
	for (unsigned i = 0; i < count; i++) {
		struct jr_frame f = {.type = 1 + i,
				     .sequence = first + i,
				     .body = out + n + JR_FRAME_BYTES,
				     .len = 3 + 5 * i};

		memset(out + n + JR_FRAME_BYTES, 'a' + (int)i, f.len);
		jr_frame_encode(&f, out + n);
		n += JR_FRAME_BYTES + f.len;
	}
	return n;
}

static void write_log(struct t_dir *d, uint64_t first, const void *p, size_t n)
{
	struct jr_name name;

	jr_name_format(&name, JR_LOG, first);
	t_dir_write(d, name.text, p, n);
}

static void write_snapshot(struct t_dir *d, uint64_t sequence, unsigned count)
{
	struct jr_header h = {
		.kind = JR_SNAPSHOT, .sequence = sequence, .cluster_id = "c"};
	struct snap_writer *w;
	struct strbuf end = {0};
	uint8_t frame[JR_FRAME_BYTES];
	uint64_t bytes;

	assert_int_equal(snap_create(d->fd, &h, &w), 0);
	for (unsigned i = 0; i < count; i++) {
		jr_frame_encode(&(struct jr_frame){.type = 4, .sequence = i},
				frame);
		assert_int_equal(snap_add(w, frame, sizeof(frame)), 0);
	}
	jr_end_encode(&(struct jr_end){count}, &end);
	jr_frame_encode(&(struct jr_frame){.type = JR_END,
					   .sequence = count,
					   .body = (uint8_t *)end.p,
					   .len = (uint32_t)end.n},
			frame);
	assert_int_equal(snap_add(w, frame, sizeof(frame)), 0);
	assert_int_equal(snap_add(w, end.p, end.n), 0);
	assert_int_equal(snap_finish(w, &bytes), 0);
	strbuf_fini(&end);
}

static void test_empty(void **state)
{
	struct jr_report report;
	struct seen seen;
	struct t_dir d;

	t_dir_open(&d);
	assert_int_equal(walk(&d, &seen, &report), 0);
	assert_int_equal(report.next, 1);
	assert_false(report.has_snapshot);
	t_dir_close(&d);
}

static void test_torn_at_every_byte(void **state)
{
	uint8_t bytes[1024];
	size_t full = make_log(bytes, 1, RECORDS, 0);
	struct jr_report report;
	struct seen seen;
	struct t_dir d;
	uint64_t last = 0;

	t_dir_open(&d);
	for (size_t n = 0; n <= full; n++) {
		write_log(&d, 1, bytes, n);
		assert_int_equal(walk(&d, &seen, &report), 0);
		assert_true(seen.count == last || seen.count == last + 1);
		last = seen.count;
		assert_int_equal(report.next, seen.count + 1);
		assert_int_equal(
			report.torn_at + report.torn_bytes,
			report.torn.text[0] && n >= JR_HEADER_BYTES ? n : 0);
	}
	assert_int_equal(last, RECORDS);
	t_dir_close(&d);
}

/* Zeros or garbage behind the last record are a torn tail, too. */
static void test_torn_garbage(void **state)
{
	uint8_t bytes[1024] = {0};
	size_t full = make_log(bytes, 1, RECORDS, 0);
	struct jr_report report;
	struct seen seen;
	struct t_dir d;

	t_dir_open(&d);
	memset(bytes + full, 0, 100);
	write_log(&d, 1, bytes, full + 100);
	assert_int_equal(walk(&d, &seen, &report), 0);
	assert_int_equal(seen.count, RECORDS);
	assert_int_equal(report.torn_bytes, 100);
	memset(bytes + full, 0xa5, 100);
	write_log(&d, 1, bytes, full + 100);
	assert_int_equal(walk(&d, &seen, &report), 0);
	assert_int_equal(seen.count, RECORDS);
	/* A header that never reached the disk. */
	t_dir_empty(&d);
	memset(bytes, 0, JR_HEADER_BYTES);
	write_log(&d, 1, bytes, JR_HEADER_BYTES);
	assert_int_equal(walk(&d, &seen, &report), 0);
	assert_int_equal(seen.count, 0);
	t_dir_close(&d);
}

/* A wrong byte in the last record is a torn tail; one before it is refused. */
static void test_damage_at_every_byte(void **state)
{
	uint8_t bytes[1024];
	size_t full = make_log(bytes, 1, RECORDS, 0), last;
	struct jr_report report;
	struct seen seen;
	struct t_dir d;

	last = make_log(bytes, 1, RECORDS - 1, 0);
	make_log(bytes, 1, RECORDS, 0);
	t_dir_open(&d);
	for (size_t at = 0; at < full; at++) {
		int ret;

		bytes[at] ^= 0x41;
		write_log(&d, 1, bytes, full);
		ret = walk(&d, &seen, &report);
		if (at < last) {
			assert_true(ret < 0);
			assert_true(at < JR_HEADER_BYTES ||
				    (report.fault_at <= at &&
				     report.fault.text[0]));
		} else {
			assert_int_equal(ret, 0);
			assert_int_equal(seen.count, RECORDS - 1);
		}
		bytes[at] ^= 0x41;
	}
	t_dir_close(&d);
}

static void test_two_logs(void **state)
{
	uint8_t bytes[1024];
	size_t n = make_log(bytes, 1, RECORDS, 0);
	struct jr_report report;
	struct seen seen;
	struct t_dir d;

	t_dir_open(&d);
	write_log(&d, 1, bytes, n);
	n = make_log(bytes, RECORDS + 1, 2, 0);
	write_log(&d, RECORDS + 1, bytes, n);
	assert_int_equal(walk(&d, &seen, &report), 0);
	assert_int_equal(seen.count, RECORDS + 2);
	assert_int_equal(report.logs, 2);
	/* Only the last log may be torn. */
	n = make_log(bytes, 1, RECORDS, 0);
	write_log(&d, 1, bytes, n - 1);
	assert_int_equal(walk(&d, &seen, &report), -EBADMSG);
	/* A gap between them, and a beginning that is not there. */
	n = make_log(bytes, 1, RECORDS - 1, 0);
	write_log(&d, 1, bytes, n);
	assert_int_equal(walk(&d, &seen, &report), -EBADMSG);
	assert_int_equal(report.fault.sequence, RECORDS + 1);
	assert_int_equal(unlinkat(d.fd, "journal-0000000000000001.log", 0), 0);
	assert_int_equal(walk(&d, &seen, &report), -EBADMSG);
	t_dir_close(&d);
}

static void test_snapshot(void **state)
{
	uint8_t bytes[1024];
	size_t n = make_log(bytes, 1, RECORDS, 0);
	struct jr_report report;
	struct seen seen;
	struct t_dir d;

	t_dir_open(&d);
	write_log(&d, 1, bytes, n);
	n = make_log(bytes, RECORDS + 1, 2, 0);
	write_log(&d, RECORDS + 1, bytes, n);
	write_snapshot(&d, RECORDS, 3);
	assert_int_equal(walk(&d, &seen, &report), 0);
	assert_int_equal(report.snapshot_records, 3);
	assert_int_equal(report.log_records, 2);
	assert_int_equal(seen.count, 5);
	assert_int_equal(report.next, RECORDS + 3);
	/* What is in the snapshot is not missed. */
	assert_int_equal(unlinkat(d.fd, "journal-0000000000000001.log", 0), 0);
	assert_int_equal(walk(&d, &seen, &report), 0);
	assert_int_equal(seen.count, 5);
	/* Nothing but a snapshot. */
	t_dir_empty(&d);
	write_snapshot(&d, RECORDS, 3);
	assert_int_equal(walk(&d, &seen, &report), 0);
	assert_int_equal(report.next, RECORDS + 1);
	t_dir_close(&d);
}

static void test_snapshot_every_byte(void **state)
{
	struct jr_report report;
	struct jr_name name;
	struct seen seen, whole;
	struct t_dir d;
	uint8_t *bytes;
	size_t n;

	t_dir_open(&d);
	write_snapshot(&d, 9, 3);
	assert_int_equal(walk(&d, &whole, &report), 0);
	jr_name_format(&name, JR_SNAPSHOT, 9);
	bytes = t_dir_read(&d, name.text, &n);
	for (size_t at = 0; at < n; at++) {
		bytes[at] ^= 0x41;
		t_dir_write(&d, name.text, bytes, n);
		/* Bits of zstd's header that mean nothing may differ. */
		if (walk(&d, &seen, &report) == 0)
			assert_int_equal(seen.sum, whole.sum);
		bytes[at] ^= 0x41;
		t_dir_write(&d, name.text, bytes, at);
		assert_true(walk(&d, &seen, &report) < 0);
	}
	free(bytes);
	t_dir_close(&d);
}

/* A log that was begun after a failure counts with its snapshot only. */
static void test_fresh(void **state)
{
	uint8_t bytes[1024];
	size_t n = make_log(bytes, 1, RECORDS, 0);
	struct jr_report report;
	struct seen seen;
	struct t_dir d;

	t_dir_open(&d);
	write_log(&d, 1, bytes, n - 1);
	n = make_log(bytes, RECORDS + 1, 2, JR_FRESH);
	write_log(&d, RECORDS + 1, bytes, n);
	assert_int_equal(walk(&d, &seen, &report), 0);
	assert_int_equal(seen.count, RECORDS - 1);
	assert_int_equal(report.void_from, RECORDS + 1);
	/* There is a torn tail, but that is not why. */
	assert_false(report.is_end_lost);
	assert_int_equal(report.torn.sequence, 1);
	write_snapshot(&d, RECORDS, 1);
	assert_int_equal(walk(&d, &seen, &report), 0);
	assert_int_equal(seen.count, 3);
	assert_int_equal(report.void_from, 0);
	t_dir_close(&d);
}

/* One that was begun before the end of the one before was on disk. */
static void test_early(void **state)
{
	uint8_t bytes[1024], later[1024];
	size_t n = make_log(bytes, 1, RECORDS, 0);
	size_t later_n = make_log(later, RECORDS + 1, 2, JR_EARLY);
	struct jr_report report;
	struct seen seen;
	struct t_dir d;

	t_dir_open(&d);
	write_log(&d, RECORDS + 1, later, later_n);
	for (size_t len = 0; len < n; len++) {
		write_log(&d, 1, bytes, len);
		assert_int_equal(walk(&d, &seen, &report), 0);
		assert_true(seen.count < RECORDS);
		assert_int_equal(report.next, seen.count + 1);
		assert_int_equal(report.void_from, RECORDS + 1);
		assert_true(report.is_end_lost);
	}
	write_log(&d, 1, bytes, n);
	assert_int_equal(walk(&d, &seen, &report), 0);
	assert_int_equal(seen.count, RECORDS + 2);
	assert_int_equal(report.void_from, 0);
	/* Not for what is damaged in the middle. */
	bytes[JR_HEADER_BYTES] ^= 1;
	write_log(&d, 1, bytes, n);
	assert_int_equal(walk(&d, &seen, &report), -EBADMSG);
	t_dir_close(&d);
}

/* --- logs that were never begun --- */

static void add_log(struct t_dir *d, uint64_t first, unsigned count,
		    uint32_t flags)
{
	uint8_t bytes[1024];

	write_log(d, first, bytes, make_log(bytes, first, count, flags));
}

/* What is left of the beginning: nothing, a part of the header, or zeros. */
static const size_t bare_bytes[] = {0, 44, JR_HEADER_BYTES - 1, JR_HEADER_BYTES,
				    4000};

static void write_bare(struct t_dir *d, uint64_t first, size_t n)
{
	uint8_t bytes[4096] = {0};

	if (n < JR_HEADER_BYTES)
		make_log(bytes, first, 0, JR_FRESH);
	write_log(d, first, bytes, n);
}

static void assert_same_walk(struct t_dir *d, uint64_t count, uint64_t next)
{
	struct jr_report report;
	struct seen seen;

	assert_int_equal(walk(d, &seen, &report), 0);
	assert_int_equal(seen.count, count);
	assert_int_equal(report.next, next);
}

static int walk_error(struct t_dir *d, struct jr_report *report,
		      struct err *err)
{
	struct seen seen = {0};

	*err = (struct err){0};
	return jr_walk(d->fd, "c", count_record, &seen, report, err);
}

/* A log whose records are all in the snapshot was deleted, and a power failure
 * has brought back its name and whatever was on disk of it. */
static void test_deleted_log_is_back(void **state)
{
	uint8_t bytes[1024];
	size_t n = make_log(bytes, 1, RECORDS, 0);
	struct t_dir d;

	t_dir_open(&d);
	write_snapshot(&d, RECORDS, 3);
	for (uint32_t flags = 0; flags <= JR_EARLY; flags++) {
		add_log(&d, RECORDS + 1, 2, flags);
		for (size_t i = 0; i < ARRAY_SIZE(bare_bytes); i++) {
			write_bare(&d, 1, bare_bytes[i]);
			assert_same_walk(&d, 5, RECORDS + 3);
		}
		for (size_t at = 0; at < n; at += 29) {
			bytes[at] ^= 0x41;
			write_log(&d, 1, bytes, n);
			assert_same_walk(&d, 5, RECORDS + 3);
			bytes[at] ^= 0x41;
		}
	}
	t_dir_close(&d);
}

/* One could not be begun, and those before it went on. */
static void test_never_begun(void **state)
{
	struct jr_report report;
	struct err err;
	struct t_dir d;

	t_dir_open(&d);
	add_log(&d, 1, RECORDS, 0);
	for (uint32_t flags = 0; flags <= JR_EARLY; flags += JR_EARLY) {
		add_log(&d, RECORDS + 1, 2, flags);
		for (size_t i = 0; i < ARRAY_SIZE(bare_bytes); i++) {
			write_bare(&d, 4, bare_bytes[i]);
			assert_same_walk(&d, RECORDS + 2, RECORDS + 3);
		}
		add_log(&d, 4, 0, JR_EARLY);
		assert_same_walk(&d, RECORDS + 2, RECORDS + 3);
	}
	/* One that was begun is another matter. */
	add_log(&d, 4, 1, JR_EARLY);
	assert_int_equal(walk_error(&d, &report, &err), -EBADMSG);
	assert_int_equal(report.fault.sequence, 4);
	assert_non_null(strstr(err.text, "journal cut"));
	t_dir_close(&d);
}

/* The same, before and behind one that begins after a failure. */
static void test_bare_and_fresh(void **state)
{
	struct jr_report report;
	struct seen seen;
	struct t_dir d;

	t_dir_open(&d);
	for (size_t i = 0; i < ARRAY_SIZE(bare_bytes); i++) {
		t_dir_empty(&d);
		add_log(&d, 1, 2, 0);
		write_bare(&d, 3, bare_bytes[i]);
		add_log(&d, 5, 2, JR_FRESH);
		assert_int_equal(walk(&d, &seen, &report), 0);
		assert_int_equal(seen.count, 2);
		assert_int_equal(report.next, 3);
		assert_int_equal(report.void_from, 5);
		assert_int_equal(report.bare_logs, 1);
		assert_int_equal(report.bare.sequence, 3);
		write_snapshot(&d, 4, 1);
		assert_same_walk(&d, 3, 7);
		write_bare(&d, 7, bare_bytes[i]);
		assert_same_walk(&d, 3, 7);
		/* And a third one, with and without what is between. */
		add_log(&d, 8, 1, JR_EARLY);
		assert_same_walk(&d, 3, 7);
		add_log(&d, 5, 3, JR_FRESH);
		assert_same_walk(&d, 5, 9);
	}
	t_dir_close(&d);
}

/* One that was cut to nothing is not taken for one that was never begun. */
static void test_cut_to_nothing(void **state)
{
	struct jr_report report;
	struct err err;
	struct t_dir d;

	t_dir_open(&d);
	for (size_t i = 0; i < ARRAY_SIZE(bare_bytes); i++) {
		t_dir_empty(&d);
		add_log(&d, 1, RECORDS, 0);
		write_bare(&d, 7, bare_bytes[i]);
		add_log(&d, 8, 2, 0);
		assert_int_equal(walk_error(&d, &report, &err), -EBADMSG);
		assert_non_null(strstr(err.text, "records 7 to 7"));
		assert_non_null(
			strstr(err.text, "journal-0000000000000007.log"));
		assert_non_null(strstr(err.text, "journal cut"));
		assert_int_equal(report.fault.sequence, 8);
		/* The first of all, and the only one of some. */
		write_bare(&d, 1, bare_bytes[i]);
		assert_int_equal(walk_error(&d, &report, &err), -EBADMSG);
		assert_non_null(strstr(err.text, "records 1 to 7"));
		t_dir_empty(&d);
		write_bare(&d, 7, bare_bytes[i]);
		assert_int_equal(walk_error(&d, &report, &err), -EBADMSG);
		assert_non_null(strstr(err.text, "records 1 to 6"));
	}
	t_dir_close(&d);
}

/* Records without a header: that is damage. */
static void test_header_is_lost(void **state)
{
	uint8_t bytes[1024];
	size_t n = make_log(bytes, 7, 1, 0);
	struct jr_report report;
	struct err err;
	struct t_dir d;

	t_dir_open(&d);
	add_log(&d, 1, RECORDS, 0);
	memset(bytes, 0, JR_HEADER_BYTES);
	write_log(&d, 7, bytes, n);
	assert_int_equal(walk_error(&d, &report, &err), -EBADMSG);
	assert_int_equal(report.fault.sequence, 7);
	assert_non_null(strstr(err.text, "journal cut"));
	bytes[n - 1] ^= 1;
	write_log(&d, 7, bytes, n);
	assert_same_walk(&d, RECORDS, 7);
	t_dir_close(&d);
}

/* A torn end is believed only when no later log says that it was whole. */
static void test_early_then_not(void **state)
{
	uint8_t bytes[1024];
	size_t n = make_log(bytes, 1, RECORDS, 0);
	struct jr_report report;
	struct err err;
	struct t_dir d;

	t_dir_open(&d);
	write_log(&d, 1, bytes, n - 1);
	add_log(&d, 7, 2, JR_EARLY);
	add_log(&d, 9, 2, JR_EARLY);
	assert_same_walk(&d, RECORDS - 1, RECORDS);
	add_log(&d, 9, 2, 0);
	assert_int_equal(walk_error(&d, &report, &err), -EBADMSG);
	assert_int_equal(report.fault.sequence, 1);
	write_log(&d, 1, bytes, n);
	assert_same_walk(&d, RECORDS + 4, 11);
	t_dir_close(&d);
}

static void test_strangers(void **state)
{
	struct jr_header h = {
		.kind = JR_LOG, .sequence = 1, .cluster_id = "other"};
	uint8_t bytes[JR_HEADER_BYTES];
	struct jr_report report;
	struct seen seen;
	struct t_dir d;

	t_dir_open(&d);
	jr_header_encode(&h, bytes);
	write_log(&d, 1, bytes, sizeof(bytes));
	assert_int_equal(walk(&d, &seen, &report), -EINVAL);
	/* Under another name. */
	t_dir_empty(&d);
	snprintf(h.cluster_id, sizeof(h.cluster_id), "c");
	jr_header_encode(&h, bytes);
	write_log(&d, 2, bytes, sizeof(bytes));
	assert_int_equal(walk(&d, &seen, &report), -EBADMSG);
	/* Not ours at all. */
	t_dir_empty(&d);
	t_dir_write(&d, "notes.txt", "x", 1);
	t_dir_write(&d, "journal-1.log", "x", 1);
	assert_int_equal(walk(&d, &seen, &report), 0);
	t_dir_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_torn_at_every_byte),
		cmocka_unit_test(test_torn_garbage),
		cmocka_unit_test(test_damage_at_every_byte),
		cmocka_unit_test(test_two_logs),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_snapshot_every_byte),
		cmocka_unit_test(test_fresh),
		cmocka_unit_test(test_early),
		cmocka_unit_test(test_deleted_log_is_back),
		cmocka_unit_test(test_never_begun),
		cmocka_unit_test(test_bare_and_fresh),
		cmocka_unit_test(test_cut_to_nothing),
		cmocka_unit_test(test_header_is_lost),
		cmocka_unit_test(test_early_then_not),
		cmocka_unit_test(test_strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
