/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PDUs that a target must not send, in answer to a read or a write of 8 KiB
 * (headers that are wrong in themselves: malformed_test.c):
 * each is met with the right TermReq, and the command is done once.
 */
#include "world.h"

#define BYTES 8192

enum victim {
	ON_READ,
	ON_WRITE
};

static const struct rude {
	const char *what;
	enum victim victim;
	/* sent in this order; cid is filled in where it says CID */
	union pdu_hdr pdus[5];
	unsigned count;
	int fes;
	uint32_t fei;
} * rude;

#define CID 0xabcd
#define C2H(f, off, len)                                                       \
	{                                                                      \
		.data = {                                                      \
			.ch = {PDU_C2H_DATA, f, 24, 24, 24 + (len)},           \
			.cccid = CID,                                          \
			.datao = off,                                          \
			.datal = len,                                          \
		}                                                              \
	}
#define R2T(off, len)                                                          \
	{                                                                      \
		.r2t = {.ch = {PDU_R2T, 0, 24, 0, 24},                         \
			.cccid = CID,                                          \
			.r2to = off,                                           \
			.r2tl = len,                                           \
		}                                                              \
	}
#define RESP                                                                   \
	{                                                                      \
		.resp = {                                                      \
			.ch = {PDU_CAPSULE_RESP, 0, 24, 0, 24},                \
			.cqe.cid = CID,                                        \
		}                                                              \
	}
#define RAW(...)                                                               \
	{                                                                      \
		.ch = { __VA_ARGS__ }                                          \
	}

static const struct rude table[] = {
	{"unknown cid",
	 ON_READ,
	 {{.resp = {.ch = {5, 0, 24, 0, 24}, .cqe.cid = 0xfffe}}},
	 1,
	 1,
	 20},
	{"data for an unknown cid",
	 ON_READ,
	 {{.data = {.ch = {7, 4, 24, 24, 536}, .cccid = 77, .datal = 512}}},
	 1,
	 1,
	 8},
	{"datal is not plen",
	 ON_READ,
	 {{.data = {.ch = {7, 4, 24, 24, 536}, .cccid = CID, .datal = 1024}}},
	 1,
	 1,
	 16},
	{"data too long", ON_READ, {C2H(PDU_F_LAST, 0, BYTES + 4)}, 1, 4, 16},
	{"data behind the end",
	 ON_READ,
	 {C2H(PDU_F_LAST, BYTES, 512)},
	 1,
	 4,
	 12},
	{"data not from 0", ON_READ, {C2H(PDU_F_LAST, 512, 512)}, 1, 4, 12},
	{"data with a gap",
	 ON_READ,
	 {C2H(0, 0, 512), C2H(4, 1024, 512)},
	 2,
	 4,
	 12},
	{"data twice", ON_READ, {C2H(0, 0, 512), C2H(4, 0, 512)}, 2, 4, 12},
	{"data after LAST",
	 ON_READ,
	 {C2H(PDU_F_LAST, 0, 512), C2H(PDU_F_LAST, 512, 512)},
	 2,
	 2},
	{"response twice", ON_READ, {C2H(4, 0, BYTES), RESP, RESP}, 3, 1, 20},
	{"response after SUCCESS",
	 ON_READ,
	 {C2H(12, 0, BYTES), RESP},
	 2,
	 1,
	 20},
	{"R2T for a read", ON_READ, {R2T(0, BYTES)}, 1, 1, 8},
	{"data for a write", ON_WRITE, {C2H(4, 0, 512)}, 1, 1, 8},
	{"R2T too long", ON_WRITE, {R2T(0, BYTES + 1)}, 1, 4, 16},
	{"R2T of nothing", ON_WRITE, {R2T(0, 0)}, 1, 4, 16},
	{"R2T not of dwords", ON_WRITE, {R2T(4098, 4094)}, 1, 1, 12},
	{"R2T behind the end", ON_WRITE, {R2T(BYTES, 4)}, 1, 4, 12},
	{"R2T twice", ON_WRITE, {R2T(0, 4096), R2T(2048, 4096)}, 2, 4, 12},
	{"R2T overflow", ON_WRITE, {R2T(0xfffff000, 0x2000)}, 1, 4, 12},
	{"success before the data", ON_WRITE, {R2T(0, BYTES), RESP}, 2, 2},
	{"five R2Ts at a time",
	 ON_WRITE,
	 {R2T(0, 4), R2T(8, 4), R2T(16, 4), R2T(24, 4), R2T(32, 4)},
	 5,
	 5},
};

