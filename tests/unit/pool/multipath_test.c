/* SPDX-License-Identifier: Apache-2.0 */
/* Ways to a volume: which one takes what, and what happens when one fails. */
#include "peer_env.h"

#include <pthread.h>
#include <sched.h>

#include "pool/set.h"
#include "target/fault.h"

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

/* --- what must not be mixed up or held up --- */

static void peer_restart(struct world *w, const struct uuid *ns_uuid)
{
	if (w->peer.env.tgt)
		env_tgt_stop(&w->peer.env);
	w->peer.env.ns_uuid = *ns_uuid;
	env_tgt_start(&w->peer.env);
}

/* A clone: the same superblock, another namespace. */
static void test_other_namespace(void **state)
{
	struct uuid other, none = {0};
	static uint8_t buf[64 * KiB];
	struct world w = {0};

	open_default(&w, MULTIPATH_ROUND_ROBIN);
	uuid_make(&other);
	env_tgt_stop(&w.peer.env);
	wait_ways(&w, 1);
	peer_restart(&w, &other);
	while (strcmp(stats_of(&w, 1).state, "live") != 0)
		nap_ms(5);
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(transfer(&w, false, buf, sizeof(buf)), 0);
		assert_int_equal(vol_ways_ready(w.vol), 1);
	}
	peer_restart(&w, &none);
	wait_ways(&w, 2);
	world_close(&w);
}

/* More than the budget for a volume of one target, under way. */
struct load {
	struct env_io r;
	struct vol *vol;
	struct vol_extent ext;
	struct iovec iov;
	uint8_t big[16 * MiB];
};

/* w->vol is a volume of the other target then. */
static void load_prepare(struct world *w, struct load *load)
{
	struct vol_opts change = {.workers = 2,
				  .chunk_bytes = 64 * KiB,
				  .inflight_bytes = MiB,
				  .nvmf.command_timeout_ms = 30000};
	struct env_simple look = {.off = DATA, .len = 1, .buf = load->big};
	uint16_t port;

	world_open(w, &change);
	load->vol = env_vol(&w->env, 1, false, 0);
	port = w->env.port;
	w->env.port = w->peer.env.port; /* for env_vol() */
	w->vol = env_vol(&w->env, 2, false, 0);
	w->env.port = port;
	assert_int_equal(transfer(w, false, load->big, MiB), 0);
	look.vol = load->vol;
	assert_int_equal(env_simple(&w->env, &look), 0);
}

static void load_submit(struct world *w, struct load *load)
{
	load->ext = (struct vol_extent){load->vol, DATA, sizeof(load->big)};
	load->iov = (struct iovec){load->big, sizeof(load->big)};
	load->r.io = (struct vol_io){
		.done = env_io_done,
		.extents = &load->ext,
		.extent_count = 1,
		.iov = &load->iov,
		.iovcnt = 1,
		.bytes = sizeof(load->big),
		.deadline_ns = time_mono_ns() + 60 * NS_PER_S,
	};
	gate_init(&load->r.gate);
	assert_int_equal(vol_submit(w->env.set, &load->r.io), 0);
}

static void transfer_elsewhere(struct world *w)
{
	static uint8_t small[256 * KiB];

	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(transfer(w, i % 2, small, sizeof(small)), 0);
}

static void load_end(struct world *w, struct load *load)
{
	gate_wait(&load->r.gate);
	assert_int_equal(load->r.io.ret, 0);
	vol_put(load->vol);
	world_close(w);
}

/* A target that stands still under all the load that fits does not keep
 * another one's volume from being read. */
static void test_stuck_elsewhere(void **state)
{
	struct block block = {.msg.run = block_run};
	struct world w = {.peer.has_thread = true};
	static struct load load;

	load_prepare(&w, &load);
	gate_init(&block.begun);
	gate_init(&block.end);
	loop_post(w.env.shard.loop, &block.msg);
	gate_wait(&block.begun);
	load_submit(&w, &load);
	transfer_elsewhere(&w);
	gate_open(&block.end);
	env_sync(&w.env);
	load_end(&w, &load);
}

/* Nobody holds the volume between two reads, nor when the time for another
 * attempt comes: the lost path comes back all the same. */
static void test_seldom_held(void **state)
{
	uint64_t end_ns = time_mono_ns() + 20 * NS_PER_S;
	static uint8_t buf[64 * KiB];
	struct world w = {0};
	struct vol *vol;

	open_default(&w, MULTIPATH_ROUND_ROBIN);
	vol = w.vol;
	env_tgt_stop(&w.peer.env);
	wait_ways(&w, 1);
	vol_put(vol);
	while (strcmp(stats_of(&w, 1).state, "idle") != 0)
		nap_ms(5);
	env_tgt_start(&w.peer.env);
	do {
		if (time_mono_ns() > end_ns)
			fail_msg("the path does not come back");
		assert_ptr_equal(world_vol(&w), vol);
		assert_int_equal(transfer(&w, false, buf, sizeof(buf)), 0);
		vol_put(vol);
		nap_ms(5);
	} while (vol_ways_ready(vol) != 2);
	w.vol = world_vol(&w);
	world_close(&w);
}

