/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of volumes and paths of former lives. */
#include "vol_env.h"

#include <pthread.h>
#include <time.h>

#include "pool/set.h"

#define DATA POOL_DATA_OFFSET

static const struct vol_opts options = {
	.workers = 3, .chunk_bytes = 256 * KiB, .inflight_bytes = 32 * MiB};

static void sweep_on(void *arg)
{
	sweep_run(arg);
}

/* As the timer does. */
static void sweep(struct env *env)
{
	shard_call(&env->set->workers[0].shard, sweep_on, env->set);
}

static unsigned count(struct env *env, const struct list *table)
{
	const struct list *node;
	unsigned n = 0;

	pthread_mutex_lock(&env->set->mu);
	for (node = table->next; node != table; node = node->next)
		n++;
	pthread_mutex_unlock(&env->set->mu);
	return n;
}

static void await(struct env *env, unsigned vols, unsigned paths)
{
	uint64_t end_ns = time_mono_ns() + 20 * NS_PER_S;

	while (count(env, &env->set->vols) != vols ||
	       count(env, &env->set->paths) != paths) {
		if (time_mono_ns() > end_ns)
			fail_msg("%u volumes and %u paths, not %u and %u",
				 count(env, &env->set->vols),
				 count(env, &env->set->paths), vols, paths);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
		sweep(env);
	}
}

static int read_one(struct env *env, struct vol *vol)
{
	uint8_t byte;

	return env_simple(
		env, &(struct env_simple){
			     .vol = vol, .off = DATA, .len = 1, .buf = &byte});
}

static struct vol *get(struct env *env, const struct vol_desc *what,
		       const char *endpoint)
{
	const char *endpoints[1] = {endpoint};
	struct vol_desc desc = *what;
	struct err err = {0};
	struct vol *vol = NULL;

	desc.block_bytes = env->block;
	desc.endpoints = endpoints;
	desc.endpoint_count = 1;
	if (vol_get(env->set, &desc, &vol, &err))
		fail_msg("%s", err.text);
	return vol;
}

/* As that owner. */
static struct vol *get_owned(struct env *env, unsigned i, uint64_t key,
			     uint64_t epoch)
{
	char text[ENDPOINT_TEXT_LEN];

	env_endpoint(env, i + 1, text);
	return get(env,
		   &(struct vol_desc){.segment = env->segments[i],
				      .key = key,
				      .epoch = epoch},
		   text);
}

/* A process that is not there. */
static struct vol *get_gone(struct env *env, unsigned number)
{
	char text[ENDPOINT_TEXT_LEN];
	struct vol_desc desc = {0};

	snprintf(text, sizeof(text),
		 "traddr:127.0.0.1 trsvcid:1 subnqn:%s%u trtype:TCP "
		 "adrfam:IPv4 ns:1",
		 NQN, number);
	desc.segment.b[0] = (uint8_t)number;
	return get(env, &desc, text);
}

static void test_epochs(void **state)
{
	struct env *env = *state;
	struct vol *vol;

	env_superblock(env, 0, 1);
	vol = env_vol(env, 0, true, 1);
	assert_int_equal(read_one(env, vol), 0);
	for (unsigned epoch = 2; epoch <= 1000; epoch++) {
		vol_put(env_vol(env, 0, true, epoch));
		if (epoch % 50 == 0)
			sweep(env);
	}
	await(env, 1, 1);
	assert_int_equal(read_one(env, vol), 0);
	vol_put(vol);
	/* One that nobody holds, but somebody gets in between, stays. */
	for (unsigned i = 0; i < 3; i++) {
		sweep(env);
		assert_ptr_equal(env_vol(env, 0, true, 1), vol);
		vol_put(vol);
	}
}

static void test_paths(void **state)
{
	struct env *env = *state;
	struct vol *vol = env_vol(env, 0, false, 0);
	struct vol_stats stats;

	assert_int_equal(read_one(env, vol), 0);
	for (unsigned i = 0; i < 200; i++)
		vol_put(get_gone(env, i));
	await(env, 1, 1);
	assert_int_equal(read_one(env, vol), 0);
	vol_put(vol);
	await(env, 0, 1); /* it is connected */
	vol_stats_get(env->set, &stats);
	assert_int_equal(stats.volumes_connected, 0);
	vol = env_vol(env, 0, false, 0);
	assert_int_equal(read_one(env, vol), 0);
	vol_put(vol);
}

