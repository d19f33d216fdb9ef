/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool's client against targets that fail, by the target's own fault
 * filters.  The names are those of the fault list in docs/testing.md.
 *
 * Everywhere: what is read is what was written, and the memory of a call that
 * has returned is not touched any more.
 */
#include "vol_env.h"

#include <time.h>

#include "target/fault.h"

#define DATA	    POOL_DATA_OFFSET
#define REGION	    (96u << 10)
#define REGIONS	    6
#define FAILED_MAX  64
#define LEFT_ALONE  0xdd
#define CHUNK_BYTES (32u << 10)

static struct env env, other;

/* --- rules, on the target's loop --- */

struct call {
	struct env *env;
	const char *text;
	uint64_t hits;
};

static void do_set(void *arg)
{
	struct call *call = arg;
	struct err err = {0};
	uint32_t id;

	if (tgt_fault_set(call->env->tgt, call->text, &id, &err))
		fail_msg("%s", err.text);
}

static void set(struct env *e, const char *text)
{
	shard_call(&e->shard, do_set, &(struct call){.env = e, .text = text});
}

static void on_listed(const struct tgt_fault_info *info, void *arg)
{
	*(uint64_t *)arg += info->injected;
}

static void do_hits(void *arg)
{
	struct call *call = arg;

	tgt_fault_list(call->env->tgt, on_listed, &call->hits);
	if (call->text)
		tgt_fault_clear(call->env->tgt, 0);
}

static uint64_t hits(struct env *e)
{
	struct call call = {.env = e};

	shard_call(&e->shard, do_hits, &call);
	return call.hits;
}

/* Ends all faults; how often they hit. */
static uint64_t clear(struct env *e)
{
	struct call call = {.env = e, .text = ""};

	shard_call(&e->shard, do_hits, &call);
	return call.hits;
}

/* --- a load that knows what must be where --- */

static struct {
	uint8_t want[REGIONS][REGION];
	bool is_known[REGIONS];
	uint8_t *left[FAILED_MAX]; /* buffers of calls that have failed */
	unsigned left_count, good, failed;
	uint64_t timeout_ns; /* 0 = long */
	struct rng rng;
} load;

static void load_reset(uint64_t part)
{
	memset(load.is_known, 0, sizeof(load.is_known));
	load.left_count = load.good = load.failed = 0;
	load.rng = t_rng(part);
}

/* The caller has its memory back and writes to it. */
static void leave_alone(uint8_t *buf)
{
	assert_true(load.left_count < FAILED_MAX);
	memset(buf, LEFT_ALONE, REGION);
	load.left[load.left_count++] = buf;
}

static void expect_left_alone(void)
{
	for (unsigned i = 0; i < load.left_count; i++) {
		for (unsigned k = 0; k < REGION; k++)
			if (load.left[i][k] != LEFT_ALONE)
				fail_msg("memory of a call that has returned "
					 "was written to");
		free(load.left[i]);
	}
	load.left_count = 0;
}

static int transfer(struct vol *vol, unsigned region, bool is_write)
{
	uint8_t *buf = malloc(REGION);
	uint8_t *want = load.want[region];
	int ret;

	if (is_write)
		env_fill(buf, REGION, &load.rng);
	else
		memset(buf, 0xee, REGION);
	if (is_write)
		memcpy(want, buf, REGION);
	ret = env_simple(&env,
			 &(struct env_simple){.vol = vol,
					      .is_write = is_write,
					      .off = DATA + region * REGION,
					      .len = REGION,
					      .buf = buf,
					      .timeout_ns = load.timeout_ns});
	if (!is_write && !ret && load.is_known[region])
		assert_memory_equal(buf, want, REGION);
	if (is_write)
		load.is_known[region] = !ret;
	if (ret) {
		load.failed++;
		leave_alone(buf);
	} else {
		load.good++;
		free(buf);
	}
	return ret;
}

/* Transfers; pauses when one has failed, as the next would at once. */
static void run(struct vol *vol, unsigned count)
{
	while (count--) {
		if (!transfer(vol, (unsigned)rng_below(&load.rng, REGIONS),
			      rng_below(&load.rng, 2)))
			continue;
		if (load.left_count == FAILED_MAX)
			expect_left_alone();
		nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000},
			  NULL);
	}
}

/* All is well again, within a limit that only ends a test that hangs. */
static void until_good(struct vol *vol)
{
	uint64_t end_ns = time_mono_ns() + 30 * NS_PER_S;
	struct timespec nap = {.tv_nsec = 5 * 1000 * 1000};

	while (transfer(vol, 0, false)) {
		if (time_mono_ns() > end_ns)
			fail_msg("the volume does not come back");
		expect_left_alone();
		nanosleep(&nap, NULL);
	}
	for (unsigned i = 0; i < REGIONS; i++)
		assert_int_equal(transfer(vol, i, true), 0);
	for (unsigned i = 0; i < REGIONS; i++)
		assert_int_equal(transfer(vol, i, false), 0);
	expect_left_alone();
}

