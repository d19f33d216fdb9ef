/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master's core under random calls, against a simple model: who may still
 * touch which bytes until when.  Checked all the time: no byte that somebody
 * may touch is granted to another; every byte taken has exactly one owner;
 * what is evicted is older than what stays.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "master/client.h"
#include "master/evict.h"
#include "t_core.h"
#include "t_rand.h"

#define KEYS	 64
#define SEGMENTS 4
#define ROUNDS	 12
#define STEPS	 4000
#define CLAIMS	 4096
#define SLOT	 (256 * KiB) /* size of objects where order is checked */

/* Somebody may touch these bytes until then, because of that generation. */
struct claim {
	struct uuid segment;
	uint64_t off, len, until_ns, generation;
};

struct model {
	struct core *core;
	struct rng rng;
	bool is_ordered;	/* equal sizes, one kind, one replica */
	uint64_t used_ns[KEYS]; /* last access of a complete object, else 0 */
	uint64_t lease_ns[KEYS];
	struct claim claims[CLAIMS];
	size_t next_claim;
};

static const char *key_text(unsigned k)
{
	static char text[2][16];
	static unsigned turn;

	turn = !turn;
	snprintf(text[turn], sizeof(text[turn]), "key-%u", k);
	return text[turn];
}

static struct object *find(struct model *m, unsigned k)
{
	return obj_find(m->core, str_of(key_text(k)));
}

/* The unfinished put of that key. */
static struct object *find_put(struct model *m, unsigned k)
{
	struct object *obj = find(m, k);

	if (obj && obj->is_complete)
		obj = obj_successor(obj);
	return obj;
}

/* --- claims --- */

static void claim(struct model *m, const struct object *obj, uint64_t until_ns)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj) {
		for (unsigned i = 0; i < rep->extent_count; i++) {
			const struct extent *ext = &rep->extents[i];

			m->claims[m->next_claim++ % CLAIMS] = (struct claim){
				.segment = ext->seg->id,
				.off = ext->off,
				.len = extent_range(ext).len,
				.until_ns = until_ns,
				.generation = obj->generation,
			};
		}
	}
}

static void unclaim(struct model *m, uint64_t generation)
{
	for (size_t i = 0; i < CLAIMS; i++)
		if (m->claims[i].generation == generation)
			m->claims[i].until_ns = 0;
}

static void check_grant(struct model *m, const struct object *obj)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj) {
		for (unsigned i = 0; i < rep->extent_count; i++) {
			const struct extent *ext = &rep->extents[i];
			struct ext range = extent_range(ext);

			ASSERT(ext->seg->state == SEG_ONLINE);
			for (size_t c = 0; c < CLAIMS; c++) {
				const struct claim *cl = &m->claims[c];

				if (cl->until_ns <= m->core->now_ns ||
				    !uuid_eq(&cl->segment, &ext->seg->id))
					continue;
				ASSERT(cl->off + cl->len <= range.off ||
				       range.off + range.len <= cl->off);
			}
		}
	}
}

/* --- the whole state --- */

static int compare_ext(const void *a, const void *b)
{
	const struct ext *left = a, *right = b;

	return left->off < right->off ? -1 : left->off > right->off;
}

static bool is_first_there(struct extent *ext)
{
	const struct extent *one = extent_replica(ext)->extents;

	for (; one < ext; one++)
		if (one->seg == ext->seg)
			return false;
	return true;
}

static void check_segment(const struct core *core, struct segment *seg)
{
	static struct ext owned[1 << 16];
	uint64_t resting = 0, replicas = 0, used_bytes = 0;
	uint32_t node = UINT32_MAX;
	struct extent *ext;
	struct ext range;
	size_t n = 0, i = 0;
	bool used;

	list_for_each (ext, &seg->extents, seg_node) {
		ASSERT(ext->seg == seg && n < ARRAY_SIZE(owned));
		replicas += is_first_there(ext);
		owned[n++] = extent_range(ext);
	}
	for (size_t q = 0; q < core->quarantine.count; q++) {
		const struct resting *r = &core->quarantine.heap[q];

		if (r->seg != seg)
			continue;
		resting += r->ext.len;
		owned[n++] = r->ext;
	}
	ASSERT(resting == seg->quarantined);
	ASSERT(replicas == seg->replicas);
	qsort(owned, n, sizeof(owned[0]), compare_ext);
	while (ext_next(seg->space, &node, &range, &used)) {
		if (!used)
			continue;
		ASSERT(i < n && owned[i].off == range.off &&
		       owned[i].len == range.len);
		used_bytes += range.len;
		i++;
	}
	ASSERT(i == n && used_bytes == ext_used(seg->space));
}

