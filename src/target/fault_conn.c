/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault rules on a connection: asked when a command has come, carried out where
 * its bytes meet the medium, where its answer is queued and where its PDUs are
 * built.  Shard's thread.  Invariant: a command that is held up counts as busy,
 * and neither it nor a stall outlives the connection.
 */
#include <string.h>

#include "base/crc.h"
#include "base/log.h"
#include "base/time.h"
#include "target/conn.h"

#define SLICE_NS      (10 * NS_PER_MS) /* how soon a cleared rule lets go */
#define BAD_CID	      0x8000u
#define BAD_OFFSET(n) ALIGN_UP(n, 4096u)

static bool has(const struct tgt_req *req, enum fault_kind kind)
{
	return req->fault.acts & FAULT_BIT(kind);
}

/* --- when a command has come --- */

static uint32_t op_of(const struct tgt_req *req)
{
	if (req->conn->qid == 0)
		return FAULT_OP_ADMIN;
	switch (req->sqe.opcode) {
	case NVME_CMD_READ:
		return FAULT_OP_READ;
	case NVME_CMD_WRITE:
		return FAULT_OP_WRITE;
	case NVME_CMD_FLUSH:
		return FAULT_OP_FLUSH;
	default:
		return FAULT_OP_OTHER;
	}
}

static void disconnect(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;

	if (req->fault.is_rst)
		io_set_sockopts(conn->shard->loop, conn->s.fd,
				&(struct io_sockopts){.is_reset = true});
	conn_close(conn, "fault");
}

static void stall_over(struct tgt_conn *conn)
{
	conn->stall_sides = 0;
	conn_rx_go(conn);
	if (conn->state != CONN_CLOSED)
		conn_tx_kick(conn);
}

static void on_stall(struct timer *timer)
{
	struct tgt_conn *conn =
		container_of(timer, struct tgt_conn, stall_timer);
	struct loop *loop = conn->shard->loop;
	uint64_t now_ns = loop_now_ns(loop);

	if (now_ns < conn->stall_end_ns &&
	    fault_is_set(&conn->tgt->faults, conn->stall_id, now_ns))
		timer_set(loop, timer,
			  MIN(SLICE_NS, conn->stall_end_ns - now_ns));
	else
		stall_over(conn);
}

static void stall(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;
	uint64_t now_ns = loop_now_ns(conn->shard->loop);

	conn->stall_sides = req->fault.sides;
	conn->stall_id = req->fault.stall_id;
	conn->stall_end_ns =
		req->fault.stall_ns ? now_ns + req->fault.stall_ns : UINT64_MAX;
	conn->stall_timer.fire = on_stall;
	timer_set(conn->shard->loop, &conn->stall_timer, 1);
}

/* What acts at once; true: nothing is left to be done with the command. */
static bool act(struct tgt_req *req, enum fault_kind answer)
{
	if (has(req, FAULT_STALL))
		stall(req);
	if (has(req, FAULT_DISCONNECT) ||
	    (has(req, FAULT_REFUSE) && req->fault.is_rst)) {
		disconnect(req);
		return true;
	}
	if (!has(req, answer))
		return false;
	req_complete(req, req->fault.sc);
	return true;
}

bool fault_command(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;
	const struct nvme_sqe *sqe = &req->sqe;
	struct fault_look look = {
		.op = op_of(req),
		.nsid = sqe->nsid,
		.qid = conn->qid,
		.hdgst = conn->hdgst,
		.ddgst = conn->ddgst,
		.now_ns = loop_now_ns(conn->shard->loop),
	};

	if (conn->state != CONN_LIVE || sqe->opcode == NVME_OP_FABRICS)
		return false;
	look.nqn = conn->ctrl->ss->nqn;
	look.host = conn->ctrl->hostnqn;
	if (look.op & (FAULT_OP_READ | FAULT_OP_WRITE)) {
		look.slba = sqe->cdw10 | (uint64_t)sqe->cdw11 << 32;
		look.blocks = (sqe->cdw12 & 0xffff) + 1;
		look.bytes = sqe->sgl.len;
	}
	fault_look(&conn->tgt->faults, &look, &req->fault);
	return req->fault.acts && act(req, FAULT_ERROR);
}

bool fault_connect(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;
	struct fault_look look = {
		.op = FAULT_OP_CONNECT,
		.nqn = conn->cdata.subnqn,
		.host = conn->cdata.hostnqn,
		.qid = (uint16_t)(req->sqe.cdw10 >> 16),
		.hdgst = conn->hdgst,
		.now_ns = loop_now_ns(conn->shard->loop),
	};

	fault_look(&conn->tgt->faults, &look, &req->fault);
	return req->fault.acts && act(req, FAULT_REFUSE);
}

/* --- on the way to the medium and back --- */

