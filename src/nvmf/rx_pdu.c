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

/* Takes note of a range that is asked for; false when part of it was before,
 * or when it leaves more ranges apart than are remembered. */
static bool claim(struct nt_cmd *cmd, uint32_t off, uint32_t end)
{
	struct nt_range *joined = NULL;

	for (unsigned i = 0; i < cmd->asked_count; i++) {
		struct nt_range *r = &cmd->asked[i];

		if (off < r->end && end > r->off)
			return false;
	}
	for (unsigned i = 0; i < cmd->asked_count; i++) {
		struct nt_range *r = &cmd->asked[i];

		if (r->end != off && r->off != end)
			continue;
		off = MIN(off, r->off);
		end = MAX(end, r->end);
		*r = (struct nt_range){off, end};
		if (joined) { /* it filled the gap between the two */
			*joined = *r;
			*r = cmd->asked[--cmd->asked_count];
			return true;
		}
		joined = r;
	}
	if (joined)
		return true;
	if (cmd->asked_count == NT_ASKED)
		return false;
	cmd->asked[cmd->asked_count++] = (struct nt_range){off, end};
	return true;
}

static bool on_r2t(struct nt_conn *conn, const union pdu_hdr *hdr)
{
	const struct pdu_r2t *r2t = &hdr->r2t;
	struct nt_cmd *cmd = nt_cmd_find(conn, r2t->cccid);

	if (!cmd || cmd->dir != NT_WRITE || cmd->is_in_capsule)
		return violation(conn, PDU_FES_HEADER_FIELD,
				 offsetof(struct pdu_r2t, cccid), hdr);
	if (r2t->r2to % 4)
		return violation(conn, PDU_FES_HEADER_FIELD,
				 offsetof(struct pdu_r2t, r2to), hdr);
	if (r2t->r2to >= cmd->bytes)
		return violation(conn, PDU_FES_DATA_RANGE,
				 offsetof(struct pdu_r2t, r2to), hdr);
	if (!r2t->r2tl || r2t->r2tl > cmd->bytes - r2t->r2to)
		return violation(conn, PDU_FES_DATA_RANGE,
				 offsetof(struct pdu_r2t, r2tl), hdr);
	if (cmd->r2t_count == NT_R2TS)
		return violation(conn, PDU_FES_R2T_LIMIT, 0, hdr);
	if (!claim(cmd, r2t->r2to, r2t->r2to + r2t->r2tl))
		return violation(conn, PDU_FES_DATA_RANGE,
				 offsetof(struct pdu_r2t, r2to), hdr);
	cmd->r2ts[(cmd->r2t_first + cmd->r2t_count++) % NT_R2TS] =
		(struct nt_r2t){
			.ttag = r2t->ttag, .off = r2t->r2to, .len = r2t->r2tl};
	cmd->requested += r2t->r2tl;
	if (list_is_empty(&cmd->tx_node))
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
