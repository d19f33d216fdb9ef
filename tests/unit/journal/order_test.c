/* SPDX-License-Identifier: Apache-2.0 */
/* A power failure takes any of the pages that no sync had ordered; what was on
 * disk is missed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "life.h"

#define LOG	"journal-0000000000000001.log"
#define RECORDS 6
#define BYTES	(JR_FRAME_BYTES + 1)

static void commit(struct life *life)
{
	assert_int_equal(life->j->ops->commit(life->j), 0);
}

static void sync_all(struct life *life)
{
	commit(life);
	life->j->ops->sync(life->j);
	settle(life);
	assert_int_equal(life->ret, 0);
}

/* Records 1 to 6, a sync after the third one; what is in the file while the
 * master lives. */
static uint8_t *write_some(struct t_dir *d, size_t *n)
{
	struct life life;
	uint8_t *bytes;

	begin(&life, d);
	for (char c = 1; c <= RECORDS; c++) {
		append(&life, c);
		if (c == 3)
			sync_all(&life);
	}
	commit(&life);
	bytes = t_dir_read(d, LOG, n);
	end(&life);
	assert_int_equal(*n, JR_HEADER_BYTES + RECORDS * BYTES);
	return bytes;
}

static void lose(uint8_t *bytes, unsigned record)
{
	memset(bytes + JR_HEADER_BYTES + (record - 1) * BYTES, 0, BYTES);
}

/* Each set of records that may be missing, bit 0 the first one. */
static void test_pages_in_any_order(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	for (unsigned lost = 1; lost < 1u << RECORDS; lost++) {
		unsigned first = (unsigned)__builtin_ctz(lost) + 1;
		/* One behind the sync is needed to know of it. */
		bool is_known = first <= 3 && (lost & 0x38) != 0x38;
		uint8_t *bytes;
		size_t n;
		int ret;

		t_dir_empty(&d);
		bytes = write_some(&d, &n);
		for (unsigned i = 0; i < RECORDS; i++)
			if (lost >> i & 1)
				lose(bytes, i + 1);
		t_dir_write(&d, LOG, bytes, n);
		free(bytes);
		ret = try_begin(&life, &d, "c");
		assert_int_equal(ret, is_known ? -EBADMSG : 0);
		if (ret < 0)
			continue;
		assert_int_equal(life.count, first - 1);
		append(&life, 9);
		again(&life, &d);
		assert_int_equal(life.count, first);
		end(&life);
	}
	t_dir_close(&d);
}

/* A log that was ended in order has no torn end. */
static void test_closed(void **state)
{
	struct life life;
	struct t_dir d;

	t_dir_open(&d);
	for (unsigned record = 1; record <= RECORDS; record++) {
		uint8_t *bytes;
		size_t n;

		t_dir_empty(&d);
		free(write_some(&d, &n));
		bytes = t_dir_read(&d, LOG, &n);
		lose(bytes, record);
		t_dir_write(&d, LOG, bytes, n);
		assert_int_equal(try_begin(&life, &d, "c"), -EBADMSG);
		t_dir_write(&d, LOG, bytes, n - 1);
		free(bytes);
		assert_int_equal(try_begin(&life, &d, "c"), -EBADMSG);
	}
	t_dir_close(&d);
}

/* A header and what stands in its sector come together. */
static void test_header_page(void **state)
{
	struct life life;
	struct t_dir d;
	uint8_t *bytes;
	size_t n;

	t_dir_open(&d);
	bytes = write_some(&d, &n);
	memset(bytes, 0, JR_HEADER_BYTES);
	t_dir_write(&d, LOG, bytes, n);
	assert_int_equal(try_begin(&life, &d, "c"), -EBADMSG);
	memset(bytes, 0, JR_HEADER_BYTES + BYTES); /* record 4 knows of it */
	t_dir_write(&d, LOG, bytes, n);
	assert_int_equal(try_begin(&life, &d, "c"), -EBADMSG);
	/* Nothing that is left was written after a sync. */
	memset(bytes + JR_HEADER_BYTES + 3 * BYTES, 0, 3 * BYTES);
	t_dir_write(&d, LOG, bytes, n);
	begin(&life, &d);
	assert_int_equal(life.count, 0);
	end(&life);
	free(bytes);
	t_dir_close(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_in_any_order),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_header_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
