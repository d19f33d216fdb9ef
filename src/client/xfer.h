/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving bytes for a batch: the volumes that a reply of the master names, and
 * a group of replica I/Os that is waited for as a whole.
 */
#ifndef CLIENT_XFER_H
#define CLIENT_XFER_H

#include "client/client.h"

/* Volumes of one reply, opened when first needed. */
struct vols {
	struct client *client;
	Mc__Segment **segments;
	size_t count;
	struct vol **vol; /* in the batch's arena; NULL = not yet */
};
int vols_init(struct vols *v, struct client *c, Mc__Segment **segments,
	      size_t count, struct arena *arena);
void vols_fini(struct vols *v);

struct xfer {
	struct client *client;
	_Atomic(uint32_t) pending; /* I/Os, and 1 until xfer_wait() */
	struct gate gate;
	bool is_put; /* the 1 was taken away */
	_Atomic(struct bell *)
		bell; /* rings with each end of an I/O, or NULL */
};

struct xfer_io {
	struct vol_io io;
	struct xfer *xfer;
	const Mc__Replica *replica;
	uint64_t done_ns; /* when it ended */
	_Atomic(bool) is_done;
};

/*
 * Fills in io's extents for that replica of size bytes.  -EBADMSG when what
 * the master said makes no sense, -EINVAL when an endpoint can't be parsed.
 */
int xfer_set_replica(struct xfer_io *xio, struct vols *v,
		     const Mc__Replica *replica, uint64_t size,
		     struct arena *arena);
/* What ended at that time with ret was ended by its own deadline: somebody with
 * more patience would have had it, and it says nothing about the segment. */
bool xfer_is_impatience(const struct vol_io *io, int ret, uint64_t ended_ns);
/* Is it on this client's own segment? */
bool xfer_is_own(const struct vols *v, const Mc__Replica *replica);
/* The segment of that extent, NULL when the master's answer has none. */
const Mc__Segment *xfer_segment(const struct vols *v,
				const Mc__Replica *replica, size_t extent);
/* The segment that made the I/O fail, NULL when it is not known. */
const Mc__Segment *xfer_failed_segment(const struct vols *v,
				       const struct xfer_io *xio);

/* What the master is told of an I/O that ended with ret; false: nothing, since
 * trouble of our own says nothing about a segment. */
bool xfer_problem(int ret, Mc__Problem *out);

void xfer_init(struct xfer *x, struct client *c);
/* xio->io.ret tells after xfer_wait(). */
void xfer_submit(struct xfer *x, struct xfer_io *xio);
void xfer_wait(struct xfer *x);
/* No more is submitted.  False when at_ns (monotonic) passed first; then it is
 * called again. */
bool xfer_wait_until(struct xfer *x, uint64_t at_ns);
/* From now on the bell tells of each I/O that ends; it lives until the last has
 * ended. */
void xfer_watch(struct xfer *x, struct bell *bell);
static inline bool xfer_is_done(const struct xfer_io *xio)
{
	return atomic_load(&xio->is_done);
}

/* Time that so many bytes may take, on top of a base, at a rate below which
 * nothing is called working. */
uint64_t xfer_deadline_ns(const struct client *c, uint64_t bytes);

#endif
