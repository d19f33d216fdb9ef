/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eviction by recency, on the metadata shard.  Invariant: a replica stands in a
 * list only while it is complete and not hard-pinned, and in those of its
 * segment, or of its kind when it lies on several, only.  So what lies partly
 * on a segment that is away can still make room on the others.
 */
#include "master/evict.h"

#include "master/group.h"
#include "master/object.h"

/* Soft-pinned replicas looked at per search and segment; beyond them the search
 * gives up rather than walk a pool of pinned and leased objects. */
#define SOFT_LOOKS 64
/* The same of members of groups that have to stay, per search. */
#define GROUP_LOOKS 64

void recency_init(struct recency *r)
{
	lru_init(&r->idle);
	lru_init(&r->leased);
	lru_init(&r->soft);
}

static struct recency *recency_of(struct core *core, const struct replica *rep)
{
	struct segment *seg = rep->extents[0].seg;

	for (unsigned i = 1; i < rep->extent_count; i++)
		if (rep->extents[i].seg != seg)
			return &core->spread[rep->kind];
	return &seg->recency;
}

static struct lru *lru_of(struct recency *home, enum turn turn)
{
	switch (turn) {
	case TURN_IDLE:
		return &home->idle;
	case TURN_LEASED:
		return &home->leased;
	case TURN_SOFT:
		return &home->soft;
	default:
		UNREACHABLE();
	}
}

static void leave(struct recency *home, struct replica *rep)
{
	if (rep->turn != TURN_NONE)
		lru_del(lru_of(home, rep->turn), &rep->lru_node);
	rep->turn = TURN_NONE;
}

void evict_forget(struct core *core, struct replica *rep)
{
	leave(recency_of(core, rep), rep);
}

void evict_note(struct core *core, struct replica *rep)
{
	struct recency *home = recency_of(core, rep);
	struct object *obj = rep->obj;

	leave(home, rep);
	if (rep->state != REPLICA_COMPLETE || obj->is_hard_pinned)
		return;
	if (obj_is_soft_pinned(core, obj)) {
		rep->turn = TURN_SOFT;
		if (!home->soft.count || obj->soft_pin_ns < home->soft_due_ns)
			home->soft_due_ns = obj->soft_pin_ns;
	} else {
		rep->turn = obj->was_leased ? TURN_LEASED : TURN_IDLE;
	}
	lru_add(lru_of(home, rep->turn), &rep->lru_node);
}

static struct replica *head_of(struct lru *lru)
{
	struct list *node = lru_coldest(lru);

	return node ? list_entry(node, struct replica, lru_node) : NULL;
}

static struct replica *colder(struct replica *a, struct replica *b)
{
	if (!a || !b)
		return a ? a : b;
	return a->obj->used_ns <= b->obj->used_ns ? a : b;
}

/* The coldest whose soft pin is over; the list is not in the order in which
 * they end. */
static struct replica *coldest_unpinned(struct core *core, struct recency *r)
{
	struct list *node = lru_coldest(&r->soft);
	uint64_t due_ns = UINT64_MAX;

	if (r->soft_due_ns > core->now_ns)
		return NULL;
	for (unsigned i = 0; node && i < SOFT_LOOKS; i++) {
		struct replica *rep =
			list_entry(node, struct replica, lru_node);

		if (!obj_is_soft_pinned(core, rep->obj) &&
		    !obj_is_leased(core, rep->obj))
			return rep;
		due_ns = MIN(due_ns, rep->obj->soft_pin_ns);
		node = lru_next(&r->soft, node);
	}
	if (!node)
		r->soft_due_ns = due_ns;
	return NULL;
}

/* The coldest that may go; pinned ones not counted. */
static struct replica *coldest_of(struct core *core, struct recency *r)
{
	struct replica *leased = head_of(&r->leased);

	if (leased && obj_is_leased(core, leased->obj))
		leased = NULL;
	return colder(colder(head_of(&r->idle), leased),
		      coldest_unpinned(core, r));
}

/* Pass two: soft-pinned, but not leased. */
static struct replica *coldest_soft(struct core *core, struct recency *r)
{
	struct list *node = lru_coldest(&r->soft);

	for (unsigned i = 0; node && i < SOFT_LOOKS; i++) {
		struct replica *rep =
			list_entry(node, struct replica, lru_node);

		if (!obj_is_leased(core, rep->obj))
			return rep;
		node = lru_next(&r->soft, node);
	}
	return NULL;
}

typedef struct replica *(*find_fn)(struct core *core, struct recency *r);

static struct replica *search_once(struct core *core, enum kind kind,
				   find_fn of)
{
	struct replica *best = of(core, &core->spread[kind]);

	for (unsigned i = 0; i < core->online_count[kind]; i++) {
		struct segment *seg = core->online[kind][i];

		if (seg->mark != core->mark)
			best = colder(best, of(core, &seg->recency));
	}
	return best;
}

