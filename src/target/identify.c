/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identify: finds what is asked about and lets ident.c put it into bytes.
 * Shard of the admin connection.  Invariant: the answer has 4096 bytes.
 */
#include <string.h>

#include "target/conn.h"
#include "target/ident.h"

#define NSID_ALL 0xffffffffu

typedef uint16_t (*identify_fn)(struct tgt_req *req, uint8_t *out);

static uint16_t id_ctrl(struct tgt_req *req, uint8_t *out)
{
	const struct tgt_ctrl *ctrl = req->conn->ctrl;
	const struct tgt_opts *o = &ctrl->tgt->opts;

	ident_ctrl(
		&(struct ident_ctrl){
			.nqn = ctrl->ss->nqn,
			.serial = ctrl->ss->serial,
			.model = ctrl->ss->model,
			.cntlid = ctrl->cntlid,
			.is_discovery = ctrl->ss->is_discovery,
			.has_write_cache =
				atomic_load(&ctrl->ss->has_write_cache),
			.max_transfer = o->max_transfer,
			.in_capsule = o->in_capsule,
			.depth = o->queue_depth,
			.ns_max = ctrl->ss->max_ns,
			.has_ana = ctrl->ss->ana != NULL,
			.ana_group_max = TGT_NS_MAX,
		},
		out);
	return NVME_SC_OK;
}

/* 0 and NULL: a valid id without a namespace. */
static uint16_t find_ns(struct tgt_req *req, struct tgt_ns **out)
{
	uint32_t nsid = req->sqe.nsid;

	*out = tgt_ns_find(req->conn->ctrl->ss, nsid);
	if (nsid == 0 || nsid > req->conn->ctrl->ss->max_ns)
		return NVME_SC_BAD_NS | NVME_SC_DNR;
	return NVME_SC_OK;
}

static struct ident_ns describe(struct tgt_ns *ns)
{
	struct bdev *bdev = ns->bdev;
	struct ident_ns out;

	tgt_ns_refresh(ns);
	out = (struct ident_ns){
		.blocks = bdev->size >> ns->lba_shift,
		.used_bytes =
			bdev->ops->used ? bdev->ops->used(bdev) : UINT64_MAX,
		.lba_shift = ns->lba_shift,
		.uuid = ns->uuid,
		.nguid = ns->nguid,
		.anagrpid = ns->ss->ana ? ns->anagrpid : 0,
		.is_readonly = bdev->is_readonly,
		.can_unmap = bdev->can_unmap,
		.unmap_zeroes = bdev->unmap_zeroes,
		.write_unit = bdev->write_unit,
		.write_best = bdev->write_best,
		.unmap_unit = bdev->unmap_unit,
		.keeps_resv = atomic_load(&ns->ss->tgt->has_keeper),
	};
	memcpy(out.eui64, ns->eui64, sizeof(out.eui64));
	return out;
}

static uint16_t id_ns(struct tgt_req *req, uint8_t *out)
{
	struct tgt_ns *ns;
	uint16_t sc = find_ns(req, &ns);
	struct ident_ns in;

	if (req->sqe.nsid == NSID_ALL) {
		/* What is common to all: the block format. */
		ident_ns(&(struct ident_ns){.lba_shift = 12}, out);
		return NVME_SC_OK;
	}
	if (!sc && ns) {
		in = describe(ns);
		ident_ns(&in, out);
	}
	return sc;
}

static uint16_t id_active_list(struct tgt_req *req, uint8_t *out)
{
	struct tgt_subsys *ss = req->conn->ctrl->ss;
	uint32_t nsid = req->sqe.nsid;

	static_assert(TGT_NS_MAX <= IDENT_BYTES / 4, "fits one list");
	if (nsid >= 0xfffffffe)
		return NVME_SC_BAD_NS | NVME_SC_DNR;
	for (nsid++; nsid <= TGT_NS_MAX; nsid++) {
		if (!tgt_ns_find(ss, nsid))
			continue;
		memcpy(out, &nsid, sizeof(nsid));
		out += sizeof(nsid);
	}
	return NVME_SC_OK;
}

static uint16_t id_descs(struct tgt_req *req, uint8_t *out)
{
	struct tgt_ns *ns;
	uint16_t sc = find_ns(req, &ns);
	struct ident_ns in;

	if (!sc && !ns)
		return NVME_SC_BAD_NS | NVME_SC_DNR;
	if (!sc) {
		in = describe(ns);
		ident_ns_descs(&in, out);
	}
	return sc;
}

static bool is_nvm_command_set(const struct tgt_req *req)
{
	return req->sqe.cdw11 >> 24 == 0;
}

/* The NVM command set adds nothing to report: zeros. */
static uint16_t id_csi_ns(struct tgt_req *req, uint8_t *out)
{
	struct tgt_ns *ns;

	if (!is_nvm_command_set(req))
		return NVME_SC_BAD_FIELD | NVME_SC_DNR;
	return find_ns(req, &ns);
}

static uint16_t id_csi_ctrl(struct tgt_req *req, uint8_t *out)
{
	if (!is_nvm_command_set(req))
		return NVME_SC_BAD_FIELD | NVME_SC_DNR;
	ident_ctrl_nvm_set(req->conn->tgt->opts.max_transfer, out);
	return NVME_SC_OK;
}

static uint16_t id_csi_list(struct tgt_req *req, uint8_t *out)
{
	if (!is_nvm_command_set(req))
		return NVME_SC_BAD_FIELD | NVME_SC_DNR;
	return id_active_list(req, out);
}

static uint16_t id_common_ns(struct tgt_req *req, uint8_t *out)
{
	struct tgt_ns *ns;
	uint16_t sc = find_ns(req, &ns);
	struct ident_ns in;

	if (!sc && ns) {
		in = describe(ns);
		ident_ns_common(&in, out);
	}
	return sc;
}

static uint16_t id_command_sets(struct tgt_req *req, uint8_t *out)
{
	out[0] = 1; /* combination 0: the NVM command set alone */
	return NVME_SC_OK;
}

void identify_start(struct tgt_req *req)
{
	static const identify_fn fns[] = {
		[0x00] = id_ns,		  [0x01] = id_ctrl,
		[0x02] = id_active_list,  [0x03] = id_descs,
		[0x05] = id_csi_ns,	  [0x06] = id_csi_ctrl,
		[0x07] = id_csi_list,	  [0x08] = id_common_ns,
		[0x1c] = id_command_sets,
	};
	uint8_t cns = (uint8_t)req->sqe.cdw10;
	bool is_discovery = req->conn->ctrl->ss->is_discovery;
	uint16_t sc;

	if (cns >= ARRAY_SIZE(fns) || !fns[cns] ||
	    (is_discovery && cns != 0x01)) {
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
		return;
	}
	if (!admin_data(req, IDENT_BYTES))
		return;
	sc = fns[cns](req, req->data);
	if (sc)
		req_complete(req, sc);
	else
		req_complete_data(req);
}
