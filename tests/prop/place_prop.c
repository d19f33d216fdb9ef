/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement in random pools of hosts, targets, subsystems and namespaces,
 * judged by brute force: replicas are as far apart as the pool allows, stripes
 * go to as many namespaces as the rules leave, and nothing is lost or owned
 * twice.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "proto/frame.h"
#include "t_core.h"
#include "t_rand.h"

#define ROUNDS	     60
#define OBJECTS	     60
#define SEGMENTS     24
#define SEGMENT_SIZE (16 * MiB)
#define STRIPE	     (256 * KiB)

/* How far two segments are apart; the larger, the farther. */
static unsigned distance(const struct segment *a, const struct segment *b)
{
	if (a == b)
		return 0;
	if (a->subsys_hash == b->subsys_hash)
		return a->host_hash != b->host_hash ? 4 : 1;
	if (a->host_hash != b->host_hash)
		return 5;
	return a->target_hash != b->target_hash ? 3 : 2;
}

/* Of a segment from the replicas that stand before stop. */
static unsigned distance_to(const struct segment *seg, const struct object *obj,
			    const struct replica *stop)
{
	const struct replica *rep;
	unsigned least = 5;

	obj_for_each_replica (rep, obj) {
		if (rep == stop)
			break;
		for (unsigned i = 0; i < rep->extent_count; i++)
			least = MIN(least, distance(seg, rep->extents[i].seg));
	}
	return least;
}

static void check_apart(const struct core *core, const struct object *obj)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj) {
		unsigned got = 5, best = 0;

		for (unsigned i = 0; i < rep->extent_count; i++)
			got = MIN(got,
				  distance_to(rep->extents[i].seg, obj, rep));
		for (unsigned i = 0; i < core->online_count[KIND_NOF]; i++)
			best = MAX(best, distance_to(core->online[KIND_NOF][i],
						     obj, rep));
		/* Every segment is large enough, everything can be evicted. */
		ASSERT(got >= 1 && got == best);
	}
}

static unsigned width_of(const struct replica *rep)
{
	unsigned n = 0;

	for (unsigned i = 0; i < rep->extent_count; i++) {
		bool is_new = true;

		for (unsigned j = 0; j < i; j++)
			is_new &= rep->extents[j].seg != rep->extents[i].seg;
		n += is_new;
	}
	return n;
}

static void check_extents(const struct object *obj, const struct replica *rep)
{
	uint64_t sum = 0;

	ASSERT(rep->extent_count >= 1 && rep->extent_count <= EXTENTS_MAX);
	for (unsigned i = 0; i < rep->extent_count; i++) {
		const struct extent *ext = &rep->extents[i];

		ASSERT(ext->bytes > 0 && ext->bytes <= extent_range(ext).len);
		if (i + 1 < rep->extent_count)
			ASSERT(ext->bytes % CRC_BLOCK == 0);
		sum += ext->bytes;
	}
	ASSERT(sum == obj->size);
}

/* An empty pool, one replica: every namespace that can take part does. */
static void check_width(const struct core *core, const struct object *obj)
{
	uint64_t stripe = core->opts.stripe_bytes, n;
	const struct replica *rep = obj->replicas;

	if (!stripe || obj->size <= stripe) {
		ASSERT(rep->extent_count == 1);
		return;
	}
	stripe = MAX(stripe, (obj->size + EXTENTS_MAX - 1) / EXTENTS_MAX);
	stripe = ALIGN_UP(stripe, (uint64_t)CRC_BLOCK);
	n = (obj->size + stripe - 1) / stripe;
	ASSERT(width_of(rep) == MIN(n, (uint64_t)core->online_count[KIND_NOF]));
}

/* A namespace that is away takes just what has a stripe there along. */
static void check_offline(struct core *core, struct rng *rng)
{
	unsigned n = core->online_count[KIND_NOF];
	struct segment *gone = core->online[KIND_NOF][rng_below(rng, n)];
	struct object *obj;

	segment_set_state(core, gone, SEG_OFFLINE, "test");
	list_for_each (obj, &core->all, all_node) {
		const struct replica *rep;

		obj_for_each_replica (rep, obj) {
			bool is_there = false;

			for (unsigned i = 0; i < rep->extent_count; i++)
				is_there |= rep->extents[i].seg == gone;
			ASSERT(replica_is_readable(rep) == !is_there);
		}
	}
	segment_set_state(core, gone, SEG_ONLINE, "");
}

static void add_segments(struct core *core, struct rng *rng)
{
	unsigned hosts = 1 + (unsigned)rng_below(rng, 4);
	unsigned targets = 1 + (unsigned)rng_below(rng, 3);
	unsigned subsystems = 1 + (unsigned)rng_below(rng, 2);
	unsigned n = 2 + (unsigned)rng_below(rng, SEGMENTS - 1);

	for (unsigned i = 0; i < n; i++) {
		struct segment *seg =
			t_segment(core, KIND_NOF, i, SEGMENT_SIZE);
		uint64_t host = 1 + rng_below(rng, hosts);
		uint64_t target = rng_below(rng, targets);

		seg->host_hash = host;
		seg->target_hash = host * 10 + target;
		seg->subsys_hash =
			seg->target_hash * 10 + rng_below(rng, subsystems);
		/* Somebody gave two targets the same name. */
		if (rng_below(rng, 8) == 0)
			seg->subsys_hash = 7;
	}
}

static void one_put(struct core *core, struct rng *rng, unsigned i)
{
	unsigned n = core->online_count[KIND_NOF];
	unsigned replicas = 1 + (unsigned)rng_below(rng, MIN(n, 3u));
	uint64_t size = 1 + rng_below(rng, 6 * MiB);
	const struct replica *rep;
	struct object *obj;
	char key[16];

	snprintf(key, sizeof(key), "k%u", i);
	ASSERT(t_put(core, key, size, 0, (int)replicas) == 0);
	obj = obj_find(core, str_of(key));
	ASSERT(obj->replica_count == replicas);
	obj_for_each_replica (rep, obj)
		check_extents(obj, rep);
	check_apart(core, obj);
	if (i == 0 && replicas == 1)
		check_width(core, obj);
}

static void check_empty(struct core *core)
{
	while (!list_is_empty(&core->all))
		obj_destroy(core,
			    list_first(&core->all, struct object, all_node));
	for (unsigned i = 0; i < core->online_count[KIND_NOF]; i++) {
		const struct segment *seg = core->online[KIND_NOF][i];

		ASSERT(ext_used(seg->space) == 0 && seg->replicas == 0);
		ASSERT(seg->recency.idle.count == 0);
	}
	ASSERT(core->spread[KIND_NOF].idle.count == 0);
}

int main(void)
{
	struct rng rng = t_rng(20);

	log_level_max = LOG_ERROR;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct core_opts opts;
		struct core *core;

		core_opts_default(&opts);
		opts.seed = rng_u64(&rng);
		opts.stripe_bytes = round % 4 ? STRIPE : 0;
		opts.strategy =
			round % 2 ? STRATEGY_RANDOM : STRATEGY_FREE_RATIO_FIRST;
		core = t_core(&opts);
		add_segments(core, &rng);
		for (unsigned i = 0; i < OBJECTS; i++)
			one_put(core, &rng, i);
		check_offline(core, &rng);
		check_empty(core);
		core_destroy(core);
	}
	return 0;
}
