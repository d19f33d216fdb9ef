/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our initiator proves itself to our target, and the other way round: every
 * hash with every group, and every way in which the keys may not fit.
 */
#include "t_wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "crypt/dhchap.h"
#include "nvmf/nvmf.h"

static struct t_target target;
static struct loop *loop;
static struct dhchap_key key_a, key_b, key_c;

static struct {
	struct nvmf_opts opts;
	struct nvmf_ctrl *ctrl;
	struct nvmf_qp *qp;
	bool is_ctrl_live, is_qp_live;
	unsigned answers, closed;
	struct err err;
} host;

static void until(const unsigned *value, unsigned want)
{
	uint64_t end = time_mono_ns() + 20 * NS_PER_S;

	while (*value != want && time_mono_ns() < end)
		loop_turn(loop, 20 * NS_PER_MS);
	assert_int_equal(*value, want);
}

static void on_ctrl(struct nvmf_ctrl *ctrl, enum nvmf_state state,
		    const struct err *err, void *arg)
{
	host.is_ctrl_live = state == NVMF_LIVE;
	host.err = *err;
	host.answers++;
}

static void on_qp(struct nvmf_qp *qp, enum nvmf_state state,
		  const struct err *err, void *arg)
{
	host.is_qp_live = state == NVMF_LIVE;
	host.err = *err;
	host.answers++;
}

static void on_closed(void *arg)
{
	host.closed++;
}

struct keys_args {
	const char *subnqn, *hostnqn;
	const struct tgt_keys *keys;
	struct auth_ids hashes, groups;
	int ret;
};

static void set_keys(void *arg)
{
	struct keys_args *a = arg;

	a->ret = tgt_keys_set(target.tgt, a->subnqn, a->hostnqn, a->keys);
}

static void set_auth(void *arg)
{
	struct keys_args *a = arg;

	a->ret = tgt_auth_set(target.tgt, &a->hashes, &a->groups);
}

static void target_keys(const struct dhchap_key *key,
			const struct dhchap_key *ctrl_key)
{
	struct tgt_keys keys = {0};
	struct keys_args a = {.keys = key ? &keys : NULL};

	if (key)
		keys.host = *key;
	if (ctrl_key)
		keys.ctrl = *ctrl_key;
	shard_call(&target.control, set_keys, &a);
	assert_int_equal(a.ret, 0);
}

static void target_allows(uint8_t hash, uint8_t group)
{
	struct keys_args a = {.hashes = {1, {hash}}, .groups = {1, {group}}};

	a.hashes.count = hash ? 1 : 0;
	a.groups.count = hash ? 1 : 0;
	shard_call(&target.control, set_auth, &a);
	assert_int_equal(a.ret, 0);
}

static void host_keys(const struct dhchap_key *key,
		      const struct dhchap_key *ctrl_key)
{
	memset(&host, 0, sizeof(host));
	host.opts.addr = target.addr;
	host.opts.io_depth = 2; /* one command at a time */
	snprintf(host.opts.subnqn, sizeof(host.opts.subnqn), "%s", T_WIRE_NQN);
	host_id_derive(STR("0123456789abcdef0123456789abcdef"),
		       &host.opts.host);
	if (key)
		host.opts.dhchap_key = *key;
	if (ctrl_key)
		host.opts.dhchap_ctrl_key = *ctrl_key;
}

static bool join(void)
{
	assert_int_equal(
		nvmf_ctrl_open(loop, &host.opts, on_ctrl, NULL, &host.ctrl), 0);
	until(&host.answers, 1);
	return host.is_ctrl_live;
}

static bool join_queue(void)
{
	struct nvmf_qp_opts qo = {.opts = &host.opts, .qid = 1};

	qo.info = *nvmf_ctrl_info(host.ctrl);
	assert_int_equal(nvmf_qp_open(loop, &qo, on_qp, NULL, &host.qp), 0);
	until(&host.answers, 2);
	return host.is_qp_live;
}

static void leave(void)
{
	unsigned n = 0;

	if (host.qp)
		nvmf_qp_close(host.qp, on_closed, NULL);
	n += host.qp != NULL;
	until(&host.closed, n);
	nvmf_ctrl_close(host.ctrl, on_closed, NULL);
	until(&host.closed, n + 1);
}

static void joins(void)
{
	if (!join())
		fail_msg("%s", host.err.text);
	if (!join_queue())
		fail_msg("%s", host.err.text);
	leave();
}

static void refused(const char *words)
{
	assert_false(join());
	assert_int_equal(host.err.code, -EACCES);
	if (!strstr(host.err.text, words))
		fail_msg("'%s' is not in: %s", words, host.err.text);
	if (!strstr(host.err.text, host.opts.host.nqn))
		fail_msg("which host? %s", host.err.text);
	leave();
}

static int setup(void **state)
{
	struct err err = {0};
	struct bdev *bdev;

	t_target_start(&target, NULL, 1);
	assert_int_equal(bdev_ram_create(NULL, 1 << 20, &bdev, &err), 0);
	t_target_add_ns(&target, bdev);
	assert_int_equal(
		loop_create(&(struct loop_opts){.name = "host"}, &loop, &err),
		0);
	assert_int_equal(dhchap_key_make(DHCHAP_HASH_NONE, 32, &key_a), 0);
	assert_int_equal(dhchap_key_make(DHCHAP_SHA384, 48, &key_b), 0);
	assert_int_equal(dhchap_key_make(DHCHAP_SHA512, 64, &key_c), 0);
	return 0;
}