/* The path comes back while nobody holds the volume. */
static void test_live_unheld(void **state)
{
	uint64_t end_ns = time_mono_ns() + 20 * NS_PER_S;
	static uint8_t buf[64 * KiB];
	struct world w = {0};
	struct vol *vol;

	open_default(&w, MULTIPATH_ROUND_ROBIN);
	vol = w.vol;
	env_tgt_stop(&w.peer.env);
	wait_ways(&w, 1);
	env_tgt_start(&w.peer.env);
	/* Held while it connects, not any more when it is asked for. */
	while (strcmp(stats_of(&w, 1).state, "connecting") != 0 &&
	       strcmp(stats_of(&w, 1).state, "live") != 0)
		sched_yield();
	vol_put(vol);
	while (strcmp(stats_of(&w, 1).state, "connecting") == 0)
		nap_ms(1);
	for (; vol_ways_ready(vol) != 2; nap_ms(5)) {
		if (time_mono_ns() > end_ns)
			fail_msg("the path is not used again");
		w.vol = world_vol(&w);
		assert_int_equal(transfer(&w, false, buf, sizeof(buf)), 0);
		vol_put(vol);
	}
	w.vol = world_vol(&w);
	world_close(&w);
}

/* --- statuses that say "not this way" --- */

struct fault_call {
	struct env *env;
	const char *text;
};

static void fault_on(void *arg)
{
	struct fault_call *call = arg;
	struct err err = {0};
	uint32_t id;

	if (!call->text)
		tgt_fault_clear(call->env->tgt, 0);
	else if (tgt_fault_set(call->env->tgt, call->text, &id, &err))
		fail_msg("%s", err.text);
}

static void fault(struct env *env, const char *text)
{
	shard_call(&env->shard, fault_on,
		   &(struct fault_call){.env = env, .text = text});
}

/* Write, read, compare. */
static void round_trip(struct world *w, uint8_t fill)
{
	static uint8_t out[2 * MiB], in[2 * MiB];

	memset(out, fill, sizeof(out));
	assert_int_equal(transfer(w, true, out, sizeof(out)), 0);
	memset(in, 0, sizeof(in));
	assert_int_equal(transfer(w, false, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
}

static void test_statuses(void **state)
{
	static const char *const statuses[] = {
		"kind=error,status=0x302", /* inaccessible */
		"kind=error,status=0x303", /* transition */
		"kind=error,status=0x360", /* controller pathing error */
		"kind=error,status=0x008", /* queue deleted */
		"kind=error,status=0x007", /* aborted, not by us */
	};
	struct world w = {0};
	uint64_t errors = 0;

	open_default(&w, MULTIPATH_ROUND_ROBIN);
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		struct vol_path_stats s;

		fault(&w.peer.env, statuses[i]);
		round_trip(&w, (uint8_t)(i + 1));
		fault(&w.peer.env, NULL);
		s = stats_of(&w, 1);
		assert_true(s.errors[VOL_PATH_ANA] + s.errors[VOL_PATH_LOST] >
			    errors);
		errors = s.errors[VOL_PATH_ANA] + s.errors[VOL_PATH_LOST];
		assert_int_equal(s.retries, errors);
		assert_int_equal(s.errors[VOL_PATH_OTHER], 0);
	}
	world_close(&w);
}

/* Only what went down with its connection may still be executed there. */
static void test_resent(void **state)
{
	static const struct {
		const char *fault;
		bool is_write, is_resent;
	} steps[] = {
		{NULL, true, false},
		{"kind=error,op=write,status=0x008", true, false},
		{"kind=disconnect,op=write,once", true, true},
		{"kind=disconnect,op=read,once", false, false},
	};
	static uint8_t buf[2 * MiB];
	struct iovec iov = {buf, sizeof(buf)};
	struct world w = {0};

	open_default(&w, MULTIPATH_ROUND_ROBIN);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct vol_extent ext = {w.vol, DATA, sizeof(buf)};
		struct env_io r = {.io = {.is_write = steps[i].is_write,
					  .extents = &ext,
					  .extent_count = 1,
					  .iov = &iov,
					  .iovcnt = 1,
					  .bytes = sizeof(buf)}};
		uint64_t retries = stats_of(&w, 1).retries;

		fault(&w.peer.env, steps[i].fault);
		assert_int_equal(env_io_run(&w.env, &r), 0);
		assert_int_equal(r.io.is_resent, steps[i].is_resent);
		assert_int_equal(stats_of(&w, 1).retries > retries, i > 0);
		fault(&w.peer.env, NULL);
		wait_ways(&w, 2);
	}
	world_close(&w);
}

