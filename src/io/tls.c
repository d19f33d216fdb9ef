/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS on a stream: the filter's buffers and the stream's operations.  The
 * loop's thread.
 *
 * Invariant: during the handshake rx_busy and tx_busy are set, so the stream
 * can't be closed under it; afterwards they mean what they mean without TLS.
 * The owner's callbacks come from the loop only, by an operation or the task.
 */
#include "io/tls.h"

#include <errno.h>
#include <stdlib.h>

#include "base/time.h"
#include "io/stream_impl.h"
#include "io/tls_ssl.h"

#define BYE_MS 100 /* for a close_notify to leave */

struct stream_tls {
	struct stream *s;
	struct tls_filter f;
	struct timer timer; /* the handshake's deadline; then the bye's */
	struct loop_task task;
	void (*done)(struct stream *s, int res);
	int res; /* of the handshake, as far as it is known */
	bool is_shaking, is_settled; /* settled: res is final */
	bool is_rx_io, is_tx_io;     /* operations of the stream under way */
	bool is_eof;
	struct iovec in_iov, out_iov;
	const struct iovec *rx_iov; /* the owner's */
	unsigned rx_cnt;
};

static void rx_submit(struct stream_tls *t)
{
	struct stream *s = t->s;

	t->in_iov = tls_filter_room(&t->f);
	t->is_rx_io = true;
	s->rx.kind = IO_RECV;
	s->rx.fd = s->fd;
	s->rx.iov = &t->in_iov;
	s->rx.iovcnt = 1;
	io_submit(s->loop, &s->rx);
}

/* Sends what there is, if nothing is being sent. */
static void tx_submit(struct stream_tls *t)
{
	struct tls_filter *f = &t->f;
	struct stream *s = t->s;

	if (t->is_tx_io || f->out_pos == f->out_end)
		return;
	t->out_iov =
		(struct iovec){f->out + f->out_pos, f->out_end - f->out_pos};
	t->is_tx_io = f->has_sent = true;
	s->tx.kind = IO_SEND;
	s->tx.fd = s->fd;
	s->tx.iov = &t->out_iov;
	s->tx.iovcnt = 1;
	io_submit(s->loop, &s->tx);
}

/* --- handshake --- */

static void settle(struct stream_tls *t, int res)
{
	if (t->is_settled)
		return;
	t->is_settled = true;
	t->res = res;
}

/* Ends when it is settled and nothing of it is under way. */
static void shake_check(struct stream_tls *t)
{
	struct stream *s = t->s;
	bool has_output = t->f.out_pos < t->f.out_end;

	if (!t->is_settled || t->is_rx_io || t->is_tx_io ||
	    (has_output && t->res == 0))
		return;
	timer_cancel(s->loop, &t->timer);
	loop_undefer(s->loop, &t->task);
	t->is_shaking = false;
	s->rx_busy = s->tx_busy = false;
	t->done(s, t->res);
	stream_check_closed(s);
}

static void shake(struct stream_tls *t)
{
	int ret = -EAGAIN;

	if (!t->is_settled) {
		ret = tls_filter_shake(&t->f);
		if (ret == -EAGAIN && t->is_eof)
			ret = -ECONNRESET;
	}
	if (ret != -EAGAIN) {
		settle(t, ret);
		tx_submit(t); /* our last message, or the alert */
	} else if (!t->is_settled) {
		tx_submit(t);
		if (t->f.in_end == TLS_IN_BYTES)
			settle(t, -EPROTO);
		else if (!t->is_rx_io)
			rx_submit(t);
	}
	shake_check(t);
}

static void shake_break(struct stream_tls *t, int res)
{
	settle(t, res);
	if (t->res == 0)
		t->res = res;
	io_cancel(t->s->loop, &t->s->rx);
	io_cancel(t->s->loop, &t->s->tx);
	loop_defer(t->s->loop, &t->task);
}

/* --- receiving --- */

static void rx_pump(struct stream_tls *t)
{
	struct stream *s = t->s;
	int n;

	if (!s->rx_busy || t->is_rx_io)
		return;
	if (s->is_closing) {
		stream_recv_finish(t->s, -ECANCELED);
		return;
	}
	n = tls_filter_read(&t->f, t->rx_iov, t->rx_cnt);
	tx_submit(t); /* an answer to a key update */
	if (n == -EAGAIN && t->is_eof)
		n = 0;
	if (n == -EAGAIN)
		rx_submit(t);
	else
		stream_recv_finish(t->s, n);
}

static void on_rx(struct io_op *op)
{
	struct stream *s = container_of(op, struct stream, rx);
	struct stream_tls *t = s->tls;
	int res = op->res;

	t->is_rx_io = false;
	if (res > 0)
		t->f.in_end += (size_t)res;
	else if (res == 0)
		t->is_eof = true;
	if (t->is_shaking) {
		if (res < 0)
			settle(t, res);
		shake(t);
	} else if (res < 0) {
		stream_recv_finish(t->s, res);
	} else {
		rx_pump(t);
	}
}

void tls_recv(struct stream *s, const struct iovec *iov, unsigned iovcnt)
{
	struct stream_tls *t = s->tls;

	t->rx_iov = iov;
	t->rx_cnt = iovcnt;
	if (t->is_eof || tls_filter_has_input(&t->f))
		loop_defer(s->loop, &t->task);
	else
		rx_submit(t);
}

