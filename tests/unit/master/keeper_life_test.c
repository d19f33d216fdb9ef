/* SPDX-License-Identifier: Apache-2.0 */
/* Starts and ends of a master whose journal cannot be written, and snapshots
 * that cannot be begun. */
#include <errno.h>

#include "journal/dir.h"
#include "master/segment.h"
#include "t_world.h"

static int setup_interval(void **state)
{
	return world_setup(state, KEEP_INTERVAL, 3600 * NS_PER_S);
}

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
		.no = 2,
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
	w->fills_up = false;
	disk.is_nearly_full = false;
	disk.is_full = false;
	world_expect_mended(w);
	shard_call(&w->meta, world_look, w);
	assert_true(w->is_watched);
	world_stop(w);
	vol_set_destroy(TAKE(w->vols));
	world_start(w);
}

/* Memory that is mounted again changes nothing that is kept: it is served. */
static void memory_is_back(void **state)
{
	struct world *w = *state;

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	shard_call(&w->meta, add_pool, w);
	world_stop(w);
	w->fills_up = true;
	world_start(w);
	assert_true(world_has_failed(w));
	assert_int_not_equal(world_get(w->rs, "a"), 0);
	assert_false(world_mount(w));
	assert_true(world_mount_again(w));
	assert_int_equal(world_get(w->rs, "a"), 0);
	assert_false(world_put(w->rs, "b"));
	w->fills_up = false;
	disk.is_nearly_full = false;
	disk.is_full = false;
	world_expect_mended(w);
	assert_true(world_put(w->rs, "b"));
}

/* --- snapshots --- */

/* What is told to others is the log's to explain. */
static void log_says_why(void **state)
{
	struct world *w = *state;
	int old = dup(STDERR_FILENO);
	int fd = openat(w->dir.fd, "stderr", O_RDWR | O_CREAT | O_TRUNC, 0600);
	char *text;
	size_t n;

	assert_true(world_mount(w));
	dup2(fd, STDERR_FILENO);
	disk.has_no_files = true;
	assert_int_not_equal(world_snapshot(w), 0);
	disk.has_no_files = false;
	dup2(old, STDERR_FILENO);
	close(old);
	close(fd);
	text = (char *)t_dir_read(&w->dir, "stderr", &n);
	text[n] = '\0';
	assert_non_null(strstr(text, "snapshot failed"));
	assert_non_null(strstr(text, strerror(EBADF)));
	free(text);
}

/* Each record is worth a snapshot. */
static int setup_small(void **state)
{
	struct world *w;

	setup_interval(state);
	w = *state;
	world_stop(w);
	w->snapshot_bytes = 1;
	world_start(w);
	return 0;
}

/* One that fails is not tried again with each record that follows. */
static void failed_snapshots_are_seldom(void **state)
{
	struct world *w = *state;

	disk.has_no_files = true;
	assert_true(world_mount(w));
	for (char c = 'a'; c < 'f'; c++)
		assert_true(world_put(w->rs, (char[]){c, '\0'}));
	disk.has_no_files = false;
	assert_false(world_has_failed(w));
	assert_int_equal(w->failed_snapshots, 1);
	/* When the first one has come to be, they come by themselves. */
	assert_int_equal(world_snapshot(w), 0);
}

/* --- ends --- */

static unsigned count_snapshots(struct world *w)
{
	struct jr_list list;
	struct err err = {0};
	unsigned count = 0;

	assert_int_equal(jr_dir_list(w->dir.fd, &list, &err), 0);
	for (size_t i = 0; i < list.count; i++)
		count += list.names[i].kind == JR_SNAPSHOT;
	jr_list_fini(&list);
	return count;
}

/* What was acknowledged before a sync that failed is in memory only: the end is
 * the last time that it can get to a disk that works again. */
static void stopped_when_it_works_again(void **state)
{
	struct world *w = *state;
	unsigned snapshots;

	assert_true(world_mount(w));
	assert_true(world_put(w->rs, "a"));
	disk.is_broken = true;
	world_put(w->rs, "b"); /* if it is not too late for that */
	while (!world_has_failed(w))
		;
	assert_int_equal(count_snapshots(w), 0);
	w->is_mended_at_the_end = true;
	world_stop(w);
	w->is_mended_at_the_end = false;
	snapshots = count_snapshots(w);
	world_start(w);
	assert_int_equal(snapshots, 1);
	assert_true(world_mount(w));
	assert_int_equal(world_get(w->rs, "a"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(epochs_come_first, setup_often,
						world_teardown),
		cmocka_unit_test_setup_teardown(memory_is_back, setup_often,
						world_teardown),
		cmocka_unit_test_setup_teardown(log_says_why, setup_interval,
						world_teardown),
		cmocka_unit_test_setup_teardown(failed_snapshots_are_seldom,
						setup_small, world_teardown),
		cmocka_unit_test_setup_teardown(stopped_when_it_works_again,
						setup_often, world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
