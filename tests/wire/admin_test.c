/* SPDX-License-Identifier: Apache-2.0 */
/* Admin commands: features, log pages, Abort, properties. */
#include "t_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SC(sc)	 ((sc)&NVME_SC_MASK)
#define NS_BYTES (1u << 20)
#define ANA_NQN	 "nqn.2026-11.io.mooncake:ana"

static struct t_target target;
static struct t_wire admin, io;
static uint8_t buf[8192];

static int setup(void **state)
{
	struct tgt_opts opts = {.max_transfer = 1 << 20,
				.buffer_bytes = 4 << 20};
	struct err err = {0};
	struct bdev *bdev;

	t_target_start(&target, &opts, 0);
	assert_int_equal(bdev_null_create((uint64_t)16 << 20, 0, &bdev, &err),
			 0);
	assert_int_equal(t_target_add_ns(&target, bdev), 1);
	assert_int_equal(bdev_ram_create(NULL, NS_BYTES, &bdev, &err), 0);
	assert_int_equal(t_target_add_ns(&target, bdev), 2);
	admin = io = (struct t_wire){0};
	tw_admin_queue(&admin, &target.addr);
	tw_io_queue(&io, &target.addr, &admin, 1);
	return 0;
}

static int teardown(void **state)
{
	tw_close(&io);
	tw_close(&admin);
	t_target_stop(&target);
	return 0;
}

static uint32_t u32(unsigned off)
{
	uint32_t v;

	memcpy(&v, buf + off, sizeof(v));
	return v;
}

static uint64_t u64(unsigned off)
{
	uint64_t v;

	memcpy(&v, buf + off, sizeof(v));
	return v;
}

static uint16_t log_page(uint8_t lid, uint64_t off, uint32_t len)
{
	struct nvme_sqe sqe;

	nvme_cmd_get_log(&sqe, lid, off, len);
	return tw_admin(&admin, &sqe, buf, len, NULL);
}

static uint16_t unaligned(uint8_t lid)
{
	struct nvme_sqe sqe;

	nvme_cmd_get_log(&sqe, lid, 0, 4);
	sqe.cdw12 = 2;
	return SC(tw_admin(&admin, &sqe, buf, 4, NULL));
}

struct feature_args {
	uint32_t fid, nsid, cdw11;
};

static uint16_t set_feature(struct feature_args a, uint32_t *dw0)
{
	struct nvme_cqe cqe = {0};
	struct nvme_sqe sqe;
	uint16_t sc;

	nvme_cmd_set_feature(&sqe, (uint8_t)a.fid, a.cdw11);
	sqe.cdw10 = a.fid;
	sqe.nsid = a.nsid;
	sc = tw_admin(&admin, &sqe, NULL, 0, &cqe);
	if (dw0)
		*dw0 = cqe.dw0;
	return SC(sc);
}

static uint16_t get_feature(struct feature_args a, uint32_t *dw0)
{
	struct nvme_cqe cqe = {0};
	struct nvme_sqe sqe = {.opcode = NVME_ADM_GET_FEATURES,
			       .flags = NVME_SQE_PSDT_SGL,
			       .nsid = a.nsid,
			       .cdw10 = a.fid,
			       .cdw11 = a.cdw11};
	uint16_t sc = tw_admin(&admin, &sqe, NULL, 0, &cqe);

	if (dw0)
		*dw0 = cqe.dw0;
	return SC(sc);
}