/* --- sending --- */

/* Encrypts what there is room for and sends it.  -EIO: it can't. */
static int tx_fill(struct stream_tls *t)
{
	struct stream *s = t->s;
	int n = 1;

	while (n > 0 && s->tx_pos < s->tx_cnt) {
		n = tls_filter_write(&t->f, s->tx_iov + s->tx_pos,
				     s->tx_cnt - s->tx_pos);
		if (n > 0)
			stream_advance(s, (size_t)n);
	}
	tx_submit(t);
	return MIN(n, 0);
}

/* Goes on; ends it when nothing is left to be sent. */
static void tx_pump(struct stream_tls *t)
{
	int ret;

	if (!t->s->tx_busy || t->is_tx_io)
		return;
	ret = t->s->is_closing ? -ECANCELED : tx_fill(t);
	if (!t->is_tx_io)
		stream_send_finish(t->s, ret);
}

static void on_tx(struct io_op *op)
{
	struct stream *s = container_of(op, struct stream, tx);
	struct stream_tls *t = s->tls;
	struct tls_filter *f = &t->f;
	int res = op->res ? op->res : -EPIPE;

	t->is_tx_io = false;
	if (res > 0)
		f->out_pos += (size_t)res;
	if (res < 0 || f->out_pos == f->out_end)
		f->out_pos = f->out_end = 0;
	if (t->is_shaking) {
		if (res < 0)
			shake_break(t, res);
		else
			tx_submit(t);
		shake_check(t);
	} else if (!s->tx_busy) {
		if (!s->is_closing)
			tx_submit(t);
		stream_check_closed(s);
	} else if (res < 0) {
		stream_send_finish(s, res);
	} else {
		tx_pump(t);
	}
}

/* The front of the iov has bytes, or there are none at all. */
void tls_send(struct stream *s)
{
	struct stream_tls *t = s->tls;

	if (t->is_tx_io)
		return; /* on_tx() takes it from there */
	tx_fill(t);
	/* The answer must come from the loop. */
	if (!t->is_tx_io)
		loop_defer(s->loop, &t->task);
}

/* --- the task, the timer, closing --- */

static void on_task(struct loop_task *task)
{
	struct stream_tls *t = container_of(task, struct stream_tls, task);

	if (t->is_shaking) {
		shake(t);
		return;
	}
	tx_pump(t);
	rx_pump(t);
}

static void on_timer(struct timer *timer)
{
	struct stream_tls *t = container_of(timer, struct stream_tls, timer);

	if (t->is_shaking)
		shake_break(t, -ETIMEDOUT);
	else
		io_cancel(t->s->loop, &t->s->tx);
}

/* A close_notify, where nothing else is on its way: it is a courtesy, and the
 * end of the stream says the same. */
static void say_bye(struct stream_tls *t)
{
	if (t->s->tx_busy || t->is_eof || t->res)
		return;
	if (!t->is_tx_io)
		tls_filter_shut(&t->f);
	tx_submit(t);
	if (t->is_tx_io)
		timer_set(t->s->loop, &t->timer, BYE_MS * NS_PER_MS);
}

void tls_cancel(struct stream *s)
{
	struct stream_tls *t = s->tls;

	if (t->is_shaking) {
		shake_break(t, -ECANCELED);
		return;
	}
	say_bye(t);
	if ((s->rx_busy && !t->is_rx_io) || (s->tx_busy && !t->is_tx_io))
		loop_defer(s->loop, &t->task);
}

bool tls_is_busy(const struct stream *s)
{
	return s->tls->is_tx_io || s->tls->is_rx_io;
}

void tls_destroy(struct stream *s)
{
	struct stream_tls *t = s->tls;

	if (!t)
		return;
	s->tls = NULL;
	timer_cancel(s->loop, &t->timer);
	loop_undefer(s->loop, &t->task);
	tls_filter_fini(&t->f);
	free(t);
}

bool stream_tls_is_built(void)
{
	return true;
}

const char *stream_tls_identity(const struct stream *s)
{
	return s->tls ? s->tls->f.psk.identity : NULL;
}

int stream_tls_start(struct stream *s, const struct stream_tls_opts *opts,
		     void (*done)(struct stream *s, int res))
{
	struct stream_tls *t = calloc(1, sizeof(*t));
	int ret;

	ASSERT(stream_is_open(s) && !s->rx_busy && !s->tx_busy && !s->tls);
	if (!t)
		return -ENOMEM;
	ret = tls_filter_init(&t->f, opts);
	if (ret) {
		tls_filter_fini(&t->f);
		free(t);
		return ret;
	}
	t->s = s;
	t->done = done;
	t->is_shaking = true;
	t->timer.fire = on_timer;
	t->task.run = on_task;
	s->tls = t;
	s->rx.done = on_rx;
	s->tx.done = on_tx;
	s->rx_busy = s->tx_busy = true;
	timer_set(s->loop, &t->timer, opts->timeout_ms * NS_PER_MS);
	loop_defer(s->loop, &t->task);
	return 0;
}
