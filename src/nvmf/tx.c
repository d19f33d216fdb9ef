/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending: one gather under way at a time; what is queued meanwhile goes into
 * the next.  The connection's thread.
 *
 * A gather with much payload leaves without being copied, and is then held: the
 * kernel may read it again until the target has acknowledged it.  The next one
 * need not wait for that, but takes another place; the last that is free is for
 * plain sends, so that no hold is ever waited for.
 *
 * Invariant: a command is in tx_queue while it has a capsule or H2CData to
 * send that no gather has taken yet; tx_refs counts its PDUs in the gather
 * under way and in those held, and it does not complete before that is 0.
 */
#include "nvmf/nt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"

/* Room that one PDU takes besides its payload: header and data digest. */
#define PDU_IOVS 2

static void add_iov(struct nt_conn *conn, void *p, size_t n)
{
	ASSERT(conn->tx_iovs < NT_TX_IOVS);
	conn->tx_iov[conn->tx_iovs++] = (struct iovec){p, n};
}

/* CRC-32C of data [off, off + n), from the caller's sums where it covers whole
 * blocks of them; cur stands at off. */
static uint32_t data_crc(const struct nt_cmd *cmd, const struct nt_cursor *cur,
			 uint32_t off, uint32_t n)
{
	struct nt_cursor at = *cur;
	uint32_t crc = 0;

	if (!cmd->crcs)
		return nt_cursor_crc(cur, 0, n);
	while (n) {
		uint32_t start = off - off % cmd->crc_bytes;
		uint32_t end = start + MIN(cmd->crc_bytes, cmd->bytes - start);
		uint32_t len = MIN(n, end - off);
		bool is_whole = off == start && len == end - start;
		uint32_t one = is_whole ? cmd->crcs[off / cmd->crc_bytes]
					: nt_cursor_crc(&at, 0, len);

		crc = crc ? crc32c_combine(crc, one, len) : one;
		nt_cursor_skip(&at, len);
		off += len;
		n -= len;
	}
	return crc;
}

/* Header (digest, padding), payload from cur, data digest. */
static void add_pdu(struct nt_conn *conn, struct nt_cmd *cmd,
		    union pdu_hdr *hdr, uint32_t bytes)
{
	uint32_t off = hdr->ch.type == PDU_H2C_DATA ? hdr->data.datao : 0;
	struct nt_cursor *cur = &cmd->data;
	struct nt_gather *tx = conn->tx;
	struct nt_tx_head *head = &tx->heads[tx->pdus];
	size_t mapped = bytes;
	size_t head_len;
	uint32_t crc;

	head_len = pdu_finish(&hdr->ch, bytes, conn->lim.hdgst, conn->lim.ddgst,
			      conn->pda);
	memset(head->bytes, 0, head_len);
	memcpy(head->bytes, hdr, hdr->ch.hlen);
	if (conn->lim.hdgst) {
		crc = crc32c(0, hdr, hdr->ch.hlen);
		memcpy(head->bytes + hdr->ch.hlen, &crc, sizeof(crc));
	}
	add_iov(conn, head->bytes, head_len);
	if (bytes) {
		conn->tx_iovs += nt_cursor_map(cur, &mapped,
					       conn->tx_iov + conn->tx_iovs,
					       NT_TX_IOVS - conn->tx_iovs);
		ASSERT(mapped == bytes);
		if (conn->lim.ddgst) {
			tx->summed += bytes;
			head->ddgst = data_crc(cmd, cur, off, bytes);
			add_iov(conn, &head->ddgst, sizeof(head->ddgst));
		}
		nt_cursor_skip(cur, bytes);
		tx->bytes += bytes;
	}
	tx->cmds[tx->pdus++] = cmd;
	cmd->tx_refs++;
}

/* How many payload bytes fit behind what is gathered already. */
static size_t room_for(struct nt_conn *conn, struct nt_cmd *cmd, size_t bytes)
{
	unsigned used = conn->tx_iovs + PDU_IOVS;

	if (used >= NT_TX_IOVS)
		return 0;
	nt_cursor_map(&cmd->data, &bytes, conn->tx_iov + conn->tx_iovs,
		      NT_TX_IOVS - used);
	return bytes;
}

