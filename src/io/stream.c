/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stream: a connected socket; the loop's thread.
 *
 * Invariant: rx_busy/tx_busy from the call that starts something until just
 * before its callback; the descriptor is closed, and closed() is called, only
 * from close_task and only when neither is set, so no callback comes later.
 * Holds outlive the descriptor: closed() waits for them.
 */
#include "io/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "io/stream_impl.h"

/* How long is too long for the kernel to hold what nobody will receive. */
#define HOLD_WARN_NS (10 * NS_PER_S)

static void stream_recv_done(struct io_op *op);

/* A reset takes from the kernel what it would still send, so that it lets go
 * of the buffers when the card has done what it was given.  Closing alone might
 * leave the socket to a process that was forked. */
static void stream_close_fd(struct stream *s)
{
	struct io_sockopts so = {.is_reset = true};

	if (s->fd < 0)
		return;
	if (s->holds) {
		io_set_sockopts(s->loop, s->fd, &so);
		timer_set(s->loop, &s->connect_timer, HOLD_WARN_NS);
	}
	io_close(s->loop, s->fd);
	s->fd = -1;
}

static void stream_closed(struct loop_task *task)
{
	struct stream *s = container_of(task, struct stream, close_task);

	ASSERT(!s->rx_busy && !s->tx_busy);
	if (s->tls)
		tls_destroy(s);
	s->rx.done = stream_recv_done;
	stream_close_fd(s);
	if (s->holds)
		return; /* stream_hold_done() calls again */
	timer_cancel(s->loop, &s->connect_timer);
	free(s->tx_iov);
	s->tx_iov = NULL;
	s->tx_cap = 0;
	s->is_closing = false;
	if (s->on_closed)
		s->on_closed(s);
}

void stream_check_closed(struct stream *s)
{
	if (s->is_closing && !s->rx_busy && !s->tx_busy &&
	    !(s->tls && tls_is_busy(s)))
		loop_defer(s->loop, &s->close_task);
}

/* --- connecting (uses tx) --- */

static void stream_connect_finish(struct stream *s, int res)
{
	timer_cancel(s->loop, &s->connect_timer);
	s->tx_busy = false;
	s->is_connecting = false;
	if (res < 0 && !s->is_closing && s->fd >= 0) {
		io_close(s->loop, s->fd);
		s->fd = -1;
	}
	s->on_connect(s, res);
	stream_check_closed(s);
}

static void stream_connect_done(struct io_op *op)
{
	struct stream *s = container_of(op, struct stream, tx);
	int res = op->res;

	if (res == -ECANCELED && s->is_timed_out)
		res = -ETIMEDOUT;
	stream_connect_finish(s, res);
}

/* --- sending --- */

void stream_send_finish(struct stream *s, int res)
{
	s->tx_busy = false;
	s->on_send(s, res);
	stream_check_closed(s);
}

static void stream_send_more(struct stream *s)
{
	s->tx.kind = IO_SEND;
	s->tx.fd = s->fd;
	s->tx.iov = s->tx_iov + s->tx_pos;
	s->tx.iovcnt = MIN(s->tx_cnt - s->tx_pos, (unsigned)IO_IOV_MAX);
	io_submit(s->loop, &s->tx);
}

void stream_advance(struct stream *s, size_t n)
{
	struct iovec *iov;

	while (s->tx_pos < s->tx_cnt) {
		iov = &s->tx_iov[s->tx_pos];
		if (n < iov->iov_len) {
			iov->iov_base = (char *)iov->iov_base + n;
			iov->iov_len -= n;
			return;
		}
		n -= iov->iov_len;
		s->tx_pos++;
	}
	ASSERT(n == 0);
}

static void stream_send_done(struct io_op *op)
{
	struct stream *s = container_of(op, struct stream, tx);
	bool was_held = TAKE(op->hold) != NULL;
	int res = op->res;

	/* Whatever stopped it: if the connection is dead, a plain send says so
	 * as well. */
	if (was_held && res < 0 && !s->is_closing) {
		stream_send_more(s);
		return;
	}
	if (res > 0) {
		s->tx_done += (size_t)res;
		stream_advance(s, (size_t)res);
	}
	if (res >= 0 && s->tx_pos == s->tx_cnt)
		stream_send_finish(s, 0);
	else if (res == 0)
		stream_send_finish(s, -EPIPE);
	else if (res < 0)
		stream_send_finish(s, res);
	else if (s->is_closing)
		stream_send_finish(s, -ECANCELED);
	else
		stream_send_more(s);
}

static int stream_reserve_iov(struct stream *s, unsigned iovcnt)
{
	unsigned cap = MAX(s->tx_cap, 16u);
	struct iovec *iov;

	if (iovcnt <= s->tx_cap)
		return 0;
	while (cap < iovcnt)
		if (mul_overflows(cap, 2, &cap))
			return -ENOMEM;
	iov = reallocarray(s->tx_iov, cap, sizeof(*iov));
	if (!iov)
		return -ENOMEM;
	s->tx_iov = iov;
	s->tx_cap = cap;
	return 0;
}

/* --- receiving --- */

void stream_recv_finish(struct stream *s, int res)
{
	s->rx_busy = false;
	s->on_recv(s, res);
	stream_check_closed(s);
}

static void stream_recv_done(struct io_op *op)
{
	struct stream *s = container_of(op, struct stream, rx);

	stream_recv_finish(s, op->res);
}

/* --- the timer: a connect that takes too long, or a start that failed --- */

