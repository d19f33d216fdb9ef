/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Freed extents that somebody may still legally touch rest here until that is
 * over.  Places are reserved when extents are taken, so that giving one back
 * can't fail.
 */
#ifndef MASTER_QUARANTINE_H
#define MASTER_QUARANTINE_H

#include "master/core.h"

/* Before count extents are taken; -ENOMEM. */
int quarantine_reserve(struct core *core, size_t count);
/* An extent out of use: free at once when release_ns has passed. */
void quarantine_put(struct core *core, struct extent *ext, uint64_t release_ns);
/* A range that was taken for no other purpose; a place was reserved. */
void quarantine_rest(struct core *core, const struct resting *r);
/* Frees what has rested; returns how many extents. */
size_t quarantine_release(struct core *core);
/* When the first extent of that kind on an ONLINE segment is free, at most
 * until limit_ns; 0 when none is.  Segments whose mark is core->mark do not
 * count. */
uint64_t quarantine_next(const struct core *core, enum kind kind,
			 uint64_t limit_ns);
/* Forgets what rests on a segment that goes away; returns the latest release
 * time because of a writer, 0 when there was none. */
uint64_t quarantine_purge(struct core *core, const struct segment *seg);

#endif
