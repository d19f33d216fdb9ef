/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back end on io_uring; the loop's thread, which also enables the ring, since
 * the kernel then ties the ring to it (SINGLE_ISSUER).
 *
 * Invariant: an operation is in the backlog or among the receives (not in the
 * ring yet), or the kernel has exactly one request with its address, or it is
 * completed.  A send without copying has the address of its hold, since the
 * kernel speaks of it again when the send is long over.
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "io/backend.h"
#include "io/filepool.h"
#include "io/uring_hold.h"

#define DEPTH_DEFAULT 1024
#define CQ_PER_SQ     4		 /* completions that fit while callbacks run */
#define LEN_MAX	      (1u << 30) /* a request has 32 bits for a length */
#define ASK_MAX	      4		 /* sockets that a spinning loop asks itself */

/* user_data that is no operation; operations are aligned */
enum {
	TAG_NONE,
	TAG_WAKE
};

/* op->flags: polled because the descriptor is non-blocking */
#define OP_POLLING OP_BACKEND_FLAG
/* op->flags: the kernel has it */
#define OP_IN_RING (OP_BACKEND_FLAG << 1)

struct uring {
	struct io_uring ring;
	struct list backlog; /* to be given to the ring */
	/* Receives go behind what else a turn submits: to find a socket empty
	 * and arm a poll costs as much as a send, and the other end waits for
	 * that, not for this.  While the loop spins they stay here. */
	struct list receives;
	struct list cancels;   /* in the ring, to be cancelled */
	struct filepool files; /* IO_DISCARD, which the ring has not */
	bool is_open;
	bool is_enabled;
	bool is_wake_armed;
	bool may_hold;
};

static struct uring *loop_uring(struct loop *loop)
{
	return loop->state;
}

/* --- set-up --- */

static const unsigned setup_flags[] = {
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL |
		IORING_SETUP_R_DISABLED,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
		IORING_SETUP_SUBMIT_ALL,
	0,
};

static bool is_refusal(int ret)
{
	return ret == -EPERM || ret == -EACCES || ret == -ENOSYS;
}

/* A filter may let the set-up pass and refuse the other calls, which would be
 * too late to choose another back end.  Both do nothing here. */
static int uring_probe(unsigned fd)
{
	int ret = io_uring_enter(fd, 0, 0, 0, NULL);

	if (!is_refusal(ret))
		ret = io_uring_register(fd, IORING_REGISTER_PROBE, NULL, 0);
	return is_refusal(ret) ? ret : 0;
}

static int uring_setup(struct uring *u, unsigned depth)
{
	int ret = -EINVAL;

	/* -EINVAL: the kernel is older than a flag. */
	for (size_t i = 0; ret == -EINVAL && i < ARRAY_SIZE(setup_flags); i++) {
		struct io_uring_params p = {
			.flags = setup_flags[i] | IORING_SETUP_CQSIZE |
				 IORING_SETUP_CLAMP,
			.cq_entries = depth * CQ_PER_SQ,
		};

		ret = io_uring_queue_init_params(depth, &u->ring, &p);
		u->is_enabled = !(setup_flags[i] & IORING_SETUP_R_DISABLED);
	}
	if (ret < 0)
		return ret;
	u->is_open = true;
	/* Waiting with a timeout in one call, and no lost completions. */
	if (!(u->ring.features & IORING_FEAT_EXT_ARG) ||
	    !(u->ring.features & IORING_FEAT_NODROP))
		return -ENOSYS;
	return uring_probe((unsigned)u->ring.ring_fd);
}

static int uring_explain(int ret, struct err *err)
{
	const char *why = strerror(-ret);

	if (ret == -EPERM || ret == -EACCES)
		why = "not permitted here (seccomp profile of the container or "
		      "kernel.io_uring_disabled)";
	else if (ret == -ENOSYS)
		why = "the kernel is too old (5.11 or newer is needed)";
	else if (ret == -ENOMEM)
		why = "not enough lockable memory (ulimit -l)";
	return err_set(err, ret, "io_uring cannot be used: %s", why);
}

static int uring_open(struct loop *loop, const struct loop_opts *opts,
		      struct err *err)
{
	struct uring *u = calloc(1, sizeof(*u));
	int ret;

	if (!u)
		return err_set(err, -ENOMEM, "out of memory for a loop");
	loop->state = u;
	filepool_init(&u->files, loop);
	list_init(&u->backlog);
	list_init(&u->receives);
	list_init(&u->cancels);
	ret = uring_setup(u, opts->depth ? opts->depth : DEPTH_DEFAULT);
	if (ret < 0)
		return uring_explain(ret, err);
	u->may_hold = hold_is_known(&u->ring);
	/* The ring waits itself; O_NONBLOCK would make it give up instead. */
	loop->sock_flags = 0;
	return 0;
}