static bool answer_rudely(struct fake_conn *c, const union pdu_hdr *hdr,
			  const uint8_t *data, uint32_t len)
{
	static const uint8_t zeros[BYTES + 64];
	struct strbuf all = {0};

	if (!c->qid || hdr->ch.type != PDU_CAPSULE_CMD)
		return c->qid != 0;
	for (unsigned i = 0; i < rude->count; i++) {
		union pdu_hdr pdu = rude->pdus[i];
		size_t n = MAX(pdu_hlen(pdu.ch.type), (uint8_t)24);

		if (pdu.ch.type == PDU_CAPSULE_RESP && pdu.resp.cqe.cid == CID)
			pdu.resp.cqe.cid = hdr->cmd.sqe.cid;
		else if (pdu.data.cccid == CID)
			pdu.data.cccid = hdr->cmd.sqe.cid;
		strbuf_add(&all, &pdu, n);
		if (pdu.ch.type == PDU_C2H_DATA)
			strbuf_add(&all, zeros,
				   MIN(pdu.data.datal, (uint32_t)BYTES));
	}
	fake_send_raw(c, all.p, all.n);
	strbuf_fini(&all);
	return true;
}

static int done;

static void io_done(struct nvmf_io *io)
{
	done++;
}

static void test_rude(void **state)
{
	static uint8_t buf[BYTES];
	struct iovec iov = {buf, sizeof(buf)};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct nvmf_io io = {.done = io_done,
				     .nsid = 1,
				     .lba_bytes = FAKE_LBA,
				     .bytes = BYTES,
				     .iov = &iov,
				     .iovcnt = 1};

		rude = &table[i];
		io.op = rude->victim == ON_READ ? NVMF_READ : NVMF_WRITE;
		world_open();
		w.fake.hook = answer_rudely;
		done = 0;
		nvmf_io_submit(w.qp, &io);
		world_until(&w.qp_failed);
		world_run_ms(10);
		if (done != 1 || w.fake.terms != 1 ||
		    w.fake.term_fes != rude->fes ||
		    w.fake.term_fei != rude->fei || w.err.code != -EPROTO)
			fail_msg("%s: done %d, %u TermReqs, fes %u fei %u, %s",
				 rude->what, done, w.fake.terms,
				 w.fake.term_fes, w.fake.term_fei, w.err.text);
		world_reset();
	}
}

/* A second answer to a command whose slot is in use again. */
static uint16_t old_cid;

static bool answer_old(struct fake_conn *c, const union pdu_hdr *hdr,
		       const uint8_t *data, uint32_t len)
{
	if (!c->qid || hdr->ch.type != PDU_CAPSULE_CMD)
		return false;
	if (done == 0)
		old_cid = hdr->cmd.sqe.cid;
	fake_resp(c, old_cid, NVME_SC_OK, 0);
	return true;
}

static void test_stale_cid(void **state)
{
	struct nvmf_io io = {.done = io_done, .op = NVMF_FLUSH, .nsid = 1};

	w.opts.io_depth = 2; /* one slot */
	world_open();
	w.fake.hook = answer_old;
	done = 0;
	nvmf_io_submit(w.qp, &io);
	world_until(&done);
	assert_int_equal(io.sc, NVME_SC_OK);
	nvmf_io_submit(w.qp, &io);
	world_until(&w.qp_failed);
	world_run_ms(10);
	assert_int_equal(done, 2);
	assert_int_equal(io.sc, NVME_SC_HOST_PATH_ERROR);
	assert_int_equal(w.fake.term_fes, PDU_FES_HEADER_FIELD);
}

/* --- data that are asked for late --- */

static struct fake_conn *asker;
static uint16_t asked_cid;
static unsigned data_pdus;

static bool keep_waiting(struct fake_conn *c, const union pdu_hdr *hdr,
			 const uint8_t *data, uint32_t len)
{
	if (!c->qid)
		return false;
	if (hdr->ch.type == PDU_CAPSULE_CMD) {
		asker = c;
		asked_cid = hdr->cmd.sqe.cid;
	}
	data_pdus += hdr->ch.type == PDU_H2C_DATA;
	return true;
}

