/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loop: one thread, its timers, its mailbox and its I/O operations.
 *
 * Contract of every operation here and above (struct io_op and what embeds
 * it): the caller owns the struct; submit never fails and never completes
 * inside the call; done runs exactly once, from the loop; between the two the
 * op and its buffers belong to the loop; cancel is a request, done still comes
 * (with -ECANCELED or with the result that was faster).
 *
 * The back end is chosen at run time: io_uring where the kernel allows it,
 * epoll elsewhere; tests use the simulated one (tests/lib/sim via io/sim.h),
 * in which network and clock are a seeded model.
 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <sys/uio.h>

#include "base/err.h"
#include "base/list.h"
#include "io/addr.h"
#include "io/mbox.h"

struct loop;
struct io_sim; /* io/sim.h */

enum io_backend_kind {
	IO_BACKEND_AUTO,
	IO_BACKEND_URING,
	IO_BACKEND_EPOLL,
	IO_BACKEND_SIM
};

struct loop_opts {
	enum io_backend_kind
		backend; /* AUTO honours MC_IO_BACKEND=uring|epoll */
	unsigned depth;	 /* ring entries, 0 = 1024 */
	/* Spin for so long after an operation has completed, while others are
	 * in flight, before sleeping; 0 = sleep at once.  A loop that only
	 * waits for peers to say something sleeps. */
	uint32_t spin_us;
	struct io_sim *sim; /* for IO_BACKEND_SIM */
	const char *name;   /* thread and log name, static storage */
};

/* 0 or -errno with err set. */
int loop_create(const struct loop_opts *opts, struct loop **out,
		struct err *err);
/* Not while running; asserts that no operation is in flight.  Messages posted
 * since the last turn still run, in the caller's thread.  NULL is fine. */
void loop_destroy(struct loop *loop);
const char *loop_backend_name(const struct loop *loop);

/* Runs until loop_stop(), in the calling thread, which becomes the owner. */
void loop_run(struct loop *loop);
/* One turn: waits at most timeout_ns (0 = don't wait) for something to do. */
void loop_turn(struct loop *loop, uint64_t timeout_ns);
/* Owner thread only; other threads post a message that calls it. */
void loop_stop(struct loop *loop);

/* Monotonic, cached once per turn (simulated time in the simulator). */
uint64_t loop_now_ns(const struct loop *loop);

/* Any thread, until loop_destroy() is called: msg->run(msg) will be called on
 * the loop's thread. */
void loop_post(struct loop *loop, struct mbox_msg *msg);
bool loop_is_owner(const struct loop *loop);
/* The owner's: is this one of the loop's callbacks? */
bool loop_is_turning(const struct loop *loop);

/* --- later in this thread: runs in the next turn, before waiting --- */
struct loop_task {
	struct list node; /* list_init'ed by loop_defer when not queued */
	void (*run)(struct loop_task *task);
	bool is_queued;
};
/* Queuing a queued task is a no-op. */
void loop_defer(struct loop *loop, struct loop_task *task);
void loop_undefer(struct loop *loop, struct loop_task *task);

/* --- timers --- */
struct timer {
	void (*fire)(struct timer *timer);
	uint64_t deadline_ns;
	uint32_t slot; /* heap position + 1, 0 = not set */
};
/* (Re)arms.  fire runs once, from the loop, not before deadline_ns. */
void timer_set_at(struct loop *loop, struct timer *timer, uint64_t deadline_ns);
void timer_set(struct loop *loop, struct timer *timer, uint64_t delay_ns);
void timer_cancel(struct loop *loop, struct timer *timer); /* idempotent */
static inline bool timer_is_set(const struct timer *timer)
{
	return timer->slot != 0;
}

/* --- operations --- */
enum io_kind {
	IO_ACCEPT,  /* res = new fd; peer address in addr */
	IO_CONNECT, /* addr; res 0 */
	IO_RECV,    /* iov; res = bytes > 0, or 0 at end of stream */
	IO_SEND,    /* iov; res = bytes > 0, may be short */
	IO_READ,    /* file: iov, off; res = bytes, may be short, 0 at end */
	IO_WRITE,   /* file: iov, off; res = bytes, may be short */
	IO_FSYNC,   /* file data and size */
	IO_FALLOC,  /* fallocate(2): off, len, mode */
	IO_DISCARD, /* BLKDISCARD of a block device: off, len */
	IO_POLL,    /* poll_mask (POLLIN…); res = mask.  For foreign fds. */
	IO_HOLD,    /* ends when the kernel has let go of a send's buffers */
};

struct io_op {
	/* set by the caller */
	void (*done)(struct io_op *op);
	enum io_kind kind;
	int fd;
	const struct iovec *iov; /* valid until done; not modified */
	unsigned iovcnt;	 /* at most IO_IOV_MAX */
	unsigned poll_mask;
	int mode; /* FALLOC_FL_* */
	uint64_t off, len;
	struct addr addr;
	/*
	 * IO_SEND without copying, where io_may_hold(): an IO_HOLD that was
	 * submitted before.  It ends after the send, and until then the kernel
	 * may still read the buffers, for bytes that have to be sent again;
	 * res = IO_HELD_COPIED when it had copied them all the same, or has
	 * not sent them.  Such a send may fail for want of lockable memory: a
	 * plain one is to follow.
	 */
	struct io_op *hold;
	/* result: >= 0 or -errno */
	int res;
	/* the loop's */
	struct list node;
	uint32_t state;
	uint32_t flags;
	union {
		void *ptr;
		uint64_t u64[12]; /* e.g. a struct msghdr */
	} priv;
};

#define IO_IOV_MAX 1024

enum {
	IO_HELD_NOT_COPIED,
	IO_HELD_COPIED
};

/* Sends may leave without a copy. */
bool io_may_hold(const struct loop *loop);

void io_submit(struct loop *loop, struct io_op *op);
void io_cancel(struct loop *loop, struct io_op *op);

/* --- descriptors; simulated ones in the simulator --- */
/* Stream socket, non-blocking, close-on-exec, TCP_NODELAY. fd or -errno. */
int io_socket(struct loop *loop, int family);
/* Bound and listening, SO_REUSEADDR.  fd or -errno (-EADDRINUSE …). */
int io_listen(struct loop *loop, const struct addr *addr, int backlog);
int io_local_addr(struct loop *loop, int fd, struct addr *out);
/* No op may be in flight on fd. */
void io_close(struct loop *loop, int fd);
/* TCP_USER_TIMEOUT in ms, SO_SNDBUF/SO_RCVBUF in bytes (0 = leave). */
struct io_sockopts {
	uint32_t user_timeout_ms;
	/* A silent peer is asked after so long, then at a third of that; the
	 * third silence, or the user timeout, ends the connection. */
	uint32_t keepalive_s;
	uint32_t sndbuf, rcvbuf;
	bool is_reset; /* now: the peer sees no end; close is to follow */
};
void io_set_sockopts(struct loop *loop, int fd, const struct io_sockopts *so);

#endif
