/* SPDX-License-Identifier: Apache-2.0 */
/* Two ways to a volume, of which one stands still. */
#include "peer_env.h"

#define OBJECT (8 * MiB)

/* One target stands still: the other one gets all that is left. */
static void test_queue_depth(void **state)
{
	static uint8_t buf[OBJECT];
	struct block block = {.msg.run = block_run};
	struct world w = {.peer.has_thread = true};
	struct env_io r = {0};
	uint64_t done;

	open_default(&w, MULTIPATH_QUEUE_DEPTH);
	gate_init(&block.begun);
	gate_init(&block.end);
	loop_post(w.peer.env.shard.loop, &block.msg);
	gate_wait(&block.begun);
	r.io = (struct vol_io){
		.done = env_io_done,
		.extents = &(struct vol_extent){w.vol, DATA, OBJECT},
		.extent_count = 1,
		.iov = &(struct iovec){buf, OBJECT},
		.iovcnt = 1,
		.bytes = OBJECT,
		.deadline_ns = time_mono_ns() + 20 * NS_PER_S,
	};
	gate_init(&r.gate);
	assert_int_equal(vol_submit(w.env.set, &r.io), 0);
	/* It can end by the other path only when the rest comes back by it. */
	do {
		done = stats_of(&w, 0).ops[0];
		nap_ms(1);
	} while (done + stats_of(&w, 1).inflight / (128 * KiB) < 64);
	assert_true(done >= 32);
	gate_open(&block.end);
	env_sync(&w.peer.env);
	gate_wait(&r.gate);
	assert_int_equal(r.io.ret, 0);
	world_close(&w);
}

#define SMALL  (128 * KiB)
#define SMALLS 400 /* more than the budget */

struct smalls {
	struct env_io r[SMALLS];
	struct vol_extent ext[SMALLS];
	struct iovec iov[SMALLS];
	uint8_t buf[SMALLS][SMALL];
};

static void smalls_submit(struct world *w, struct smalls *s)
{
	for (unsigned i = 0; i < SMALLS; i++) {
		s->ext[i] = (struct vol_extent){w->vol, DATA, SMALL};
		s->iov[i] = (struct iovec){s->buf[i], SMALL};
		s->r[i].io = (struct vol_io){
			.done = env_io_done,
			.extents = &s->ext[i],
			.extent_count = 1,
			.iov = &s->iov[i],
			.iovcnt = 1,
			.bytes = SMALL,
			.deadline_ns = time_mono_ns() + 60 * NS_PER_S,
		};
		gate_init(&s->r[i].gate);
		assert_int_equal(vol_submit(w->env.set, &s->r[i].io), 0);
	}
}

/* What has not been given to the target that stands still goes by the other
 * one, and waits for no answer of the first. */
static void stand_still(enum vol_multipath policy)
{
	uint64_t end_ns = time_mono_ns() + 20 * NS_PER_S, there;
	struct block block = {.msg.run = block_run};
	struct world w = {.peer.has_thread = true};
	static struct smalls s;

	world_open(&w, &(struct vol_opts){.workers = 2,
					  .chunk_bytes = SMALL,
					  .inflight_bytes = 32 * MiB,
					  .multipath = policy,
					  .nvmf.command_timeout_ms = 60000,
					  .nvmf.kato_ms = 60000});
	w.vol = world_vol(&w);
	wait_ways(&w, 2);
	gate_init(&block.begun);
	gate_init(&block.end);
	loop_post(w.peer.env.shard.loop, &block.msg);
	gate_wait(&block.begun);
	smalls_submit(&w, &s);
	do {
		nap_ms(1);
		there = stats_of(&w, 1).inflight / SMALL;
	} while (stats_of(&w, 0).ops[0] + there < SMALLS &&
		 time_mono_ns() < end_ns);
	assert_int_equal(stats_of(&w, 0).ops[0] + there, SMALLS);
	gate_open(&block.end);
	env_sync(&w.peer.env);
	for (unsigned i = 0; i < SMALLS; i++) {
		gate_wait(&s.r[i].gate);
		assert_int_equal(s.r[i].io.ret, 0);
	}
	assert_int_equal(stats_of(&w, 1).lost, 0);
	world_close(&w);
}

static void test_small_by_turns(void **state)
{
	stand_still(MULTIPATH_ROUND_ROBIN);
}

static void test_small_by_load(void **state)
{
	stand_still(MULTIPATH_QUEUE_DEPTH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue_depth),
		cmocka_unit_test(test_small_by_turns),
		cmocka_unit_test(test_small_by_load),
	};

	log_level_max = LOG_ERROR;
	t_seed(); /* before there are threads */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
