/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of DH-HMAC-CHAP: the bytes of each, and every field at its limits
 * and beyond.  What is decoded stands in a block of just that size, so that
 * ASan sees a byte too many.
 */
#include "nvme/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define T_ID 0x1234

static uint8_t msg[AUTH_MSG_MAX], value[3][AUTH_DHV_MAX];

static int setup(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(value); i++) {
		for (unsigned k = 0; k < AUTH_DHV_MAX; k++)
			value[i][k] = (uint8_t)(k * 7 + k / 256 + i + 1);
	}
	return 0;
}

union any {
	struct auth_negotiate negotiate;
	struct auth_challenge challenge;
	struct auth_reply reply;
	struct auth_success1 success1;
};

/* Decodes the first n bytes of msg as that kind. */
static enum auth_why decode(enum auth_kind kind, size_t n)
{
	uint8_t *exact = malloc(n ? n : 1);
	enum auth_why why = AUTH_OK;
	union any out;

	assert_non_null(exact);
	memcpy(exact, msg, n);
	switch (kind) {
	case AUTH_NEGOTIATE:
		why = auth_negotiate_decode(exact, n, &out.negotiate);
		break;
	case AUTH_CHALLENGE:
		why = auth_challenge_decode(exact, n, &out.challenge);
		break;
	case AUTH_REPLY:
		why = auth_reply_decode(exact, n, &out.reply);
		break;
	case AUTH_SUCCESS1:
		why = auth_success1_decode(exact, n, &out.success1);
		break;
	case AUTH_SUCCESS2:
		why = auth_success2_decode(exact, n);
		break;
	default:
		fail();
	}
	free(exact);
	return why;
}

/* Whole it is right; whatever is missing at its end, it is not. */
static void whole_or_nothing(enum auth_kind kind, size_t len)
{
	assert_int_equal(decode(kind, len), AUTH_OK);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(decode(kind, n),
				 n < 6 ? AUTH_WHY_MESSAGE : AUTH_WHY_PAYLOAD);
}

/* That byte of a right message of len bytes, set to x. */
static enum auth_why with(enum auth_kind kind, size_t len, size_t at, uint8_t x)
{
	uint8_t old = msg[at];
	enum auth_why why;

	msg[at] = x;
	why = decode(kind, len);
	msg[at] = old;
	return why;
}

static size_t negotiate(uint8_t hashes, uint8_t groups)
{
	struct auth_negotiate in = {
		.t_id = T_ID,
		.sc_c = 3,
		.hashes.count = hashes,
		.groups.count = groups,
	};

	memcpy(in.hashes.ids, value[0], hashes);
	memcpy(in.groups.ids, value[1], groups);
	return auth_negotiate_encode(&in, msg);
}

static void test_negotiate(void **state)
{
	static const uint8_t head[12] = {0, 0, 0, 0, 0x34, 0x12,
					 3, 1, 1, 0, 30,   2};
	struct auth_negotiate out;
	size_t n = negotiate(30, 2);

	assert_int_equal(n, 72);
	assert_memory_equal(msg, head, sizeof(head));
	assert_memory_equal(msg + 12, value[0], 30);
	assert_memory_equal(msg + 42, value[1], 2);
	assert_int_equal(auth_negotiate_decode(msg, n, &out), AUTH_OK);
	assert_int_equal(out.t_id, T_ID);
	assert_int_equal(out.sc_c, 3);
	assert_int_equal(out.hashes.count, 30);
	assert_memory_equal(out.hashes.ids, value[0], 30);
	assert_int_equal(out.groups.count, 2);
	assert_memory_equal(out.groups.ids, value[1], 2);
	whole_or_nothing(AUTH_NEGOTIATE, n);
}

