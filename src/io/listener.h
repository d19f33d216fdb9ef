/* SPDX-License-Identifier: Apache-2.0 */
/* Listener: accepts for ever; survives EMFILE and friends by pausing. */
#ifndef IO_LISTENER_H
#define IO_LISTENER_H

#include "io/loop.h"

struct listener {
	struct loop *loop;
	int fd;		   /* -1 when closed */
	struct addr local; /* with the real port after open */
	void *arg;
	/* fd is the callee's from here on */
	void (*on_accept)(struct listener *l, int fd, const struct addr *peer);
	/* private */
	struct io_op op;
	struct timer retry;
	void (*on_closed)(struct listener *l);
	bool op_busy, is_closing, has_warned;
	struct loop_task close_task;
};

/*
 * A listening socket alone; local gets its address with the real port.
 * Returns the descriptor or -errno with a sentence as below; a port in use is
 * tried for half a second (blocking) while the loop does not turn yet.
 */
int listen_open(struct loop *loop, const struct addr *addr, int backlog,
		struct addr *local, struct err *err);
/* 0 or -errno with a sentence ("port 4420 on 127.0.0.1 is in use …"). */
int listener_open(struct listener *l, struct loop *loop,
		  const struct addr *addr,
		  void (*on_accept)(struct listener *l, int fd,
				    const struct addr *peer),
		  void *arg, struct err *err);
void listener_close(struct listener *l, void (*done)(struct listener *l));

#endif
