/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement of replicas, on the metadata shard.  Invariant: what was taken from
 * a segment is in the new replica or, on failure, given back before return.
 */
#include "master/place.h"

#include <errno.h>

#include "master/object.h"
#include "master/quarantine.h"
#include "master/segment.h"
#include "proto/frame.h"

#define SAMPLE 6 /* segments that free_ratio_first looks at */

/* One search for space. */
struct search {
	struct core *core;
	const struct object *obj;
	const struct place *place;
	enum kind kind;
	unsigned start; /* where the walk begins */
};

uint64_t place_mark(struct core *core, const struct object *obj, enum kind kind,
		    const struct place *place, uint64_t *largest)
{
	const struct replica *rep;
	struct segment *refused;
	uint64_t sum = 0;

	core->mark++;
	list_for_each (rep, &obj->replicas, node)
		for (unsigned i = 0; i < rep->extent_count; i++)
			rep->extents[i].seg->mark = core->mark;
	for (size_t i = 0; i < place->avoid_count; i++) {
		refused = segment_find(core, &place->avoid[i]);
		if (refused)
			refused->mark = core->mark;
	}
	*largest = 0;
	for (unsigned i = 0; i < core->online_count[kind]; i++) {
		const struct segment *seg = core->online[kind][i];

		if (seg->mark == core->mark)
			continue;
		sum += seg->size;
		*largest = MAX(*largest, seg->size);
	}
	return sum;
}

enum apart {
	APART_HOST,
	APART_TARGET,
	APART_SEGMENT,
	APART_COUNT
};

/* Is seg far enough from what obj has? */
static bool is_apart(const struct search *s, const struct segment *seg,
		     enum apart how)
{
	const struct replica *rep;

	if (seg->mark == s->core->mark)
		return false;
	list_for_each (rep, &s->obj->replicas, node) {
		const struct segment *other = rep->extents[0].seg;

		if (how == APART_HOST && other->host_hash == seg->host_hash)
			return false;
		if (how == APART_TARGET &&
		    other->target_hash == seg->target_hash)
			return false;
	}
	return true;
}

static bool take(const struct search *s, struct segment *seg,
		 struct extent *out)
{
	uint64_t size = s->obj->size;

	*out = (struct extent){.seg = seg, .bytes = size};
	return ext_take(seg->space, size,
			size >= EXTENT_ALIGN ? EXTENT_ALIGN : 0,
			&out->ext) == 0;
}

static bool try_preferred(const struct search *s, struct extent *out)
{
	unsigned count = s->core->online_count[s->kind];

	for (size_t p = 0; p < s->place->preferred_count[s->kind]; p++) {
		const char *name = s->place->preferred[s->kind][p];

		for (unsigned i = 0; i < count; i++) {
			struct segment *seg = s->core->online[s->kind][i];

			if (seg->mark != s->core->mark &&
			    strcmp(seg->name, name) == 0 && take(s, seg, out))
				return true;
		}
	}
	return false;
}

static bool try_near(const struct search *s, struct extent *out)
{
	unsigned count = s->core->online_count[s->kind];
	struct str host = s->place->host_id;

	if (s->kind != KIND_MEM || host.n == 0)
		return false;
	if (!s->place->is_near_wanted &&
	    s->core->opts.strategy != STRATEGY_LOCAL_FIRST)
		return false;
	for (unsigned i = 0; i < count; i++) {
		struct segment *seg = s->core->online[s->kind][i];

		if (seg->mark != s->core->mark &&
		    str_eq(str_of(seg->host_id), host) && take(s, seg, out))
			return true;
	}
	return false;
}

static double free_ratio(const struct segment *seg)
{
	return 1.0 - (double)ext_used(seg->space) / (double)seg->size;
}

static bool try_freest(const struct search *s, struct extent *out)
{
	unsigned count = s->core->online_count[s->kind];
	struct segment *best = NULL;

	if (s->core->opts.strategy != STRATEGY_FREE_RATIO_FIRST)
		return false;
	for (unsigned i = 0; i < count && i < SAMPLE; i++) {
		struct segment *seg =
			s->core->online[s->kind][(s->start + i) % count];

		if (is_apart(s, seg, APART_HOST) &&
		    (!best || free_ratio(seg) > free_ratio(best)))
			best = seg;
	}
	return best && take(s, best, out);
}

static bool try_walk(const struct search *s, struct extent *out)
{
	unsigned count = s->core->online_count[s->kind];

	for (enum apart how = 0; how < APART_COUNT; how++) {
		for (unsigned i = 0; i < count; i++) {
			struct segment *seg =
				s->core->online[s->kind]
					       [(s->start + i) % count];

			if (is_apart(s, seg, how) && take(s, seg, out))
				return true;
		}
		/* The first replica is far from everything. */
		if (list_is_empty(&s->obj->replicas))
			break;
	}
	return false;
}

static void give_all(const struct extent *extents, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		ext_give(extents[i].seg->space, &extents[i].ext);
}

/* The largest piece of seg, cut so that no checksum block straddles two. */
static bool take_piece(struct segment *seg, uint64_t left, struct extent *out)
{
	uint64_t len = MIN(left, ext_largest_free(seg->space));

	if (len < left)
		len = ALIGN_DOWN(len, (uint64_t)CRC_BLOCK);
	*out = (struct extent){.seg = seg, .bytes = len};
	return len > 0 && ext_take(seg->space, len, 0, &out->ext) == 0;
}

/* Several extents when no single range fits; returns their number or 0. */
static unsigned try_split(const struct search *s, struct extent *extents)
{
	unsigned count = s->core->online_count[s->kind], n = 0;
	uint64_t left = s->obj->size;

	if (left < SPLIT_MIN)
		return 0;
	for (unsigned i = 0; i < count; i++) {
		struct segment *seg =
			s->core->online[s->kind][(s->start + i) % count];

		if (seg->mark == s->core->mark)
			continue;
		while (left > 0 && n < EXTENTS_MAX &&
		       take_piece(seg, left, &extents[n]))
			left -= extents[n++].bytes;
	}
	if (left == 0)
		return n;
	give_all(extents, n);
	return 0;
}

int place_replica(struct core *core, struct object *obj, enum kind kind,
		  const struct place *place)
{
	struct search s = {
		.core = core, .obj = obj, .place = place, .kind = kind};
	struct extent extents[EXTENTS_MAX];
	unsigned n = 1;
	uint64_t largest;
	int ret;

	if (quarantine_reserve(core, EXTENTS_MAX) < 0)
		return -ENOMEM;
	if (!place_mark(core, obj, kind, place, &largest))
		return -ENOSPC;
	s.start = (unsigned)rng_below(&core->rng, core->online_count[kind]);
	if (!try_preferred(&s, extents) && !try_near(&s, extents) &&
	    !try_freest(&s, extents) && !try_walk(&s, extents))
		n = try_split(&s, extents);
	if (n == 0)
		return -ENOSPC;
	ret = obj_add_replica(core, obj, kind, extents, n);
	if (ret < 0)
		give_all(extents, n);
	return ret;
}
