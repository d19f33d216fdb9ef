/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVM commands: read, write, flush.  Shard's thread.  Invariant: a command
 * reaches the back end only with a range inside the namespace and with exactly
 * as many bytes as its SGL says.
 */
#include <errno.h>

#include "base/log.h"
#include "target/conn.h"

#define RW_FUA (1u << 30)

static uint16_t sc_of_io(const struct tgt_req *req)
{
	switch (req->io.ret) {
	case 0:
		return NVME_SC_OK;
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return NVME_SC_CAP_EXCEEDED | NVME_SC_DNR;
	case -EPERM:
	case -EACCES:
	case -EROFS:
		return NVME_SC_ACCESS_DENIED | NVME_SC_DNR;
	default:
		return req->io.op == BDEV_READ ? NVME_SC_READ_ERROR
					       : NVME_SC_WRITE_FAULT;
	}
}

static void io_done(struct bdev_io *io);

static void io_start(struct tgt_req *req, enum bdev_op op)
{
	struct tgt_conn *conn = req->conn;
	struct bdev *bdev = req->ns->bdev;

	req->iov = (struct iovec){req->data, req->len};
	req->io.done = io_done;
	req->io.op = op;
	req->io.off = req->off;
	req->io.bytes = op == BDEV_FLUSH ? 0 : req->len;
	req->io.iov = &req->iov;
	req->io.iovcnt = op == BDEV_FLUSH ? 0 : 1;
	req->state = REQ_BUSY;
	conn->busy_count++;
	bdev->ops->submit(bdev, conn->shard->loop, &req->io);
}

static void io_done(struct bdev_io *io)
{
	struct tgt_req *req = container_of(io, struct tgt_req, io);
	struct tgt_conn *conn = req->conn;

	ASSERT(req->state == REQ_BUSY && conn->busy_count);
	conn->busy_count--;
	req->state = REQ_SENDING;
	if (io->ret)
		log_warn("namespace I/O failed",
			 "medium=%s op=%d off=%llu bytes=%u errno=%d",
			 req->ns->bdev->name, io->op,
			 (unsigned long long)req->off, req->len, -io->ret);
	if (io->ret || io->op == BDEV_FLUSH)
		req_complete(req, sc_of_io(req));
	else if (io->op == BDEV_READ)
		req_complete_data(req);
	else if (req->is_fua)
		io_start(req, BDEV_FLUSH);
	else
		req_complete(req, NVME_SC_OK);
	conn_check(conn);
}

/* The buffer is there. */
static void rw_go(struct tgt_req *req)
{
	if (req->sqe.opcode == NVME_CMD_READ)
		io_start(req, BDEV_READ);
	else
		req_send_r2t(req);
}

static void on_buffer(struct buf_wait *wait)
{
	struct tgt_req *req = container_of(wait, struct tgt_req, wait);

	req->mem = MEM_BUFS;
	req->data = wait->buf.p;
	if (req->conn->state == CONN_LIVE)
		rw_go(req);
	else
		conn_req_release(req);
}

static int take_buffer(struct tgt_req *req)
{
	int ret;

	req->wait.len = req->len;
	req->wait.ready = on_buffer;
	req->state = REQ_WAIT;
	ret = bufs_take(&req->conn->shard->bufs, &req->wait);
	if (!ret) {
		req->mem = MEM_BUFS;
		req->data = req->wait.buf.p;
	}
	return ret;
}

/* In-capsule data can't wait in line: they stand in front of other PDUs, and
 * the buffers may be held by commands whose data come behind them. */
static void write_in_capsule(struct tgt_req *req, uint32_t icd_len)
{
	uint16_t sc = sgl_in_capsule(&req->sqe.sgl, icd_len);

	if (sc) {
		req_complete(req, sc);
		return;
	}
	if (!req->ns->is_mapped && take_buffer(req))
		bufs_cancel(&req->wait); /* rx_into() finds another place */
	req->state = REQ_RECV;
	rx_into(req);
}

