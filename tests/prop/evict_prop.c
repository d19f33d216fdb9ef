/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eviction under random puts, reads, pins, groups and copies, against a naive
 * look at all objects: what goes is the coldest that may go, with its group;
 * something goes whenever anything may; the lists are in the order of last
 * access.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "master/copy.h"
#include "t_core.h"
#include "t_rand.h"

#define KEYS	  40
#define GROUPS	  6 /* key k is in group k % GROUP_MOD, or in none */
#define GROUP_MOD (GROUPS + 2)
#define SEGMENTS  3
#define ROUNDS	  8
#define STEPS	  800
#define SLOT	  (256 * KiB)

struct shot {		    /* of one object before a step */
	struct object *obj; /* only compared */
	uint64_t generation;
	unsigned count[KIND_COUNT];
	bool must_stay; /* leased, pinned for good or being copied */
	bool goes_alone[KIND_COUNT], goes_soft[KIND_COUNT];
	struct extent ext; /* of the first replica */
};

struct model {
	struct core *core;
	struct rng rng;
	bool is_exact; /* no lease that is over rests: the order is strict */
	uint64_t lease_ns[KEYS]; /* of what has the key now */
	unsigned soft;		 /* one put of so many is soft-pinned */
	uint64_t task;		 /* handed out last */
	struct shot shots[KEYS];
	uint64_t coldest_ns; /* of those that go alone */
};

static const char *key_text(unsigned k)
{
	static char text[16];

	snprintf(text, sizeof(text), "key-%u", k);
	return text;
}

static struct object *find(const struct model *m, unsigned k)
{
	return obj_find(m->core, str_of(key_text(k)));
}

static bool is_grouped(unsigned k)
{
	return k % GROUP_MOD < GROUPS;
}

static bool are_together(unsigned a, unsigned b)
{
	return a == b || (is_grouped(a) && a % GROUP_MOD == b % GROUP_MOD);
}

/* --- the naive look --- */

static unsigned count(const struct object *obj, enum kind kind)
{
	const struct replica *rep;
	unsigned n = 0;

	obj_for_each_replica (rep, obj)
		n += rep->kind == kind && rep->state == REPLICA_COMPLETE;
	return n;
}

/* Lists of segments that are away, or drain, are not searched. */
static bool is_found(const struct replica *rep)
{
	const struct segment *seg = rep->extents[0].seg;

	for (unsigned i = 1; i < rep->extent_count; i++)
		if (rep->extents[i].seg != seg)
			return true;
	return seg->state == SEG_ONLINE && !seg->is_draining;
}

static bool has_found(const struct object *obj, enum kind kind)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj)
		if (rep->kind == kind && rep->state == REPLICA_COMPLETE &&
		    is_found(rep))
			return true;
	return false;
}

static bool must_stay(const struct model *m, const struct object *obj)
{
	return obj->is_hard_pinned || obj_is_leased(m->core, obj) ||
	       obj_is_copied(obj);
}

/* All that have a replica of the kind may go, and one of them is found: in
 * pass two a soft-pinned one. */
static bool may_go(const struct model *m, unsigned k, enum kind kind,
		   bool with_soft, uint64_t *used_ns)
{
	bool is_any = false;

	*used_ns = UINT64_MAX;
	for (unsigned i = 0; i < KEYS; i++) {
		const struct object *obj = find(m, i);
		bool is_soft;

		if (!obj || !obj->is_complete || !are_together(i, k) ||
		    !count(obj, kind))
			continue;
		is_soft = obj_is_soft_pinned(m->core, obj);
		if (must_stay(m, obj) || (is_soft && !with_soft))
			return false;
		if (!has_found(obj, kind))
			continue;
		is_any |= is_soft == with_soft;
		*used_ns = MIN(*used_ns, obj->used_ns);
	}
	return is_any;
}

static void shoot(struct model *m)
{
	m->coldest_ns = UINT64_MAX;
	for (unsigned k = 0; k < KEYS; k++) {
		struct object *obj = find(m, k);
		struct shot *s = &m->shots[k];
		uint64_t used_ns;

		*s = (struct shot){.obj = obj};
		if (!obj || !obj->is_complete)
			continue;
		s->generation = obj->generation;
		s->must_stay = must_stay(m, obj);
		s->ext = obj->replicas->extents[0];
		for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
			s->count[kind] = count(obj, kind);
			s->goes_alone[kind] =
				s->count[kind] &&
				may_go(m, k, kind, false, &used_ns);
			s->goes_soft[kind] = s->count[kind] &&
					     may_go(m, k, kind, true, &used_ns);
		}
	}
}

