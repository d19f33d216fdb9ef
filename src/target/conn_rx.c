/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receive side of a connection: bytes to PDUs, payload to where it belongs.
 * Shard's thread.  Invariant: nothing of a PDU is used before pdu_check() has
 * judged its header, and no length from the wire is trusted beyond that.
 *
 * Many PDUs are parsed from one receive.  While payload is outstanding, the
 * receive's first iovec is its destination and the second the header buffer,
 * so that large data are never copied here.
 */
#include <errno.h>
#include <string.h>

#include "base/crc.h"
#include "base/log.h"
#include "target/conn.h"

#define FEI(type, field) ((uint32_t)offsetof(struct type, field))

static void rx_run(struct tgt_conn *conn);

static void on_recv(struct stream *s, int res)
{
	struct tgt_conn *conn = s->arg;
	size_t n = res > 0 ? (size_t)res : 0, direct;

	conn->is_rx_posted = false;
	if (conn->state == CONN_CLOSED)
		return;
	if (res <= 0) {
		conn_close(conn, res ? strerror(-res) : "closed by the host");
		return;
	}
	if (conn->is_rx_direct) {
		direct = MIN(n, (size_t)conn->rx_left);
		if (conn->rx_has_ddgst)
			conn->rx_crc =
				crc32c(conn->rx_crc, conn->rx_dst, direct);
		conn->rx_dst += direct;
		conn->rx_left -= (uint32_t)direct;
		n -= direct;
	}
	conn->rx_tail += (uint32_t)n;
	rx_run(conn);
}

static void rx_post(struct tgt_conn *conn)
{
	uint32_t rest = conn->rx_tail - conn->rx_head;
	unsigned count = 0;

	if (conn->is_rx_posted || !stream_is_open(&conn->s) ||
	    (conn->stall_sides & FAULT_RX))
		return;
	ASSERT(rest < CONN_RX_BYTES);
	if (rest && conn->rx_head)
		memmove(conn->rx_buf, conn->rx_buf + conn->rx_head, rest);
	conn->rx_head = 0;
	conn->rx_tail = rest;
	conn->is_rx_direct = conn->rx_stage == RX_DATA && conn->rx_dst;
	if (conn->is_rx_direct) {
		ASSERT(rest == 0 && conn->rx_left);
		conn->rx_iov[count++] =
			(struct iovec){conn->rx_dst, conn->rx_left};
	}
	conn->rx_iov[count++] =
		(struct iovec){conn->rx_buf + rest, CONN_RX_BYTES - rest};
	conn->is_rx_posted = true;
	stream_recv(&conn->s, conn->rx_iov, count, on_recv);
}

static void rx_icreq(struct tgt_conn *conn, const struct pdu_ic *ic)
{
	uint32_t fei = 0;
	uint16_t fes = PDU_FES_HEADER_FIELD;

	if (ic->pfv != 0) {
		fes = PDU_FES_UNSUPPORTED;
		fei = FEI(pdu_ic, pfv);
	} else if (ic->pda > 31) {
		fei = FEI(pdu_ic, pda);
	} else if (ic->dgst & ~3) {
		fei = FEI(pdu_ic, dgst);
	}
	if (fei) {
		conn_term(conn, fes, fei, &ic->ch, sizeof(*ic));
		return;
	}
	conn->hdgst = ic->dgst & 1;
	conn->ddgst = ic->dgst & 2;
	conn->pda = (ic->pda + 1u) * 4;
	conn->state = CONN_NEW;
	pdu_icresp(&conn->icresp, 0, ic->dgst, conn->tgt->opts.max_h2cdata);
	conn->ctl = (struct iovec){&conn->icresp, sizeof(conn->icresp)};
	conn_tx_kick(conn);
}

static uint16_t h2c_check(struct tgt_conn *conn, const struct pdu_data *pdu,
			  uint32_t len, uint32_t *fei)
{
	struct tgt_req *req = conn_req_at(conn, pdu->ttag);
	bool is_last = pdu->ch.flags & PDU_F_LAST;

	*fei = FEI(pdu_data, ttag);
	/* tx_want: the R2T itself still waits to be sent, the host guesses */
	if (!req || req->state != REQ_R2T || req->tx_want)
		return PDU_FES_HEADER_FIELD;
	*fei = FEI(pdu_data, cccid);
	if (req->sqe.cid != pdu->cccid)
		return PDU_FES_HEADER_FIELD;
	*fei = FEI(pdu_data, datal);
	if (pdu->datal != len)
		return PDU_FES_HEADER_FIELD;
	if (len > conn->tgt->opts.max_h2cdata)
		return PDU_FES_R2T_LIMIT;
	if (len > req->len - req->received)
		return PDU_FES_DATA_RANGE;
	*fei = FEI(pdu_data, datao);
	if (pdu->datao != req->received)
		return PDU_FES_DATA_RANGE;
	*fei = FEI(pdu_ch, flags);
	if (is_last != (req->received + len == req->len))
		return PDU_FES_HEADER_FIELD;
	return 0;
}

