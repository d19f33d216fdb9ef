/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reservation commands.  Register, Acquire and Release travel from the shard
 * to the control loop, which alone changes reservations and knows whom to tell,
 * and back (Preempt and Abort by way of all shards); Report is answered on the
 * shard.  Invariant: the answer leaves after every shard can see what has
 * changed and, of what is to outlive the target, after it was kept.
 */
#include <stdlib.h>
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
		.can_persist = atomic_load(&req->conn->tgt->has_keeper),
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

/* On the control loop, from the change to the answer. */
struct resv_job {
	struct tgt_save save;
	struct tgt_req *req;
	struct resv_fence *fence; /* NULL: nothing to wait for */
	struct resv_notes notes;
};

static void answer(struct tgt_req *req)
{
	req->msg.run = on_back;
	loop_post(req->conn->shard->loop, &req->msg);
}

static struct resv_job *job_create(struct tgt_req *req)
{
	struct resv_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->req = req;
	list_init(&job->save.node);
	if (req->ns && is_abort(req)) {
		job->fence = resv_fence_create(req);
		if (!job->fence) {
			free(job);
			return NULL;
		}
	}
	return job;
}

static void job_finish(struct resv_job *job)
{
	if (job->fence && !job->req->sc) {
		resv_fence_start(job->fence, &job->notes, on_back);
	} else {
		resv_fence_destroy(job->fence);
		answer(job->req);
	}
	free(job);
}

static void on_kept(struct tgt_save *save, int ret)
{
	struct resv_job *job = container_of(save, struct resv_job, save);

	/* It is so now, but nobody may rely on it. */
	if (ret)
		job->req->sc = NVME_SC_INTERNAL;
	job_finish(job);
}

static void job_keep(struct resv_job *job)
{
	struct tgt *tgt = job->req->conn->tgt;

	job->save.done = on_kept;
	if (tgt->keep)
		tgt->keep(tgt->keep_arg, &job->save);
	else
		on_kept(&job->save, 0);
}

static void on_control(struct mbox_msg *msg)
{
	struct tgt_req *req = container_of(msg, struct tgt_req, msg);
	struct resv_job *job = job_create(req);
	bool was_kept;

	if (!job) {
		req->sc = NVME_SC_INTERNAL; /* nothing has changed */
		answer(req);
		return;
	}
	was_kept = resv_is_persistent(&req->ns->resv);
	req->sc = apply(req, &job->notes);
	tell(req);
	for (unsigned i = 0; i < job->notes.count; i++)
		ctrl_note_resv(req->conn->ctrl->ss, req->ns->nsid,
			       &job->notes.notes[i]);
	if (!req->sc && (was_kept || resv_is_persistent(&req->ns->resv)))
		job_keep(job);
	else
		job_finish(job);
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

/* Of one namespace or (FFFFFFFFh) of all. */
static void on_persist(struct mbox_msg *msg)
{
	struct tgt_req *req = container_of(msg, struct tgt_req, msg);
	const struct tgt_subsys *ss = req->conn->ctrl->ss;
	struct resv_job *job = job_create(req);
	uint32_t nsid = 0;

	if (!job) {
		req->sc = NVME_SC_INTERNAL;
		answer(req);
		return;
	}
	while ((nsid = tgt_ns_after(ss, nsid))) {
		if (req->sqe.nsid == UINT32_MAX || req->sqe.nsid == nsid)
			resv_persist_set(&tgt_ns_find(ss, nsid)->resv,
					 req->sqe.cdw11 & 1);
	}
	job_keep(job);
}

void resv_persist_start(struct tgt_req *req)
{
	struct tgt *tgt = req->conn->tgt;

	if (req->sqe.nsid == 0) {
		req_complete(req, NVME_SC_BAD_NS | NVME_SC_DNR);
	} else if (!atomic_load(&tgt->has_keeper)) {
		req_complete(req, req->sqe.cdw11 & 1
					  ? NVME_SC_FEATURE_NOT_CHANGEABLE |
						    NVME_SC_DNR
					  : NVME_SC_OK);
	} else {
		req->sc = NVME_SC_OK;
		req->state = REQ_BUSY;
		req->conn->busy_count++;
		req->msg.run = on_persist;
		loop_post(tgt->opts.loop, &req->msg);
	}
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