/* --- the list --- */

/* A target that answers nothing while TCP lives; others are not affected. */
static void test_f02_nothing_is_answered(void **state)
{
	static uint8_t buf[REGION];
	struct vol *vol = env_vol(&env, 0, false, 0), *well;
	struct env_io stuck = {
		.io = {.extents = &(struct vol_extent){vol, DATA, REGION},
		       .extent_count = 1,
		       .iov = &(struct iovec){buf, REGION},
		       .iovcnt = 1,
		       .bytes = REGION,
		       .deadline_ns = time_mono_ns() + 20 * NS_PER_S,
		       .done = env_io_done}};

	load_reset(2);
	other.set = env.set;
	well = env_vol(&other, 0, false, 0);
	other.set = NULL;
	until_good(vol);
	set(&env, "kind=stall,op=all");
	gate_init(&stuck.gate);
	assert_int_equal(vol_submit(env.set, &stuck.io), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(transfer(well, 1, i % 2 == 0), 0);
	assert_true(gate_wait_for(&stuck.gate, 30 * NS_PER_S));
	assert_true(stuck.io.ret < 0);
	memset(buf, LEFT_ALONE, REGION);
	clear(&env); /* now it says what it had to say */
	load_reset(2);
	until_good(vol);
	for (unsigned i = 0; i < REGION; i++)
		assert_int_equal(buf[i], LEFT_ALONE);
	vol_put(well);
	vol_put(vol);
}

/* What a broken target may send: the connection ends, no byte is wrong. */
static void test_f10_lies(void **state)
{
	struct nvmf_stats before, after;
	static const char *const rules[] = {
		"kind=hdgst,every=7,count=3",
		"kind=ddgst,every=7,count=3",
		"kind=wrongcid,every=7,count=3",
		"kind=dup,every=7,count=3",
		"kind=badrange,every=7,count=3",
		"kind=disconnect,every=7,count=3",
	};
	struct vol *vol;

	vol_set_destroy(env.set);
	env_set_start(&env, &(struct vol_opts){.workers = 2,
					       .chunk_bytes = CHUNK_BYTES,
					       .inflight_bytes = 1 << 20,
					       .nvmf.hdgst = true,
					       .nvmf.ddgst = true});
	vol = env_vol(&env, 0, false, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
		load_reset(100 + i);
		until_good(vol);
		nvmf_stats_get(&before);
		set(&env, rules[i]);
		for (int k = 0; k < 1000 && hits(&env) < 3; k++)
			run(vol, 10);
		assert_int_equal(clear(&env), 3);
		until_good(vol);
		nvmf_stats_get(&after);
		assert_true(after.disconnects > before.disconnects);
	}
	vol_put(vol);
}

/* Answers that come after their deadline, when the connection, and its command
 * ids, are new ones. */
static void test_f11_late_answers(void **state)
{
	static const char *const rules[] = {
		"kind=delay,ms=3600000,op=read,every=5,count=2",
		"kind=delay,ms=3600000,op=write,every=5,count=2",
		"kind=drop,every=5,count=2",
	};
	struct nvmf_stats before, after;
	struct vol *vol;

	vol_set_destroy(env.set);
	env_set_start(&env, &(struct vol_opts){.workers = 2,
					       .chunk_bytes = CHUNK_BYTES,
					       .inflight_bytes = 1 << 20,
					       .nvmf.command_timeout_ms = 100,
					       .nvmf.abort_timeout_ms = 100});
	vol = env_vol(&env, 0, false, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
		load_reset(200 + i);
		until_good(vol);
		nvmf_stats_get(&before);
		set(&env, rules[i]);
		/* Shorter than it takes to send a late chunk again. */
		load.timeout_ns = 80 * NS_PER_MS;
		for (int k = 0; k < 1000 && hits(&env) < 2; k++)
			run(vol, 5);
		load.timeout_ns = 0;
		assert_int_equal(clear(&env), 2); /* what is held leaves now */
		nvmf_stats_get(&after);
		assert_true(after.timeouts > before.timeouts);
		run(vol, 20);
		until_good(vol);
	}
	vol_put(vol);
}

/* The namespace behind an address is not what it was. */
static void test_f14_another_namespace(void **state)
{
	struct vol *vol;
	struct uuid ours = env.segments[0];

	load_reset(14);
	env_superblock(&env, 0, 5);
	vol = env_vol(&env, 0, true, 5);
	until_good(vol);
	for (int what = 0; what < 5; what++) {
		env_tgt_stop(&env);
		if (what == 0)
			memset(env.mem[0], 0, 4096); /* empty */
		else if (what == 1)
			uuid_make(&env.segments[0]); /* somebody else's */
		else if (what == 2)
			env.block = 4096;
		else if (what == 3)
			env.ns_bytes = DATA; /* shrunk */
		else
			uuid_make(&env.ns_uuid); /* a copy, byte by byte */
		if (what == 1)
			env_superblock(&env, 0, 5);
		env_tgt_start(&env);
		for (int i = 0; i < 12; i++)
			assert_true(transfer(vol, 0, i % 2) < 0);
		expect_left_alone();
		env_tgt_stop(&env);
		env.segments[0] = ours;
		env.block = 512;
		env.ns_bytes = NS_BYTES;
		env.ns_uuid = (struct uuid){0};
		env_superblock(&env, 0, 5);
		env_tgt_start(&env);
		until_good(vol);
	}
	vol_put(vol);
}

struct swap {
	unsigned medium;
	struct gate gate;
};

static void swap_done(void *arg)
{
	gate_open(&((struct swap *)arg)->gate);
}

static void swap_on(void *arg)
{
	struct swap *swap = arg;
	struct tgt_subsys *ss = tgt_subsys_find(env.tgt, NQN);
	struct tgt_ns_opts opts = {.nsid = 1};
	struct err err = {0};

	if (tgt_ns_remove(ss, 1, swap_done, swap, &err) ||
	    tgt_ns_add(ss, env_bdev(&env, swap->medium), &opts, &err) != 1)
		fail_msg("%s", err.text);
}

static void swap_medium(unsigned medium)
{
	struct swap swap = {.medium = medium};

	gate_init(&swap.gate);
	shard_call(&env.shard, swap_on, &swap);
	assert_true(gate_wait_for(&swap.gate, 30 * NS_PER_S));
}

/* As the client reads objects: with the checksums they were written with. */
static int read_checked(struct vol *vol)
{
	static uint8_t buf[REGION];
	uint32_t crc = crc32c(0, load.want[1], REGION);

	return env_simple(&env, &(struct env_simple){.vol = vol,
						     .off = DATA + REGION,
						     .len = REGION,
						     .buf = buf,
						     .crcs = &crc});
}

/* The same while all connections live: an event tells of it, and one disk never
 * stands for the other. */
static void test_f14_swapped_while_connected(void **state)
{
	struct timespec nap = {.tv_nsec = 5 * 1000 * 1000};
	uint64_t end_ns = time_mono_ns() + 20 * NS_PER_S;
	struct vol *vol;
	int ret;

	load_reset(15);
	env_superblock(&env, 0, 5);
	env_superblock(&env, 2, 5); /* of another segment */
	vol = env_vol(&env, 0, true, 5);
	until_good(vol);
	assert_int_equal(read_checked(vol), 0);
	swap_medium(2);
	do {
		ret = read_checked(vol);
		assert_int_not_equal(ret, 0);
		nanosleep(&nap, NULL);
		assert_true(time_mono_ns() < end_ns);
	} while (ret != -ESTALE);
	for (int i = 0; i < 20; i++)
		assert_int_equal(transfer(vol, 0, i % 2), -ESTALE);
	expect_left_alone();
	swap_medium(0);
	until_good(vol);
	vol_put(vol);
}

/* A target comes back with fewer and smaller queues, and again with more. */
static void test_f17_limits_change(void **state)
{
	static const struct tgt_opts limits[] = {
		{.max_queues = 1},
		{.queue_depth = 2},
		{.in_capsule = 4096, .max_transfer = 8192},
		{.max_h2cdata = 4096, .no_c2h_success = true},
		{.max_queues = 8, .queue_depth = 1024, .in_capsule = 65536},
	};
	struct vol *vol = env_vol(&env, 0, false, 0);

	load_reset(17);
	until_good(vol);
	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
		env_tgt_stop(&env);
		env.limits = limits[i];
		env_tgt_start(&env);
		for (int k = 0; k < 10; k++)
			transfer(vol, 0, true);
		expect_left_alone();
		until_good(vol);
		run(vol, 20);
		assert_int_equal(load.left_count, 0);
	}
	env.limits = (struct tgt_opts){0};
	vol_put(vol);
}

