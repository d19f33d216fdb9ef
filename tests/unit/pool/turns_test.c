/* SPDX-License-Identifier: Apache-2.0 */
/* Turns: shares by bytes, counted; no clock and no thread. */
#include "pool/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_rand.h"

#define CHUNK (256 * KiB)

/* Takes bytes for whoever is next, count times; returns how many went to
 * *who. */
static unsigned serve(struct turns *t, const struct turn *who, uint64_t bytes,
		      unsigned count)
{
	unsigned hits = 0;

	for (unsigned i = 0; i < count; i++) {
		struct turn *turn = turns_next(t);

		assert_non_null(turn);
		hits += turn == who;
		turns_charge(t, turn, bytes);
	}
	return hits;
}

static void test_empty(void **state)
{
	struct turn a = {.flow = 1};
	struct turns t;

	turns_init(&t, 1);
	assert_null(turns_next(&t));
	turns_leave(&t, &a); /* nowhere: nothing happens */
	turns_add(&t, &a);
	assert_ptr_equal(turns_next(&t), &a);
	turns_leave(&t, &a);
	turns_leave(&t, &a);
	assert_null(turns_next(&t));
}

/* A huge job does not starve a small one: four chunks of 256 KiB are a turn. */
static void test_small_job(void **state)
{
	struct turn huge = {.flow = 1}, small = {.flow = 2};
	struct turns t;

	turns_init(&t, 1);
	turns_add(&t, &huge);
	assert_int_equal(serve(&t, &huge, CHUNK, 101), 101);
	turns_add(&t, &small);
	for (unsigned i = 0; turns_next(&t) != &small; i++) {
		assert_true(i < 4);
		turns_charge(&t, turns_next(&t), CHUNK);
	}
	assert_int_equal(serve(&t, &small, CHUNK, 80), 40);
}

/* A caller with a thousand objects has one turn, not a thousand. */
static void test_batch(void **state)
{
	static struct turn many[1000];
	struct turn one = {.flow = 2};
	struct turns t;

	turns_init(&t, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++) {
		many[i] = (struct turn){.flow = 1};
		turns_add(&t, &many[i]);
	}
	turns_add(&t, &one);
	assert_int_equal(serve(&t, &one, CHUNK, 80), 40);
	turns_leave(&t, &one);
	/* In order of arrival, also when the first ones leave. */
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++) {
		assert_ptr_equal(turns_next(&t), &many[i]);
		turns_charge(&t, &many[i], MiB);
		turns_leave(&t, &many[i]);
	}
	assert_null(turns_next(&t));
}

/* Small reads get as many bytes as large writes, not as many turns. */
static void test_directions(void **state)
{
	struct turn read = {.flow = 1}, write = {.flow = 2, .is_write = true};
	uint64_t bytes[2] = {0};
	struct turns t;

	turns_init(&t, 1);
	turns_add(&t, &write);
	/* What it took while it was alone is not held against it. */
	serve(&t, &write, CHUNK, 100);
	turns_add(&t, &read);
	for (unsigned i = 0; i < 2000; i++) {
		struct turn *turn = turns_next(&t);
		uint64_t n = turn->is_write ? CHUNK : 4096;

		bytes[turn->is_write] += n;
		turns_charge(&t, turn, n);
	}
	assert_in_range(bytes[0], bytes[1] - CHUNK, bytes[1] + CHUNK);
	/* Nor does who comes back after a while have anything saved up. */
	turns_leave(&t, &read);
	serve(&t, &write, CHUNK, 100);
	turns_add(&t, &read);
	assert_in_range(serve(&t, &read, CHUNK, 40), 19, 21);
}

static void test_weight(void **state)
{
	struct turn read = {.flow = 1}, write = {.flow = 2, .is_write = true};
	struct turns t;

	turns_init(&t, 4);
	turns_add(&t, &read);
	turns_add(&t, &write);
	assert_in_range(serve(&t, &read, CHUNK, 1000), 798, 802);
}

/* Random comings and goings against a count of who is there. */
static void test_random(void **state)
{
	static struct turn turns[64];
	struct rng rng = t_rng(7);
	unsigned present = 0;
	struct turns t;

	turns_init(&t, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(turns); i++)
		turns[i] = (struct turn){.flow = 1 + rng_below(&rng, 9),
					 .is_write = rng_below(&rng, 2)};
	for (unsigned i = 0; i < 20000; i++) {
		struct turn *turn = &turns[rng_below(&rng, ARRAY_SIZE(turns))];

		if (turn->place == TURN_NOWHERE) {
			turns_add(&t, turn);
			present++;
		} else if (rng_below(&rng, 2)) {
			turns_leave(&t, turn);
			present--;
		}
		turn = turns_next(&t);
		assert_int_equal(turn != NULL, present != 0);
		if (turn)
			turns_charge(&t, turn, rng_below(&rng, MiB));
	}
	while (present--)
		turns_leave(&t, turns_next(&t));
	assert_null(turns_next(&t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_small_job),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_directions),
		cmocka_unit_test(test_weight),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
