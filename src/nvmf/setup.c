/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From ICResp to LIVE: a table of admin commands, one after the other, each
 * judged by its row; the controller's thread.  Invariant: at most one of the
 * request and the timer is under way, so a step never runs twice at a time.
 */
#include "nvmf/ctrl.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"

#define CC_EN		 1u
#define CC_IOSQES_IOCQES (6u << 16 | 4u << 20)
#define CSTS_RDY	 1u
#define CSTS_CFS	 2u
#define POLL_MS		 10
#define ICD_MAX		 ((uint64_t)1 << 20)
#define KIND_DISCOVERY	 2

static void run_step(struct nvmf_ctrl *ctrl);

const char *setup_step_text(enum setup_step step)
{
	static const char *const text[] = {
		[SETUP_CONNECT] = "Connect",
		[SETUP_AUTH] = "authentication",
		[SETUP_VERSION] = "reading VS",
		[SETUP_CAP] = "reading CAP",
		[SETUP_READ_CC] = "reading CC",
		[SETUP_DISABLE] = "disabling the controller",
		[SETUP_WAIT_DISABLED] = "waiting until it is disabled",
		[SETUP_ENABLE] = "enabling the controller",
		[SETUP_WAIT_READY] = "waiting until it is ready",
		[SETUP_IDENTIFY] = "Identify Controller",
		[SETUP_EVENTS] = "asking for events",
		[SETUP_QUEUES] = "setting the number of queues",
		[SETUP_DONE] = "set-up",
	};

	return text[step];
}

static int fail(struct nvmf_ctrl *ctrl, int code, const char *why)
{
	nt_fail(&ctrl->conn, code, "subsystem '%s' at %s: %s: %s",
		ctrl->opts.subnqn, ctrl->conn.peer, setup_step_text(ctrl->step),
		why);
	return code;
}

/* CAP.TO is in 500 ms; 0 would leave no time at all. */
static void start_polling(struct nvmf_ctrl *ctrl)
{
	uint64_t units = ctrl->cap >> 24 & 0xff;

	ctrl->poll_until_ns = loop_now_ns(ctrl->loop) +
			      MAX(units, (uint64_t)1) * 500 * NS_PER_MS;
}

/* --- what is asked --- */

static void ask_connect(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	const struct nvmf_opts *opts = &ctrl->opts;

	connect_fill(&ctrl->connect, opts, 0xffff);
	nvme_cmd_connect(&req->sqe, 0, (uint16_t)(opts->admin_depth - 1),
			 opts->kato_ms == NVMF_KATO_OFF ? 0 : opts->kato_ms);
	req->data = &ctrl->connect;
	req->data_len = sizeof(ctrl->connect);
}

static void ask_version(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	nvme_cmd_prop_get(&req->sqe, NVME_PROP_VS, false);
}

static void ask_cap(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	nvme_cmd_prop_get(&req->sqe, NVME_PROP_CAP, true);
}

static void ask_cc(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	nvme_cmd_prop_get(&req->sqe, NVME_PROP_CC, false);
}

static void ask_csts(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	nvme_cmd_prop_get(&req->sqe, NVME_PROP_CSTS, false);
}

static void ask_disable(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	start_polling(ctrl);
	nvme_cmd_prop_set(&req->sqe, NVME_PROP_CC, false, ctrl->cc & ~CC_EN);
}

static void ask_enable(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	uint64_t css = ctrl->cap >> 37 & 0xff;
	uint32_t cc = CC_EN | CC_IOSQES_IOCQES;

	if (!(css & 1)) /* not the NVM command set alone */
		cc |= (css & 0x40 ? 6u : 7u) << 4;
	ctrl->cc = cc;
	start_polling(ctrl);
	nvme_cmd_prop_set(&req->sqe, NVME_PROP_CC, false, cc);
}

static void ask_identify(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	nvme_cmd_identify(&req->sqe, NVME_IDENTIFY_CNS_CTRL, 0);
	req->data = ctrl->page;
	req->data_len = sizeof(*ctrl->page);
}

static void ask_events(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	nvme_cmd_set_feature(&req->sqe, NVME_FEAT_FID_ASYNC_EVENT,
			     ctrl->events);
}

static void ask_queues(struct nvmf_ctrl *ctrl, struct nvmf_admin *req)
{
	uint32_t n = ctrl->opts.io_queues - 1u;

	nvme_cmd_set_feature(&req->sqe, NVME_FEAT_FID_NUM_QUEUES, n << 16 | n);
}

/* --- what is made of the answer: the next step or -errno --- */

static int got_connect(struct nvmf_ctrl *ctrl, const struct nvme_cqe *cqe)
{
	ctrl->info.cntlid = (uint16_t)cqe->dw0;
	if (ctrl->info.cntlid >= 0xfff0)
		return fail(ctrl, -EPROTO, "reserved controller id");
	ctrl->connect_dw0 = cqe->dw0;
	return SETUP_AUTH;
}

