/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host that does everything wrong while it authenticates.  Promise: nothing
 * but authentication is served before it has succeeded, and every message that
 * does not fit ends it.
 */
#include "t_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "crypt/dhchap.h"

#define T_ID	 0x1234
#define RECV_LEN 4096

static struct t_target target;
static struct tgt_keys keys;

static void set_keys(void *arg)
{
	tgt_keys_set(target.tgt, NULL, T_WIRE_HOSTNQN, arg);
}

static int setup(void **state)
{
	struct bdev *bdev;
	struct err err = {0};

	t_target_start(&target, NULL, 1);
	assert_int_equal(bdev_ram_create(NULL, 1 << 20, &bdev, &err), 0);
	t_target_add_ns(&target, bdev);
	assert_int_equal(dhchap_key_make(DHCHAP_SHA256, 32, &keys.host), 0);
	assert_int_equal(dhchap_key_make(DHCHAP_SHA256, 32, &keys.ctrl), 0);
	shard_call(&target.control, set_keys, &keys);
	return 0;
}

static int teardown(void **state)
{
	t_target_stop(&target);
	return 0;
}

/* --- pieces --- */

static uint16_t auth_send(struct t_wire *w, const void *msg, size_t n)
{
	struct nvme_sqe sqe;

	nvme_cmd_auth(&sqe, true, (uint32_t)n);
	return tw_admin_out(w, &sqe, msg, (uint32_t)n);
}

static uint16_t auth_recv(struct t_wire *w, uint8_t out[RECV_LEN])
{
	struct nvme_sqe sqe;

	nvme_cmd_auth(&sqe, false, RECV_LEN);
	return tw_admin(w, &sqe, out, RECV_LEN, NULL);
}

static void start(struct t_wire *w)
{
	struct nvme_cqe cqe;

	*w = (struct t_wire){.fd = -1};
	tw_start(w, &target.addr);
	assert_int_equal(tw_connect(w, T_WIRE_NQN, 0, 0xffff, &cqe), 0);
	assert_true(cqe.dw0 & AUTH_REQ_ATR);
	assert_false(cqe.dw0 & AUTH_REQ_ASCR);
}

static void negotiate(struct t_wire *w, uint8_t group,
		      struct auth_challenge *challenge)
{
	static uint8_t buf[RECV_LEN];
	struct auth_negotiate msg = {
		.t_id = T_ID,
		.hashes = {2, {77, DHCHAP_SHA384}},
		.groups = {2, {99, group}},
	};
	uint8_t out[AUTH_MSG_MAX];

	assert_int_equal(auth_send(w, out, auth_negotiate_encode(&msg, out)),
			 0);
	assert_int_equal(auth_recv(w, buf), 0);
	assert_int_equal(auth_challenge_decode(buf, sizeof(buf), challenge), 0);
	assert_int_equal(challenge->t_id, T_ID);
	assert_int_equal(challenge->hash, DHCHAP_SHA384);
	assert_int_equal(challenge->group, group);
	assert_int_equal(challenge->hl, 48);
	assert_int_not_equal(challenge->seqnum, 0);
}

/* The right answer to a challenge of the null group. */
static void respond(const struct auth_challenge *challenge,
		    struct auth_reply *reply, uint8_t rval[DHCHAP_HASH_MAX])
{
	struct dhchap_response in = {
		.key = &keys.host,
		.hash = challenge->hash,
		.challenge = challenge->cval,
		.seqnum = challenge->seqnum,
		.t_id = T_ID,
		.hostnqn = T_WIRE_HOSTNQN,
		.subnqn = T_WIRE_NQN,
	};

	assert_int_equal(dhchap_respond(&in, rval), 0);
	*reply = (struct auth_reply){
		.t_id = T_ID, .hl = challenge->hl, .rval = rval};
}

static size_t good_reply(const struct auth_challenge *challenge,
			 uint8_t out[AUTH_MSG_MAX])
{
	uint8_t rval[DHCHAP_HASH_MAX];
	struct auth_reply reply;

	respond(challenge, &reply, rval);
	return auth_reply_encode(&reply, out);
}

static uint16_t read_vs(struct t_wire *w)
{
	struct nvme_sqe sqe;

	nvme_cmd_prop_get(&sqe, NVME_PROP_VS, false);
	return tw_admin(w, &sqe, NULL, 0, NULL);
}

static void authenticate(struct t_wire *w)
{
	struct auth_challenge challenge;
	uint8_t out[AUTH_MSG_MAX], buf[RECV_LEN];
	struct auth_success1 success;

	negotiate(w, DHCHAP_GROUP_NULL, &challenge);
	assert_int_equal(auth_send(w, out, good_reply(&challenge, out)), 0);
	assert_int_equal(auth_recv(w, buf), 0);
	assert_int_equal(auth_success1_decode(buf, sizeof(buf), &success), 0);
	assert_int_equal(success.hl, 48);
	assert_null(success.rval);
}