/* FID, a value that can be set, what it is then, default, capabilities. */
static void features_have_values(void **state)
{
	static const struct {
		uint32_t fid, set, current, def, caps;
	} cases[] = {
		{0x01, 0x01020304, 0x01020304, 0, 4},
		{0x02, 0, 0, 0, 0},
		{0x04, 0x0150, 0x0150, 343, 4},
		{0x05, 0x000a, 0x000a, 0, 6},
		{0x06, 0, 0, 1, 4},
		{0x07, 0x00020001, 0x00010001, 0x003f003f, 4},
		{0x0a, 1, 1, 0, 4},
		{0x0b, 0x11f, 0x11f, 0, 4},
		{0x0f, 10001, 10100, 0, 4},
	};
	uint32_t value;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t fid = cases[i].fid;

		assert_int_equal(
			set_feature((struct feature_args){fid, 0, cases[i].set},
				    NULL),
			0);
		assert_int_equal(
			get_feature((struct feature_args){fid, 0, 0}, &value),
			0);
		assert_int_equal(value, cases[i].current);
		for (uint32_t sel = 1; sel <= 3; sel++) {
			struct feature_args a = {fid | sel << 8, 0, 0};

			assert_int_equal(get_feature(a, &value), 0);
			assert_int_equal(value, sel == 3 ? cases[i].caps
							 : cases[i].def);
		}
		assert_int_equal(
			set_feature((struct feature_args){fid | 1u << 31, 0, 0},
				    NULL),
			NVME_SC_FEATURE_NOT_SAVEABLE);
		assert_int_equal(
			get_feature((struct feature_args){fid | 4 << 8, 0, 0},
				    NULL),
			NVME_SC_BAD_FIELD);
	}
}

static void features_are_judged(void **state)
{
	static const struct {
		struct feature_args a;
		uint16_t sc;
	} cases[] = {
		{{0x02, 0, 1}, NVME_SC_BAD_FIELD},	 /* no such state */
		{{0x04, 0, 0x10000}, NVME_SC_BAD_FIELD}, /* no such sensor */
		{{0x04, 0, 0x300000}, NVME_SC_BAD_FIELD},
		{{0x04, 0, 0x0f0140}, NVME_SC_OK},
		{{0x05, 1, 5}, NVME_SC_OK},
		{{0x05, 99, 5}, NVME_SC_BAD_NS},
		{{0x06, 1, 1}, NVME_SC_FEATURE_NOT_NS},
		{{0x06, UINT32_MAX, 1}, NVME_SC_OK},
		{{0x07, 0, 0xffff0001}, NVME_SC_BAD_FIELD},
		{{0x08, 0, 1}, NVME_SC_BAD_FIELD}, /* no interrupts */
		{{0x0f, 0, UINT32_MAX}, NVME_SC_KA_INVALID},
		{{0x81, 0, 1}, NVME_SC_CMD_SEQ_ERROR},
		{{0x77, 0, 1}, NVME_SC_BAD_FIELD},
	};
	uint32_t value;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint16_t sc = set_feature(cases[i].a, NULL);

		if (sc != cases[i].sc)
			fail_msg("case %zu: %#x", i, sc);
	}
	/* the threshold below is one of its own */
	assert_int_equal(
		set_feature((struct feature_args){4, 0, 0x100011}, NULL), 0);
	assert_int_equal(
		get_feature((struct feature_args){4, 0, 0x100000}, &value), 0);
	assert_int_equal(value, 0x11);
	assert_int_equal(get_feature((struct feature_args){4, 0, 0}, &value),
			 0);
	assert_int_equal(value, 0x140);
}

static void host_id_is_that_of_connect(void **state)
{
	struct nvme_sqe sqe = {.opcode = NVME_ADM_GET_FEATURES,
			       .flags = NVME_SQE_PSDT_SGL,
			       .cdw10 = 0x81,
			       .cdw11 = 1};

	assert_int_equal(tw_admin(&admin, &sqe, buf, 16, NULL), 0);
	assert_memory_equal(buf, "\x01\x02\x03\x00", 4);
	sqe.cdw11 = 0;
	assert_int_equal(SC(tw_admin(&admin, &sqe, buf, 16, NULL)),
			 NVME_SC_BAD_FIELD);
}