static void stream_timer(struct timer *timer)
{
	struct stream *s = container_of(timer, struct stream, connect_timer);
	int res = s->start_res;

	if (s->fd < 0 && s->holds) {
		log_warn("the kernel still holds memory of a closed connection",
			 "sends=%u", s->holds);
		timer_set(s->loop, timer, HOLD_WARN_NS);
		return;
	}
	ASSERT(s->tx_busy);
	s->start_res = 0;
	if (res == 0) {
		s->is_timed_out = true;
		io_cancel(s->loop, &s->tx);
	} else if (s->is_connecting) {
		stream_connect_finish(s, res);
	} else {
		stream_send_finish(s, res);
	}
}

/* Starting failed: the callback still has to come from the loop. */
static void stream_fail_later(struct stream *s, int res)
{
	s->start_res = res;
	timer_set(s->loop, &s->connect_timer, 0);
}

/* --- public --- */

void stream_init(struct stream *s, struct loop *loop, void *arg)
{
	memset(s, 0, sizeof(*s));
	s->loop = loop;
	s->arg = arg;
	s->fd = -1;
	s->connect_timer.fire = stream_timer;
	s->close_task.run = stream_closed;
	s->rx.done = stream_recv_done;
}

void stream_connect(struct stream *s, const struct addr *addr,
		    uint32_t timeout_ms, const struct io_sockopts *so,
		    void (*done)(struct stream *s, int res))
{
	int fd;

	ASSERT(s->fd < 0 && !s->is_closing && !s->tx_busy);
	s->on_connect = done;
	s->is_connecting = true;
	s->is_timed_out = false;
	s->tx_busy = true;
	fd = io_socket(s->loop, addr->ss.ss_family);
	if (fd < 0) {
		stream_fail_later(s, fd);
		return;
	}
	s->fd = fd;
	if (so)
		io_set_sockopts(s->loop, fd, so);
	s->tx.done = stream_connect_done;
	s->tx.kind = IO_CONNECT;
	s->tx.fd = fd;
	s->tx.addr = *addr;
	s->tx.iovcnt = 0;
	io_submit(s->loop, &s->tx);
	if (timeout_ms)
		timer_set(s->loop, &s->connect_timer, timeout_ms * NS_PER_MS);
}

void stream_attach(struct stream *s, int fd)
{
	ASSERT(s->fd < 0 && !s->is_closing && fd >= 0);
	s->fd = fd;
}

void stream_recv(struct stream *s, const struct iovec *iov, unsigned iovcnt,
		 void (*done)(struct stream *s, int res))
{
	ASSERT(stream_is_open(s) && !s->is_connecting && !s->rx_busy);
	s->on_recv = done;
	s->rx_busy = true;
	if (s->tls) {
		tls_recv(s, iov, iovcnt);
		return;
	}
	s->rx.kind = IO_RECV;
	s->rx.fd = s->fd;
	s->rx.iov = iov;
	s->rx.iovcnt = MIN(iovcnt, (unsigned)IO_IOV_MAX);
	io_submit(s->loop, &s->rx);
}

void stream_send(struct stream *s, const struct iovec *iov, unsigned iovcnt,
		 void (*done)(struct stream *s, int res))
{
	int ret;

	ASSERT(stream_is_open(s) && !s->is_connecting && !s->tx_busy);
	s->on_send = done;
	s->tx_busy = true;
	/* One at least: arithmetic on a NULL array is undefined. */
	ret = stream_reserve_iov(s, MAX(iovcnt, 1u));
	if (ret < 0) {
		stream_fail_later(s, ret);
		return;
	}
	if (iovcnt)
		memcpy(s->tx_iov, iov, iovcnt * sizeof(*iov));
	s->tx_pos = 0;
	s->tx_cnt = iovcnt;
	s->tx_done = 0;
	stream_advance(s, 0);
	if (s->tls) {
		tls_send(s);
		return;
	}
	s->tx.done = stream_send_done;
	/* Nothing to send is sent too: the answer must come from the loop. */
	stream_send_more(s);
}

static void stream_hold_done(struct io_op *op)
{
	struct stream_hold *hold = container_of(op, struct stream_hold, op);
	struct stream *s = hold->stream;
	bool was_copied = op->res == IO_HELD_COPIED;

	s->holds--;
	s->copies = was_copied ? s->copies + 1 : 0;
	if (s->copies == STREAM_COPIES_MAX)
		s->hold_from = 0;
	hold->released(hold, was_copied);
	stream_check_closed(s);
}

bool stream_send_held(struct stream *s, const struct iovec *iov,
		      unsigned iovcnt, struct stream_hold *hold,
		      void (*done)(struct stream *s, int res))
{
	if (s->tls || !io_may_hold(s->loop) ||
	    stream_reserve_iov(s, MAX(iovcnt, 1u)))
		return false;
	hold->stream = s;
	hold->op.kind = IO_HOLD;
	hold->op.done = stream_hold_done;
	io_submit(s->loop, &hold->op);
	s->holds++;
	s->tx.hold = &hold->op;
	stream_send(s, iov, iovcnt, done);
	return true;
}

void stream_close(struct stream *s, void (*done)(struct stream *s))
{
	/* Never initialised: there is no loop to run done from. */
	if (!s->loop) {
		if (done)
			done(s);
		return;
	}
	s->on_closed = done;
	if (s->is_closing)
		return;
	s->is_closing = true;
	if (s->rx_busy)
		io_cancel(s->loop, &s->rx);
	if (s->tx_busy)
		io_cancel(s->loop, &s->tx);
	if (s->tls)
		tls_cancel(s);
	stream_check_closed(s);
}
