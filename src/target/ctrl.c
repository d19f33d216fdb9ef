/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller registry and keep-alive.  Control loop.  Invariant: a
 * controller is in ss->ctrls exactly as long as it has connections; when its
 * admin connection ends, so do the others.
 */
#include "target/ctrl.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "target/auth.h"

#define KATO_CHECK_NS	   (10 * NS_PER_S) /* no time-out set: look again */
#define KATO_DISCOVERY_MS  120000 /* for hosts that set none and forget us */
#define CONNECT_IPO(f)	   offsetof(struct nvme_connect_data, f)
#define CONNECT_IATTR_DATA ((uint64_t)1 << 16) /* IPO is in the data */

void ctrl_kill_within(struct tgt_ctrl *ctrl, uint32_t ms)
{
	struct tgt_conn *conn;

	if (ctrl->is_dead)
		return;
	ctrl->is_dead = true;
	list_for_each (conn, &ctrl->conns, ctrl_node)
		conn_kill_within(conn, ms);
}

void ctrl_kill(struct tgt_ctrl *ctrl)
{
	ctrl_kill_within(ctrl, CONN_LINGER_MS);
}

static void ctrl_ka_fire(struct timer *timer)
{
	struct tgt_ctrl *ctrl = container_of(timer, struct tgt_ctrl, ka_timer);
	struct loop *loop = ctrl->tgt->opts.loop;
	uint64_t now = loop_now_ns(loop);
	uint64_t last = atomic_load(&ctrl->last_ns);
	uint64_t kato_ns = atomic_load(&ctrl->kato_ms) * NS_PER_MS;

	if (ctrl->ss->is_discovery && kato_ns == 0)
		kato_ns = KATO_DISCOVERY_MS * NS_PER_MS;
	if (kato_ns == 0) {
		timer_set(loop, timer, KATO_CHECK_NS);
	} else if (now < last + kato_ns) {
		timer_set_at(loop, timer, last + kato_ns);
	} else {
		log_warn("keep-alive expired",
			 "cntlid=%u kato_ms=%llu host=%s subnqn=%s",
			 ctrl->cntlid, (unsigned long long)kato_ns / NS_PER_MS,
			 ctrl->hostnqn, ctrl->ss->nqn);
		ctrl_kill(ctrl);
	}
}

static struct tgt_ctrl *ctrl_find(const struct tgt_subsys *ss, uint16_t cntlid)
{
	struct tgt_ctrl *ctrl;

	list_for_each (ctrl, &ss->ctrls, node) {
		if (ctrl->cntlid == cntlid)
			return ctrl;
	}
	return NULL;
}

/* Goes round, so that an id is not met again soon; 0 when all are taken. */
static uint16_t cntlid_pick(struct tgt_subsys *ss)
{
	unsigned count = ss->max_cntlid - ss->min_cntlid + 1u;
	uint16_t id;

	if (ss->ctrl_count >= count)
		return 0;
	do {
		id = ss->next_cntlid;
		ss->next_cntlid = id == ss->max_cntlid ? ss->min_cntlid
						       : (uint16_t)(id + 1);
	} while (ctrl_find(ss, id));
	return id;
}

static void conn_join(struct tgt_conn *conn, struct tgt_ctrl *ctrl)
{
	list_add_tail(&ctrl->conns, &conn->ctrl_node);
	conn->ctrl = ctrl;
	conn->depth = (uint16_t)(conn->creq->sqe.cdw11 + 1);
	conn->creq->sc = NVME_SC_OK;
	conn->creq->result = ctrl->cntlid;
	conn->needs_auth = auth_is_needed(ctrl);
	if (conn->needs_auth)
		conn->creq->result |= AUTH_REQ_ATR;
	if (ctrl->is_dead)
		conn_kill(conn);
}

static void refuse(struct tgt_conn *conn, uint16_t sc, size_t ipo)
{
	conn->creq->sc = sc | NVME_SC_DNR;
	conn->creq->result = ipo ? CONNECT_IATTR_DATA | ipo : 0;
}