/* A path is told of by its address: what was counted as another owner stays. */
static void test_sums(void **state)
{
	struct env *env = *state;
	struct vol_path_stats before, after;
	struct vol *vol = get_owned(env, 0, 1, 1);

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(read_one(env, vol), 0);
	vol_put(vol);
	vol = get_owned(env, 0, 2, 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(read_one(env, vol), 0);
	assert_int_equal(vol_paths_get(env->set, &before, 1), 1);
	assert_int_equal(before.ops[0], 5);
	env_tgt_stop(env);
	env_tgt_start(env);
	await(env, 1, 1);
	assert_int_equal(vol_paths_get(env->set, &after, 1), 1);
	assert_int_equal(after.ops[0], 5);
	assert_int_equal(after.bytes[0], before.bytes[0]);
	assert_true(after.p99_us[0] > 0);
	assert_int_equal(after.lost, 2);
	vol_put(vol);
}

struct wanted {
	struct vol_set *set;
	bool is_wanted;
};

static void is_wanted_on(void *arg)
{
	struct wanted *wanted = arg;

	wanted->is_wanted = timer_is_set(&wanted->set->sweep.timer);
}

/* Who has nothing to connect to, because the memory is its own, as well. */
static void test_own_memory(void **state)
{
	struct env *env = *state;
	static uint8_t mem[64 * KiB];
	struct wanted wanted = {.set = env->set};
	struct vol *vol;

	assert_int_equal(vol_attach_memory(env->set, &env->segments[0], mem,
					   sizeof(mem)),
			 0);
	vol = env_vol(env, 0, false, 0);
	shard_call(&env->set->workers[0].shard, is_wanted_on, &wanted);
	assert_true(wanted.is_wanted);
	vol_put(vol);
	vol_detach_memory(env->set, &env->segments[0]);
	await(env, 0, 0);
}

/* --- by many --- */

struct user {
	pthread_t thread;
	struct env *env;
	unsigned index;
	atomic_uint *left;
};

static void *user_run(void *arg)
{
	struct user *u = arg;
	struct rng rng = t_rng(u->index);
	struct vol *vol;

	for (unsigned i = 0; i < 500; i++) {
		vol_put(get_gone(u->env, (unsigned)rng_below(&rng, 8)));
		vol = get_owned(u->env, (unsigned)rng_below(&rng, NS_COUNT),
				rng_below(&rng, 2), rng_below(&rng, 4));
		if (read_one(u->env, vol))
			break;
		vol_put(vol);
		if (i == 499)
			atomic_fetch_sub(u->left, 1);
	}
	return NULL;
}

static void test_meanwhile(void **state)
{
	struct env *env = *state;
	struct user users[4];
	atomic_uint left = ARRAY_SIZE(users);
	uint64_t end_ns = time_mono_ns() + 60 * NS_PER_S;

	for (unsigned i = 0; i < ARRAY_SIZE(users); i++) {
		users[i] = (struct user){.env = env, .index = i, .left = &left};
		pthread_create(&users[i].thread, NULL, user_run, &users[i]);
	}
	while (atomic_load(&left) && time_mono_ns() < end_ns)
		sweep(env);
	for (unsigned i = 0; i < ARRAY_SIZE(users); i++)
		pthread_join(users[i].thread, NULL);
	assert_int_equal(atomic_load(&left), 0);
}

/* The set ends while what was taken is about to be freed. */
static void test_closing(void **state)
{
	struct env *env = *state;

	for (unsigned i = 0; i < 20; i++) {
		vol_put(get_gone(env, 0));
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
		sweep(env);
		sweep(env);
		vol_set_destroy(env->set);
		env_set_start(env, &options);
	}
}

static int setup(void **state)
{
	static struct env env;

	env_init(&env, 512);
	env_set_start(&env, &options);
	*state = &env;
	return 0;
}

static int teardown(void **state)
{
	env_fini(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_epochs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sums, setup, teardown),
		cmocka_unit_test_setup_teardown(test_own_memory, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_meanwhile, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_closing, setup, teardown),
	};

	log_level_max = LOG_ERROR;
	t_seed(); /* before there are threads */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