/* Asked for after 100 ms, and with is_answered refused in the same breath. */
static void write_asked_late(uint64_t deadline_ms, bool is_answered)
{
	static uint8_t buf[BYTES];
	struct iovec iov = {buf, BYTES};
	union pdu_hdr ask = R2T(0, BYTES), refusal = RESP;
	struct strbuf all = {0};
	struct nvmf_io io = {.done = io_done,
			     .op = NVMF_WRITE,
			     .nsid = 1,
			     .lba_bytes = FAKE_LBA,
			     .bytes = BYTES,
			     .iov = &iov,
			     .iovcnt = 1};

	world_open();
	w.fake.hook = keep_waiting;
	if (deadline_ms)
		io.deadline_ns = io_sim_now_ns(w.sim) + deadline_ms * NS_PER_MS;
	asker = NULL;
	data_pdus = 0;
	done = 0;
	nvmf_io_submit(w.qp, &io);
	world_run_ms(100);
	assert_non_null(asker);
	ask.r2t.cccid = asked_cid;
	refusal.resp.cqe.cid = asked_cid;
	refusal.resp.cqe.status = NVME_SC_INTERNAL << 1;
	strbuf_add(&all, &ask, sizeof(ask.r2t));
	if (is_answered)
		strbuf_add(&all, &refusal, sizeof(refusal.resp));
	fake_send_raw(asker, all.p, all.n);
	strbuf_fini(&all);
	world_run_ms(100);
	assert_int_equal(data_pdus, deadline_ms == 50 ? 0 : 1);
	assert_int_equal(done, is_answered);
	world_until(&done); /* by the command's own deadline */
	if (is_answered)
		assert_int_equal(io.sc, NVME_SC_INTERNAL);
	else
		assert_int_not_equal(io.sc, NVME_SC_OK);
	world_reset();
}

/* Whose time is over sends no more data, whoever asks: where they would be
 * written may belong to somebody else by now. */
static void test_no_data_after_the_deadline(void **state)
{
	write_asked_late(0, false);
	write_asked_late(5000, false);
	write_asked_late(50, false);
}

/* Nor does it wait for them: what was answered is over. */
static void test_answered_after_the_deadline(void **state)
{
	write_asked_late(5000, true);
	write_asked_late(50, true);
}

/* --- ICResp --- */

static struct pdu_ic icresp;

static bool greet_rudely(struct fake_conn *c, const union pdu_hdr *hdr,
			 const uint8_t *data, uint32_t len)
{
	if (hdr->ch.type == PDU_ICREQ)
		fake_send_raw(c, &icresp, sizeof(icresp));
	return true;
}

static void test_icresp(void **state)
{
	/* Digests were asked for and are not done: a sentence, no TermReq. */
	pdu_icresp(&icresp, 0, 0, 131072);
	w.opts.hdgst = true;
	w.fake.hook = greet_rudely;
	world_ctrl_open();
	world_until(&w.ctrl_failed);
	assert_non_null(strstr(w.err.text, "digests"));
}

static bool say_goodbye(struct fake_conn *c, const union pdu_hdr *hdr,
			const uint8_t *data, uint32_t len)
{
	uint8_t term[PDU_TERM_MAX];
	size_t n = pdu_termreq(term, true, PDU_FES_DATA_RANGE, 0, hdr, 72);

	if (hdr->ch.type != PDU_CAPSULE_CMD)
		return false;
	/* A reserved bit there: a TermReq never has a digest. */
	term[offsetof(struct pdu_ch, flags)] = PDU_F_HDGST;
	fake_send_raw(c, term, n);
	return true;
}

static void test_c2h_term(void **state)
{
	w.fake.hook = say_goodbye;
	world_ctrl_open();
	world_until(&w.ctrl_failed);
	assert_non_null(strstr(w.err.text, "data transfer out of range"));
	assert_int_equal(w.err.code, -ECONNRESET);
}

/* --- a server that speaks first, of another protocol --- */

#define BANNER_PORT 2222

static struct stream banner;

static void banner_sent(struct stream *s, int res)
{
}

static void banner_accept(struct listener *l, int fd, const struct addr *peer)
{
	static char text[] = "SSH-2.0-OpenSSH_9.2";
	struct iovec iov = {text, sizeof(text)};

	stream_init(&banner, w.loop, NULL);
	stream_attach(&banner, fd);
	stream_send(&banner, &iov, 1, banner_sent);
}

/* It may come while ICReq is still being sent, here in pieces. */
static void test_banner(void **state)
{
	struct listener listener;
	struct err err = {0};

	for (unsigned i = 0; i < 20; i++) {
		io_sim_set_faults(w.sim, &(struct io_sim_faults){
						 .latency_min_ns = NS_PER_MS,
						 .max_segment = 8});
		addr_set_port(&w.opts.addr, BANNER_PORT);
		assert_int_equal(listener_open(&listener, w.loop, &w.opts.addr,
					       banner_accept, NULL, &err),
				 0);
		world_ctrl_open();
		world_until(&w.ctrl_failed);
		assert_int_equal(w.err.code, -EPROTO);
		stream_close(&banner, NULL);
		listener_close(&listener, NULL);
		world_run_ms(10);
		/* Another sequence of pieces. */
		world_teardown(NULL);
		world_setup_seed(i + 2);
	}
}