static void uring_close(struct loop *loop)
{
	struct uring *u = loop->state;

	if (!u)
		return;
	filepool_fini(&u->files);
	if (u->is_open)
		io_uring_queue_exit(&u->ring);
	free(u);
	loop->state = NULL;
}

static bool uring_may_hold(const struct loop *loop)
{
	return ((const struct uring *)loop->state)->may_hold;
}

/* --- requests --- */

static void prep_transfer(struct io_uring_sqe *sqe, struct io_op *op)
{
	struct msghdr *mh = (struct msghdr *)(void *)&op->priv;
	size_t len = 0;

	static_assert(sizeof(*mh) <= sizeof(op->priv), "msghdr fits");
	if (op->iovcnt == 1)
		len = MIN(op->iov->iov_len, (size_t)LEN_MAX);
	if (op->iovcnt == 1 && op->kind == IO_RECV) {
		io_uring_prep_recv(sqe, op->fd, op->iov->iov_base, len, 0);
		return;
	}
	/* WAITALL: the kernel goes on after a short send by itself. */
	if (op->iovcnt == 1 && !op->hold) {
		io_uring_prep_send(sqe, op->fd, op->iov->iov_base, len,
				   MSG_NOSIGNAL | MSG_WAITALL);
		return;
	}
	memset(mh, 0, sizeof(*mh));
	mh->msg_iov = (struct iovec *)(uintptr_t)op->iov;
	mh->msg_iovlen = op->iovcnt;
	if (op->kind == IO_RECV)
		io_uring_prep_recvmsg(sqe, op->fd, mh, 0);
	else if (op->hold)
		hold_prep(sqe, op, mh);
	else
		io_uring_prep_sendmsg(sqe, op->fd, mh,
				      MSG_NOSIGNAL | MSG_WAITALL);
}

static void prep_op(struct io_uring_sqe *sqe, struct io_op *op)
{
	switch (op->kind) {
	case IO_ACCEPT:
		op->addr.len = sizeof(op->addr.ss);
		io_uring_prep_accept(sqe, op->fd,
				     (struct sockaddr *)&op->addr.ss,
				     &op->addr.len, SOCK_CLOEXEC);
		return;
	case IO_CONNECT:
		os_set_congestion(op->fd, &op->addr);
		io_uring_prep_connect(sqe, op->fd,
				      (struct sockaddr *)&op->addr.ss,
				      op->addr.len);
		return;
	case IO_RECV:
	case IO_SEND:
		prep_transfer(sqe, op);
		return;
	case IO_READ:
		io_uring_prep_readv(sqe, op->fd, op->iov, op->iovcnt, op->off);
		return;
	case IO_WRITE:
		io_uring_prep_writev(sqe, op->fd, op->iov, op->iovcnt, op->off);
		return;
	case IO_FSYNC:
		io_uring_prep_fsync(sqe, op->fd, 0);
		return;
	case IO_FALLOC:
		io_uring_prep_fallocate(sqe, op->fd, op->mode, (off_t)op->off,
					(off_t)op->len);
		return;
	case IO_POLL:
		io_uring_prep_poll_add(sqe, op->fd, op->poll_mask);
		return;
	case IO_DISCARD: /* files' */
	case IO_HOLD:	 /* not the ring's */
		break;
	}
	UNREACHABLE();
}

static unsigned op_wait_mask(const struct io_op *op)
{
	return op->kind == IO_SEND || op->kind == IO_CONNECT ? POLLOUT : POLLIN;
}

/* By which the kernel knows the request. */
static struct io_op *op_address(struct io_op *op)
{
	return op->kind == IO_SEND && op->hold && !(op->flags & OP_POLLING)
		       ? op->hold
		       : op;
}

static void uring_start(struct io_uring_sqe *sqe, struct io_op *op)
{
	if (op->flags & OP_POLLING)
		io_uring_prep_poll_add(sqe, op->fd, op_wait_mask(op));
	else
		prep_op(sqe, op);
	io_uring_sqe_set_data(sqe, op_address(op));
	op->flags |= OP_IN_RING;
}

