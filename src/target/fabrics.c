/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fabrics commands: Connect, properties, Disconnect.  Shard's thread; what
 * needs the registry travels to the control loop and back (ctrl_attach).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "target/auth.h"
#include "target/ident.h"

#define DISCONNECT_NS NS_PER_S
#define ADMIN_DEPTH   128
#define SQE_AT_RECFMT 40
#define SQE_AT_QID    42
#define SQE_AT_SQSIZE 44

#define CAP_CQR	    ((uint64_t)1 << 16)
#define CAP_TO	    ((uint64_t)30 << 24) /* 15 s */
#define CAP_CSS_NVM ((uint64_t)1 << 37)

#define CC_EN		1u
#define CC_SHN		(3u << 14)
#define CC_MUST_BE_ZERO 0x3ff0u /* CSS, MPS, AMS */
#define CC_IOSQES(cc)	((cc) >> 16 & 0xf)
#define CC_IOCQES(cc)	((cc) >> 20 & 0xf)
#define CSTS_RDY	1u
#define CSTS_SHST_DONE	(2u << 2)

static void connect_start(struct tgt_req *req, uint32_t icd_len)
{
	struct tgt_conn *conn = req->conn;
	uint16_t sc = sgl_in_capsule(&req->sqe.sgl, icd_len);

	if (conn->state != CONN_NEW)
		sc = NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR;
	else if (!sc && icd_len != sizeof(conn->cdata))
		sc = NVME_SC_DATA_SGL_LEN | NVME_SC_DNR;
	if (sc) {
		req_complete(req, sc);
		return;
	}
	req->data = (uint8_t *)&conn->cdata;
	req->len = sizeof(conn->cdata);
	rx_into(req);
}

static uint16_t connect_refuse(struct tgt_req *req, uint64_t ipo)
{
	req->result = ipo;
	return NVME_SC_CONNECT_BAD_PARAM | NVME_SC_DNR;
}