static void test_negotiate_limits(void **state)
{
	size_t n = negotiate(1, 30);

	for (size_t at = 10; at <= 11; at++) { /* halen, dhlen */
		assert_int_equal(with(AUTH_NEGOTIATE, n, at, 30), AUTH_OK);
		assert_int_equal(with(AUTH_NEGOTIATE, n, at, 31),
				 AUTH_WHY_PAYLOAD);
		assert_int_equal(with(AUTH_NEGOTIATE, n, at, 255),
				 AUTH_WHY_PAYLOAD);
		assert_int_equal(with(AUTH_NEGOTIATE, n, at, 0),
				 AUTH_WHY_PAYLOAD);
	}
	assert_int_equal(with(AUTH_NEGOTIATE, n, 7, 0), AUTH_WHY_NOT_USABLE);
	assert_int_equal(with(AUTH_NEGOTIATE, n, 7, 2), AUTH_WHY_PAYLOAD);
	assert_int_equal(with(AUTH_NEGOTIATE, n, 7, 255), AUTH_WHY_PAYLOAD);
	assert_int_equal(with(AUTH_NEGOTIATE, n, 8, 2), AUTH_WHY_NOT_USABLE);
}

/* Ours is the second protocol of three. */
static void test_negotiate_protocols(void **state)
{
	struct auth_negotiate out;
	size_t n = negotiate(2, 3);

	memmove(msg + 72, msg + 8, 64);
	memset(msg + 136, 0xff, 64);
	msg[7] = 3;
	msg[8] = 0x7f;
	msg[10] = 0; /* of no interest there */
	n += 128;
	assert_int_equal(auth_negotiate_decode(msg, n, &out), AUTH_OK);
	assert_int_equal(out.hashes.count, 2);
	assert_int_equal(out.groups.count, 3);
	whole_or_nothing(AUTH_NEGOTIATE, n);
}

static size_t challenge(uint8_t hl, uint16_t dhv_len)
{
	struct auth_challenge in = {
		.t_id = T_ID,
		.hash = 2,
		.group = 5,
		.hl = hl,
		.dhv_len = dhv_len,
		.seqnum = 0x89abcdef,
		.cval = value[0],
		.dhv = value[1],
	};

	return auth_challenge_encode(&in, msg);
}

static void test_challenge(void **state)
{
	static const uint8_t head[16] = {1, 1, 0, 0, 0x34, 0x12, 64,   0,
					 2, 5, 0, 4, 0xef, 0xcd, 0xab, 0x89};
	struct auth_challenge out;
	size_t n = challenge(64, 1024);

	assert_int_equal(n, 16 + 64 + 1024);
	assert_memory_equal(msg, head, sizeof(head));
	assert_int_equal(auth_challenge_decode(msg, sizeof(msg), &out),
			 AUTH_OK);
	assert_int_equal(out.t_id, T_ID);
	assert_int_equal(out.hash, 2);
	assert_int_equal(out.group, 5);
	assert_int_equal(out.hl, 64);
	assert_int_equal(out.dhv_len, 1024);
	assert_int_equal(out.seqnum, 0x89abcdef);
	assert_memory_equal(out.cval, value[0], 64);
	assert_memory_equal(out.dhv, value[1], 1024);
	whole_or_nothing(AUTH_CHALLENGE, n);
	n = challenge(32, 0);
	assert_int_equal(auth_challenge_decode(msg, n, &out), AUTH_OK);
	assert_null(out.dhv);
	whole_or_nothing(AUTH_CHALLENGE, n);
}

/* Lengths that a message can't have, though there are bytes enough. */
static void test_challenge_limits(void **state)
{
	challenge(1, 0);
	assert_int_equal(with(AUTH_CHALLENGE, sizeof(msg), 6, 64), AUTH_OK);
	assert_int_equal(with(AUTH_CHALLENGE, sizeof(msg), 6, 0),
			 AUTH_WHY_PAYLOAD);
	assert_int_equal(with(AUTH_CHALLENGE, sizeof(msg), 6, 65),
			 AUTH_WHY_PAYLOAD);
	challenge(32, 1024);
	assert_int_equal(with(AUTH_CHALLENGE, sizeof(msg), 10, 1),
			 AUTH_WHY_PAYLOAD);
	assert_int_equal(with(AUTH_CHALLENGE, sizeof(msg), 11, 255),
			 AUTH_WHY_PAYLOAD);
}

