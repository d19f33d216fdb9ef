/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving: headers and small payloads come through rx_buf, many PDUs per
 * system call; the rest of a payload is received straight into the caller's
 * memory, with rx_buf behind it for the headers that follow.
 *
 * Invariant: rx_left > 0 means that the next bytes of the stream are payload
 * of rx_cmd, which cannot complete before they are there.  The connection's
 * thread.
 */
#include "nvmf/nt.h"

#include <errno.h>
#include <string.h>

#include "base/crc.h"

/* After a large payload only headers are expected in the buffer: receiving
 * more would mean copying the next payload. */
#define LARGE_PAYLOAD (16u << 10)
#define SMALL_READ    512u

static void rx_done(struct stream *stream, int res);

static size_t read_ahead(const struct nt_conn *conn)
{
	size_t room = NT_RX_BUF - conn->rx_end;

	return conn->rx_last_len >= LARGE_PAYLOAD ? MIN(room, SMALL_READ)
						  : room;
}

static void rx_recv(struct nt_conn *conn)
{
	size_t direct = conn->rx_left;
	unsigned count = 0;

	if (conn->rx_pos) {
		memmove(conn->rx_buf, conn->rx_buf + conn->rx_pos,
			conn->rx_end - conn->rx_pos);
		conn->rx_end -= conn->rx_pos;
		conn->rx_pos = 0;
	}
	if (direct) {
		ASSERT(conn->rx_end == 0);
		count = nt_cursor_map(&conn->rx_cur, &direct, conn->rx_iov,
				      NT_RX_IOVS);
	}
	conn->rx_direct = (uint32_t)direct;
	if (direct == conn->rx_left) {
		conn->rx_iov[count].iov_base = conn->rx_buf + conn->rx_end;
		conn->rx_iov[count++].iov_len = read_ahead(conn);
	}
	stream_recv(&conn->stream, conn->rx_iov, count, rx_done);
}

/* The digest of the PDU and the sums of the caller's blocks from one look at
 * the bytes. */
static void sum_blocks(struct nt_conn *conn, uint32_t n)
{
	struct nt_cmd *cmd = conn->rx_cmd;
	struct nt_cursor cur = conn->rx_cur;
	uint32_t at = cmd->received;

	while (n) {
		uint32_t in_block = at % cmd->crc_bytes;
		uint32_t len = MIN(n, cmd->crc_bytes - in_block);
		uint32_t *sum = &cmd->crcs[at / cmd->crc_bytes];
		uint32_t crc = nt_cursor_crc(&cur, 0, len);

		*sum = in_block ? crc32c_combine(*sum, crc, len) : crc;
		if (conn->lim.ddgst)
			conn->rx_crc =
				conn->rx_crc
					? crc32c_combine(conn->rx_crc, crc, len)
					: crc;
		nt_cursor_skip(&cur, len);
		at += len;
		n -= len;
	}
}

static void payload_arrived(struct nt_conn *conn, uint32_t n)
{
	if (conn->rx_cmd->crcs)
		sum_blocks(conn, n);
	else if (conn->lim.ddgst)
		conn->rx_crc = nt_cursor_crc(&conn->rx_cur, conn->rx_crc, n);
	nt_cursor_skip(&conn->rx_cur, n);
	conn->rx_left -= n;
	conn->rx_cmd->received += n;
}

static void rx_done(struct stream *stream, int res)
{
	struct nt_conn *conn = stream->arg;
	uint32_t direct;

	if (conn->state == NT_LINGER) {
		nt_linger_received(conn, res);
		return;
	}
	if (conn->state != NT_GREETING && conn->state != NT_READY)
		return;
	if (res == 0) {
		nt_fail(conn, -ECONNRESET, "%s closed the connection%s",
			conn->peer,
			conn->state == NT_GREETING
				? " instead of a greeting: does it want TLS?"
				: "");
		return;
	}
	if (res < 0) {
		nt_fail(conn, res, "receiving from %s: %s", conn->peer,
			strerror(-res));
		return;
	}
	direct = MIN((uint32_t)res, conn->rx_direct);
	if (direct)
		payload_arrived(conn, direct);
	conn->rx_end += (uint32_t)res - direct;
	nt_rx_parse(conn);
	if (conn->state == NT_GREETING || conn->state == NT_READY)
		rx_recv(conn);
}