static bool is_terminated(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

/* What can be judged without the registry. */
static uint16_t connect_check(struct tgt_req *req)
{
	const struct tgt_opts *o = &req->conn->tgt->opts;
	const struct nvme_connect_data *d = &req->conn->cdata;
	uint16_t qid = (uint16_t)(req->sqe.cdw10 >> 16);
	uint16_t sqsize = (uint16_t)req->sqe.cdw11; /* 0's based */
	uint16_t most = qid ? o->queue_depth : MAX(o->queue_depth, ADMIN_DEPTH);
	uint64_t in_data = (uint64_t)1 << 16;

	if (req->sqe.cdw10 & 0xffff) {
		req->result = SQE_AT_RECFMT;
		return NVME_SC_CONNECT_FORMAT | NVME_SC_DNR;
	}
	if (qid > o->max_queues)
		return connect_refuse(req, SQE_AT_QID);
	if (sqsize == 0 || sqsize >= most)
		return connect_refuse(req, SQE_AT_SQSIZE);
	if (!is_terminated(d->subnqn, sizeof(d->subnqn)))
		return connect_refuse(
			req,
			in_data | offsetof(struct nvme_connect_data, subnqn));
	/* The name stands in logs and in answers of JSON-RPC. */
	if (!is_terminated(d->hostnqn, sizeof(d->hostnqn)) ||
	    !nqn_is_text(d->hostnqn))
		return connect_refuse(
			req,
			in_data | offsetof(struct nvme_connect_data, hostnqn));
	if (!conn_tls_is_for(req->conn, d->hostnqn, d->subnqn))
		return NVME_SC_CONNECT_BAD_HOST | NVME_SC_DNR;
	return NVME_SC_OK;
}

static void on_attach(struct mbox_msg *msg)
{
	struct tgt_conn *conn = container_of(msg, struct tgt_conn, msg);

	ctrl_attach(conn);
	conn_attached(conn);
}

void fabrics_connect(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;
	uint16_t sc = connect_check(req);

	req->data = NULL;
	if (sc) {
		req_complete(req, sc);
		return;
	}
	if (fault_is_on(&conn->tgt->faults) && fault_connect(req))
		return;
	conn->qid = (uint16_t)(req->sqe.cdw10 >> 16);
	conn->creq = req;
	conn->state = CONN_CONNECT;
	req->state = REQ_BUSY;
	conn->busy_count++;
	conn->msg.run = on_attach;
	loop_post(conn->tgt->opts.loop, &conn->msg);
}

static void tell_refused(struct tgt_conn *conn, uint16_t sc)
{
	struct tgt_shard *shard = conn->shard;
	uint32_t held_back;

	if (log_rate_take(&shard->connect_rate, loop_now_ns(shard->loop),
			  &held_back))
		log_info("connect refused",
			 "status=%s subnqn=%s host=%s held_back=%u",
			 nvme_sc_text(sc), conn->cdata.subnqn,
			 conn->cdata.hostnqn, held_back);
}

void fabrics_connect_done(struct tgt_conn *conn)
{
	struct tgt_req *req = TAKE(conn->creq);
	uint32_t sqsize = (req->sqe.cdw11 & 0xffff) + 1;
	uint16_t sc = req->sc;

	if (!conn->ctrl) {
		conn->qid = 0;
		tell_refused(conn, sc);
	} else if (conn_reqs_create(conn, sqsize)) {
		conn_close(conn, "out of memory");
	} else {
		conn->sqsize = (uint16_t)sqsize;
		conn->sqhd = 1 % sqsize;
		conn->is_no_flow_control =
			req->sqe.cdw11 & NVME_CONNECT_NO_SQ_FLOW;
	}
	req_complete(req, sc);
}

static void prop_get(struct tgt_req *req)
{
	const struct tgt_ctrl *ctrl = req->conn->ctrl;
	uint16_t depth = req->conn->tgt->opts.queue_depth;
	bool is_64bit = (req->sqe.cdw10 & 7) == 1;
	uint16_t sc = NVME_SC_OK;

	switch (req->sqe.cdw11) {
	case NVME_PROP_CAP:
		req->result =
			(uint64_t)(depth - 1) | CAP_CQR | CAP_TO | CAP_CSS_NVM;
		break;
	case NVME_PROP_VS:
		req->result = IDENT_VERSION;
		break;
	case NVME_PROP_CC:
		req->result = atomic_load(&ctrl->cc);
		break;
	case NVME_PROP_CSTS:
		req->result = atomic_load(&ctrl->csts);
		break;
	default:
		sc = NVME_SC_BAD_FIELD | NVME_SC_DNR;
	}
	if (is_64bit != (req->sqe.cdw11 == NVME_PROP_CAP)) {
		req->result = 0;
		sc = NVME_SC_BAD_FIELD | NVME_SC_DNR;
	}
	req_complete(req, sc);
}

/* CC is the one property that can be set. */
static void prop_set(struct tgt_req *req)
{
	struct tgt_ctrl *ctrl = req->conn->ctrl;
	uint32_t cc = req->sqe.cdw12;
	uint32_t csts = atomic_load(&ctrl->csts) & ~CSTS_RDY;
	bool is_nvm = !ctrl->ss->is_discovery;

	if (req->sqe.cdw11 != NVME_PROP_CC || (req->sqe.cdw10 & 7) ||
	    ((cc & CC_EN) && (cc & CC_MUST_BE_ZERO)) ||
	    ((cc & CC_EN) && is_nvm &&
	     (CC_IOSQES(cc) != 6 || CC_IOCQES(cc) != 4))) {
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
		return;
	}
	if (cc & CC_EN)
		csts |= CSTS_RDY;
	if (cc & CC_SHN)
		csts |= CSTS_SHST_DONE;
	else if (cc & CC_EN)
		csts &= ~CSTS_SHST_DONE;
	if (!(cc & CC_EN) && (atomic_load(&ctrl->cc) & CC_EN))
		admin_reset(req->conn);
	atomic_store(&ctrl->cc, cc);
	atomic_store(&ctrl->csts, csts);
	req_complete(req, NVME_SC_OK);
}

static void disconnect(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;

	if (req->sqe.cdw10 & 0xffff) {
		req_complete(req, NVME_SC_CONNECT_FORMAT | NVME_SC_DNR);
		return;
	}
	req_complete(req, NVME_SC_OK);
	/* The answer is the last word. */
	conn->state = CONN_DRAIN;
	timer_set(conn->shard->loop, &conn->timer, DISCONNECT_NS);
}

void fabrics_start(struct tgt_req *req, uint32_t icd_len)
{
	struct tgt_conn *conn = req->conn;
	uint8_t type = (uint8_t)req->sqe.nsid;
	bool is_prop =
		type == NVME_FCTYPE_PROP_GET || type == NVME_FCTYPE_PROP_SET;

	if (type == NVME_FCTYPE_CONNECT)
		connect_start(req, icd_len);
	else if (conn->state != CONN_LIVE)
		req_complete(req, NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
	else if (type == NVME_FCTYPE_AUTH_SEND)
		auth_send_start(req, icd_len);
	else if (type == NVME_FCTYPE_AUTH_RECV)
		auth_recv_start(req);
	else if (is_prop && conn->qid)
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
	else if (type == NVME_FCTYPE_PROP_GET)
		prop_get(req);
	else if (type == NVME_FCTYPE_PROP_SET)
		prop_set(req);
	else if (type != NVME_FCTYPE_DISCONNECT)
		req_complete(req, NVME_SC_BAD_OPCODE | NVME_SC_DNR);
	else if (conn->qid == 0)
		req_complete(req, NVME_SC_DISCONNECT_BAD_QTYPE | NVME_SC_DNR);
	else
		disconnect(req);
}
