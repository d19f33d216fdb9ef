/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and ends of a master whose journal cannot be written. */
#include "master/segment.h"
#include "t_world.h"

static int setup_often(void **state)
{
	return world_setup(state, KEEP_INTERVAL, NS_PER_MS);
}

/* --- starts --- */

static void add_pool(void *arg)
{
	struct world *w = arg;
	char *paths[] = {"traddr:127.0.0.1 trsvcid:1 subnqn:nqn.2024-01.t:p"};
	const struct segment_desc desc = {
		.id = {{3}},
		.kind = KIND_NOF,
		.name = "pool",
		.identity = "uuid.3",
		.endpoints = paths,
		.endpoint_count = 1,
		.base = MiB,
		.size = 16 * MiB,
		.ns_bytes = 17 * MiB,
		.block_bytes = 4096,
		.epoch = 1,
		.no = 1,
	};
	struct segment *seg;
	struct err err = {0};

	if (segment_add(w->svc->core, &desc, &seg, &err) < 0)
		fail_msg("%s", err.text);
	note_segment(w->svc->core, seg);
}

static struct vol_set *open_vols(void)
{
	struct vol_opts opts;
	struct vol_set *vols;
	struct err err = {0};

	ASSERT(vol_opts_init(&opts, &err) == 0);
	opts.workers = 1;
	ASSERT(vol_set_create(&opts, &vols, &err) == 0);
	return vols;
}

/* A superblock gets no epoch that is only in memory: the next life would find
 * it higher than its own. */
static void epochs_come_first(void **state)
{
	struct world *w = *state;

	shard_call(&w->meta, add_pool, w);
	world_stop(w);
	w->vols = open_vols();
	w->fills_up = true;
	world_start(w);
	assert_true(world_has_failed(w));
	/* What could be written still gets to the disk. */
	while (!w->syncs)
		shard_call(&w->meta, world_look, w);
	assert_false(w->is_watched);
	w->fills_up = disk.is_nearly_full = disk.is_full = false;
	world_expect_mended(w);
	shard_call(&w->meta, world_look, w);
	assert_true(w->is_watched);
	world_stop(w);
	vol_set_destroy(TAKE(w->vols));
	world_start(w);
}

/* --- ends --- */

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(epochs_come_first, setup_often,
						world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