static int got_version(struct nvmf_ctrl *ctrl, const struct nvme_cqe *cqe)
{
	ctrl->info.version = cqe->dw0;
	return SETUP_CAP;
}

static int got_cap(struct nvmf_ctrl *ctrl, const struct nvme_cqe *cqe)
{
	ctrl->cap = cqe->result;
	ctrl->info.mqes =
		(uint16_t)MIN((ctrl->cap & 0xffff) + 1, (uint64_t)UINT16_MAX);
	if (ctrl->info.mqes < 2)
		return fail(ctrl, -EPROTO, "MQES 0: queues of one entry");
	if (!(ctrl->cap >> 37 & 0xff))
		return fail(ctrl, -EOPNOTSUPP, "no command set in CAP.CSS");
	return SETUP_READ_CC;
}

static int got_cc(struct nvmf_ctrl *ctrl, const struct nvme_cqe *cqe)
{
	ctrl->cc = cqe->dw0;
	return ctrl->cc & CC_EN ? SETUP_DISABLE : SETUP_ENABLE;
}

static int got_disable(struct nvmf_ctrl *ctrl, const struct nvme_cqe *cqe)
{
	return SETUP_WAIT_DISABLED;
}

static int got_enable(struct nvmf_ctrl *ctrl, const struct nvme_cqe *cqe)
{
	return SETUP_WAIT_READY;
}

static int got_csts(struct nvmf_ctrl *ctrl, const struct nvme_cqe *cqe)
{
	bool wants_ready = ctrl->step == SETUP_WAIT_READY;

	if (wants_ready && (cqe->dw0 & CSTS_CFS))
		return fail(ctrl, -EIO, "CSTS.CFS: fatal controller status");
	if (wants_ready == (cqe->dw0 & CSTS_RDY))
		return wants_ready ? SETUP_IDENTIFY : SETUP_ENABLE;
	if (loop_now_ns(ctrl->loop) >= ctrl->poll_until_ns)
		return fail(ctrl, -ETIMEDOUT, "took longer than CAP.TO");
	return ctrl->step; /* ask again */
}

/* Space-padded text of n bytes; anything unprintable becomes '?'. */
static void copy_padded(char *out, const char *in, size_t n)
{
	while (n && (in[n - 1] == ' ' || in[n - 1] == '\0'))
		n--;
	for (size_t i = 0; i < n; i++)
		out[i] = in[i] >= ' ' && in[i] < 0x7f ? in[i] : '?';
	out[n] = '\0';
}

static void read_limits(struct nvmf_ctrl *ctrl, const struct nvme_id_ctrl *id)
{
	struct nvmf_ctrl_info *info = &ctrl->info;
	unsigned shift = 12 + (unsigned)(ctrl->cap >> 48 & 0xf) + id->mdts;
	uint64_t icd = (uint64_t)id->ioccsz * 16;

	info->max_transfer = id->mdts && shift < 32 ? 1u << shift : UINT32_MAX;
	/* One C2HData may hold all of it. */
	info->max_transfer = MIN(info->max_transfer, NT_PLEN_MAX / 2);
	info->icd_bytes = 0;
	if (icd > sizeof(struct nvme_sqe) && id->icdoff == 0)
		info->icd_bytes =
			(uint32_t)MIN(icd - sizeof(struct nvme_sqe), ICD_MAX);
	if (id->maxcmd >= 2)
		info->mqes = MIN(info->mqes, (uint16_t)id->maxcmd);
	info->nn = id->nn;
	info->kas_100ms = id->kas;
	info->abort_limit = id->acl + 1u;
	info->has_ana = id->cmic & NVME_CTRL_CMIC_MULTI_ANA_REPORTING;
	info->ana_transition_s = info->has_ana ? id->anatt : 0;
	info->ana_groups = info->has_ana ? id->nanagrpid : 0;
	info->has_write_cache = id->vwc & 1;
	info->has_reservations = id->oncs & NVME_CTRL_ONCS_RESERVATIONS;
	info->is_discovery = id->cntrltype == KIND_DISCOVERY ||
			     strcmp(ctrl->opts.subnqn, NVME_DISC_NQN) == 0;
}

static int got_identify(struct nvmf_ctrl *ctrl, const struct nvme_cqe *cqe)
{
	const struct nvme_id_ctrl *id = ctrl->page;
	struct nvmf_ctrl_info *info = &ctrl->info;

	read_limits(ctrl, id);
	copy_padded(info->serial, id->sn, sizeof(id->sn));
	copy_padded(info->model, id->mn, sizeof(id->mn));
	copy_padded(info->firmware, id->fr, sizeof(id->fr));
	if (id->cntlid != info->cntlid)
		log_warn("identify reports another controller id",
			 "peer=%s connect=%u identify=%u", ctrl->conn.peer,
			 info->cntlid, id->cntlid);
	ctrl->events = events_wanted(ctrl, id->oaes);
	if (info->is_discovery)
		return ctrl->events ? SETUP_EVENTS : SETUP_DONE;
	if (id->ioccsz < 4)
		return fail(ctrl, -EPROTO, "IOCCSZ below a command's size");
	if ((id->sqes & 0xf) > 6 || (id->cqes & 0xf) > 4)
		return fail(ctrl, -EOPNOTSUPP, "unusual queue entry sizes");
	return SETUP_EVENTS;
}

