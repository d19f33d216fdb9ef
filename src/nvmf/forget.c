/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads that nobody waits for any more; the connection's thread.  The command
 * stays in its slot until the target has answered, and what it still sends goes
 * to the trash.
 *
 * Invariant: the caller's memory is let go of only while no receive that points
 * there is under way, which is while the payload that comes next is another
 * command's.  A payload that is arriving there may pause for abort_timeout_ms
 * and has its command's deadline to be complete; else the connection fails.
 */
#include "nvmf/nt.h"

#include <errno.h>
#include <stdlib.h>

#define TRASH_BYTES (64 * KiB)
#define TRASH_IOVS  1024 /* all of them the same bytes */

struct nt_trash {
	struct iovec iov[TRASH_IOVS];
	uint8_t bytes[TRASH_BYTES];
};

/* Owned by the connection, made when first needed. */
static struct nt_trash *trash_of(struct nt_conn *conn)
{
	if (conn->trash)
		return conn->trash;
	conn->trash = malloc(sizeof(*conn->trash));
	for (unsigned i = 0; conn->trash && i < TRASH_IOVS; i++)
		conn->trash->iov[i] =
			(struct iovec){conn->trash->bytes, TRASH_BYTES};
	return conn->trash;
}

void nt_trash_free(struct nt_conn *conn)
{
	free(TAKE(conn->trash));
}

static void nobody_waits(struct nt_cmd *cmd)
{
	(void)cmd;
}

static void forget(struct nt_cmd *cmd)
{
	cmd->data = (struct nt_cursor){.iov = cmd->conn->trash->iov,
				       .cnt = TRASH_IOVS};
	nt_cursor_skip(&cmd->data, cmd->received);
	cmd->crcs = NULL;
	cmd->owner = NULL;
	cmd->done = nobody_waits;
	cmd->is_leaving = false;
	cmd->is_forgotten = true;
}

int nt_cmd_forget(struct nt_cmd *cmd)
{
	struct nt_conn *conn = cmd->conn;

	if (!cmd->in_use || cmd->dir != NT_READ || conn->state != NT_READY ||
	    cmd->bytes > (uint64_t)TRASH_IOVS * TRASH_BYTES)
		return -EINVAL;
	if (!trash_of(conn))
		return -ENOMEM;
	if (conn->rx_cmd == cmd) {
		cmd->is_leaving = true;
		nt_cmd_hurry(cmd);
		return -EBUSY;
	}
	forget(cmd);
	return 0;
}

void nt_cmd_leave(struct nt_cmd *cmd)
{
	void (*done)(struct nt_cmd * cmd) = cmd->done;

	ASSERT(cmd->is_leaving && cmd->conn->rx_cmd != cmd);
	cmd->sc = NVME_SC_ABORT_REQUESTED;
	cmd->is_leaving = false;
	nt_cmd_no_hurry(cmd);
	done(cmd); /* it is still the caller's to look at */
	forget(cmd);
}