/* The host learns only a status, the operator reads why. */
static void refuse_host(struct tgt_conn *conn, const struct tgt_subsys *ss)
{
	struct tgt *tgt = conn->tgt;
	char peer[ADDR_TEXT_LEN];
	uint32_t held_back;

	addr_format(&conn->peer, peer);
	if (log_rate_take(&tgt->host_rate, loop_now_ns(tgt->opts.loop),
			  &held_back))
		log_warn("host is not allowed",
			 "host=%s subnqn=%s peer=%s held_back=%u: add it to "
			 "the subsystem's hosts if it should be",
			 conn->cdata.hostnqn, ss->nqn, peer, held_back);
	refuse(conn, NVME_SC_CONNECT_BAD_HOST, 0);
}

static struct tgt_ctrl *ctrl_new(struct tgt_conn *conn, struct tgt_subsys *ss)
{
	const struct nvme_connect_data *d = &conn->cdata;
	struct tgt *tgt = conn->tgt;
	uint16_t cntlid = cntlid_pick(ss);
	struct tgt_ctrl *ctrl = cntlid ? calloc(1, sizeof(*ctrl)) : NULL;

	if (!ctrl)
		return NULL;
	ctrl->tgt = tgt;
	ctrl->ss = ss;
	ctrl->cntlid = cntlid;
	memcpy(ctrl->hostid, d->hostid, sizeof(ctrl->hostid));
	memcpy(ctrl->hostnqn, d->hostnqn, sizeof(ctrl->hostnqn));
	list_init(&ctrl->conns);
	ctrl->admin = conn;
	ctrl->ka_timer.fire = ctrl_ka_fire;
	atomic_store(&ctrl->kato_ms, ctrl_kato(conn->creq->sqe.cdw12));
	atomic_store(&ctrl->last_ns, loop_now_ns(tgt->opts.loop));
	errlog_init(&ctrl->errors);
	resv_log_init(&ctrl->resv_log);
	feature_init(ctrl);
	list_add_tail(&ss->ctrls, &ctrl->node);
	ss->ctrl_count++;
	tgt->ctrl_count++;
	atomic_store(&tgt->stat_ctrls, tgt->ctrl_count);
	return ctrl;
}

static void attach_admin(struct tgt_conn *conn, struct tgt_subsys *ss)
{
	struct tgt *tgt = conn->tgt;
	struct tgt_ctrl *ctrl;

	if (conn->cdata.cntlid != 0xffff) {
		refuse(conn, NVME_SC_CONNECT_BAD_PARAM, CONNECT_IPO(cntlid));
		return;
	}
	if (!subsys_allows(ss, conn->cdata.hostnqn)) {
		refuse_host(conn, ss);
		return;
	}
	ctrl = tgt->is_stopping || tgt->is_draining || conn->is_surplus
		       ? NULL
		       : ctrl_new(conn, ss);
	if (!ctrl) {
		conn->creq->sc = NVME_SC_CONNECT_CTRL_BUSY;
		return;
	}
	conn_join(conn, ctrl);
	ctrl_ka_fire(&ctrl->ka_timer);
	log_debug("controller created",
		  "cntlid=%u host=%s subnqn=%s kato_ms=%u", ctrl->cntlid,
		  ctrl->hostnqn, ss->nqn, atomic_load(&ctrl->kato_ms));
}

static bool is_qid_taken(const struct tgt_ctrl *ctrl, uint16_t qid)
{
	struct tgt_conn *other;

	list_for_each (other, &ctrl->conns, ctrl_node) {
		if (other->qid == qid)
			return true;
	}
	return false;
}

static void attach_io(struct tgt_conn *conn, struct tgt_subsys *ss)
{
	const struct nvme_connect_data *d = &conn->cdata;
	struct tgt_ctrl *ctrl = ctrl_find(ss, d->cntlid);

	if (ss->is_discovery) {
		refuse(conn, NVME_SC_CONNECT_BAD_PARAM, CONNECT_IPO(subnqn));
	} else if (!ctrl || ctrl->is_dead) {
		refuse(conn, NVME_SC_CONNECT_BAD_PARAM, CONNECT_IPO(cntlid));
	} else if (strcmp(ctrl->hostnqn, d->hostnqn)) {
		refuse(conn, NVME_SC_CONNECT_BAD_PARAM, CONNECT_IPO(hostnqn));
	} else if (memcmp(ctrl->hostid, d->hostid, sizeof(d->hostid))) {
		refuse(conn, NVME_SC_CONNECT_BAD_HOST, 0);
	} else if (!(atomic_load(&ctrl->csts) & 1) ||
		   is_qid_taken(ctrl, conn->qid)) {
		refuse(conn, NVME_SC_CMD_SEQ_ERROR, 0);
	} else if (conn->is_surplus) {
		conn->creq->sc = NVME_SC_CONNECT_CTRL_BUSY;
	} else {
		conn_join(conn, ctrl);
	}
}

