/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asynchronous events of a controller; its loop.
 *
 * Invariant: while the controller is LIVE, an event request is under way or
 * event_timer is set.  The next request is sent before an event is told, so
 * that none is missed while its log page is read.  The target holds back
 * further events of a kind until the page it names has been read; pages that
 * nobody asked for are read here for that.
 */
#include "nvmf/ctrl.h"

#include <stdlib.h>

#include "base/time.h"

#define RETRY_MS      1000
#define TYPE_ERROR    0
#define TYPE_SMART    1
#define TYPE_NOTICE   2
#define SMART_EVENTS  0x1fu /* Set Features 0Bh: critical warnings */
#define OAES_NS	      (1u << 8)
#define OAES_FIRMWARE (1u << 9)
#define OAES_ANA      (1u << 11)
#define OAES_DISC     (1u << 31)

static const struct event_kind {
	uint8_t type, info;
	enum nvmf_event_kind kind;
	const char *text;
} kinds[] = {
	{TYPE_NOTICE, 0x00, NVMF_EVENT_NS_CHANGED, "a namespace has changed"},
	{TYPE_NOTICE, 0x01, NVMF_EVENT_FIRMWARE,
	 "the controller is about to activate new firmware: commands may wait"},
	{TYPE_NOTICE, 0x03, NVMF_EVENT_ANA_CHANGED,
	 "access to namespaces has changed (ANA)"},
	{TYPE_NOTICE, 0xf0, NVMF_EVENT_DISCOVERY_CHANGED,
	 "the discovery log has changed"},
	{TYPE_ERROR, 0x02, NVMF_EVENT_ERROR,
	 "the controller failed its self-diagnosis"},
	{TYPE_ERROR, 0x03, NVMF_EVENT_ERROR,
	 "the controller has a persistent internal error"},
	{TYPE_ERROR, 0x04, NVMF_EVENT_ERROR,
	 "the controller had a transient internal error"},
	{TYPE_ERROR, 0x05, NVMF_EVENT_FIRMWARE,
	 "the controller could not load its firmware"},
	{TYPE_SMART, 0x00, NVMF_EVENT_SMART,
	 "the subsystem is no longer reliable: replace the medium"},
	{TYPE_SMART, 0x01, NVMF_EVENT_SMART,
	 "the temperature is beyond a threshold: check the cooling"},
	{TYPE_SMART, 0x02, NVMF_EVENT_SMART,
	 "spare blocks run out: replace the medium soon"},
};

static struct nvmf_event event_of(uint32_t dw0)
{
	struct nvmf_event ev = {
		.kind = NVMF_EVENT_OTHER,
		.type = dw0 & 7,
		.info = (uint8_t)(dw0 >> 8),
		.log_page = (uint8_t)(dw0 >> 16),
		.text = "an event that we don't know",
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i].type != ev.type || kinds[i].info != ev.info)
			continue;
		ev.kind = kinds[i].kind;
		ev.text = kinds[i].text;
	}
	return ev;
}

static void tell(struct nvmf_ctrl *ctrl, const struct nvmf_event *ev)
{
	uint32_t held_back;

	if (log_rate_take(&ctrl->event_rate, loop_now_ns(ctrl->loop),
			  &held_back))
		log_info("nvme event",
			 "peer=%s subnqn=%s text=\"%s\" type=%u info=0x%02x "
			 "log_page=0x%02x held_back=%u",
			 ctrl->conn.peer, ctrl->opts.subnqn, ev->text, ev->type,
			 ev->info, ev->log_page, held_back);
	if (ctrl->opts.on_event)
		ctrl->opts.on_event(ctrl, ev, ctrl->arg);
}

/* --- pages that let further events through --- */

static bool can_tell(const struct nvmf_ctrl *ctrl)
{
	return !ctrl->is_closing && ctrl->state == NVMF_LIVE &&
	       ctrl->conn.state == NT_READY;
}

/* An event whose page is read first.  It owns itself. */
struct reading {
	struct nvmf_ctrl *ctrl;
	struct nvmf_event ev;
	struct nvmf_admin req;
	uint8_t page[512];
};

