/* SPDX-License-Identifier: Apache-2.0 */
#include "master/bins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "t_death.h"

#define LARGE ((size_t)BINS_LARGE + 1)

static void assert_zeroed(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(p[i], 0);
}

/* Around each step: room for all of it, zeroed also when used before. */
static void test_every_size(void **state)
{
	struct bins bins;

	bins_init(&bins);
	for (size_t n = 0; n <= LARGE; n += n % BINS_STEP < 2 ? 1 : 14) {
		for (int round = 0; round < 2; round++) {
			uint8_t *p = bins_take(&bins, n);

			assert_non_null(p);
			assert_zeroed(p, n);
			memset(p, 0xff, n);
			bins_give(&bins, p, n);
		}
	}
	bins_give(&bins, NULL, 1);
	bins_fini(&bins);
}

/* The pool that a piece of n comes from; its pieces are at least as large. */
static const struct pool *pool_of(struct bins *bins, size_t n)
{
	void *p = bins_take(bins, n);
	const struct pool *pool = NULL;

	for (size_t i = 0; i < BINS_COUNT; i++)
		if (bins->pools[i].in_use)
			pool = &bins->pools[i];
	bins_give(bins, p, n);
	return pool;
}

/* Little is lost by rounding up: the next multiple of 16, later an eighth. */
static void test_pieces_fit(void **state)
{
	struct bins bins;

	bins_init(&bins);
	for (size_t n = 1; n < LARGE; n += n < 200 ? 1 : 61) {
		const struct pool *pool = pool_of(&bins, n);

		assert_non_null(pool);
		assert_true(pool->obj_size >= n);
		assert_true(pool->obj_size - n <
			    MAX(n / BINS_COARSE, (size_t)BINS_STEP));
	}
	bins_fini(&bins);
}

static void test_large_pieces_are_counted(void **state)
{
	struct bins bins;
	void *p;

	bins_init(&bins);
	p = bins_take(&bins, LARGE - 1);
	assert_int_equal(bins.large_bytes, 0);
	bins_give(&bins, p, LARGE - 1);
	p = bins_take(&bins, LARGE);
	assert_int_equal(bins.large_bytes, LARGE);
	bins_give(&bins, p, LARGE);
	assert_int_equal(bins.large_bytes, 0);
	bins_fini(&bins);
}

static void leave_large(void *arg)
{
	struct bins bins;

	bins_init(&bins);
	bins_take(&bins, LARGE);
	bins_fini(&bins);
}

static void test_leak_is_a_bug(void **state)
{
	assert_non_null(strstr(t_death(leave_large, NULL), "large_bytes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_size),
		cmocka_unit_test(test_pieces_fit),
		cmocka_unit_test(test_large_pieces_are_counted),
		cmocka_unit_test(test_leak_is_a_bug),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
