/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of a captured exchange, and a table of headers that must fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "nvme/pdu.h"

#define PLEN_MAX (1u << 20)

/* As sent by a real initiator and target. */
static const struct {
	uint8_t bytes[8];
	bool is_target, is_ready;
} real[] = {
	{{0x00, 0, 128, 0, 128}, true, false},		 /* ICReq */
	{{0x01, 0, 128, 0, 128}, false, false},		 /* ICResp */
	{{0x04, 0, 72, 72, 0x48, 0x04}, true, true},	 /* Connect */
	{{0x05, 0, 24, 0, 24}, false, true},		 /* response */
	{{0x04, 0, 72, 0, 72}, true, true},		 /* Identify */
	{{0x07, 0x0c, 24, 24, 0x18, 0x10}, false, true}, /* 4 KiB */
	{{0x04, 0, 72, 72, 0x48, 0x10}, true, true},	 /* write 4 KiB */
	{{0x09, 0, 24, 0, 24}, false, true},		 /* R2T */
	{{0x06, 0x04, 24, 24, 0x18, 0x40}, true, true},	 /* 16 KiB */
	{{0x03, 0, 24, 0, 48}, false, true},		 /* C2HTermReq */
	{{0x02, 0, 24, 0, 152}, true, false},		 /* H2CTermReq */
};

static void test_real(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(real); i++) {
		struct pdu_limits lim = {.is_target = real[i].is_target,
					 .is_ready = real[i].is_ready,
					 .plen_max = PLEN_MAX};
		struct pdu_ch ch;
		uint32_t fei;

		memcpy(&ch, real[i].bytes, sizeof(ch));
		assert_int_equal(pdu_check(&ch, &lim, &fei), 0);
		/* The other side must not accept it. */
		lim.is_target = !lim.is_target;
		assert_int_equal(pdu_check(&ch, &lim, &fei),
				 PDU_FES_HEADER_FIELD);
		assert_int_equal(fei, 0);
	}
}

static const struct {
	const char *what;
	struct pdu_ch ch;
	bool is_target, not_ready, hdgst, ddgst;
	uint8_t pda;
	int fes;
	uint32_t fei;
} broken[] = {
	{"unknown type", {0x08, 0, 24, 0, 24}, .fes = 1, .fei = 0},
	{"type 0xff", {0xff, 0, 24, 0, 24}, .fes = 1, .fei = 0},
	{"response before ICResp", {5, 0, 24, 0, 24}, .not_ready = 1, .fes = 2},
	{"second ICResp", {1, 0, 128, 0, 128}, .fes = 2, .fei = 0},
	{"second ICReq", {0, 0, 128, 0, 128}, .is_target = 1, .fes = 2},
	{"command first", {4, 0, 72, 0, 72}, 1, 1, .fes = 2},
	{"hlen short", {5, 0, 23, 0, 24}, .fes = 1, .fei = 2},
	{"hlen 0", {7, 4, 0, 24, 4120}, .fes = 1, .fei = 2},
	{"ICResp hlen", {1, 0, 24, 0, 128}, .not_ready = 1, .fes = 1, .fei = 2},
	{"plen below hlen", {5, 0, 24, 0, 23}, .fes = 1, .fei = 4},
	{"response with data", {5, 0, 24, 24, 28}, .fes = 1, .fei = 4},
	{"R2T too long", {9, 0, 24, 0, 4096}, .fes = 1, .fei = 4},
	{"plen 0", {7, 4, 24, 24, 0}, .fes = 1, .fei = 3},
	{"data without data", {7, 4, 24, 24, 24}, .fes = 1, .fei = 4},
	{"pdo in header", {7, 4, 24, 8, 4120}, .fes = 1, .fei = 3},
	{"pdo odd", {7, 4, 24, 25, 4121}, .fes = 1, .fei = 3},
	{"pdo behind end", {7, 4, 24, 128, 100}, .fes = 1, .fei = 3},
	{"plen huge", {7, 4, 24, 24, UINT32_MAX}, .fes = 1, .fei = 4},
	{"plen above limit",
	 {6, 4, 24, 24, PLEN_MAX + 4},
	 1,
	 .fes = 1,
	 .fei = 4},
	{"unaligned for pda",
	 {6, 4, 24, 24, 4120},
	 1,
	 .pda = 128,
	 .fes = 1,
	 .fei = 3},
	{"no hdgst flag", {5, 0, 24, 0, 28}, .hdgst = 1, .fes = 1, .fei = 1},
	{"hdgst not agreed", {5, 1, 24, 0, 28}, .fes = 1, .fei = 1},
	{"hdgst in ICResp",
	 {1, 1, 128, 0, 128},
	 .not_ready = 1,
	 .fes = 1,
	 .fei = 1},
	{"no ddgst flag", {7, 4, 24, 24, 4124}, .ddgst = 1, .fes = 1, .fei = 1},
	{"ddgst not agreed", {7, 6, 24, 24, 4124}, .fes = 1, .fei = 1},
	{"only a ddgst", {7, 6, 24, 24, 28}, .ddgst = 1, .fes = 1, .fei = 4},
	{"pdo over hdgst",
	 {7, 5, 24, 24, 4120},
	 .hdgst = 1,
	 .fes = 1,
	 .fei = 3},
	{"SUCCESS without LAST", {7, 8, 24, 24, 4120}, .fes = 1, .fei = 1},
	{"TermReq short", {3, 0, 24, 0, 20}, .fes = 1, .fei = 4},
	{"TermReq long", {3, 0, 24, 0, 153}, .fes = 1, .fei = 4},
};

