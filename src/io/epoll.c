/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back end for kernels and containers without io_uring; the loop's thread.
 *
 * Every operation is tried when wait() comes to it; what would block is parked
 * in its descriptor's slot and tried again after an edge.  Invariant: a parked
 * operation's descriptor is registered, and was so before the try that failed
 * or is looked at again by the registration itself.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/time.h"
#include "io/backend.h"
#include "io/filepool.h"

#define EVENT_BATCH 128

/* One per descriptor number. */
struct ep_slot {
	struct io_op *rx; /* parked */
	struct io_op *tx;
	bool is_registered;
};

struct ep {
	int fd;
	bool has_pwait2;
	struct list ready; /* to be tried, in order */
	struct ep_slot *slots;
	size_t slot_count;
	struct filepool files;
};

static struct ep *loop_ep(struct loop *loop)
{
	return loop->state;
}

static void ep_close(struct loop *loop)
{
	struct ep *ep = loop->state;

	if (!ep)
		return;
	filepool_fini(&ep->files);
	if (ep->fd >= 0)
		close(ep->fd);
	free(ep->slots);
	free(ep);
	loop->state = NULL;
}

static int ep_open(struct loop *loop, const struct loop_opts *opts,
		   struct err *err)
{
	struct ep *ep = calloc(1, sizeof(*ep));
	struct epoll_event ev = {.events = EPOLLIN};

	if (!ep)
		return err_set(err, -ENOMEM, "out of memory for a loop");
	loop->state = ep;
	list_init(&ep->ready);
	ep->has_pwait2 = true;
	ep->fd = epoll_create1(EPOLL_CLOEXEC);
	if (ep->fd < 0)
		return err_set(err, -errno, "cannot create an epoll: %s",
			       strerror(errno));
	ev.data.fd = loop->mbox.event_fd;
	if (epoll_ctl(ep->fd, EPOLL_CTL_ADD, loop->mbox.event_fd, &ev) < 0)
		return err_set(err, -errno, "cannot watch an eventfd: %s",
			       strerror(errno));
	filepool_init(&ep->files, loop);
	loop->sock_flags = SOCK_NONBLOCK;
	return 0;
}

/* --- trying --- */