/* The target says why it fails us, serves nothing more, and hangs up. */
static void fails(struct t_wire *w, enum auth_why why)
{
	uint8_t buf[RECV_LEN];
	struct auth_failure failure;
	uint16_t t_id;

	assert_int_equal(read_vs(w) & NVME_SC_MASK, NVME_SC_AUTH_REQUIRED);
	assert_int_equal(auth_recv(w, buf), 0);
	assert_int_equal(auth_peek(buf, sizeof(buf), &t_id), AUTH_FAILURE1);
	auth_failure_decode(buf, sizeof(buf), &failure);
	assert_int_equal(failure.reason, 1);
	assert_int_equal(failure.why, why);
	tw_expect_eof(w);
	tw_close(w);
}

/* --- tests --- */

static void test_good(void **state)
{
	struct t_wire w, io = {.fd = -1};
	uint8_t block[4096];

	start(&w);
	authenticate(&w);
	tw_enable(&w);
	/* An I/O queue proves itself, too. */
	tw_start(&io, &target.addr);
	assert_int_equal(tw_connect(&io, T_WIRE_NQN, 1, w.cntlid, NULL), 0);
	assert_int_equal(tw_read(&io, 1, 0, block, sizeof(block)) &
				 NVME_SC_MASK,
			 NVME_SC_AUTH_REQUIRED);
	authenticate(&io);
	assert_int_equal(tw_read(&io, 1, 0, block, sizeof(block)), 0);
	/* Again, on a queue in use; and it fails then. */
	authenticate(&io);
	assert_int_equal(tw_read(&io, 1, 0, block, sizeof(block)), 0);
	assert_int_equal(auth_send(&io, "rubbish", 7), 0);
	assert_int_equal(tw_read(&io, 1, 0, block, sizeof(block)) &
				 NVME_SC_MASK,
			 NVME_SC_AUTH_REQUIRED);
	tw_close(&io);
	assert_int_equal(read_vs(&w), 0);
	tw_close(&w);
}

static void test_nothing_before(void **state)
{
	struct auth_challenge challenge;
	struct nvme_sqe sqe;
	struct t_wire w;
	uint8_t out[AUTH_MSG_MAX], page[4096];

	start(&w);
	assert_int_equal(read_vs(&w) & NVME_SC_MASK, NVME_SC_AUTH_REQUIRED);
	nvme_cmd_identify(&sqe, 1, 0);
	assert_int_equal(tw_admin(&w, &sqe, page, sizeof(page), NULL) &
				 NVME_SC_MASK,
			 NVME_SC_AUTH_REQUIRED);
	assert_int_equal(auth_recv(&w, page) & NVME_SC_MASK,
			 NVME_SC_CMD_SEQ_ERROR);
	negotiate(&w, DHCHAP_GROUP_NULL, &challenge);
	assert_int_equal(read_vs(&w) & NVME_SC_MASK, NVME_SC_AUTH_REQUIRED);
	assert_int_equal(auth_send(&w, out, good_reply(&challenge, out)), 0);
	/* Success1 has not been asked for. */
	assert_int_equal(read_vs(&w) & NVME_SC_MASK, NVME_SC_AUTH_REQUIRED);
	tw_close(&w);
}

/* Who only ever begins makes us work for nothing. */
static void test_endless_beginning(void **state)
{
	struct auth_negotiate msg = {
		.t_id = T_ID,
		.hashes = {1, {DHCHAP_SHA384}},
		.groups = {1, {DHCHAP_GROUP_NULL}},
	};
	struct auth_challenge challenge;
	uint8_t out[AUTH_MSG_MAX];
	struct t_wire w;

	start(&w);
	authenticate(&w); /* what has passed does not count */
	for (int i = 0; i < 4; i++)
		negotiate(&w, DHCHAP_GROUP_NULL, &challenge);
	assert_int_equal(auth_send(&w, out, auth_negotiate_encode(&msg, out)),
			 0);
	fails(&w, AUTH_WHY_MESSAGE);
}

