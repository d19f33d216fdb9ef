/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asynchronous events: what the host is to be told, and the requests that wait
 * for it.  Shard of the admin connection.  Invariant: an event is sent once,
 * and not again until the host has read the page that it points to; at most
 * IDENT_AERL + 1 requests are parked.
 */
#include "target/conn.h"
#include "target/ident.h"

#define FID_EVENTS 0x0b

static const struct aer {
	uint32_t enable; /* bit of the event configuration feature */
	uint32_t result; /* type, information, log page */
} aers[AER_KINDS] = {
	[AER_NS_CHANGED] = {1u << 8, 0x00040002},
	[AER_ANA_CHANGED] = {1u << 11, 0x000c0302},
	[AER_DISC_CHANGED] = {1u << 31, 0x0070f002},
	/* which of them, a feature of its own says */
	[AER_RESV] = {0, 0x00800006},
};

static bool aer_may_go(const struct tgt_ctrl *ctrl, unsigned kind)
{
	uint32_t bit = 1u << kind;

	return (atomic_load(&ctrl->aer_due) & bit) &&
	       !(ctrl->aer_masked & bit) &&
	       (!aers[kind].enable ||
		(ctrl->features[FID_EVENTS] & aers[kind].enable));
}

void aer_check(struct tgt_conn *admin)
{
	struct tgt_ctrl *ctrl = admin->ctrl;
	struct tgt_req *req;

	for (unsigned kind = 0; kind < AER_KINDS; kind++) {
		if (list_is_empty(&admin->parked))
			return;
		if (!aer_may_go(ctrl, kind))
			continue;
		atomic_fetch_and(&ctrl->aer_due, ~(1u << kind));
		ctrl->aer_masked |= 1u << kind;
		req = list_first(&admin->parked, struct tgt_req, node);
		list_del(&req->node);
		req->result = aers[kind].result;
		req_complete(req, NVME_SC_OK);
	}
}

void aer_read(struct tgt_req *req, enum aer_kind kind)
{
	struct tgt_ctrl *ctrl = req->conn->ctrl;

	if (req->sqe.cdw10 & LOG_RETAIN_EVENT)
		return;
	atomic_fetch_and(&ctrl->aer_due, ~(1u << kind));
	ctrl->aer_masked &= ~(1u << kind);
}

void aer_start(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;
	struct tgt_req *other;
	unsigned count = 0;

	list_for_each (other, &conn->parked, node)
		count++;
	if (count > IDENT_AERL) {
		req_complete(req, NVME_SC_AER_LIMIT | NVME_SC_DNR);
		return;
	}
	req->state = REQ_PARKED;
	list_add_tail(&conn->parked, &req->node);
	aer_check(conn);
}
