/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host that authenticates, and a controller that stops answering, or answers
 * strangely, at each of the steps: on the admin queue and on another one it
 * ends in time, with a sentence, and never LIVE.
 */
#include "world.h"

#include "crypt/dhchap.h"
#include "nvme/auth.h"

enum step { /* commands, in their order */
	NEGOTIATE,
	CHALLENGE,
	REPLY,
	RESULT,
	CONFIRMATION,
	STEPS
};

static const char *const step_names[STEPS] = {
	"negotiation", "challenge", "reply", "result", "confirmation",
};

static struct {
	enum step bad_step;
	bool is_silent;	 /* there; otherwise that status */
	uint16_t status; /* as in the completion, with all its bits */
	uint16_t qid;	 /* the queue that it happens on */
	struct dhchap_key key;
	uint16_t t_id;
	uint8_t cval[DHCHAP_HASH_MAX];
} peer;

static void on_reply(const uint8_t *data, uint32_t len)
{
	struct auth_reply msg;

	assert_int_equal(auth_reply_decode(data, len, &msg), AUTH_OK);
	assert_non_null(msg.cval);
	memcpy(peer.cval, msg.cval, msg.hl);
	memcpy(&peer.cval[msg.hl], &msg.seqnum, sizeof(msg.seqnum));
}

static size_t challenge(uint8_t out[AUTH_MSG_MAX])
{
	struct auth_challenge msg = {
		.t_id = peer.t_id,
		.hash = DHCHAP_SHA256,
		.hl = 32,
		.seqnum = 1,
		.cval = peer.cval,
	};

	return auth_challenge_encode(&msg, out);
}

static size_t success(uint8_t out[AUTH_MSG_MAX])
{
	uint8_t rval[DHCHAP_HASH_MAX];
	struct auth_success1 msg = {.t_id = peer.t_id, .hl = 32, .rval = rval};
	struct dhchap_response in = {
		.key = &peer.key,
		.is_controller = true,
		.hash = DHCHAP_SHA256,
		.challenge = peer.cval,
		.t_id = peer.t_id,
		.hostnqn = w.opts.host.nqn,
		.subnqn = w.opts.subnqn,
	};

	memcpy(&in.seqnum, &peer.cval[32], sizeof(in.seqnum));
	assert_int_equal(dhchap_respond(&in, rval), 0);
	return auth_success1_encode(&msg, out);
}

static enum step step_of(bool is_send, const uint8_t *data, uint32_t len)
{
	static bool has_reply;
	int kind;

	if (!is_send)
		return has_reply ? RESULT : CHALLENGE;
	kind = auth_peek(data, len, &peer.t_id);
	has_reply = kind == AUTH_REPLY;
	if (kind == AUTH_NEGOTIATE)
		return NEGOTIATE;
	return kind == AUTH_REPLY ? REPLY : CONFIRMATION;
}

static void answer(struct fake_conn *c, const struct nvme_sqe *sqe,
		   enum step step, uint8_t *data, uint32_t len)
{
	if (step == REPLY)
		on_reply(data, len);
	if (step == CHALLENGE || step == RESULT) {
		uint8_t out[AUTH_MSG_MAX] = {0};

		if (step == CHALLENGE)
			challenge(out);
		else
			success(out);
		fake_data(c, sqe->cid, out, sizeof(out));
	} else {
		fake_resp(c, sqe->cid, NVME_SC_OK, 0);
	}
}

static bool hook(struct fake_conn *c, const union pdu_hdr *hdr,
		 const uint8_t *data, uint32_t len)
{
	const struct nvme_sqe *sqe = &hdr->cmd.sqe;
	uint8_t fctype = sqe->nsid & 0xff;
	uint8_t copy[AUTH_MSG_MAX];
	enum step step;

	if (hdr->ch.type != PDU_CAPSULE_CMD || sqe->opcode != NVME_OP_FABRICS)
		return false;
	if (fctype == NVME_FCTYPE_CONNECT) {
		c->qid = (uint16_t)(sqe->cdw10 >> 16);
		fake_resp(c, sqe->cid, NVME_SC_OK, FAKE_CNTLID | AUTH_REQ_ATR);
		return true;
	}
	if (fctype != NVME_FCTYPE_AUTH_SEND && fctype != NVME_FCTYPE_AUTH_RECV)
		return false;
	assert_true(len <= sizeof(copy));
	memcpy(copy, data, len);
	step = step_of(fctype == NVME_FCTYPE_AUTH_SEND, copy, len);
	if (c->qid != peer.qid || step != peer.bad_step)
		answer(c, sqe, step, copy, len);
	else if (!peer.is_silent)
		fake_resp(c, sqe->cid, peer.status, 0);
	return true;
}

