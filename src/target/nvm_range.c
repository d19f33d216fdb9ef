/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that name blocks and carry none: Write Zeroes, Dataset Management.
 * Shard's thread.  Invariant: nothing is deallocated unless all ranges of a
 * command lie inside the namespace.
 */
#include <string.h>

#include "target/ident.h"
#include "target/nvm.h"

#define WZ_DEAC (1u << 25)
#define WZ_FUA	(1u << 30)
#define DSM_AD	(1u << 2)

struct dsm_range { /* NVM command set 1.0 figure 40 */
	uint32_t attributes;
	uint32_t nlb;
	uint64_t slba;
};
static_assert(sizeof(struct dsm_range) == NVM_DSM_RANGE, "range");

void write_zeroes_start(struct tgt_req *req, uint32_t icd_len)
{
	uint16_t sc = nvm_rw_range(req, (uint64_t)4096 << IDENT_WZSL);
	bool is_unmap;

	if (!sc)
		sc = nvm_may(req, true);
	if (sc) {
		req_complete(req, sc);
		return;
	}
	is_unmap = (req->sqe.cdw12 & WZ_DEAC) && req->ns->bdev->unmap_zeroes;
	req->is_fua = nvm_is_fua(req, WZ_FUA);
	nvm_io(req, is_unmap ? BDEV_UNMAP : BDEV_ZERO, NULL, nvm_written);
}

static unsigned dsm_count(const struct tgt_req *req)
{
	return (req->sqe.cdw10 & 0xff) + 1;
}

static struct dsm_range dsm_at(const struct tgt_req *req, unsigned i)
{
	struct dsm_range r;

	memcpy(&r, req->data + i * sizeof(r), sizeof(r));
	return r;
}

/* Linux sends a whole page, whatever the number of ranges. */
void dsm_start(struct tgt_req *req, uint32_t icd_len)
{
	uint32_t least = dsm_count(req) * NVM_DSM_RANGE;
	uint16_t sc = nvm_ns(req);

	if (!sc && (req->sqe.sgl.len < least ||
		    req->sqe.sgl.len > NVM_DSM_RANGES * NVM_DSM_RANGE))
		sc = NVME_SC_DATA_SGL_LEN | NVME_SC_DNR;
	if (sc) {
		req_complete(req, sc);
		return;
	}
	req->len = req->sqe.sgl.len;
	nvm_data_out(req, icd_len, req->len);
}

static void dsm_next(struct tgt_req *req);

static void on_unmapped(struct bdev_io *io)
{
	struct tgt_req *req = container_of(io, struct tgt_req, io);
	uint16_t sc = nvm_io_end(req);

	if (sc || req->conn->state >= CONN_TERM)
		req_complete(req, sc);
	else
		dsm_next(req);
	conn_check(req->conn);
}

static void dsm_next(struct tgt_req *req)
{
	struct dsm_range r = {0};

	while (req->range < dsm_count(req) && !r.nlb)
		r = dsm_at(req, req->range++);
	if (!r.nlb)
		req_complete(req, NVME_SC_OK);
	else if (nvm_range(req, r.slba, r.nlb)) /* it has just shrunk */
		req_complete(req, NVME_SC_LBA_RANGE | NVME_SC_DNR);
	else
		nvm_io(req, BDEV_UNMAP, NULL, on_unmapped);
}

void dsm_data_ready(struct tgt_req *req)
{
	uint16_t sc = NVME_SC_OK;

	/* All other attributes are hints that are of no use to us. */
	if (req->sqe.cdw11 & DSM_AD)
		sc = nvm_may(req, true);
	for (unsigned i = 0; i < dsm_count(req) && !sc; i++) {
		struct dsm_range r = dsm_at(req, i);

		if (r.nlb)
			sc = nvm_range(req, r.slba, r.nlb);
	}
	if (sc || !(req->sqe.cdw11 & DSM_AD)) {
		req_complete(req, sc);
		return;
	}
	req->range = 0;
	dsm_next(req);
}