static unsigned lost(const struct model *m, unsigned k, enum kind kind)
{
	const struct shot *s = &m->shots[k];
	const struct object *obj = find(m, k);
	bool is_same = obj && obj == s->obj && obj->generation == s->generation;
	unsigned left = is_same ? count(obj, kind) : 0;

	return s->count[kind] > left ? s->count[kind] - left : 0;
}

/* --- checks --- */

/* Its last reader may be at it for the margin. */
static void check_rest(const struct model *m, unsigned k)
{
	const struct extent *ext = &m->shots[k].ext;
	uint64_t until_ns = m->lease_ns[k] + m->core->opts.margin_ns;
	const struct quarantine *q = &m->core->quarantine;

	if (!m->shots[k].generation || find(m, k) || !m->lease_ns[k] ||
	    until_ns <= m->core->now_ns)
		return;
	for (size_t i = 0; i < q->count; i++)
		if (q->heap[i].seg == ext->seg &&
		    q->heap[i].ext.off == ext->off &&
		    q->heap[i].release_ns >= until_ns)
			return;
	ASSERT(!"it rests");
}

static bool is_needed(const struct model *m, enum kind kind, bool is_soft)
{
	for (unsigned k = 0; k < KEYS; k++)
		if (is_soft ? m->shots[k].goes_soft[kind]
			    : m->shots[k].goes_alone[kind])
			return true;
	return false;
}

/* One step has evicted once: what went, and why that. */
static void check_victims(const struct model *m, enum kind kind,
			  uint64_t victim_ns, uint64_t coldest_ns)
{
	bool is_soft = !is_needed(m, kind, false);
	unsigned first = KEYS;

	for (unsigned k = 0; k < KEYS; k++) {
		if (!lost(m, k, kind))
			continue;
		first = MIN(first, k);
		ASSERT(are_together(first, k) && lost(m, k, kind) == 1);
		ASSERT(!m->shots[k].must_stay);
		ASSERT(is_soft ? m->shots[k].goes_soft[kind]
			       : m->shots[k].goes_alone[kind]);
		check_rest(m, k);
	}
	ASSERT((first < KEYS) ==
	       (is_needed(m, kind, false) || is_needed(m, kind, true)));
	for (unsigned k = 0; first < KEYS && k < KEYS; k++)
		ASSERT(!are_together(first, k) || !m->shots[k].count[kind] ||
		       lost(m, k, kind));
	if (first < KEYS && !is_soft && m->is_exact)
		ASSERT(victim_ns == coldest_ns);
}

static void check_list(const struct model *m, struct lru *lru, enum turn turn)
{
	struct list *node = lru_coldest(lru);
	uint64_t used_ns = 0;
	bool is_leased = false;
	size_t n = 0;

	for (; node; node = lru_next(lru, node), n++) {
		const struct replica *rep =
			list_entry(node, struct replica, lru_node);
		const struct object *obj = rep->obj;

		ASSERT(rep->turn == turn && rep->state == REPLICA_COMPLETE);
		if (m->is_exact || turn == TURN_LEASED)
			ASSERT(obj->used_ns >= used_ns);
		used_ns = obj->used_ns;
		if (turn == TURN_IDLE)
			ASSERT(!must_stay(m, obj));
		if (turn == TURN_LEASED)
			ASSERT(!is_leased || obj_is_leased(m->core, obj));
		is_leased = obj_is_leased(m->core, obj);
	}
	ASSERT(n == lru->count);
}

static void check_lists(const struct model *m, struct recency *r)
{
	check_list(m, &r->idle, TURN_IDLE);
	check_list(m, &r->leased, TURN_LEASED);
	check_list(m, &r->soft, TURN_SOFT);
}

