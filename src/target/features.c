/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Get and Set Features.  Shard of the admin connection.  Invariant:
 * ctrl->features[fid] is what Get Features answers, for every fid in the table.
 */
#include <string.h>

#include "target/conn.h"
#include "target/ident.h"

#define SET_SAVE      (1u << 31)
#define FID_POWER     0x02
#define FID_TEMP      0x04
#define FID_RECOVERY  0x05
#define FID_VWC	      0x06
#define FID_QUEUES    0x07
#define FID_KATO      0x0f
#define FID_HOSTID    0x81
#define FID_RESV_MASK 0x82
#define FID_RESV_KEEP 0x83
#define HOSTID_EXHID  1u /* 128 bits */
#define TEMP_VALUE    0x0000ffffu
#define TEMP_SENSOR   0x000f0000u
#define TEMP_ALL      0x000f0000u
#define TEMP_TYPE(v)  ((v) >> 20 & 3) /* 0 over, 1 under */

enum {
	SEL_CURRENT,
	SEL_DEFAULT,
	SEL_SAVED, /* nothing is: the default */
	SEL_CAPABILITIES
};

enum { /* answer to SEL_CAPABILITIES */
	CAN_BE_PER_NS = 2,
	CAN_CHANGE = 4,
};

static const struct feature {
	uint8_t fid;
	bool on_discovery, is_per_ns;
	uint32_t mask; /* bits of CDW11 that can be set */
	uint32_t def;
} features[] = {
	{.fid = 0x01, .mask = 0xffffff07}, /* arbitration */
	{.fid = FID_POWER},		   /* one power state */
	{.fid = FID_TEMP, .mask = TEMP_VALUE, .def = IDENT_TEMP_HIGH},
	{.fid = FID_RECOVERY, .mask = 0x0000ffff, .is_per_ns = true},
	{.fid = FID_VWC, .mask = 1, .def = 1},
	{.fid = FID_QUEUES, .mask = 0xffffffff},
	{.fid = 0x0a, .mask = 1},				 /* atomicity */
	{.fid = 0x0b, .mask = 0xffffffff, .on_discovery = true}, /* events */
	{.fid = FID_KATO, .mask = 0xffffffff, .on_discovery = true},
	{.fid = FID_HOSTID},
	{.fid = FID_RESV_MASK, .mask = 0xe, .is_per_ns = true},
	{.fid = FID_RESV_KEEP, .is_per_ns = true},
};

static const struct feature *feature_find(const struct tgt_req *req)
{
	struct tgt_subsys *ss = req->conn->ctrl->ss;
	uint8_t fid = (uint8_t)req->sqe.cdw10;

	if (fid == FID_VWC && !atomic_load(&ss->has_write_cache))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		if (features[i].fid == fid)
			return ss->is_discovery && !features[i].on_discovery
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
	ctrl->temp_under = 0;
	for (unsigned i = 0; i < TGT_NS_MAX; i++)
		atomic_store(&ctrl->resv_mask[i], 0);
	atomic_store(&ctrl->wce, true);
}

/* --- Get --- */

/* The thresholds of sensors that are not there can't be asked for. */
static uint16_t temp_get(struct tgt_req *req, bool is_current)
{
	const struct tgt_ctrl *ctrl = req->conn->ctrl;
	uint32_t which = req->sqe.cdw11;
	bool is_under = TEMP_TYPE(which) == 1;

	if ((which & TEMP_SENSOR) || TEMP_TYPE(which) > 1)
		return NVME_SC_BAD_FIELD | NVME_SC_DNR;
	if (is_current)
		req->result =
			is_under ? ctrl->temp_under : ctrl->features[FID_TEMP];
	else
		req->result = is_under ? 0 : IDENT_TEMP_HIGH;
	return NVME_SC_OK;
}

/* The one that came with Connect; the short form does not exist on fabrics. */
static void hostid_get(struct tgt_req *req)
{
	const struct tgt_ctrl *ctrl = req->conn->ctrl;

	if (!(req->sqe.cdw11 & HOSTID_EXHID)) {
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
	} else if (admin_data(req, sizeof(ctrl->hostid))) {
		memcpy(req->data, ctrl->hostid, sizeof(ctrl->hostid));
		req_complete_data(req);
	}
}

/* For one namespace, not for all. */
static uint16_t resv_mask_get(struct tgt_req *req, bool is_current)
{
	const struct tgt_ctrl *ctrl = req->conn->ctrl;
	uint32_t nsid = req->sqe.nsid;

	if (!tgt_ns_find(ctrl->ss, nsid))
		return NVME_SC_BAD_NS | NVME_SC_DNR;
	req->result = is_current ? atomic_load(&ctrl->resv_mask[nsid - 1]) : 0;
	return NVME_SC_OK;
}

static uint16_t resv_keep_get(struct tgt_req *req, bool is_current)
{
	struct tgt_ns *ns = tgt_ns_find(req->conn->ctrl->ss, req->sqe.nsid);

	if (!ns)
		return NVME_SC_BAD_NS | NVME_SC_DNR;
	req->result = is_current && resv_is_persistent(&ns->resv);
	return NVME_SC_OK;
}

static bool can_change(const struct tgt_req *req, const struct feature *f)
{
	if (f->fid == FID_RESV_KEEP)
		return atomic_load(&req->conn->tgt->has_keeper);
	return f->mask != 0;
}