/* The subsystem may be attached to this listener again: a host may retry, as
 * without DNR, where Linux would drop the path for good.  Only those who may
 * have it hear that it is there. */
static void refuse_detached(struct tgt_conn *conn, const struct tgt_subsys *ss)
{
	refuse(conn, NVME_SC_CONNECT_BAD_PARAM, CONNECT_IPO(subnqn));
	if (subsys_allows(ss, conn->cdata.hostnqn))
		conn->creq->sc = NVME_SC_CONNECT_BAD_PARAM;
}

void ctrl_attach(struct tgt_conn *conn)
{
	struct tgt_subsys *ss = tgt_subsys_find(conn->tgt, conn->cdata.subnqn);

	ASSERT(loop_is_owner(conn->tgt->opts.loop) && !conn->ctrl);
	if (!ss)
		refuse(conn, NVME_SC_CONNECT_BAD_PARAM, CONNECT_IPO(subnqn));
	else if (!subsys_is_reachable(ss, conn->tl))
		refuse_detached(conn, ss);
	else if (conn->qid == 0)
		attach_admin(conn, ss);
	else
		attach_io(conn, ss);
}

void ctrl_detach(struct tgt_conn *conn)
{
	struct tgt_ctrl *ctrl = conn->ctrl;
	struct tgt_subsys *ss;
	struct tgt *tgt = conn->tgt;

	if (!ctrl)
		return;
	list_del(&conn->ctrl_node);
	if (ctrl->admin == conn) {
		ctrl->admin = NULL;
		ctrl_kill(ctrl);
	}
	if (!list_is_empty(&ctrl->conns))
		return;
	ss = ctrl->ss;
	timer_cancel(tgt->opts.loop, &ctrl->ka_timer);
	list_del(&ctrl->node);
	ss->ctrl_count--;
	tgt->ctrl_count--;
	atomic_store(&tgt->stat_ctrls, tgt->ctrl_count);
	log_debug("controller gone", "cntlid=%u", ctrl->cntlid);
	free(ctrl);
	subsys_check(ss);
}

bool ctrl_is_reachable(const struct tgt_ctrl *ctrl)
{
	const struct tgt_conn *conn;

	list_for_each (conn, &ctrl->conns, ctrl_node) {
		if (!subsys_is_reachable(ctrl->ss, conn->tl))
			return false;
	}
	return true;
}

void ctrl_notify(struct tgt_ctrl *ctrl, enum aer_kind kind)
{
	atomic_fetch_or(&ctrl->aer_due, 1u << kind);
	if (ctrl->admin)
		conn_note(ctrl->admin);
}

void ctrl_announce_ns(struct tgt_subsys *ss, uint32_t nsid)
{
	uint64_t bit = (uint64_t)1 << ((nsid - 1) % 64);
	struct tgt_ctrl *ctrl;

	list_for_each (ctrl, &ss->ctrls, node) {
		atomic_fetch_or(&ctrl->changed[(nsid - 1) / 64], bit);
		ctrl_notify(ctrl, AER_NS_CHANGED);
	}
}

void ctrl_announce_ana(struct tgt_subsys *ss)
{
	struct tgt_ctrl *ctrl;

	atomic_fetch_add(&ss->ana_changes, 1);
	list_for_each (ctrl, &ss->ctrls, node)
		ctrl_notify(ctrl, AER_ANA_CHANGED);
}

void ctrl_note_resv(struct tgt_subsys *ss, uint32_t nsid,
		    const struct resv_note *note)
{
	struct tgt_ctrl *ctrl;

	list_for_each (ctrl, &ss->ctrls, node) {
		if (memcmp(ctrl->hostid, note->hostid, sizeof(note->hostid)) ||
		    (atomic_load(&ctrl->resv_mask[nsid - 1]) >> note->event &
		     1))
			continue;
		resv_log_add(&ctrl->resv_log, nsid, note->event);
		ctrl_notify(ctrl, AER_RESV);
	}
}
