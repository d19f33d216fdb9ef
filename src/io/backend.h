/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of src/io: the loop's memory and the table of functions a back end
 * has.  Nobody outside this folder includes it.
 *
 * A back end takes operations in submit(), gives them to the kernel in wait()
 * and hands results to loop_complete(), which only queues them: callbacks are
 * run by loop_turn() and nowhere else.
 */
#ifndef IO_BACKEND_H
#define IO_BACKEND_H

#include <stdatomic.h>

#include "io/loop.h"

/* io_op.state */
enum {
	OP_IDLE,
	OP_IN_FLIGHT, /* the back end's */
	OP_COMPLETED, /* in loop.completed, done is to be run */
};

/* io_op.flags; the rest of the bits are a back end's own */
enum {
	OP_CANCELLED = 1, /* io_cancel() was called */
	OP_BACKEND_FLAG = 2,
};

struct io_backend {
	const char *name;
	int (*open)(struct loop *loop, const struct loop_opts *opts,
		    struct err *err);
	void (*close)(struct loop *loop); /* takes a half-built state */
	void (*submit)(struct loop *loop, struct io_op *op);
	void (*cancel)(struct loop *loop, struct io_op *op);
	/* Returns as soon as something was completed or the loop was woken. */
	void (*wait)(struct loop *loop, uint64_t timeout_ns);
	uint64_t (*now_ns)(struct loop *loop);
	bool (*may_hold)(const struct loop *loop); /* NULL: no */
	int (*socket)(struct loop *loop, int family);
	int (*listen)(struct loop *loop, const struct addr *addr, int backlog);
	int (*local_addr)(struct loop *loop, int fd, struct addr *out);
	void (*close_fd)(struct loop *loop, int fd);
	void (*set_sockopts)(struct loop *loop, int fd,
			     const struct io_sockopts *so);
};

extern const struct io_backend io_backend_uring;
extern const struct io_backend io_backend_epoll;
extern const struct io_backend io_backend_sim;

struct timer_entry {
	uint64_t deadline_ns;
	uint64_t seq; /* equal deadlines fire in the order they were set */
	struct timer *timer;
};

struct loop {
	/* constant after create */
	const struct io_backend *be;
	void *state; /* the back end's, NULL before open() */
	const char *name;
	uint64_t spin_ns;
	int sock_flags; /* SOCK_NONBLOCK where the back end needs it */

	/* other threads */
	struct mbox mbox;
	atomic_uintptr_t owner; /* 0 = nobody has turned it yet */

	/* the owner's */
	uint64_t now_ns;
	uint64_t spin_end_ns; /* of the spin that the last completion earned */
	struct list tasks;
	struct list completed;
	struct timer_entry *heap; /* 4-ary, smallest first */
	uint32_t heap_len, heap_cap;
	uint64_t timer_seq;
	unsigned in_flight; /* operations between submit and done */
	bool in_turn;
	bool is_stopping;
	bool is_woken; /* the mailbox's event_fd must be read */
};

/* For back ends: res becomes op->res, done will run in this or the next turn.
 */
void loop_complete(struct loop *loop, struct io_op *op, int res);
/* Something can be done without waiting (timers not counted). */
bool loop_has_work(struct loop *loop);
/* UINT64_MAX when no timer is set. */
uint64_t loop_next_deadline(const struct loop *loop);

/* Timers, timer.c. */
void timers_fire(struct loop *loop);

/* The socket half of the table for back ends on the real kernel, socket.c. */
int os_socket(struct loop *loop, int family);
int os_listen(struct loop *loop, const struct addr *addr, int backlog);
int os_local_addr(struct loop *loop, int fd, struct addr *out);
void os_set_sockopts(struct loop *loop, int fd, const struct io_sockopts *so);
void os_set_nodelay(int fd);
/* For a socket that is about to connect to addr, or to listen there. */
void os_set_congestion(int fd, const struct addr *addr);
uint64_t os_now_ns(struct loop *loop);

#endif