/* False when the gather is too full for it. */
static bool add_capsule(struct nt_conn *conn, struct nt_cmd *cmd)
{
	uint32_t bytes = cmd->is_in_capsule ? cmd->bytes : 0;
	union pdu_hdr hdr = {.cmd = {.ch.type = PDU_CAPSULE_CMD}};

	if (bytes && room_for(conn, cmd, bytes) < bytes) {
		if (conn->tx->pdus)
			return false;
		/* Too many pieces for any gather: let the target ask. */
		cmd->is_in_capsule = false;
		cmd->sqe.sgl.type = NVME_SGL_TRANSPORT;
		bytes = 0;
	}
	hdr.cmd.sqe = cmd->sqe;
	add_pdu(conn, cmd, &hdr, bytes);
	cmd->is_capsule_sent = true;
	return true;
}

/* data stands where the first R2T wants to go on. */
static void seek_data(struct nt_cmd *cmd, uint32_t off)
{
	if (off < cmd->data_off) {
		cmd->data = cmd->base;
		cmd->data_off = 0;
	}
	nt_cursor_skip(&cmd->data, off - cmd->data_off);
	cmd->data_off = off;
}

static bool add_data(struct nt_conn *conn, struct nt_cmd *cmd)
{
	struct nt_r2t *r2t = &cmd->r2ts[cmd->r2t_first];
	uint32_t left = r2t->len - r2t->sent;
	uint32_t bytes = MIN(left, conn->maxh2c);
	union pdu_hdr hdr = {.data = {.ch.type = PDU_H2C_DATA}};
	size_t room;

	ASSERT(cmd->r2t_count);
	seek_data(cmd, r2t->off + r2t->sent);
	room = room_for(conn, cmd, bytes);
	if (room < bytes)
		bytes = (uint32_t)ALIGN_DOWN(room, 4);
	if (!bytes)
		return false;
	if (bytes == left)
		hdr.ch.flags = PDU_F_LAST;
	hdr.data.cccid = cmd->cid;
	hdr.data.ttag = r2t->ttag;
	hdr.data.datao = r2t->off + r2t->sent;
	hdr.data.datal = bytes;
	add_pdu(conn, cmd, &hdr, bytes);
	cmd->data_off += bytes;
	cmd->sent += bytes;
	r2t->sent += bytes;
	if (bytes == left) {
		cmd->r2t_first = (cmd->r2t_first + 1) % NT_R2TS;
		cmd->r2t_count--;
	}
	return true;
}

/* Who was stopped for a while finds data asked for that must not be written
 * any more: its place on the medium may be another's.  Who waits for the
 * command cancels it; one that was answered meanwhile had only to send that,
 * and is done. */
static bool stop_late(struct nt_conn *conn, struct nt_cmd *cmd)
{
	if (!cmd->stop_ns || loop_now_ns(conn->loop) < cmd->stop_ns)
		return false;
	list_del(&cmd->tx_node);
	cmd->r2t_count = 0;
	cmd->requested = cmd->sent;
	nt_cmd_settle(cmd);
	return true;
}

static bool has_room(const struct nt_conn *conn)
{
	return conn->tx->pdus < NT_TX_PDUS && conn->tx_iovs < NT_TX_IOVS &&
	       conn->tx->summed < PDU_SUMMED_MAX;
}

static void gather_start(struct nt_conn *conn);

/* Neither sent nor held any more. */
static void gather_end(struct nt_conn *conn, const struct nt_gather *tx)
{
	for (unsigned i = 0; i < tx->pdus; i++) {
		struct nt_cmd *cmd = tx->cmds[i];

		cmd->tx_refs--;
		nt_cmd_settle(cmd);
		/* A completion may close the connection. */
		if (conn->state != NT_READY)
			return;
	}
}

static void gather_released(struct stream_hold *hold, bool was_copied)
{
	struct nt_gather *tx = container_of(hold, struct nt_gather, hold);
	struct nt_conn *conn = tx->conn;

	tx->is_held = false;
	nt_stat_add(was_copied ? NT_STAT_ZEROCOPY_COPIED
			       : NT_STAT_ZEROCOPY_SENDS,
		    1);
	if (conn->state == NT_READY && !(conn->is_tx_gather && tx == conn->tx))
		gather_end(conn, tx);
}

