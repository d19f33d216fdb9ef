/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller registry and keep-alive.  Control loop.  Invariant: a
 * controller is in tgt->ctrls exactly as long as it has connections; when its
 * admin connection ends, so do the others.
 */
#include "target/ctrl.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "target/auth.h"

#define CNTLID_MAX	   0xffef
#define KATO_CHECK_NS	   (10 * NS_PER_S) /* no time-out set: look again */
#define KATO_DISCOVERY_MS  120000 /* for hosts that set none and forget us */
#define CONNECT_IPO(f)	   offsetof(struct nvme_connect_data, f)
#define CONNECT_IATTR_DATA ((uint64_t)1 << 16) /* IPO is in the data */

static void ctrl_kill(struct tgt_ctrl *ctrl)
{
	struct tgt_conn *conn;

	if (ctrl->is_dead)
		return;
	ctrl->is_dead = true;
	list_for_each (conn, &ctrl->conns, ctrl_node)
		conn_kill(conn);
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

static struct tgt_ctrl *ctrl_find(struct tgt *tgt, uint16_t cntlid)
{
	struct tgt_ctrl *ctrl;

	list_for_each (ctrl, &tgt->ctrls, node) {
		if (ctrl->cntlid == cntlid)
			return ctrl;
	}
	return NULL;
}

/* Goes round, so that an id is not met again soon. */
static uint16_t cntlid_pick(struct tgt *tgt)
{
	uint16_t id;

	do {
		id = tgt->next_cntlid;
		tgt->next_cntlid = id == CNTLID_MAX ? 1 : (uint16_t)(id + 1);
	} while (ctrl_find(tgt, id)); /* connections < CNTLID_MAX */
	return id;
}

static void conn_join(struct tgt_conn *conn, struct tgt_ctrl *ctrl)
{
	list_add_tail(&ctrl->conns, &conn->ctrl_node);
	conn->ctrl = ctrl;
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

static void attach_admin(struct tgt_conn *conn)
{
	const struct nvme_connect_data *d = &conn->cdata;
	struct tgt *tgt = conn->tgt;
	struct tgt_subsys *ss = tgt_subsys_find(tgt, d->subnqn);
	struct tgt_ctrl *ctrl;

	if (!ss || (conn->is_discovery_port && !ss->is_discovery)) {
		refuse(conn, NVME_SC_CONNECT_BAD_PARAM, CONNECT_IPO(subnqn));
		return;
	}
	if (d->cntlid != 0xffff) {
		refuse(conn, NVME_SC_CONNECT_BAD_PARAM, CONNECT_IPO(cntlid));
		return;
	}
	ctrl = tgt->is_stopping ? NULL : calloc(1, sizeof(*ctrl));
	if (!ctrl) {
		conn->creq->sc = NVME_SC_CONNECT_CTRL_BUSY;
		return;
	}
	ctrl->tgt = tgt;
	ctrl->ss = ss;
	ctrl->cntlid = cntlid_pick(tgt);
	memcpy(ctrl->hostid, d->hostid, sizeof(ctrl->hostid));
	memcpy(ctrl->hostnqn, d->hostnqn, sizeof(ctrl->hostnqn));
	list_init(&ctrl->conns);
	ctrl->admin = conn;
	ctrl->ka_timer.fire = ctrl_ka_fire;
	atomic_store(&ctrl->kato_ms, conn->creq->sqe.cdw12);
	atomic_store(&ctrl->last_ns, loop_now_ns(tgt->opts.loop));
	errlog_init(&ctrl->errors);
	feature_init(ctrl);
	list_add_tail(&tgt->ctrls, &ctrl->node);
	atomic_fetch_add(&tgt->stat_ctrls, 1);
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

static void attach_io(struct tgt_conn *conn)
{
	const struct nvme_connect_data *d = &conn->cdata;
	struct tgt_ctrl *ctrl = ctrl_find(conn->tgt, d->cntlid);

	if (!ctrl || ctrl->is_dead || strcmp(ctrl->ss->nqn, d->subnqn)) {
		refuse(conn, NVME_SC_CONNECT_BAD_PARAM, CONNECT_IPO(cntlid));
	} else if (strcmp(ctrl->hostnqn, d->hostnqn)) {
		refuse(conn, NVME_SC_CONNECT_BAD_PARAM, CONNECT_IPO(hostnqn));
	} else if (memcmp(ctrl->hostid, d->hostid, sizeof(d->hostid))) {
		refuse(conn, NVME_SC_CONNECT_BAD_HOST, 0);
	} else if (ctrl->ss->is_discovery) {
		refuse(conn, NVME_SC_CONNECT_BAD_PARAM, CONNECT_IPO(subnqn));
	} else if (!(atomic_load(&ctrl->csts) & 1) ||
		   is_qid_taken(ctrl, conn->qid)) {
		refuse(conn, NVME_SC_CMD_SEQ_ERROR, 0);
	} else {
		conn_join(conn, ctrl);
	}
}

void ctrl_attach(struct tgt_conn *conn)
{
	ASSERT(loop_is_owner(conn->tgt->opts.loop) && !conn->ctrl);
	if (conn->qid == 0)
		attach_admin(conn);
	else
		attach_io(conn);
}

void ctrl_detach(struct tgt_conn *conn)
{
	struct tgt_ctrl *ctrl = conn->ctrl;

	if (!ctrl)
		return;
	list_del(&conn->ctrl_node);
	if (ctrl->admin == conn) {
		ctrl->admin = NULL;
		ctrl_kill(ctrl);
	}
	if (!list_is_empty(&ctrl->conns))
		return;
	timer_cancel(ctrl->tgt->opts.loop, &ctrl->ka_timer);
	list_del(&ctrl->node);
	atomic_fetch_sub(&ctrl->tgt->stat_ctrls, 1);
	log_debug("controller gone", "cntlid=%u", ctrl->cntlid);
	free(ctrl);
}

void ctrl_announce(struct tgt_subsys *ss, uint32_t nsid)
{
	uint64_t bit = (uint64_t)1 << ((nsid - 1) % 64);
	struct tgt_ctrl *ctrl;

	list_for_each (ctrl, &ss->tgt->ctrls, node) {
		if (ctrl->ss != ss || !ctrl->admin)
			continue;
		atomic_fetch_or(&ctrl->changed[(nsid - 1) / 64], bit);
		conn_note(ctrl->admin);
	}
}
