/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVM commands: the table, Read, Write, Flush, and what the others share.
 * Shard's thread.  Invariant: a command reaches the back end only with a range
 * inside the namespace and with exactly as many bytes as its SGL says.
 */
#include "target/nvm.h"

#include <errno.h>

#include "base/log.h"

#define RW_FUA (1u << 30)

/* --- what several commands need --- */

/* No DNR: trying again may help. */
static uint16_t sc_of_errno(int ret, bool is_write)
{
	uint16_t medium = is_write ? NVME_SC_WRITE_FAULT : NVME_SC_READ_ERROR;

	switch (-ret) {
	case 0:
		return NVME_SC_OK;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return NVME_SC_CAP_EXCEEDED | NVME_SC_DNR | NVME_SC_MORE;
	case EROFS:
		return NVME_SC_WRITE_PROTECTED | NVME_SC_DNR;
	case EPERM:
	case EACCES:
		return NVME_SC_ACCESS_DENIED | NVME_SC_DNR | NVME_SC_MORE;
	case EOPNOTSUPP:
		return NVME_SC_BAD_OPCODE | NVME_SC_DNR;
	case ENODEV:
	case ENXIO:
		return NVME_SC_NS_NOT_READY;
	case ENOMEM:
	case EAGAIN:
	case EINTR:
	case EBUSY:
	case ETIMEDOUT:
		return NVME_SC_INTERNAL;
	case ENODATA: /* what the block layer calls a medium error */
	case EBADMSG:
	case EILSEQ:
	case EUCLEAN:
		return medium | NVME_SC_DNR | NVME_SC_MORE;
	case EINVAL:
		return NVME_SC_INTERNAL | NVME_SC_DNR;
	default:
		return medium | NVME_SC_MORE;
	}
}

uint16_t nvm_ns(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;
	struct tgt_subsys *ss = conn->ctrl->ss;
	struct tgt_ns *ns = tgt_ns_find(ss, req->sqe.nsid);

	if (!ns)
		return NVME_SC_BAD_NS | NVME_SC_DNR;
	switch (tgt_ana_at(ss, conn->tl, ns->anagrpid)) {
	case TGT_ANA_OPTIMIZED:
	case TGT_ANA_NON_OPTIMIZED:
		break;
	case TGT_ANA_INACCESSIBLE:
		return NVME_SC_ANA_INACCESSIBLE;
	case TGT_ANA_CHANGE:
		return NVME_SC_ANA_TRANSITION;
	}
	tgt_ns_hold(ns, conn->shard);
	req->ns = ns;
	return NVME_SC_OK;
}

static bool is_inside(const struct tgt_ns *ns, uint64_t slba, uint64_t nlb)
{
	uint64_t blocks = ns->bdev->size >> ns->lba_shift;

	return slba < blocks && nlb <= blocks - slba;
}

uint16_t nvm_range(struct tgt_req *req, uint64_t slba, uint64_t nlb)
{
	struct tgt_ns *ns = req->ns;

	/* The medium may have grown since it was looked at. */
	if (!is_inside(ns, slba, nlb) &&
	    !(tgt_ns_refresh(ns) && is_inside(ns, slba, nlb)))
		return NVME_SC_LBA_RANGE | NVME_SC_DNR;
	req->off = slba << ns->lba_shift;
	req->span = nlb << ns->lba_shift;
	return NVME_SC_OK;
}

uint16_t nvm_rw_range(struct tgt_req *req, uint64_t most)
{
	const struct nvme_sqe *sqe = &req->sqe;
	uint64_t slba = sqe->cdw10 | (uint64_t)sqe->cdw11 << 32;
	uint64_t nlb = (sqe->cdw12 & 0xffff) + 1;
	uint16_t sc = nvm_ns(req);

	if (sc)
		return sc;
	if (nlb << req->ns->lba_shift > most)
		return NVME_SC_BAD_FIELD | NVME_SC_DNR;
	return nvm_range(req, slba, nlb);
}

