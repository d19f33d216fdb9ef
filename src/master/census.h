/* SPDX-License-Identifier: Apache-2.0 */
/* How many replicas an object has and should have, and where room is for more.
 */
#ifndef MASTER_CENSUS_H
#define MASTER_CENSUS_H

#include "master/core.h"

/* Of the replicas of one kind. */
struct census {
	unsigned good;	  /* readable, and to stay */
	unsigned away;	  /* OFFLINE for a short time */
	bool is_readable; /* any replica of the object */
	bool is_copied;	  /* one is being made */
};

struct census census_of(const struct core *core, const struct object *obj,
			enum kind kind);
/* Are replicas of that kind to be made again?  One memory replica is a cache of
 * its node and goes with it. */
bool census_wants(const struct object *obj, enum kind kind);
/* Is one of any kind to be made? */
bool census_is_short(const struct core *core, const struct object *obj);
/* What leaves goes once there is enough without it. */
void census_trim(struct core *core, struct object *obj, enum kind kind);
/* Copies make no room: what they would push out is worth as much. */
bool census_has_room(const struct core *core, enum kind kind, uint64_t size);

/* It drains, or it is on a segment that has been OFFLINE for too long. */
bool replica_is_leaving(const struct core *core, const struct replica *rep);

#endif
