/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mirror of tests/wire/malformed_test.c: each fatal error of the NVMe/TCP
 * specification that a header of a target can have, and the H2CTermReq (status
 * and information) with which the host must end the connection.  Headers that
 * lie about a command are in rx_test.c.
 */
#include "world.h"

#define LEN 4096u

static struct {
	uint8_t bytes[256];
	size_t n;
	bool instead_of_icresp;
} rude;

/* Sends the bytes for ICResp, or for the answer to the first I/O command. */
static bool be_rude(struct fake_conn *c, const union pdu_hdr *hdr,
		    const uint8_t *data, uint32_t len)
{
	bool is_moment = rude.instead_of_icresp ? hdr->ch.type == PDU_ICREQ
						: c->qid != 0;

	if (is_moment)
		fake_send_raw(c, rude.bytes, rude.n);
	return is_moment;
}

static int done;

static void io_done(struct nvmf_io *io)
{
	done++;
}

/* The host ends the connection; what the TermReq says is left in w.fake. */
static void provoke(void)
{
	static uint8_t buf[LEN];
	struct iovec iov = {buf, sizeof(buf)};
	struct nvmf_io io = {.done = io_done,
			     .op = NVMF_READ,
			     .nsid = 1,
			     .lba_bytes = FAKE_LBA,
			     .bytes = LEN,
			     .iov = &iov,
			     .iovcnt = 1};

	w.fake.hook = be_rude;
	done = 0;
	if (rude.instead_of_icresp) {
		world_ctrl_open();
		world_until(&w.ctrl_failed);
	} else {
		world_open();
		nvmf_io_submit(w.qp, &io);
		world_until(&w.qp_failed);
		assert_int_equal(done, 1);
	}
	world_run_ms(10);
}

static void judge(const char *what, int fes, uint32_t fei)
{
	if (w.fake.terms != 1 || w.fake.term_fes != fes ||
	    w.fake.term_fei != fei || w.err.code != -EPROTO)
		fail_msg("%s: %u TermReqs, FES %u, not %d, FEI %u, not %u: %s",
			 what, w.fake.terms, w.fake.term_fes, fes,
			 w.fake.term_fei, fei, w.err.text);
	if (w.fake.term_echo_len < sizeof(struct pdu_ch) ||
	    memcmp(w.fake.term_echo, rude.bytes, sizeof(struct pdu_ch)))
		fail_msg("%s: the TermReq echoes another header", what);
}

struct head_case {
	const char *what;
	uint8_t type, flags, hlen, pdo;
	uint32_t plen;
	uint8_t fes;
	uint32_t fei;
};

static void run_heads(const struct head_case *cases, size_t count, bool early)
{
	for (size_t i = 0; i < count; i++) {
		const struct head_case *k = &cases[i];
		struct pdu_ch ch = {k->type, k->flags, k->hlen, k->pdo,
				    k->plen};

		memset(&rude, 0, sizeof(rude));
		memcpy(rude.bytes, &ch, sizeof(ch));
		rude.n = sizeof(union pdu_hdr);
		rude.instead_of_icresp = early;
		provoke();
		judge(k->what, k->fes, k->fei);
		world_reset();
	}
}

static void test_types(void **state)
{
	static const struct head_case cases[] = {
		{"ICReq", PDU_ICREQ, 0, 128, 0, 128, 1, 0},
		{"ICResp again", PDU_ICRESP, 0, 128, 0, 128, 2, 0},
		{"H2CTermReq", PDU_H2C_TERM, 0, 24, 0, 24, 1, 0},
		{"CapsuleCmd", PDU_CAPSULE_CMD, 0, 72, 0, 72, 1, 0},
		{"H2CData", PDU_H2C_DATA, 4, 24, 24, 28, 1, 0},
		{"08h", 0x08, 0, 24, 0, 24, 1, 0},
		{"0ah", 0x0a, 0, 24, 0, 24, 1, 0},
		{"ffh", 0xff, 0, 24, 0, 24, 1, 0},
	};

	run_heads(cases, ARRAY_SIZE(cases), false);
}

static void test_too_early(void **state)
{
	static const struct head_case cases[] = {
		{"response", PDU_CAPSULE_RESP, 0, 24, 0, 24, 2, 0},
		{"data", PDU_C2H_DATA, 4, 24, 24, 28, 2, 0},
		{"R2T", PDU_R2T, 0, 24, 0, 24, 2, 0},
		{"ICReq", PDU_ICREQ, 0, 128, 0, 128, 1, 0},
		{"hlen", PDU_ICRESP, 0, 127, 0, 128, 1, 2},
		{"plen short", PDU_ICRESP, 0, 128, 0, 127, 1, 4},
		{"plen long", PDU_ICRESP, 0, 128, 0, 129, 1, 4},
		{"flags", PDU_ICRESP, 3, 128, 0, 128, 1, 1},
	};

	run_heads(cases, ARRAY_SIZE(cases), true);
}

