/* SPDX-License-Identifier: Apache-2.0 */
/* Percentiles of recent reads, and how many may be made twice. */
#include "client/latency.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/time.h"

static const struct uuid one = {{1}}, two = {{2}};

static void add(struct latency *l, unsigned n, uint64_t us)
{
	while (n--)
		latency_add(l, &one, 100000, us * NS_PER_US);
}

static uint64_t p95_us(struct latency *l)
{
	return latency_p95(l, &one, 100000) / NS_PER_US;
}

static void test_percentile(void **state)
{
	struct latency l;

	latency_init(&l);
	assert_int_equal(p95_us(&l), 0);
	add(&l, LATENCY_ENOUGH - 1, 100);
	assert_int_equal(p95_us(&l), 0);
	add(&l, 81, 100);
	assert_in_range(p95_us(&l), 100, 150);
	add(&l, 5, 9000); /* 5 of 105 are not within 95 % */
	assert_in_range(p95_us(&l), 100, 150);
	add(&l, 5, 9000);
	assert_in_range(p95_us(&l), 9000, 13500);
	/* Neither other sizes nor other namespaces. */
	assert_int_equal(latency_p95(&l, &one, 64 * MiB), 0);
	assert_int_equal(latency_p95(&l, &two, 100000), 0);
	for (unsigned i = 0; i < 100; i++)
		latency_add(&l, &one, 20 * MiB, 10 * NS_PER_MS);
	assert_int_equal(latency_p95(&l, &one, 512 * MiB), 0);
	latency_fini(&l);
}

static void test_fades(void **state)
{
	struct latency l;

	latency_init(&l);
	add(&l, 100, 50000);
	assert_in_range(p95_us(&l), 50000, 75000);
	add(&l, 3000, 100);
	assert_in_range(p95_us(&l), 100, 150);
	latency_fini(&l);
}

static void test_extremes(void **state)
{
	struct latency l;

	latency_init(&l);
	add(&l, 30, 0);
	assert_in_range(p95_us(&l), 1, 2);
	for (unsigned i = 0; i < 600; i++)
		latency_add(&l, &one, 100000, UINT64_MAX);
	assert_true(p95_us(&l) > 1000000);
	for (unsigned i = 0; i < 2 * LATENCY_TARGETS; i++) {
		struct uuid id = {{3, (uint8_t)i, (uint8_t)(i >> 8)}};

		latency_add(&l, &id, 1, 1000);
	}
	latency_fini(&l);
}

static struct uuid number(unsigned i)
{
	return (struct uuid){{4, (uint8_t)i, (uint8_t)(i >> 8)}};
}

static void read_often(struct latency *l, const struct uuid *id)
{
	for (unsigned i = 0; i < 400; i++)
		latency_add(l, id, 1, NS_PER_MS);
}

static unsigned known(struct latency *l, unsigned first, unsigned end)
{
	unsigned n = 0;

	for (unsigned i = first; i < end; i++) {
		struct uuid id = number(i);

		n += latency_p95(l, &id, 1) != 0;
	}
	return n;
}

/* Who is read no more makes room; who is read seldom stays. */
static void test_room(void **state)
{
	struct latency l;

	latency_init(&l);
	add(&l, LATENCY_ENOUGH, 100);
	for (unsigned i = 0; i < 2000; i++) {
		struct uuid id = number(i);

		read_often(&l, &id);
		assert_int_equal(known(&l, i, i + 1), 1);
		add(&l, 1, 100);
	}
	assert_int_equal(known(&l, 1900, 2000), 100);
	assert_in_range(p95_us(&l), 100, 150);
	latency_fini(&l);
}

/* Of more than there is room for, all of them read, as many as fit. */
static void test_crowd(void **state)
{
	struct latency l;

	latency_init(&l);
	for (unsigned round = 0; round < 100; round++)
		for (unsigned i = 0; i < 2 * LATENCY_TARGETS; i++) {
			struct uuid id = number(i);

			latency_add(&l, &id, 1, NS_PER_MS);
		}
	assert_true(known(&l, 0, 2 * LATENCY_TARGETS) >
		    LATENCY_TARGETS * 9 / 10);
	latency_fini(&l);
}

static void test_share(void **state)
{
	unsigned spent = 0;
	struct latency l;

	latency_init(&l);
	assert_false(latency_spend(&l, 0));
	for (unsigned i = 0; i < 1000; i++) {
		latency_earn(&l);
		spent += latency_spend(&l, 0);
	}
	assert_int_equal(spent, 1000 * LATENCY_SHARE / 100);
	/* What is saved up has an end. */
	for (unsigned i = 0; i < 100000; i++)
		latency_earn(&l);
	for (spent = 0; latency_spend(&l, 5); spent++)
		;
	assert_int_equal(spent, LATENCY_SAVED - 5);
	for (spent = 0; latency_spend(&l, 0); spent++)
		;
	assert_int_equal(spent, 5);
	latency_fini(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percentile), cmocka_unit_test(test_fades),
		cmocka_unit_test(test_extremes),   cmocka_unit_test(test_room),
		cmocka_unit_test(test_crowd),	   cmocka_unit_test(test_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
