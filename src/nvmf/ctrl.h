/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's inside, shared by ctrl.c, setup.c and admin.c. */
#ifndef NVMF_CTRL_H
#define NVMF_CTRL_H

#include <stdatomic.h>

#include "base/log.h"
#include "nvmf/nt.h"

#define CTRL_ABORTS	 4  /* at a time, or fewer when ACL says so */
#define CTRL_ABORTS_WAIT 64 /* more are left to their deadlines */

enum setup_step {
	SETUP_CONNECT,
	SETUP_AUTH,
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
	/* abort.c */
	struct nvmf_admin aborts[CTRL_ABORTS];
	unsigned abort_mask; /* which of them are under way */
	struct {
		uint16_t sqid, cid;
	} abort_wait[CTRL_ABORTS_WAIT];
	unsigned abort_first, abort_count;
	atomic_bool is_down; /* told to queue pairs: nothing to wait for */
	/* setup.c; req is the shutdown request later */
	enum setup_step step;
	uint32_t connect_dw0; /* of the answer: is authentication asked for? */
	struct nvmf_admin req;
	struct timer timer; /* polls CSTS, then paces keep-alive */
	struct nvme_connect_data connect;
	struct nvme_id_ctrl *page;
	uint64_t cap;
	uint32_t cc;
	uint64_t poll_until_ns;
	bool is_setup_out; /* req has been submitted */
	uint32_t events;   /* asked of the controller, bits of OAES */
	/* keep-alive, while LIVE */
	struct nvmf_admin keep_alive;
	bool is_keep_alive_out;
	/* events.c */
	struct nvmf_admin event;
	struct timer event_timer; /* asks again after an error */
	struct log_rate event_rate;
	/* closing */
	bool is_closing;
	uint64_t close_until_ns;
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
/* While closing: tells the controller and awaits its answer, or just closes. */
void ctrl_shutdown(struct nvmf_ctrl *ctrl);

/* abort.c, on the controller's loop */
void ctrl_abort(struct nvmf_ctrl *ctrl, uint16_t sqid, uint16_t cid);

/* events.c */
/* The events that this controller knows (OAES) and we want. */
uint32_t events_wanted(const struct nvmf_ctrl *ctrl, uint32_t oaes);
void events_start(struct nvmf_ctrl *ctrl);

/* connect.c, also for queue pairs */
void opts_fill_defaults(struct nvmf_opts *opts);
void connect_fill(struct nvme_connect_data *data, const struct nvmf_opts *opts,
		  uint16_t cntlid);
/* Fails the connection with a sentence for a refused Connect. */
void connect_refused(struct nt_conn *conn, const struct nvmf_opts *opts,
		     uint16_t sc, uint32_t dw0);

#endif
