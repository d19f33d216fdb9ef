/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement of replicas, on the metadata shard.  Invariant: what was taken from
 * a segment is in the new replica or, on failure, given back before return.
 */
#include "master/place.h"

#include <errno.h>

#include "master/census.h"
#include "master/object.h"
#include "master/quarantine.h"
#include "master/segment.h"

#define SAMPLE 6 /* segments that free_ratio_first looks at */

/* One search for space. */
struct search {
	struct core *core;
	const struct object *obj;
	const struct place *place;
	enum kind kind;
	unsigned start; /* where the walk begins */
};

/* What stripes of one object are spread over. */
enum {
	APART_HOST = 1,
	APART_TARGET,
	APART_SUBSYS,
};

/* --- who may take a replica of this object --- */

/* The larger, the less can take both away at once; PLACE_LEVELS at most.  Two
 * hosts that give a subsystem the same name are still two hosts. */
static unsigned distance(const struct segment *a, const struct segment *b)
{
	bool is_same_name = a->subsys_hash == b->subsys_hash;

	if (a == b)
		return 0;
	if (a->host_hash != b->host_hash)
		return is_same_name ? 4 : 5;
	if (is_same_name)
		return 1;
	return a->target_hash != b->target_hash ? 3 : 2;
}

/* Extents come round again to the same segments, so most looks are short. */
static bool is_apart(const struct core *core, const struct object *obj,
		     const struct segment *seg, unsigned least)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj) {
		/* The new one takes its place. */
		if (replica_is_leaving(core, rep))
			continue;
		for (unsigned i = 0; i < rep->extent_count; i++)
			if (distance(rep->extents[i].seg, seg) < least)
				return false;
	}
	return true;
}

static bool is_refused(const struct place *place, const struct segment *seg)
{
	for (size_t i = 0; i < place->avoid_count; i++)
		if (uuid_eq(&place->avoid[i], &seg->id))
			return true;
	return false;
}

unsigned place_level_first(const struct object *obj)
{
	/* The first replica is far from everything. */
	return !obj->replicas ? PLACE_LEVELS - 1 : 0;
}

uint64_t place_mark(struct core *core, const struct object *obj, enum kind kind,
		    const struct place *place, uint64_t *largest)
{
	uint64_t sum = 0;

	ASSERT(place->level < PLACE_LEVELS);
	core->mark++;
	*largest = 0;
	for (unsigned i = 0; i < core->online_count[kind]; i++) {
		struct segment *seg = core->online[kind][i];

		if (is_refused(place, seg) ||
		    !is_apart(core, obj, seg, PLACE_LEVELS - place->level)) {
			seg->mark = core->mark;
			continue;
		}
		sum += seg->size;
		*largest = MAX(*largest, seg->size);
	}
	return sum;
}

/* --- one extent --- */

static bool take_aligned(struct segment *seg, uint64_t bytes, uint64_t align,
			 struct extent *out)
{
	struct ext ext;

	if (ext_take(seg->space, bytes, align, &ext) < 0)
		return false;
	*out = (struct extent){
		.seg = seg, .off = ext.off, .bytes = bytes, .node = ext.node};
	return true;
}

static bool take(struct segment *seg, uint64_t bytes, struct extent *out)
{
	return take_aligned(seg, bytes,
			    bytes >= EXTENT_ALIGN ? EXTENT_ALIGN : 0, out);
}

static bool take_all(const struct search *s, struct segment *seg,
		     struct extent *out)
{
	return take(seg, s->obj->size, out);
}

static struct segment *nth(const struct search *s, unsigned i)
{
	unsigned count = s->core->online_count[s->kind];

	return s->core->online[s->kind][(s->start + i) % count];
}

/* Who names a segment gets it, even if it is close to another replica. */
static bool try_preferred(const struct search *s, struct extent *out)
{
	unsigned count = s->core->online_count[s->kind];

	for (size_t p = 0; p < s->place->preferred_count[s->kind]; p++) {
		const char *name = s->place->preferred[s->kind][p];

		for (unsigned i = 0; i < count; i++) {
			struct segment *seg = s->core->online[s->kind][i];

			if (strcmp(seg->name, name) == 0 &&
			    !is_refused(s->place, seg) &&
			    is_apart(s->core, s->obj, seg, 1) &&
			    take_all(s, seg, out))
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
		    str_eq(str_of(seg->host_id), host) && take_all(s, seg, out))
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
	unsigned count = s->core->online_count[s->kind], seen = 0;
	struct segment *best = NULL;

	if (s->core->opts.strategy != STRATEGY_FREE_RATIO_FIRST)
		return false;
	for (unsigned i = 0; i < count && seen < SAMPLE; i++) {
		struct segment *seg = nth(s, i);

		if (seg->mark == s->core->mark)
			continue;
		seen++;
		if (!best || free_ratio(seg) > free_ratio(best))
			best = seg;
	}
	return best && take_all(s, best, out);
}

static bool try_walk(const struct search *s, struct extent *out)
{
	for (unsigned i = 0; i < s->core->online_count[s->kind]; i++) {
		struct segment *seg = nth(s, i);

		if (seg->mark != s->core->mark && take_all(s, seg, out))
			return true;
	}
	return false;
}

static void give_all(const struct extent *extents, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct ext ext = extent_range(&extents[i]);

		ext_give(extents[i].seg->space, &ext);
	}
}

