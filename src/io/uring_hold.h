/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends without copying on io_uring: uring.c's.  The kernel answers such a
 * request once with its result and once more, unless nothing was sent, when it
 * has let go of the buffers.
 */
#ifndef IO_URING_HOLD_H
#define IO_URING_HOLD_H

#include <liburing.h>

#include "io/loop.h"

/* The kernel knows the request. */
bool hold_is_known(struct io_uring *ring);
/* op->hold goes with op; its address is the request's. */
void hold_start(struct io_op *send);
void hold_prep(struct io_uring_sqe *sqe, const struct io_op *send,
	       const struct msghdr *mh);
/* What the kernel said: the send that cqe->res is the result of, or NULL when
 * it was the other answer. */
struct io_op *hold_told(struct loop *loop, struct io_op *hold,
			const struct io_uring_cqe *cqe);
/* Its send has been completed. */
void hold_sent(struct loop *loop, struct io_op *hold);

#endif