static uint64_t drop_one(struct core *core, struct replica *rep)
{
	struct stats *st = &core->stats;
	uint64_t bytes;

	ASSERT(rep->state == REPLICA_COMPLETE);
	ASSERT(!rep->obj->is_hard_pinned && !obj_is_leased(core, rep->obj));
	bytes = replica_bytes(rep);
	if (rep->kind == KIND_MEM) {
		st->evicted_keys_mem++;
		st->evicted_bytes_mem += bytes;
	} else {
		st->evicted_keys_nof++;
		st->evicted_bytes_nof += bytes;
	}
	/* It goes for good, so nobody copies it again. */
	rep->obj->wanted[rep->kind] -= rep->obj->wanted[rep->kind] > 0;
	obj_lose_replica(core, rep);
	return bytes;
}

static uint64_t drop(struct core *core, struct replica *rep)
{
	uint64_t bytes;

	if (!rep)
		return 0;
	bytes = group_drop_others(core, rep, drop_one);
	return bytes + drop_one(core, rep);
}

static struct replica *search_there(struct core *core, struct segment *seg,
				    find_fn of)
{
	return colder(of(core, &seg->recency),
		      of(core, &core->spread[seg->kind]));
}

/* seg NULL: anywhere.  A member of a group that has to stay is put behind, so
 * that it is not found again at once. */
static struct replica *search(struct core *core, enum kind kind,
			      struct segment *seg, find_fn of)
{
	for (unsigned i = 0; i < GROUP_LOOKS; i++) {
		struct replica *rep = seg ? search_there(core, seg, of)
					  : search_once(core, kind, of);

		if (!rep || !rep->obj->is_grouped ||
		    group_may_go(core, rep, of == coldest_soft))
			return rep;
		group_warm(core, rep);
	}
	return NULL;
}

static uint64_t evict(struct core *core, enum kind kind, struct segment *seg)
{
	struct replica *rep = search(core, kind, seg, coldest_of);

	if (!rep && core->opts.can_evict_soft_pinned)
		rep = search(core, kind, seg, coldest_soft);
	return drop(core, rep);
}

uint64_t evict_coldest(struct core *core, enum kind kind)
{
	return evict(core, kind, NULL);
}

uint64_t evict_coldest_of(struct core *core, struct segment *seg)
{
	return evict(core, seg->kind, seg);
}

void evict_usage(const struct core *core, enum kind kind, uint64_t *live,
		 uint64_t *capacity)
{
	*live = *capacity = 0;
	for (unsigned i = 0; i < core->online_count[kind]; i++) {
		const struct segment *seg = core->online[kind][i];

		*live += ext_used(seg->space) - seg->quarantined;
		*capacity += seg->size;
	}
}

bool evict_is_due(const struct core *core, enum kind kind)
{
	uint64_t live, capacity;

	evict_usage(core, kind, &live, &capacity);
	return (double)live >
	       core->opts.high_watermark[kind] * (double)capacity;
}

static uint64_t sooner(const struct core *core, uint64_t first,
		       struct recency *r)
{
	struct replica *rep = head_of(&r->leased);
	uint64_t end = rep ? obj_lease_end(core, rep->obj) : 0;

	return end && (!first || end < first) ? end : first;
}

/* When the first lease ends that keeps a replica here; 0 = none. */
static uint64_t first_lease_end(struct core *core, enum kind kind)
{
	uint64_t first = sooner(core, 0, &core->spread[kind]);

	for (unsigned i = 0; i < core->online_count[kind]; i++)
		first = sooner(core, first, &core->online[kind][i]->recency);
	return first;
}

static void count_round(struct stats *st, enum kind kind, bool freed)
{
	if (kind == KIND_MEM) {
		st->evict_tries_mem++;
		st->evictions_mem += freed;
	} else {
		st->evict_tries_nof++;
		st->evictions_nof += freed;
	}
}

uint64_t evict_background(struct core *core, enum kind kind, unsigned budget)
{
	double high = core->opts.high_watermark[kind];
	double low = high - core->opts.evict_ratio[kind];
	uint64_t live, capacity, freed = 0, want, bytes = 1;

	evict_usage(core, kind, &live, &capacity);
	low = MAX(low, 0.0);
	if ((double)live <= low * (double)capacity)
		return 0;
	want = live - (uint64_t)(low * (double)capacity);
	core->mark++; /* no segment is left alone */
	while (freed < want && budget-- > 0 && bytes) {
		bytes = evict_coldest(core, kind);
		freed += bytes;
	}
	count_round(&core->stats, kind, freed > 0);
	if (freed >= want)
		return 0;
	return bytes ? core->now_ns : first_lease_end(core, kind);
}
