/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compare and Verify.  Shard's thread.  Invariant: a buffer for a Compare has
 * room for the host's blocks and, behind them, for those of the medium.
 */
#include <string.h>

#include "target/nvm.h"

static void compare_end(struct tgt_req *req, const uint8_t *medium)
{
	bool is_same = memcmp(req->data, medium, req->len) == 0;

	req_complete(req, is_same ? NVME_SC_OK
				  : NVME_SC_COMPARE_FAILED | NVME_SC_DNR |
					    NVME_SC_MORE);
}

static void on_compare_read(struct bdev_io *io)
{
	struct tgt_req *req = container_of(io, struct tgt_req, io);
	uint16_t sc = nvm_io_end(req);

	if (sc)
		req_complete(req, sc);
	else
		compare_end(req, req->data + req->len);
	conn_check(req->conn);
}

void compare_data_ready(struct tgt_req *req)
{
	struct bdev *bdev = req->ns->bdev;
	uint16_t sc = nvm_may(req, false);

	if (sc)
		req_complete(req, sc);
	else if (req->ns->is_mapped)
		compare_end(req, bdev->ops->map(bdev, req->off, req->len));
	else
		nvm_io(req, BDEV_READ, req->data + req->len, on_compare_read);
}

void compare_start(struct tgt_req *req, uint32_t icd_len)
{
	uint16_t sc = nvm_rw_range(req, req->conn->tgt->opts.max_transfer);

	if (!sc)
		sc = nvm_may(req, false);
	if (!sc && req->sqe.sgl.len != req->span)
		sc = NVME_SC_DATA_SGL_LEN | NVME_SC_DNR;
	if (sc) {
		req_complete(req, sc);
		return;
	}
	tgt_count(&req->conn->shard->counters.reads, 1);
	tgt_count(&req->ns->use[req->conn->shard->index].counters.reads, 1);
	req->len = (uint32_t)req->span;
	nvm_data_out(req, icd_len, 2 * req->len);
}

static void on_verified(struct bdev_io *io)
{
	struct tgt_req *req = container_of(io, struct tgt_req, io);

	req_complete(req, nvm_io_end(req));
	conn_check(req->conn);
}

static void verify_go(struct buf_wait *wait)
{
	struct tgt_req *req = container_of(wait, struct tgt_req, wait);

	nvm_io(req, BDEV_READ, req->data, on_verified);
}

/* There are no checksums on the medium: what can be read is right. */
void verify_start(struct tgt_req *req, uint32_t icd_len)
{
	uint16_t sc = nvm_rw_range(req, req->conn->tgt->opts.max_transfer);

	if (!sc)
		sc = nvm_may(req, false);
	if (sc || req->ns->is_mapped) {
		req_complete(req, sc);
		return;
	}
	req->len = (uint32_t)req->span;
	nvm_buffer(req, verify_go);
}
