/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admin requests of a controller; its loop's thread.  Invariant: a request is
 * in waiting, in a slot, or in orphans; done runs when it leaves the last of
 * them, always from the loop.
 */
#include "nvmf/ctrl.h"

#include "base/time.h"

static void admin_done(struct nt_cmd *cmd)
{
	struct nvmf_admin *req = cmd->owner;

	req->sc = cmd->sc;
	req->cqe = cmd->cqe;
	req->done(req);
}

static void issue(struct nt_cmd *cmd, struct nvmf_admin *req)
{
	bool is_connect = req->sqe.opcode == NVME_OP_FABRICS &&
			  (req->sqe.nsid & 0xff) == NVME_FCTYPE_CONNECT;

	cmd->sqe = req->sqe;
	cmd->bytes = req->data_len;
	if (req->data_len) {
		cmd->dir = is_connect ? NT_WRITE : NT_READ;
		cmd->is_in_capsule = is_connect;
		req->iov = (struct iovec){req->data, req->data_len};
		cmd->data = (struct nt_cursor){.iov = &req->iov, .cnt = 1};
	}
	cmd->deadline_ns = req->deadline_ns;
	cmd->done = admin_done;
	cmd->owner = req;
	nt_cmd_submit(cmd->conn, cmd);
}

void ctrl_admin_pump(struct nvmf_ctrl *ctrl)
{
	while (!list_is_empty(&ctrl->waiting)) {
		struct nt_cmd *cmd = nt_cmd_take(&ctrl->conn);
		struct nvmf_admin *req;

		if (!cmd)
			return;
		req = list_first(&ctrl->waiting, struct nvmf_admin, node);
		list_del(&req->node);
		issue(cmd, req);
	}
}

void ctrl_admin_drop(struct list *reqs)
{
	struct list batch;

	/* What done() submits again is for the next turn. */
	list_init(&batch);
	list_splice_tail(&batch, reqs);
	while (!list_is_empty(&batch)) {
		struct nvmf_admin *req =
			list_first(&batch, struct nvmf_admin, node);

		list_del(&req->node);
		req->sc = NVME_SC_HOST_PATH_ERROR;
		req->cqe = (struct nvme_cqe){0};
		req->done(req);
	}
}

/* It is done in the next turn: connection lost. */
static void orphan(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	list_add_tail(&ctrl->orphans, &req->node);
	loop_defer(ctrl->loop, &ctrl->task);
}

void ctrl_admin_submit(struct nvmf_ctrl *ctrl, struct nvmf_admin *req,
		       uint64_t deadline_ns)
{
	ASSERT(req->done);
	req->deadline_ns = deadline_ns;
	if (ctrl->conn.state != NT_READY) {
		orphan(ctrl, req);
		return;
	}
	list_add_tail(&ctrl->waiting, &req->node);
	ctrl_admin_pump(ctrl);
}

void nvmf_admin_submit(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	if (ctrl->is_closing) {
		/* Nothing may follow the shutdown on the wire. */
		orphan(ctrl, req);
		return;
	}
	ctrl_admin_submit(ctrl, req,
			  loop_now_ns(ctrl->loop) +
				  ctrl->opts.admin_timeout_ms * NS_PER_MS);
}
