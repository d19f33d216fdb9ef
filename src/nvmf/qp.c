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

#define NLB_MAX	  65536
#define ONE_PIECE 4096 /* every controller takes so much */
#define QP_ABORTS 8    /* messages to the controller's loop at a time */

/* Asks the controller's loop for an Abort and comes back at once. */
struct qp_abort {
	struct mbox_msg msg;
	struct nvmf_qp *qp;
	uint16_t cid;
	bool is_out;
};

/* Owner: the user from nvmf_qp_open to nvmf_qp_close. */
struct nvmf_qp {
	/* constant after open */
	struct loop *loop;
	struct nvmf_opts opts;
	struct nvmf_ctrl_info info;
	uint16_t qid;
	struct nvmf_ctrl *ctrl; /* NULL: no Aborts */
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
	struct qp_abort aborts[QP_ABORTS];
	unsigned aborts_out;
	/* closing */
	struct timer close_timer;
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

/* Of one command, as far as the target goes. */
static uint64_t most_bytes(const struct nvmf_qp *qp, const struct nvmf_io *io)
{
	uint64_t max = MIN((uint64_t)NLB_MAX * io->lba_bytes,
			   (uint64_t)qp->info.max_transfer);

	max = ALIGN_DOWN(MIN(max, (uint64_t)UINT32_MAX), io->lba_bytes);
	return MAX(max, (uint64_t)io->lba_bytes);
}

static uint32_t next_bytes(const struct nvmf_qp *qp, const struct nvmf_io *io)
{
	uint64_t max = most_bytes(qp, io);

	if (io->has_crcs) /* no block is parted between commands */
		max -= max % io->crc_bytes;
	return (uint32_t)MIN(max, io->bytes - io->issued);
}

static void set_sqe(struct nvmf_io *io, struct nt_cmd *cmd)
{
	if (io->sqe)
		cmd->sqe = *io->sqe;
	else if (io->op == NVMF_FLUSH)
		cmd->sqe = (struct nvme_sqe){.opcode = NVME_CMD_FLUSH,
					     .flags = NVME_SQE_PSDT_SGL,
					     .nsid = io->nsid};
	else
		nvme_cmd_rw(&cmd->sqe, io->op == NVMF_WRITE, io->nsid,
			    io->slba + io->issued / io->lba_bytes,
			    cmd->bytes / io->lba_bytes);
}

static void issue(struct nvmf_qp *qp, struct nvmf_io *io, struct nt_cmd *cmd)
{
	bool is_write = io->op == NVMF_WRITE;
	struct nt_cursor cur = {
		.iov = io->iov + io->iov_index,
		.cnt = io->iovcnt - io->iov_index,
		.off = io->iov_off,
	};

	if (io->op != NVMF_FLUSH)
		cmd->bytes = next_bytes(qp, io);
	set_sqe(io, cmd);
	if (cmd->bytes) {
		cmd->dir = is_write ? NT_WRITE : NT_READ;
		cmd->is_in_capsule =
			is_write && cmd->bytes <= qp->info.icd_bytes;
		cmd->data = cur;
		if (io->has_crcs) {
			cmd->crc_bytes = io->crc_bytes;
			cmd->crcs = io->crcs + io->issued / io->crc_bytes;
		}
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
	cmd->stop_ns = io->deadline_ns;
	if (io->issued == io->bytes)
		leave_waiting(qp, io);
	nt_cmd_submit(&qp->conn, cmd);
}

/* done() comes from the loop. */
static void orphan(struct nvmf_qp *qp, struct nvmf_io *io)
{
	list_del(&io->node);
	list_add_tail(&qp->orphans, &io->node);
	loop_defer(qp->loop, &qp->task);
}

static bool is_too_late(const struct nvmf_qp *qp, const struct nvmf_io *io)
{
	return io->deadline_ns && loop_now_ns(qp->loop) >= io->deadline_ns;
}

static void qp_pump(struct nvmf_qp *qp)
{
	while (qp->state == NVMF_LIVE && !list_is_empty(&qp->waiting)) {
		struct nvmf_io *io =
			list_first(&qp->waiting, struct nvmf_io, node);
		struct nt_cmd *cmd;

		if (is_too_late(qp, io)) {
			io->is_late = true;
			orphan(qp, io);
			continue;
		}
		cmd = nt_cmd_take(&qp->conn);
		if (!cmd)
			return;
		issue(qp, io, cmd);
	}
}

static uint16_t drop_status(const struct nvmf_io *io)
{
	if (io->is_cancelled)
		return NVME_SC_ABORT_REQUESTED;
	return io->is_late ? NVME_SC_HOST_ABORTED : NVME_SC_HOST_PATH_ERROR;
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
		io->sc = drop_status(io);
		io_finish(io);
	}
}

void nvmf_io_submit(struct nvmf_qp *qp, struct nvmf_io *io)
{
	ASSERT(io->done);
	ASSERT((io->op == NVMF_FLUSH) == (io->bytes == 0));
	ASSERT(io->op == NVMF_FLUSH ||
	       (IS_POW2(io->lba_bytes) && io->bytes % io->lba_bytes == 0));
	ASSERT(!io->sqe || io->bytes <= ONE_PIECE);
	ASSERT(!io->crcs ||
	       (io->crc_bytes && io->crc_bytes % io->lba_bytes == 0));
	io->sc = NVME_SC_OK;
	io->issued = io->completed = 0;
	io->iov_index = 0;
	io->iov_off = 0;
	io->cmds = 0;
	io->is_cancelled = io->is_late = false;
	io->has_crcs =
		io->crcs && io->bytes && io->crc_bytes <= most_bytes(qp, io);
	qp->waiting_count++;
	if (qp->is_closing || qp->state == NVMF_FAILED) {
		list_add_tail(&qp->orphans, &io->node);
		loop_defer(qp->loop, &qp->task);
		return;
	}
	list_add_tail(&qp->waiting, &io->node);
	qp_pump(qp);
}

/* --- late and cancelled commands --- */

static void send_aborts(struct nvmf_qp *qp);

static void abort_back(struct mbox_msg *msg)
{
	struct qp_abort *abort = container_of(msg, struct qp_abort, msg);
	struct nvmf_qp *qp = abort->qp;

	abort->is_out = false;
	qp->aborts_out--;
	if (qp->conn.state == NT_DOWN)
		loop_defer(qp->loop, &qp->task); /* may be all it waits for */
	else
		send_aborts(qp);
}

/* The controller's loop; both outlive the message. */
static void abort_run(struct mbox_msg *msg)
{
	struct qp_abort *abort = container_of(msg, struct qp_abort, msg);
	struct nvmf_qp *qp = abort->qp;

	ctrl_abort(qp->ctrl, qp->qid, abort->cid);
	abort->msg.run = abort_back;
	loop_post(qp->loop, &abort->msg);
}

static struct qp_abort *abort_slot(struct nvmf_qp *qp)
{
	for (unsigned i = 0; i < QP_ABORTS; i++)
		if (!qp->aborts[i].is_out)
			return &qp->aborts[i];
	return NULL;
}

static void send_aborts(struct nvmf_qp *qp)
{
	struct nt_cmd *cmd;

	list_for_each (cmd, &qp->conn.inflight, node) {
		struct qp_abort *abort;

		if (!cmd->is_aborting || cmd->is_abort_sent)
			continue;
		abort = abort_slot(qp);
		if (!abort)
			return;
		cmd->is_abort_sent = true;
		*abort = (struct qp_abort){.msg.run = abort_run,
					   .qp = qp,
					   .cid = cmd->cid,
					   .is_out = true};
		qp->aborts_out++;
		loop_post(qp->ctrl->loop, &abort->msg);
	}
}

static void conn_late(struct nt_conn *conn, struct nt_cmd *cmd)
{
	send_aborts(conn->opts.arg);
}

static void cancel_cmd(struct nvmf_io *io, struct nt_cmd *cmd)
{
	int ret = nt_cmd_forget(cmd);

	/* The others may succeed; the I/O has not. */
	if (ret == 0) {
		io->cmds--;
		io->sc = NVME_SC_ABORT_REQUESTED;
	} else if (ret != -EBUSY) {
		nt_cmd_cancel(cmd);
	}
}

void nvmf_io_cancel(struct nvmf_qp *qp, struct nvmf_io *io)
{
	if (io->is_cancelled || (!is_waiting(io) && !io->cmds))
		return;
	io->is_cancelled = true;
	if (is_waiting(io))
		orphan(qp, io);
	for (unsigned i = 0; i < qp->conn.slot_count; i++)
		if (qp->conn.slots[i].in_use && qp->conn.slots[i].owner == io)
			cancel_cmd(io, &qp->conn.slots[i]);
	if (!io->cmds && !is_waiting(io)) {
		qp->waiting_count++;
		orphan(qp, io);
	}
}

/* --- opening --- */

static void auth_done(struct nt_conn *conn)
{
	struct nvmf_qp *qp = conn->opts.arg;

	qp->state = NVMF_LIVE;
	qp->on_state(qp, NVMF_LIVE, &(struct err){0}, qp->arg);
	qp_pump(qp);
}

static void connect_done(struct nt_cmd *cmd)
{
	struct nvmf_qp *qp = cmd->conn->opts.arg;

	if (qp->conn.state != NT_READY || qp->is_closing)
		return;
	if (cmd->sc != NVME_SC_OK) {
		connect_refused(&qp->conn, &qp->opts, cmd->sc, cmd->cqe.dw0);
		return;
	}
	nt_auth_start(&qp->conn, &qp->opts, cmd->cqe.dw0, auth_done);
}

static void conn_ready(struct nt_conn *conn)
{
	struct nvmf_qp *qp = conn->opts.arg;
	struct nt_cmd *cmd;

	if (qp->is_closing) {
		nt_close(conn);
		return;
	}
	cmd = nt_cmd_take(conn);
	ASSERT(cmd);
	connect_fill(&qp->connect, &qp->opts, qp->info.cntlid);
	qp->connect_iov = (struct iovec){&qp->connect, sizeof(qp->connect)};
	nvme_cmd_connect(&cmd->sqe, qp->qid, (uint16_t)(conn->opts.depth - 1),
			 0);
	/* The slots are our limit, SQHD is not looked at; a target that need
	 * not tell it ends a read with the data's own SUCCESS flag. */
	cmd->sqe.cdw11 |= NVME_CONNECT_NO_SQ_FLOW;
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
	struct nvmf_qp *qp = conn->opts.arg;

	if (!qp->is_closing)
		qp_pump(qp);
	else if (!conn->inflight_count)
		nt_close(conn);
}

static void qp_free(struct nvmf_qp *qp)
{
	secret_clear(&qp->opts, sizeof(qp->opts));
	free(qp);
}

static void qp_task(struct loop_task *task)
{
	struct nvmf_qp *qp = container_of(task, struct nvmf_qp, task);
	void (*closed)(void *arg);
	void *arg;

	drop(qp, &qp->orphans);
	if (!qp->is_closing || qp->conn.state != NT_DOWN || qp->aborts_out ||
	    !list_is_empty(&qp->orphans))
		return;
	loop_undefer(qp->loop, &qp->task);
	closed = qp->closed;
	arg = qp->closed_arg;
	nt_fini(&qp->conn);
	qp_free(qp);
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
	timer_cancel(qp->loop, &qp->close_timer);
	drop(qp, &qp->waiting);
	if (qp->is_closing)
		loop_defer(qp->loop, &qp->task);
	else
		qp->on_state(qp, NVMF_FAILED, &err, qp->arg);
}

static void close_expired(struct timer *timer)
{
	nt_close(&container_of(timer, struct nvmf_qp, close_timer)->conn);
}

int nvmf_qp_open(struct loop *loop, const struct nvmf_qp_opts *opts,
		 nvmf_qp_state_fn on_state, void *arg, struct nvmf_qp **out)
{
	struct nvmf_qp *qp = calloc(1, sizeof(*qp));
	struct nt_opts nt = {
		.addr = opts->opts->addr,
		.hdgst = opts->opts->hdgst,
		.ddgst = opts->opts->ddgst,
		.zerocopy_bytes = opts->opts->zerocopy_bytes,
		.arg = qp,
		.on_ready = conn_ready,
		.on_slot = conn_slot,
		.on_down = conn_down,
		.on_late = opts->ctrl ? conn_late : NULL,
	};

	ASSERT(on_state && opts->qid > 0);
	if (!qp)
		return -ENOMEM;
	qp->loop = loop;
	qp->opts = *opts->opts;
	opts_fill_defaults(&qp->opts);
	qp->info = opts->info;
	qp->qid = opts->qid;
	qp->ctrl = opts->ctrl;
	qp->close_timer.fire = close_expired;
	qp->on_state = on_state;
	qp->arg = arg;
	list_init(&qp->waiting);
	list_init(&qp->orphans);
	qp->task.run = qp_task;
	nt.depth = MIN(qp->opts.io_depth, qp->info.mqes);
	nt.connect_timeout_ms = qp->opts.connect_timeout_ms;
	nt.ack_timeout_ms = qp->opts.ack_timeout_ms
				    ? qp->opts.ack_timeout_ms
				    : qp->opts.command_timeout_ms;
	nt.abort_timeout_ms = qp->opts.abort_timeout_ms;
	if (nt_tls_derive(&qp->opts, &nt.psk) ||
	    nt_init(&qp->conn, loop, &nt)) {
		qp_free(qp);
		return -ENOMEM;
	}
	nt_connect(&qp->conn);
	*out = qp;
	return 0;
}

/* A target that is at work for us would find the connection gone: it gets the
 * time to finish, unless it is known to be beyond that. */
static bool is_worth_waiting(const struct nvmf_qp *qp)
{
	if (qp->ctrl && atomic_load(&qp->ctrl->is_down))
		return false;
	return qp->conn.state == NT_GREETING ||
	       (qp->conn.state == NT_READY && qp->conn.inflight_count);
}

void nvmf_qp_close(struct nvmf_qp *qp, void (*done)(void *arg), void *arg)
{
	ASSERT(!qp->is_closing);
	qp->is_closing = true;
	qp->closed = done;
	qp->closed_arg = arg;
	list_splice_tail(&qp->orphans, &qp->waiting);
	loop_defer(qp->loop, &qp->task);
	if (is_worth_waiting(qp))
		timer_set(qp->loop, &qp->close_timer,
			  qp->opts.close_timeout_ms * NS_PER_MS);
	else if (qp->conn.state != NT_DOWN)
		nt_close(&qp->conn);
}
