/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command slots of a connection; its thread.  The low bits of a CID are the
 * slot's index, the high bits count its reuses, so an answer to a command that
 * is no longer there is noticed.  Invariant: a slot is in exactly one of the
 * lists free and inflight, the latter ordered by deadline.
 */
#include "nvmf/nt.h"

#include <errno.h>
#include <stdlib.h>

#include "base/time.h"

#define GENERATIONS ((1u << (16 - NT_CID_BITS)) - 1) /* never CID ffffh */

int nt_slots_init(struct nt_conn *conn)
{
	ASSERT(conn->opts.depth >= 2 && conn->opts.depth <= NT_DEPTH_MAX);
	list_init(&conn->free);
	list_init(&conn->inflight);
	conn->slot_count = conn->opts.depth - 1;
	conn->slots = calloc(conn->slot_count, sizeof(*conn->slots));
	if (!conn->slots)
		return -ENOMEM;
	for (unsigned i = 0; i < conn->slot_count; i++) {
		struct nt_cmd *cmd = &conn->slots[i];

		cmd->conn = conn;
		cmd->cid = (uint16_t)i;
		list_init(&cmd->tx_node);
		list_add_tail(&conn->free, &cmd->node);
	}
	return 0;
}

static void next_generation(struct nt_cmd *cmd)
{
	unsigned index = cmd->cid & (NT_DEPTH_MAX - 1);
	unsigned generation = (cmd->cid >> NT_CID_BITS) + 1u;

	if (generation == GENERATIONS)
		generation = 0;
	cmd->cid = (uint16_t)(generation << NT_CID_BITS | index);
}

struct nt_cmd *nt_cmd_take(struct nt_conn *conn)
{
	struct nt_cmd *cmd;

	if (conn->state != NT_READY || list_is_empty(&conn->free))
		return NULL;
	cmd = list_first(&conn->free, struct nt_cmd, node);
	list_del(&cmd->node);
	*cmd = (struct nt_cmd){.conn = conn, .cid = cmd->cid};
	list_init(&cmd->node);
	list_init(&cmd->tx_node);
	return cmd;
}

/* Deadlines mostly come in order, so the search from the end is short. */
static void insert_by_deadline(struct nt_conn *conn, struct nt_cmd *cmd)
{
	struct list *at = conn->inflight.prev;

	while (at != &conn->inflight &&
	       list_entry(at, struct nt_cmd, node)->deadline_ns >
		       cmd->deadline_ns)
		at = at->prev;
	list_add_head(at, &cmd->node);
}

static void watch_by(struct nt_conn *conn, uint64_t deadline_ns)
{
	if (deadline_ns != NT_NO_DEADLINE &&
	    (!timer_is_set(&conn->timer) ||
	     conn->timer.deadline_ns > deadline_ns))
		timer_set_at(conn->loop, &conn->timer, deadline_ns);
}

void nt_cmd_submit(struct nt_conn *conn, struct nt_cmd *cmd)
{
	ASSERT(conn->state == NT_READY && !cmd->in_use && cmd->done);
	ASSERT((cmd->dir == NT_NO_DATA) == (cmd->bytes == 0));
	cmd->in_use = true;
	cmd->sqe.cid = cmd->cid;
	cmd->sqe.sgl = (struct nvme_sgl){
		.len = cmd->bytes,
		.type = cmd->is_in_capsule ? NVME_SGL_DATA_OFFSET
					   : NVME_SGL_TRANSPORT,
	};
	cmd->base = cmd->data;
	insert_by_deadline(conn, cmd);
	conn->inflight_count++;
	watch_by(conn, cmd->deadline_ns);
	nt_stat_add(NT_STAT_COMMANDS, 1);
	nt_tx_queue(conn, cmd);
}

struct nt_cmd *nt_cmd_find(struct nt_conn *conn, uint16_t cid)
{
	unsigned index = cid & (NT_DEPTH_MAX - 1);
	struct nt_cmd *cmd;

	if (index >= conn->slot_count)
		return NULL;
	cmd = &conn->slots[index];
	if (!cmd->in_use || cmd->cid != cid || !cmd->is_capsule_sent ||
	    cmd->has_response)
		return NULL;
	return cmd;
}

