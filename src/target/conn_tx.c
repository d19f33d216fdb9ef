/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Send side of a connection: answers of many commands leave in one gathered
 * send, payload straight from where it lies.  Shard's thread.
 *
 * A gather with much data leaves without being copied and is then held: the
 * kernel may read it again until the host has acknowledged it.  The next one
 * takes another place; the last that is free is for plain sends, so that no
 * hold is ever waited for.
 *
 * Invariant: a request is in one gather while is_in_tx, until that has been
 * sent and is not held; its header bytes and data stay as they are.
 */
#include <errno.h>
#include <string.h>

#include "base/crc.h"
#include "target/conn.h"

#define TX_IOV	   256
#define TX_IOV_REQ 5 /* header, padding, data, digest, response */

static uint32_t put_hdgst(struct tgt_conn *conn, const void *hdr, uint32_t len,
			  uint32_t *digest)
{
	if (!conn->hdgst)
		return len;
	*digest = crc32c(0, hdr, len);
	return len + PDU_DIGEST_LEN;
}

static unsigned tx_build_r2t(struct tgt_req *req, struct iovec *iov)
{
	struct pdu_r2t *pdu = &req->head.r2t;
	uint32_t len;

	*pdu = (struct pdu_r2t){
		.ch = {.type = PDU_R2T},
		.cccid = req->sqe.cid,
		.ttag = req->index,
		.r2tl = req->len,
	};
	pdu_finish(&pdu->ch, 0, req->conn->hdgst, req->conn->ddgst, 0);
	len = put_hdgst(req->conn, pdu, sizeof(*pdu), &req->head.hdgst);
	iov[0] = (struct iovec){pdu, len};
	return 1;
}

static unsigned tx_build_data(struct tgt_req *req, struct iovec *iov)
{
	static const uint8_t zeros[CONN_DATA_HEAD];
	struct tgt_conn *conn = req->conn;
	struct pdu_data *pdu = &req->head.data;
	bool is_success = !(req->tx_want & TX_RESP);
	unsigned n = 0;
	size_t head, len;

	*pdu = (struct pdu_data){
		.ch = {.type = PDU_C2H_DATA,
		       .flags = (uint8_t)(PDU_F_LAST |
					  (is_success ? PDU_F_SUCCESS : 0))},
		.cccid = req->sqe.cid,
		.datal = req->len,
	};
	head = pdu_finish(&pdu->ch, req->len, conn->hdgst, conn->ddgst,
			  conn->pda);
	len = put_hdgst(conn, pdu, sizeof(*pdu), &req->head.hdgst);
	iov[n++] = (struct iovec){pdu, len};
	if (head > len)
		iov[n++] = (struct iovec){(void *)(uintptr_t)zeros, head - len};
	iov[n++] = (struct iovec){req->data, req->len};
	if (conn->ddgst) {
		req->ddgst = crc32c(0, req->data, req->len);
		iov[n++] = (struct iovec){&req->ddgst, PDU_DIGEST_LEN};
	}
	return n;
}

static unsigned tx_build_resp(struct tgt_req *req, struct iovec *iov)
{
	struct tgt_conn *conn = req->conn;
	struct pdu_resp *pdu = &req->resp.pdu;
	uint32_t len;

	*pdu = (struct pdu_resp){
		.ch = {.type = PDU_CAPSULE_RESP},
		.cqe = {.result = req->result,
			.sqhd = conn->is_no_flow_control ? 0xffff : conn->sqhd,
			.cid = req->sqe.cid,
			.status = (uint16_t)(req->sc << 1)},
	};
	pdu_finish(&pdu->ch, 0, conn->hdgst, conn->ddgst, 0);
	len = put_hdgst(conn, pdu, sizeof(*pdu), &req->resp.hdgst);
	iov[0] = (struct iovec){pdu, len};
	return 1;
}

static unsigned tx_build(struct tgt_req *req, struct iovec *iov)
{
	unsigned n = 0;

	if (req->tx_want & TX_R2T)
		n += tx_build_r2t(req, iov);
	if (req->tx_want & TX_DATA)
		n += tx_build_data(req, iov + n);
	if (req->tx_want & TX_RESP)
		n += tx_build_resp(req, iov + n);
	if (unlikely(req->fault.acts))
		n = fault_pdus(req, req->tx_want, iov, n);
	req->tx_want = 0;
	req->is_in_tx = true;
	return n;
}

static void tx_sent(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;

	list_del(&req->node);
	req->is_in_tx = false;
	if (req->tx_want) /* the answer was ready before its R2T was sent */
		list_add_tail(&conn->txq, &req->node);
	else if (req->is_final)
		conn_req_release(req);
}

/* Neither being sent nor held any more. */
static void gather_end(struct tgt_gather *tx)
{
	struct tgt_req *req, *tmp;
	struct list sent;

	list_init(&sent);
	list_splice_tail(&sent, &tx->reqs);
	list_for_each_safe (req, tmp, &sent, node)
		tx_sent(req);
	conn_tx_kick(tx->conn);
	conn_check(tx->conn);
}

static void gather_released(struct stream_hold *hold, bool was_copied)
{
	struct tgt_gather *tx = container_of(hold, struct tgt_gather, hold);
	struct tgt_conn *conn = tx->conn;

	tx->is_held = false;
	if (conn->state != CONN_CLOSED && !(conn->is_tx_busy && tx == conn->tx))
		gather_end(tx);
}

