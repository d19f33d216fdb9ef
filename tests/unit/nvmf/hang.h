/* SPDX-License-Identifier: Apache-2.0 */
/* I/O to a target that leaves some commands unanswered. */
#ifndef TESTS_UNIT_NVMF_HANG_H
#define TESTS_UNIT_NVMF_HANG_H

#include "world.h"

#define BYTES 4096u

struct test_io {
	struct nvmf_io io;
	struct iovec iov;
	uint8_t buf[BYTES];
	int done;
};

static struct test_io ios[80];

static inline void io_done(struct nvmf_io *io)
{
	container_of(io, struct test_io, io)->done++;
}

static inline struct test_io *submit(unsigned i, enum nvmf_io_op op,
				     uint32_t bytes)
{
	struct test_io *t = &ios[i];

	memset(t, 0, sizeof(*t));
	t->iov = (struct iovec){t->buf, bytes};
	t->io = (struct nvmf_io){.done = io_done,
				 .op = op,
				 .nsid = 1,
				 .lba_bytes = FAKE_LBA,
				 .bytes = bytes,
				 .iov = &t->iov,
				 .iovcnt = 1};
	nvmf_io_submit(w.qp, &t->io);
	return t;
}

static inline void open_with_ctrl(void)
{
	struct nvmf_qp_opts opts = {.qid = 1, .opts = &w.opts};

	world_ctrl_open();
	world_until(&w.ctrl_live);
	opts.info = *nvmf_ctrl_info(w.ctrl);
	opts.ctrl = w.ctrl;
	assert_int_equal(
		nvmf_qp_open(w.loop, &opts, world_qp_state, NULL, &w.qp), 0);
	world_until(&w.qp_live);
}

static inline uint64_t now_ms(void)
{
	return io_sim_now_ns(w.sim) / NS_PER_MS;
}

/* --- commands that hang --- */

static struct {
	struct fake_conn *io_conn;
	uint16_t cids[64];
	unsigned cid_count, hang_max; /* so many I/O commands hang */
	unsigned aborts, aborts_now, aborts_most;
	uint16_t sqid, late_sc;
	bool is_deaf; /* Abort is answered, nothing else happens */
	bool is_slow; /* Abort is answered later */
	uint16_t abort_cids[16];
} h;

static inline bool has_hung(uint16_t cid)
{
	for (unsigned i = 0; i < h.cid_count; i++)
		if (h.cids[i] == cid)
			return true;
	return false;
}

static inline bool hang(struct fake_conn *c, const union pdu_hdr *hdr,
			const uint8_t *data, uint32_t len)
{
	const struct nvme_sqe *sqe = &hdr->cmd.sqe;

	if (hdr->ch.type != PDU_CAPSULE_CMD)
		return false;
	if (c->qid) {
		if (h.cid_count >= h.hang_max)
			return false;
		h.io_conn = c;
		h.cids[h.cid_count++] = sqe->cid;
		return true;
	}
	if (sqe->opcode != NVME_ADM_ABORT)
		return false;
	h.abort_cids[h.aborts % 16] = sqe->cid;
	h.aborts++;
	h.aborts_now++;
	h.aborts_most = MAX(h.aborts_most, h.aborts_now);
	h.sqid = (uint16_t)sqe->cdw10;
	if (h.is_slow)
		return true;
	h.aborts_now--;
	fake_resp(c, sqe->cid, NVME_SC_OK, h.is_deaf);
	if (!h.is_deaf && has_hung((uint16_t)(sqe->cdw10 >> 16)))
		fake_resp(h.io_conn, (uint16_t)(sqe->cdw10 >> 16), h.late_sc,
			  0);
	return true;
}

static inline void start_hang(unsigned max)
{
	memset(&h, 0, sizeof(h));
	h.hang_max = max;
	h.late_sc = NVME_SC_ABORT_REQUESTED;
	w.fake.hook = hang;
}

#endif
