/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Birth and death of the metadata.  Belongs to the metadata shard; in tests to
 * whoever made it.
 */
#include "master/core.h"

#include <errno.h>
#include <stdlib.h>

#include "master/client.h"
#include "master/copy.h"
#include "master/evict.h"
#include "master/group.h"
#include "master/object.h"
#include "master/segment.h"

#define OBJECTS_EXPECTED 4096
#define REAP_ALL	 UINT32_MAX
/* Few enough that epochs can be read, and so many that two lives hardly ever
 * have the same step. */
#define EPOCH_STEPS	 (1u << 20)

void core_opts_default(struct core_opts *opts)
{
	*opts = (struct core_opts){
		.lease_ns = 10 * NS_PER_S,
		.soft_pin_ns = 1800 * NS_PER_S,
		.soft_pin_max_ns = 86400 * NS_PER_S,
		.can_evict_soft_pinned = true,
		.high_watermark = {0.90, 0.90},
		.evict_ratio = {0.05, 0.05},
		.discard_ns = 30 * NS_PER_S,
		.release_ns = 600 * NS_PER_S,
		.write_ns = 20 * NS_PER_S,
		.margin_ns = 500 * NS_PER_MS,
		.client_ttl_ns = 10 * NS_PER_S,
		.replica_num = -1,
		.nof_replica_num = -1,
		.offline_failures = 3,
		.copy_bytes_per_s = 256 * MiB,
		.scrub_bytes_per_s = 16 * MiB,
		.scrub_interval_ns = 7 * 86400 * NS_PER_S,
		.lost_ns = 600 * NS_PER_S,
	};
}

static struct str object_key(const struct hnode *node)
{
	const char *p = (const char *)node - offsetof(struct object, hnode);

	return obj_key((const struct object *)p);
}

/* Apart from core->rng, whose numbers are for placement. */
static uint64_t epoch_step(uint64_t seed)
{
	struct rng rng;

	rng_seed(&rng, ~seed);
	return 1 + rng_below(&rng, EPOCH_STEPS);
}

int core_create(const struct core_opts *opts, struct core **out)
{
	struct core *core = calloc(1, sizeof(*core));

	ASSERT(opts->write_ns + opts->margin_ns <= opts->discard_ns);
	ASSERT(opts->discard_ns < opts->release_ns);
	if (!core)
		return -ENOMEM;
	core->opts = *opts;
	core->generation = opts->generation;
	bins_init(&core->bins);
	list_init(&core->all);
	list_init(&core->unfinished);
	list_init(&core->late);
	list_init(&core->scans);
	list_init(&core->segments);
	list_init(&core->dying);
	for (enum kind kind = 0; kind < KIND_COUNT; kind++)
		recency_init(&core->spread[kind]);
	list_init(&core->client_list);
	rng_seed(&core->rng, opts->seed);
	core->epoch_step = epoch_step(opts->seed);
	stats_init(&core->stats);
	if (copier_create(core) < 0 ||
	    htab_init(&core->objects, OBJECTS_EXPECTED, object_key) < 0 ||
	    htab_init(&core->clients, 64, client_key) < 0 ||
	    groups_init(core) < 0) {
		core_destroy(core);
		return -ENOMEM;
	}
	*out = core;
	return 0;
}

void core_destroy(struct core *core)
{
	if (!core)
		return;
	while (!list_is_empty(&core->segments))
		segment_start_unmount(core, list_first(&core->segments,
						       struct segment, node));
	while (segments_reap(core, REAP_ALL))
		;
	ASSERT(list_is_empty(&core->all));
	ASSERT(core->quarantine.live == 0);
	copier_destroy(core);
	clients_fini(core);
	htab_fini(&core->objects);
	htab_fini(&core->clients);
	groups_fini(core);
	free(core->quarantine.heap);
	bins_fini(&core->bins);
	free(core);
}