static void test_lengths(void **state)
{
	static const struct head_case cases[] = {
		{"response hlen 0", PDU_CAPSULE_RESP, 0, 0, 0, 24, 1, 2},
		{"response hlen 23", PDU_CAPSULE_RESP, 0, 23, 0, 24, 1, 2},
		{"response hlen 25", PDU_CAPSULE_RESP, 0, 25, 0, 24, 1, 2},
		{"response plen 0", PDU_CAPSULE_RESP, 0, 24, 0, 0, 1, 4},
		{"response plen 23", PDU_CAPSULE_RESP, 0, 24, 0, 23, 1, 4},
		{"response plen 25", PDU_CAPSULE_RESP, 0, 24, 0, 25, 1, 4},
		{"response plen max", PDU_CAPSULE_RESP, 0, 24, 0, UINT32_MAX, 1,
		 4},
		{"R2T hlen", PDU_R2T, 0, 20, 0, 24, 1, 2},
		{"R2T plen", PDU_R2T, 0, 24, 0, 28, 1, 4},
		{"data hlen", PDU_C2H_DATA, 4, 72, 24, 4120, 1, 2},
		{"data plen of the header", PDU_C2H_DATA, 4, 24, 24, 24, 1, 4},
		{"data plen in the header", PDU_C2H_DATA, 4, 24, 24, 20, 1, 3},
		{"data plen max", PDU_C2H_DATA, 4, 24, 24, UINT32_MAX, 1, 4},
		{"data pdo 0", PDU_C2H_DATA, 4, 24, 0, 4120, 1, 3},
		{"data pdo in the header", PDU_C2H_DATA, 4, 24, 20, 4120, 1, 3},
		{"data pdo unaligned", PDU_C2H_DATA, 4, 24, 26, 4122, 1, 3},
		{"data pdo behind plen", PDU_C2H_DATA, 4, 24, 28, 24, 1, 3},
		{"TermReq hlen", PDU_C2H_TERM, 0, 23, 0, 24, 1, 2},
		{"TermReq short", PDU_C2H_TERM, 0, 24, 0, 23, 1, 4},
		{"TermReq long", PDU_C2H_TERM, 0, 24, 0, 153, 1, 4},
	};

	run_heads(cases, ARRAY_SIZE(cases), false);
}

static void test_flags(void **state)
{
	static const struct head_case cases[] = {
		{"response", PDU_CAPSULE_RESP, 1, 24, 0, 28, 1, 1},
		{"R2T", PDU_R2T, 1, 24, 0, 28, 1, 1},
		{"header digest", PDU_C2H_DATA, 5, 24, 28, 4124, 1, 1},
		{"data digest", PDU_C2H_DATA, 6, 24, 24, 4124, 1, 1},
		{"SUCCESS, not LAST", PDU_C2H_DATA, 8, 24, 24, 4120, 1, 1},
	};

	run_heads(cases, ARRAY_SIZE(cases), false);
}

/* Digests were agreed on, and are missing. */
static void test_no_digests(void **state)
{
	static const struct head_case cases[] = {
		{"response", PDU_CAPSULE_RESP, 0, 24, 0, 24, 1, 1},
		{"R2T", PDU_R2T, 0, 24, 0, 24, 1, 1},
		{"data, no HDGST", PDU_C2H_DATA, 6, 24, 24, 4124, 1, 1},
		{"data, no DDGST", PDU_C2H_DATA, 5, 24, 28, 4124, 1, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		w.opts.hdgst = w.opts.ddgst = true;
		run_heads(&cases[i], 1, false);
	}
}

static void test_wrong_header_digest(void **state)
{
	struct pdu_resp resp = {.ch = {PDU_CAPSULE_RESP, 1, 24, 0, 28}};
	uint32_t wrong = ~crc32c(0, &resp, sizeof(resp));

	memset(&rude, 0, sizeof(rude));
	memcpy(rude.bytes, &resp, sizeof(resp));
	memcpy(rude.bytes + sizeof(resp), &wrong, sizeof(wrong));
	rude.n = sizeof(resp) + sizeof(wrong);
	w.opts.hdgst = true;
	provoke();
	judge("header digest", PDU_FES_HDGST, wrong);
}

static void test_icresp_fields(void **state)
{
	static const struct {
		const char *what;
		uint16_t pfv;
		uint8_t cpda, dgst;
		uint32_t maxh2c;
		uint8_t fes;
		uint32_t fei;
	} cases[] = {
		{"PFV", 1, 0, 0, 131072, PDU_FES_UNSUPPORTED, 8},
		{"CPDA", 0, 32, 0, 131072, PDU_FES_HEADER_FIELD, 10},
		{"DGST not asked for", 0, 0, 1, 131072, PDU_FES_HEADER_FIELD,
		 11},
		{"DGST reserved", 0, 0, 4, 131072, PDU_FES_HEADER_FIELD, 11},
		{"MAXH2CDATA 0", 0, 0, 0, 0, PDU_FES_HEADER_FIELD, 12},
		{"MAXH2CDATA 4092", 0, 0, 0, 4092, PDU_FES_HEADER_FIELD, 12},
		{"MAXH2CDATA 4098", 0, 0, 0, 4098, PDU_FES_HEADER_FIELD, 12},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pdu_ic ic;

		pdu_icresp(&ic, 0, 0, 131072);
		ic.pfv = cases[i].pfv;
		ic.pda = cases[i].cpda;
		ic.dgst = cases[i].dgst;
		ic.max = cases[i].maxh2c;
		memset(&rude, 0, sizeof(rude));
		memcpy(rude.bytes, &ic, sizeof(ic));
		rude.n = sizeof(ic);
		rude.instead_of_icresp = true;
		provoke();
		judge(cases[i].what, cases[i].fes, cases[i].fei);
		world_reset();
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_types),	       T(test_too_early),
		T(test_lengths),       T(test_flags),
		T(test_no_digests),    T(test_wrong_header_digest),
		T(test_icresp_fields),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