static void check_all(const struct model *m)
{
	struct segment *seg;

	list_for_each (seg, &m->core->segments, node)
		check_lists(m, &seg->recency);
	for (enum kind kind = 0; kind < KIND_COUNT; kind++)
		check_lists(m, &m->core->spread[kind]);
	for (unsigned k = 0; k < KEYS; k++) {
		const struct object *obj = find(m, k);
		const struct replica *rep;

		if (!obj || !obj->is_complete || obj_is_copied(obj))
			continue;
		obj_for_each_replica (rep, obj)
			ASSERT((rep->turn == TURN_NONE) == obj->is_hard_pinned);
	}
}

/* --- steps --- */

static void step_put(struct model *m)
{
	unsigned k = (unsigned)rng_below(&m->rng, KEYS);
	char group[16];
	struct put_ask ask = {
		.client = T_CLIENT,
		.count = {(int)rng_below(&m->rng, 3),
			  (int)rng_below(&m->rng, 3)},
		.budget = (unsigned)rng_below(&m->rng, 2) ? 1u << 20 : 3,
		.has_hard_pin = rng_below(&m->rng, 30) == 0,
		.has_soft_pin = rng_below(&m->rng, m->soft) == 0,
		.soft_pin_ms = 0,
	};
	struct object *obj;

	if (ask.has_soft_pin)
		ask.soft_pin_ms = 1 + rng_below(&m->rng, 20000);
	snprintf(group, sizeof(group), "group-%u", k % GROUP_MOD);
	if (is_grouped(k))
		ask.group = str_of(group);
	if (put_resolve(m->core, &ask) != MOONCAKE_OK)
		return;
	shoot(m);
	if (!m->shots[k].obj)
		m->lease_ns[k] = 0;
	if (put_start(m->core, &ask, str_of(key_text(k)), SLOT, &obj) ==
		    MOONCAKE_OK &&
	    rng_below(&m->rng, 8)) {
		ASSERT(t_end(m->core, key_text(k)) == MOONCAKE_OK);
		m->lease_ns[k] = 0;
	}
	for (unsigned i = 0; i < KEYS; i++)
		for (enum kind kind = 0; kind < KIND_COUNT; kind++)
			ASSERT(i == k || !m->shots[i].must_stay ||
			       !lost(m, i, kind));
}

static void step_read(struct model *m)
{
	unsigned k = (unsigned)rng_below(&m->rng, KEYS);

	if (rng_below(&m->rng, 2) ? t_get(m->core, key_text(k)) == 0
				  : t_exist(m->core, key_text(k)))
		m->lease_ns[k] = m->core->now_ns + m->core->opts.lease_ns;
}

static void step_remove(struct model *m)
{
	unsigned k = (unsigned)rng_below(&m->rng, KEYS);
	bool is_leased = find(m, k) && m->lease_ns[k] > m->core->now_ns;

	shoot(m);
	if (remove_key(m->core, str_of(key_text(k)), false) == MOONCAKE_OK)
		ASSERT(!is_leased);
	check_rest(m, k);
}

/* In one go, or in slices. */
static void step_evict(struct model *m)
{
	enum kind kind = rng_below(&m->rng, 2) ? KIND_MEM : KIND_NOF;
	uint64_t used_ns[KEYS], victim_ns = UINT64_MAX, coldest_ns = UINT64_MAX;
	unsigned slice = rng_below(&m->rng, 2) ? 1000 : 1;
	struct sweep sweep = {0};
	uint64_t bytes;

	shoot(m);
	for (unsigned k = 0; k < KEYS; k++) {
		may_go(m, k, kind, false, &used_ns[k]);
		if (m->shots[k].goes_alone[kind])
			coldest_ns = MIN(coldest_ns, used_ns[k]);
	}
	m->core->mark++;
	do {
		sweep.budget = slice;
		bytes = evict_coldest(m->core, kind, &sweep);
	} while (!bytes && !sweep.budget);
	for (unsigned k = 0; k < KEYS; k++)
		if (lost(m, k, kind))
			victim_ns = MIN(victim_ns, used_ns[k]);
	check_victims(m, kind, victim_ns, coldest_ns);
}

static unsigned count_lost(const struct model *m, enum kind kind)
{
	unsigned n = 0;

	for (unsigned k = 0; k < KEYS; k++) {
		ASSERT(!m->shots[k].must_stay || !lost(m, k, kind));
		n += lost(m, k, kind);
	}
	return n;
}

