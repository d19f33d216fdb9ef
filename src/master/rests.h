/* SPDX-License-Identifier: Apache-2.0 */
/* Space that nobody has, by the records of a journal, but that somebody of the
 * former life may be at. */
#ifndef MASTER_RESTS_H
#define MASTER_RESTS_H

#include "journal/record.h"
#include "master/core.h"
#include "master/seg_table.h"

struct rest;
struct rests {
	struct rest *all; /* the oldest first */
	size_t count, cap;
};

void rests_fini(struct rests *rests);

/* ms: known to be so long; 0 = as long as a put takes.  -ENOMEM. */
int rests_add(struct rests *rests, const struct jr_extent *ext, uint64_t ms);
/* Whoever reads it, or may be late with it, goes on.  -ENOMEM. */
int rests_add_replica(struct rests *rests, const struct core *core,
		      const struct replica *rep);
/* Into the quarantine, but for what has an owner or lies on segments that are
 * gone.  -ENOMEM. */
int rests_begin(const struct rests *rests, struct core *core,
		struct seg_table *segments);

/* As a record has it. */
static inline uint64_t rests_ns(uint64_t ms)
{
	return MIN(ms, TASK_NS_MAX / NS_PER_MS) * NS_PER_MS;
}

#endif