static void uring_submit(struct loop *loop, struct io_op *op)
{
	struct uring *u = loop_uring(loop);
	struct io_uring_sqe *sqe = NULL;
	int ret;

	if (op->kind == IO_DISCARD) {
		ret = filepool_submit(&u->files, op);
		if (ret < 0)
			loop_complete(loop, op, ret);
		return;
	}
	if (op->kind == IO_HOLD)
		return; /* its send brings it */
	if (op->kind == IO_RECV) {
		list_add_tail(&u->receives, &op->node);
		return;
	}
	if (op->kind == IO_SEND && op->hold)
		hold_start(op);
	if (list_is_empty(&u->backlog))
		sqe = io_uring_get_sqe(&u->ring);
	if (sqe)
		uring_start(sqe, op);
	else
		list_add_tail(&u->backlog, &op->node);
}

static void uring_complete(struct loop *loop, struct io_op *op, int res)
{
	struct io_op *hold = op->kind == IO_SEND ? op->hold : NULL;

	loop_complete(loop, op, res);
	if (hold)
		hold_sent(loop, hold);
}

static void uring_cancel(struct loop *loop, struct io_op *op)
{
	struct uring *u = loop_uring(loop);

	if (op->kind == IO_DISCARD && !filepool_cancel(&u->files, op))
		return; /* a running system call is waited for */
	if (op->flags & OP_IN_RING)
		list_add_tail(&u->cancels, &op->node);
	else
		uring_complete(loop, op, -ECANCELED);
}

/* --- completions --- */

static bool res_is_retry(const struct io_op *op, int res)
{
	/* A full table of ports or routes, not a reason to wait: the handshake
	 * is -EINPROGRESS. */
	if (op->kind == IO_CONNECT && res == -EAGAIN)
		return false;
	return res == -EAGAIN || res == -EINTR || res == -EINPROGRESS ||
	       res == -EALREADY;
}

/*
 * True when the operation goes on and has no result yet.  A descriptor that
 * somebody made non-blocking is polled first and then tried again.
 */
static bool uring_goes_on(struct io_op *op, int res)
{
	bool was_polling = op->flags & OP_POLLING;

	op->flags &= ~(uint32_t)OP_POLLING;
	if (op->flags & OP_CANCELLED || op->kind > IO_SEND)
		return false;
	if (was_polling && res >= 0)
		return true;
	if (!res_is_retry(op, res))
		return false;
	if (res != -EINTR)
		op->flags |= OP_POLLING;
	return true;
}

static void uring_op_done(struct loop *loop, struct io_op *op, int res)
{
	bool was_polling = op->flags & OP_POLLING;

	op->flags &= ~(uint32_t)OP_IN_RING;
	list_del(&op->node); /* it may have waited for its cancellation */
	if (uring_goes_on(op, res)) {
		list_add_tail(&loop_uring(loop)->backlog, &op->node);
		return;
	}
	if (op->flags & OP_CANCELLED && (was_polling || res_is_retry(op, res)))
		res = -ECANCELED;
	if (op->kind == IO_CONNECT && res == -EAGAIN)
		res = -EADDRNOTAVAIL;
	if (op->kind == IO_CONNECT && res == -EISCONN)
		res = 0;
	if (op->kind == IO_ACCEPT && res >= 0)
		os_set_nodelay(res);
	uring_complete(loop, op, res);
}

static void uring_hold_told(struct loop *loop, struct io_op *hold,
			    const struct io_uring_cqe *cqe)
{
	struct io_op *send = hold_told(loop, hold, cqe);

	if (!send)
		return;
	/* The first 6.1 can't tell whether it has copied. */
	if (cqe->res == -EINVAL || cqe->res == -EOPNOTSUPP)
		loop_uring(loop)->may_hold = false;
	uring_op_done(loop, send, cqe->res);
}

static void uring_reap(struct loop *loop)
{
	struct uring *u = loop_uring(loop);
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;
	struct io_op *op;

	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		count++;
		if (cqe->user_data == TAG_NONE)
			continue;
		if (cqe->user_data == TAG_WAKE) {
			u->is_wake_armed = false;
			loop->is_woken = true;
			continue;
		}
		op = io_uring_cqe_get_data(cqe);
		if (unlikely(op->kind == IO_HOLD))
			uring_hold_told(loop, op, cqe);
		else
			uring_op_done(loop, op, cqe->res);
	}
	io_uring_cq_advance(&u->ring, count);
}

/* --- waiting --- */

/* NULL when the kernel can't take more before completions are reaped. */
static struct io_uring_sqe *uring_sqe(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (sqe)
		return sqe;
	io_uring_submit(&u->ring);
	return io_uring_get_sqe(&u->ring);
}

/*
 * A loop that spins asks a few sockets itself: a poll in the ring that wakes a
 * task which tries again is several microseconds later than the answer to the
 * question.  Many sockets are the ring's, since each question is a system call.
 */
