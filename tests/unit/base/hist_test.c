/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "t_rand.h"

static void test_empty(void **state)
{
	struct hist h;

	hist_init(&h);
	assert_int_equal(hist_quantile(&h, 0.5), 0);
	assert_true(hist_mean(&h) == 0);
}

static void test_exact_when_small(void **state)
{
	struct hist h;

	hist_init(&h);
	for (uint64_t v = 1; v <= 10; v++)
		hist_add(&h, v);
	assert_int_equal(hist_quantile(&h, 0), 1);
	assert_int_equal(hist_quantile(&h, 0.5), 5);
	assert_int_equal(hist_quantile(&h, 0.51), 6);
	assert_int_equal(hist_quantile(&h, 1), 10);
	assert_true(hist_mean(&h) == 5.5);
	assert_int_equal(h.min, 1);
	assert_int_equal(h.max, 10);
}

/* One value alone: its upper edge is at most 1/16 above, never below. */
static void test_error_bound(void **state)
{
	struct rng rng = t_rng(0);
	struct hist h;

	for (int i = 0; i < 2000; i++) {
		uint64_t v = rng_u64(&rng) >> rng_below(&rng, 64), edge;

		hist_init(&h);
		hist_add(&h, v);
		hist_add(&h, UINT64_MAX); /* so that max does not hide it */
		edge = hist_quantile(&h, 0.5);
		assert_true(edge >= v && edge - v <= v / 16);
		assert_true(hist_quantile(&h, 1) == UINT64_MAX);
	}
}

/* The upper edges of neighbouring values never go down. */
static void test_monotonic(void **state)
{
	struct hist h;
	uint64_t last = 0;

	for (uint64_t v = 0; v < 5000; v++) {
		uint64_t edge;

		hist_init(&h);
		hist_add(&h, v);
		hist_add(&h, UINT64_MAX);
		edge = hist_quantile(&h, 0.5);
		assert_true(edge >= last);
		last = edge;
	}
}

static void test_merge(void **state)
{
	struct hist a, b;

	hist_init(&a);
	hist_init(&b);
	hist_add(&a, 3);
	hist_add(&b, 1000);
	hist_add(&b, 1);
	hist_merge(&a, &b);
	assert_int_equal(a.count, 3);
	assert_int_equal(a.sum, 1004);
	assert_int_equal(a.min, 1);
	assert_int_equal(a.max, 1000);
	assert_int_equal(hist_quantile(&a, 0.5), 3);
	assert_int_equal(hist_quantile(&a, 1), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_exact_when_small),
		cmocka_unit_test(test_error_bound),
		cmocka_unit_test(test_monotonic),
		cmocka_unit_test(test_merge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