static size_t reply(uint8_t hl, uint16_t dhv_len, bool is_mutual)
{
	struct auth_reply in = {
		.t_id = T_ID,
		.hl = hl,
		.dhv_len = dhv_len,
		.seqnum = 0x89abcdef,
		.rval = value[0],
		.cval = is_mutual ? value[1] : NULL,
		.dhv = value[2],
	};

	return auth_reply_encode(&in, msg);
}

static void test_reply(void **state)
{
	static const uint8_t head[16] = {1, 2, 0, 0, 0x34, 0x12, 64,   0,
					 1, 0, 0, 4, 0xef, 0xcd, 0xab, 0x89};
	struct auth_reply out;
	size_t n = reply(64, 1024, true);

	assert_int_equal(n, AUTH_MSG_MAX);
	assert_memory_equal(msg, head, sizeof(head));
	assert_int_equal(auth_reply_decode(msg, n, &out), AUTH_OK);
	assert_int_equal(out.t_id, T_ID);
	assert_int_equal(out.hl, 64);
	assert_int_equal(out.dhv_len, 1024);
	assert_int_equal(out.seqnum, 0x89abcdef);
	assert_memory_equal(out.rval, value[0], 64);
	assert_memory_equal(out.cval, value[1], 64);
	assert_memory_equal(out.dhv, value[2], 1024);
	whole_or_nothing(AUTH_REPLY, n);
	/* One-way: room for the challenge, and nothing in it. */
	n = reply(48, 256, false);
	assert_int_equal(n, 16 + 2 * 48 + 256);
	assert_int_equal(auth_reply_decode(msg, n, &out), AUTH_OK);
	assert_null(out.cval);
	assert_memory_equal(out.dhv, value[2], 256);
	whole_or_nothing(AUTH_REPLY, n);
	n = reply(32, 0, false);
	assert_int_equal(auth_reply_decode(msg, n, &out), AUTH_OK);
	assert_null(out.dhv);
}

static void test_reply_limits(void **state)
{
	reply(1, 0, true);
	assert_int_equal(with(AUTH_REPLY, sizeof(msg), 6, 64), AUTH_OK);
	assert_int_equal(with(AUTH_REPLY, sizeof(msg), 6, 0), AUTH_WHY_PAYLOAD);
	assert_int_equal(with(AUTH_REPLY, sizeof(msg), 6, 65),
			 AUTH_WHY_PAYLOAD);
	assert_int_equal(with(AUTH_REPLY, sizeof(msg), 8, 2), AUTH_WHY_PAYLOAD);
	reply(32, 1024, true);
	assert_int_equal(with(AUTH_REPLY, sizeof(msg), 10, 1),
			 AUTH_WHY_PAYLOAD);
	assert_int_equal(with(AUTH_REPLY, sizeof(msg), 11, 255),
			 AUTH_WHY_PAYLOAD);
}

static void test_success1(void **state)
{
	static const uint8_t head[16] = {1, 3, 0, 0, 0x34, 0x12, 64, 0, 1};
	struct auth_success1 in = {.t_id = T_ID, .hl = 64, .rval = value[0]};
	struct auth_success1 out;
	size_t n = auth_success1_encode(&in, msg);

	assert_int_equal(n, 16 + 64);
	assert_memory_equal(msg, head, sizeof(head));
	assert_int_equal(auth_success1_decode(msg, n, &out), AUTH_OK);
	assert_int_equal(out.t_id, T_ID);
	assert_int_equal(out.hl, 64);
	assert_memory_equal(out.rval, value[0], 64);
	whole_or_nothing(AUTH_SUCCESS1, n);
	assert_int_equal(with(AUTH_SUCCESS1, sizeof(msg), 6, 0),
			 AUTH_WHY_PAYLOAD);
	assert_int_equal(with(AUTH_SUCCESS1, sizeof(msg), 6, 65),
			 AUTH_WHY_PAYLOAD);
	assert_int_equal(with(AUTH_SUCCESS1, sizeof(msg), 8, 2),
			 AUTH_WHY_PAYLOAD);
	/* Without a response no bytes for one are needed. */
	in.rval = NULL;
	auth_success1_encode(&in, msg);
	assert_int_equal(auth_success1_decode(msg, 16, &out), AUTH_OK);
	assert_null(out.rval);
	whole_or_nothing(AUTH_SUCCESS1, 16);
}