/* Many wrong digests in a row: no wrong byte, no endless trying, and an end. */
static void test_f18_digest_burst(void **state)
{
	struct nvmf_stats before, after;
	struct vol *vol;
	uint64_t count;

	vol_set_destroy(env.set);
	env_set_start(&env, &(struct vol_opts){.workers = 2,
					       .chunk_bytes = CHUNK_BYTES,
					       .inflight_bytes = 1 << 20,
					       .nvmf.ddgst = true});
	vol = env_vol(&env, 0, false, 0);
	load_reset(18);
	until_good(vol);
	nvmf_stats_get(&before);
	set(&env, "kind=ddgst,count=12");
	for (int i = 0; i < 200 && hits(&env) < 12; i++) {
		transfer(vol, 0, false);
		expect_left_alone();
		nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000},
			  NULL);
	}
	count = clear(&env);
	nvmf_stats_get(&after);
	assert_int_equal(count, 12);
	/* Some were on their way on a connection that had been given up. */
	assert_in_range(after.digest_errors - before.digest_errors, 1, count);
	/* Each costs a connection of three at most, with pauses between. */
	assert_true(after.connects - before.connects <= 3 * (count + 1));
	until_good(vol);
	vol_put(vol);
}

/* I/O queues that stand still for several KATO do not cost the controller. */
static void test_f26_busy_queues_keep_alive(void **state)
{
	struct nvmf_stats before, after;
	struct vol *vol;

	vol_set_destroy(env.set);
	env_set_start(&env, &(struct vol_opts){.workers = 1,
					       .chunk_bytes = CHUNK_BYTES,
					       .inflight_bytes = 1 << 20,
					       .nvmf.kato_ms = 200});
	vol = env_vol(&env, 0, false, 0);
	load_reset(26);
	until_good(vol);
	nvmf_stats_get(&before);
	set(&env, "kind=stall,ms=800,qid=1,once");
	run(vol, 10);
	assert_int_equal(clear(&env), 1);
	assert_int_equal(load.failed, 0);
	nvmf_stats_get(&after);
	assert_int_equal(after.disconnects, before.disconnects);
	vol_put(vol);
}

