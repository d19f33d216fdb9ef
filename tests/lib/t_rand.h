/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Randomised tests: one seed per process, printed, so that a failure can be
 * repeated with T_SEED=N in the environment.
 */
#ifndef T_RAND_H
#define T_RAND_H

#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "base/str.h"

static inline uint64_t t_seed(void)
{
	static uint64_t seed;
	static bool is_set;
	const char *env = getenv("T_SEED");

	if (is_set)
		return seed;
	if (!env || str_to_u64(str_of(env), &seed))
		rand_fill_os(&seed, sizeof(seed));
	is_set = true;
	fprintf(stderr, "seed: T_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/* A generator of its own for each part of a test; part tells them apart. */
static inline struct rng t_rng(uint64_t part)
{
	struct rng rng;

	rng_seed(&rng, t_seed() + part * 0x9e3779b97f4a7c15);
	return rng;
}

#endif