static int teardown(void **state)
{
	loop_destroy(loop);
	t_target_stop(&target);
	return 0;
}

/* The slow groups once, the others with every hash. */
static void test_all(void **state)
{
	target_keys(&key_a, &key_b);
	for (uint8_t hash = 1; hash <= DHCHAP_HASHES; hash++) {
		for (uint8_t group = 0; group < DHCHAP_GROUPS; group++) {
			if (group > DHCHAP_FFDHE3072 && group % 3 + 1u != hash)
				continue;
			target_allows(hash, group);
			host_keys(&key_a, &key_b);
			joins();
		}
	}
	target_allows(0, 0);
	host_keys(&key_a, NULL); /* one-way */
	joins();
	host_keys(&key_a, &key_b);
	joins();
}

/* Both queues of the one controller, told on the control loop. */
struct told {
	unsigned count;
	struct tgt_qpair_info queues[2];
};

static void ask_queues(void *arg)
{
	struct tgt_ctrl *ctrl = tgt_ctrl_next(target.ss, NULL);
	struct tgt_conn *conn = NULL;
	struct told *told = arg;

	while (ctrl && told->count < 2 && (conn = tgt_qpair_next(ctrl, conn)))
		tgt_qpair_info_get(conn, &told->queues[told->count++]);
}

static void test_who_is_there(void **state)
{
	struct told told = {0};

	target_keys(&key_a, &key_b);
	target_allows(DHCHAP_SHA384, DHCHAP_FFDHE2048);
	host_keys(&key_a, &key_b);
	assert_true(join() && join_queue());
	shard_call(&target.control, ask_queues, &told);
	assert_int_equal(told.count, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(told.queues[i].auth, TGT_AUTH_DONE);
		assert_string_equal(told.queues[i].hash, "sha384");
		assert_string_equal(told.queues[i].group, "ffdhe2048");
	}
	leave();
	target_allows(0, 0);
}

static void test_wrong_key(void **state)
{
	target_keys(&key_a, &key_b);
	host_keys(&key_c, NULL);
	refused("MC_NVME_DHCHAP_KEY_FILE");
	host_keys(&key_a, &key_c);
	refused("MC_NVME_DHCHAP_CTRL_KEY_FILE");
	key_b.hash = DHCHAP_SHA512; /* the same secret, used otherwise */
	host_keys(&key_a, &key_b);
	refused("MC_NVME_DHCHAP_CTRL_KEY_FILE");
	key_b.hash = DHCHAP_SHA384;
	host_keys(&key_a, &key_b);
	joins();
}

static void test_missing_key(void **state)
{
	target_keys(&key_a, NULL);
	host_keys(NULL, NULL);
	refused("asks for authentication");
	/* The host wants a proof that the target can't give. */
	host_keys(&key_a, &key_b);
	refused("refused this host");
	host_keys(&key_a, NULL);
	joins();
	/* The target has no keys, the host insists on using its own. */
	target_keys(NULL, NULL);
	host_keys(&key_a, NULL);
	refused("refused this host");
	host_keys(NULL, NULL);
	joins();
}

/* Who is more precisely named counts; new keys count at once. */
static void test_entries(void **state)
{
	struct tgt_keys keys = {.host = key_b};
	struct keys_args a = {.keys = &keys, .subnqn = T_WIRE_NQN};

	target_keys(&key_a, NULL);
	host_keys(&key_a, NULL);
	joins();
	shard_call(&target.control, set_keys, &a);
	host_keys(&key_b, NULL);
	joins();
	a.hostnqn = host.opts.host.nqn;
	keys.host = key_c;
	shard_call(&target.control, set_keys, &a);
	host_keys(&key_c, NULL);
	joins();
	a.keys = NULL;
	shard_call(&target.control, set_keys, &a);
	assert_int_equal(a.ret, 0);
	shard_call(&target.control, set_keys, &a);
	assert_int_equal(a.ret, -ENOENT);
	host_keys(&key_b, NULL);
	joins();
	a.hostnqn = NULL;
	shard_call(&target.control, set_keys, &a);
	host_keys(&key_a, NULL);
	joins();
	keys.host.len = 0;
	a.keys = &keys;
	shard_call(&target.control, set_keys, &a);
	assert_int_equal(a.ret, -EINVAL);
}

/* The key is changed while a host is connected: what runs goes on, and the
 * next queue needs the new one. */
static void test_rotation(void **state)
{
	target_keys(&key_a, NULL);
	host_keys(&key_a, NULL);
	assert_true(join());
	target_keys(&key_b, NULL);
	assert_false(join_queue());
	assert_non_null(strstr(host.err.text, "refused this host"));
	assert_true(host.is_ctrl_live);
	leave();
	host_keys(&key_b, NULL);
	joins();
}

/* Discovery tells nothing secret and knows no hosts. */
static void test_discovery(void **state)
{
	target_keys(&key_a, NULL);
	for (int i = 0; i < 2; i++) {
		host_keys(i ? &key_b : NULL, NULL);
		snprintf(host.opts.subnqn, sizeof(host.opts.subnqn), "%s",
			 NVME_DISC_NQN);
		if (!join())
			fail_msg("%s", host.err.text);
		leave();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_who_is_there),
		cmocka_unit_test(test_wrong_key),
		cmocka_unit_test(test_missing_key),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_discovery),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