/* Without a reservation this costs one load; with one that has not changed
 * since, two. */
static bool is_reserved_for_others(const struct tgt_req *req, bool is_write)
{
	struct resv *r = &req->ns->resv;
	uint64_t version = resv_version(r);
	struct tgt_conn *conn = req->conn;

	if (likely(!version))
		return false;
	if (conn->rights.version != version)
		conn->rights = resv_rights(r, conn->ctrl->hostid);
	return !(is_write ? conn->rights.may_write : conn->rights.may_read);
}

uint16_t nvm_may(const struct tgt_req *req, bool is_write)
{
	if (is_reserved_for_others(req, is_write))
		return NVME_SC_RESV_CONFLICT | NVME_SC_DNR;
	if (is_write && req->ns->bdev->is_readonly)
		return NVME_SC_WRITE_PROTECTED | NVME_SC_DNR;
	return NVME_SC_OK;
}

void nvm_io(struct tgt_req *req, enum bdev_op op, void *data,
	    void (*done)(struct bdev_io *io))
{
	struct tgt_conn *conn = req->conn;
	struct bdev *bdev = req->ns->bdev;

	req->iov = (struct iovec){data, req->span};
	req->io.done = done;
	req->io.op = op;
	req->io.off = req->off;
	req->io.bytes = op == BDEV_FLUSH ? 0 : req->span;
	req->io.iov = &req->iov;
	req->io.iovcnt = data ? 1 : 0;
	req->state = REQ_BUSY;
	conn->busy_count++;
	if (unlikely(req->fault.acts))
		fault_submit(bdev, req);
	else
		bdev->ops->submit(bdev, conn->shard->loop, &req->io);
}

uint16_t nvm_io_end(struct tgt_req *req)
{
	struct tgt_shard *shard = req->conn->shard;
	const struct bdev_io *io = &req->io;
	uint32_t held_back;

	ASSERT(req->state == REQ_BUSY && req->conn->busy_count);
	req->conn->busy_count--;
	req->state = REQ_SENDING;
	if (io->ret && log_rate_take(&shard->io_rate, loop_now_ns(shard->loop),
				     &held_back))
		log_warn("namespace I/O failed",
			 "medium=%s op=%d off=%llu bytes=%llu errno=%d "
			 "held_back=%u",
			 req->ns->bdev->name, io->op,
			 (unsigned long long)req->off,
			 (unsigned long long)req->span, -io->ret, held_back);
	return sc_of_errno(io->ret, io->op != BDEV_READ);
}

/* --- buffers and data from the host --- */

static void on_buffer(struct buf_wait *wait)
{
	struct tgt_req *req = container_of(wait, struct tgt_req, wait);

	req->mem = MEM_BUFS;
	req->data = wait->buf.p;
	if (req->conn->state == CONN_LIVE)
		req->has_buffer(wait);
	else
		conn_req_release(req);
}

static int take_buffer(struct tgt_req *req, uint32_t room,
		       void (*ready)(struct buf_wait *wait))
{
	int ret;

	req->has_buffer = ready;
	req->wait.len = room;
	req->wait.ready = on_buffer;
	req->state = REQ_WAIT;
	ret = bufs_take(&req->conn->shard->bufs, &req->wait);
	if (!ret) {
		req->mem = MEM_BUFS;
		req->data = req->wait.buf.p;
	}
	return ret;
}

static void buffer_or_fail(struct tgt_req *req, uint32_t room,
			   void (*ready)(struct buf_wait *wait))
{
	int ret = take_buffer(req, room, ready);

	if (!ret)
		ready(&req->wait);
	else if (ret != -EAGAIN)
		req_complete(req, NVME_SC_INTERNAL);
}

void nvm_buffer(struct tgt_req *req, void (*ready)(struct buf_wait *wait))
{
	buffer_or_fail(req, req->len, ready);
}

