/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reservation commands.  Register, Acquire and Release travel from the shard
 * to the control loop, which alone changes reservations and knows whom to tell,
 * and back (Preempt and Abort by way of all shards); Report is answered on the
 * shard.  Invariant: the answer leaves after every shard can see what has
 * changed.
 */
#include <string.h>

#include "base/log.h"
#include "target/nvm.h"
#include "target/resv_fence.h"

#define KEYS_MAX   4096 /* hosts send 8 or 16 bytes, some a page */
#define REPORT_MAX 65536
#define EDS	   1u /* 128-bit host ids, the only ones on fabrics */

static struct resv_cmd parse(const struct tgt_req *req)
{
	uint32_t cdw10 = req->sqe.cdw10;
	struct resv_cmd cmd = {
		.hostid = req->conn->ctrl->hostid,
		.action = cdw10 & 7,
		.is_key_ignored = cdw10 >> 3 & 1,
		.type = (uint8_t)(cdw10 >> 8),
		.persist = (uint8_t)(cdw10 >> 30),
	};

	memcpy(&cmd.key, req->data, sizeof(cmd.key));
	if (req->sqe.opcode != NVME_CMD_RESV_RELEASE)
		memcpy(&cmd.other_key, req->data + sizeof(cmd.key),
		       sizeof(cmd.other_key));
	return cmd;
}

static uint16_t apply(struct tgt_req *req, struct resv_notes *notes)
{
	struct resv *r = &req->ns->resv;
	struct resv_cmd cmd = parse(req);

	switch (req->sqe.opcode) {
	case NVME_CMD_RESV_REGISTER:
		return resv_register(r, &cmd, notes);
	case NVME_CMD_RESV_ACQUIRE:
		return resv_acquire(r, &cmd, notes);
	default:
		return resv_release(r, &cmd, notes);
	}
}

static void on_back(struct mbox_msg *msg)
{
	struct tgt_req *req = container_of(msg, struct tgt_req, msg);
	struct tgt_conn *conn = req->conn;

	conn->busy_count--;
	req->state = REQ_SENDING;
	req_complete(req, req->sc);
	conn_check(conn);
}

static void tell(const struct tgt_req *req)
{
	const struct tgt_ctrl *ctrl = req->conn->ctrl;
	struct tgt *tgt = ctrl->tgt;
	uint32_t held_back;

	if (log_rate_take(&tgt->resv_rate, loop_now_ns(tgt->opts.loop),
			  &held_back))
		log_info("reservation command",
			 "subnqn=%s nsid=%u host=%s opcode=%#x cdw10=%#x "
			 "status=%s held_back=%u",
			 ctrl->ss->nqn, req->ns->nsid, ctrl->hostnqn,
			 req->sqe.opcode, req->sqe.cdw10, nvme_sc_text(req->sc),
			 held_back);
}

static bool is_abort(const struct tgt_req *req)
{
	return req->sqe.opcode == NVME_CMD_RESV_ACQUIRE &&
	       (req->sqe.cdw10 & 7) == RESV_PREEMPT_ABORT;
}

static void on_control(struct mbox_msg *msg)
{
	struct tgt_req *req = container_of(msg, struct tgt_req, msg);
	const struct tgt_ctrl *ctrl = req->conn->ctrl;
	struct resv_fence *fence =
		is_abort(req) ? resv_fence_create(req) : NULL;
	struct resv_notes notes = {.count = 0};

	if (is_abort(req) && !fence)
		req->sc = NVME_SC_INTERNAL; /* nothing has changed */
	else
		req->sc = apply(req, &notes);
	tell(req);
	for (unsigned i = 0; i < notes.count; i++)
		ctrl_note_resv(ctrl->ss, req->ns->nsid, &notes.notes[i]);
	if (fence && !req->sc) {
		resv_fence_start(fence, &notes, on_back);
		return;
	}
	resv_fence_destroy(fence);
	req->msg.run = on_back;
	loop_post(req->conn->shard->loop, &req->msg);
}

void resv_start(struct tgt_req *req, uint32_t icd_len)
{
	bool is_release = req->sqe.opcode == NVME_CMD_RESV_RELEASE;
	uint16_t sc = nvm_ns(req);

	if (!sc && (req->sqe.sgl.len < (is_release ? 8 : 16) ||
		    req->sqe.sgl.len > KEYS_MAX))
		sc = NVME_SC_DATA_SGL_LEN | NVME_SC_DNR;
	if (sc) {
		req_complete(req, sc);
		return;
	}
	req->len = req->sqe.sgl.len;
	nvm_data_out(req, icd_len, req->len);
}

void resv_data_ready(struct tgt_req *req)
{
	req->state = REQ_BUSY;
	req->conn->busy_count++;
	req->msg.run = on_control;
	loop_post(req->conn->tgt->opts.loop, &req->msg);
}

void resv_report_start(struct tgt_req *req, uint32_t icd_len)
{
	uint64_t len = ((uint64_t)req->sqe.cdw10 + 1) * 4;
	uint8_t report[RESV_REPORT_MAX];
	uint16_t sc = nvm_ns(req);
	size_t n;

	if (!sc && !(req->sqe.cdw11 & EDS))
		sc = NVME_SC_BAD_HOSTID_FORMAT | NVME_SC_DNR;
	if (!sc && len > REPORT_MAX)
		sc = NVME_SC_BAD_FIELD | NVME_SC_DNR;
	if (sc) {
		req_complete(req, sc);
		return;
	}
	if (!admin_data(req, (uint32_t)len))
		return;
	n = resv_report(&req->ns->resv, report);
	memcpy(req->data, report, MIN((size_t)len, n));
	req_complete_data(req);
}