static void flip(struct tgt_req *req)
{
	uint64_t bit = req->fault.random % ((uint64_t)req->len * 8);

	req->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static void on_bdev_done(struct bdev_io *io)
{
	struct tgt_req *req = container_of(io, struct tgt_req, io);

	if (has(req, FAULT_CORRUPT) && io->op == BDEV_READ && io->ret == 0)
		flip(req);
	req->fault.bdev_done(io);
}

static void on_torn_away(struct loop_task *task)
{
	struct bdev_io *io = container_of(task, struct bdev_io, task);

	io->ret = 0;
	io->done(io);
}

static uint64_t elsewhere(const struct bdev *bdev, const struct tgt_req *req)
{
	uint64_t room = bdev->size - req->len, shift, off;

	if (mul_overflows(req->fault.shift, (uint64_t)bdev->block, &shift) ||
	    add_overflows(req->off, shift, &off) || off > room)
		off = req->off >= shift ? req->off - shift : 0;
	if (off != req->off)
		return off;
	return off ? 0 : room;
}

void fault_submit(struct bdev *bdev, struct tgt_req *req)
{
	struct loop *loop = req->conn->shard->loop;
	struct bdev_io *io = &req->io;
	bool is_first = io->op == BDEV_WRITE;
	uint64_t keep;

	req->fault.bdev_done = io->done;
	io->done = on_bdev_done;
	if (is_first && has(req, FAULT_CORRUPT))
		flip(req);
	if (is_first && has(req, FAULT_MISDIRECT))
		io->off = elsewhere(bdev, req);
	if (is_first && has(req, FAULT_TORN)) {
		if (mul_overflows(req->fault.blocks, (uint64_t)bdev->block,
				  &keep))
			keep = UINT64_MAX;
		io->bytes = MIN(keep, io->bytes);
		req->iov.iov_len = io->bytes;
		if (!io->bytes) {
			io->task = (struct loop_task){.run = on_torn_away};
			loop_defer(loop, &io->task);
			return;
		}
	}
	bdev->ops->submit(bdev, loop, io);
}

/* --- where the answer is queued --- */

static void release(struct tgt_req *req)
{
	ASSERT(req->fault.is_held && req->conn->busy_count);
	req->fault.is_held = false;
	req->fault.acts &= ~FAULT_HOLD;
	req->conn->busy_count--;
	req->state = REQ_SENDING;
	req->is_final = true;
}

static void on_hold(struct timer *timer)
{
	struct tgt_req *req = container_of(timer, struct tgt_req, hold);
	struct tgt_conn *conn = req->conn;
	struct loop *loop = conn->shard->loop;
	uint64_t now_ns = loop_now_ns(loop);

	if (now_ns < req->fault.until_ns && conn->state != CONN_DRAIN &&
	    fault_is_set(&conn->tgt->faults, req->fault.hold_id, now_ns)) {
		timer_set(loop, timer,
			  MIN(SLICE_NS, req->fault.until_ns - now_ns));
		return;
	}
	release(req);
	tx_queue(req, req->fault.want);
	conn_check(conn);
}

bool fault_answer(struct tgt_req *req, uint8_t want)
{
	struct tgt_conn *conn = req->conn;
	struct loop *loop = conn->shard->loop;

	if (want == TX_R2T || conn->state == CONN_TERM ||
	    conn->state == CONN_CLOSED)
		return false;
	if (has(req, FAULT_DROP)) {
		req->state = REQ_LOST;
		req->is_final = false;
		req_free_data(req);
		return true;
	}
	if (has(req, FAULT_TORN) && req->sc == NVME_SC_OK)
		req->sc = req->fault.sc;
	if (!(req->fault.acts & FAULT_HOLD) ||
	    req->fault.until_ns <= loop_now_ns(loop))
		return false;
	req->fault.want = want;
	req->fault.is_held = true;
	req->state = REQ_BUSY;
	req->is_final = false;
	conn->busy_count++;
	req->hold.fire = on_hold;
	timer_set(loop, &req->hold, 1);
	return true;
}

void fault_conn_closed(struct tgt_conn *conn)
{
	struct loop *loop = conn->shard->loop;

	timer_cancel(loop, &conn->stall_timer);
	conn->stall_sides = 0;
	for (unsigned i = 0; i <= conn->req_count; i++) {
		struct tgt_req *req = conn_req_at(conn, (uint16_t)i);

		if (req->state == REQ_BUSY && req->fault.acts &&
		    req->fault.is_held) {
			timer_cancel(loop, &req->hold);
			release(req);
		}
	}
}

/* --- where PDUs are built --- */

static void seal(struct tgt_conn *conn, void *hdr, uint32_t len,
		 uint32_t *digest, bool is_wrong)
{
	if (conn->hdgst)
		*digest = crc32c(0, hdr, len) ^ is_wrong;
}

unsigned fault_pdus(struct tgt_req *req, uint8_t want, struct iovec *iov,
		    unsigned n)
{
	struct tgt_conn *conn = req->conn;
	struct pdu_data *data = &req->head.data;
	struct pdu_resp *resp = &req->resp.pdu;
	uint16_t cid = has(req, FAULT_WRONGCID) ? BAD_CID : 0;
	bool is_wrong = has(req, FAULT_HDGST);

	if (want & TX_R2T)
		return n;
	if (want & TX_DATA) {
		data->cccid ^= cid;
		if (has(req, FAULT_BADRANGE))
			data->datao = BAD_OFFSET(req->len);
		if (has(req, FAULT_DDGST))
			req->ddgst ^= 1;
		seal(conn, data, sizeof(*data), &req->head.hdgst, is_wrong);
	}
	if (want & TX_RESP) {
		resp->cqe.cid ^= cid;
		seal(conn, resp, sizeof(*resp), &req->resp.hdgst, is_wrong);
	}
	if (!has(req, FAULT_DUP))
		return n;
	/* Whatever ended the command comes a second time. */
	memcpy(iov + n, iov, n * sizeof(*iov));
	return n * 2;
}