static void rx_h2c(struct tgt_conn *conn, const struct pdu_data *pdu,
		   uint32_t len)
{
	uint32_t fei;
	uint16_t fes = h2c_check(conn, pdu, len, &fei);

	if (fes) {
		conn_term(conn, fes, fei, &pdu->ch, sizeof(*pdu));
		return;
	}
	conn->rx_req = conn_req_at(conn, pdu->ttag);
	conn->rx_dst = conn->rx_req->data + conn->rx_req->received;
	conn->rx_left = conn->rx_total = len;
	conn->rx_stage = RX_DATA;
}

void rx_into(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;

	conn->rx_req = req;
	conn->rx_dst = req->data;
	if (req->data)
		return;
	if (conn->is_icd_busy) {
		conn->icd_wait = req;
		conn->rx_stage = RX_STALL;
		return;
	}
	conn->icd_wait = NULL;
	conn->is_icd_busy = true;
	req->mem = MEM_ICD;
	req->data = conn->rx_dst = conn->icd_buf;
}

static void rx_cmd(struct tgt_conn *conn, const struct pdu_cmd *pdu,
		   uint32_t len)
{
	struct tgt_req *req;

	conn->rx_left = len;
	conn->rx_dst = NULL;
	conn->rx_req = NULL;
	conn->rx_stage = len ? RX_DATA : RX_HEAD;
	if (conn->is_leaving)
		return; /* the host sends it again elsewhere, or later */
	req = conn_req_take(conn);
	ASSERT(req);
	req->sqe = pdu->sqe;
	conn->sqhd = (uint16_t)((conn->sqhd + 1) % conn->sqsize);
	cmd_start(req, len);
}

/*
 * A host may have as many commands under way as its queue has entries, and so
 * many slots there are; but it may know of an answer before we know that it
 * was sent, and then a slot will come free by itself.
 */
static bool rx_has_slot(struct tgt_conn *conn, const struct pdu_ch *ch)
{
	struct tgt_req *req;
	int ret;

	if (!list_is_empty(&conn->free))
		return true;
	ret = conn_reqs_grow(conn);
	if (!ret)
		return true;
	if (ret == -ENOMEM) {
		conn_close(conn, "out of memory");
		return false;
	}
	for (unsigned i = 0; i <= conn->req_count; i++) {
		req = conn_req_at(conn, (uint16_t)i);
		if (req->state == REQ_SENDING) {
			conn->rx_stage = RX_STALL;
			return false;
		}
	}
	conn_term(conn, PDU_FES_SEQUENCE, 0, ch, sizeof(*ch));
	return false;
}

static bool rx_check_head(struct tgt_conn *conn, const struct pdu_ch *ch)
{
	const struct tgt_opts *o = &conn->tgt->opts;
	uint32_t icd = conn->qid ? o->in_capsule : CONN_ADMIN_ICD;
	struct pdu_limits lim = {
		.is_target = true,
		.is_ready = conn->state != CONN_IC,
		.hdgst = conn->hdgst,
		.ddgst = conn->ddgst,
		/* H2CData beyond MAXH2CDATA is an error of its own. */
		.plen_max = ch->type == PDU_H2C_DATA
				    ? UINT32_MAX
				    : CONN_DATA_HEAD + PDU_DIGEST_LEN + icd,
	};
	uint32_t fei;
	int fes = pdu_check(ch, &lim, &fei);

	if (fes)
		conn_term(conn, (uint16_t)fes, fei, ch, sizeof(*ch));
	return fes == 0;
}

/* p: as received, wherever it lies. */
static bool rx_check_hdgst(struct tgt_conn *conn, const uint8_t *p,
			   uint8_t hlen)
{
	uint32_t want = crc32c(0, p, hlen), got;

	memcpy(&got, p + hlen, sizeof(got));
	if (got != want)
		conn_term(conn, PDU_FES_HDGST, 0, p, hlen);
	return got == want;
}

/* The host says that what we have sent is wrong. */
static void rx_term(struct tgt_conn *conn, const struct pdu_term *pdu)
{
	struct tgt_shard *shard = conn->shard;
	uint32_t held_back;

	if (log_rate_take(&shard->pdu_rate, loop_now_ns(shard->loop),
			  &held_back))
		log_warn("host ended the connection",
			 "qid=%u fes=%u held_back=%u", conn->qid, pdu->fes,
			 held_back);
	conn_close(conn, "H2CTermReq");
}

static void rx_dispatch(struct tgt_conn *conn, const union pdu_hdr *hdr,
			uint32_t data_len)
{
	switch (hdr->ch.type) {
	case PDU_ICREQ:
		rx_icreq(conn, &hdr->ic);
		break;
	case PDU_CAPSULE_CMD:
		rx_cmd(conn, &hdr->cmd, data_len);
		break;
	case PDU_H2C_DATA:
		rx_h2c(conn, &hdr->data, data_len);
		break;
	default:
		rx_term(conn, &hdr->term);
	}
}