static void pages_have_their_length(void **state)
{
	static const struct {
		uint8_t lid;
		uint32_t len;
	} pages[] = {{0x00, 1024}, {0x01, 4096}, {0x02, 512},
		     {0x03, 512},  {0x04, 4096}, {0x05, 4096}};
	static uint8_t whole[4096];

	assert_int_equal(log_page(0x00, 0, 1024), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		assert_int_equal(u32(pages[i].lid * 4u), 1);
	assert_int_equal(u32(0x70 * 4), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		uint8_t lid = pages[i].lid;
		uint32_t len = pages[i].len;

		assert_int_equal(log_page(lid, 0, len), 0);
		memcpy(whole, buf, len);
		/* a piece from the middle; behind the end there are zeros */
		if (lid != 0x02) {
			assert_int_equal(log_page(lid, 128, 64), 0);
			assert_memory_equal(buf, whole + 128, 64);
		}
		assert_int_equal(log_page(lid, len - 4, 64), 0);
		for (unsigned b = 4; b < 64; b++)
			assert_int_equal(buf[b], 0);
		assert_int_equal(SC(log_page(lid, len + 4, 4)),
				 NVME_SC_BAD_FIELD);
		assert_int_equal(unaligned(lid), NVME_SC_BAD_FIELD);
	}
	assert_int_equal(SC(log_page(0x0d, 0, 512)), NVME_SC_BAD_LOG_PAGE);
	assert_int_equal(SC(log_page(0xc0, 0, 512)), NVME_SC_BAD_LOG_PAGE);
}

static void errors_are_kept(void **state)
{
	uint64_t first;

	assert_int_equal(log_page(0x01, 0, 64), 0);
	first = u64(0);
	io.next_cid = 77;
	assert_int_equal(SC(tw_read(&io, 1, 0x123456789a, buf, 4096)),
			 NVME_SC_LBA_RANGE);
	assert_int_equal(SC(log_page(0x99, 0, 64)), NVME_SC_BAD_LOG_PAGE);
	assert_int_equal(log_page(0x01, 0, 128), 0);
	assert_int_equal(u64(0), first + 2);  /* the newest comes first */
	assert_int_equal(u32(8) & 0xffff, 0); /* SQID */
	assert_int_equal(u64(64), first + 1);
	assert_int_equal(u32(64 + 8), 77 << 16 | 1); /* CID, SQID */
	assert_int_equal(u32(64 + 12) & 0xffff,
			 (NVME_SC_LBA_RANGE | NVME_SC_DNR) << 1);
	assert_int_equal(u64(64 + 16), 0x123456789a);
	assert_int_equal(u32(64 + 24), 1); /* NSID */
	/* no more than 64, however many there were */
	for (int i = 0; i < 70; i++)
		log_page(0x99, 0, 64);
	assert_int_equal(log_page(0x01, 0, 4096), 0);
	assert_int_equal(u64(63 * 64), first + 2 + 70 - 63);
}

static void smart_counts(void **state)
{
	uint64_t reads, errors;

	assert_int_equal(log_page(0x02, 0, 512), 0);
	reads = u64(64);
	errors = u64(176);
	assert_int_equal(buf[3], 100); /* spare */
	assert_int_equal(tw_read(&io, 1, 0, buf, 4096), 0);
	assert_int_equal(SC(log_page(0x99, 0, 64)), NVME_SC_BAD_LOG_PAGE);
	assert_int_equal(log_page(0x02, 0, 512), 0);
	assert_int_equal(u64(64), reads + 1);
	assert_true(u64(32) > 0); /* data units read, a part counts */
	assert_int_equal(u64(176), errors + 1);
}

/* --- Abort --- */

static uint32_t abort_cmd(uint16_t sqid, uint16_t cid)
{
	struct nvme_sqe sqe = {.opcode = NVME_ADM_ABORT,
			       .flags = NVME_SQE_PSDT_SGL,
			       .cdw10 = (uint32_t)cid << 16 | sqid};
	struct nvme_cqe cqe;

	assert_int_equal(tw_admin(&admin, &sqe, NULL, 0, &cqe), 0);
	return cqe.dw0;
}

static void aborted(struct t_wire *w, uint16_t cid)
{
	union pdu_hdr hdr;

	tw_recv(w, &hdr, NULL, 0);
	assert_int_equal(hdr.ch.type, PDU_CAPSULE_RESP);
	assert_int_equal(hdr.resp.cqe.cid, cid);
	assert_int_equal(hdr.resp.cqe.status >> 1, NVME_SC_ABORT_REQUESTED);
}

static void events_are_aborted(void **state)
{
	struct nvme_sqe aer = {.opcode = NVME_ADM_AER, .flags = 0x40};
	struct nvme_sqe abort = {.opcode = NVME_ADM_ABORT, .flags = 0x40};
	union pdu_hdr hdr;
	uint16_t cid;

	tw_send_cmd(&admin, &aer, NULL, 0);
	cid = aer.cid;
	abort.cdw10 = (uint32_t)cid << 16;
	tw_send_cmd(&admin, &abort, NULL, 0);
	aborted(&admin, cid); /* before the Abort itself is answered */
	tw_recv(&admin, &hdr, NULL, 0);
	assert_int_equal(hdr.resp.cqe.cid, abort.cid);
	assert_int_equal(hdr.resp.cqe.dw0, 0);
	/* it is gone; queues that are not there */
	assert_int_equal(abort_cmd(0, cid), 1);
	assert_int_equal(abort_cmd(1, 5), 1);
	assert_int_equal(abort_cmd(9, 5), 1);
}

/* Four writes of 1 MiB take all buffers; the fifth waits, and is aborted.  One
 * of the four ends as aborted when its data have come. */
static void waiting_writes_are_aborted(void **state)
{
	static uint8_t mib[1 << 20];
	struct nvme_sqe sqe;
	union pdu_hdr hdr, r2t[4];

	io.next_cid = 100;
	for (unsigned i = 0; i < 5; i++) {
		nvme_cmd_rw(&sqe, true, 1, 0, 256);
		sqe.sgl = (struct nvme_sgl){.len = sizeof(mib),
					    .type = NVME_SGL_TRANSPORT};
		tw_send_cmd(&io, &sqe, NULL, 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		tw_recv(&io, &r2t[i], NULL, 0);
		assert_int_equal(r2t[i].ch.type, PDU_R2T);
	}
	assert_int_equal(abort_cmd(1, 104), 0);
	aborted(&io, 104);
	assert_int_equal(abort_cmd(1, 100), 1); /* asked for its data */
	for (unsigned i = 0; i < 4; i++) {
		struct pdu_data pdu = {
			.ch = {.type = PDU_H2C_DATA, .flags = PDU_F_LAST},
			.cccid = r2t[i].r2t.cccid,
			.ttag = r2t[i].r2t.ttag,
			.datal = sizeof(mib)};

		tw_send_pdu(&io, &pdu.ch, mib, sizeof(mib));
		tw_recv(&io, &hdr, NULL, 0);
		assert_int_equal(hdr.resp.cqe.cid, pdu.cccid);
		assert_int_equal(hdr.resp.cqe.status >> 1,
				 pdu.cccid == 100 ? NVME_SC_ABORT_REQUESTED
						  : 0);
	}
}

/* --- ANA --- */

static struct tgt_subsys *ana_ss;

static void ana_create(void *arg)
{
	static const uint32_t groups[] = {0, 7, 7};
	struct tgt_subsys_opts opts = {.nqn = ANA_NQN, .ana_reporting = true};
	struct err err = {0};
	struct bdev *bdev;

	assert_int_equal(tgt_subsys_add(target.tgt, &opts, &ana_ss, &err), 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(groups); i++) {
		struct tgt_ns_opts no = {.anagrpid = groups[i]};

		assert_int_equal(bdev_null_create(8192, 0, &bdev, &err), 0);
		assert_int_equal(tgt_ns_add(ana_ss, bdev, &no, &err), i + 1);
	}
}

static void ana_change(void *arg)
{
	struct err err = {0};

	assert_int_equal(tgt_subsys_ana_set(ana_ss, &target.addr, 7,
					    TGT_ANA_INACCESSIBLE, &err),
			 0);
}

static void ana_page(struct t_wire *w, uint32_t lsp, uint32_t len)
{
	struct nvme_sqe sqe;

	nvme_cmd_get_log(&sqe, 0x0c, 0, len);
	sqe.cdw10 |= lsp << 8;
	assert_int_equal(tw_admin(w, &sqe, buf, len, NULL), 0);
}

static void ana_states_are_told(void **state)
{
	struct nvme_sqe sqe = {.opcode = NVME_ADM_AER, .flags = 0x40};
	struct t_wire w = {0};
	union pdu_hdr hdr;

	shard_call(&target.control, ana_create, NULL);
	tw_start(&w, &target.addr);
	assert_int_equal(tw_connect(&w, ANA_NQN, 0, 0xffff, NULL), 0);
	tw_enable(&w);
	tw_send_cmd(&w, &sqe, NULL, 0);
	nvme_cmd_set_feature(&sqe, 0x0b, 1u << 11);
	assert_int_equal(tw_admin(&w, &sqe, NULL, 0, NULL), 0);
	nvme_cmd_identify(&sqe, 0x01, 0);
	assert_int_equal(tw_admin(&w, &sqe, buf, 4096, NULL), 0);
	assert_int_equal(buf[76], 0xb);	      /* CMIC */
	assert_int_equal(buf[92 + 1] & 8, 8); /* OAES */
	assert_int_equal(buf[343], 0x57);     /* ANACAP */
	assert_int_equal(u32(344), TGT_NS_MAX);
	nvme_cmd_identify(&sqe, 0x00, 2);
	assert_int_equal(tw_admin(&w, &sqe, buf, 4096, NULL), 0);
	assert_int_equal(u32(92), 7); /* ANAGRPID */
	/* two groups: 1 with namespace 1, 7 with 2 and 3 */
	ana_page(&w, 0, 128);
	assert_int_equal(u32(8) & 0xffff, 2);
	assert_int_equal(u32(16), 1);
	assert_int_equal(u32(20), 1);
	assert_int_equal(buf[32], TGT_ANA_OPTIMIZED);
	assert_int_equal(u32(48), 1);
	assert_int_equal(u32(52), 7);
	assert_int_equal(u32(56), 2);
	assert_int_equal(u32(84), 2);
	assert_int_equal(u32(88), 3);
	shard_call(&target.control, ana_change, NULL);
	tw_recv(&w, &hdr, NULL, 0);
	assert_int_equal(hdr.resp.cqe.dw0, 0x000c0302);
	ana_page(&w, 1, 80); /* groups only */
	assert_int_equal(u32(0), 1);
	assert_int_equal(u32(48), 7);
	assert_int_equal(u32(52), 0);
	assert_int_equal(buf[64], TGT_ANA_INACCESSIBLE);
	tw_close(&w);
	/* where it is not reported there is no such page */
	assert_int_equal(SC(log_page(0x0c, 0, 64)), NVME_SC_BAD_LOG_PAGE);
}

/* --- the rest --- */

static void identify_by_command_set(void **state)
{
	static const struct {
		uint8_t cns;
		uint32_t nsid, cdw11;
		uint16_t sc;
	} cases[] = {
		{0x00, 1, 0, 0},
		{0x00, 0, 0, NVME_SC_BAD_NS},
		{0x00, UINT32_MAX, 0, 0},
		{0x01, 0, 0, 0},
		{0x02, UINT32_MAX, 0, NVME_SC_BAD_NS},
		{0x03, 1, 0, 0},
		{0x03, 3, 0, NVME_SC_BAD_NS},
		{0x04, 0, 0, NVME_SC_BAD_FIELD},
		{0x05, 1, 0, 0},
		{0x05, 1, 2u << 24, NVME_SC_BAD_FIELD},
		{0x06, 0, 0, 0},
		{0x06, 0, 1u << 24, NVME_SC_BAD_FIELD},
		{0x08, 1, 0, 0},
		{0x10, 0, 0, NVME_SC_BAD_FIELD},
		{0x11, 1, 0, NVME_SC_BAD_FIELD},
		{0x13, 0, 0, NVME_SC_BAD_FIELD},
		{0xff, 0, 0, NVME_SC_BAD_FIELD},
	};
	struct nvme_sqe sqe;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint16_t sc;

		nvme_cmd_identify(&sqe, cases[i].cns, cases[i].nsid);
		sqe.cdw11 = cases[i].cdw11;
		sc = SC(tw_admin(&admin, &sqe, buf, 4096, NULL));
		if (sc != cases[i].sc)
			fail_msg("case %zu: %#x", i, sc);
	}
}

static void queues_are_not_made_by_commands(void **state)
{
	static const uint8_t opcodes[] = {0x00, 0x01, 0x04, 0x05, 0x0d,
					  0x10, 0x11, 0x14, 0x80, 0x81,
					  0x82, 0x84, 0x86, 0xc0};

	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		struct nvme_sqe sqe = {.opcode = opcodes[i],
				       .flags = NVME_SQE_PSDT_SGL};

		assert_int_equal(tw_admin(&admin, &sqe, NULL, 0, NULL),
				 NVME_SC_BAD_OPCODE | NVME_SC_DNR);
	}
}

