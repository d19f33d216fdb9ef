/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cancelling: done comes soon, whatever the target does, and then the memory is
 * the caller's; others go on.
 */
#include "vol_env.h"

#include "target/fault.h"

#define DATA  POOL_DATA_OFFSET
#define BYTES (3 * MiB)
#define LEFT  0xdd

static struct env env;

struct call {
	const char *text; /* NULL: no faults any more */
};

static void do_set(void *arg)
{
	const struct call *call = arg;
	struct err err = {0};
	uint32_t id;

	if (!call->text)
		tgt_fault_clear(env.tgt, 0);
	else if (tgt_fault_set(env.tgt, call->text, &id, &err))
		fail_msg("%s", err.text);
}

static void fault(const char *text)
{
	shard_call(&env.shard, do_set, &(struct call){text});
}

/* One read of everything at DATA. */
struct one {
	struct env_io r;
	struct vol_extent ext;
	struct iovec iov;
	uint8_t buf[BYTES];
};

static void begin(struct one *one, struct vol *vol)
{
	memset(one->buf, LEFT, sizeof(one->buf));
	one->ext = (struct vol_extent){vol, DATA, BYTES};
	one->iov = (struct iovec){one->buf, BYTES};
	one->r = (struct env_io){
		.io = {
			.done = env_io_done,
			.extents = &one->ext,
			.extent_count = 1,
			.iov = &one->iov,
			.iovcnt = 1,
			.bytes = BYTES,
			.deadline_ns = time_mono_ns() + 60 * NS_PER_S,
		}};
	gate_init(&one->r.gate);
	assert_int_equal(vol_submit(env.set, &one->r.io), 0);
}

static int end(struct one *one)
{
	if (!gate_wait_for(&one->r.gate, 30 * NS_PER_S))
		fail_msg("an I/O has not ended");
	return one->r.io.ret;
}

static uint64_t lost(void)
{
	struct vol_path_stats stats[4];

	if (vol_paths_get(env.set, stats, 4) != 1)
		return 99;
	return stats[0].lost;
}

static int start(uint16_t io_queues)
{
	struct rng rng = t_rng(3);

	env_init(&env, 512);
	env_set_start(&env, &(struct vol_opts){
				    .workers = 2,
				    .chunk_bytes = 128 * KiB,
				    .inflight_bytes = 8 * MiB,
				    .nvmf.command_timeout_ms = 60000,
				    .nvmf.io_queues = io_queues,
			    });
	env_fill(env.mem[0] + DATA, BYTES, &rng);
	return 0;
}

static int setup(void **state)
{
	return start(0);
}

/* Two workers share what one of them has. */
static int setup_one_queue(void **state)
{
	return start(1);
}

static int teardown(void **state)
{
	env_fini(&env);
	return 0;
}

/* A target that honours Abort loses no connection. */
static void test_slow_target(void **state)
{
	static struct one slow, other;
	struct vol *vol = env_vol(&env, 0, false, 0);
	struct vol *good = env_vol(&env, 1, false, 0);

	begin(&slow, vol);
	assert_int_equal(end(&slow), 0);
	env_sync(&env);
	assert_memory_equal(slow.buf, env.mem[0] + DATA, BYTES);
	fault("kind=delay,op=read,nsid=1,ms=600000");
	begin(&slow, vol);
	begin(&other, good);
	assert_int_equal(end(&other), 0);
	vol_cancel(env.set, &slow.r.io);
	vol_cancel(env.set, &slow.r.io); /* twice is once */
	assert_int_equal(end(&slow), -ECANCELED);
	vol_cancel(env.set, &slow.r.io); /* too late is nothing */
	memset(slow.buf, LEFT, sizeof(slow.buf));
	fault(NULL);
	begin(&other, vol);
	assert_int_equal(end(&other), 0);
	for (size_t i = 0; i < BYTES; i++)
		assert_int_equal(slow.buf[i], LEFT);
	assert_int_equal(lost(), 0);
	vol_put(vol);
	vol_put(good);
}

/* Nothing was sent yet: the volume is not connected. */
static void test_not_sent(void **state)
{
	static struct one one;
	struct vol *vol;

	env_tgt_stop(&env);
	vol = env_vol(&env, 0, false, 0);
	begin(&one, vol);
	vol_cancel(env.set, &one.r.io);
	assert_int_not_equal(end(&one), 0);
	vol_put(vol);
}

/* At any time: it ended well with all bytes, or not and nothing comes later. */
static void test_any_time(void **state)
{
	static struct one ones[4];
	struct vol *vol = env_vol(&env, 0, false, 0);
	struct rng rng = t_rng(4);
	unsigned cancelled = 0;

	fault("kind=delay,op=read,ms=2,every=7");
	for (unsigned round = 0; round < 60; round++) {
		uint64_t end_ns = time_mono_ns() + rng_below(&rng, 4000000);

		for (unsigned i = 0; i < ARRAY_SIZE(ones); i++)
			begin(&ones[i], vol);
		while (time_mono_ns() < end_ns)
			;
		for (unsigned i = 0; i < ARRAY_SIZE(ones); i += 2)
			vol_cancel(env.set, &ones[i].r.io);
		for (unsigned i = 0; i < ARRAY_SIZE(ones); i++) {
			int ret = end(&ones[i]);

			assert_true(ret == 0 ||
				    (i % 2 == 0 && ret == -ECANCELED));
			cancelled += ret != 0;
			if (ret == 0)
				assert_memory_equal(ones[i].buf,
						    env.mem[0] + DATA, BYTES);
			memset(ones[i].buf, LEFT, BYTES);
		}
		env_sync(&env);
		for (unsigned i = 0; i < ARRAY_SIZE(ones); i++)
			assert_true(ones[i].buf[0] == LEFT &&
				    !memcmp(ones[i].buf, ones[i].buf + 1,
					    BYTES - 1));
	}
	assert_true(cancelled > 0);
	fault(NULL);
	vol_put(vol);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_slow_target, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_slow_target,
						setup_one_queue, teardown),
		cmocka_unit_test_setup_teardown(test_any_time, setup_one_queue,
						teardown),
		cmocka_unit_test_setup_teardown(test_not_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_any_time, setup, teardown),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