/* What only writers need is not kept without one. */
static void check_settled(const struct core *core, const struct object *obj)
{
	const struct replica *rep;
	bool is_written = obj_successor(obj) || !obj->is_complete;

	obj_for_each_replica (rep, obj)
		is_written |= rep->state == REPLICA_PROCESSING;
	ASSERT(is_written == (obj->writing != NULL));
}

static void check_all(struct model *m)
{
	struct segment *seg;
	struct object *obj;
	size_t count = 0, pinned = 0;

	list_for_each (seg, &m->core->segments, node)
		check_segment(m->core, seg);
	list_for_each (obj, &m->core->all, all_node) {
		const struct object *former = NULL;

		ASSERT(obj->replicas && (obj->is_complete || obj->writing));
		if (obj->writing)
			former = obj->writing->former;
		ASSERT(!former || obj_successor(former) == obj);
		ASSERT(!obj_successor(obj) || obj->is_complete);
		check_settled(m->core, obj);
		count += !former;
		pinned += obj->is_complete && obj->soft_pin_ns;
	}
	ASSERT(count == m->core->objects.count);
	ASSERT(pinned == m->core->soft_pinned);
}

/* Victims are older than whatever could have gone instead. */
static void check_order(struct model *m)
{
	uint64_t youngest = 0, oldest = UINT64_MAX;

	for (unsigned k = 0; k < KEYS; k++) {
		struct object *obj = find(m, k);

		if (!m->used_ns[k])
			continue;
		if (!obj) {
			ASSERT(m->lease_ns[k] <= m->core->now_ns);
			youngest = MAX(youngest, m->used_ns[k]);
		} else if (m->lease_ns[k] <= m->core->now_ns) {
			oldest = MIN(oldest, m->used_ns[k]);
		}
	}
	if (m->is_ordered)
		ASSERT(youngest <= oldest);
}

/* The model learns what was evicted. */
static void sync_model(struct model *m)
{
	for (unsigned k = 0; k < KEYS; k++) {
		struct object *obj = find(m, k);

		if (!obj || !obj->is_complete)
			m->used_ns[k] = m->lease_ns[k] = 0;
	}
}

/* --- steps --- */

static void step_put(struct model *m)
{
	struct core *core = m->core;
	unsigned k = (unsigned)rng_below(&m->rng, KEYS);
	struct object *old = find(m, k), *obj;
	struct put_ask ask = {
		.client = T_CLIENT, .count = {0, 1}, .budget = 1u << 20};
	uint64_t size = SLOT;
	int st;

	if (!m->is_ordered) {
		ask.count[KIND_MEM] = (int)rng_below(&m->rng, 3);
		ask.count[KIND_NOF] = (int)rng_below(&m->rng, 3);
		ask.has_hard_pin = rng_below(&m->rng, 50) == 0;
		ask.has_soft_pin = rng_below(&m->rng, 10) == 0;
		size = 1 + rng_below(&m->rng,
				     rng_below(&m->rng, 8) ? SLOT : 6 * MiB);
	}
	if (put_resolve(core, &ask) != MOONCAKE_OK)
		return;
	if (old && old->is_complete)
		ASSERT(m->used_ns[k] == old->used_ns);
	st = put_start(core, &ask, str_of(key_text(k)), size, &obj);
	if (st == MOONCAKE_OK) {
		check_grant(m, obj);
		claim(m, obj, obj->writing->deadline_ns);
	} else {
		ASSERT(st == PUT_LATER || st == MOONCAKE_NO_AVAILABLE_HANDLE ||
		       st == MOONCAKE_OBJECT_ALREADY_EXISTS);
	}
	check_order(m);
	sync_model(m);
}

static void step_end(struct model *m)
{
	unsigned k = (unsigned)rng_below(&m->rng, KEYS);
	struct object *obj = find_put(m, k);

	if (!obj)
		return;
	ASSERT(t_end(m->core, key_text(k)) == MOONCAKE_OK);
	unclaim(m, obj->generation);
	m->used_ns[k] = m->core->now_ns;
	m->lease_ns[k] = 0;
}

static void step_revoke(struct model *m)
{
	unsigned k = (unsigned)rng_below(&m->rng, KEYS);
	struct object *obj = find_put(m, k);
	struct uuid client = T_CLIENT;

	if (obj)
		ASSERT(put_revoke(m->core, &client, str_of(key_text(k)),
				  obj->generation) == MOONCAKE_OK);
}