static void properties_have_sizes(void **state)
{
	static const struct {
		uint32_t off;
		bool is_64bit;
		uint16_t sc;
	} cases[] = {
		{0x00, true, 0},
		{0x00, false, NVME_SC_BAD_FIELD},
		{0x08, false, 0},
		{0x08, true, NVME_SC_BAD_FIELD},
		{0x14, false, 0},
		{0x1c, false, 0},
		{0x1c, true, NVME_SC_BAD_FIELD},
		{0x04, false, NVME_SC_BAD_FIELD},
		{0x20, false, NVME_SC_BAD_FIELD},
		{0x68, false, NVME_SC_BAD_FIELD},
		{0xfffffff0, true, NVME_SC_BAD_FIELD},
	};
	struct nvme_sqe sqe;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		nvme_cmd_prop_get(&sqe, cases[i].off, cases[i].is_64bit);
		assert_int_equal(SC(tw_admin(&admin, &sqe, NULL, 0, NULL)),
				 cases[i].sc);
	}
	nvme_cmd_prop_set(&sqe, NVME_PROP_CSTS, false, 1);
	assert_int_equal(SC(tw_admin(&admin, &sqe, NULL, 0, NULL)),
			 NVME_SC_BAD_FIELD);
	nvme_cmd_prop_set(&sqe, NVME_PROP_CC, true, 0x460001);
	assert_int_equal(SC(tw_admin(&admin, &sqe, NULL, 0, NULL)),
			 NVME_SC_BAD_FIELD);
}