static void test_bad_commands(void **state)
{
	struct nvme_sqe sqe;
	struct t_wire w;
	uint8_t buf[RECV_LEN] = {0};

	start(&w);
	nvme_cmd_auth(&sqe, true, 72);
	sqe.cdw10 ^= 1u << 24; /* another security protocol */
	assert_int_equal(tw_admin_out(&w, &sqe, buf, 72) & NVME_SC_MASK,
			 NVME_SC_BAD_FIELD);
	nvme_cmd_auth(&sqe, true, 71);
	assert_int_equal(tw_admin_out(&w, &sqe, buf, 72) & NVME_SC_MASK,
			 NVME_SC_BAD_FIELD);
	nvme_cmd_auth(&sqe, true, 0);
	assert_int_not_equal(tw_admin(&w, &sqe, NULL, 0, NULL), 0);
	/* Not one of our groups: a failure, and no room for it. */
	nvme_cmd_auth(&sqe, true, 4);
	assert_int_equal(tw_admin_out(&w, &sqe, buf, 4), 0);
	nvme_cmd_auth(&sqe, false, 4);
	assert_int_equal(tw_admin(&w, &sqe, buf, 4, NULL) & NVME_SC_MASK,
			 NVME_SC_BAD_FIELD);
	nvme_cmd_auth(&sqe, false, 1u << 30);
	assert_int_equal(tw_admin(&w, &sqe, buf, 4, NULL) & NVME_SC_MASK,
			 NVME_SC_BAD_FIELD);
	fails(&w, AUTH_WHY_MESSAGE);
}

static void negotiate_fails(struct auth_negotiate *msg, size_t cut,
			    enum auth_why why)
{
	uint8_t out[AUTH_MSG_MAX];
	struct t_wire w;
	size_t n = auth_negotiate_encode(msg, out);

	start(&w);
	assert_int_equal(auth_send(&w, out, n - cut), 0);
	fails(&w, why);
}

static void test_negotiate(void **state)
{
	struct auth_negotiate msg = {
		.t_id = T_ID,
		.hashes = {1, {DHCHAP_SHA256}},
		.groups = {1, {DHCHAP_GROUP_NULL}},
	};

	negotiate_fails(&msg, 1, AUTH_WHY_PAYLOAD);
	negotiate_fails(&msg, 65, AUTH_WHY_PAYLOAD);
	msg.sc_c = 1;
	negotiate_fails(&msg, 0, AUTH_WHY_CONCAT);
	msg.sc_c = 0;
	msg.hashes.ids[0] = 4;
	negotiate_fails(&msg, 0, AUTH_WHY_HASH);
	msg.hashes.ids[0] = 1;
	msg.groups.ids[0] = 6;
	negotiate_fails(&msg, 0, AUTH_WHY_GROUP);
	msg.groups.count = 0;
	negotiate_fails(&msg, 0, AUTH_WHY_PAYLOAD);
}

enum damage {
	BAD_RESPONSE,
	BAD_T_ID,
	BAD_LENGTH,
	BAD_CUT,
	BAD_REFLECTED,
	BAD_KIND,
	BAD_TWICE,
};

static void reply_fails(enum damage damage, enum auth_why why)
{
	uint8_t out[AUTH_MSG_MAX], rval[DHCHAP_HASH_MAX], buf[RECV_LEN];
	struct auth_challenge challenge;
	struct auth_reply reply;
	struct t_wire w;
	size_t n;

	start(&w);
	negotiate(&w, DHCHAP_GROUP_NULL, &challenge);
	respond(&challenge, &reply, rval);
	rval[47] ^= damage == BAD_RESPONSE;
	reply.t_id ^= damage == BAD_T_ID;
	reply.hl -= damage == BAD_LENGTH ? 16 : 0;
	if (damage == BAD_REFLECTED)
		reply.cval = challenge.cval;
	n = auth_reply_encode(&reply, out);
	out[1] ^= damage == BAD_KIND ? 4 : 0;
	assert_int_equal(auth_send(&w, out, n - (damage == BAD_CUT)), 0);
	if (damage == BAD_TWICE) {
		assert_int_equal(auth_recv(&w, buf), 0);
		assert_int_equal(read_vs(&w), 0);
		assert_int_equal(auth_send(&w, out, n), 0);
	}
	fails(&w, why);
}

static void test_reply(void **state)
{
	reply_fails(BAD_RESPONSE, AUTH_WHY_FAILED);
	reply_fails(BAD_T_ID, AUTH_WHY_PAYLOAD);
	reply_fails(BAD_LENGTH, AUTH_WHY_PAYLOAD);
	reply_fails(BAD_CUT, AUTH_WHY_PAYLOAD);
	reply_fails(BAD_REFLECTED, AUTH_WHY_FAILED);
	reply_fails(BAD_KIND, AUTH_WHY_MESSAGE);
	reply_fails(BAD_TWICE, AUTH_WHY_MESSAGE);
}

