/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Controller: opening, keep-alive, closing; its loop's thread.
 *
 * Invariant: on_state is called at most once with LIVE and at most once with
 * FAILED, never after nvmf_ctrl_close(); the memory goes away in ctrl_task
 * only, so user callbacks may close the controller they are told about.
 */
#include "nvmf/ctrl.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"

#define CC_SHN_NORMAL	     (1u << 14)
#define CSTS_SHST	     (3u << 2)
#define CSTS_SHST_COMPLETE   (2u << 2)
#define SHUTDOWN_POLL_MS     10
#define KEEP_ALIVES_PER_KATO 2

static void ctrl_free(struct nvmf_ctrl *ctrl)
{
	free(ctrl->page);
	secret_clear(&ctrl->opts, sizeof(ctrl->opts));
	free(ctrl);
}

static void ctrl_task(struct loop_task *task)
{
	struct nvmf_ctrl *ctrl = container_of(task, struct nvmf_ctrl, task);
	void (*closed)(void *arg);
	void *arg;

	ctrl_admin_drop(&ctrl->orphans);
	if (!ctrl->is_closing || ctrl->conn.state != NT_DOWN ||
	    !list_is_empty(&ctrl->orphans))
		return;
	loop_undefer(ctrl->loop, &ctrl->task);
	closed = ctrl->closed;
	arg = ctrl->closed_arg;
	nt_fini(&ctrl->conn);
	ctrl_free(ctrl);
	if (closed)
		closed(arg);
}

static void ctrl_down(struct nt_conn *conn)
{
	struct nvmf_ctrl *ctrl = conn->opts.arg;
	struct err err = {0};

	atomic_store(&ctrl->is_down, true);
	timer_cancel(ctrl->loop, &ctrl->timer);
	timer_cancel(ctrl->loop, &ctrl->event_timer);
	ctrl_admin_drop(&ctrl->waiting);
	if (ctrl->is_closing) {
		loop_defer(ctrl->loop, &ctrl->task);
		return;
	}
	if (ctrl->state == NVMF_CONNECTING && conn->lim.is_ready &&
	    (conn->err.code == -ETIMEDOUT || conn->err.code == -ECONNRESET))
		err_set(&err, conn->err.code, "subsystem '%s', %s: %s",
			ctrl->opts.subnqn, setup_step_text(ctrl->step),
			conn->err.text);
	else
		err = conn->err;
	ctrl->state = NVMF_FAILED;
	ctrl->on_state(ctrl, NVMF_FAILED, &err, ctrl->arg);
}

/* --- keep-alive --- */

static uint64_t keep_alive_ns(const struct nvmf_ctrl *ctrl)
{
	return ctrl->opts.kato_ms * NS_PER_MS / KEEP_ALIVES_PER_KATO;
}

static void keep_alive_done(struct nvmf_admin *req)
{
	struct nvmf_ctrl *ctrl =
		container_of(req, struct nvmf_ctrl, keep_alive);

	ctrl->is_keep_alive_out = false;
	if (ctrl->conn.state == NT_READY && req->sc != NVME_SC_OK)
		nt_fail(&ctrl->conn, nvme_sc_errno(req->sc),
			"subsystem '%s' at %s: keep alive: %s",
			ctrl->opts.subnqn, ctrl->conn.peer,
			nvme_sc_text(req->sc));
}

static void keep_alive_fire(struct timer *timer)
{
	struct nvmf_ctrl *ctrl = container_of(timer, struct nvmf_ctrl, timer);
	uint64_t period = keep_alive_ns(ctrl);

	timer_set(ctrl->loop, &ctrl->timer, period);
	if (ctrl->is_keep_alive_out || ctrl->conn.state != NT_READY)
		return;
	ctrl->is_keep_alive_out = true;
	ctrl->keep_alive = (struct nvmf_admin){
		.done = keep_alive_done,
		.sqe = {.opcode = NVME_ADM_KEEP_ALIVE,
			.flags = NVME_SQE_PSDT_SGL},
	};
	/* Unanswered for this long, silence has lasted KATO. */
	ctrl_admin_submit(ctrl, &ctrl->keep_alive,
			  loop_now_ns(ctrl->loop) + period);
}

void ctrl_live(struct nvmf_ctrl *ctrl)
{
	ctrl->state = NVMF_LIVE;
	events_start(ctrl);
	/* KAS 0: the controller does not know keep-alive. */
	if (ctrl->opts.kato_ms != NVMF_KATO_OFF && ctrl->info.kas_100ms) {
		ctrl->timer.fire = keep_alive_fire;
		timer_set(ctrl->loop, &ctrl->timer, keep_alive_ns(ctrl));
	}
	ctrl->on_state(ctrl, NVMF_LIVE, &(struct err){0}, ctrl->arg);
}

/* --- opening and closing --- */

static void conn_ready(struct nt_conn *conn)
{
	struct nvmf_ctrl *ctrl = conn->opts.arg;

	if (ctrl->is_closing)
		nt_close(conn);
	else
		setup_start(ctrl);
}

static void conn_slot(struct nt_conn *conn)
{
	ctrl_admin_pump(conn->opts.arg);
}