static void test_broken(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		struct pdu_limits lim = {
			.is_target = broken[i].is_target,
			.is_ready = !broken[i].not_ready,
			.hdgst = broken[i].hdgst,
			.ddgst = broken[i].ddgst,
			.pda = broken[i].pda,
			.plen_max = PLEN_MAX,
		};
		uint32_t fei = 99;
		int fes = pdu_check(&broken[i].ch, &lim, &fei);

		if (fes != broken[i].fes || fei != broken[i].fei)
			fail_msg("%s: fes %d fei %u", broken[i].what, fes, fei);
	}
}

/* Everything finish() makes, the other side's check() takes. */
static void test_finish(void **state)
{
	static const uint8_t types[] = {PDU_CAPSULE_CMD, PDU_CAPSULE_RESP,
					PDU_H2C_DATA, PDU_C2H_DATA, PDU_R2T};
	static const uint8_t pdas[] = {0, 1, 4, 12, 64, 72, 128};

	for (unsigned n = 0; n < ARRAY_SIZE(types) * ARRAY_SIZE(pdas) * 4;
	     n++) {
		uint8_t type = types[n / 4 / ARRAY_SIZE(pdas)];
		uint8_t pda = pdas[n / 4 % ARRAY_SIZE(pdas)];
		bool may_data = type == PDU_CAPSULE_CMD ||
				type == PDU_H2C_DATA || type == PDU_C2H_DATA;
		struct pdu_limits lim = {
			.is_target =
				type == PDU_CAPSULE_CMD || type == PDU_H2C_DATA,
			.is_ready = true,
			.hdgst = n & 1,
			.ddgst = n & 2,
			.pda = pda,
			.plen_max = PLEN_MAX,
		};
		struct pdu_ch ch = {.type = type, .flags = 0xf3 | PDU_F_LAST};
		uint32_t data = may_data ? 4096 : 0, fei;
		size_t head = pdu_finish(&ch, data, lim.hdgst, lim.ddgst, pda);

		assert_int_equal(pdu_check(&ch, &lim, &fei), 0);
		assert_true(ch.flags & PDU_F_LAST);
		assert_int_equal(ch.plen,
				 head + data + (data && lim.ddgst ? 4 : 0));
		assert_int_equal(ch.pdo, data ? head : 0);
	}
}

static void test_termreq(void **state)
{
	uint8_t out[PDU_TERM_MAX], hdr[200];
	struct pdu_term term;
	uint32_t fei;

	memset(hdr, 0xab, sizeof(hdr));
	assert_int_equal(pdu_termreq(out, false, PDU_FES_HDGST, 0x12345678, hdr,
				     sizeof(hdr)),
			 PDU_TERM_MAX);
	memcpy(&term, out, sizeof(term));
	memcpy(&fei, term.fei, sizeof(fei));
	assert_int_equal(term.ch.type, PDU_H2C_TERM);
	assert_int_equal(term.ch.plen, PDU_TERM_MAX);
	assert_int_equal(term.fes, PDU_FES_HDGST);
	assert_int_equal(fei, 0x12345678);
	assert_memory_equal(out + sizeof(term), hdr, 128);
	assert_int_equal(pdu_termreq(out, true, PDU_FES_SEQUENCE, 0, NULL, 0),
			 24);
	assert_int_equal(out[0], PDU_C2H_TERM);
}

static void test_ic(void **state)
{
	static const uint8_t req[128] = {0, 0, 128, 0, 128};
	static const uint8_t resp[128] = {1, 0, 128, 0, 128, [14] = 2};
	struct pdu_ic ic;

	pdu_icreq(&ic, 0, 0, 0);
	assert_memory_equal(&ic, req, sizeof(req));
	pdu_icresp(&ic, 0, 0, 131072);
	assert_memory_equal(&ic, resp, sizeof(resp));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real),   cmocka_unit_test(test_broken),
		cmocka_unit_test(test_finish), cmocka_unit_test(test_termreq),
		cmocka_unit_test(test_ic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