/* What was right on another connection, or for another challenge, is not. */
static void test_replay(void **state)
{
	uint8_t out[AUTH_MSG_MAX];
	struct auth_challenge challenge;
	struct t_wire w;
	size_t n;

	start(&w);
	negotiate(&w, DHCHAP_GROUP_NULL, &challenge);
	n = good_reply(&challenge, out);
	negotiate(&w, DHCHAP_GROUP_NULL, &challenge);
	assert_int_equal(auth_send(&w, out, n), 0);
	fails(&w, AUTH_WHY_FAILED);
	start(&w);
	assert_int_equal(auth_send(&w, out, n), 0);
	fails(&w, AUTH_WHY_PAYLOAD);
}

/* A public value that would let anybody know the secret. */
static void test_weak_value(void **state)
{
	uint8_t out[AUTH_MSG_MAX], rval[DHCHAP_HASH_MAX], one[256] = {0};
	struct auth_challenge challenge;
	struct auth_reply reply;
	struct t_wire w;

	start(&w);
	negotiate(&w, DHCHAP_FFDHE2048, &challenge);
	assert_int_equal(challenge.dhv_len, 256);
	respond(&challenge, &reply, rval);
	one[255] = 1;
	reply.dhv = one;
	reply.dhv_len = sizeof(one);
	assert_int_equal(auth_send(&w, out, auth_reply_encode(&reply, out)), 0);
	fails(&w, AUTH_WHY_PAYLOAD);
	start(&w);
	negotiate(&w, DHCHAP_FFDHE2048, &challenge);
	reply.dhv_len = 0;
	assert_int_equal(auth_send(&w, out, auth_reply_encode(&reply, out)), 0);
	fails(&w, AUTH_WHY_PAYLOAD);
}

/* Mutual: the target's response is right, and it waits for our verdict. */
static void mutual(struct t_wire *w)
{
	uint8_t out[AUTH_MSG_MAX], rval[DHCHAP_HASH_MAX], buf[RECV_LEN];
	uint8_t cval[DHCHAP_HASH_MAX] = {1, 2, 3};
	struct auth_challenge challenge;
	struct auth_success1 success;
	struct auth_reply reply;
	struct dhchap_response in = {
		.key = &keys.ctrl,
		.is_controller = true,
		.hash = DHCHAP_SHA384,
		.challenge = cval,
		.seqnum = 5,
		.t_id = T_ID,
		.hostnqn = T_WIRE_HOSTNQN,
		.subnqn = T_WIRE_NQN,
	};

	start(w);
	negotiate(w, DHCHAP_GROUP_NULL, &challenge);
	respond(&challenge, &reply, rval);
	reply.cval = cval;
	reply.seqnum = 5;
	assert_int_equal(auth_send(w, out, auth_reply_encode(&reply, out)), 0);
	assert_int_equal(auth_recv(w, buf), 0);
	assert_int_equal(auth_success1_decode(buf, sizeof(buf), &success), 0);
	assert_int_equal(dhchap_respond(&in, rval), 0);
	assert_non_null(success.rval);
	assert_memory_equal(success.rval, rval, 48);
	assert_int_equal(read_vs(w) & NVME_SC_MASK, NVME_SC_AUTH_REQUIRED);
}

static void test_mutual(void **state)
{
	uint8_t out[AUTH_MSG_MAX], buf[RECV_LEN];
	struct t_wire w;
	size_t n;

	mutual(&w);
	assert_int_equal(auth_send(&w, out, auth_success2_encode(T_ID, out)),
			 0);
	assert_int_equal(read_vs(&w), 0);
	tw_close(&w);

	mutual(&w);
	n = auth_failure_encode(AUTH_FAILURE2, T_ID, AUTH_WHY_FAILED, out);
	assert_int_equal(auth_send(&w, out, n), 0);
	assert_int_equal(auth_recv(&w, buf) & NVME_SC_MASK,
			 NVME_SC_CMD_SEQ_ERROR);
	assert_int_equal(read_vs(&w) & NVME_SC_MASK, NVME_SC_AUTH_REQUIRED);
	n = auth_success2_encode(T_ID, out);
	assert_int_equal(auth_send(&w, out, n) & NVME_SC_MASK,
			 NVME_SC_CMD_SEQ_ERROR);
	tw_close(&w);

	mutual(&w);
	n = auth_success2_encode(T_ID, out);
	assert_int_equal(auth_send(&w, out, n - 1), 0);
	fails(&w, AUTH_WHY_PAYLOAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_nothing_before),
		cmocka_unit_test(test_endless_beginning),
		cmocka_unit_test(test_bad_commands),
		cmocka_unit_test(test_negotiate),
		cmocka_unit_test(test_reply),
		cmocka_unit_test(test_replay),
		cmocka_unit_test(test_weak_value),
		cmocka_unit_test(test_mutual),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
