/* SPDX-License-Identifier: Apache-2.0 */
/* PDUs that no host should send: each ends in the right C2HTermReq. */
#include "t_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct t_target target;

static int setup(void **state)
{
	struct bdev *bdev;
	struct err err = {0};

	t_target_start(&target, &(struct tgt_opts){.max_h2cdata = 32768}, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bdev_ram_create(NULL, 1 << 20, &bdev, &err),
				 0);
		t_target_add_ns(&target, bdev);
	}
	return 0;
}

static int teardown(void **state)
{
	t_target_stop(&target);
	return 0;
}

static struct pdu_ch *raw_pdu(union pdu_hdr *h, uint8_t type, uint8_t hlen,
			      uint8_t pdo, uint32_t plen)
{
	memset(h, 0, sizeof(*h));
	h->ch = (struct pdu_ch){
		.type = type, .hlen = hlen, .pdo = pdo, .plen = plen};
	return &h->ch;
}

static const struct {
	bool after_ic;
	uint8_t type, flags, hlen, pdo;
	uint32_t plen;
	uint16_t fes;
	uint32_t fei;
} heads[] = {
	/* type, in this direction and at this time */
	{false, PDU_CAPSULE_CMD, 0, 72, 0, 72, 2, 0},
	{false, PDU_H2C_DATA, 4, 24, 24, 28, 2, 0},
	{false, PDU_ICRESP, 0, 128, 0, 128, 1, 0},
	{false, 0x08, 0, 24, 0, 24, 1, 0},
	{false, 0xff, 0, 24, 0, 24, 1, 0},
	{true, PDU_ICREQ, 0, 128, 0, 128, 2, 0},
	{true, PDU_ICRESP, 0, 128, 0, 128, 1, 0},
	{true, PDU_C2H_TERM, 0, 24, 0, 24, 1, 0},
	{true, PDU_CAPSULE_RESP, 0, 24, 0, 24, 1, 0},
	{true, PDU_C2H_DATA, 0, 24, 24, 32, 1, 0},
	{true, PDU_R2T, 0, 24, 0, 24, 1, 0},
	{true, 0x0a, 0, 24, 0, 24, 1, 0},
	/* flags */
	{false, PDU_ICREQ, 1, 128, 0, 128, 1, 1},
	{true, PDU_CAPSULE_CMD, PDU_F_HDGST, 72, 0, 76, 1, 1},
	{true, PDU_CAPSULE_CMD, PDU_F_DDGST, 72, 72, 1024, 1, 1},
	{true, PDU_H2C_DATA, PDU_F_HDGST, 24, 28, 36, 1, 1},
	{true, PDU_H2C_DATA, PDU_F_DDGST, 24, 24, 36, 1, 1},
	/* hlen */
	{false, PDU_ICREQ, 0, 127, 0, 128, 1, 2},
	{true, PDU_CAPSULE_CMD, 0, 71, 0, 72, 1, 2},
	{true, PDU_CAPSULE_CMD, 0, 73, 0, 73, 1, 2},
	{true, PDU_CAPSULE_CMD, 0, 0, 0, 72, 1, 2},
	{true, PDU_H2C_DATA, 4, 20, 24, 32, 1, 2},
	{true, PDU_H2C_TERM, 0, 25, 0, 25, 1, 2},
	/* pdo */
	{true, PDU_CAPSULE_CMD, 0, 72, 200, 100, 1, 3},
	{true, PDU_CAPSULE_CMD, 0, 72, 68, 1024, 1, 3},
	{true, PDU_CAPSULE_CMD, 0, 72, 74, 1024, 1, 3},
	{true, PDU_H2C_DATA, 4, 24, 0, 1024, 1, 3},
	{true, PDU_H2C_DATA, 4, 24, 26, 1024, 1, 3},
	/* plen */
	{false, PDU_ICREQ, 0, 128, 0, 127, 1, 4},
	{false, PDU_ICREQ, 0, 128, 0, 129, 1, 4},
	{true, PDU_CAPSULE_CMD, 0, 72, 0, 71, 1, 4},
	{true, PDU_CAPSULE_CMD, 0, 72, 0, 0, 1, 4},
	{true, PDU_CAPSULE_CMD, 0, 72, 72, UINT32_MAX, 1, 4},
	{true, PDU_CAPSULE_CMD, 0, 72, 72, 65536, 1, 4},
	{true, PDU_H2C_DATA, 0, 24, 24, 24, 1, 4},
	{true, PDU_H2C_TERM, 0, 24, 0, 23, 1, 4},
	{true, PDU_H2C_TERM, 0, 24, 0, 153, 1, 4},
};

static void malformed_headers_end_it(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		struct t_wire w = {0};
		union pdu_hdr h;

		if (heads[i].after_ic)
			tw_start(&w, &target.addr);
		else
			tw_open(&w, &target.addr);
		raw_pdu(&h, heads[i].type, heads[i].hlen, heads[i].pdo,
			heads[i].plen);
		h.ch.flags = heads[i].flags;
		h.data.datal = 8;
		tw_send_raw(&w, &h, sizeof(h));
		tw_expect_term_at(&w, heads[i].fes, heads[i].fei,
				  heads[i].type);
		tw_close(&w);
	}
}