/* --- who shares in an object of several extents --- */

struct lane {
	struct segment *seg;
	unsigned rank; /* of those of its target before it */
};
struct lanes {
	struct lane at[EXTENTS_MAX];
	unsigned count;
};

static uint64_t domain_of(const struct segment *seg, unsigned by)
{
	switch (by) {
	case APART_HOST:
		return seg->host_hash;
	case APART_TARGET:
		return seg->target_hash;
	case APART_SUBSYS:
		return seg->subsys_hash;
	default:
		return (uintptr_t)seg;
	}
}

/* Is at[i] the first of its domain? */
static bool is_first(const struct lanes *l, unsigned i, unsigned by)
{
	for (unsigned j = 0; j < i; j++)
		if (domain_of(l->at[j].seg, by) == domain_of(l->at[i].seg, by))
			return false;
	return true;
}

static unsigned count_domains(const struct lanes *l, unsigned by)
{
	unsigned n = 0;

	for (unsigned i = 0; i < l->count; i++)
		n += is_first(l, i, by);
	return n;
}

static void keep_domains(struct lanes *l, unsigned by, unsigned keep)
{
	struct lanes all = *l;

	l->count = 0;
	for (unsigned i = 0; i < all.count; i++) {
		unsigned domain = 0; /* firsts up to that of i's domain */

		for (unsigned j = 0; j <= i; j++) {
			domain += is_first(&all, j, by);
			if (domain_of(all.at[j].seg, by) ==
			    domain_of(all.at[i].seg, by))
				break;
		}
		if (domain <= keep)
			l->at[l->count++] = all.at[i];
	}
}

static void lanes_all(const struct search *s, struct lanes *l, bool is_marked)
{
	unsigned count = s->core->online_count[s->kind];

	l->count = 0;
	for (unsigned i = 0; i < count && l->count < EXTENTS_MAX; i++) {
		struct segment *seg = nth(s, i);

		if (is_marked || seg->mark != s->core->mark)
			l->at[l->count++].seg = seg;
	}
}

static unsigned count_staying(const struct search *s)
{
	const struct replica *rep;
	unsigned n = 0;

	obj_for_each_replica (rep, s->obj)
		n += rep->kind == s->kind && !replica_is_leaving(s->core, rep);
	return n;
}

/* Each replica gets its part, so that there is something left for those to
 * come and for a copy of one that is lost. */
static void lanes_share(const struct search *s, struct lanes *l)
{
	static const unsigned by[] = {APART_HOST, APART_TARGET, APART_SUBSYS,
				      0};
	unsigned more = MAX(s->place->more, 1u), keep;
	unsigned total = count_staying(s) + more;
	struct lanes all;

	if (total < 2)
		return;
	lanes_all(s, &all, true);
	for (size_t i = 0; i < ARRAY_SIZE(by); i++) {
		keep = count_domains(&all, by[i]) / total;
		if (!keep)
			continue;
		keep = MIN(keep, count_domains(l, by[i]) / more);
		keep_domains(l, by[i], MAX(keep, 1u));
		return;
	}
}

static bool goes_before(const struct search *s, const struct lane *a,
			const struct lane *b)
{
	if (s->core->opts.strategy == STRATEGY_FREE_RATIO_FIRST) {
		double x = free_ratio(a->seg), y = free_ratio(b->seg);

		if (x != y)
			return x > y;
	}
	return a->rank < b->rank;
}

/* Neighbouring stripes on different targets; a stable sort of a few. */
static void lanes_order(const struct search *s, struct lanes *l)
{
	for (unsigned i = 0; i < l->count; i++) {
		struct lane one = l->at[i];
		unsigned j = i;

		one.rank = 0;
		for (unsigned k = 0; k < i; k++)
			one.rank += l->at[k].seg->target_hash ==
				    one.seg->target_hash;
		for (; j > 0 && goes_before(s, &one, &l->at[j - 1]); j--)
			l->at[j] = l->at[j - 1];
		l->at[j] = one;
	}
}

