/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listener: one accept under way for as long as it is open; the loop's thread.
 * Invariant: open and not closing means either op_busy or the retry timer.
 */
#include "io/listener.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/time.h"

#define LISTEN_BACKLOG	1024
#define ACCEPT_PAUSE_NS (100 * NS_PER_MS)
#define LINGER_NS	(500 * NS_PER_MS)
#define LINGER_STEP_NS	(10 * NS_PER_MS)

static int listen_explain(const struct addr *addr, int ret, struct err *err)
{
	char host[ADDR_TEXT_LEN];
	unsigned port = addr_port(addr);

	addr_format_host(addr, host);
	switch (ret) {
	case -EADDRINUSE:
		return err_set(err, ret,
			       "port %u on %s is in use: stop the program that "
			       "has it or choose another port",
			       port, host);
	case -EADDRNOTAVAIL:
		return err_set(err, ret,
			       "cannot listen on %s: not an address of this "
			       "host",
			       host);
	case -EACCES:
		return err_set(err, ret,
			       "no permission to listen on port %u of %s: "
			       "choose a port above 1023",
			       port, host);
	default:
		return err_set(err, ret, "cannot listen on port %u of %s: %s",
			       port, host, strerror(-ret));
	}
}

/*
 * A program that was killed leaves its listening socket behind for some
 * milliseconds when io_uring has requests of it to end, so the one that
 * follows it at once must not give up at the first try.  A loop that turns has
 * others to serve meanwhile: whoever asked may ask again.
 */
static int listen_patiently(struct loop *loop, const struct addr *addr,
			    int backlog)
{
	const struct timespec pause = {.tv_nsec = LINGER_STEP_NS};
	uint64_t end = time_mono_ns() + LINGER_NS;
	int fd = io_listen(loop, addr, backlog);

	while (fd == -EADDRINUSE && !loop_is_turning(loop) &&
	       time_mono_ns() < end) {
		nanosleep(&pause, NULL);
		fd = io_listen(loop, addr, backlog);
	}
	return fd;
}

int listen_open(struct loop *loop, const struct addr *addr, int backlog,
		struct addr *local, struct err *err)
{
	int fd = listen_patiently(loop, addr, backlog), ret;

	if (fd < 0)
		return listen_explain(addr, fd, err);
	ret = io_local_addr(loop, fd, local);
	if (ret < 0) {
		io_close(loop, fd);
		return listen_explain(addr, ret, err);
	}
	return fd;
}

static void listener_submit(struct listener *l)
{
	l->op_busy = true;
	l->op.kind = IO_ACCEPT;
	l->op.fd = l->fd;
	io_submit(l->loop, &l->op);
}

static void listener_retry(struct timer *timer)
{
	listener_submit(container_of(timer, struct listener, retry));
}

static void listener_closed(struct loop_task *task)
{
	struct listener *l = container_of(task, struct listener, close_task);

	if (l->fd >= 0)
		io_close(l->loop, l->fd);
	l->fd = -1;
	l->is_closing = false;
	if (l->on_closed)
		l->on_closed(l);
}

static void listener_failed(struct listener *l, int res)
{
	char text[ADDR_TEXT_LEN];

	/* The peer gave up while it waited in the queue. */
	if (res == -ECONNABORTED || res == -EPROTO) {
		listener_submit(l);
		return;
	}
	/* Once until it works again: the next try is soon. */
	if (!l->has_warned) {
		addr_format(&l->local, text);
		log_warn("cannot accept connections for now",
			 "local=%s error=\"%s\"", text, strerror(-res));
	}
	l->has_warned = true;
	timer_set(l->loop, &l->retry, ACCEPT_PAUSE_NS);
}

static void listener_accept_done(struct io_op *op)
{
	struct listener *l = container_of(op, struct listener, op);

	l->op_busy = false;
	if (l->is_closing) {
		if (op->res >= 0)
			io_close(l->loop, op->res);
		loop_defer(l->loop, &l->close_task);
		return;
	}
	if (op->res < 0) {
		listener_failed(l, op->res);
		return;
	}
	l->has_warned = false;
	l->on_accept(l, op->res, &op->addr);
	if (!l->is_closing)
		listener_submit(l);
}

int listener_open(struct listener *l, struct loop *loop,
		  const struct addr *addr,
		  void (*on_accept)(struct listener *l, int fd,
				    const struct addr *peer),
		  void *arg, struct err *err)
{
	int ret;

	memset(l, 0, sizeof(*l));
	l->loop = loop;
	l->arg = arg;
	l->on_accept = on_accept;
	l->op.done = listener_accept_done;
	l->retry.fire = listener_retry;
	l->close_task.run = listener_closed;
	ret = listen_open(loop, addr, LISTEN_BACKLOG, &l->local, err);
	l->fd = MAX(ret, -1);
	if (ret < 0)
		return ret;
	listener_submit(l);
	return 0;
}

void listener_close(struct listener *l, void (*done)(struct listener *l))
{
	/* Never opened: there is no loop to run done from. */
	if (!l->loop) {
		if (done)
			done(l);
		return;
	}
	l->on_closed = done;
	if (l->is_closing)
		return;
	l->is_closing = true;
	timer_cancel(l->loop, &l->retry);
	if (l->op_busy)
		io_cancel(l->loop, &l->op);
	else
		loop_defer(l->loop, &l->close_task);
}