static void rw_data(struct tgt_req *req, uint32_t icd_len)
{
	bool is_write = req->sqe.opcode == NVME_CMD_WRITE;
	struct bdev *bdev = req->ns->bdev;
	int ret;

	if (req->ns->is_mapped) {
		req->mem = MEM_MAPPED;
		req->data = bdev->ops->map(bdev, req->off, req->len);
	}
	if (is_write && req->sqe.sgl.type == NVME_SGL_DATA_OFFSET) {
		write_in_capsule(req, icd_len);
	} else if (req->sqe.sgl.type != NVME_SGL_TRANSPORT) {
		req_complete(req, NVME_SC_SGL_TYPE | NVME_SC_DNR);
	} else if (req->ns->is_mapped) {
		if (is_write)
			req_send_r2t(req);
		else
			req_complete_data(req);
	} else {
		ret = take_buffer(req);
		if (!ret)
			rw_go(req);
		else if (ret != -EAGAIN)
			req_complete(req, NVME_SC_INTERNAL);
	}
}

static uint16_t rw_check(struct tgt_req *req)
{
	const struct nvme_sqe *sqe = &req->sqe;
	struct tgt_ctrl *ctrl = req->conn->ctrl;
	uint64_t slba = sqe->cdw10 | (uint64_t)sqe->cdw11 << 32;
	uint64_t nlb = (sqe->cdw12 & 0xffff) + 1, blocks, bytes;

	req->ns = tgt_ns_find(ctrl->ss, sqe->nsid);
	if (!req->ns)
		return NVME_SC_BAD_NS | NVME_SC_DNR;
	blocks = req->ns->bdev->size >> req->ns->lba_shift;
	bytes = nlb << req->ns->lba_shift;
	if (bytes > ctrl->tgt->opts.max_transfer)
		return NVME_SC_BAD_FIELD | NVME_SC_DNR;
	if (slba >= blocks || nlb > blocks - slba)
		return NVME_SC_LBA_RANGE | NVME_SC_DNR;
	if (sqe->sgl.len != bytes)
		return NVME_SC_DATA_SGL_LEN | NVME_SC_DNR;
	req->off = slba << req->ns->lba_shift;
	req->len = (uint32_t)bytes;
	return NVME_SC_OK;
}

static void rw_start(struct tgt_req *req, uint32_t icd_len)
{
	struct tgt_counters *c = &req->conn->shard->counters;
	bool is_write = req->sqe.opcode == NVME_CMD_WRITE;
	uint16_t sc = rw_check(req);

	if (sc) {
		req_complete(req, sc);
		return;
	}
	tgt_count(is_write ? &c->writes : &c->reads, 1);
	tgt_count(is_write ? &c->bytes_written : &c->bytes_read, req->len);
	req->is_fua = is_write && !req->ns->is_mapped &&
		      ((req->sqe.cdw12 & RW_FUA) ||
		       !atomic_load_explicit(&req->conn->ctrl->wce,
					     memory_order_relaxed));
	rw_data(req, icd_len);
}

void nvm_data_ready(struct tgt_req *req)
{
	if (req->ns->is_mapped)
		req_complete(req, NVME_SC_OK);
	else
		io_start(req, BDEV_WRITE);
}

static void flush_start(struct tgt_req *req, uint32_t icd_len)
{
	req->ns = tgt_ns_find(req->conn->ctrl->ss, req->sqe.nsid);
	if (!req->ns)
		req_complete(req, NVME_SC_BAD_NS | NVME_SC_DNR);
	else if (req->ns->is_mapped)
		req_complete(req, NVME_SC_OK);
	else
		io_start(req, BDEV_FLUSH);
}

void nvm_start(struct tgt_req *req, uint32_t icd_len)
{
	static void (*const ops[])(struct tgt_req * req, uint32_t icd_len) = {
		[NVME_CMD_FLUSH] = flush_start,
		[NVME_CMD_WRITE] = rw_start,
		[NVME_CMD_READ] = rw_start,
	};

	if (req->sqe.opcode >= ARRAY_SIZE(ops))
		req_complete(req, NVME_SC_BAD_OPCODE | NVME_SC_DNR);
	else
		ops[req->sqe.opcode](req, icd_len);
}
