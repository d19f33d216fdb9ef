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
	bool is_leased = obj_is_leased(core, obj);

	ASSERT(!is_leased || obj->used_ns == core->now_ns);
	leave(home, rep);
	if (rep->state != REPLICA_COMPLETE || obj->is_hard_pinned)
		return;
	if (!is_leased && obj_is_copied(obj))
		return; /* obj_release() */
	if (obj_is_soft_pinned(core, obj)) {
		rep->turn = TURN_SOFT;
		if (!home->soft.count || obj->soft_pin_ns < home->soft_due_ns)
			home->soft_due_ns = obj->soft_pin_ns;
	} else {
		rep->turn = is_leased ? TURN_LEASED : TURN_IDLE;
	}
	lru_add(lru_of(home, rep->turn), &rep->lru_node);
}

/* A lease that would begin again is forgotten.  Until its readers' margin is
 * over, too, a group remembers it; an object alone keeps its time, so it stands
 * among younger ones. */
void evict_renew(struct core *core, struct object *obj)
{
	uint64_t end_ns = obj_lease_end(core, obj);
	bool rests = end_ns && end_ns + core->opts.margin_ns > core->now_ns;
	struct replica *rep;

	ASSERT(end_ns <= core->now_ns);
	if (rests && obj->is_grouped)
		group_keep_lease(core, obj);
	if (!rests || obj->is_grouped) {
		obj->was_leased = false;
		obj->used_ns = core->now_ns;
	}
	obj_for_each_replica (rep, obj)
		evict_note(core, rep);
}

static struct replica *head_of(struct lru *lru)
{
	struct list *node = lru_coldest(lru);

	return node ? list_entry(node, struct replica, lru_node) : NULL;
}

/* The coldest whose lease is over.  One that is being copied leaves the list
 * then. */
static struct replica *coldest_read(struct core *core, struct recency *r)
{
	struct replica *rep = head_of(&r->leased);

	while (rep && !obj_is_leased(core, rep->obj)) {
		if (!obj_is_copied(rep->obj))
			return rep;
		evict_forget(core, rep);
		rep = head_of(&r->leased);
	}
	return NULL;
}

/* Nobody reads or copies it. */
static bool is_alone(const struct core *core, const struct object *obj)
{
	return !obj_is_leased(core, obj) && !obj_is_copied(obj);
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
		    is_alone(core, rep->obj))
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
	return colder(colder(head_of(&r->idle), coldest_read(core, r)),
		      coldest_unpinned(core, r));
}

/* Pass two: soft-pinned, but not leased. */
static struct replica *coldest_soft(struct core *core, struct recency *r)
{
	struct list *node = lru_coldest(&r->soft);

