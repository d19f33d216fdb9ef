/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of a volume's ways takes a chunk.
 *
 * Worker's thread; which ways there are is read once for each question, the
 * control thread may change it at any time.  Invariant: no poor way instead of
 * a good one.
 */
#include "pool/chunk.h"

static unsigned pick_by_turn(struct vol_lane *lane, uint32_t ways)
{
	uint32_t after = ways & ~((1u << lane->turn) - 1);
	unsigned i = (unsigned)__builtin_ctz(after ? after : ways);

	lane->turn = (i + 1) % VOL_ENDPOINTS_MAX;
	return i;
}

static unsigned pick_by_load(const struct vol *vol, const struct worker *w,
			     uint32_t ways)
{
	unsigned best = (unsigned)__builtin_ctz(ways);
	uint64_t least = UINT64_MAX, bytes;

	for (; ways; ways &= ways - 1) {
		unsigned i = (unsigned)__builtin_ctz(ways);

		bytes = stat_get(&way_load(&vol->ways[i], w)->inflight);
		if (bytes >= least)
			continue;
		best = i;
		least = bytes;
	}
	return best;
}

struct vol_way *pick_way(struct vol *vol, const struct worker *w,
			 uint32_t tried)
{
	uint32_t ready = atomic_load(&vol->ready);
	uint32_t ways = ways_good(ready) & ~tried;

	if (!ways)
		ways = ways_poor(ready) & ~tried;
	if (!ways)
		return NULL;
	if (IS_POW2(ways) || w->set->opts.multipath == MULTIPATH_FAILOVER)
		return &vol->ways[__builtin_ctz(ways)];
	if (w->set->opts.multipath == MULTIPATH_QUEUE_DEPTH)
		return &vol->ways[pick_by_load(vol, w, ways)];
	return &vol->ways[pick_by_turn(&vol->lanes[w->index], ways)];
}

/*
 * A path may hold as much as is left free of the budget (its worker's share of
 * that): however many targets are stuck, the others have something to go on
 * with.  Who must wait has bytes in flight there, so it will be woken.
 */
static bool is_path_full(const struct vol_way *way, const struct worker *w)
{
	const struct budget *b = &w->set->budget;
	uint64_t used = atomic_load_explicit(&b->used, memory_order_relaxed);
	uint64_t held = stat_get(&way_load(way, w)->inflight);

	return held && (used >= b->limit ||
			held > (b->limit - used) / w->set->worker_count);
}

struct vol_way *pick_free(struct vol *vol, const struct worker *w,
			  struct vol_way *way)
{
	uint32_t ready = atomic_load(&vol->ready), open = 0;
	uint32_t ways = ways_good(ready) ? ways_good(ready) : ways_poor(ready);

	if (!is_path_full(way, w))
		return way;
	if (w->set->opts.multipath != MULTIPATH_ROUND_ROBIN)
		return NULL;
	for (; ways; ways &= ways - 1)
		if (!is_path_full(&vol->ways[__builtin_ctz(ways)], w))
			open |= ways & -ways;
	return open ? &vol->ways[pick_by_turn(&vol->lanes[w->index], open)]
		    : NULL;
}