static void gather_done(struct stream *stream, int res)
{
	struct nt_conn *conn = stream->arg;

	conn->is_tx_gather = false;
	if (conn->state == NT_LINGER)
		nt_term_send(conn);
	if (conn->state != NT_READY)
		return;
	if (res < 0) {
		nt_fail(conn, res, "sending to %s: %s", conn->peer,
			strerror(-res));
		return;
	}
	if (!conn->tx->is_held)
		gather_end(conn, conn->tx);
	gather_start(conn);
}

static int gather_init(struct nt_conn *conn, struct nt_gather *tx)
{
	tx->conn = conn;
	tx->hold.released = gather_released;
	if (!tx->heads)
		tx->heads = calloc(NT_TX_PDUS, sizeof(*tx->heads));
	if (tx->heads)
		tx->cmds = calloc(NT_TX_PDUS, sizeof(*tx->cmds));
	return tx->cmds ? 0 : -ENOMEM;
}

static struct nt_gather *free_gather(struct nt_conn *conn)
{
	struct nt_gather *tx = conn->gathers;

	while (tx->is_held)
		tx++;
	ASSERT(tx < conn->gathers + NT_GATHERS);
	return tx;
}

/* There is a place for the next one while this is held; each but the first gets
 * its memory when it is first needed. */
static bool has_place(struct nt_conn *conn)
{
	struct nt_gather *tx = conn->gathers;

	while (tx->is_held || tx == conn->tx)
		if (++tx == conn->gathers + NT_GATHERS)
			return false;
	return tx->cmds || gather_init(conn, tx) == 0;
}

static void gather_send(struct nt_conn *conn)
{
	struct nt_gather *tx = conn->tx;

	conn->is_tx_gather = true;
	tx->is_held = stream_wants_hold(&conn->stream, tx->bytes) &&
		      has_place(conn) &&
		      stream_send_held(&conn->stream, conn->tx_iov,
				       conn->tx_iovs, &tx->hold, gather_done);
	if (!tx->is_held)
		stream_send(&conn->stream, conn->tx_iov, conn->tx_iovs,
			    gather_done);
}

static void gather_start(struct nt_conn *conn)
{
	struct nt_gather *tx;

	if (conn->is_tx_gather || conn->state != NT_READY)
		return;
	tx = conn->tx = free_gather(conn);
	tx->pdus = conn->tx_iovs = 0;
	tx->bytes = tx->summed = 0;
	while (has_room(conn) && !list_is_empty(&conn->tx_queue)) {
		struct nt_cmd *cmd =
			list_first(&conn->tx_queue, struct nt_cmd, tx_node);
		bool is_added;

		if (stop_late(conn, cmd)) {
			/* A completion may close the connection. */
			if (conn->state != NT_READY)
				return;
			continue;
		}
		is_added = cmd->is_capsule_sent ? add_data(conn, cmd)
						: add_capsule(conn, cmd);
		if (!is_added)
			break;
		/* More to send: behind the others, so that none starves. */
		list_del(&cmd->tx_node);
		if (cmd->sent < cmd->requested)
			list_add_tail(&conn->tx_queue, &cmd->tx_node);
	}
	ASSERT(tx->pdus || list_is_empty(&conn->tx_queue));
	if (tx->pdus)
		gather_send(conn);
}

static void tx_task_run(struct loop_task *task)
{
	gather_start(container_of(task, struct nt_conn, tx_task));
}

int nt_tx_init(struct nt_conn *conn)
{
	list_init(&conn->tx_queue);
	conn->tx_task.run = tx_task_run;
	conn->stream.hold_from = conn->opts.zerocopy_bytes;
	conn->tx_iov = calloc(NT_TX_IOVS, sizeof(*conn->tx_iov));
	if (!conn->tx_iov)
		return -ENOMEM;
	return gather_init(conn, &conn->gathers[0]);
}

void nt_tx_fini(struct nt_conn *conn)
{
	ASSERT(!conn->stream.holds);
	for (unsigned i = 0; i < NT_GATHERS; i++) {
		free(conn->gathers[i].heads);
		free(conn->gathers[i].cmds);
	}
	free(conn->tx_iov);
}

/* Deferred, so that what is submitted in one turn leaves in one gather. */
void nt_tx_queue(struct nt_conn *conn, struct nt_cmd *cmd)
{
	ASSERT(list_is_empty(&cmd->tx_node));
	list_add_tail(&conn->tx_queue, &cmd->tx_node);
	if (!conn->is_tx_gather)
		loop_defer(conn->loop, &conn->tx_task);
}