void nt_rx_start(struct nt_conn *conn)
{
	conn->rx_pos = conn->rx_end = 0;
	rx_recv(conn);
}

/* The payload (and its digest) of one C2HData is complete. */
static void data_done(struct nt_conn *conn)
{
	struct nt_cmd *cmd = TAKE(conn->rx_cmd);

	if (conn->rx_flags & PDU_F_SUCCESS) {
		cmd->cqe = (struct nvme_cqe){.cid = cmd->cid};
		nt_cmd_answer(cmd, NVME_SC_OK);
	} else if (cmd->is_leaving) {
		nt_cmd_leave(cmd);
	}
}

static bool take_digest(struct nt_conn *conn)
{
	uint32_t crc;

	if (conn->rx_end - conn->rx_pos < PDU_DIGEST_LEN)
		return false;
	memcpy(&crc, conn->rx_buf + conn->rx_pos, sizeof(crc));
	conn->rx_pos += PDU_DIGEST_LEN;
	conn->is_rx_digest = false;
	/* The trash holds only the end of what went there. */
	if (crc != conn->rx_crc && !conn->rx_cmd->is_forgotten) {
		/* Not fatal by the specification, but what else of this
		 * connection could be believed? */
		nt_stat_add(NT_STAT_DIGEST_ERRORS, 1);
		nt_fail(conn, -EBADMSG, "%s: data digest error", conn->peer);
		return false;
	}
	data_done(conn);
	return true;
}

static bool take_payload(struct nt_conn *conn)
{
	size_t n = MIN((size_t)conn->rx_left, conn->rx_end - conn->rx_pos);
	struct nt_cursor cur = conn->rx_cur;

	if (n) {
		nt_cursor_write(&cur, conn->rx_buf + conn->rx_pos, n);
		conn->rx_pos += n;
		payload_arrived(conn, (uint32_t)n);
	}
	if (conn->rx_left)
		return false;
	if (conn->lim.ddgst)
		conn->is_rx_digest = true;
	else
		data_done(conn);
	return true;
}

/* True when a whole header was there and has been acted upon. */
static bool take_header(struct nt_conn *conn)
{
	const uint8_t *p = conn->rx_buf + conn->rx_pos;
	size_t have = conn->rx_end - conn->rx_pos;
	uint32_t fei, crc, need;
	union pdu_hdr hdr = {0};
	int fes;

	if (nt_tls_is_alert(conn, p, have)) {
		nt_fail(conn, -EACCES,
			"%s wants TLS: set MC_NVME_TLS_KEY_FILE to the file "
			"with the key",
			conn->peer);
		return false;
	}
	if (have < sizeof(hdr.ch))
		return false;
	memcpy(&hdr.ch, p, sizeof(hdr.ch));
	fes = pdu_check(&hdr.ch, &conn->lim, &fei);
	if (fes) {
		nt_protocol_error(conn, fes, fei, p, sizeof(hdr.ch));
		return false;
	}
	/* A TermReq echoes a header; other PDUs have data behind PDO. */
	need = hdr.ch.type == PDU_C2H_DATA ? hdr.ch.pdo : hdr.ch.plen;
	if (have < need)
		return false;
	memcpy(&hdr, p, hdr.ch.hlen);
	/* A TermReq never has a digest, whatever its flags say. */
	if (hdr.ch.flags & PDU_F_HDGST && hdr.ch.type != PDU_C2H_TERM) {
		memcpy(&crc, p + hdr.ch.hlen, sizeof(crc));
		if (crc != crc32c(0, p, hdr.ch.hlen)) {
			nt_stat_add(NT_STAT_DIGEST_ERRORS, 1);
			nt_protocol_error(conn, PDU_FES_HDGST, crc, p,
					  hdr.ch.hlen);
			return false;
		}
	}
	conn->rx_pos += need;
	return nt_rx_dispatch(conn, &hdr);
}

void nt_rx_parse(struct nt_conn *conn)
{
	bool is_more = true;

	while (is_more &&
	       (conn->state == NT_GREETING || conn->state == NT_READY)) {
		if (conn->rx_cmd && !conn->is_rx_digest)
			is_more = take_payload(conn);
		else if (conn->is_rx_digest)
			is_more = take_digest(conn);
		else
			is_more = take_header(conn);
	}
}
