/* SPDX-License-Identifier: Apache-2.0 */
/* What a target says by itself: ANA states of two listeners, namespaces that
 * come and go. */
#include "vol_env.h"

#include <time.h>

#define DATA  POOL_DATA_OFFSET
#define EPOCH 2

struct world {
	struct env env;
	uint16_t ports[2];
	struct vol *vol;
};

struct call {
	struct world *w;
	unsigned listener;
	enum tgt_ana state;
	struct gate gate;
};

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
}

/* --- on the target's thread --- */

static void listen_on(void *arg)
{
	struct world *w = arg;
	struct err err = {0};
	struct addr addr;

	assert_int_equal(addr_parse("127.0.0.1", 0, &addr), 0);
	if (tgt_listen(w->env.tgt, &addr, &err))
		fail_msg("%s", err.text);
	w->ports[1] = addr_port(&addr);
}

static void ana_on(void *arg)
{
	struct call *call = arg;
	struct err err = {0};
	struct addr addr;

	assert_int_equal(
		addr_parse("127.0.0.1", call->w->ports[call->listener], &addr),
		0);
	if (tgt_subsys_ana_set(tgt_subsys_find(call->w->env.tgt, NQN), &addr, 0,
			       call->state, &err))
		fail_msg("%s", err.text);
}

static void set_ana(struct world *w, unsigned listener, enum tgt_ana state)
{
	struct call call = {.w = w, .listener = listener, .state = state};

	shard_call(&w->env.shard, ana_on, &call);
}

/* --- ways --- */

static void world_open(struct world *w, bool has_ana)
{
	char text[2][ENDPOINT_TEXT_LEN];
	const char *eps[2] = {text[0], text[1]};
	struct vol_desc desc = {.is_nof = true,
				.epoch = EPOCH,
				.block_bytes = 512,
				.endpoints = eps,
				.endpoint_count = 2};
	struct err err = {0};

	env_init(&w->env, 512);
	env_tgt_stop(&w->env);
	w->env.has_ana = has_ana;
	env_superblock(&w->env, 0, EPOCH);
	env_tgt_start(&w->env);
	w->ports[0] = w->env.port;
	shard_call(&w->env.shard, listen_on, w);
	env_set_start(&w->env, NULL);
	desc.segment = w->env.segments[0];
	env_endpoint(&w->env, 1, text[0]);
	w->env.port = w->ports[1];
	env_endpoint(&w->env, 1, text[1]);
	w->env.port = w->ports[0];
	if (vol_get(w->env.set, &desc, &w->vol, &err))
		fail_msg("%s", err.text);
}

static void world_close(struct world *w)
{
	vol_put(w->vol);
	env_fini(&w->env);
}

static void wait_ways(struct world *w, unsigned count)
{
	uint64_t end_ns = time_mono_ns() + 20 * NS_PER_S;

	for (; vol_ways_ready(w->vol) != count; nap())
		if (time_mono_ns() > end_ns)
			fail_msg("%u ways, not %u", vol_ways_ready(w->vol),
				 count);
}

static int read_some(struct world *w, uint64_t timeout_ns)
{
	static uint8_t buf[2 * MiB];

	return env_simple(&w->env,
			  &(struct env_simple){.vol = w->vol,
					       .off = DATA,
					       .len = sizeof(buf),
					       .buf = buf,
					       .timeout_ns = timeout_ns});
}

static uint64_t reads_of(struct world *w, unsigned listener)
{
	struct vol_path_stats s[4];
	size_t n = vol_paths_get(w->env.set, s, 4);
	char port[32];

	snprintf(port, sizeof(port), "trsvcid:%u ", w->ports[listener]);
	for (size_t i = 0; i < n; i++)
		if (strstr(s[i].name, port))
			return s[i].ops[0];
	fail_msg("no such path");
	return 0;
}

