/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's inside, shared by ctrl.c, setup.c and admin.c. */
#ifndef NVMF_CTRL_H
#define NVMF_CTRL_H

#include "base/log.h"
#include "nvmf/nt.h"

enum setup_step {
	SETUP_CONNECT,
	SETUP_VERSION,
	SETUP_CAP,
	SETUP_READ_CC,
	SETUP_DISABLE,
	SETUP_WAIT_DISABLED,
	SETUP_ENABLE,
	SETUP_WAIT_READY,
	SETUP_IDENTIFY,
	SETUP_EVENTS,
	SETUP_QUEUES,
	SETUP_DONE,
};

/* Owner: the user from nvmf_ctrl_open to nvmf_ctrl_close. */
struct nvmf_ctrl {
	/* constant after open */
	struct loop *loop;
	struct nvmf_opts opts; /* defaults filled in */
	nvmf_ctrl_state_fn on_state;
	void *arg;

	enum nvmf_state state;
	struct nvmf_ctrl_info info;
	struct nt_conn conn;
	/* admin.c */
	struct list waiting; /* nvmf_admin without a slot */
	struct list orphans; /* submitted when there was no connection */
	struct loop_task task;
	/* setup.c; req is the shutdown request later */
	enum setup_step step;
	struct nvmf_admin req;
	struct timer timer; /* polls CSTS, then paces keep-alive */
	struct nvme_connect_data connect;
	struct nvme_id_ctrl *page;
	uint64_t cap;
	uint32_t cc;
	uint64_t poll_until_ns;
	bool wants_events;
	/* keep-alive and events, while LIVE */
	struct nvmf_admin keep_alive, event;
	bool is_keep_alive_out;
	struct log_rate event_rate;
	/* closing */
	bool is_closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* admin.c */
void ctrl_admin_submit(struct nvmf_ctrl *ctrl, struct nvmf_admin *req,
		       uint64_t deadline_ns);
void ctrl_admin_pump(struct nvmf_ctrl *ctrl);
/* Completes all requests of a list with "connection lost". */
void ctrl_admin_drop(struct list *reqs);

/* setup.c */
void setup_start(struct nvmf_ctrl *ctrl);
const char *setup_step_text(enum setup_step step);

/* ctrl.c */
void ctrl_live(struct nvmf_ctrl *ctrl);

/* connect.c, also for queue pairs */
void opts_fill_defaults(struct nvmf_opts *opts);
void connect_fill(struct nvme_connect_data *data, const struct nvmf_opts *opts,
		  uint16_t cntlid);
/* Fails the connection with a sentence for a refused Connect. */
void connect_refused(struct nt_conn *conn, const struct nvmf_opts *opts,
		     uint16_t sc, uint32_t dw0);

#endif
