/* SPDX-License-Identifier: Apache-2.0 */
/* Two ways to a volume, of which one stands still, or both. */
#include "peer_env.h"

#include "pool/set.h"

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

static void smalls_end(struct smalls *s)
{
	for (unsigned i = 0; i < SMALLS; i++) {
		gate_wait(&s->r[i].gate);
		assert_int_equal(s->r[i].io.ret, 0);
	}
}

/* No deadline of a command passes in these. */
static void open_patient(struct world *w, enum vol_multipath policy)
{
	world_open(w, &(struct vol_opts){.workers = 2,
					 .chunk_bytes = SMALL,
					 .inflight_bytes = 32 * MiB,
					 .multipath = policy,
					 .nvmf.command_timeout_ms = 60000,
					 .nvmf.kato_ms = 60000});
}

/* The second target does. */
static void stop_peer(struct world *w, struct block *block)
{
	*block = (struct block){.msg.run = block_run};
	gate_init(&block->begun);
	gate_init(&block->end);
	loop_post(w->peer.env.shard.loop, &block->msg);
	gate_wait(&block->begun);
}

static void go_on(struct world *w, struct block *block)
{
	gate_open(&block->end);
	env_sync(&w->peer.env);
}

/* Those that the second target does not have by the first one. */
static void wait_rest(struct world *w)
{
	uint64_t end_ns = time_mono_ns() + 20 * NS_PER_S, there;

	do {
		nap_ms(1);
		there = stats_of(w, 1).inflight / SMALL;
	} while (stats_of(w, 0).ops[0] + there < SMALLS &&
		 time_mono_ns() < end_ns);
	assert_int_equal(stats_of(w, 0).ops[0] + there, SMALLS);
}

/* What has not been given to the target that stands still goes by the other
 * one, and waits for no answer of the first. */
static void stand_still(enum vol_multipath policy)
{
	struct world w = {.peer.has_thread = true};
	static struct smalls s;
	struct block block;

	open_patient(&w, policy);
	w.vol = world_vol(&w);
	wait_ways(&w, 2);
	stop_peer(&w, &block);
	smalls_submit(&w, &s);
	wait_rest(&w);
	go_on(&w, &block);
	smalls_end(&s);
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

struct look {
	struct worker *worker;
	unsigned waiting; /* that want their turn now */
};

static void look_on(void *arg)
{
	struct look *look = arg;

	look->waiting += turns_next(&look->worker->turns) != NULL;
}

/* Until all that was submitted is under way, or held. */
static void wait_held(struct world *w)
{
	struct look look;

	do {
		look.waiting = 0;
		for (unsigned i = 0; i < w->env.set->worker_count; i++) {
			look.worker = &w->env.set->workers[i];
			shard_call(&look.worker->shard, look_on, &look);
		}
	} while (look.waiting);
}

/* The other one comes up after they have begun to wait. */
static void test_other_comes_up(void **state)
{
	struct world w = {.peer.has_thread = true};
	static struct smalls s;
	struct block block;

	open_patient(&w, MULTIPATH_ROUND_ROBIN);
	w.vol = world_vol(&w);
	wait_ways(&w, 2);
	env_tgt_stop(&w.env);
	wait_ways(&w, 1);
	stop_peer(&w, &block);
	smalls_submit(&w, &s);
	wait_held(&w);
	assert_true(stats_of(&w, 1).inflight / SMALL < SMALLS);
	env_tgt_start(&w.env);
	wait_rest(&w);
	go_on(&w, &block);
	smalls_end(&s);
	world_close(&w);
}

/* A read of somebody else, and whether others were looked at for it. */
struct other {
	struct env_io r;
	struct look look;
};

static void other_done(struct vol_io *io)
{
	struct other *o = container_of(io, struct other, r.io);

	look_on(&o->look);
	gate_open(&o->r.gate);
}

static void read_others(struct world *w, struct vol *vol, struct other *o)
{
	static uint8_t buf[4 * KiB];
	struct vol_extent ext = {vol, DATA, sizeof(buf)};
	struct iovec iov = {buf, sizeof(buf)};

	for (unsigned i = 0; i < 200; i++) {
		o->r.io = (struct vol_io){
			.done = other_done,
			.extents = &ext,
			.extent_count = 1,
			.iov = &iov,
			.iovcnt = 1,
			.bytes = sizeof(buf),
			.deadline_ns = time_mono_ns() + 20 * NS_PER_S,
		};
		gate_init(&o->r.gate);
		assert_int_equal(vol_submit(w->env.set, &o->r.io), 0);
		gate_wait(&o->r.gate);
		assert_int_equal(o->r.io.ret, 0);
	}
}

/* Both targets of a namespace stand still: what waits for them is not looked
 * at whenever something comes back from another one. */
static void test_no_looks_for_others(void **state)
{
	struct world w = {.peer.has_thread = true};
	struct env twin; /* in the peer's thread */
	static struct smalls s;
	struct other o = {0};
	struct block block;
	struct vol *other;

	world_open(&w, &(struct vol_opts){.workers = 1,
					  .chunk_bytes = SMALL,
					  .inflight_bytes = 2 * MiB,
					  .nvmf.command_timeout_ms = 60000,
					  .nvmf.kato_ms = 60000});
	twin = w.peer.env;
	twin.port = 0;
	env_tgt_start(&twin);
	w.vol = world_vol_by(&w, &w.peer.env, &twin);
	wait_ways(&w, 2);
	other = env_vol(&w.env, 1, false, 0);
	o.look.worker = &w.env.set->workers[0];
	stop_peer(&w, &block);
	smalls_submit(&w, &s);
	wait_held(&w);
	read_others(&w, other, &o);
	assert_int_equal(o.look.waiting, 0);
	go_on(&w, &block);
	smalls_end(&s);
	vol_put(other);
	env_tgt_stop(&twin);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue_depth),
		cmocka_unit_test(test_small_by_turns),
		cmocka_unit_test(test_small_by_load),
		cmocka_unit_test(test_other_comes_up),
		cmocka_unit_test(test_no_looks_for_others),
	};

	log_level_max = LOG_ERROR;
	t_seed(); /* before there are threads */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
