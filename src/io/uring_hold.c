/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hold waits for; the loop's thread.  Invariant: a hold is completed
 * when its send is and the kernel has nothing more to say about it, whichever
 * comes last.
 */
#include "io/uring_hold.h"

#include "io/backend.h"

/* Of Linux 6.2 and later 6.1; older headers lack them. */
#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE  (1U << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

struct state {
	struct io_op *send; /* while it is under way */
	unsigned notices;   /* that are to come */
	int res;
};

static struct state *state_of(struct io_op *hold)
{
	static_assert(sizeof(struct state) <= sizeof(hold->priv), "it fits");
	return (struct state *)(void *)&hold->priv;
}

static void check(struct loop *loop, struct io_op *hold)
{
	struct state *state = state_of(hold);

	if (!state->send && !state->notices)
		loop_complete(loop, hold, state->res);
}

bool hold_is_known(struct io_uring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool is_known =
		probe && io_uring_opcode_supported(probe, IORING_OP_SENDMSG_ZC);

	io_uring_free_probe(probe);
	return is_known;
}

void hold_start(struct io_op *send)
{
	*state_of(send->hold) =
		(struct state){.send = send, .res = IO_HELD_COPIED};
}

void hold_prep(struct io_uring_sqe *sqe, const struct io_op *send,
	       const struct msghdr *mh)
{
	io_uring_prep_sendmsg_zc(sqe, send->fd, mh, MSG_NOSIGNAL | MSG_WAITALL);
	sqe->ioprio = IORING_SEND_ZC_REPORT_USAGE;
}

struct io_op *hold_told(struct loop *loop, struct io_op *hold,
			const struct io_uring_cqe *cqe)
{
	struct state *state = state_of(hold);

	if (!(cqe->flags & IORING_CQE_F_NOTIF)) {
		ASSERT(state->send);
		if (cqe->flags & IORING_CQE_F_MORE)
			state->notices++;
		/* After a failure a plain send follows, or it is tried again.
		 */
		state->res = cqe->res < 0 ? IO_HELD_COPIED : IO_HELD_NOT_COPIED;
		return state->send;
	}
	ASSERT(state->notices > 0);
	state->notices--;
	if ((uint32_t)cqe->res & IORING_NOTIF_USAGE_ZC_COPIED)
		state->res = IO_HELD_COPIED;
	check(loop, hold);
	return NULL;
}

void hold_sent(struct loop *loop, struct io_op *hold)
{
	state_of(hold)->send = NULL;
	check(loop, hold);
}