static void changed_done(int ret, const uint32_t *nsids, size_t count,
			 bool is_many, void *arg)
{
	struct nvmf_ctrl *ctrl = arg;
	struct nvmf_event ev = event_of(TYPE_NOTICE | 0x04u << 16);

	if (!can_tell(ctrl))
		return;
	if (!ret && !is_many) {
		ev.nsids = nsids;
		ev.nsid_count = count;
	}
	tell(ctrl, &ev);
}

static void page_done(struct nvmf_admin *req)
{
	struct reading *r = container_of(req, struct reading, req);

	if (can_tell(r->ctrl))
		tell(r->ctrl, &r->ev);
	free(r);
}

/* Any first part of a page counts as having read it. */
static void read_then_tell(struct nvmf_ctrl *ctrl, const struct nvmf_event *ev)
{
	struct reading *r = calloc(1, sizeof(*r));

	if (!r) {
		tell(ctrl, ev);
		return;
	}
	r->ctrl = ctrl;
	r->ev = *ev;
	r->req = (struct nvmf_admin){
		.done = page_done,
		.data = r->page,
		.data_len = sizeof(r->page),
	};
	nvme_cmd_get_log(&r->req.sqe, ev->log_page, 0, sizeof(r->page));
	r->req.sqe.nsid = UINT32_MAX;
	nvmf_admin_submit(ctrl, &r->req);
}

/* --- the request that waits --- */

static void event_wait(struct nvmf_ctrl *ctrl);

static void handle(struct nvmf_ctrl *ctrl, uint32_t dw0)
{
	struct nvmf_event ev = event_of(dw0);

	switch (ev.kind) {
	case NVMF_EVENT_NS_CHANGED:
		if (nvmf_changed_ns_get(ctrl, changed_done, ctrl))
			tell(ctrl, &ev);
		break;
	case NVMF_EVENT_ANA_CHANGED:
	case NVMF_EVENT_DISCOVERY_CHANGED:
		tell(ctrl, &ev); /* who listens reads the page */
		break;
	default:
		if (ev.log_page)
			read_then_tell(ctrl, &ev);
		else
			tell(ctrl, &ev);
		break;
	}
}

static void event_again(struct timer *timer)
{
	event_wait(container_of(timer, struct nvmf_ctrl, event_timer));
}

static void event_done(struct nvmf_admin *req)
{
	struct nvmf_ctrl *ctrl = container_of(req, struct nvmf_ctrl, event);
	uint32_t dw0 = req->cqe.dw0;

	if (ctrl->is_closing || ctrl->conn.state != NT_READY)
		return;
	if (req->sc == NVME_SC_OK) {
		event_wait(ctrl);
		handle(ctrl, dw0);
	} else if ((req->sc & NVME_SC_MASK) != NVME_SC_BAD_OPCODE) {
		ctrl->event_timer.fire = event_again;
		timer_set(ctrl->loop, &ctrl->event_timer, RETRY_MS * NS_PER_MS);
	}
}

static void event_wait(struct nvmf_ctrl *ctrl)
{
	ctrl->event = (struct nvmf_admin){
		.done = event_done,
		.sqe = {.opcode = NVME_ADM_AER, .flags = NVME_SQE_PSDT_SGL},
	};
	ctrl_admin_submit(ctrl, &ctrl->event, NT_NO_DEADLINE);
}

uint32_t events_wanted(const struct nvmf_ctrl *ctrl, uint32_t oaes)
{
	bool is_heard = ctrl->opts.on_event;

	if (ctrl->info.is_discovery)
		return is_heard ? oaes & OAES_DISC : 0;
	/* Nobody would read the ANA page: then better not a single event. */
	return (oaes & (OAES_NS | OAES_FIRMWARE | (is_heard ? OAES_ANA : 0))) |
	       SMART_EVENTS;
}

void events_start(struct nvmf_ctrl *ctrl)
{
	if (ctrl->events)
		event_wait(ctrl);
}