static bool uring_may_ask(struct loop *loop, uint64_t timeout_ns)
{
	struct uring *u = loop_uring(loop);
	unsigned count = 0;
	struct io_op *op;

	if (timeout_ns > 0 || loop->spin_end_ns <= loop->now_ns)
		return false;
	list_for_each (op, &u->receives, node) {
		if (++count > ASK_MAX)
			return false;
	}
	return true;
}

static void uring_ask(struct loop *loop)
{
	struct uring *u = loop_uring(loop);
	struct io_op *op, *next;

	list_for_each_safe (op, next, &u->receives, node) {
		struct msghdr mh = {
			.msg_iov = (struct iovec *)(uintptr_t)op->iov,
			.msg_iovlen = op->iovcnt,
		};
		ssize_t ret = recvmsg(op->fd, &mh, MSG_DONTWAIT);

		if (ret >= 0)
			loop_complete(loop, op, (int)MIN(ret, LEN_MAX));
		else if (!res_is_retry(op, -errno))
			loop_complete(loop, op, -errno);
	}
}

static void uring_fill(struct loop *loop, bool with_receives)
{
	struct uring *u = loop_uring(loop);
	struct io_uring_sqe *sqe;
	struct io_op *op;

	if (!u->is_wake_armed && (sqe = uring_sqe(u))) {
		io_uring_prep_poll_add(sqe, loop->mbox.event_fd, POLLIN);
		sqe->user_data = TAG_WAKE;
		u->is_wake_armed = true;
	}
	while (!list_is_empty(&u->cancels) && (sqe = uring_sqe(u))) {
		op = list_first(&u->cancels, struct io_op, node);
		list_del(&op->node);
		io_uring_prep_cancel(sqe, op_address(op), 0);
		sqe->user_data = TAG_NONE;
	}
	if (with_receives)
		list_splice_tail(&u->backlog, &u->receives);
	while (!list_is_empty(&u->backlog) && (sqe = uring_sqe(u))) {
		op = list_first(&u->backlog, struct io_op, node);
		list_del(&op->node);
		uring_start(sqe, op);
	}
}

static int uring_enter(struct uring *u, uint64_t timeout_ns)
{
	struct __kernel_timespec ts = {
		.tv_sec = (long long)(timeout_ns / NS_PER_S),
		.tv_nsec = (long long)(timeout_ns % NS_PER_S),
	};
	struct io_uring_cqe *cqe;

	if (timeout_ns == UINT64_MAX)
		return io_uring_submit_and_wait(&u->ring, 1);
	if (timeout_ns > 0)
		return io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts,
							NULL);
	if (io_uring_sq_ready(&u->ring))
		return io_uring_submit_and_get_events(&u->ring);
	/* No system call unless the kernel says that it has work for us. */
	return io_uring_peek_cqe(&u->ring, &cqe);
}

static void uring_wait(struct loop *loop, uint64_t timeout_ns)
{
	struct uring *u = loop_uring(loop);
	bool may_ask = uring_may_ask(loop, timeout_ns);
	int ret;

	if (!u->is_enabled) {
		/* Debian's liburing.so lacks io_uring_enable_rings(). */
		ret = io_uring_register((unsigned)u->ring.ring_fd,
					IORING_REGISTER_ENABLE_RINGS, NULL, 0);
		ASSERT(ret == 0);
		u->is_enabled = true;
	}
	uring_fill(loop, !may_ask);
	/* Something did not fit: make room first.  Sleeping without the wake-up
	 * in the ring would be deaf to other threads. */
	if (!u->is_wake_armed || !list_is_empty(&u->backlog) ||
	    !list_is_empty(&u->cancels))
		timeout_ns = 0;
	ret = uring_enter(u, timeout_ns);
	/* Busy and out of memory pass when completions are reaped. */
	ASSERT(ret >= 0 || ret == -ETIME || ret == -EINTR || ret == -EAGAIN ||
	       ret == -EBUSY || ret == -ENOMEM);
	uring_reap(loop);
	if (may_ask)
		uring_ask(loop);
}

static void uring_close_fd(struct loop *loop, int fd)
{
	close(fd);
}

const struct io_backend io_backend_uring = {
	.name = "uring",
	.open = uring_open,
	.close = uring_close,
	.submit = uring_submit,
	.cancel = uring_cancel,
	.wait = uring_wait,
	.now_ns = os_now_ns,
	.may_hold = uring_may_hold,
	.socket = os_socket,
	.listen = os_listen,
	.local_addr = os_local_addr,
	.close_fd = uring_close_fd,
	.set_sockopts = os_set_sockopts,
};
