/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "t_rand.h"

/* Of the bucket into which the value falls. */
static uint64_t edge_of(uint64_t v)
{
	struct hist h;
	size_t i;

	hist_init(&h);
	hist_add(&h, v);
	for (i = 0; h.bucket[i] == 0; i++)
		assert_true(i < HIST_BUCKETS);
	return hist_edge(i);
}

static void test_sums(void **state)
{
	struct hist h;

	hist_init(&h);
	assert_int_equal(h.count, 0);
	for (uint64_t v = 1; v <= 10; v++)
		hist_add(&h, v);
	assert_int_equal(h.count, 10);
	assert_int_equal(h.sum, 55);
	assert_int_equal(h.bucket[0], 0);
	assert_int_equal(h.bucket[10], 1);
}

/* The upper edge is at most 1/16 above the value, never below. */
static void test_error_bound(void **state)
{
	struct rng rng = t_rng(0);

	for (int i = 0; i < 2000; i++) {
		uint64_t v = rng_u64(&rng) >> rng_below(&rng, 64);
		uint64_t edge = edge_of(v);

		assert_true(edge >= v && edge - v <= v / 16);
	}
	assert_int_equal(edge_of(UINT64_MAX), UINT64_MAX);
}

static void test_monotonic(void **state)
{
	uint64_t last = 0;

	for (uint64_t v = 0; v < 5000; v++) {
		uint64_t edge = edge_of(v);

		assert_true(edge >= last);
		last = edge;
	}
	for (size_t i = 1; i < HIST_BUCKETS; i++)
		assert_true(hist_edge(i) > hist_edge(i - 1));
}

static void test_percentile(void **state)
{
	struct hist h, more;

	hist_init(&h);
	assert_int_equal(hist_percentile(&h, 50), 0);
	for (uint64_t v = 1; v <= 1000; v++)
		hist_add(&h, v * 1000);
	assert_in_range(hist_percentile(&h, 50), 500000, 532000);
	assert_in_range(hist_percentile(&h, 99), 990000, 1000000);
	assert_int_equal(hist_percentile(&h, 0), hist_percentile(&h, 0.1));
	assert_int_equal(hist_percentile(&h, 100), 1000000);
	assert_int_equal(h.max, 1000000);
	hist_init(&more);
	hist_add(&more, 5);
	hist_merge(&more, &h);
	assert_int_equal(more.count, 1001);
	assert_int_equal(more.sum, h.sum + 5);
	assert_int_equal(more.max, h.max);
	assert_int_equal(hist_percentile(&more, 0), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_error_bound),
		cmocka_unit_test(test_monotonic),
		cmocka_unit_test(test_percentile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