static void on_sent(struct stream *s, int res)
{
	struct tgt_conn *conn = s->arg;

	conn->is_tx_busy = false;
	if (conn->state == CONN_CLOSED)
		return;
	if (res < 0) {
		conn_close(conn, strerror(-res));
		return;
	}
	if (conn->tx->is_held)
		conn_tx_kick(conn);
	else
		gather_end(conn->tx);
}

static struct tgt_gather *free_gather(struct tgt_conn *conn)
{
	struct tgt_gather *tx = conn->gathers;

	while (tx->is_held)
		tx++;
	ASSERT(tx < conn->gathers + CONN_GATHERS);
	return tx;
}

static void gather_send(struct tgt_conn *conn, const struct iovec *iov,
			unsigned n, uint64_t bytes)
{
	struct tgt_gather *tx = conn->tx;

	conn->is_tx_busy = true;
	tx->is_held = stream_wants_hold(&conn->s, bytes) &&
		      conn->s.holds + 1 < CONN_GATHERS &&
		      stream_send_held(&conn->s, iov, n, &tx->hold, on_sent);
	if (!tx->is_held)
		stream_send(&conn->s, iov, n, on_sent);
}

static void tx_flush(struct loop_task *task)
{
	struct tgt_conn *conn = container_of(task, struct tgt_conn, tx_task);
	struct iovec iov[TX_IOV + TX_IOV_REQ]; /* a fault may double the last */
	struct tgt_req *req;
	uint64_t bytes = 0;
	unsigned n = 0;

	if (conn->is_tx_busy || !stream_is_open(&conn->s) ||
	    (conn->stall_sides & FAULT_TX))
		return;
	conn->tx = free_gather(conn);
	if (conn->ctl.iov_len) {
		iov[n++] = conn->ctl;
		conn->ctl.iov_len = 0;
	}
	while (conn->state != CONN_TERM && n + TX_IOV_REQ <= TX_IOV &&
	       !(conn->ddgst && bytes >= PDU_SUMMED_MAX) &&
	       !list_is_empty(&conn->txq)) {
		req = list_first(&conn->txq, struct tgt_req, node);
		list_del(&req->node);
		if (req->tx_want & TX_DATA)
			bytes += req->len;
		n += tx_build(req, iov + n);
		list_add_tail(&conn->tx->reqs, &req->node);
	}
	if (n == 0)
		return;
	gather_send(conn, iov, n, bytes);
}

void conn_tx_init(struct tgt_conn *conn)
{
	list_init(&conn->txq);
	for (unsigned i = 0; i < CONN_GATHERS; i++) {
		struct tgt_gather *tx = &conn->gathers[i];

		tx->conn = conn;
		tx->hold.released = gather_released;
		list_init(&tx->reqs);
	}
}

bool conn_tx_is_idle(const struct tgt_conn *conn)
{
	return !conn->is_tx_busy && !conn->s.holds && list_is_empty(&conn->txq);
}

void conn_tx_kick(struct tgt_conn *conn)
{
	if (conn->is_tx_busy || conn->state == CONN_CLOSED)
		return;
	conn->tx_task.run = tx_flush;
	loop_defer(conn->shard->loop, &conn->tx_task);
}

void tx_queue(struct tgt_req *req, uint8_t want)
{
	struct tgt_conn *conn = req->conn;

	if (unlikely(req->fault.acts) && fault_answer(req, want))
		return;
	if (conn->state == CONN_TERM || conn->state == CONN_CLOSED) {
		if (!req->is_in_tx)
			conn_req_release(req);
		return;
	}
	ASSERT(!req->tx_want);
	req->tx_want = want;
	if (!req->is_in_tx)
		list_add_tail(&conn->txq, &req->node);
	conn_tx_kick(conn);
}

void req_send_r2t(struct tgt_req *req)
{
	ASSERT(req->data && req->len);
	req->state = REQ_R2T;
	tx_queue(req, TX_R2T);
}

static bool has_lba(const struct nvme_sqe *sqe)
{
	return sqe->opcode == NVME_CMD_READ || sqe->opcode == NVME_CMD_WRITE ||
	       sqe->opcode == NVME_CMD_COMPARE ||
	       sqe->opcode == NVME_CMD_WRITE_ZEROES ||
	       sqe->opcode == NVME_CMD_VERIFY;
}

static void note_error(struct tgt_req *req)
{
	const struct nvme_sqe *sqe = &req->sqe;
	struct tgt_conn *conn = req->conn;
	struct errlog_entry e = {
		.sqid = conn->qid,
		.cid = sqe->cid,
		.sc = req->sc,
		.nsid = sqe->opcode == NVME_OP_FABRICS ? 0 : sqe->nsid,
	};

	if (conn->qid && has_lba(sqe))
		e.lba = sqe->cdw10 | (uint64_t)sqe->cdw11 << 32;
	tgt_count(&conn->shard->counters.errors, 1);
	if (conn->ctrl)
		errlog_add(&conn->ctrl->errors, &e);
}

void req_complete(struct tgt_req *req, uint16_t sc)
{
	req->sc = sc;
	req->is_final = true;
	req->state = REQ_SENDING;
	req_free_data(req);
	if (sc)
		note_error(req);
	tx_queue(req, TX_RESP);
}

void req_complete_data(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;
	/* Without a response capsule there is no SQHD: only when the host
	 * does not need it. */
	bool is_success = conn->is_no_flow_control && req->result == 0 &&
			  !conn->tgt->opts.no_c2h_success;

	ASSERT(req->data && req->len);
	req->sc = NVME_SC_OK;
	req->is_final = true;
	req->state = REQ_SENDING;
	tx_queue(req, is_success ? TX_DATA : TX_DATA | TX_RESP);
}