/* Lost again and again: the other one is preferred, but it is there when the
 * other one is not. */
static void test_degraded(void **state)
{
	static uint8_t buf[2 * MiB];
	struct world w = {0};
	uint64_t before;

	open_default(&w, MULTIPATH_ROUND_ROBIN);
	for (unsigned i = 0; i < 5; i++) {
		assert_false(stats_of(&w, 1).is_degraded);
		wait_ways(&w, 2);
		env_tgt_stop(&w.peer.env);
		wait_ways(&w, 1);
		env_tgt_start(&w.peer.env);
		while (strcmp(stats_of(&w, 1).state, "live") != 0)
			nap_ms(5);
	}
	assert_true(stats_of(&w, 1).is_degraded);
	assert_false(stats_of(&w, 0).is_degraded);
	nap_ms(200); /* it is looked at before it is used */
	before = stats_of(&w, 1).ops[0];
	assert_int_equal(transfer(&w, false, buf, sizeof(buf)), 0);
	assert_int_equal(stats_of(&w, 1).ops[0], before);
	env_tgt_stop(&w.env);
	assert_int_equal(transfer(&w, false, buf, sizeof(buf)), 0);
	assert_true(stats_of(&w, 1).ops[0] > before);
	world_close(&w);
}

/* What was long ago is forgotten, and what has been well for long is good. */
static void test_degraded_for_a_while(void **state)
{
	struct path path = {.name = "p"};
	uint64_t now_ns = 1000 * NS_PER_S;

	list_init(&path.ways);
	for (unsigned i = 0; i < 9; i++) {
		now_ns += (i == 4 ? 61 : 59) * NS_PER_S;
		assert_false(path.is_degraded);
		degraded_lost(&path, now_ns);
	}
	assert_true(path.is_degraded);
	degraded_look(&path, now_ns + 59 * NS_PER_S);
	assert_true(path.is_degraded);
	degraded_look(&path, now_ns + 61 * NS_PER_S);
	assert_false(path.is_degraded);
	assert_int_equal(path.lost_count, 9);
	degraded_lost(&path, now_ns + 62 * NS_PER_S);
	assert_false(path.is_degraded);
}

/* A bad medium is bad by any way, and "do not retry" is a word. */
static void test_final_statuses(void **state)
{
	static const char *const statuses[] = {
		"kind=error,status=0x281",
		"kind=error,status=0x4302",
	};
	static uint8_t buf[2 * MiB];
	struct world w = {0};

	open_default(&w, MULTIPATH_ROUND_ROBIN);
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		fault(&w.peer.env, statuses[i]);
		assert_true(transfer(&w, false, buf, sizeof(buf)) < 0);
		fault(&w.peer.env, NULL);
		assert_int_equal(stats_of(&w, 1).retries, 0);
	}
	world_close(&w);
}

/* Nor does one that says "not now" to all of it, over and over. */
static void test_refused_elsewhere(void **state)
{
	struct world w = {0};
	static struct load load;

	load_prepare(&w, &load);
	fault(&w.env, "kind=error,status=0x303");
	load_submit(&w, &load);
	while (!stats_of(&w, 0).errors[VOL_PATH_ANA])
		nap_ms(1);
	transfer_elsewhere(&w);
	fault(&w.env, NULL);
	load_end(&w, &load);
}

/* Both are in transition for a while: I/O waits for its end, or its own. */
static void test_transition(void **state)
{
	static const char text[] = "kind=error,status=0x303,count=40";
	static uint8_t buf[64 * KiB];
	struct env_simple s = {
		.len = sizeof(buf), .off = DATA, .buf = buf, .timeout_ns = 1};
	struct world w = {0};

	open_default(&w, MULTIPATH_ROUND_ROBIN);
	fault(&w.env, text);
	fault(&w.peer.env, text);
	round_trip(&w, 9);
	fault(&w.env, "kind=error,status=0x303");
	fault(&w.peer.env, "kind=error,status=0x303");
	s.vol = w.vol;
	s.timeout_ns = 120 * NS_PER_MS;
	assert_int_equal(env_simple(&w.env, &s), -ETIMEDOUT);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_robin),
		cmocka_unit_test(test_failover_policy),
		cmocka_unit_test(test_path_dies),
		cmocka_unit_test(test_seldom_held),
		cmocka_unit_test(test_live_unheld),
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_resent),
		cmocka_unit_test(test_degraded),
		cmocka_unit_test(test_degraded_for_a_while),
		cmocka_unit_test(test_final_statuses),
		cmocka_unit_test(test_transition),
		cmocka_unit_test(test_other_namespace),
		cmocka_unit_test(test_stuck_elsewhere),
		cmocka_unit_test(test_refused_elsewhere),
	};

	log_level_max = LOG_ERROR;
	t_seed(); /* before there are threads */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
