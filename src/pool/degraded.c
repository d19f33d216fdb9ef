/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths that are lost again and again: wrong digests, resets, a bad cable.
 * Control thread.  Invariant: one that is degraded takes I/O where no better
 * one does, so that it is marked costs nobody the last path.
 */
#include "base/log.h"
#include "base/time.h"
#include "pool/set.h"

#define LOSSES	  5		  /* of live connections, each of them */
#define MEMORY_NS (60 * NS_PER_S) /* so soon after the one before it */

void degraded_lost(struct path *path, uint64_t now_ns)
{
	if (now_ns - path->lost_last_ns > MEMORY_NS)
		path->losses = 0;
	path->lost_last_ns = now_ns;
	stat_add(&path->lost_count, 1);
	if (++path->losses != LOSSES)
		return;
	atomic_store(&path->is_degraded, true);
	log_warn("path degraded",
		 "path=\"%s\" losses=%u: others are preferred until it has "
		 "been well for %u s",
		 path->name, path->losses, (unsigned)(MEMORY_NS / NS_PER_S));
}

void degraded_look(struct path *path, uint64_t now_ns)
{
	struct vol_way *way;

	if (!atomic_load(&path->is_degraded) ||
	    now_ns - path->lost_last_ns <= MEMORY_NS)
		return;
	atomic_store(&path->is_degraded, false);
	path->losses = 0;
	log_info("path is no longer degraded", "path=\"%s\"", path->name);
	list_for_each (way, &path->ways, node)
		vol_refresh(way->vol);
}