/* --- digests --- */

static bool is_header_hit;

static bool flip_bit(struct fake_conn *c, const union pdu_hdr *hdr,
		     const uint8_t *data, uint32_t len)
{
	static const uint8_t bytes[BYTES];
	union pdu_hdr pdu = {0};
	uint8_t raw[32 + BYTES];
	size_t head;
	uint32_t crc;

	if (!c->qid || hdr->ch.type != PDU_CAPSULE_CMD)
		return false;
	pdu.data = (struct pdu_data){.ch = {PDU_C2H_DATA, PDU_F_LAST},
				     .cccid = hdr->cmd.sqe.cid,
				     .datal = BYTES};
	head = pdu_finish(&pdu.ch, BYTES, true, true, 0);
	memcpy(raw, &pdu, 24);
	crc = crc32c(0, raw, 24);
	memcpy(raw + 24, &crc, 4);
	memcpy(raw + head, bytes, BYTES);
	raw[is_header_hit ? 12 : head + 100] ^= 1;
	fake_send_raw(c, raw, head + BYTES);
	crc = crc32c(0, bytes, BYTES);
	fake_send_raw(c, &crc, 4);
	return true;
}

static void test_digests(void **state)
{
	static uint8_t buf[BYTES];
	struct iovec iov = {buf, sizeof(buf)};
	struct nvmf_stats before, after;

	for (int i = 0; i < 2; i++) {
		struct nvmf_io io = {.done = io_done,
				     .op = NVMF_READ,
				     .nsid = 1,
				     .lba_bytes = FAKE_LBA,
				     .bytes = BYTES,
				     .iov = &iov,
				     .iovcnt = 1};

		is_header_hit = i;
		w.opts.hdgst = w.opts.ddgst = true;
		world_open();
		w.fake.hook = flip_bit;
		nvmf_stats_get(&before);
		nvmf_io_submit(w.qp, &io);
		world_until(&w.qp_failed);
		world_run_ms(10);
		nvmf_stats_get(&after);
		assert_int_equal(after.digest_errors, before.digest_errors + 1);
		assert_int_not_equal(io.sc, NVME_SC_OK);
		assert_int_equal(w.fake.terms, is_header_hit);
		assert_true(!is_header_hit || w.fake.term_fes == PDU_FES_HDGST);
		world_reset();
	}
}

/* Says "done" after half of the data: an error, not stale bytes. */
static uint16_t half_sc;

static bool half_read(struct fake_conn *c, const union pdu_hdr *hdr,
		      const uint8_t *data, uint32_t len)
{
	static const char zeros[BYTES / 2];

	if (!c->qid || hdr->ch.type != PDU_CAPSULE_CMD)
		return false;
	if (hdr->cmd.sqe.opcode == NVME_CMD_READ)
		fake_c2h(c, hdr->cmd.sqe.cid, 0, PDU_F_LAST,
			 (struct str){zeros, sizeof(zeros)});
	fake_resp(c, hdr->cmd.sqe.cid, half_sc, 0);
	return true;
}

static void test_half_done(void **state)
{
	static uint8_t buf[BYTES];
	struct iovec iov = {buf, sizeof(buf)};

	world_open();
	w.fake.hook = half_read;
	for (int i = 0; i < 4; i++) {
		struct nvmf_io io = {.done = io_done,
				     .op = i % 2 ? NVMF_READ : NVMF_WRITE,
				     .nsid = 1,
				     .lba_bytes = FAKE_LBA,
				     .bytes = BYTES,
				     .iov = &iov,
				     .iovcnt = 1};

		/* "Do not retry" beside success is success all the same. */
		half_sc = i < 2 ? NVME_SC_OK : NVME_SC_DNR;
		done = 0;
		nvmf_io_submit(w.qp, &io);
		world_until(&done);
		assert_int_equal(io.sc, NVME_SC_DATA_XFER_ERROR);
	}
	assert_int_equal(w.qp_failed, 0);
}

#define TEST(fn)                                                               \
	cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rude),
		TEST(test_stale_cid),
		TEST(test_icresp),
		TEST(test_c2h_term),
		TEST(test_banner),
		TEST(test_digests),
		TEST(test_half_done),
		TEST(test_no_data_after_the_deadline),
		TEST(test_answered_after_the_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
