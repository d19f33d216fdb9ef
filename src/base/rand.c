/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xoshiro256** (Blackman and Vigna) seeded by splitmix64, which never gives
 * the all-zero state that the generator could not leave.
 */
#include "base/rand.h"

#include <errno.h>
#include <sys/random.h>

static uint64_t splitmix64(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

void rng_seed(struct rng *rng, uint64_t seed)
{
	for (size_t i = 0; i < ARRAY_SIZE(rng->s); i++)
		rng->s[i] = splitmix64(&seed);
}

uint64_t rng_u64(struct rng *rng)
{
	uint64_t *s = rng->s;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

/* Lemire's multiplication; values that would favour some results are redrawn */
uint64_t rng_below(struct rng *rng, uint64_t bound)
{
	unsigned __int128 m;
	uint64_t reject;

	ASSERT(bound > 0);
	m = (unsigned __int128)rng_u64(rng) * bound;
	if ((uint64_t)m < bound) {
		reject = (0 - bound) % bound;
		while ((uint64_t)m < reject)
			m = (unsigned __int128)rng_u64(rng) * bound;
	}
	return (uint64_t)(m >> 64);
}

void (*rand_world)(void *p, size_t n);

void rand_fill_os(void *p, size_t n)
{
	uint8_t *at = p;

	if (unlikely(rand_world)) {
		rand_world(p, n);
		return;
	}
	while (n > 0) {
		ssize_t got = getrandom(at, n, 0);

		ASSERT(got > 0 || errno == EINTR);
		if (got > 0) {
			at += got;
			n -= (size_t)got;
		}
	}
}
