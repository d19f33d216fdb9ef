/* SPDX-License-Identifier: Apache-2.0 */
/* Budget: order, the oversized request, and four threads that share it. */
#include "pool/budget.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_rand.h"

struct waiter {
	struct budget_waiter w;
	_Atomic(unsigned) wakes;
};

static void wake(struct budget_waiter *w)
{
	atomic_fetch_add(&container_of(w, struct waiter, w)->wakes, 1);
}

static void test_order(void **state)
{
	struct waiter a = {.w.wake = wake}, b = {.w.wake = wake};
	struct budget budget;

	budget_init(&budget, 100);
	assert_true(budget_take(&budget, &a.w, 60));
	assert_false(budget_take(&budget, &a.w, 50));
	/* There is room for 40, but somebody waits. */
	assert_false(budget_take(&budget, &b.w, 40));
	assert_int_equal(a.wakes + b.wakes, 0);
	budget_give(&budget, 60);
	assert_int_equal(a.wakes, 1);
	assert_int_equal(b.wakes, 0);
	assert_true(budget_take(&budget, &a.w, 50));
	assert_int_equal(b.wakes, 1);
	assert_true(budget_take(&budget, &b.w, 40));
	assert_false(a.w.is_in_line || b.w.is_in_line);
	assert_int_equal(budget.high, 90);
	budget_give(&budget, 90);
	budget_fini(&budget);
}

/* Four waiters on a full budget, one of which moves small pieces: each gets the
 * same bytes. */
static void test_turns(void **state)
{
	static const uint64_t piece[] = {64, 64, 4, 64};
	struct waiter w[4] = {0};
	uint64_t got[4] = {0};
	struct budget budget;

	budget_init(&budget, 64);
	budget.turn_bytes = 64;
	for (unsigned i = 0; i < 4; i++)
		w[i].w.wake = wake;
	assert_true(budget_take(&budget, &w[0].w, 64));
	for (unsigned i = 0; i < 4; i++)
		assert_false(budget_take(&budget, &w[i].w, piece[i]));
	budget_give(&budget, 64);
	for (unsigned round = 0; round < 40; round++)
		for (unsigned i = 0; i < 4; i++)
			while (budget_take(&budget, &w[i].w, piece[i])) {
				got[i] += piece[i];
				budget_give(&budget, piece[i]);
			}
	for (unsigned i = 0; i < 4; i++)
		assert_in_range(got[i], 40 * 64 - 64, 40 * 64 + 64);
	for (unsigned i = 0; i < 4; i++)
		budget_leave(&budget, &w[i].w);
	budget_fini(&budget);
}

static void test_leave_wakes_next(void **state)
{
	struct waiter a = {.w.wake = wake}, b = {.w.wake = wake};
	struct budget budget;

	budget_init(&budget, 100);
	assert_true(budget_take(&budget, &a.w, 60));
	assert_false(budget_take(&budget, &a.w, 90));
	assert_false(budget_take(&budget, &b.w, 10));
	budget_leave(&budget, &a.w);
	assert_int_equal(b.wakes, 1);
	assert_true(budget_take(&budget, &b.w, 10));
	budget_leave(&budget, &b.w);
	budget_give(&budget, 70);
	budget_fini(&budget);
}

static void test_larger_than_limit(void **state)
{
	struct waiter a = {.w.wake = wake};
	struct budget budget;

	budget_init(&budget, 100);
	assert_true(budget_take(&budget, &a.w, 1));
	assert_false(budget_take(&budget, &a.w, 1000));
	budget_give(&budget, 1);
	assert_int_equal(a.wakes, 1);
	assert_true(budget_take(&budget, &a.w, 1000));
	assert_false(budget_take(&budget, &a.w, 1));
	budget_give(&budget, 1000);
	assert_true(budget_take(&budget, &a.w, 1));
	budget_give(&budget, 1);
	budget_fini(&budget);
}

#define ROUNDS 3000

struct taker {
	struct waiter w;
	struct budget *budget;
	unsigned index;
};

/* Sleeps until it is woken whenever it is refused: a lost wake-up hangs. */
static void *take_and_give(void *arg)
{
	struct taker *t = arg;
	struct rng rng = t_rng(t->index);
	uint64_t bytes;

	for (int i = 0; i < ROUNDS; i++) {
		bytes = 1 + rng_below(&rng, 60);
		atomic_store(&t->w.wakes, 0);
		while (!budget_take(t->budget, &t->w.w, bytes)) {
			while (!atomic_exchange(&t->w.wakes, 0))
				sched_yield();
		}
		if (rng_below(&rng, 4) == 0)
			sched_yield();
		budget_give(t->budget, bytes);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct budget budget;
	struct taker takers[4] = {0};
	pthread_t threads[4];

	budget_init(&budget, 100);
	for (unsigned i = 0; i < 4; i++) {
		takers[i].w.w.wake = wake;
		takers[i].budget = &budget;
		takers[i].index = i;
		assert_int_equal(pthread_create(&threads[i], NULL,
						take_and_give, &takers[i]),
				 0);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_true(budget.high <= 100);
	budget_fini(&budget);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_leave_wakes_next),
		cmocka_unit_test(test_larger_than_limit),
		cmocka_unit_test(test_threads),
	};

	t_seed(); /* before there are threads */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
