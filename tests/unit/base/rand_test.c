/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "t_death.h"

/* From the authors' reference code with the state 1, 2, 3, 4. */
static void test_reference(void **state)
{
	static const uint64_t expected[] = {11520, 0, 1509978240,
					    1215971899390074240};
	struct rng rng = {{1, 2, 3, 4}};

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_true(rng_u64(&rng) == expected[i]);
}

static void test_seeds(void **state)
{
	struct rng a, b, c;

	rng_seed(&a, 0);
	rng_seed(&b, 0);
	rng_seed(&c, 1);
	assert_true(a.s[0] | a.s[1] | a.s[2] | a.s[3]);
	assert_true(a.s[0] == 0xe220a8397b1dcdaf); /* splitmix64 of 0 */
	assert_true(rng_u64(&a) == rng_u64(&b));
	assert_true(rng_u64(&a) != rng_u64(&c));
}

static void test_below(void **state)
{
	struct rng rng;
	unsigned seen[6] = {0};

	rng_seed(&rng, 42);
	for (int i = 0; i < 6000; i++)
		seen[rng_below(&rng, 6)]++;
	for (int i = 0; i < 6; i++)
		assert_in_range(seen[i], 850, 1150);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(rng_below(&rng, 1), 0);
		assert_true(rng_below(&rng, UINT64_MAX) < UINT64_MAX);
	}
}

static void ask_for_nothing(void *arg)
{
	rng_below(arg, 0);
}

static void test_below_zero_is_a_bug(void **state)
{
	struct rng rng = {{1, 2, 3, 4}};

	assert_non_null(strstr(t_death(ask_for_nothing, &rng), "bound > 0"));
}

static void test_os(void **state)
{
	uint8_t a[300] = {0}, b[300] = {0};

	rand_fill_os(a, sizeof(a));
	rand_fill_os(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a + 284, (uint8_t[16]){0}, 16);
	rand_fill_os(NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reference),
		cmocka_unit_test(test_seeds),
		cmocka_unit_test(test_below),
		cmocka_unit_test(test_below_zero_is_a_bug),
		cmocka_unit_test(test_os),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
