/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes whose target, or whose superblock, is not what it should be. */
#include "vol_env.h"

#include <time.h>
#include <unistd.h>

#define DATA POOL_DATA_OFFSET

static int read_once(struct env *env, struct vol *vol, uint64_t timeout_ns)
{
	static char buf[8192];

	return env_simple(env, &(struct env_simple){.vol = vol,
						    .off = DATA,
						    .len = sizeof(buf),
						    .buf = buf,
						    .timeout_ns = timeout_ns});
}

/* Until it succeeds; the volume comes back by itself. */
static void read_until_good(struct env *env, struct vol *vol, uint64_t limit_ns)
{
	uint64_t end_ns = time_mono_ns() + limit_ns;
	struct timespec nap = {.tv_nsec = 10 * 1000 * 1000};

	while (read_once(env, vol, 0))
		if (time_mono_ns() > end_ns)
			fail_msg("the volume does not come back");
		else
			nanosleep(&nap, NULL);
}

static void test_restart(void **state)
{
	struct env *env = *state;
	struct vol *vol;
	struct vol_stats stats;
	uint64_t start_ns;
	int ret;

	env_superblock(env, 0, 5);
	vol = env_vol(env, 0, true, 5);
	assert_int_equal(read_once(env, vol, 0), 0);
	env_tgt_stop(env);
	/* One may still wait for the first new attempt, no later one does. */
	ret = read_once(env, vol, 0);
	assert_int_equal(ret, -EHOSTUNREACH);
	ret = read_once(env, vol, 0);
	assert_int_equal(ret, -EHOSTUNREACH);
	start_ns = time_mono_ns();
	for (int i = 0; i < 50; i++)
		assert_int_equal(read_once(env, vol, 0), -EHOSTUNREACH);
	assert_true(time_mono_ns() - start_ns < 3 * NS_PER_S);
	vol_stats_get(env->set, &stats);
	assert_int_equal(stats.volumes_connected, 0);
	env_tgt_start(env);
	read_until_good(env, vol, 12 * NS_PER_S);
	vol_stats_get(env->set, &stats);
	assert_int_equal(stats.volumes_connected, 1);
	vol_put(vol);
}

/* As above, but nobody holds the volume between two reads, and those fail so
 * fast that the connection comes up while nobody wants it. */
static void test_restart_seldom_held(void **state)
{
	struct env *env = *state;
	struct vol *vol;
	uint64_t end_ns;
	int ret;

	env_superblock(env, 0, 5);
	vol = env_vol(env, 0, true, 5);
	assert_int_equal(read_once(env, vol, 0), 0);
	env_tgt_stop(env);
	for (int i = 0; i < 20; i++) { /* the attempt they wait for is over */
		assert_int_equal(read_once(env, vol, 0), -EHOSTUNREACH);
		nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000},
			  NULL);
	}
	vol_put(vol);
	env_tgt_start(env);
	end_ns = time_mono_ns() + 8 * NS_PER_S;
	do {
		nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000},
			  NULL);
		vol = env_vol(env, 0, true, 5);
		ret = read_once(env, vol, 0);
		vol_put(vol);
	} while (ret && time_mono_ns() < end_ns);
	assert_int_equal(ret, 0);
}

static void expect_fenced(struct env *env, struct vol *vol)
{
	for (int i = 0; i < 500; i++) {
		int ret = read_once(env, vol, 0);

		if (ret == -ESTALE)
			return;
		assert_int_equal(ret, -EHOSTUNREACH);
		nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000},
			  NULL);
	}
	fail_msg("the volume is not refused");
}

/* Another disk came back under the same address. */
static void test_swapped_disk(void **state)
{
	struct env *env = *state;
	struct vol *vol;

	env_superblock(env, 0, 1);
	vol = env_vol(env, 0, true, 1);
	assert_int_equal(read_once(env, vol, 0), 0);
	env_tgt_stop(env);
	uuid_make(&env->segments[0]);
	env_superblock(env, 0, 1);
	env_tgt_start(env);
	expect_fenced(env, vol);
	vol_put(vol);
}

/* The namespace came back smaller than the segment; then with its old size. */
static void test_shrunk(void **state)
{
	struct env *env = *state;
	struct vol *vol;

	env_superblock(env, 0, 1);
	vol = env_vol(env, 0, true, 1);
	assert_int_equal(read_once(env, vol, 0), 0);
	env_tgt_stop(env);
	env->ns_bytes = NS_BYTES / 2;
	env_tgt_start(env);
	expect_fenced(env, vol);
	env_tgt_stop(env);
	env->ns_bytes = NS_BYTES;
	env_tgt_start(env);
	read_until_good(env, vol, 12 * NS_PER_S);
	vol_put(vol);
}

