/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long whole reads take, by namespace and class of size: recent ones weigh
 * more.  Any thread.
 */
#ifndef CLIENT_LATENCY_H
#define CLIENT_LATENCY_H

#include <pthread.h>

#include "base/def.h"
#include "base/uuid.h"

#define LATENCY_TARGETS 512 /* of those that are read; not more */
#define LATENCY_CLASSES 9   /* up to 64 KiB, 256 KiB, 1 MiB … 1 GiB, more */
#define LATENCY_STEPS	64  /* of half a power of two of microseconds */
#define LATENCY_ENOUGH	20  /* reads before a percentile is told */

struct latency_class {
	uint16_t count, step[LATENCY_STEPS];
};
struct latency_target {
	struct uuid segment;
	uint64_t last; /* number of its last read */
	struct latency_class classes[LATENCY_CLASSES];
};

struct latency {
	pthread_mutex_t mu;
	struct latency_target *targets[LATENCY_TARGETS]; /* hashed */
	uint64_t reads;					 /* of all */
	/* Percent of reads that may be made twice, saved up. */
	unsigned credit;
};

void latency_init(struct latency *l);
void latency_fini(struct latency *l);
/* A good read of bytes from there took ns. */
void latency_add(struct latency *l, const struct uuid *segment, uint64_t bytes,
		 uint64_t ns);
/* At most so long for 95 % of such reads, up to a step; 0 = not known. */
uint64_t latency_p95(struct latency *l, const struct uuid *segment,
		     uint64_t bytes);

/* A read begins; LATENCY_SHARE % of them may be made twice, so many can be
 * saved up. */
#define LATENCY_SHARE 5
#define LATENCY_SAVED 20
void latency_earn(struct latency *l);
/* May one be made twice now, and still leave so many?  It counts then. */
bool latency_spend(struct latency *l, unsigned leave);
/* It was not made twice after all. */
void latency_refund(struct latency *l);

#endif
