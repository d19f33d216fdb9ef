/* SPDX-License-Identifier: Apache-2.0 */
/* Small seeded generator (xoshiro256**) for placement, jitter and tests; not
 * for secrets.  rand_fill_os() asks the kernel and is for identifiers. */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include "base/def.h"

struct rng {
	uint64_t s[4];
};

void rng_seed(struct rng *rng, uint64_t seed);
uint64_t rng_u64(struct rng *rng);
/* Uniform in [0, bound); bound > 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);
/* A simulated world's, in the place of the kernel's; NULL: the kernel's. */
extern void (*rand_world)(void *p, size_t n);
/* Kernel randomness; aborts only if the kernel has none (never on Linux). */
void rand_fill_os(void *p, size_t n);

#endif
