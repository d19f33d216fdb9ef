/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Second reads.  Started and dropped by API threads, ended on a worker.
 *
 * Invariant: under the lock, a hedge that has a bell belongs to the call that
 * started it, one without belongs to its I/O, which frees it.
 */
#include "client/hedge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct hedge {
	struct xfer_io xio;
	struct arena arena; /* extents, checksums */
	struct client *client;
	uint64_t bytes;
	struct vols vols; /* of the replica's segments: references */
	struct iovec iov;
	struct bell *bell; /* under the lock */
	bool is_done;	   /* likewise */
};

/* --- of a client --- */

void hedges_init(struct hedges *h)
{
	*h = (struct hedges){0};
	pthread_mutex_init(&h->mu, NULL);
	bell_init(&h->idle);
}

void hedges_stop(struct hedges *h)
{
	unsigned count;

	do {
		uint32_t seen = bell_seen(&h->idle);

		pthread_mutex_lock(&h->mu);
		count = h->count;
		pthread_mutex_unlock(&h->mu);
		if (count)
			bell_wait(&h->idle, seen, UINT64_MAX);
	} while (count);
}

void hedges_fini(struct hedges *h)
{
	pthread_mutex_destroy(&h->mu);
}

static bool hedges_enter(struct hedges *h, uint64_t bytes)
{
	bool has_room;

	pthread_mutex_lock(&h->mu);
	has_room = h->count < HEDGES_MAX && bytes <= HEDGE_BYTES_MAX - h->bytes;
	if (has_room) {
		h->count++;
		h->bytes += bytes;
	}
	pthread_mutex_unlock(&h->mu);
	return has_room;
}

static void hedges_leave(struct hedges *h, uint64_t bytes)
{
	pthread_mutex_lock(&h->mu);
	h->bytes -= bytes;
	if (--h->count == 0)
		bell_ring(&h->idle);
	pthread_mutex_unlock(&h->mu);
}

/* --- one --- */

static void hedge_free(struct hedge *h)
{
	struct client *c = h->client;
	uint64_t bytes = h->bytes;

	vols_fini(&h->vols);
	free(h->iov.iov_base);
	arena_fini(&h->arena);
	free(h);
	hedges_leave(&c->hedges, bytes);
}

static void hedge_done(struct vol_io *io)
{
	struct hedge *h = container_of(io, struct hedge, xio.io);
	pthread_mutex_t *mu = &h->client->hedges.mu;
	bool is_orphan;

	pthread_mutex_lock(mu);
	h->is_done = true;
	is_orphan = !h->bell;
	if (h->bell)
		bell_ring(h->bell); /* the call may not have gone on */
	pthread_mutex_unlock(mu);
	if (is_orphan)
		hedge_free(h);
}

static int hedge_fill(struct hedge *h, const struct hedge_ask *ask)
{
	struct vol_io *io = &h->xio.io;
	const struct vols *v = ask->vols;
	int ret;

	ret = vols_init(&h->vols, h->client, v->segments, v->count, &h->arena);
	if (ret < 0)
		return ret;
	ret = xfer_set_replica(&h->xio, &h->vols, ask->replica, ask->bytes,
			       &h->arena);
	if (ret < 0)
		return ret;
	io->crcs = arena_alloc(&h->arena, ask->crc_count * sizeof(uint32_t));
	if (!io->crcs || posix_memalign(&h->iov.iov_base, 4096, ask->bytes))
		return -ENOMEM;
	memcpy(io->crcs, ask->crcs, ask->crc_count * sizeof(uint32_t));
	h->iov.iov_len = ask->bytes;
	io->iov = &h->iov;
	io->iovcnt = 1;
	io->done = hedge_done;
	io->deadline_ns = ask->deadline_ns;
	return 0;
}

struct hedge *hedge_start(struct client *c, const struct hedge_ask *ask)
{
	struct hedge *h;

	if (!hedges_enter(&c->hedges, ask->bytes))
		return NULL;
	h = calloc(1, sizeof(*h));
	if (!h) {
		hedges_leave(&c->hedges, ask->bytes);
		return NULL;
	}
	h->client = c;
	h->bytes = ask->bytes;
	h->bell = ask->bell;
	arena_init(&h->arena, 0);
	if (hedge_fill(h, ask) < 0 || vol_submit(c->vols, &h->xio.io) < 0) {
		hedge_free(h);
		return NULL;
	}
	return h;
}

int hedge_result(struct hedge *h, unsigned *extent)
{
	pthread_mutex_t *mu = &h->client->hedges.mu;
	bool is_done;

	pthread_mutex_lock(mu);
	is_done = h->is_done;
	pthread_mutex_unlock(mu);
	if (!is_done)
		return 1;
	*extent = h->xio.io.failed_extent;
	return h->xio.io.ret;
}

const void *hedge_bytes(const struct hedge *h)
{
	return h->iov.iov_base;
}

void hedge_drop(struct hedge *h)
{
	pthread_mutex_t *mu;
	bool is_done;

	if (!h)
		return;
	mu = &h->client->hedges.mu;
	pthread_mutex_lock(mu);
	is_done = h->is_done;
	pthread_mutex_unlock(mu);
	/* While it is ours, so that it is there all the time. */
	if (!is_done)
		vol_cancel(h->client->vols, &h->xio.io);
	pthread_mutex_lock(mu);
	is_done = h->is_done;
	h->bell = NULL;
	pthread_mutex_unlock(mu);
	if (is_done)
		hedge_free(h);
}
