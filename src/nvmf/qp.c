/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O queue pair: a connection of its own that presents the controller's id,
 * and nvmf_io cut into commands; its loop's thread.
 *
 * Invariant: an nvmf_io is in waiting while bytes of it have no command yet;
 * it is done when it is not in waiting and has no command in flight.  After
 * the first error no further commands are made for it.
 */
#include "nvmf/ctrl.h"

#include <errno.h>
#include <stdlib.h>

#include "base/time.h"

#define NLB_MAX 65536

/* Owner: the user from nvmf_qp_open to nvmf_qp_close. */
struct nvmf_qp {
	/* constant after open */
	struct loop *loop;
	struct nvmf_opts opts;
	struct nvmf_ctrl_info info;
	uint16_t qid;
	nvmf_qp_state_fn on_state;
	void *arg;

	enum nvmf_state state;
	struct nt_conn conn;
	struct nvme_connect_data connect;
	struct iovec connect_iov;
	struct list waiting;
	struct list orphans; /* submitted when there was no connection */
	unsigned waiting_count;
	struct loop_task task;
	/* closing */
	bool is_closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* --- I/O --- */

static void leave_waiting(struct nvmf_qp *qp, struct nvmf_io *io)
{
	list_del(&io->node);
	qp->waiting_count--;
}

static bool is_waiting(const struct nvmf_io *io)
{
	return !list_is_empty(&io->node);
}

static void io_finish(struct nvmf_io *io)
{
	if (io->cmds == 0 && !is_waiting(io))
		io->done(io);
}

static void io_cmd_done(struct nt_cmd *cmd)
{
	struct nvmf_qp *qp = cmd->conn->opts.arg;
	struct nvmf_io *io = cmd->owner;

	ASSERT(io->cmds > 0);
	io->cmds--;
	io->completed += cmd->bytes;
	if (cmd->sc != NVME_SC_OK && io->sc == NVME_SC_OK) {
		io->sc = cmd->sc;
		if (is_waiting(io))
			leave_waiting(qp, io);
	}
	io_finish(io);
}

static uint32_t next_bytes(const struct nvmf_qp *qp, const struct nvmf_io *io)
{
	uint64_t max = MIN((uint64_t)NLB_MAX * io->lba_bytes,
			   (uint64_t)qp->info.max_transfer);

	max = ALIGN_DOWN(MIN(max, (uint64_t)UINT32_MAX), io->lba_bytes);
	return (uint32_t)MIN(MAX(max, (uint64_t)io->lba_bytes),
			     io->bytes - io->issued);
}

static void issue(struct nvmf_qp *qp, struct nvmf_io *io, struct nt_cmd *cmd)
{
	bool is_write = io->op == NVMF_WRITE;
	struct nt_cursor cur = {
		.iov = io->iov + io->iov_index,
		.cnt = io->iovcnt - io->iov_index,
		.off = io->iov_off,
	};

	if (io->op == NVMF_FLUSH) {
		cmd->sqe = (struct nvme_sqe){.opcode = NVME_CMD_FLUSH,
					     .flags = NVME_SQE_PSDT_SGL,
					     .nsid = io->nsid};
	} else {
		cmd->bytes = next_bytes(qp, io);
		nvme_cmd_rw(&cmd->sqe, is_write, io->nsid,
			    io->slba + io->issued / io->lba_bytes,
			    cmd->bytes / io->lba_bytes);
		cmd->dir = is_write ? NT_WRITE : NT_READ;
		cmd->is_in_capsule =
			is_write && cmd->bytes <= qp->info.icd_bytes;
		cmd->data = cur;
		nt_cursor_skip(&cur, cmd->bytes);
		io->iov_index = io->iovcnt - cur.cnt;
		io->iov_off = cur.off;
	}
	io->issued += cmd->bytes;
	io->cmds++;
	cmd->owner = io;
	cmd->done = io_cmd_done;
	cmd->deadline_ns =
		loop_now_ns(qp->loop) + qp->opts.command_timeout_ms * NS_PER_MS;
	if (io->issued == io->bytes)
		leave_waiting(qp, io);
	nt_cmd_submit(&qp->conn, cmd);
}

static void qp_pump(struct nvmf_qp *qp)
{
	while (qp->state == NVMF_LIVE && !list_is_empty(&qp->waiting)) {
		struct nt_cmd *cmd = nt_cmd_take(&qp->conn);

		if (!cmd)
			return;
		issue(qp, list_first(&qp->waiting, struct nvmf_io, node), cmd);
	}
}

static void drop(struct nvmf_qp *qp, struct list *ios)
{
	struct list batch;

	/* What done() submits again is for the next turn. */
	list_init(&batch);
	list_splice_tail(&batch, ios);
	while (!list_is_empty(&batch)) {
		struct nvmf_io *io = list_first(&batch, struct nvmf_io, node);

		leave_waiting(qp, io);
		io->sc = NVME_SC_HOST_PATH_ERROR;
		io_finish(io);
	}
}

void nvmf_io_submit(struct nvmf_qp *qp, struct nvmf_io *io)
{
	ASSERT(io->done);
	ASSERT((io->op == NVMF_FLUSH) == (io->bytes == 0));
	ASSERT(io->op == NVMF_FLUSH ||
	       (IS_POW2(io->lba_bytes) && io->bytes % io->lba_bytes == 0));
	io->sc = NVME_SC_OK;
	io->issued = io->completed = 0;
	io->iov_index = 0;
	io->iov_off = 0;
	io->cmds = 0;
	qp->waiting_count++;
	if (qp->is_closing || qp->state == NVMF_FAILED) {
		list_add_tail(&qp->orphans, &io->node);
		loop_defer(qp->loop, &qp->task);
		return;
	}
	list_add_tail(&qp->waiting, &io->node);
	qp_pump(qp);
}

/* --- opening --- */

static void connect_done(struct nt_cmd *cmd)
{
	struct nvmf_qp *qp = cmd->conn->opts.arg;

	if (qp->conn.state != NT_READY)
		return;
	if (cmd->sc != NVME_SC_OK) {
		connect_refused(&qp->conn, &qp->opts, cmd->sc, cmd->cqe.dw0);
		return;
	}
	qp->state = NVMF_LIVE;
	qp->on_state(qp, NVMF_LIVE, &(struct err){0}, qp->arg);
	qp_pump(qp);
}

static void conn_ready(struct nt_conn *conn)
{
	struct nvmf_qp *qp = conn->opts.arg;
	struct nt_cmd *cmd = nt_cmd_take(conn);

	ASSERT(cmd);
	connect_fill(&qp->connect, &qp->opts, qp->info.cntlid);
	qp->connect_iov = (struct iovec){&qp->connect, sizeof(qp->connect)};
	nvme_cmd_connect(&cmd->sqe, qp->qid, (uint16_t)(conn->opts.depth - 1),
			 0);
	cmd->dir = NT_WRITE;
	cmd->is_in_capsule = true;
	cmd->bytes = sizeof(qp->connect);
	cmd->data = (struct nt_cursor){.iov = &qp->connect_iov, .cnt = 1};
	cmd->done = connect_done;
	cmd->deadline_ns =
		conn->opened_ns + qp->opts.connect_timeout_ms * NS_PER_MS;
	nt_cmd_submit(conn, cmd);
}

static void conn_slot(struct nt_conn *conn)
{
	qp_pump(conn->opts.arg);
}

static void qp_task(struct loop_task *task)
{
	struct nvmf_qp *qp = container_of(task, struct nvmf_qp, task);
	void (*closed)(void *arg);
	void *arg;

	drop(qp, &qp->orphans);
	if (!qp->is_closing || qp->conn.state != NT_DOWN ||
	    !list_is_empty(&qp->orphans))
		return;
	loop_undefer(qp->loop, &qp->task);
	closed = qp->closed;
	arg = qp->closed_arg;
	nt_fini(&qp->conn);
	free(qp);
	if (closed)
		closed(arg);
}

static void conn_down(struct nt_conn *conn)
{
	struct nvmf_qp *qp = conn->opts.arg;
	struct err err = {0};

	if (qp->state == NVMF_CONNECTING && conn->lim.is_ready &&
	    (conn->err.code == -ETIMEDOUT || conn->err.code == -ECONNRESET))
		err_set(&err, conn->err.code,
			"subsystem '%s', Connect of I/O queue %u: %s",
			qp->opts.subnqn, qp->qid, conn->err.text);
	else
		err = conn->err;
	qp->state = NVMF_FAILED;
	drop(qp, &qp->waiting);
	if (qp->is_closing)
		loop_defer(qp->loop, &qp->task);
	else
		qp->on_state(qp, NVMF_FAILED, &err, qp->arg);
}

int nvmf_qp_open(struct loop *loop, const struct nvmf_qp_opts *opts,
		 nvmf_qp_state_fn on_state, void *arg, struct nvmf_qp **out)
{
	struct nvmf_qp *qp = calloc(1, sizeof(*qp));
	struct nt_opts nt = {
		.addr = opts->opts->addr,
		.hdgst = opts->opts->hdgst,
		.ddgst = opts->opts->ddgst,
		.arg = qp,
		.on_ready = conn_ready,
		.on_slot = conn_slot,
		.on_down = conn_down,
	};

	ASSERT(on_state && opts->qid > 0);
	if (!qp)
		return -ENOMEM;
	qp->loop = loop;
	qp->opts = *opts->opts;
	opts_fill_defaults(&qp->opts);
	qp->info = opts->info;
	qp->qid = opts->qid;
	qp->on_state = on_state;
	qp->arg = arg;
	list_init(&qp->waiting);
	list_init(&qp->orphans);
	qp->task.run = qp_task;
	nt.depth = MIN(qp->opts.io_depth, qp->info.mqes);
	nt.connect_timeout_ms = qp->opts.connect_timeout_ms;
	nt.io_timeout_ms = qp->opts.command_timeout_ms;
	if (nt_init(&qp->conn, loop, &nt)) {
		free(qp);
		return -ENOMEM;
	}
	nt_connect(&qp->conn);
	*out = qp;
	return 0;
}

void nvmf_qp_close(struct nvmf_qp *qp, void (*done)(void *arg), void *arg)
{
	ASSERT(!qp->is_closing);
	qp->is_closing = true;
	qp->closed = done;
	qp->closed_arg = arg;
	if (qp->conn.state == NT_DOWN)
		loop_defer(qp->loop, &qp->task);
	else
		nt_close(&qp->conn);
}
