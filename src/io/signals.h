/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGINT, SIGTERM, SIGHUP as events of a loop (signalfd), SIGPIPE ignored.
 * SIGINT and SIGTERM come whatever the program was started with: a daemon that
 * a script put into the background can be ended by either.  A SIGHUP that was
 * ignored (nohup) stays so, unless it means something else than the end.
 */
#ifndef IO_SIGNALS_H
#define IO_SIGNALS_H

#include "io/loop.h"

struct signals {
	struct loop *loop;
	struct io_op op;
	int fd;
	void *arg;
	void (*on_signal)(struct signals *s, int signo);
	bool op_busy, is_closing;
};

/* Call before other threads start, so that they inherit the mask. */
int signals_open(struct signals *s, struct loop *loop,
		 void (*on_signal)(struct signals *s, int signo), void *arg,
		 struct err *err);
/* SIGHUP is for reading something again: it comes even when the program was
 * started with it ignored.  Before other threads start, too. */
int signals_take_hup(struct signals *s, struct err *err);
/* Turns the loop until the operation has ended; call after loop_run().
 * on_signal() does not come any more: what it is for may be gone. */
void signals_close(struct signals *s);

#endif