static int try_accept(struct io_op *op)
{
	int fd;

	op->addr.len = sizeof(op->addr.ss);
	fd = accept4(op->fd, (struct sockaddr *)&op->addr.ss, &op->addr.len,
		     SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;
	os_set_nodelay(fd);
	return fd;
}

static int try_connect(struct io_op *op)
{
	os_set_congestion(op->fd, &op->addr);
	if (connect(op->fd, (const struct sockaddr *)&op->addr.ss,
		    op->addr.len) == 0 ||
	    errno == EISCONN)
		return 0;
	/* The handshake is under way: tried again when it has ended. */
	if (errno == EINPROGRESS || errno == EALREADY)
		return -EAGAIN;
	/* That is a full table of ports or routes, not a reason to wait. */
	if (errno == EAGAIN)
		return -EADDRNOTAVAIL;
	return -errno;
}

static int try_transfer(struct io_op *op)
{
	struct msghdr mh = {
		.msg_iov = (struct iovec *)(uintptr_t)op->iov,
		.msg_iovlen = op->iovcnt,
	};
	ssize_t n;

	if (op->kind == IO_RECV)
		n = recvmsg(op->fd, &mh, MSG_DONTWAIT);
	else
		n = sendmsg(op->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : (int)n;
}

static int try_poll(struct io_op *op)
{
	struct pollfd pfd = {.fd = op->fd, .events = (short)op->poll_mask};

	if (poll(&pfd, 1, 0) < 0)
		return -errno;
	if (pfd.revents & POLLNVAL)
		return -EBADF;
	return pfd.revents ? pfd.revents : -EAGAIN;
}

static int op_try(struct io_op *op)
{
	int ret;

	do {
		switch (op->kind) {
		case IO_ACCEPT:
			ret = try_accept(op);
			break;
		case IO_CONNECT:
			ret = try_connect(op);
			break;
		case IO_RECV:
		case IO_SEND:
			ret = try_transfer(op);
			break;
		case IO_POLL:
			ret = try_poll(op);
			break;
		default:
			UNREACHABLE();
		}
	} while (ret == -EINTR);
	return ret;
}

/* --- parking --- */

static struct io_op **slot_side(struct ep_slot *slot, const struct io_op *op)
{
	if (op->kind == IO_CONNECT || op->kind == IO_SEND)
		return &slot->tx;
	if (op->kind == IO_POLL && !(op->poll_mask & POLLIN))
		return &slot->tx;
	return &slot->rx;
}

static int ep_reserve_slot(struct ep *ep, int fd)
{
	size_t count = MAX((size_t)64, ep->slot_count);
	struct ep_slot *slots;

	if (fd < 0)
		return -EBADF;
	if ((size_t)fd < ep->slot_count)
		return 0;
	while (count <= (size_t)fd)
		count *= 2;
	slots = reallocarray(ep->slots, count, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	memset(slots + ep->slot_count, 0,
	       (count - ep->slot_count) * sizeof(*slots));
	ep->slots = slots;
	ep->slot_count = count;
	return 0;
}

static int ep_register(struct ep *ep, int fd)
{
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.fd = fd,
	};

	if (epoll_ctl(ep->fd, EPOLL_CTL_ADD, fd, &ev) == 0)
		return 0;
	/* MOD looks at the descriptor again, so no edge is lost either way. */
	if (errno == EEXIST && epoll_ctl(ep->fd, EPOLL_CTL_MOD, fd, &ev) == 0)
		return 0;
	return -errno;
}

/* 0 when parked, else why it can't be. */
static int ep_park(struct ep *ep, struct io_op *op)
{
	struct ep_slot *slot;
	struct io_op **side;
	int ret = ep_reserve_slot(ep, op->fd);

	if (ret < 0)
		return ret;
	slot = &ep->slots[op->fd];
	side = slot_side(slot, op);
	ASSERT(!*side); /* one receiving and one sending operation at a time */
	/* A foreign descriptor may have been closed and opened meanwhile. */
	if (!slot->is_registered || op->kind == IO_POLL) {
		ret = ep_register(ep, op->fd);
		if (ret < 0)
			return ret;
		slot->is_registered = true;
	}
	*side = op;
	op->flags |= OP_BACKEND_FLAG; /* parked */
	return 0;
}

static void ep_unpark(struct ep *ep, struct io_op *op)
{
	struct ep_slot *slot = &ep->slots[op->fd];
	struct io_op **side = slot_side(slot, op);

	ASSERT(*side == op);
	*side = NULL;
	op->flags &= ~(uint32_t)OP_BACKEND_FLAG;
	/* Foreign descriptors are closed behind our back: keep no trace. */
	if (op->kind == IO_POLL && !slot->rx && !slot->tx) {
		(void)epoll_ctl(ep->fd, EPOLL_CTL_DEL, op->fd, NULL);
		slot->is_registered = false;
	}
}

static void ep_try_ready(struct loop *loop)
{
	struct ep *ep = loop_ep(loop);

	while (!list_is_empty(&ep->ready)) {
		struct io_op *op = list_first(&ep->ready, struct io_op, node);
		int ret = op_try(op);

		list_del(&op->node);
		if (ret == -EAGAIN) {
			ret = ep_park(ep, op);
			if (ret == 0)
				continue;
		}
		loop_complete(loop, op, ret);
	}
}

/* --- the table --- */

static void ep_submit(struct loop *loop, struct io_op *op)
{
	struct ep *ep = loop_ep(loop);
	int ret;

	if (op->kind < IO_READ || op->kind > IO_DISCARD) {
		list_add_tail(&ep->ready, &op->node);
		return;
	}
	ret = filepool_submit(&ep->files, op);
	if (ret < 0)
		loop_complete(loop, op, ret);
}

static void ep_cancel(struct loop *loop, struct io_op *op)
{
	struct ep *ep = loop_ep(loop);

	if (op->kind >= IO_READ && op->kind <= IO_DISCARD) {
		/* A running system call is waited for. */
		if (!filepool_cancel(&ep->files, op))
			return;
	} else if (op->flags & OP_BACKEND_FLAG) {
		ep_unpark(ep, op);
	}
	loop_complete(loop, op, -ECANCELED);
}

static int ep_pwait(struct ep *ep, struct epoll_event *evs, uint64_t timeout_ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(timeout_ns / NS_PER_S),
		.tv_nsec = (long)(timeout_ns % NS_PER_S),
	};
	uint64_t ms = timeout_ns / NS_PER_MS;
	int n;

	if (timeout_ns == UINT64_MAX)
		return epoll_wait(ep->fd, evs, EVENT_BATCH, -1);
	if (timeout_ns == 0)
		return epoll_wait(ep->fd, evs, EVENT_BATCH, 0);
	if (ep->has_pwait2) {
		n = epoll_pwait2(ep->fd, evs, EVENT_BATCH, &ts, NULL);
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n;
		ep->has_pwait2 = false;
	}
	/* Rounded up: a timer may be late but never early. */
	ms += timeout_ns % NS_PER_MS != 0;
	return epoll_wait(ep->fd, evs, EVENT_BATCH,
			  (int)MIN(ms, (uint64_t)INT32_MAX));
}

/* Edges that can make the operation succeed or fail. */
static uint32_t op_edges(const struct io_op *op)
{
	switch (op->kind) {
	case IO_POLL:
		return op->poll_mask | EPOLLERR | EPOLLHUP;
	case IO_CONNECT:
	case IO_SEND:
		return EPOLLOUT | EPOLLERR | EPOLLHUP;
	default:
		return EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP;
	}
}

static void ep_retry(struct ep *ep, struct io_op *op, uint32_t events)
{
	if (!op || !(op_edges(op) & events))
		return;
	ep_unpark(ep, op);
	list_add_tail(&ep->ready, &op->node);
}

static void ep_event(struct loop *loop, const struct epoll_event *ev)
{
	struct ep *ep = loop_ep(loop);
	struct ep_slot *slot;

	if (ev->data.fd == loop->mbox.event_fd) {
		loop->is_woken = true;
		return;
	}
	if ((size_t)ev->data.fd >= ep->slot_count)
		return;
	slot = &ep->slots[ev->data.fd];
	ep_retry(ep, slot->rx, ev->events);
	ep_retry(ep, slot->tx, ev->events);
}

static void ep_wait(struct loop *loop, uint64_t timeout_ns)
{
	struct ep *ep = loop_ep(loop);
	struct epoll_event evs[EVENT_BATCH];
	int n;

	ep_try_ready(loop);
	if (loop_has_work(loop))
		timeout_ns = 0;
	n = ep_pwait(ep, evs, timeout_ns);
	for (int i = 0; i < n; i++)
		ep_event(loop, &evs[i]);
	ep_try_ready(loop);
}

static void ep_close_fd(struct loop *loop, int fd)
{
	struct ep *ep = loop_ep(loop);

	if (fd >= 0 && (size_t)fd < ep->slot_count) {
		ASSERT(!ep->slots[fd].rx && !ep->slots[fd].tx);
		ep->slots[fd].is_registered = false;
	}
	close(fd);
}

const struct io_backend io_backend_epoll = {
	.name = "epoll",
	.open = ep_open,
	.close = ep_close,
	.submit = ep_submit,
	.cancel = ep_cancel,
	.wait = ep_wait,
	.now_ns = os_now_ns,
	.socket = os_socket,
	.listen = os_listen,
	.local_addr = os_local_addr,
	.close_fd = ep_close_fd,
	.set_sockopts = os_set_sockopts,
};