static uint16_t feature_load(struct tgt_req *req, const struct feature *f)
{
	const struct tgt_ctrl *ctrl = req->conn->ctrl;
	unsigned sel = req->sqe.cdw10 >> 8 & 7;

	if (sel == SEL_CAPABILITIES)
		req->result = (can_change(req, f) ? CAN_CHANGE : 0) |
			      (f->is_per_ns ? CAN_BE_PER_NS : 0);
	else if (f->fid == FID_TEMP)
		return temp_get(req, sel == SEL_CURRENT);
	else if (f->fid == FID_RESV_MASK)
		return resv_mask_get(req, sel == SEL_CURRENT);
	else if (f->fid == FID_RESV_KEEP)
		return resv_keep_get(req, sel == SEL_CURRENT);
	else if (sel == SEL_CURRENT)
		req->result = ctrl->features[f->fid];
	else if (f->fid == FID_QUEUES)
		req->result = queues_value(ctrl, UINT32_MAX);
	else
		req->result = f->def;
	return NVME_SC_OK;
}

void feature_get(struct tgt_req *req)
{
	const struct feature *f = feature_find(req);
	unsigned sel = req->sqe.cdw10 >> 8 & 7;

	if (!f || sel > SEL_CAPABILITIES)
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
	else if (f->fid == FID_HOSTID && sel != SEL_CAPABILITIES)
		hostid_get(req);
	else
		req_complete(req, feature_load(req, f));
}

/* --- Set --- */

static uint16_t temp_set(struct tgt_ctrl *ctrl, uint32_t value)
{
	uint32_t sensor = value & TEMP_SENSOR;

	if ((sensor && sensor != TEMP_ALL) || TEMP_TYPE(value) > 1)
		return NVME_SC_BAD_FIELD | NVME_SC_DNR;
	if (TEMP_TYPE(value) == 1)
		ctrl->temp_under = value & TEMP_VALUE;
	else
		ctrl->features[FID_TEMP] = value & TEMP_VALUE;
	return NVME_SC_OK;
}

static uint16_t queues_set(struct tgt_req *req, uint32_t value)
{
	struct tgt_ctrl *ctrl = req->conn->ctrl;

	if ((value & 0xffff) == 0xffff || value >> 16 == 0xffff)
		return NVME_SC_BAD_FIELD | NVME_SC_DNR;
	ctrl->features[FID_QUEUES] = queues_value(ctrl, value);
	req->result = ctrl->features[FID_QUEUES];
	return NVME_SC_OK;
}

static uint16_t kato_set(struct tgt_ctrl *ctrl, uint32_t value)
{
	if (value > UINT32_MAX - 100)
		return NVME_SC_KA_INVALID | NVME_SC_DNR;
	value = ctrl_kato(value);
	atomic_store(&ctrl->kato_ms, value);
	ctrl->features[FID_KATO] = value;
	return NVME_SC_OK;
}

static uint16_t resv_mask_set(struct tgt_ctrl *ctrl, uint32_t nsid,
			      uint32_t value)
{
	if (nsid == 0)
		return NVME_SC_BAD_NS | NVME_SC_DNR;
	for (uint32_t i = 1; i <= TGT_NS_MAX; i++) {
		if (i == nsid || nsid == UINT32_MAX)
			atomic_store(&ctrl->resv_mask[i - 1], value & 0xe);
	}
	return NVME_SC_OK;
}

static uint16_t feature_store(struct tgt_req *req, const struct feature *f)
{
	struct tgt_ctrl *ctrl = req->conn->ctrl;
	uint32_t value = req->sqe.cdw11;

	switch (f->fid) {
	case FID_POWER:
		return value & 0x1f ? NVME_SC_BAD_FIELD | NVME_SC_DNR
				    : NVME_SC_OK;
	case FID_TEMP:
		return temp_set(ctrl, value);
	case FID_QUEUES:
		return queues_set(req, value);
	case FID_KATO:
		return kato_set(ctrl, value);
	case FID_HOSTID: /* Connect has set it */
		return NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR;
	case FID_RESV_MASK:
		return resv_mask_set(ctrl, req->sqe.nsid, value);
	case FID_VWC:
		atomic_store(&ctrl->wce, value & 1);
		break;
	default:
		break;
	}
	ctrl->features[f->fid] = value & f->mask;
	return NVME_SC_OK;
}

/* A namespace can be named only where there is something per namespace. */
static uint16_t check_nsid(const struct tgt_req *req, const struct feature *f)
{
	struct tgt_subsys *ss = req->conn->ctrl->ss;
	uint32_t nsid = req->sqe.nsid;

	if (nsid == 0 || nsid == UINT32_MAX)
		return NVME_SC_OK;
	if (!tgt_ns_find(ss, nsid))
		return NVME_SC_BAD_NS | NVME_SC_DNR;
	return f->is_per_ns ? NVME_SC_OK : NVME_SC_FEATURE_NOT_NS | NVME_SC_DNR;
}

void feature_set(struct tgt_req *req)
{
	const struct feature *f = feature_find(req);
	uint16_t sc = NVME_SC_BAD_FIELD | NVME_SC_DNR;

	if (f && (req->sqe.cdw10 & SET_SAVE))
		sc = NVME_SC_FEATURE_NOT_SAVEABLE | NVME_SC_DNR;
	else if (f)
		sc = check_nsid(req, f);
	if (!sc && f->fid == FID_RESV_KEEP) {
		resv_persist_start(req);
		return;
	}
	if (!sc)
		sc = feature_store(req, f);
	req_complete(req, sc);
	if (!sc)
		aer_check(req->conn); /* an event may just have been enabled */
}