static void step_background(struct model *m)
{
	enum kind kind = rng_below(&m->rng, 2) ? KIND_MEM : KIND_NOF;
	unsigned budget = 1 + (unsigned)rng_below(&m->rng, 5), slices = 0, n;
	uint64_t at;

	do {
		shoot(m);
		at = evict_background(m->core, kind, budget);
		n = count_lost(m, kind);
		/* The last group may be larger than what is left. */
		ASSERT(n < budget + KEYS / GROUP_MOD + 1);
		ASSERT(slices++ < 10 * KEYS);
	} while (at == m->core->now_ns);
	shoot(m);
	if (at)
		ASSERT(!is_needed(m, kind, false) && !is_needed(m, kind, true));
}

static void step_copy(struct model *m)
{
	unsigned k = (unsigned)rng_below(&m->rng, KEYS), looks = 1000;
	struct object *obj = find(m, k);
	struct task *task;
	uint64_t wait_ns;

	if (obj && obj->is_complete && obj->replica_count > 1)
		get_report_bad(
			m->core, str_of(key_text(k)),
			&(struct bad_replica){.generation = obj->generation,
					      .index = obj->replicas->index});
	copy_is_waiting(m->core);
	task = copy_next(m->core, &T_CLIENT, &looks, &obj, &wait_ns);
	if (task)
		m->task = task->id;
}

static void step_copied(struct model *m)
{
	copy_end(m->core, &T_CLIENT,
		 &(struct task_result){.id = m->task,
				       .is_good = rng_below(&m->rng, 2)});
}

static void step_segment(struct model *m)
{
	enum kind kind = rng_below(&m->rng, 2) ? KIND_MEM : KIND_NOF;
	struct uuid id = {
		{(uint8_t)kind, (uint8_t)rng_below(&m->rng, SEGMENTS), 1}};
	struct segment *seg = segment_find(m->core, &id);

	if (rng_below(&m->rng, 4) == 0)
		segment_set_draining(m->core, seg, !seg->is_draining);
	else
		segment_set_state(m->core, seg,
				  seg->state == SEG_ONLINE &&
						  rng_below(&m->rng, 3) == 0
					  ? SEG_OFFLINE
					  : SEG_ONLINE,
				  "");
}

static void step_time(struct model *m)
{
	static const uint64_t spans[] = {NS_PER_MS, 100 * NS_PER_MS, NS_PER_S,
					 6 * NS_PER_S};

	t_pass(m->core, rng_below(&m->rng, spans[rng_below(&m->rng, 4)]));
	quarantine_release(m->core);
	if (rng_below(&m->rng, 4) == 0)
		put_expire(m->core);
}

static void run_round(unsigned round)
{
	static struct model m;
	static void (*const steps[])(struct model * m) = {
		step_put,  step_put,	step_put,    step_put,	 step_read,
		step_read, step_read,	step_time,   step_evict, step_evict,
		step_copy, step_copied, step_remove, step_time};
	struct core_opts opts;

	core_opts_default(&opts);
	opts.seed = 1;
	opts.release_ns = 60 * NS_PER_S;
	opts.copy_bytes_per_s = 0;
	opts.scrub_interval_ns = 0;
	opts.stripe_bytes = round % 3 == 2 ? 128 * KiB : 0;
	opts.margin_ns = round % 2 ? 500 * NS_PER_MS : 0;
	m = (struct model){.core = t_core(&opts),
			   .rng = t_rng(round),
			   .is_exact = round % 2 == 0,
			   .soft = round % 4 < 2 ? 6 : 2};
	for (enum kind kind = 0; kind < KIND_COUNT; kind++)
		for (unsigned n = 0; n < SEGMENTS; n++)
			t_segment(m.core, kind, n, 8 * SLOT);
	for (unsigned i = 0; i < STEPS; i++) {
		unsigned pick = (unsigned)rng_below(&m.rng, 100);

		/* Each at a time of its own. */
		t_pass(m.core, 1);
		if (pick == 0)
			step_segment(&m);
		else if (pick < 6)
			step_background(&m);
		else
			steps[pick % ARRAY_SIZE(steps)](&m);
		check_all(&m);
	}
	core_destroy(m.core);
}

int main(void)
{
	log_level_max = LOG_ERROR;
	for (unsigned round = 0; round < ROUNDS; round++)
		run_round(round);
	return 0;
}
