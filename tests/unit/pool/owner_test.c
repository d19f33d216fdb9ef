/* SPDX-License-Identifier: Apache-2.0 */
/* Who owns a namespace: keys, claims at a target, and whose writes count. */
#include "vol_env.h"

struct call {
	struct vol_probe probe;
	struct vol_label label;
	struct vol_release release;
	struct gate gate;
};

static struct call call;

static void probe_done(struct vol_probe *probe)
{
	gate_open(&container_of(probe, struct call, probe)->gate);
}

static void label_done(struct vol_label *label)
{
	gate_open(&container_of(label, struct call, label)->gate);
}

static void release_done(struct vol_release *release)
{
	gate_open(&container_of(release, struct call, release)->gate);
}

static void await(void)
{
	if (!gate_wait_for(&call.gate, 20 * NS_PER_S))
		fail_msg("a visit has not ended");
}

static const struct vol_owner *owner(struct env *env, uint64_t key)
{
	call = (struct call){.probe = {.done = probe_done,
				       .timeout_ms = 5000,
				       .sb_only = true,
				       .want_owner = true,
				       .key = key}};
	env_endpoint(env, 1, call.probe.endpoint);
	gate_init(&call.gate);
	vol_probe_submit(env->set, &call.probe);
	await();
	assert_int_equal(call.probe.ret, 0);
	return &call.probe.owner;
}

static int label(struct env *env, struct vol_label what, uint64_t epoch)
{
	call = (struct call){.label = what};
	call.label.done = label_done;
	call.label.timeout_ms = 5000;
	call.label.sb = (struct superblock){.segment = env->segments[0],
					    .ns_bytes = NS_BYTES,
					    .block_bytes = env->block,
					    .epoch = epoch};
	env_identity(env, 0, call.label.sb.identity);
	env_endpoint(env, 1, call.label.endpoint);
	gate_init(&call.gate);
	vol_label_submit(env->set, &call.label);
	await();
	return call.label.ret;
}

static int claim(struct env *env, enum vol_claim claim, uint64_t key,
		 uint64_t epoch)
{
	return label(env, (struct vol_label){.claim = claim, .key = key},
		     epoch);
}

/* Takes it, writes, and gives it back. */
static int claim_once(struct env *env, uint64_t key, uint64_t epoch)
{
	return label(env,
		     (struct vol_label){.claim = CLAIM_ALL,
					.key = key,
					.is_for_once = true},
		     epoch);
}

static int release(struct env *env, uint64_t key)
{
	call = (struct call){.release = {.done = release_done,
					 .timeout_ms = 5000,
					 .key = key}};
	env_endpoint(env, 1, call.release.endpoint);
	gate_init(&call.gate);
	vol_release_submit(env->set, &call.release);
	await();
	return call.release.ret;
}

static struct vol *vol_of(struct env *env, uint64_t key, uint64_t epoch)
{
	char text[ENDPOINT_TEXT_LEN];
	const char *endpoints[1] = {text};
	struct vol_desc desc = {.segment = env->segments[0],
				.is_nof = true,
				.epoch = epoch,
				.key = key,
				.block_bytes = env->block,
				.endpoints = endpoints,
				.endpoint_count = 1};
	struct err err = {0};
	struct vol *vol = NULL;

	env_endpoint(env, 1, text);
	if (vol_get(env->set, &desc, &vol, &err))
		fail_msg("%s", err.text);
	return vol;
}

static int rw(struct env *env, struct vol *vol, bool is_write)
{
	static uint8_t buf[8192];

	return env_simple(env, &(struct env_simple){.vol = vol,
						    .is_write = is_write,
						    .off = POOL_DATA_OFFSET,
						    .len = sizeof(buf),
						    .buf = buf});
}

static void keys_tell_their_cluster(void **state)
{
	uint64_t a = owner_key_make("a"), again = owner_key_make("a"),
		 b = owner_key_make("b");

	assert_true(owner_key_is_of(a, "a"));
	assert_false(owner_key_is_of(a, "b"));
	assert_false(owner_key_is_of(0, "a"));
	assert_true(owner_key_is_alike(a, again));
	assert_false(owner_key_is_alike(a, b));
	assert_int_not_equal(a, again);
}

static void another_cluster_is_refused(void **state)
{
	struct env *env = *state;
	uint64_t a = owner_key_make("a"), b = owner_key_make("b");
	char text[32];

	assert_int_equal(owner(env, a)->hold, HOLD_FREE);
	assert_int_equal(claim(env, CLAIM_CLUSTER, a, 1), 0);
	assert_int_equal(call.label.owner.hold, HOLD_OURS);
	assert_int_equal(owner(env, a)->hold, HOLD_OURS);
	assert_int_equal(claim(env, CLAIM_CLUSTER, a, 1), 0); /* again */
	assert_int_equal(owner(env, b)->hold, HOLD_OTHER);
	assert_int_equal(call.probe.owner.key, a);
	assert_int_equal(claim(env, CLAIM_CLUSTER, b, 7), -EBUSY);
	assert_non_null(strstr(call.label.err.text, "another owner"));
	assert_false(call.label.may_hold);
	/* Whoever asks for nothing is told, too. */
	assert_int_equal(claim(env, CLAIM_NONE, 0, 7), -EBUSY);
	snprintf(text, sizeof(text), "key %016llx", (unsigned long long)a);
	assert_non_null(strstr(call.label.err.text, text));
	assert_int_equal(call.label.owner.key, a);
	owner(env, a);
	assert_int_equal(call.probe.sb.epoch, 1); /* nobody wrote */
	assert_int_equal(claim(env, CLAIM_ALL, b, 7), 0);
	assert_int_equal(owner(env, b)->hold, HOLD_OURS);
	assert_int_equal(call.probe.sb.epoch, 7);
	assert_int_equal(owner(env, a)->hold, HOLD_OTHER);
}