static int got_events(struct nvmf_ctrl *ctrl, const struct nvme_cqe *cqe)
{
	return ctrl->info.is_discovery ? SETUP_DONE : SETUP_QUEUES;
}

static int got_queues(struct nvmf_ctrl *ctrl, const struct nvme_cqe *cqe)
{
	uint32_t sq = (cqe->dw0 & 0xffff) + 1, cq = (cqe->dw0 >> 16) + 1;
	uint32_t granted = MIN(sq, cq);

	ctrl->info.io_queues =
		(uint16_t)MIN(granted, (uint32_t)ctrl->opts.io_queues);
	return SETUP_DONE;
}

static const struct {
	void (*ask)(struct nvmf_ctrl *ctrl, struct nvmf_admin *req);
	int (*got)(struct nvmf_ctrl *ctrl, const struct nvme_cqe *cqe);
	bool is_optional; /* an error status counts as an answer */
} steps[SETUP_DONE] = {
	[SETUP_CONNECT] = {ask_connect, got_connect},
	[SETUP_VERSION] = {ask_version, got_version},
	[SETUP_CAP] = {ask_cap, got_cap},
	[SETUP_READ_CC] = {ask_cc, got_cc},
	[SETUP_DISABLE] = {ask_disable, got_disable},
	[SETUP_WAIT_DISABLED] = {ask_csts, got_csts},
	[SETUP_ENABLE] = {ask_enable, got_enable},
	[SETUP_WAIT_READY] = {ask_csts, got_csts},
	[SETUP_IDENTIFY] = {ask_identify, got_identify},
	[SETUP_EVENTS] = {ask_events, got_events, .is_optional = true},
	[SETUP_QUEUES] = {ask_queues, got_queues},
};

static void step_done(struct nvmf_admin *req)
{
	struct nvmf_ctrl *ctrl = container_of(req, struct nvmf_ctrl, req);
	int next;

	ctrl->is_setup_out = false;
	if (ctrl->conn.state != NT_READY)
		return;
	if (ctrl->is_closing) {
		ctrl_shutdown(ctrl);
		return;
	}
	if (req->sc != NVME_SC_OK && ctrl->step == SETUP_CONNECT) {
		connect_refused(&ctrl->conn, &ctrl->opts, req->sc,
				req->cqe.dw0);
		return;
	}
	if (req->sc != NVME_SC_OK && !steps[ctrl->step].is_optional) {
		fail(ctrl, nvme_sc_errno(req->sc), nvme_sc_text(req->sc));
		return;
	}
	next = steps[ctrl->step].got(ctrl, &req->cqe);
	if (next < 0)
		return;
	if ((enum setup_step)next == ctrl->step) {
		timer_set(ctrl->loop, &ctrl->timer, POLL_MS * NS_PER_MS);
		return;
	}
	ctrl->step = (enum setup_step)next;
	run_step(ctrl);
}

static void auth_done(struct nt_conn *conn)
{
	struct nvmf_ctrl *ctrl = conn->opts.arg;

	ctrl->step = SETUP_VERSION;
	run_step(ctrl);
}

static void run_step(struct nvmf_ctrl *ctrl)
{
	uint64_t now = loop_now_ns(ctrl->loop);
	struct nvmf_admin *req = &ctrl->req;
	uint64_t deadline = now + ctrl->opts.admin_timeout_ms * NS_PER_MS;

	if (ctrl->step == SETUP_DONE) {
		ctrl_live(ctrl);
		return;
	}
	if (ctrl->step == SETUP_AUTH) {
		nt_auth_start(&ctrl->conn, &ctrl->opts, ctrl->connect_dw0,
			      auth_done);
		return;
	}
	if (ctrl->step == SETUP_CONNECT)
		deadline = ctrl->conn.opened_ns +
			   ctrl->opts.connect_timeout_ms * NS_PER_MS;
	*req = (struct nvmf_admin){.done = step_done};
	steps[ctrl->step].ask(ctrl, req);
	ctrl->is_setup_out = true;
	ctrl_admin_submit(ctrl, req, deadline);
}

static void poll_again(struct timer *timer)
{
	run_step(container_of(timer, struct nvmf_ctrl, timer));
}

void setup_start(struct nvmf_ctrl *ctrl)
{
	ctrl->step = SETUP_CONNECT;
	ctrl->timer.fire = poll_again;
	run_step(ctrl);
}
