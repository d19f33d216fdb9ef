/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eviction: which replica goes first.
 *
 * Each segment has three lists of the complete replicas that lie on it alone,
 * and each kind has three of those that lie on several, each ordered by last
 * access: idle (never leased), leased (a reader asked since; so also ordered
 * by end of lease, for all leases are equally long) and soft (soft-pinned).
 * Hard-pinned replicas stand in none.  The coldest of a kind is therefore found
 * by looking at list heads only, and a leased head means that all behind it are
 * leased, too.
 */
#ifndef MASTER_EVICT_H
#define MASTER_EVICT_H

#include "master/core.h"

void recency_init(struct recency *r);
/* (Re)files a complete replica as the hottest of its list. */
void evict_note(struct core *core, struct replica *rep);
void evict_forget(struct core *core, struct replica *rep);

/* Drops the coldest replica of that kind that may go; segments whose mark is
 * core->mark are left alone.  Returns the bytes, 0 when there is none. */
uint64_t evict_coldest(struct core *core, enum kind kind);
/* The same on one segment; of those on several, any. */
uint64_t evict_coldest_of(struct core *core, struct segment *seg);

/* Live = taken and not resting, on ONLINE segments. */
void evict_usage(const struct core *core, enum kind kind, uint64_t *live,
		 uint64_t *capacity);
/*
 * One slice of the background round: at most budget replicas, down to
 * watermark - ratio once the watermark is passed.  Returns when to call again:
 * 0 = nothing to do, now = at once, later = when a lease ends.
 */
uint64_t evict_background(struct core *core, enum kind kind, unsigned budget);
/* Does a background round have to start? */
bool evict_is_due(const struct core *core, enum kind kind);

#endif
