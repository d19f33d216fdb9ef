/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGINT, SIGTERM and SIGHUP through a signalfd that the loop polls; the loop's
 * thread. Invariant: op_busy from open until the poll was cancelled by close.
 */
#include "io/signals.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"

static void signals_submit(struct signals *s)
{
	s->op_busy = true;
	io_submit(s->loop, &s->op);
}

static void signals_done(struct io_op *op)
{
	struct signals *s = container_of(op, struct signals, op);
	struct signalfd_siginfo info;

	s->op_busy = false;
	if (op->res == -ECANCELED || s->is_closing)
		return;
	if (op->res < 0) {
		/* The program can still be killed, but not stopped. */
		log_err("cannot wait for signals", "error=\"%s\"",
			strerror(-op->res));
		return;
	}
	while (read(s->fd, &info, sizeof(info)) == sizeof(info))
		s->on_signal(s, (int)info.ssi_signo);
	signals_submit(s);
}

static void fill(sigset_t *set, bool has_hup)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	if (has_hup)
		sigaddset(set, SIGHUP);
}

int signals_open(struct signals *s, struct loop *loop,
		 void (*on_signal)(struct signals *s, int signo), void *arg,
		 struct err *err)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, hup;
	sigset_t set;

	memset(s, 0, sizeof(*s));
	s->loop = loop;
	s->arg = arg;
	s->on_signal = on_signal;
	sigaction(SIGPIPE, &ignore, NULL);
	/* A file at its limit is an error of the write, as a full disk is. */
	sigaction(SIGXFSZ, &ignore, NULL);
	/* nohup: a blocked signal is not ignored any more, so don't. */
	fill(&set, sigaction(SIGHUP, NULL, &hup) || hup.sa_handler != SIG_IGN);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	s->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->fd < 0) {
		int ret = -errno;

		s->loop = NULL;
		return err_set(err, ret, "cannot create a signalfd: %s",
			       strerror(-ret));
	}
	s->op.done = signals_done;
	s->op.kind = IO_POLL;
	s->op.poll_mask = POLLIN;
	s->op.fd = s->fd;
	signals_submit(s);
	return 0;
}

int signals_take_hup(struct signals *s, struct err *err)
{
	sigset_t set;

	fill(&set, true);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (signalfd(s->fd, &set, SFD_NONBLOCK | SFD_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot wait for SIGHUP: %s",
			       strerror(errno));
	return 0;
}

void signals_close(struct signals *s)
{
	if (!s->loop)
		return;
	/* A signal may still be faster than the cancel; nobody is told. */
	s->is_closing = true;
	io_cancel(s->loop, &s->op);
	while (s->op_busy)
		loop_turn(s->loop, NS_PER_S);
	close(s->fd);
	s->fd = -1;
	s->loop = NULL;
}