/* Fewer queues than workers, other limits of a command: all goes on. */
static void test_other_limits(void **state)
{
	static const struct {
		uint16_t queues;
		uint32_t transfer;
	} limits[] = {{1, 128 * KiB}, {3, MiB}, {2, 64 * KiB}};
	struct env *env = *state;
	static char out[2 * MiB], in[2 * MiB];
	struct vol_path_stats stats;
	struct vol *vol;

	vol_set_destroy(env->set);
	env_set_start(env, &(struct vol_opts){.workers = 3,
					      .chunk_bytes = 128 * KiB,
					      .inflight_bytes = 32 * MiB});
	env_superblock(env, 0, 1);
	vol = env_vol(env, 0, true, 1);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct env_simple s = {.vol = vol,
				       .is_write = true,
				       .off = DATA,
				       .len = sizeof(out),
				       .buf = out};

		env_tgt_stop(env);
		env->limits.max_queues = limits[i].queues;
		env->limits.max_transfer = limits[i].transfer;
		env_tgt_start(env);
		read_until_good(env, vol, 12 * NS_PER_S);
		memset(out, 'a' + (int)i, sizeof(out));
		assert_int_equal(env_simple(env, &s), 0);
		s.is_write = false;
		s.buf = in;
		assert_int_equal(env_simple(env, &s), 0);
		assert_memory_equal(in, out, sizeof(in));
		assert_int_equal(vol_paths_get(env->set, &stats, 1), 1);
		assert_int_equal(stats.queues, limits[i].queues);
	}
	vol_put(vol);
}

/* After the loss timeout nothing waits for the path. */
static void test_given_up(void **state)
{
	struct env *env = *state;
	struct vol *vol;

	vol_set_destroy(env->set);
	env->gives_up = true;
	env_set_start(env, NULL);
	vol = env_vol(env, 0, false, 0);
	assert_int_equal(read_once(env, vol, 0), 0);
	env_tgt_stop(env);
	for (int i = 0; i < 50; i++)
		assert_int_equal(read_once(env, vol, 0), -EHOSTUNREACH);
	vol_put(vol);
}

static void test_fenced(void **state)
{
	struct env *env = *state;
	struct vol *vol, *newer;
	struct vol_stats stats;

	vol = env_vol(env, 0, true, 5);
	assert_int_equal(read_once(env, vol, 0), -ESTALE); /* no superblock */
	vol_put(vol);
	env_superblock(env, 1, 6);
	vol = env_vol(env, 1, true, 5);
	assert_int_equal(read_once(env, vol, 0), -ESTALE);
	/* The master's news make it a new volume; who has the old one keeps
	 * being refused. */
	newer = env_vol(env, 1, true, 6);
	assert_ptr_not_equal(vol, newer);
	assert_int_equal(read_once(env, newer, 0), 0);
	assert_int_equal(read_once(env, vol, 0), -ESTALE);
	vol_stats_get(env->set, &stats);
	assert_int_equal(stats.fenced, 3);
	vol_put(vol);
	vol_put(newer);
}

static void test_refused_connection(void **state)
{
	struct env *env = *state;
	struct vol *vol;
	uint64_t start_ns = time_mono_ns();

	env_tgt_stop(env); /* nobody listens there now */
	vol = env_vol(env, 2, true, 1);
	assert_int_equal(read_once(env, vol, 0), -EHOSTUNREACH);
	assert_true(time_mono_ns() - start_ns < 2 * NS_PER_S);
	vol_put(vol);
	env_tgt_start(env);
}

/* A port where the kernel accepts and nobody ever answers. */
static int silent_peer(char out[ENDPOINT_TEXT_LEN])
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct addr addr;

	assert_int_equal(addr_parse("127.0.0.1", 0, &addr), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr.ss, addr.len), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(
		getsockname(fd, (struct sockaddr *)&addr.ss, &addr.len), 0);
	snprintf(out, ENDPOINT_TEXT_LEN,
		 "traddr:127.0.0.1 trsvcid:%u subnqn:%s ns:1", addr_port(&addr),
		 NQN);
	return fd;
}

/* The deadline of the I/O counts; later ones fail at once, also when the
 * volume is got and put around each of them. */