static void step_read(struct model *m)
{
	unsigned k = (unsigned)rng_below(&m->rng, KEYS);
	bool is_get = rng_below(&m->rng, 2);
	bool has = is_get ? t_get(m->core, key_text(k)) == MOONCAKE_OK
			  : t_exist(m->core, key_text(k));

	if (!has)
		return;
	m->used_ns[k] = m->core->now_ns;
	m->lease_ns[k] = m->core->now_ns + m->core->opts.lease_ns;
	claim(m, find(m, k), m->lease_ns[k]);
}

static void step_remove(struct model *m)
{
	unsigned k = (unsigned)rng_below(&m->rng, KEYS);
	bool is_forced = rng_below(&m->rng, 2);
	struct object *obj = find(m, k);
	enum mooncake_status st =
		remove_key(m->core, str_of(key_text(k)), is_forced);

	ASSERT(obj || st == MOONCAKE_OBJECT_NOT_FOUND);
	if (st == MOONCAKE_OK)
		ASSERT(is_forced || m->lease_ns[k] <= m->core->now_ns);
	sync_model(m);
}

static void step_report(struct model *m)
{
	unsigned k = (unsigned)rng_below(&m->rng, KEYS);
	struct object *obj = find(m, k);

	if (m->is_ordered || !obj)
		return;
	get_report_bad(m->core, str_of(key_text(k)),
		       &(struct bad_replica){
			       .generation = obj->generation,
			       .index = (uint32_t)rng_below(&m->rng, 4)});
	sync_model(m);
}

static void forget_claims(struct model *m, const struct uuid *id)
{
	for (size_t i = 0; i < CLAIMS; i++)
		if (uuid_eq(&m->claims[i].segment, id))
			m->claims[i].until_ns = 0;
}

static void step_segment(struct model *m)
{
	unsigned n = (unsigned)rng_below(&m->rng, SEGMENTS);
	enum kind kind = rng_below(&m->rng, 2) ? KIND_MEM : KIND_NOF;
	struct uuid id = {{(uint8_t)kind, (uint8_t)n, 1}};
	struct segment *seg = segment_find(m->core, &id);

	if (!seg) {
		/* A namespace of the pool waits for its last writers. */
		if (!segment_tomb(m->core, &id, ""))
			t_segment(m->core, kind, n, 4 * MiB + n * MiB);
	} else if (rng_below(&m->rng, 4) == 0) {
		if (kind == KIND_MEM || rng_below(&m->rng, 2))
			forget_claims(m, &id);
		segment_start_unmount(m->core, seg);
		while (segments_reap(m->core, 3))
			;
		forget_claims(m, &id);
	} else {
		segment_set_state(m->core, seg,
				  seg->state == SEG_ONLINE ? SEG_OFFLINE
							   : SEG_ONLINE,
				  "");
	}
	sync_model(m);
}

static void step_time(struct model *m)
{
	static const uint64_t spans[] = {1, NS_PER_MS, 100 * NS_PER_MS,
					 NS_PER_S, 12 * NS_PER_S};

	t_pass(m->core,
	       1 + rng_below(&m->rng,
			     spans[rng_below(&m->rng, ARRAY_SIZE(spans))]));
	if (rng_below(&m->rng, 4) == 0)
		quarantine_release(m->core);
	if (rng_below(&m->rng, 8) == 0) {
		evict_background(m->core, KIND_NOF, 3);
		check_order(m);
		sync_model(m);
	}
}

static void run_round(unsigned round)
{
	static struct model m;
	struct core_opts opts;
	static void (*const steps[])(struct model * m) = {
		step_put,    step_put,	step_put,  step_end,
		step_end,    step_end,	step_read, step_remove,
		step_report, step_time, step_time};

	core_opts_default(&opts);
	opts.seed = 1;
	opts.stripe_bytes = round % 3 == 2 ? 128 * KiB : 0;
	m = (struct model){.core = t_core(&opts),
			   .rng = t_rng(round),
			   .is_ordered = round % 3 == 0};
	/* Fewer slots than keys where the order of eviction is checked. */
	for (unsigned n = 0; n < (m.is_ordered ? 2 : SEGMENTS); n++)
		t_segment(m.core, KIND_NOF, n, 4 * MiB + n * MiB);
	for (unsigned i = 0; i < STEPS; i++) {
		unsigned pick = (unsigned)rng_below(&m.rng, 300);

		if (pick < 4 && !m.is_ordered)
			step_segment(&m);
		else if (pick < 10)
			step_revoke(&m);
		else
			steps[pick % ARRAY_SIZE(steps)](&m);
		if (i % 16 == 0)
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
