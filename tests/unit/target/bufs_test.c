/* SPDX-License-Identifier: Apache-2.0 */
#include "target/bufs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct buf_wait *woken[8];
static unsigned woken_count;

static void on_ready(struct buf_wait *wait)
{
	woken[woken_count++] = wait;
}

static void wait_init(struct buf_wait *wait, uint32_t len)
{
	*wait = (struct buf_wait){.len = len, .ready = on_ready};
	list_init(&wait->node);
}

static void waiters_are_served_in_order(void **state)
{
	struct bufs bufs = {0};
	struct buf_wait w[5];

	woken_count = 0;
	assert_int_equal(bufs_init(&bufs, 65536), 0);
	wait_init(&w[0], 32768);
	wait_init(&w[1], 32768);
	wait_init(&w[2], 65536);
	wait_init(&w[3], 4096);
	wait_init(&w[4], 100000);
	assert_int_equal(bufs_take(&bufs, &w[4]), -ENOMEM); /* never fits */
	assert_int_equal(bufs_take(&bufs, &w[0]), 0);
	assert_int_equal((uintptr_t)w[0].buf.p % 4096, 0);
	assert_int_equal(bufs_take(&bufs, &w[1]), 0);
	assert_int_equal(bufs_take(&bufs, &w[2]), -EAGAIN);
	assert_int_equal(bufs_take(&bufs, &w[3]), -EAGAIN);
	bufs_give(&bufs, &w[0].buf);
	/* The small one fits, but the big one was first. */
	assert_int_equal(woken_count, 0);
	bufs_give(&bufs, &w[1].buf);
	assert_int_equal(woken_count, 1);
	assert_ptr_equal(woken[0], &w[2]);
	memset(w[2].buf.p, 1, w[2].len);
	bufs_cancel(&w[3]);
	bufs_give(&bufs, &w[2].buf);
	assert_int_equal(woken_count, 1);
	bufs_fini(&bufs);
}

static void fini_takes_half_built(void **state)
{
	struct bufs bufs = {0};

	bufs_fini(&bufs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waiters_are_served_in_order),
		cmocka_unit_test(fini_takes_half_built),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