/* CC.EN off and on: features as at the start, no event is answered. */
static void reset_forgets(void **state)
{
	struct nvme_sqe aer = {.opcode = NVME_ADM_AER, .flags = 0x40}, sqe;
	uint32_t value;

	assert_int_equal(set_feature((struct feature_args){1, 0, 7}, NULL), 0);
	for (int i = 0; i < 4; i++)
		tw_send_cmd(&admin, &aer, NULL, 0);
	nvme_cmd_prop_set(&sqe, NVME_PROP_CC, false, 0x460000);
	assert_int_equal(tw_admin(&admin, &sqe, NULL, 0, NULL), 0);
	tw_enable(&admin);
	assert_int_equal(get_feature((struct feature_args){1, 0, 0}, &value),
			 0);
	assert_int_equal(value, 0);
	/* there is room for four again */
	for (int i = 0; i < 4; i++)
		tw_send_cmd(&admin, &aer, NULL, 0);
	assert_int_equal(SC(tw_admin(&admin, &aer, NULL, 0, NULL)),
			 NVME_SC_AER_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_have_values),
		cmocka_unit_test(features_are_judged),
		cmocka_unit_test(host_id_is_that_of_connect),
		cmocka_unit_test(pages_have_their_length),
		cmocka_unit_test(errors_are_kept),
		cmocka_unit_test(smart_counts),
		cmocka_unit_test(events_are_aborted),
		cmocka_unit_test(waiting_writes_are_aborted),
		cmocka_unit_test(ana_states_are_told),
		cmocka_unit_test(identify_by_command_set),
		cmocka_unit_test(queues_are_not_made_by_commands),
		cmocka_unit_test(properties_have_sizes),
		cmocka_unit_test(reset_forgets),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
