/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latencies of reads; any thread, under one lock that is held for nanoseconds.
 * Invariant: a class never counts more than AGE_AT reads; then all its steps
 * are halved, so what is old fades.
 */
#include "client/latency.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/str.h"
#include "base/time.h"

#define AGE_AT	   512
#define PROBES	   8			  /* of the hash table */
#define COLD_READS (64 * LATENCY_TARGETS) /* of others, and none of it */

void latency_init(struct latency *l)
{
	memset(l, 0, sizeof(*l));
	pthread_mutex_init(&l->mu, NULL);
}

void latency_fini(struct latency *l)
{
	for (size_t i = 0; i < LATENCY_TARGETS; i++)
		free(l->targets[i]);
	pthread_mutex_destroy(&l->mu);
}

static unsigned class_of(uint64_t bytes)
{
	uint64_t most = 64 * KiB;
	unsigned i = 0;

	for (; i < LATENCY_CLASSES - 1 && bytes > most; i++)
		most *= 4;
	return i;
}

/* 2 per power of two, from 1 us on. */
static unsigned step_of(uint64_t ns)
{
	uint64_t us = MAX(ns / NS_PER_US, (uint64_t)1);
	unsigned log2 = 63 - (unsigned)__builtin_clzll(us);
	unsigned half = log2 ? us >> (log2 - 1) & 1 : 0;

	return MIN(log2 * 2 + half, LATENCY_STEPS - 1u);
}

static uint64_t step_end_ns(unsigned step)
{
	uint64_t us = (uint64_t)1 << step / 2;

	return (step % 2 ? us * 2 : us + (us + 1) / 2) * NS_PER_US;
}

/*
 * Where it stands, or may: an empty place, or else that of one that was read
 * long ago, as those of a former life are.  NULL: all others are read, too;
 * were they to drive each other out, none would ever have read enough.
 */
static struct latency_target **place_of(struct latency *l,
					const struct uuid *segment)
{
	uint64_t hash = hash_bytes(segment->b, sizeof(segment->b));
	struct latency_target **at, **coldest = NULL;

	for (unsigned i = 0; i < PROBES; i++) {
		at = &l->targets[(hash + i) % LATENCY_TARGETS];
		if (!*at || uuid_eq(&(*at)->segment, segment))
			return at;
		if (!coldest || (*at)->last < (*coldest)->last)
			coldest = at;
	}
	return l->reads - (*coldest)->last >= COLD_READS ? coldest : NULL;
}

/* NULL when there is no place or no memory. */
static struct latency_target *make(struct latency *l,
				   const struct uuid *segment)
{
	struct latency_target **at = place_of(l, segment);

	if (!at)
		return NULL;
	if (!*at)
		*at = calloc(1, sizeof(**at));
	if (*at && !uuid_eq(&(*at)->segment, segment))
		**at = (struct latency_target){.segment = *segment};
	return *at;
}

static const struct latency_target *find(struct latency *l,
					 const struct uuid *segment)
{
	struct latency_target **at = place_of(l, segment);

	return at && *at && uuid_eq(&(*at)->segment, segment) ? *at : NULL;
}

static void age(struct latency_class *c)
{
	c->count = 0;
	for (unsigned i = 0; i < LATENCY_STEPS; i++) {
		c->step[i] /= 2;
		c->count = (uint16_t)(c->count + c->step[i]);
	}
}

void latency_add(struct latency *l, const struct uuid *segment, uint64_t bytes,
		 uint64_t ns)
{
	struct latency_target *target;

	pthread_mutex_lock(&l->mu);
	l->reads++;
	target = make(l, segment);
	if (target) {
		struct latency_class *c = &target->classes[class_of(bytes)];

		target->last = l->reads;
		c->step[step_of(ns)]++;
		if (++c->count >= AGE_AT)
			age(c);
	}
	pthread_mutex_unlock(&l->mu);
}

static uint64_t p95_of(const struct latency_class *c)
{
	unsigned above = c->count / 20, i = LATENCY_STEPS;

	if (c->count < LATENCY_ENOUGH)
		return 0;
	while (i-- > 0) {
		if (c->step[i] > above)
			break;
		above -= c->step[i];
	}
	return step_end_ns(i);
}

uint64_t latency_p95(struct latency *l, const struct uuid *segment,
		     uint64_t bytes)
{
	const struct latency_target *target;
	uint64_t ns = 0;

	pthread_mutex_lock(&l->mu);
	target = find(l, segment);
	if (target)
		ns = p95_of(&target->classes[class_of(bytes)]);
	pthread_mutex_unlock(&l->mu);
	return ns;
}

void latency_earn(struct latency *l)
{
	pthread_mutex_lock(&l->mu);
	l->credit = MIN(l->credit + LATENCY_SHARE, LATENCY_SAVED * 100u);
	pthread_mutex_unlock(&l->mu);
}

bool latency_spend(struct latency *l, unsigned leave)
{
	bool may;

	pthread_mutex_lock(&l->mu);
	may = l->credit >= (leave + 1) * 100;
	l->credit -= may ? 100 : 0;
	pthread_mutex_unlock(&l->mu);
	return may;
}

void latency_refund(struct latency *l)
{
	pthread_mutex_lock(&l->mu);
	l->credit = MIN(l->credit + 100, LATENCY_SAVED * 100u);
	pthread_mutex_unlock(&l->mu);
}