static void complete(struct nt_cmd *cmd)
{
	struct nt_conn *conn = cmd->conn;

	list_del(&cmd->node);
	list_del(&cmd->tx_node);
	cmd->in_use = false;
	conn->inflight_count--;
	if (cmd->sc != NVME_SC_OK)
		nt_stat_add(NT_STAT_ERRORS, 1);
	else if (cmd->dir == NT_READ)
		nt_stat_add(NT_STAT_BYTES_READ, cmd->bytes);
	else
		nt_stat_add(NT_STAT_BYTES_WRITTEN, cmd->bytes);
	/* Still in no list: done() can't get this slot for another command. */
	cmd->done(cmd);
	next_generation(cmd);
	list_add_tail(&conn->free, &cmd->node);
	if (conn->auth)
		nt_auth_pump(conn->auth);
	if (conn->state == NT_READY)
		conn->opts.on_slot(conn);
}

void nt_cmd_settle(struct nt_cmd *cmd)
{
	if (cmd->has_response && !cmd->tx_refs && cmd->sent == cmd->requested)
		complete(cmd);
}

static uint32_t moved(const struct nt_cmd *cmd)
{
	if (cmd->dir == NT_READ)
		return cmd->received;
	return cmd->is_in_capsule ? cmd->bytes : cmd->requested;
}

void nt_cmd_answer(struct nt_cmd *cmd, uint16_t sc)
{
	/* A success with "do not retry" beside it is one. */
	cmd->sc = sc & NVME_SC_MASK ? sc & (NVME_SC_MASK | NVME_SC_DNR)
				    : NVME_SC_OK;
	/* A target that says "done" but moved too little did not do it. */
	if (cmd->sc == NVME_SC_OK && moved(cmd) != cmd->bytes)
		cmd->sc = NVME_SC_DATA_XFER_ERROR;
	/* The answer to an Abort; a success came before it and is one. */
	if (cmd->sc != NVME_SC_OK && cmd->is_aborting)
		cmd->sc = cmd->is_cancelled ? NVME_SC_ABORT_REQUESTED
					    : NVME_SC_HOST_ABORTED;
	cmd->has_response = true;
	nt_cmd_settle(cmd);
}

/* By its caller, who wants its memory back and no answer. */
static bool is_given_up(const struct nt_cmd *cmd)
{
	return cmd->is_cancelled || cmd->is_leaving;
}

void nt_cmds_abort(struct nt_conn *conn)
{
	ASSERT(conn->state == NT_DOWN);
	while (!list_is_empty(&conn->inflight)) {
		struct nt_cmd *cmd =
			list_first(&conn->inflight, struct nt_cmd, node);

		cmd->sc = is_given_up(cmd)  ? NVME_SC_ABORT_REQUESTED
			  : cmd->is_expired ? NVME_SC_HOST_ABORTED
					    : NVME_SC_HOST_PATH_ERROR;
		cmd->tx_refs = 0;
		complete(cmd);
	}
}

static void watch(struct nt_conn *conn)
{
	struct nt_cmd *cmd;

	if (list_is_empty(&conn->inflight))
		return;
	cmd = list_first(&conn->inflight, struct nt_cmd, node);
	if (cmd->deadline_ns != NT_NO_DEADLINE)
		timer_set_at(conn->loop, &conn->timer, cmd->deadline_ns);
}

static void set_deadline(struct nt_cmd *cmd, uint64_t deadline_ns)
{
	list_del(&cmd->node);
	cmd->deadline_ns = deadline_ns;
	insert_by_deadline(cmd->conn, cmd);
}

/* Time for the PDU that is arriving. */
static void wait_for_more(struct nt_cmd *cmd)
{
	const struct nt_conn *conn = cmd->conn;

	cmd->seen = cmd->received;
	set_deadline(cmd, loop_now_ns(conn->loop) +
				  conn->opts.abort_timeout_ms * NS_PER_MS);
}

/* It is slow, but has not stopped, and would still have time. */
static bool is_arriving(const struct nt_cmd *cmd, uint64_t now)
{
	return cmd->is_leaving && cmd->received != cmd->seen &&
	       now < cmd->kept_ns;
}