/* Another life wrote since it was looked at: with a claim or without, nothing
 * is claimed then, nor written. */
static void what_was_seen_is_still_there(void **state)
{
	struct env *env = *state;
	struct vol_label what = {.seen_epoch = 1};
	uint64_t a = owner_key_make("a");

	assert_int_equal(claim(env, CLAIM_NONE, 0, 1), 0);
	assert_int_equal(label(env, what, 5), 0);
	assert_int_equal(label(env, what, 3), -ESTALE);
	assert_non_null(strstr(call.label.err.text, "epoch 5, it had 1"));
	what.claim = CLAIM_CLUSTER;
	what.key = a;
	assert_int_equal(label(env, what, 3), -ESTALE);
	assert_false(call.label.may_hold);
	assert_int_equal(owner(env, a)->hold, HOLD_FREE);
	assert_int_equal(call.probe.sb.epoch, 5);
	what.seen_epoch = 5;
	assert_int_equal(label(env, what, 6), 0);
	assert_int_equal(owner(env, a)->hold, HOLD_OURS);
	assert_int_equal(call.probe.sb.epoch, 6);
}

static void a_claim_for_once_stays_nowhere(void **state)
{
	struct env *env = *state;
	uint64_t a = owner_key_make("a"), b = owner_key_make("b");
	struct vol *vol;

	assert_int_equal(claim(env, CLAIM_CLUSTER, a, 1), 0);
	assert_true(call.label.may_hold);
	vol = vol_of(env, a, 1);
	assert_int_equal(rw(env, vol, true), 0);
	assert_int_equal(claim_once(env, b, 7), 0);
	assert_false(call.label.may_hold);
	assert_int_equal(call.label.owner.hold, HOLD_FREE);
	assert_int_equal(owner(env, a)->hold, HOLD_FREE);
	assert_int_equal(call.probe.sb.epoch, 7);
	/* With nobody there it does not fail, either. */
	assert_int_equal(claim_once(env, b, 8), 0);
	assert_int_equal(owner(env, b)->hold, HOLD_FREE);
	vol_put(vol);
}

static void a_new_life_deposes_the_old_one(void **state)
{
	struct env *env = *state;
	uint64_t was = owner_key_make("a"), is = owner_key_make("a");
	struct vol *old, *new;
	struct vol_path_stats paths[2];

	assert_int_equal(claim(env, CLAIM_CLUSTER, was, 1), 0);
	old = vol_of(env, was, 1);
	assert_int_equal(rw(env, old, true), 0);
	assert_int_equal(claim(env, CLAIM_CLUSTER, is, 2), 0);
	/* It is connected and has checked everything, but that was before. */
	assert_int_equal(rw(env, old, true), -ESTALE);
	new = vol_of(env, is, 2);
	assert_int_equal(rw(env, new, true), 0);
	assert_int_equal(rw(env, new, false), 0);
	assert_int_equal(vol_paths_get(env->set, paths, 2), 1);
	assert_true(paths[0].errors[VOL_PATH_REFUSED] >= 1);
	assert_true(paths[0].ops[1] >= 2);
	/* The old one may not take back what the new one holds. */
	assert_int_equal(claim(env, CLAIM_FREE, was, 1), -EBUSY);
	vol_put(old);
	vol_put(new);
}

/* Whoever does not act for the owner, with the right epoch or without. */
static void a_stranger_reads_but_does_not_write(void **state)
{
	struct env *env = *state;
	uint64_t key = owner_key_make("a");
	struct vol *vol;

	assert_int_equal(claim(env, CLAIM_CLUSTER, key, 1), 0);
	vol = vol_of(env, 0, 1);
	assert_int_equal(rw(env, vol, false), 0);
	assert_int_equal(rw(env, vol, true), -ESTALE);
	assert_int_equal(release(env, key), 0);
	assert_int_equal(release(env, key), 0); /* nothing to give back */
	assert_int_equal(owner(env, key)->hold, HOLD_FREE);
	assert_int_equal(rw(env, vol, true), 0);
	vol_put(vol);
}

static void a_target_that_forgot_is_asked_again(void **state)
{
	struct env *env = *state;
	uint64_t key = owner_key_make("a");

	assert_int_equal(claim(env, CLAIM_CLUSTER, key, 1), 0);
	env_tgt_stop(env);
	env_tgt_start(env);
	assert_int_equal(owner(env, key)->hold, HOLD_FREE);
	assert_int_equal(claim(env, CLAIM_FREE, key, 1), 0);
	assert_int_equal(owner(env, key)->hold, HOLD_OURS);
}

static int setup(void **state)
{
	struct env *env = calloc(1, sizeof(*env));

	env_init(env, 512);
	env_set_start(env, &(struct vol_opts){.workers = 2,
					      .chunk_bytes = 64 * KiB,
					      .inflight_bytes = 4 * MiB});
	*state = env;
	return 0;
}

static int teardown(void **state)
{
	env_fini(*state);
	free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_tell_their_cluster),
		cmocka_unit_test_setup_teardown(another_cluster_is_refused,
						setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_seen_is_still_there,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_claim_for_once_stays_nowhere,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_new_life_deposes_the_old_one,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_stranger_reads_but_does_not_write, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_target_that_forgot_is_asked_again, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