static void lanes_find(const struct search *s, struct lanes *l)
{
	lanes_all(s, l, false);
	lanes_share(s, l);
	lanes_order(s, l);
}

/* --- several extents because no single range fits --- */

/* The largest piece of seg, cut so that no checksum block straddles two. */
static bool take_piece(struct segment *seg, uint64_t left, struct extent *out)
{
	uint64_t len = MIN(left, ext_largest_free(seg->space));

	if (len < left)
		len = ALIGN_DOWN(len, (uint64_t)CRC_BLOCK);
	return len > 0 && take_aligned(seg, len, 0, out);
}

/* Returns their number or 0. */
static unsigned try_split(const struct search *s, struct extent *extents)
{
	uint64_t left = s->obj->size;
	struct lanes lanes;
	unsigned n = 0;

	if (left < SPLIT_MIN)
		return 0;
	lanes_find(s, &lanes);
	for (unsigned i = 0; i < lanes.count; i++)
		while (left > 0 && n < EXTENTS_MAX &&
		       take_piece(lanes.at[i].seg, left, &extents[n]))
			left -= extents[n++].bytes;
	if (left == 0)
		return n;
	give_all(extents, n);
	return 0;
}

/* --- stripes --- */

/* Round and round over the first width of them; who is full gives way to the
 * next one. */
static bool fill_stripes(const struct search *s, struct lanes *l,
			 uint64_t stripe, struct extent *extents, unsigned n)
{
	unsigned width = MIN(n, l->count), lane = 0;
	uint64_t left = s->obj->size;

	for (unsigned i = 0; i < n;) {
		if (width == 0) {
			give_all(extents, i);
			return false;
		}
		lane %= width;
		if (take(l->at[lane].seg, MIN(stripe, left), &extents[i])) {
			left -= extents[i++].bytes;
			lane++;
		} else if (l->count > width) {
			l->at[lane] = l->at[--l->count];
		} else {
			l->at[lane] = l->at[--width];
			l->count = width;
		}
	}
	ASSERT(left == 0);
	return true;
}

/* Large objects of the pool; returns the number of extents or 0. */
static unsigned try_stripes(const struct search *s, struct extent *extents)
{
	uint64_t size = s->obj->size, stripe = s->core->opts.stripe_bytes;
	struct lanes lanes;
	unsigned n;

	if (s->kind != KIND_NOF || stripe == 0 || size <= stripe)
		return 0;
	stripe = MAX(stripe, (size + EXTENTS_MAX - 1) / EXTENTS_MAX);
	stripe = ALIGN_UP(stripe, (uint64_t)CRC_BLOCK);
	n = (unsigned)((size + stripe - 1) / stripe);
	lanes_find(s, &lanes);
	if (n < 2 || lanes.count < 2 ||
	    !fill_stripes(s, &lanes, stripe, extents, n))
		return 0;
	return n;
}

int place_replica(struct core *core, struct object *obj, enum kind kind,
		  const struct place *place)
{
	struct search s = {
		.core = core, .obj = obj, .place = place, .kind = kind};
	struct extent extents[EXTENTS_MAX];
	unsigned n = 1;
	uint64_t largest;

	if (quarantine_reserve(core, EXTENTS_MAX) < 0)
		return -ENOMEM;
	if (!place_mark(core, obj, kind, place, &largest))
		return -ENOSPC;
	s.start = (unsigned)rng_below(&core->rng, core->online_count[kind]);
	if (!try_preferred(&s, extents) && !try_near(&s, extents)) {
		n = try_stripes(&s, extents);
		if (n == 0 &&
		    (try_freest(&s, extents) || try_walk(&s, extents)))
			n = 1;
		if (n == 0)
			n = try_split(&s, extents);
	}
	if (n == 0)
		return -ENOSPC;
	if (obj_add_replica(core, obj, kind, extents, n))
		return 0;
	give_all(extents, n);
	return -ENOMEM;
}

int place_copy(struct core *core, struct object *obj, enum kind kind,
	       uint64_t deadline_ns)
{
	struct place place = {0};
	struct writing *writing;
	int ret = -ENOSPC;

	if (!census_has_room(core, kind, obj->size) ||
	    obj->replica_count >= REPLICAS_MAX)
		return -ENOSPC;
	writing = obj_writing(core, obj);
	if (!writing)
		return -ENOMEM;
	/* Of the new replica alone: the put ended long ago. */
	writing->deadline_ns = deadline_ns;
	for (; ret == -ENOSPC && place.level < PLACE_LEVELS; place.level++)
		ret = place_replica(core, obj, kind, &place);
	return ret;
}