static int setup(void **state)
{
	memset(&peer, 0, sizeof(peer));
	peer.bad_step = STEPS;
	assert_int_equal(dhchap_key_make(DHCHAP_SHA256, 32, &peer.key), 0);
	world_setup(state);
	w.fake.hook = hook;
	w.opts.dhchap_key = w.opts.dhchap_ctrl_key = peer.key;
	w.opts.admin_timeout_ms = 200;
	w.opts.auth_timeout_ms = 700;
	w.opts.abort_timeout_ms = 300;
	return 0;
}

static void again(void)
{
	world_teardown(NULL);
	setup(NULL);
}

static void test_good(void **state)
{
	world_open();
	assert_int_equal(w.ctrl_failed + w.qp_failed, 0);
}

static uint64_t now_ms(void)
{
	return io_sim_now_ns(w.sim) / NS_PER_MS;
}

/* The queue that peer says, up to where it must fail. */
static void fails(int code, const char *word)
{
	if (peer.qid == 0) {
		world_ctrl_open();
		world_until(&w.ctrl_failed);
	} else {
		world_ctrl_open();
		world_until(&w.ctrl_live);
		world_qp_open();
		world_until(&w.qp_failed);
	}
	assert_int_equal(w.qp_live, 0);
	if (w.err.code != code || !strstr(w.err.text, word))
		fail_msg("%d '%s' does not say '%s'", w.err.code, w.err.text,
			 word);
}

static void test_silence(void **state)
{
	for (unsigned i = 0; i < 2u * STEPS; i++) {
		uint64_t start_ms = now_ms();

		peer.bad_step = (enum step)(i % STEPS);
		peer.qid = i >= STEPS;
		peer.is_silent = true;
		fails(-ETIMEDOUT, FAKE_NQN);
		assert_in_range(now_ms() - start_ms, 690, 1200);
		again();
	}
}

/* A target may compute for longer than an admin command may take. */
static void test_default_deadline(void **state)
{
	static const uint32_t connect_ms[] = {3000, 40000};

	for (unsigned i = 0; i < ARRAY_SIZE(connect_ms); i++) {
		uint32_t want = MAX(connect_ms[i], (uint32_t)30000);
		uint64_t start_ms = now_ms();

		w.opts.auth_timeout_ms = 0;
		w.opts.connect_timeout_ms = connect_ms[i];
		peer.bad_step = RESULT;
		peer.is_silent = true;
		fails(-ETIMEDOUT, FAKE_NQN);
		assert_in_range(now_ms() - start_ms, want - 10, want + 500);
		again();
	}
}

static void test_status(void **state)
{
	for (unsigned i = 0; i < 2u * STEPS; i++) {
		peer.bad_step = (enum step)(i % STEPS);
		peer.qid = i >= STEPS;
		peer.status = NVME_SC_INTERNAL;
		fails(-EIO, step_names[peer.bad_step]);
		again();
	}
	peer.bad_step = NEGOTIATE;
	peer.status = NVME_SC_BAD_OPCODE | NVME_SC_DNR;
	fails(-EACCES, "does not know authentication");
}

/* No status code, but bits beside it: that is success. */
static void test_bits_alone(void **state)
{
	peer.bad_step = NEGOTIATE;
	peer.status = NVME_SC_DNR | 0x3000;
	world_open();
	assert_int_equal(w.ctrl_failed + w.qp_failed, 0);
}

/* A success without a message leaves no old bytes to be read as one. */
static void test_nothing_received(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		peer.bad_step = i ? RESULT : CHALLENGE;
		peer.status = NVME_SC_OK;
		world_ctrl_open();
		world_until(&w.ctrl_failed);
		assert_int_equal(w.ctrl_live, 0);
		assert_true(w.err.code < 0);
		again();
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_good),
		TEST(test_silence),
		TEST(test_default_deadline),
		TEST(test_status),
		TEST(test_bits_alone),
		TEST(test_nothing_received),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
