/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replica I/O for API threads.  I/Os complete on the volumes' workers; the last
 * one opens the gate.
 *
 * Invariant: pending counts I/Os under way plus one for the submitter, so the
 * gate opens once, and only when nothing touches the caller's memory any more.
 */
#include "client/xfer.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"

/*
 * Patience with a transfer as a whole.  A target that is gone or stuck is
 * noticed by the command deadline of its queue long before; this only ends
 * what creeps, so it leaves room for a busy machine and other transfers.
 */
#define BASE_MS		   10000
#define FLOOR_BYTES_PER_MS (8 * MiB / 1000)

/* --- volumes --- */

int vols_init(struct vols *v, struct client *c, Mc__Segment **segments,
	      size_t count, struct arena *arena)
{
	*v = (struct vols){
		.client = c,
		.segments = segments,
		.count = count,
		.vol = arena_alloc(arena, count * sizeof(struct vol *)),
	};
	return v->vol ? 0 : -ENOMEM;
}

void vols_fini(struct vols *v)
{
	for (size_t i = 0; v->vol && i < v->count; i++)
		if (v->vol[i])
			vol_put(v->vol[i]);
	v->vol = NULL;
}

static int vols_get(struct vols *v, uint32_t index, struct vol **out)
{
	const Mc__Segment *s;
	struct vol_desc desc = {0};
	struct err err = {0};
	int ret;

	if (index >= v->count)
		return -EBADMSG;
	*out = v->vol[index];
	if (*out)
		return 0;
	s = v->segments[index];
	if (s->id.len != sizeof(desc.segment.b) || s->n_endpoints == 0 ||
	    s->block_size < 512 || !IS_POW2(s->block_size))
		return -EBADMSG;
	memcpy(desc.segment.b, s->id.data, s->id.len);
	desc.is_nof = s->kind == MC__KIND__NOF_SSD;
	desc.epoch = s->epoch;
	desc.key = s->owner_key;
	desc.block_bytes = s->block_size;
	desc.endpoints = (const char *const *)s->endpoints;
	desc.endpoint_count = (unsigned)s->n_endpoints;
	ret = vol_get(v->client->vols, &desc, &v->vol[index], &err);
	if (ret < 0)
		log_err("segment can't be used", "segment=%s error=\"%s\"",
			s->name, err.text);
	*out = v->vol[index];
	return ret;
}

/* --- replicas --- */

int xfer_set_replica(struct xfer_io *xio, struct vols *v,
		     const Mc__Replica *replica, uint64_t size,
		     struct arena *arena)
{
	struct vol_extent *extents;
	uint64_t sum = 0, end;
	int ret;

	extents = arena_alloc(arena, replica->n_extents * sizeof(*extents));
	if (!extents)
		return -ENOMEM;
	for (size_t i = 0; i < replica->n_extents; i++) {
		const Mc__Extent *e = replica->extents[i];

		ret = vols_get(v, e->segment, &extents[i].vol);
		if (ret < 0)
			return ret;
		if (e->length == 0 || add_overflows(sum, e->length, &sum) ||
		    add_overflows(e->offset, e->length, &end) ||
		    e->offset % v->segments[e->segment]->block_size)
			return -EBADMSG;
		extents[i].off = e->offset;
		extents[i].len = e->length;
	}
	if (sum != size)
		return -EBADMSG;
	xio->replica = replica;
	xio->io.extents = extents;
	xio->io.extent_count = (unsigned)replica->n_extents;
	xio->io.bytes = size;
	return 0;
}

const Mc__Segment *xfer_segment(const struct vols *v,
				const Mc__Replica *replica, size_t extent)
{
	if (extent >= replica->n_extents ||
	    replica->extents[extent]->segment >= v->count)
		return NULL;
	return v->segments[replica->extents[extent]->segment];
}

bool xfer_is_own(const struct vols *v, const Mc__Replica *replica)
{
	const struct client *c = v->client;
	const Mc__Segment *s = xfer_segment(v, replica, 0);

	/* By its name, which is ours alone: the id may change meanwhile. */
	return s && c->segment.mem && s->kind == MC__KIND__MEMORY &&
	       strcmp(s->name, c->name) == 0;
}

const Mc__Segment *xfer_failed_segment(const struct vols *v,
				       const struct xfer_io *xio)
{
	return xio->replica
		       ? xfer_segment(v, xio->replica, xio->io.failed_extent)
		       : NULL;
}

bool xfer_problem(int ret, Mc__Problem *out)
{
	switch (-ret) {
	case 0:
	case ENOMEM:
	case EINVAL:
	case ECANCELED:
		return false;
	case EILSEQ:
		*out = MC__PROBLEM__PROBLEM_CHECKSUM;
		return true;
	case ENODATA:
		*out = MC__PROBLEM__PROBLEM_MEDIA;
		return true;
	default:
		*out = MC__PROBLEM__PROBLEM_UNREACHABLE;
		return true;
	}
}

bool xfer_is_impatience(const struct vol_io *io, int ret, uint64_t ended_ns)
{
	return ret == -ETIMEDOUT && ended_ns >= io->deadline_ns;
}

/* --- groups --- */

void xfer_init(struct xfer *x, struct client *c)
{
	x->client = c;
	x->is_put = false;
	atomic_init(&x->pending, 1);
	atomic_init(&x->bell, NULL);
	gate_init(&x->gate);
}

static void xfer_put(struct xfer *x)
{
	if (atomic_fetch_sub(&x->pending, 1) == 1)
		gate_open(&x->gate);
}

static void xfer_end(struct xfer_io *xio)
{
	struct xfer *x = xio->xfer;
	struct bell *bell;

	xio->done_ns = time_mono_ns();
	atomic_store(&xio->is_done, true);
	/* Who sets the bell looks at is_done afterwards. */
	bell = atomic_load(&x->bell);
	if (bell)
		bell_ring(bell);
	xfer_put(x);
}

static void xfer_done(struct vol_io *io)
{
	xfer_end(container_of(io, struct xfer_io, io));
}

void xfer_submit(struct xfer *x, struct xfer_io *xio)
{
	int ret;

	xio->xfer = x;
	xio->io.done = xfer_done;
	xio->io.flow = (uintptr_t)x;
	atomic_store(&xio->is_done, false);
	atomic_fetch_add(&x->pending, 1);
	ret = vol_submit(x->client->vols, &xio->io);
	if (ret < 0) {
		xio->io.ret = ret;
		xfer_end(xio);
	}
}

bool xfer_wait_until(struct xfer *x, uint64_t at_ns)
{
	uint64_t now_ns = time_mono_ns();

	if (!x->is_put) {
		x->is_put = true;
		xfer_put(x);
	}
	return gate_wait_for(&x->gate, at_ns == UINT64_MAX ? UINT64_MAX
				       : at_ns > now_ns	   ? at_ns - now_ns
							   : 0);
}

void xfer_wait(struct xfer *x)
{
	xfer_wait_until(x, UINT64_MAX);
}

void xfer_watch(struct xfer *x, struct bell *bell)
{
	atomic_store(&x->bell, bell);
}

uint64_t xfer_deadline_ns(const struct client *c, uint64_t bytes)
{
	uint64_t ms = BASE_MS + bytes / FLOOR_BYTES_PER_MS;

	ms = MIN(ms, (uint64_t)c->conf.transfer_timeout_ms);
	return time_mono_ns() + ms * NS_PER_MS;
}
