/* SPDX-License-Identifier: Apache-2.0 */
#include "master/bins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "t_death.h"

#define LARGE ((size_t)BINS_MIN << BINS_COUNT)

static void assert_zeroed(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(p[i], 0);
}

/* Around each doubling: room for all of it, zeroed also when used before. */
static void test_every_size(void **state)
{
	struct bins bins;

	bins_init(&bins);
	for (size_t size = BINS_MIN; size <= LARGE; size *= 2) {
		for (size_t n = size - 1; n <= size + 1; n++) {
			for (int round = 0; round < 2; round++) {
				uint8_t *p = bins_take(&bins, n);

				assert_non_null(p);
				assert_zeroed(p, n);
				memset(p, 0xff, n);
				bins_give(&bins, p, n);
			}
		}
	}
	bins_give(&bins, NULL, 1);
	bins_fini(&bins);
}

static void test_large_pieces_are_counted(void **state)
{
	struct bins bins;
	void *p;

	bins_init(&bins);
	p = bins_take(&bins, LARGE / 2);
	assert_int_equal(bins.large_bytes, 0);
	bins_give(&bins, p, LARGE / 2);
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
		cmocka_unit_test(test_large_pieces_are_counted),
		cmocka_unit_test(test_leak_is_a_bug),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