static void ask_for_data(struct buf_wait *wait)
{
	req_send_r2t(container_of(wait, struct tgt_req, wait));
}

/* In-capsule data can't wait in line: they stand in front of other PDUs, and
 * the buffers may be held by commands whose data come behind them. */
static void data_in_capsule(struct tgt_req *req, uint32_t icd_len,
			    uint32_t room)
{
	uint16_t sc = sgl_in_capsule(&req->sqe.sgl, icd_len);

	if (!sc && icd_len != req->len)
		sc = NVME_SC_DATA_SGL_LEN | NVME_SC_DNR;
	if (sc) {
		req_complete(req, sc);
		return;
	}
	if (!req->data && take_buffer(req, room, NULL))
		bufs_cancel(&req->wait); /* rx_into() finds another place */
	req->state = REQ_RECV;
	rx_into(req);
}

void nvm_data_out(struct tgt_req *req, uint32_t icd_len, uint32_t room)
{
	if (req->sqe.sgl.type == NVME_SGL_DATA_OFFSET)
		data_in_capsule(req, icd_len, room);
	else if (req->sqe.sgl.type != NVME_SGL_TRANSPORT)
		req_complete(req, NVME_SC_SGL_TYPE | NVME_SC_DNR);
	else if (req->data)
		req_send_r2t(req);
	else
		buffer_or_fail(req, room, ask_for_data);
}

/* --- Read, Write, Flush --- */

static void on_flushed(struct bdev_io *io)
{
	struct tgt_req *req = container_of(io, struct tgt_req, io);

	req_complete(req, nvm_io_end(req));
	conn_check(req->conn);
}

static void on_read(struct bdev_io *io)
{
	struct tgt_req *req = container_of(io, struct tgt_req, io);
	uint16_t sc = nvm_io_end(req);

	if (sc)
		req_complete(req, sc);
	else
		req_complete_data(req);
	conn_check(req->conn);
}

bool nvm_is_fua(const struct tgt_req *req, uint32_t fua_bit)
{
	return !req->ns->is_mapped &&
	       ((req->sqe.cdw12 & fua_bit) ||
		!atomic_load_explicit(&req->conn->ctrl->wce,
				      memory_order_relaxed));
}

void nvm_written(struct bdev_io *io)
{
	struct tgt_req *req = container_of(io, struct tgt_req, io);
	uint16_t sc = nvm_io_end(req);

	if (!sc && req->is_fua)
		nvm_io(req, BDEV_FLUSH, NULL, on_flushed);
	else
		req_complete(req, sc);
	conn_check(req->conn);
}

static void read_go(struct buf_wait *wait)
{
	struct tgt_req *req = container_of(wait, struct tgt_req, wait);
	uint16_t sc = nvm_may(req, false);

	if (sc)
		req_complete(req, sc);
	else
		nvm_io(req, BDEV_READ, req->data, on_read);
}

/* While there is a reservation, what is written stops over in a buffer: only
 * when all of it is there is it known whether it may. */
static void map_data(struct tgt_req *req, bool is_write)
{
	struct bdev *bdev = req->ns->bdev;

	/* A fault that spoils data must not spoil the medium's. */
	if (!req->ns->is_mapped || unlikely(req->fault.acts & FAULT_BOUNCE) ||
	    (is_write && resv_version(&req->ns->resv)))
		return;
	req->mem = MEM_MAPPED;
	req->data = bdev->ops->map(bdev, req->off, req->len);
}

static uint16_t rw_check(struct tgt_req *req, bool is_write)
{
	uint16_t sc = nvm_rw_range(req, req->conn->tgt->opts.max_transfer);

	if (!sc && req->sqe.sgl.len != req->span)
		sc = NVME_SC_DATA_SGL_LEN | NVME_SC_DNR;
	if (!sc)
		sc = nvm_may(req, is_write);
	req->len = (uint32_t)req->span;
	return sc;
}