static void icreq_fields_are_checked(void **state)
{
	for (int i = 0; i < 3; i++) {
		struct t_wire w = {0};
		struct pdu_ic ic;

		tw_open(&w, &target.addr);
		pdu_icreq(&ic, 0, 0, 0);
		ic.pfv = i == 0 ? 1 : 0;
		ic.pda = i == 1 ? 32 : 0;
		ic.dgst = i == 2 ? 4 : 0;
		tw_send_raw(&w, &ic, sizeof(ic));
		tw_expect_term_at(
			&w, i == 0 ? PDU_FES_UNSUPPORTED : PDU_FES_HEADER_FIELD,
			i == 0 ? 8 : 9 + (uint32_t)i, PDU_ICREQ);
		tw_close(&w);
	}
}

static void bad_header_digest_ends_it(void **state)
{
	struct t_wire w = {.hdgst = true};
	struct pdu_cmd pdu = {.ch = {.type = PDU_CAPSULE_CMD}};
	uint32_t wrong = 1;

	tw_start(&w, &target.addr);
	pdu_finish(&pdu.ch, 0, true, false, 0);
	tw_send_raw(&w, &pdu, sizeof(pdu));
	tw_send_raw(&w, &wrong, sizeof(wrong));
	tw_expect_term(&w, PDU_FES_HDGST);
	tw_close(&w);
}

/* Each case differs in one field from the H2CData that an R2T asks for. */
static const struct {
	uint16_t cccid, ttag;
	uint32_t datao, datal, len;
	uint8_t flags;
	uint16_t fes;
	uint32_t fei;
} h2c_cases[] = {
	{.cccid = 1,
	 .datal = 8192,
	 .len = 8192,
	 .flags = PDU_F_LAST,
	 .fes = PDU_FES_HEADER_FIELD,
	 .fei = 8},
	{.ttag = 1,
	 .datal = 8192,
	 .len = 8192,
	 .flags = PDU_F_LAST,
	 .fes = PDU_FES_HEADER_FIELD,
	 .fei = 10},
	{.ttag = 999,
	 .datal = 8192,
	 .len = 8192,
	 .flags = PDU_F_LAST,
	 .fes = PDU_FES_HEADER_FIELD,
	 .fei = 10},
	{.datao = 4096,
	 .datal = 4096,
	 .len = 4096,
	 .flags = PDU_F_LAST,
	 .fes = PDU_FES_DATA_RANGE,
	 .fei = 12},
	{.datal = 12288,
	 .len = 12288,
	 .flags = PDU_F_LAST,
	 .fes = PDU_FES_DATA_RANGE,
	 .fei = 16},
	{.datal = 4096,
	 .len = 8192,
	 .flags = PDU_F_LAST,
	 .fes = PDU_FES_HEADER_FIELD,
	 .fei = 16},
	{.datal = 4096,
	 .len = 4096,
	 .flags = PDU_F_LAST,
	 .fes = PDU_FES_HEADER_FIELD,
	 .fei = 1},
	{.datal = 8192, .len = 8192, .fes = PDU_FES_HEADER_FIELD, .fei = 1},
	{.datal = 65536,
	 .len = 65536,
	 .flags = PDU_F_LAST,
	 .fes = PDU_FES_R2T_LIMIT,
	 .fei = 16},
};

static void h2c_data_are_checked(void **state)
{
	static uint8_t data[65536];

	for (size_t i = 0; i < ARRAY_SIZE(h2c_cases); i++) {
		struct t_wire admin = {0}, io = {0};
		struct nvme_sqe sqe;
		union pdu_hdr r2t;
		struct pdu_data pdu;

		tw_admin_queue(&admin, &target.addr);
		tw_io_queue(&io, &target.addr, &admin, 1);
		nvme_cmd_rw(&sqe, true, 1 + i % 2, 0, 2);
		sqe.sgl = (struct nvme_sgl){.len = 8192,
					    .type = NVME_SGL_TRANSPORT};
		tw_send_cmd(&io, &sqe, NULL, 0);
		tw_recv(&io, &r2t, NULL, 0);
		assert_int_equal(r2t.ch.type, PDU_R2T);
		pdu = (struct pdu_data){
			.ch = {.type = PDU_H2C_DATA,
			       .flags = h2c_cases[i].flags},
			.cccid = (uint16_t)(sqe.cid + h2c_cases[i].cccid),
			.ttag = (uint16_t)(r2t.r2t.ttag + h2c_cases[i].ttag),
			.datao = h2c_cases[i].datao,
			.datal = h2c_cases[i].datal,
		};
		tw_send_pdu(&io, &pdu.ch, data, h2c_cases[i].len);
		tw_expect_term_at(&io, h2c_cases[i].fes, h2c_cases[i].fei,
				  PDU_H2C_DATA);
		tw_close(&io);
		tw_close(&admin);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_headers_end_it),
		cmocka_unit_test(icreq_fields_are_checked),
		cmocka_unit_test(bad_header_digest_ends_it),
		cmocka_unit_test(h2c_data_are_checked),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
