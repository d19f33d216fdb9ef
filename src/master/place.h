/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement: on which segments a replica goes.  Replicas of one object are on
 * distinct segments, and where there is a choice on distinct hosts, then on
 * distinct targets, then in distinct subsystems.  A large object of the pool is
 * cut into stripes on several segments; all stripes of a replica are as far
 * from other replicas as one extent would be.
 */
#ifndef MASTER_PLACE_H
#define MASTER_PLACE_H

#include "master/core.h"

/* Names that one request may prefer, of each kind. */
#define PREFERRED_MAX 64
/* Segments that one request may refuse. */
#define AVOID_MAX 16

struct place {
	char *const *preferred[KIND_COUNT]; /* names, in order */
	size_t preferred_count[KIND_COUNT];
	struct str host_id;	      /* of the writer; may be empty */
	bool is_near_wanted;	      /* memory on host_id first */
	struct uuid avoid[AVOID_MAX]; /* segments */
	size_t avoid_count;
	unsigned level; /* below PLACE_LEVELS: how far apart, 0 = farthest */
	unsigned more;	/* replicas of this kind to come, this one included */
};

/*
 * Steps from "another host and another subsystem" to "another segment".  Room
 * is made at one before the next is tried.
 */
#define PLACE_LEVELS 5u
unsigned place_level_first(const struct object *obj);

/* Marks (core->mark) the ONLINE segments of that kind that are too close to
 * what obj has, or refused; returns the capacity of the others and the largest
 * of them. */
uint64_t place_mark(struct core *core, const struct object *obj, enum kind kind,
		    const struct place *place, uint64_t *largest);
/* Adds a replica of obj from what is free now.  -ENOSPC, -ENOMEM. */
int place_replica(struct core *core, struct object *obj, enum kind kind,
		  const struct place *place);
/* The same of one that a task makes until then, for a complete object; nothing
 * is pushed out for it. */
int place_copy(struct core *core, struct object *obj, enum kind kind,
	       uint64_t deadline_ns);

#endif
