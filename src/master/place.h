/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement: on which segment a replica goes.  Replicas of one object are on
 * distinct segments, and where there is a choice on distinct hosts, then on
 * distinct targets.
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
};

/* Marks (core->mark) the segments that obj is on already or must avoid; returns
 * the capacity of the other ONLINE ones of that kind and the largest of them.
 */
uint64_t place_mark(struct core *core, const struct object *obj, enum kind kind,
		    const struct place *place, uint64_t *largest);
/* Adds a replica of obj from what is free now.  -ENOSPC, -ENOMEM. */
int place_replica(struct core *core, struct object *obj, enum kind kind,
		  const struct place *place);

#endif
