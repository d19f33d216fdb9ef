/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stream: a connected socket with at most one receive and one send under way.
 * The pieces that own a protocol (nvmf, target, rpc) embed it.
 *
 * Opening: stream_connect() or stream_attach() of an accepted fd.  Closing:
 * stream_close() cancels what is under way; its callbacks run with -ECANCELED
 * (or their result), and the kernel lets go of what it holds; then closed runs
 * and the memory is the caller's again.
 */
#ifndef IO_STREAM_H
#define IO_STREAM_H

#include "io/loop.h"

struct stream_tls; /* io/tls.h */
struct stream;

/* What stream_send_held() leaves with the kernel; the caller's. */
struct stream_hold {
	struct stream *stream;
	/* The kernel has let go of the buffers.  It had copied them: such a
	 * send costs more than a plain one. */
	void (*released)(struct stream_hold *hold, bool was_copied);
	/* private */
	struct io_op op;
};

/* So many holds in a row that were copies: the way there always copies. */
#define STREAM_COPIES_MAX 4

struct stream {
	struct loop *loop;
	int fd;	   /* -1 when closed */
	void *arg; /* the owner's, not touched here */
	/* The owner's: sends of so much payload are worth a hold, 0 = none
	 * is.  Set to 0 here after STREAM_COPIES_MAX. */
	uint64_t hold_from;
	unsigned holds; /* that the kernel has not let go of; to be read */
	/* private */
	struct io_op rx, tx;
	struct timer connect_timer;
	void (*on_connect)(struct stream *s, int res);
	void (*on_recv)(struct stream *s, int res);
	void (*on_send)(struct stream *s, int res);
	void (*on_closed)(struct stream *s);
	struct iovec *tx_iov; /* copy that shrinks as bytes leave */
	unsigned tx_cap, tx_pos, tx_cnt;
	size_t tx_done;
	bool rx_busy, tx_busy, is_closing, is_connecting, is_timed_out;
	int start_res;	 /* why tx could not be started, told by the timer */
	unsigned copies; /* the last so many holds were copied */
	struct loop_task close_task;
	struct stream_tls *tls; /* NULL: bytes go as they are */
};

void stream_init(struct stream *s, struct loop *loop, void *arg);
/* done(res): 0 or -errno; -ETIMEDOUT after timeout_ms (0 = the kernel's own
 * limit, minutes).  After a failure the stream may be connected again. */
void stream_connect(struct stream *s, const struct addr *addr,
		    uint32_t timeout_ms, const struct io_sockopts *so,
		    void (*done)(struct stream *s, int res));
/* Takes an accepted fd over. */
void stream_attach(struct stream *s, int fd);
/* done(res): bytes > 0 (as many as were there), 0 = peer closed, -errno.
 * The iov array is not copied: it and the buffers stay valid until done. */
void stream_recv(struct stream *s, const struct iovec *iov, unsigned iovcnt,
		 void (*done)(struct stream *s, int res));
/* Sends everything before done(res): 0 or -errno.  The iov array is copied,
 * the buffers stay valid until done.  iovcnt may exceed IO_IOV_MAX. */
void stream_send(struct stream *s, const struct iovec *iov, unsigned iovcnt,
		 void (*done)(struct stream *s, int res));
/*
 * As stream_send(), but the bytes are not copied: the buffers stay valid and
 * as they are until hold->released has run, which is before or after done.
 * False: nothing has been started, since that is not possible here (TLS, the
 * kernel); send plainly.
 */
bool stream_send_held(struct stream *s, const struct iovec *iov,
		      unsigned iovcnt, struct stream_hold *hold,
		      void (*done)(struct stream *s, int res));
static inline bool stream_wants_hold(const struct stream *s, uint64_t payload)
{
	return unlikely(s->hold_from) && payload >= s->hold_from;
}
/* done may be NULL and comes from the loop, never inside the call (but for a
 * zeroed stream, which has no loop).  Calling it again only replaces done. */
void stream_close(struct stream *s, void (*done)(struct stream *s));
static inline bool stream_is_open(const struct stream *s)
{
	return s->fd >= 0 && !s->is_closing;
}

#endif
