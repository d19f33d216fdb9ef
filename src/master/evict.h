/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eviction: which replica goes first.
 *
 * Each segment has three lists of the complete replicas that lie on it alone,
 * and each kind has three of those that lie on several, each ordered by last
 * access: idle (not leased when it came here), leased (so also ordered by end
 * of lease, for all leases are equally long) and soft (soft-pinned).
 * Hard-pinned replicas stand in none.  The coldest of a kind is therefore found
 * by looking at list heads only, and a leased head means that all behind it are
 * leased, too.
 *
 * Of a group all go or none.  One that has to stay is put behind everything
 * else when it is found, so that it is looked at once while others can go.
 */
#ifndef MASTER_EVICT_H
#define MASTER_EVICT_H

#include "master/core.h"

void recency_init(struct recency *r);
/* (Re)files a complete replica as the hottest of its list: of an object that
 * is used now, or is not leased. */
void evict_note(struct core *core, struct replica *rep);
void evict_forget(struct core *core, struct replica *rep);
/* (Re)files all replicas of an object that is not leased as the hottest: it
 * counts as used now, and leased it was not. */
void evict_renew(struct core *core, struct object *obj);

/* A search, or several that go on where one stopped for want of budget. */
struct sweep {
	/* Replicas that may still be dropped, or be looked at though their
	 * group has to stay.  A group is not cut in two, so the last one may
	 * cost more. */
	unsigned budget;
	/* Groups that were found since then have to stay; 0 = none was. */
	uint64_t since_ns;
	/* Not what has to rest when it has gone, for its readers. */
	bool is_at_once;
};

/* Drops the coldest replica of that kind that may go, and its group with it;
 * segments whose mark is core->mark are left alone.  Returns the bytes, 0 when
 * there is none, or none was found yet and the budget is used up. */
uint64_t evict_coldest(struct core *core, enum kind kind, struct sweep *sweep);
/* The same on one segment; of those on several, any. */
uint64_t evict_coldest_of(struct core *core, struct segment *seg,
			  struct sweep *sweep);

/* Live = taken and not resting, on ONLINE segments. */
void evict_usage(const struct core *core, enum kind kind, uint64_t *live,
		 uint64_t *capacity);
/*
 * One slice of the background round: a budget as above, down to watermark -
 * ratio once the watermark is passed.  Returns when to call again: 0 = nothing
 * to do, now = at once, later = when a lease ends.
 */
uint64_t evict_background(struct core *core, enum kind kind, unsigned budget);
/* Does a background round have to start? */
bool evict_is_due(const struct core *core, enum kind kind);

#endif