	for (unsigned i = 0; node && i < SOFT_LOOKS; i++) {
		struct replica *rep =
			list_entry(node, struct replica, lru_node);

		if (is_alone(core, rep->obj))
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

static void spend(struct sweep *sweep, unsigned replicas)
{
	sweep->budget -= MIN(sweep->budget, replicas);
}

/* It goes for good, so nobody copies it again; one too many (a copy of what
 * came back after all) goes without taking the place of another. */
static void want_less(struct object *obj, enum kind kind)
{
	const struct replica *rep;
	unsigned complete = 0;

	obj_for_each_replica (rep, obj)
		complete += rep->kind == kind && rep->state == REPLICA_COMPLETE;
	if (obj->wanted[kind] >= complete)
		obj->wanted[kind]--;
}

static uint64_t drop_one(struct core *core, struct replica *rep,
			 struct sweep *sweep)
{
	struct stats *st = &core->stats;
	uint64_t bytes;

	ASSERT(rep->state == REPLICA_COMPLETE);
	ASSERT(!rep->obj->is_hard_pinned && is_alone(core, rep->obj));
	spend(sweep, 1);
	bytes = replica_bytes(rep);
	if (rep->kind == KIND_MEM) {
		st->evicted_keys_mem++;
		st->evicted_bytes_mem += bytes;
	} else {
		st->evicted_keys_nof++;
		st->evicted_bytes_nof += bytes;
	}
	want_less(rep->obj, rep->kind);
	obj_lose_replica(core, rep);
	return bytes;
}

static uint64_t drop(struct core *core, struct replica *rep,
		     struct sweep *sweep)
{
	uint64_t bytes;

	if (!rep)
		return 0;
	bytes = group_drop_others(core, rep, drop_one, sweep);
	return bytes + drop_one(core, rep, sweep);
}

static struct replica *search_there(struct core *core, struct segment *seg,
				    find_fn of)
{
	return colder(of(core, &seg->recency),
		      of(core, &core->spread[seg->kind]));
}

/* A group that has to stay is used at a time of its own from here on, so what
 * is found next is older, or all that is left has been looked at. */
static bool put_behind(struct core *core, struct replica *rep, bool with_soft,
		       struct sweep *sweep)
{
	if (sweep->since_ns && rep->obj->used_ns >= sweep->since_ns)
		return false;
	core->now_ns++;
	if (!sweep->since_ns)
		sweep->since_ns = core->now_ns;
	spend(sweep, group_warm(core, rep, with_soft));
	return true;
}

/* seg NULL: anywhere. */
static struct replica *search(struct core *core, enum kind kind,
			      struct segment *seg, find_fn of,
			      struct sweep *sweep)
{
	bool with_soft = of == coldest_soft;

	while (sweep->budget > 0) {
		struct replica *rep = seg ? search_there(core, seg, of)
					  : search_once(core, kind, of);

		if (!rep || !rep->obj->is_grouped ||
		    group_may_go(core, rep, with_soft))
			return rep;
		if (!put_behind(core, rep, with_soft, sweep))
			return NULL;
	}
	return NULL;
}

static bool has_to_rest(struct core *core, const struct object *obj)
{
	uint64_t end_ns = obj_lease_end(core, obj);

	if (obj->is_grouped)
		end_ns = MAX(end_ns, group_lease_end(core, obj));
	return end_ns && end_ns + core->opts.margin_ns > core->now_ns;
}

static uint64_t evict(struct core *core, enum kind kind, struct segment *seg,
		      struct sweep *sweep)
{
	struct replica *rep = search(core, kind, seg, coldest_of, sweep);

	if (!rep && core->opts.can_evict_soft_pinned)
		rep = search(core, kind, seg, coldest_soft, sweep);
	/* What is warmer would, too. */
	if (rep && sweep->is_at_once && has_to_rest(core, rep->obj))
		return 0;
	return drop(core, rep, sweep);
}

uint64_t evict_coldest(struct core *core, enum kind kind, struct sweep *sweep)
{
	return evict(core, kind, NULL, sweep);
}

uint64_t evict_coldest_of(struct core *core, struct segment *seg,
			  struct sweep *sweep)
{
	return evict(core, seg->kind, seg, sweep);
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
	struct sweep sweep = {budget, core->sweep_ns[kind]};
	uint64_t live, capacity, freed = 0, want, bytes = 1;

	evict_usage(core, kind, &live, &capacity);
	low = MAX(low, 0.0);
	core->sweep_ns[kind] = 0;
	if ((double)live <= low * (double)capacity)
		return 0;
	want = live - (uint64_t)(low * (double)capacity);
	core->mark++; /* no segment is left alone */
	while (freed < want && sweep.budget > 0 && bytes) {
		bytes = evict_coldest(core, kind, &sweep);
		freed += bytes;
	}
	count_round(&core->stats, kind, freed > 0);
	if (!freed && !sweep.budget)
		core->sweep_ns[kind] = sweep.since_ns;
	if (freed >= want)
		return 0;
	return bytes || !sweep.budget ? core->now_ns
				      : first_lease_end(core, kind);
}