static void read_start(struct tgt_req *req, uint32_t icd_len)
{
	struct tgt_counters *c = &req->conn->shard->counters;
	uint16_t sc = rw_check(req, false);

	if (!sc && req->sqe.sgl.type != NVME_SGL_TRANSPORT)
		sc = NVME_SC_SGL_TYPE | NVME_SC_DNR;
	if (sc) {
		req_complete(req, sc);
		return;
	}
	tgt_count(&c->reads, 1);
	tgt_count(&c->bytes_read, req->len);
	c = &req->ns->use[req->conn->shard->index].counters;
	tgt_count(&c->reads, 1);
	tgt_count(&c->bytes_read, req->len);
	map_data(req, false);
	if (req->data)
		req_complete_data(req);
	else
		nvm_buffer(req, read_go);
}

static void write_start(struct tgt_req *req, uint32_t icd_len)
{
	struct tgt_counters *c = &req->conn->shard->counters;
	uint16_t sc = rw_check(req, true);

	if (sc) {
		req_complete(req, sc);
		return;
	}
	tgt_count(&c->writes, 1);
	tgt_count(&c->bytes_written, req->len);
	c = &req->ns->use[req->conn->shard->index].counters;
	tgt_count(&c->writes, 1);
	tgt_count(&c->bytes_written, req->len);
	req->is_fua = nvm_is_fua(req, RW_FUA);
	map_data(req, true);
	nvm_data_out(req, icd_len, req->len);
}

static void write_data_ready(struct tgt_req *req)
{
	uint16_t sc = req->mem == MEM_MAPPED ? NVME_SC_OK : nvm_may(req, true);

	if (sc || req->mem == MEM_MAPPED)
		req_complete(req, sc);
	else
		nvm_io(req, BDEV_WRITE, req->data, nvm_written);
}

static void flush_start(struct tgt_req *req, uint32_t icd_len)
{
	uint16_t sc = nvm_ns(req);

	if (!sc && is_reserved_for_others(req, true))
		sc = NVME_SC_RESV_CONFLICT | NVME_SC_DNR;
	if (sc || req->ns->is_mapped)
		req_complete(req, sc);
	else
		nvm_io(req, BDEV_FLUSH, NULL, on_flushed);
}

/* --- the table --- */

static const struct {
	void (*start)(struct tgt_req *req, uint32_t icd_len);
	void (*data_ready)(struct tgt_req *req);
} ops[] = {
	[NVME_CMD_FLUSH] = {flush_start, NULL},
	[NVME_CMD_WRITE] = {write_start, write_data_ready},
	[NVME_CMD_READ] = {read_start, NULL},
	[NVME_CMD_COMPARE] = {compare_start, compare_data_ready},
	[NVME_CMD_WRITE_ZEROES] = {write_zeroes_start, NULL},
	[NVME_CMD_DSM] = {dsm_start, dsm_data_ready},
	[NVME_CMD_VERIFY] = {verify_start, NULL},
	[NVME_CMD_RESV_REGISTER] = {resv_start, resv_data_ready},
	[NVME_CMD_RESV_REPORT] = {resv_report_start, NULL},
	[NVME_CMD_RESV_ACQUIRE] = {resv_start, resv_data_ready},
	[NVME_CMD_RESV_RELEASE] = {resv_start, resv_data_ready},
};

void nvm_data_ready(struct tgt_req *req)
{
	ops[req->sqe.opcode].data_ready(req);
}

void nvm_start(struct tgt_req *req, uint32_t icd_len)
{
	if (req->sqe.opcode >= ARRAY_SIZE(ops) || !ops[req->sqe.opcode].start)
		req_complete(req, NVME_SC_BAD_OPCODE | NVME_SC_DNR);
	else
		ops[req->sqe.opcode].start(req, icd_len);
}
