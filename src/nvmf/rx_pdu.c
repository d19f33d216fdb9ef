/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each PDU of a target means; the connection's thread.  Invariant: a
 * field from the wire is used as index, offset or length only after it was
 * compared with what the command asked for.
 */
#include "nvmf/nt.h"

#include <errno.h>
#include <string.h>

static bool violation(struct nt_conn *conn, int fes, size_t fei,
		      const union pdu_hdr *hdr)
{
	nt_protocol_error(conn, fes, (uint32_t)fei, hdr, hdr->ch.hlen);
	return false;
}

static bool on_icresp(struct nt_conn *conn, const union pdu_hdr *hdr)
{
	nt_greet_done(conn, &hdr->ic);
	return conn->state == NT_READY;
}

static bool on_term(struct nt_conn *conn, const union pdu_hdr *hdr)
{
	static const char *const reasons[] = {
		[PDU_FES_HEADER_FIELD] = "invalid header field",
		[PDU_FES_SEQUENCE] = "PDU sequence error",
		[PDU_FES_HDGST] = "header digest error",
		[PDU_FES_DATA_RANGE] = "data transfer out of range",
		[PDU_FES_R2T_LIMIT] = "data transfer limit exceeded",
		[PDU_FES_UNSUPPORTED] = "unsupported parameter",
	};
	uint16_t fes = hdr->term.fes;
	const char *text = fes < ARRAY_SIZE(reasons) ? reasons[fes] : NULL;

	nt_fail(conn, -ECONNRESET,
		"%s ended the connection: error %u, %s (C2HTermReq)",
		conn->peer, fes, text ? text : "unknown to us");
	return false;
}

static bool on_resp(struct nt_conn *conn, const union pdu_hdr *hdr)
{
	struct nt_cmd *cmd = nt_cmd_find(conn, hdr->resp.cqe.cid);

	if (!cmd)
		return violation(conn, PDU_FES_HEADER_FIELD,
				 offsetof(struct pdu_resp, cqe.cid), hdr);
	/* It can't have stored what it has asked for and not been sent. */
	if (!(hdr->resp.cqe.status >> 1 & NVME_SC_MASK) &&
	    cmd->sent < cmd->requested)
		return violation(conn, PDU_FES_SEQUENCE, 0, hdr);
	cmd->cqe = hdr->resp.cqe;
	nt_cmd_answer(cmd, (uint16_t)(hdr->resp.cqe.status >> 1));
	return conn->state == NT_READY;
}

static bool on_data(struct nt_conn *conn, const union pdu_hdr *hdr)
{
	const struct pdu_data *data = &hdr->data;
	struct nt_cmd *cmd = nt_cmd_find(conn, data->cccid);
	uint32_t tail = conn->lim.ddgst ? PDU_DIGEST_LEN : 0;
	bool is_last = data->ch.flags & PDU_F_LAST;

	if (!cmd || cmd->dir != NT_READ)
		return violation(conn, PDU_FES_HEADER_FIELD,
				 offsetof(struct pdu_data, cccid), hdr);
	if (cmd->is_last_seen)
		return violation(conn, PDU_FES_SEQUENCE, 0, hdr);
	if (data->datal != data->ch.plen - data->ch.pdo - tail)
		return violation(conn, PDU_FES_HEADER_FIELD,
				 offsetof(struct pdu_data, datal), hdr);
	if (data->datao != cmd->received)
		return violation(conn, PDU_FES_DATA_RANGE,
				 offsetof(struct pdu_data, datao), hdr);
	if (data->datal > cmd->bytes - cmd->received)
		return violation(conn, PDU_FES_DATA_RANGE,
				 offsetof(struct pdu_data, datal), hdr);
	cmd->is_last_seen = is_last;
	conn->rx_cmd = cmd;
	conn->rx_cur = cmd->data;
	nt_cursor_skip(&cmd->data, data->datal);
	conn->rx_left = conn->rx_last_len = data->datal;
	conn->rx_flags = data->ch.flags;
	conn->rx_crc = 0;
	return true;
}

static bool on_r2t(struct nt_conn *conn, const union pdu_hdr *hdr)
{
	const struct pdu_r2t *r2t = &hdr->r2t;
	struct nt_cmd *cmd = nt_cmd_find(conn, r2t->cccid);

	if (!cmd || cmd->dir != NT_WRITE || cmd->is_in_capsule)
		return violation(conn, PDU_FES_HEADER_FIELD,
				 offsetof(struct pdu_r2t, cccid), hdr);
	/* We announced MAXR2T 0: one at a time. */
	if (cmd->sent != cmd->requested)
		return violation(conn, PDU_FES_R2T_LIMIT, 0, hdr);
	if (r2t->r2to != cmd->requested)
		return violation(conn, PDU_FES_DATA_RANGE,
				 offsetof(struct pdu_r2t, r2to), hdr);
	if (!r2t->r2tl || r2t->r2tl > cmd->bytes - cmd->requested)
		return violation(conn, PDU_FES_DATA_RANGE,
				 offsetof(struct pdu_r2t, r2tl), hdr);
	cmd->ttag = r2t->ttag;
	cmd->requested += r2t->r2tl;
	nt_tx_queue(conn, cmd);
	return true;
}

static bool (*const handlers[])(struct nt_conn *, const union pdu_hdr *) = {
	[PDU_ICRESP] = on_icresp,     [PDU_C2H_TERM] = on_term,
	[PDU_CAPSULE_RESP] = on_resp, [PDU_C2H_DATA] = on_data,
	[PDU_R2T] = on_r2t,
};

bool nt_rx_dispatch(struct nt_conn *conn, const union pdu_hdr *hdr)
{
	/* pdu_check() let only a target's PDUs through. */
	ASSERT(hdr->ch.type < ARRAY_SIZE(handlers) && handlers[hdr->ch.type]);
	return handlers[hdr->ch.type](conn, hdr);
}
