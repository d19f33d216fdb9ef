/* SPDX-License-Identifier: Apache-2.0 */
/* One namespace behind two targets: a volume with two ways. */
#include "vol_env.h"

#include <pthread.h>
#include <time.h>

#define DATA  POOL_DATA_OFFSET
#define EPOCH 3

/* A second target in a thread of its own, over the memory of the first. */
struct peer {
	struct env env; /* shard, tgt, port; mem is the first one's */
};

struct world {
	struct env env;
	struct peer peer;
	char text[2][ENDPOINT_TEXT_LEN];
	struct vol *vol;
};

static void nap_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000 * 1000}, NULL);
}

static void peer_start(struct peer *peer, const struct env *first)
{
	struct err err = {0};

	peer->env = *first;
	peer->env.tgt = NULL;
	peer->env.port = 0;
	if (shard_start(&peer->env.shard, &(struct loop_opts){.name = "peer"},
			&err))
		fail_msg("%s", err.text);
	env_tgt_start(&peer->env);
}

static void world_open(struct world *w, const struct vol_opts *change)
{
	env_init(&w->env, 512);
	env_superblock(&w->env, 0, EPOCH);
	peer_start(&w->peer, &w->env);
	env_set_start(&w->env, change);
}

static struct vol *world_vol(struct world *w)
{
	const char *eps[2] = {w->text[0], w->text[1]};
	struct vol_desc desc = {.segment = w->env.segments[0],
				.is_nof = true,
				.epoch = EPOCH,
				.block_bytes = 512,
				.endpoints = eps,
				.endpoint_count = 2};
	struct err err = {0};
	struct vol *vol;

	env_endpoint(&w->env, 1, w->text[0]);
	env_endpoint(&w->peer.env, 1, w->text[1]);
	if (vol_get(w->env.set, &desc, &vol, &err))
		fail_msg("%s", err.text);
	return vol;
}

static void world_close(struct world *w)
{
	vol_put(w->vol);
	vol_set_destroy(w->env.set);
	w->env.set = NULL;
	if (w->peer.env.tgt)
		env_tgt_stop(&w->peer.env);
	shard_stop(&w->peer.env.shard);
	env_fini(&w->env);
}

/* Until so many ways take I/O. */
static void wait_ways(struct world *w, unsigned count)
{
	uint64_t end_ns = time_mono_ns() + 20 * NS_PER_S;

	while (vol_ways_ready(w->vol) != count) {
		if (time_mono_ns() > end_ns)
			fail_msg("%u ways, not %u", vol_ways_ready(w->vol),
				 count);
		nap_ms(5);
	}
}

static struct vol_path_stats stats_of(struct world *w, unsigned way)
{
	struct vol_path_stats s[8];
	size_t n = vol_paths_get(w->env.set, s, 8);
	char port[32];

	snprintf(port, sizeof(port), "trsvcid:%u ",
		 way ? w->peer.env.port : w->env.port);
	for (size_t i = 0; i < n; i++)
		if (strstr(s[i].name, port))
			return s[i];
	fail_msg("no path with %s", port);
	return s[0];
}

static int transfer(struct world *w, bool is_write, void *buf, uint64_t len)
{
	return env_simple(&w->env, &(struct env_simple){.vol = w->vol,
							.is_write = is_write,
							.off = DATA,
							.len = len,
							.buf = buf});
}

static void open_default(struct world *w, enum vol_multipath policy)
{
	struct vol_opts change = {.workers = 2,
				  .chunk_bytes = 128 * KiB,
				  .inflight_bytes = 32 * MiB,
				  .multipath = policy};

	world_open(w, &change);
	w->vol = world_vol(w);
	wait_ways(w, 2);
}

/* --- who gets the chunks --- */

#define OBJECT (8 * MiB)