static void test_success2(void **state)
{
	static const uint8_t head[16] = {1, 4, 0, 0, 0x34, 0x12};
	size_t n = auth_success2_encode(T_ID, msg);

	assert_int_equal(n, 16);
	assert_memory_equal(msg, head, sizeof(head));
	whole_or_nothing(AUTH_SUCCESS2, n);
}

static void test_failure(void **state)
{
	static const uint8_t bytes[8] = {0, 0xf1, 0, 0, 0x34, 0x12, 1, 5};
	struct auth_failure out;
	size_t n =
		auth_failure_encode(AUTH_FAILURE1, T_ID, AUTH_WHY_GROUP, msg);

	assert_int_equal(n, sizeof(bytes));
	assert_memory_equal(msg, bytes, sizeof(bytes));
	auth_failure_decode(msg, n, &out);
	assert_int_equal(out.t_id, T_ID);
	assert_int_equal(out.reason, 1);
	assert_int_equal(out.why, AUTH_WHY_GROUP);
	/* A short one is a failure all the same. */
	auth_failure_decode(msg, n - 1, &out);
	assert_int_equal(out.why, AUTH_WHY_FAILED);
	auth_failure_decode(msg, 0, &out);
	assert_int_equal(out.why, AUTH_WHY_FAILED);
	auth_failure_encode(AUTH_FAILURE2, T_ID, AUTH_WHY_FAILED, msg);
	assert_int_equal(msg[1], 0xf0);
	for (unsigned why = 0; why < 256; why++)
		assert_non_null(auth_why_text(why));
	assert_non_null(auth_why_text(UINT32_MAX));
}

/* Each decoder takes its own kind and no other. */
static void test_kinds(void **state)
{
	static const enum auth_kind kinds[] = {AUTH_NEGOTIATE, AUTH_CHALLENGE,
					       AUTH_REPLY, AUTH_SUCCESS1,
					       AUTH_SUCCESS2};
	uint16_t t_id;

	for (unsigned is = 0; is < ARRAY_SIZE(kinds); is++) {
		memset(msg, 1, sizeof(msg));
		msg[0] = (uint8_t)(kinds[is] >> 8);
		msg[1] = (uint8_t)kinds[is];
		assert_int_equal(auth_peek(msg, 6, &t_id), kinds[is]);
		assert_int_equal(t_id, 0x0101);
		assert_int_equal(auth_peek(msg, 5, &t_id), -1);
		for (unsigned as = 0; as < ARRAY_SIZE(kinds); as++) {
			enum auth_why why = decode(kinds[as], sizeof(msg));

			assert_int_equal(why == AUTH_WHY_MESSAGE, as != is);
		}
	}
}

static void test_command(void **state)
{
	struct nvme_sqe sqe;

	nvme_cmd_auth(&sqe, true, 72);
	assert_int_equal(sqe.opcode, 0x7f);
	assert_int_equal(sqe.nsid & 0xff, 0x05); /* fctype */
	assert_int_equal(sqe.cdw10, 0xe9010100);
	assert_int_equal(sqe.cdw11, 72);
	assert_true(auth_is_sqe_ok(&sqe));
	sqe.cdw10 |= 0xff; /* reserved */
	assert_true(auth_is_sqe_ok(&sqe));
	for (unsigned bit = 8; bit < 32; bit++) {
		nvme_cmd_auth(&sqe, false, 1);
		assert_int_equal(sqe.nsid & 0xff, 0x06);
		sqe.cdw10 ^= 1u << bit;
		assert_false(auth_is_sqe_ok(&sqe));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_negotiate),
		cmocka_unit_test(test_negotiate_limits),
		cmocka_unit_test(test_negotiate_protocols),
		cmocka_unit_test(test_challenge),
		cmocka_unit_test(test_challenge_limits),
		cmocka_unit_test(test_reply),
		cmocka_unit_test(test_reply_limits),
		cmocka_unit_test(test_success1),
		cmocka_unit_test(test_success2),
		cmocka_unit_test(test_failure),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_command),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
