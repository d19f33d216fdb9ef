/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our initiator and our target over TLS: data with digests in both directions,
 * and every way in which the two ends may not fit together.
 */
#include "t_wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "nvmf/nvmf.h"

#define BYTES (2u << 20)

static struct t_target target;
static struct addr tls_addr, disc_addr;
static struct loop *loop;
static struct tls_key key_a, key_b;
static unsigned char *data, *back;

static struct {
	struct nvmf_opts opts;
	struct nvmf_ctrl *ctrl;
	struct nvmf_qp *qp;
	bool is_ctrl_live, is_qp_live;
	unsigned answers, closed, ios, lists;
	uint8_t treq;
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

static void on_io(struct nvmf_io *io)
{
	assert_int_equal(io->sc, NVME_SC_OK);
	host.ios++;
}

struct keys_args {
	const char *subnqn, *hostnqn;
	const struct tls_key *key;
	struct tgt_keys dhchap;
	int ret;
};

static void set_key(void *arg)
{
	struct keys_args *a = arg;

	a->ret = tgt_tls_key_set(target.tgt, a->subnqn, a->hostnqn, a->key);
}

static void set_dhchap(void *arg)
{
	struct keys_args *a = arg;

	a->ret = tgt_keys_set(target.tgt, NULL, NULL,
			      a->dhchap.host.len ? &a->dhchap : NULL);
}

static void drop_keys(void *arg)
{
	tgt_tls_keys_drop(target.tgt, T_WIRE_NQN);
}

static int target_key(const char *subnqn, const char *hostnqn,
		      const struct tls_key *key)
{
	struct keys_args a = {subnqn, hostnqn, key};

	shard_call(&target.control, set_key, &a);
	return a.ret;
}

static void listen_tls(void *arg)
{
	struct err err = {0};

	tls_addr = disc_addr = target.addr;
	addr_set_port(&tls_addr, 0);
	addr_set_port(&disc_addr, 0);
	assert_int_equal(tgt_listen_tls(target.tgt, &tls_addr, false, &err), 0);
	assert_int_equal(tgt_listen_tls(target.tgt, &disc_addr, true, &err), 0);
}

static void host_key(const struct tls_key *key, enum tls_form form)
{
	memset(&host, 0, sizeof(host));
	host.opts.addr = tls_addr;
	host.opts.hdgst = host.opts.ddgst = true;
	host.opts.tls_form = form;
	snprintf(host.opts.subnqn, sizeof(host.opts.subnqn), "%s", T_WIRE_NQN);
	host_id_derive(STR("0123456789abcdef0123456789abcdef"),
		       &host.opts.host);
	if (key)
		host.opts.tls_key = *key;
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

/* Eight at a time, of sizes that fit no record. */
static void io_all(enum nvmf_io_op op, unsigned char *p)
{
	struct nvmf_io io[8];
	struct iovec iov[8][2];
	size_t each = BYTES / 8;

	host.ios = 0;
	for (unsigned i = 0; i < 8; i++) {
		unsigned char *at = p + i * each;

		iov[i][0] = (struct iovec){at, 1234};
		iov[i][1] = (struct iovec){at + 1234, each - 1234};
		io[i] = (struct nvmf_io){
			.done = on_io,
			.op = op,
			.nsid = 1,
			.lba_bytes = 4096,
			.slba = i * each / 4096,
			.bytes = each,
			.iov = iov[i],
			.iovcnt = 2,
		};
		nvmf_io_submit(host.qp, &io[i]);
	}
	until(&host.ios, 8);
}

static void joins(void)
{
	if (!join() || !join_queue())
		fail_msg("%s", host.err.text);
	for (size_t i = 0; i < BYTES; i++)
		data[i] =
			(unsigned char)(i * 7 + i / 4096 + host.opts.tls_form);
	memset(back, 0, BYTES);
	io_all(NVMF_WRITE, data);
	io_all(NVMF_READ, back);
	assert_memory_equal(data, back, BYTES);
	leave();
}

static void refused(const char *words)
{
	assert_false(join());
	if (!strstr(host.err.text, words))
		fail_msg("'%s' is not in: %s", words, host.err.text);
	if (strstr(words, "key of") &&
	    !strstr(host.err.text, host.opts.host.nqn))
		fail_msg("which host? %s", host.err.text);
	leave();
}

static int setup(void **state)
{
	struct err err = {0};
	struct bdev *bdev;

	t_target_start(&target, NULL, 2);
	assert_int_equal(bdev_ram_create(NULL, BYTES, &bdev, &err), 0);
	t_target_add_ns(&target, bdev);
	shard_call(&target.control, listen_tls, NULL);
	assert_int_equal(
		loop_create(&(struct loop_opts){.name = "host"}, &loop, &err),
		0);
	assert_int_equal(tls_key_make(TLS_SHA256, &key_a), 0);
	assert_int_equal(tls_key_make(TLS_SHA384, &key_b), 0);
	data = malloc(BYTES);
	back = malloc(BYTES);
	return 0;
}

static int teardown(void **state)
{
	free(data);
	free(back);
	loop_destroy(loop);
	t_target_stop(&target);
	return 0;
}

static void test_data(void **state)
{
	const struct tls_key *keys[] = {&key_a, &key_b};

	for (unsigned i = 0; i < 2 * TLS_FORM_COUNT; i++) {
		target_key(NULL, NULL, keys[i % 2]);
		host_key(keys[i % 2], i / 2);
		joins();
	}
}

static void test_keys_that_do_not_fit(void **state)
{
	target_key(NULL, NULL, &key_a);
	host_key(&key_b, TLS_FORM_V1);
	refused("does not accept the TLS key of this host");
	assert_int_equal(host.err.code, -EACCES);
	/* The identity is the same, the key is not. */
	key_b = key_a;
	key_b.bytes[0] ^= 1;
	host_key(&key_b, TLS_FORM_V0);
	refused("does not accept the TLS key of this host");
	assert_int_equal(tls_key_make(TLS_SHA384, &key_b), 0);
	/* Nobody has a key. */
	assert_int_equal(target_key(NULL, NULL, NULL), 0);
	assert_int_equal(target_key(NULL, NULL, NULL), -ENOENT);
	host_key(&key_a, TLS_FORM_V1);
	refused("does not accept the TLS key of this host");
}

/* Neither end ever goes on in the clear. */
static void test_one_end_without(void **state)
{
	target_key(NULL, NULL, &key_a);
	host_key(NULL, TLS_FORM_V1);
	refused("wants TLS: set MC_NVME_TLS_KEY_FILE");
	host_key(&key_a, TLS_FORM_V1);
	host.opts.addr = target.addr;
	refused("no TLS there");
	host_key(NULL, TLS_FORM_V1);
	host.opts.addr = target.addr;
	joins();
}

/* Who is more precisely named counts; new keys count at once. */
static void test_entries(void **state)
{
	target_key(NULL, NULL, &key_a);
	target_key(T_WIRE_NQN, NULL, &key_b);
	host_key(&key_b, TLS_FORM_V1);
	joins();
	target_key(NULL, host.opts.host.nqn, &key_a);
	host_key(&key_a, TLS_FORM_V1);
	joins();
	target_key(T_WIRE_NQN, host.opts.host.nqn, &key_b);
	host_key(&key_b, TLS_FORM_V1);
	joins();
	assert_int_equal(target_key(NULL, host.opts.host.nqn, NULL), 0);
	shard_call(&target.control, drop_keys, NULL);
	host_key(&key_a, TLS_FORM_V1);
	joins();
}

/* What runs goes on, and the next queue needs the new key. */
static void test_rotation(void **state)
{
	target_key(NULL, NULL, &key_a);
	host_key(&key_a, TLS_FORM_V1);
	assert_true(join());
	target_key(NULL, NULL, &key_b);
	assert_false(join_queue());
	assert_non_null(strstr(host.err.text, "does not accept the TLS key"));
	assert_true(host.is_ctrl_live);
	leave();
	host_key(&key_b, TLS_FORM_V1);
	joins();
}

static void test_with_dhchap(void **state)
{
	struct keys_args a = {0};

	dhchap_key_make(DHCHAP_SHA256, 32, &a.dhchap.host);
	dhchap_key_make(DHCHAP_SHA256, 32, &a.dhchap.ctrl);
	shard_call(&target.control, set_dhchap, &a);
	target_key(NULL, NULL, &key_a);
	host_key(&key_a, TLS_FORM_V1);
	refused("asks for authentication");
	host_key(&key_a, TLS_FORM_V1);
	host.opts.dhchap_key = a.dhchap.host;
	host.opts.dhchap_ctrl_key = a.dhchap.ctrl;
	joins();
	a.dhchap.host.len = 0;
	shard_call(&target.control, set_dhchap, &a);
}

static void on_log(int ret, const struct nvmf_disc_entry *entries, size_t count,
		   void *arg)
{
	assert_int_equal(ret, 0);
	for (size_t i = 0; i < count; i++) {
		bool is_tls = entries[i].ep.trsvcid == addr_port(&tls_addr);

		assert_int_equal(entries[i].treq, is_tls ? 1 : 0);
		host.treq |= entries[i].treq;
	}
	host.lists++;
}

/* The log says where TLS is, and is itself read over TLS. */
static void test_discovery(void **state)
{
	target_key(NULL, NULL, &key_a);
	host_key(&key_a, TLS_FORM_V1);
	host.opts.addr = disc_addr;
	snprintf(host.opts.subnqn, sizeof(host.opts.subnqn), "%s",
		 NVME_DISC_NQN);
	if (!join())
		fail_msg("%s", host.err.text);
	assert_int_equal(nvmf_discover(host.ctrl, on_log, NULL), 0);
	until(&host.lists, 1);
	assert_int_equal(host.treq, 1);
	leave();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_keys_that_do_not_fit),
		cmocka_unit_test(test_one_end_without),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_with_dhchap),
		cmocka_unit_test(test_discovery),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