int nvmf_ctrl_open(struct loop *loop, const struct nvmf_opts *opts,
		   nvmf_ctrl_state_fn on_state, void *arg,
		   struct nvmf_ctrl **out)
{
	struct nvmf_ctrl *ctrl = calloc(1, sizeof(*ctrl));
	struct nt_opts nt = {
		.addr = opts->addr,
		.hdgst = opts->hdgst,
		.ddgst = opts->ddgst,
		.arg = ctrl,
		.on_ready = conn_ready,
		.on_slot = conn_slot,
		.on_down = ctrl_down,
	};

	ASSERT(on_state);
	if (!ctrl)
		return -ENOMEM;
	ctrl->loop = loop;
	ctrl->opts = *opts;
	opts_fill_defaults(&ctrl->opts);
	ctrl->on_state = on_state;
	ctrl->arg = arg;
	list_init(&ctrl->waiting);
	list_init(&ctrl->orphans);
	ctrl->task.run = ctrl_task;
	ctrl->page = calloc(1, sizeof(*ctrl->page));
	nt.depth = ctrl->opts.admin_depth;
	nt.connect_timeout_ms = ctrl->opts.connect_timeout_ms;
	nt.ack_timeout_ms = ctrl->opts.ack_timeout_ms
				    ? ctrl->opts.ack_timeout_ms
				    : ctrl->opts.admin_timeout_ms;
	if (!ctrl->page || nt_tls_derive(&ctrl->opts, &nt.psk) ||
	    nt_init(&ctrl->conn, loop, &nt)) {
		ctrl_free(ctrl);
		return -ENOMEM;
	}
	nt_connect(&ctrl->conn);
	*out = ctrl;
	return 0;
}

/* --- closing --- */

static void ask_shutdown_state(struct nvmf_ctrl *ctrl);

/* Whatever it answers, the time for it is limited. */
static void close_request(struct nvmf_ctrl *ctrl,
			  void (*done)(struct nvmf_admin *req))
{
	ctrl->req.done = done;
	ctrl_admin_submit(ctrl, &ctrl->req, ctrl->close_until_ns);
}

static void close_expired(struct timer *timer)
{
	struct nvmf_ctrl *ctrl = container_of(timer, struct nvmf_ctrl, timer);

	nt_close(&ctrl->conn);
}

static void shutdown_again(struct timer *timer)
{
	ask_shutdown_state(container_of(timer, struct nvmf_ctrl, timer));
}

static void shutdown_state_done(struct nvmf_admin *req)
{
	struct nvmf_ctrl *ctrl = container_of(req, struct nvmf_ctrl, req);

	if (ctrl->conn.state != NT_READY)
		return;
	if (req->sc != NVME_SC_OK ||
	    (req->cqe.dw0 & CSTS_SHST) == CSTS_SHST_COMPLETE ||
	    loop_now_ns(ctrl->loop) >= ctrl->close_until_ns) {
		nt_close(&ctrl->conn);
		return;
	}
	ctrl->timer.fire = shutdown_again;
	timer_set(ctrl->loop, &ctrl->timer, SHUTDOWN_POLL_MS * NS_PER_MS);
}

static void ask_shutdown_state(struct nvmf_ctrl *ctrl)
{
	if (ctrl->conn.state != NT_READY)
		return;
	ctrl->req = (struct nvmf_admin){0};
	nvme_cmd_prop_get(&ctrl->req.sqe, NVME_PROP_CSTS, false);
	close_request(ctrl, shutdown_state_done);
}

static void shutdown_done(struct nvmf_admin *req)
{
	ask_shutdown_state(container_of(req, struct nvmf_ctrl, req));
}

void ctrl_shutdown(struct nvmf_ctrl *ctrl)
{
	timer_cancel(ctrl->loop, &ctrl->timer);
	if (ctrl->conn.state != NT_READY || ctrl->step <= SETUP_ENABLE) {
		nt_close(&ctrl->conn); /* there is nothing to shut down */
		return;
	}
	/* Set-up is over, so its request is free for the shutdown. */
	ctrl->req = (struct nvmf_admin){0};
	nvme_cmd_prop_set(&ctrl->req.sqe, NVME_PROP_CC, false,
			  ctrl->cc | CC_SHN_NORMAL);
	close_request(ctrl, shutdown_done);
}

void nvmf_ctrl_close(struct nvmf_ctrl *ctrl, void (*done)(void *arg), void *arg)
{
	uint64_t wait_ns = ctrl->opts.close_timeout_ms * NS_PER_MS;

	ASSERT(!ctrl->is_closing);
	ctrl->is_closing = true;
	ctrl->closed = done;
	ctrl->closed_arg = arg;
	ctrl->close_until_ns = loop_now_ns(ctrl->loop) + wait_ns;
	timer_cancel(ctrl->loop, &ctrl->timer);
	timer_cancel(ctrl->loop, &ctrl->event_timer);
	if (ctrl->conn.state == NT_DOWN) {
		loop_defer(ctrl->loop, &ctrl->task);
	} else if (ctrl->conn.state == NT_GREETING || ctrl->is_setup_out) {
		/* A target that is just answering does not like to be left:
		 * conn_ready() or step_done() goes on. */
		ctrl->timer.fire = close_expired;
		timer_set(ctrl->loop, &ctrl->timer, wait_ns);
	} else {
		ctrl_shutdown(ctrl);
	}
}

const struct nvmf_ctrl_info *nvmf_ctrl_info(const struct nvmf_ctrl *ctrl)
{
	return &ctrl->info;
}