static void test_round_robin(void **state)
{
	static uint8_t buf[OBJECT];
	struct vol_path_stats a, b;
	struct world w = {0};

	open_default(&w, MULTIPATH_ROUND_ROBIN);
	assert_int_equal(transfer(&w, true, buf, OBJECT), 0);
	assert_int_equal(transfer(&w, false, buf, OBJECT), 0);
	a = stats_of(&w, 0);
	b = stats_of(&w, 1);
	for (unsigned dir = 0; dir < 2; dir++) {
		assert_int_equal(a.ops[dir] + b.ops[dir], 64);
		assert_int_equal(a.bytes[dir] + b.bytes[dir], OBJECT);
		/* A path that is full for a moment may lose a turn. */
		assert_in_range(a.ops[dir], 24, 40);
		assert_true(a.p99_us[dir] >= a.p50_us[dir]);
	}
	assert_string_equal(a.state, "live");
	assert_int_equal(a.queues, 2);
	assert_int_equal(a.inflight + b.inflight, 0);
	world_close(&w);
}

static void test_failover_policy(void **state)
{
	static uint8_t buf[OBJECT];
	struct world w = {0};

	open_default(&w, MULTIPATH_FAILOVER);
	assert_int_equal(transfer(&w, false, buf, OBJECT), 0);
	assert_int_equal(stats_of(&w, 0).ops[0], 64);
	assert_int_equal(stats_of(&w, 1).ops[0], 0);
	env_tgt_stop(&w.env);
	assert_int_equal(transfer(&w, false, buf, OBJECT), 0);
	assert_true(stats_of(&w, 1).ops[0] >= 64);
	world_close(&w);
}

struct block {
	struct mbox_msg msg;
	struct gate begun, end;
};

static void block_run(struct mbox_msg *msg)
{
	struct block *b = container_of(msg, struct block, msg);

	gate_open(&b->begun);
	gate_wait(&b->end);
}

/* One target stands still: the other one gets all that is left. */
static void test_queue_depth(void **state)
{
	static uint8_t buf[OBJECT];
	struct block block = {.msg.run = block_run};
	struct world w = {0};
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

/* --- a path dies under I/O --- */

struct hammer {
	struct world *w;
	unsigned index;
	_Atomic(bool) *stop;
	unsigned rounds;
};

#define HAMMER_BYTES (MiB + 513)

static void *hammer_run(void *arg)
{
	struct hammer *h = arg;
	struct rng rng = t_rng(50 + h->index);
	uint8_t *out = malloc(HAMMER_BYTES), *in = malloc(HAMMER_BYTES);
	uint32_t crcs[HAMMER_BYTES / CRC_BLOCK + 1];
	struct env_simple s = {.vol = h->w->vol,
			       .off = DATA + h->index * 4 * MiB,
			       .len = HAMMER_BYTES,
			       .crcs = crcs};

	assert_true(out && in);
	while (!atomic_load(h->stop)) {
		env_fill(out, HAMMER_BYTES, &rng);
		s.is_write = true;
		s.buf = out;
		assert_int_equal(env_simple(&h->w->env, &s), 0);
		memset(in, 0, HAMMER_BYTES);
		s.is_write = false;
		s.buf = in;
		assert_int_equal(env_simple(&h->w->env, &s), 0);
		assert_memory_equal(in, out, HAMMER_BYTES);
		h->rounds++;
	}
	free(out);
	free(in);
	return NULL;
}

/* Each of the two dies and comes back by turns: not one object fails. */
static void test_path_dies(void **state)
{
	struct hammer h[3];
	pthread_t threads[3];
	_Atomic(bool) stop = false;
	struct world w = {0};
	uint64_t lost = 0, retries = 0;

	open_default(&w, MULTIPATH_ROUND_ROBIN);
	for (unsigned i = 0; i < 3; i++) {
		h[i] = (struct hammer){.w = &w, .index = i, .stop = &stop};
		assert_int_equal(
			pthread_create(&threads[i], NULL, hammer_run, &h[i]),
			0);
	}
	for (unsigned round = 0; round < 6; round++) {
		struct env *env = round % 2 ? &w.env : &w.peer.env;

		env_tgt_stop(env);
		wait_ways(&w, 1);
		env_tgt_start(env);
		wait_ways(&w, 2);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		assert_true(h[i].rounds > 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		lost += stats_of(&w, i).lost;
		retries += stats_of(&w, i).retries;
	}
	assert_int_equal(lost, 6);
	print_message("retries: %llu\n", (unsigned long long)retries);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_robin),
		cmocka_unit_test(test_failover_policy),
		cmocka_unit_test(test_queue_depth),
		cmocka_unit_test(test_path_dies),
	};

	log_level_max = LOG_ERROR;
	t_seed(); /* before there are threads */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