static void do_keys(void *arg)
{
	assert_int_equal(tgt_keys_set(env.tgt, NQN, NULL, arg), 0);
}

static void set_with_key(const struct dhchap_key *key)
{
	struct vol_opts opts = {.workers = 2,
				.chunk_bytes = CHUNK_BYTES,
				.inflight_bytes = 1 << 20};

	if (key)
		opts.nvmf.dhchap_key = *key;
	vol_set_destroy(env.set);
	env_set_start(&env, &opts);
}

/* Keys change while I/O goes on: it goes on, and from the next connection on
 * the old key, and no key, is refused. */
static void test_f27_keys_rotated(void **state)
{
	struct tgt_keys old = {0}, new = {0};
	struct vol *vol;

	assert_int_equal(dhchap_key_make(DHCHAP_SHA256, 32, &old.host), 0);
	assert_int_equal(dhchap_key_make(DHCHAP_SHA512, 64, &new.host), 0);
	load_reset(27);
	shard_call(&env.shard, do_keys, &old);
	set_with_key(&old.host);
	vol = env_vol(&env, 0, false, 0);
	until_good(vol);
	shard_call(&env.shard, do_keys, &new);
	run(vol, 30);
	assert_int_equal(load.failed, 0);
	set(&env, "kind=disconnect,op=all,once");
	for (int i = 0; i < 200 && !hits(&env); i++)
		transfer(vol, 0, false);
	assert_int_equal(clear(&env), 1);
	expect_left_alone();
	for (int i = 0; !transfer(vol, 0, false); i++)
		assert_true(i < 1000); /* on queues that still live */
	for (int i = 0; i < 20; i++)
		assert_true(transfer(vol, 0, i % 2) < 0);
	expect_left_alone();
	vol_put(vol);
	set_with_key(NULL);
	vol = env_vol(&env, 0, false, 0);
	for (int i = 0; i < 20; i++)
		assert_true(transfer(vol, 0, i % 2) < 0);
	expect_left_alone();
	vol_put(vol);
	set_with_key(&new.host);
	vol = env_vol(&env, 0, false, 0);
	until_good(vol);
	vol_put(vol);
}

static int setup(void **state)
{
	env_init(&env, 512);
	env_init(&other, 512);
	env_set_start(&env, NULL);
	return 0;
}

static int teardown(void **state)
{
	expect_left_alone();
	env_fini(&env);
	env_fini(&other);
	return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_f02_nothing_is_answered),
		TEST(test_f10_lies),
		TEST(test_f11_late_answers),
		TEST(test_f14_another_namespace),
		TEST(test_f14_swapped_while_connected),
		TEST(test_f17_limits_change),
		TEST(test_f18_digest_burst),
		TEST(test_f26_busy_queues_keep_alive),
		TEST(test_f27_keys_rotated),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