void nt_cmd_hurry(struct nt_cmd *cmd)
{
	cmd->kept_ns = cmd->deadline_ns;
	/* One that is late already has no more time than it had. */
	if (!cmd->is_aborting)
		wait_for_more(cmd);
	watch_by(cmd->conn, cmd->deadline_ns);
}

void nt_cmd_no_hurry(struct nt_cmd *cmd)
{
	set_deadline(cmd, cmd->kept_ns);
	watch_by(cmd->conn, cmd->deadline_ns);
}

/* None of its bytes have left, nor are they about to. */
static bool is_unsent(const struct nt_cmd *cmd)
{
	return !cmd->is_capsule_sent && !cmd->tx_refs;
}

static void give_back(struct nt_cmd *cmd)
{
	cmd->sc = cmd->is_cancelled ? NVME_SC_ABORT_REQUESTED
				    : NVME_SC_HOST_ABORTED;
	complete(cmd);
}

static void ask_abort(struct nt_cmd *cmd)
{
	struct nt_conn *conn = cmd->conn;

	cmd->is_aborting = true;
	set_deadline(cmd, loop_now_ns(conn->loop) +
				  conn->opts.abort_timeout_ms * NS_PER_MS);
	nt_stat_add(NT_STAT_ABORTS, 1);
	conn->opts.on_late(conn, cmd);
}

static void fail_late(struct nt_conn *conn, uint64_t now)
{
	unsigned late = 0;
	struct nt_cmd *cmd;

	list_for_each (cmd, &conn->inflight, node) {
		if (cmd->deadline_ns > now)
			break;
		if (!is_given_up(cmd) && !cmd->is_expired)
			nt_stat_add(NT_STAT_TIMEOUTS, 1);
		cmd->is_expired = !is_given_up(cmd);
		late++;
	}
	nt_fail(conn, -ETIMEDOUT, "%s did not answer %u command%s in time",
		conn->peer, late, late > 1 ? "s" : "");
}

/* A loop that was busy finds deadlines passed, but also perhaps the answers:
 * they are read first. */
static bool was_busy(struct nt_conn *conn, uint64_t deadline_ns)
{
	uint64_t now = loop_now_ns(conn->loop);

	if (conn->is_second_look ||
	    now < deadline_ns + NT_LATE_MS * NS_PER_MS) {
		conn->is_second_look = false;
		return false;
	}
	conn->is_second_look = true;
	timer_set_at(conn->loop, &conn->timer, now + NT_LATE_MS * NS_PER_MS);
	return true;
}

void nt_cmds_expire(struct nt_conn *conn)
{
	uint64_t now = loop_now_ns(conn->loop);

	while (conn->state == NT_READY && !list_is_empty(&conn->inflight)) {
		struct nt_cmd *cmd =
			list_first(&conn->inflight, struct nt_cmd, node);

		if (cmd->deadline_ns > now)
			break;
		if (!cmd->is_cancelled && was_busy(conn, cmd->deadline_ns))
			return;
		if (is_arriving(cmd, now)) {
			wait_for_more(cmd);
			continue;
		}
		if (cmd->is_aborting || cmd->is_leaving ||
		    !conn->opts.on_late) {
			fail_late(conn, now);
			return;
		}
		if (!cmd->is_cancelled)
			nt_stat_add(NT_STAT_TIMEOUTS, 1);
		cmd->is_expired = !cmd->is_cancelled;
		if (is_unsent(cmd))
			give_back(cmd);
		else
			ask_abort(cmd);
	}
	if (conn->state != NT_READY)
		return;
	conn->is_second_look = false; /* nothing is late any more */
	watch(conn);
}

void nt_cmd_cancel(struct nt_cmd *cmd)
{
	struct nt_conn *conn = cmd->conn;

	if (!cmd->in_use || cmd->is_cancelled || cmd->is_aborting ||
	    !conn->opts.on_late)
		return;
	cmd->is_cancelled = true;
	set_deadline(cmd, loop_now_ns(conn->loop));
	if (conn->state == NT_READY)
		timer_set_at(conn->loop, &conn->timer, cmd->deadline_ns);
}