/* One header; false when more bytes are needed or parsing must stop. */
static bool rx_head(struct tgt_conn *conn)
{
	uint32_t avail = conn->rx_tail - conn->rx_head, need;
	uint8_t *p = conn->rx_buf + conn->rx_head;
	union pdu_hdr hdr;
	uint32_t len = 0;

	if (avail < sizeof(hdr.ch))
		return false;
	memcpy(&hdr.ch, p, sizeof(hdr.ch));
	if (!rx_check_head(conn, &hdr.ch))
		return false;
	need = hdr.ch.hlen;
	if (hdr.ch.flags & PDU_F_HDGST)
		need += PDU_DIGEST_LEN;
	if (hdr.ch.plen > need &&
	    (hdr.ch.type == PDU_CAPSULE_CMD || hdr.ch.type == PDU_H2C_DATA)) {
		need = hdr.ch.pdo;
		len = hdr.ch.plen - need - (conn->ddgst ? PDU_DIGEST_LEN : 0);
	}
	if (avail < need)
		return false;
	memcpy(&hdr, p, hdr.ch.hlen);
	if ((hdr.ch.flags & PDU_F_HDGST) &&
	    !rx_check_hdgst(conn, p, hdr.ch.hlen))
		return false;
	if (hdr.ch.type == PDU_CAPSULE_CMD && !rx_has_slot(conn, &hdr.ch))
		return false;
	conn->rx_head += need;
	conn->rx_crc = 0;
	conn->rx_has_ddgst = len && conn->ddgst;
	rx_dispatch(conn, &hdr, len);
	return true;
}

static void rx_data_done(struct tgt_conn *conn)
{
	struct tgt_req *req = conn->rx_req;

	conn->rx_stage = RX_HEAD;
	conn->rx_req = NULL;
	conn->rx_dst = NULL;
	if (!req)
		return;
	if (req->state == REQ_R2T) {
		req->received += conn->rx_total;
		if (req->received < req->len)
			return;
	}
	if (req->has_failed_digest)
		req_complete(req, NVME_SC_TRANSIENT_TRANSPORT);
	else if (req->is_aborted)
		req_complete(req, NVME_SC_ABORT_REQUESTED);
	else
		cmd_data_ready(req);
}

static bool rx_data(struct tgt_conn *conn)
{
	uint32_t n = MIN(conn->rx_tail - conn->rx_head, conn->rx_left);
	const uint8_t *p = conn->rx_buf + conn->rx_head;

	if (n) {
		if (conn->rx_has_ddgst)
			conn->rx_crc = crc32c(conn->rx_crc, p, n);
		if (conn->rx_dst) {
			memcpy(conn->rx_dst, p, n);
			conn->rx_dst += n;
		}
		conn->rx_head += n;
		conn->rx_left -= n;
	}
	if (conn->rx_left)
		return false;
	if (conn->rx_has_ddgst)
		conn->rx_stage = RX_DDGST;
	else
		rx_data_done(conn);
	return true;
}

static bool rx_ddgst(struct tgt_conn *conn)
{
	uint32_t got;

	if (conn->rx_tail - conn->rx_head < sizeof(got))
		return false;
	memcpy(&got, conn->rx_buf + conn->rx_head, sizeof(got));
	conn->rx_head += sizeof(got);
	if (conn->rx_req && got != conn->rx_crc)
		conn->rx_req->has_failed_digest = true;
	rx_data_done(conn);
	return true;
}

static bool rx_stall(struct tgt_conn *conn)
{
	return false;
}

static void rx_run(struct tgt_conn *conn)
{
	static bool (*const steps[])(struct tgt_conn * conn) = {
		[RX_HEAD] = rx_head,
		[RX_DATA] = rx_data,
		[RX_DDGST] = rx_ddgst,
		[RX_STALL] = rx_stall,
	};

	if (conn->is_rx_running)
		return; /* resumed from inside a step */
	conn->is_rx_running = true;
	while (conn->state < CONN_TERM && !(conn->stall_sides & FAULT_RX) &&
	       steps[conn->rx_stage](conn))
		;
	conn->is_rx_running = false;
	if (conn->state >= CONN_TERM) {
		/* What still comes is read only to see the end. */
		conn->rx_stage = RX_HEAD;
		conn->rx_head = conn->rx_tail = 0;
		conn->rx_dst = NULL;
	}
	if (conn->rx_stage != RX_STALL)
		rx_post(conn);
}

void conn_rx_start(struct tgt_conn *conn)
{
	conn->rx_stage = RX_HEAD;
	rx_post(conn);
}

void conn_rx_go(struct tgt_conn *conn)
{
	rx_run(conn);
}

void conn_rx_resume(struct tgt_conn *conn)
{
	if (conn->rx_stage != RX_STALL)
		return;
	if (conn->icd_wait && conn->is_icd_busy)
		return;
	conn->rx_stage = conn->icd_wait ? RX_DATA : RX_HEAD;
	if (conn->icd_wait)
		rx_into(conn->icd_wait);
	rx_run(conn);
}