/* Only that listener's path carries reads; the news may be on their way. */
static void expect_only(struct world *w, unsigned listener)
{
	uint64_t end_ns = time_mono_ns() + 20 * NS_PER_S, mine, other;

	do {
		mine = reads_of(w, listener);
		other = reads_of(w, !listener);
		assert_int_equal(read_some(w, 0), 0);
		if (time_mono_ns() > end_ns)
			fail_msg("the other path is still used");
	} while (reads_of(w, !listener) != other);
	assert_true(reads_of(w, listener) > mine);
}

static void test_ana_states(void **state)
{
	struct world w = {0};

	world_open(&w, true);
	wait_ways(&w, 2);
	set_ana(&w, 0, TGT_ANA_NON_OPTIMIZED);
	wait_ways(&w, 1);
	expect_only(&w, 1);
	set_ana(&w, 1, TGT_ANA_NON_OPTIMIZED);
	wait_ways(&w, 2); /* none is better */
	set_ana(&w, 1, TGT_ANA_INACCESSIBLE);
	wait_ways(&w, 1);
	expect_only(&w, 0);
	set_ana(&w, 0, TGT_ANA_INACCESSIBLE);
	set_ana(&w, 1, TGT_ANA_OPTIMIZED);
	expect_only(&w, 1);
	world_close(&w);
}

/* I/O under way through many failovers: no object fails. */
static void test_ana_failover(void **state)
{
	struct world w = {0};

	world_open(&w, true);
	wait_ways(&w, 2);
	for (unsigned i = 0; i < 30; i++) {
		set_ana(&w, i % 2, TGT_ANA_INACCESSIBLE);
		set_ana(&w, !(i % 2), TGT_ANA_OPTIMIZED);
		assert_int_equal(read_some(&w, 0), 0);
	}
	world_close(&w);
}

/* In transition everywhere: I/O waits for the end of it, or for its own. */
static void test_ana_change(void **state)
{
	struct world w = {0};

	world_open(&w, true);
	wait_ways(&w, 2);
	set_ana(&w, 0, TGT_ANA_CHANGE);
	set_ana(&w, 1, TGT_ANA_CHANGE);
	wait_ways(&w, 0);
	assert_int_equal(read_some(&w, 100 * NS_PER_MS), -ETIMEDOUT);
	set_ana(&w, 1, TGT_ANA_OPTIMIZED);
	assert_int_equal(read_some(&w, 0), 0);
	world_close(&w);
}

/* --- namespaces that come and go --- */

static void gone(void *arg)
{
	gate_open(&((struct call *)arg)->gate);
}

static void remove_on(void *arg)
{
	struct call *call = arg;
	struct err err = {0};

	if (tgt_ns_remove(tgt_subsys_find(call->w->env.tgt, NQN), 1, gone, call,
			  &err))
		fail_msg("%s", err.text);
}

static void add_on(void *arg)
{
	struct world *w = arg;
	struct err err = {0};

	if (tgt_ns_add(tgt_subsys_find(w->env.tgt, NQN), env_bdev(&w->env, 0),
		       &(struct tgt_ns_opts){.nsid = 1}, &err) != 1)
		fail_msg("%s", err.text);
}

static void remove_ns(struct world *w)
{
	struct call call = {.w = w};

	gate_init(&call.gate);
	shard_call(&w->env.shard, remove_on, &call);
	gate_wait(&call.gate);
}

/* No connection is lost, so nothing but the event tells of it. */
static void test_ns_changed(void **state)
{
	struct world w = {0};

	world_open(&w, false);
	wait_ways(&w, 2);
	remove_ns(&w);
	wait_ways(&w, 0);
	assert_true(read_some(&w, 0) < 0);
	shard_call(&w.env.shard, add_on, &w);
	wait_ways(&w, 2);
	assert_int_equal(read_some(&w, 0), 0);
	/* Another disk under the same number. */
	remove_ns(&w);
	env_superblock(&w.env, 0, EPOCH + 1);
	shard_call(&w.env.shard, add_on, &w);
	wait_ways(&w, 0);
	while (read_some(&w, 0) != -ESTALE)
		nap();
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ana_states),
		cmocka_unit_test(test_ana_failover),
		cmocka_unit_test(test_ana_change),
		cmocka_unit_test(test_ns_changed),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
