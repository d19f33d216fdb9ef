/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Abort: commands of I/O queues that are late or cancelled; the controller's
 * loop.  Invariant: at most ACL + 1 Aborts are under way; what does not fit in
 * the list of those that wait is left to its own deadline.
 *
 * The answer is not told to the queue: a command that was aborted comes back
 * by itself, and one that was not is not there in time, whatever Abort said.
 */
#include "nvmf/ctrl.h"

#include "base/time.h"

static unsigned most(const struct nvmf_ctrl *ctrl)
{
	return MIN((unsigned)ctrl->info.abort_limit, (unsigned)CTRL_ABORTS);
}

static void send_next(struct nvmf_ctrl *ctrl);

static void abort_done(struct nvmf_admin *req)
{
	struct nvmf_ctrl *ctrl = req->arg;

	ctrl->abort_mask &= ~(1u << (req - ctrl->aborts));
	if (ctrl->conn.state == NT_READY)
		send_next(ctrl);
}

static void send_next(struct nvmf_ctrl *ctrl)
{
	while (ctrl->abort_count &&
	       (unsigned)__builtin_popcount(ctrl->abort_mask) < most(ctrl)) {
		unsigned slot = (unsigned)__builtin_ctz(~ctrl->abort_mask);
		struct nvmf_admin *req = &ctrl->aborts[slot];
		unsigned at = ctrl->abort_first % CTRL_ABORTS_WAIT;

		*req = (struct nvmf_admin){.done = abort_done, .arg = ctrl};
		nvme_cmd_abort(&req->sqe, ctrl->abort_wait[at].sqid,
			       ctrl->abort_wait[at].cid);
		ctrl->abort_first++;
		ctrl->abort_count--;
		ctrl->abort_mask |= 1u << slot;
		nvmf_admin_submit(ctrl, req);
	}
}

void ctrl_abort(struct nvmf_ctrl *ctrl, uint16_t sqid, uint16_t cid)
{
	unsigned at =
		(ctrl->abort_first + ctrl->abort_count) % CTRL_ABORTS_WAIT;

	if (ctrl->state != NVMF_LIVE || ctrl->is_closing ||
	    ctrl->conn.state != NT_READY ||
	    ctrl->abort_count == CTRL_ABORTS_WAIT)
		return;
	ctrl->abort_wait[at].sqid = sqid;
	ctrl->abort_wait[at].cid = cid;
	ctrl->abort_count++;
	send_next(ctrl);
}
