/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Get and Set Features.  Shard of the admin connection.  Invariant:
 * ctrl->features[fid] is what Get Features answers, for every fid in the table.
 */
#include "target/conn.h"
#include "target/ident.h"

#define SET_SAVE   (1u << 31)
#define CAN_CHANGE (1u << 2) /* answer to "supported capabilities" */
#define FID_VWC	   0x06
#define FID_QUEUES 0x07
#define FID_KATO   0x0f

enum {
	SEL_CURRENT,
	SEL_DEFAULT,
	SEL_SAVED,
	SEL_CAPABILITIES
};

static const struct feature {
	uint8_t fid;
	bool on_discovery;
	uint32_t mask; /* bits of CDW11 that can be set */
	uint32_t def;
} features[] = {
	{.fid = 0x01, .mask = 0xffffff07},	       /* arbitration */
	{.fid = 0x02},				       /* power management */
	{.fid = 0x04, .mask = 0x003fffff, .def = 343}, /* temperature */
	{.fid = 0x05, .mask = 0x0000ffff},	       /* error recovery */
	{.fid = FID_VWC, .mask = 1, .def = 1},	       /* write cache */
	{.fid = FID_QUEUES, .mask = 0xffffffff},       /* number of queues */
	{.fid = 0x0a, .mask = 1},		       /* write atomicity */
	{.fid = 0x0b, .mask = 0xffffffff, .on_discovery = true}, /* events */
	{.fid = FID_KATO, .mask = 0xffffffff, .on_discovery = true},
};

static const struct feature *feature_find(const struct tgt_req *req)
{
	bool is_discovery = req->conn->ctrl->ss->is_discovery;
	uint8_t fid = (uint8_t)req->sqe.cdw10;

	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		if (features[i].fid == fid)
			return is_discovery && !features[i].on_discovery
				       ? NULL
				       : &features[i];
	}
	return NULL;
}

/* One number for submission and completion queues, 0's based. */
static uint32_t queues_value(const struct tgt_ctrl *ctrl, uint32_t want)
{
	uint32_t most = ctrl->tgt->opts.max_queues - 1u;
	uint32_t least = MIN(want & 0xffff, want >> 16);
	uint32_t n = MIN(least, most);

	return n | n << 16;
}

void feature_init(struct tgt_ctrl *ctrl)
{
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		ctrl->features[features[i].fid] = features[i].def;
	ctrl->features[FID_QUEUES] = queues_value(ctrl, UINT32_MAX);
	ctrl->features[FID_KATO] = atomic_load(&ctrl->kato_ms);
	atomic_store(&ctrl->wce, true);
}

void feature_get(struct tgt_req *req)
{
	const struct feature *f = feature_find(req);
	struct tgt_ctrl *ctrl = req->conn->ctrl;
	unsigned sel = req->sqe.cdw10 >> 8 & 7;

	if (!f || sel > SEL_CAPABILITIES ||
	    (f->fid == FID_VWC && !atomic_load(&ctrl->ss->has_write_cache))) {
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
		return;
	}
	if (sel == SEL_CAPABILITIES)
		req->result = f->mask ? CAN_CHANGE : 0;
	else if (sel == SEL_CURRENT)
		req->result = ctrl->features[f->fid];
	else if (f->fid == FID_QUEUES)
		req->result = queues_value(ctrl, UINT32_MAX);
	else
		req->result = f->def;
	req_complete(req, NVME_SC_OK);
}

static uint16_t feature_store(struct tgt_req *req, const struct feature *f)
{
	struct tgt_ctrl *ctrl = req->conn->ctrl;
	uint32_t value = req->sqe.cdw11;

	switch (f->fid) {
	case FID_QUEUES:
		if ((value & 0xffff) == 0xffff || value >> 16 == 0xffff)
			return NVME_SC_BAD_FIELD | NVME_SC_DNR;
		value = queues_value(ctrl, value);
		req->result = value;
		break;
	case FID_KATO:
		if (value > UINT32_MAX - 100)
			return NVME_SC_KA_INVALID | NVME_SC_DNR;
		value = (value + 99) / 100 * 100; /* KAS is 100 ms */
		atomic_store(&ctrl->kato_ms, value);
		break;
	case FID_VWC:
		if (!atomic_load(&ctrl->ss->has_write_cache))
			return NVME_SC_BAD_FIELD | NVME_SC_DNR;
		atomic_store(&ctrl->wce, value & 1);
		break;
	default:
		break;
	}
	ctrl->features[f->fid] = value & f->mask;
	return NVME_SC_OK;
}

void feature_set(struct tgt_req *req)
{
	const struct feature *f = feature_find(req);
	uint16_t sc = NVME_SC_BAD_FIELD | NVME_SC_DNR;

	if (req->sqe.cdw10 & SET_SAVE)
		sc = NVME_SC_FEATURE_NOT_SAVEABLE | NVME_SC_DNR;
	else if (f)
		sc = feature_store(req, f);
	req_complete(req, sc);
	if (!sc)
		aer_check(req->conn); /* an event may just have been enabled */
}