static void test_silent(void **state)
{
	char text[ENDPOINT_TEXT_LEN];
	const char *ep = text;
	struct env *env = *state;
	struct vol_desc desc = {
		.block_bytes = 512, .endpoints = &ep, .endpoint_count = 1};
	uint64_t start_ns = time_mono_ns(), waited_ns = 0;
	struct err err = {0};
	struct vol *vol;
	int fd = silent_peer(text);

	uuid_make(&desc.segment);
	assert_int_equal(vol_get(env->set, &desc, &vol, &err), 0);
	assert_int_equal(read_once(env, vol, 100 * NS_PER_MS), -ETIMEDOUT);
	assert_true(time_mono_ns() - start_ns < 400 * NS_PER_MS);
	assert_int_equal(read_once(env, vol, 0), -EHOSTUNREACH);
	vol_put(vol);
	for (int i = 0; i < 5; i++) {
		nanosleep(&(struct timespec){.tv_nsec = 120 * 1000 * 1000},
			  NULL);
		assert_int_equal(vol_get(env->set, &desc, &vol, &err), 0);
		start_ns = time_mono_ns();
		assert_int_equal(read_once(env, vol, 0), -EHOSTUNREACH);
		waited_ns += time_mono_ns() - start_ns;
		vol_put(vol);
	}
	assert_true(waited_ns < 400 * NS_PER_MS);
	close(fd);
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

/* A target that stops answering: what is on the wire ends by the command's
 * deadline, what comes after fails fast, and all is well when it goes on. */
static void test_stuck(void **state)
{
	struct env *env = *state;
	struct vol *vol = env_vol(env, 0, false, 0);
	struct block b = {.msg.run = block_run};
	uint64_t start_ns;

	assert_int_equal(read_once(env, vol, 0), 0);
	gate_init(&b.begun);
	gate_init(&b.end);
	loop_post(env->shard.loop, &b.msg);
	gate_wait(&b.begun);
	start_ns = time_mono_ns();
	assert_int_equal(read_once(env, vol, 100 * NS_PER_MS), -ETIMEDOUT);
	assert_true(time_mono_ns() - start_ns < 4 * NS_PER_S);
	gate_open(&b.end);
	env_sync(env); /* b is left alone from here on */
	read_until_good(env, vol, 12 * NS_PER_S);
	vol_put(vol);
}

/* Jobs that end while their workers wait for bytes in flight must not leave
 * them in the line, where they would block everybody else. */
static void test_line_is_left(void **state)
{
	struct env *env = *state;
	struct block b = {.msg.run = block_run};
	static char buf[128 * 1024];
	struct vol *vol;

	vol_set_destroy(env->set);
	env_set_start(env, &(struct vol_opts){.workers = 3,
					      .chunk_bytes = 4096,
					      .inflight_bytes = 4096});
	vol = env_vol(env, 0, false, 0);
	assert_int_equal(read_once(env, vol, 0), 0);
	gate_init(&b.begun);
	gate_init(&b.end);
	loop_post(env->shard.loop, &b.msg);
	gate_wait(&b.begun);
	struct env_io r = {
		.io = {.extents = &(struct vol_extent){vol, DATA, sizeof(buf)},
		       .extent_count = 1,
		       .iov = &(struct iovec){buf, sizeof(buf)},
		       .iovcnt = 1,
		       .bytes = sizeof(buf),
		       .deadline_ns = time_mono_ns() + 50 * NS_PER_MS,
		       .done = env_io_done}};
	gate_init(&r.gate);
	assert_int_equal(vol_submit(env->set, &r.io), 0);
	assert_false(gate_wait_for(&r.gate, 150 * NS_PER_MS));
	gate_open(&b.end);
	env_sync(env); /* b is left alone from here on */
	gate_wait(&r.gate);
	assert_int_equal(r.io.ret, -ETIMEDOUT);
	for (int i = 0; i < 12; i++)
		assert_int_equal(read_once(env, vol, NS_PER_S), 0);
	vol_put(vol);
}

/* The set is destroyed while its volumes still connect or resolve. */
static void test_destroy_early(void **state)
{
	struct env *env = *state;
	const char *ep = "traddr:no.such.name.invalid subnqn:" NQN " ns:1";
	struct vol_desc desc = {
		.block_bytes = 512, .endpoints = &ep, .endpoint_count = 1};
	struct err err = {0};
	struct vol *vol;

	for (int i = 0; i < 10; i++) {
		vol_put(env_vol(env, 0, false, 0));
		uuid_make(&desc.segment);
		assert_int_equal(vol_get(env->set, &desc, &vol, &err), 0);
		vol_put(vol);
		if (i % 2)
			nanosleep(&(struct timespec){.tv_nsec = i * 100000},
				  NULL);
		vol_set_destroy(env->set);
		env_set_start(env, NULL);
	}
}

/* The first of two ways is dead. */
static void test_two_ways(void **state)
{
	struct env *env = *state;
	char good[ENDPOINT_TEXT_LEN];
	const char *eps[2] = {"traddr:127.0.0.1 trsvcid:1 subnqn:" NQN " ns:1",
			      good};
	struct vol_desc desc = {.segment = env->segments[0],
				.is_nof = true,
				.epoch = 9,
				.block_bytes = 512,
				.endpoints = eps,
				.endpoint_count = 2};
	struct err err = {0};
	struct vol *vol;

	env_superblock(env, 0, 9);
	env_endpoint(env, 1, good);
	assert_int_equal(vol_get(env->set, &desc, &vol, &err), 0);
	read_until_good(env, vol, 5 * NS_PER_S);
	vol_put(vol);
}

/* One that is held only now and then is looked at again as soon as one that is
 * always held. */
static void test_fenced_seldom_held(void **state)
{
	struct env *env = *state;
	uint64_t end_ns = time_mono_ns() + 10 * NS_PER_S;
	struct timespec nap = {.tv_nsec = 50 * 1000 * 1000};
	struct vol *vol;
	int ret;

	env_superblock(env, 0, 4);
	env_sync(env);
	vol = env_vol(env, 0, true, 5);
	ret = read_once(env, vol, 0);
	vol_put(vol);
	assert_int_equal(ret, -ESTALE);
	env_sync(env);
	env_superblock(env, 0, 5);
	env_sync(env);
	while (ret) {
		nanosleep(&nap, NULL);
		if (time_mono_ns() > end_ns)
			fail_msg("the volume does not come back");
		vol = env_vol(env, 0, true, 5);
		ret = read_once(env, vol, 0);
		vol_put(vol);
	}
}

/* Masters that take turns say one epoch and the other: each has one volume,
 * however often it is asked for. */
static void test_epochs_by_turns(void **state)
{
	struct env *env = *state;
	struct vol *vols[2], *vol;

	env_superblock(env, 0, 5);
	vols[0] = env_vol(env, 0, true, 5);
	vols[1] = env_vol(env, 0, true, 6);
	assert_ptr_not_equal(vols[0], vols[1]);
	for (unsigned i = 0; i < 6; i++) {
		vol = env_vol(env, 0, true, 5 + i % 2);
		assert_ptr_equal(vol, vols[i % 2]);
		assert_int_equal(read_once(env, vol, 0), i % 2 ? -ESTALE : 0);
		vol_put(vol);
	}
	vol_put(vols[0]);
	vol_put(vols[1]);
}

static void test_bad_desc(void **state)
{
	struct env *env = *state;
	const char *ep = "traddr:1.2.3.4 trsvcid:x subnqn:" NQN;
	struct vol_desc desc = {
		.block_bytes = 512, .endpoints = &ep, .endpoint_count = 1};
	struct err err = {0};
	struct vol *vol;

	uuid_make(&desc.segment);
	assert_int_equal(vol_get(env->set, &desc, &vol, &err), -EINVAL);
	assert_non_null(strstr(err.text, "x"));
	ep = "traddr:1.2.3.4 subnqn:" NQN;
	err = (struct err){0};
	assert_int_equal(vol_get(env->set, &desc, &vol, &err), -EINVAL);
	assert_non_null(strstr(err.text, "ns:"));
	desc.block_bytes = 513;
	err = (struct err){0};
	assert_int_equal(vol_get(env->set, &desc, &vol, &err), -EINVAL);
}

static int setup(void **state)
{
	static struct env env;

	env_init(&env, 512);
	env_set_start(&env, NULL);
	*state = &env;
	return 0;
}

static int teardown(void **state)
{
	env_fini(*state);
	return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_restart),
		TEST(test_restart_seldom_held),
		TEST(test_swapped_disk),
		TEST(test_shrunk),
		TEST(test_other_limits),
		TEST(test_given_up),
		TEST(test_fenced),
		TEST(test_fenced_seldom_held),
		TEST(test_refused_connection),
		TEST(test_silent),
		TEST(test_two_ways),
		TEST(test_epochs_by_turns),
		TEST(test_bad_desc),
		TEST(test_stuck),
		TEST(test_destroy_early),
		TEST(test_line_is_left),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
