/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts that are held: each path that might take their next chunk has its share
 * of the bytes in flight.
 *
 * Worker's thread.  Invariant: a part that is held stands in the line of each
 * path of its volume, in order of arrival, and in no other one: whichever path
 * is free first takes it, and what comes back by a path makes the worker look
 * at nothing else, however much waits for targets that stand still.
 */
#include "pool/chunk.h"

enum issue part_hold(struct part *part, struct vol *vol)
{
	part_leave(part);
	for (unsigned i = 0; i < vol->way_count; i++) {
		struct lane_load *load = way_load(&vol->ways[i], part->worker);

		part->holds[i].part = part;
		list_add_tail(&load->held, &part->holds[i].node);
	}
	part->hold_count = vol->way_count;
	return ISSUE_PARKED;
}

void part_unhold(struct part *part)
{
	for (unsigned i = 0; i < part->hold_count; i++)
		list_del(&part->holds[i].node);
	part->hold_count = 0;
}

void load_unhold(struct lane_load *load)
{
	struct part *part;

	while (!list_is_empty(&load->held)) {
		part = list_first(&load->held, struct hold, node)->part;
		part_unhold(part);
		part_queue(part);
	}
}

void lane_unhold(struct vol_lane *lane)
{
	for (unsigned i = 0; i < lane->vol->way_count; i++)
		load_unhold(way_load(&lane->vol->ways[i], lane->worker));
}
