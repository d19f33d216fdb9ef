/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for the reads of a round: second reads where a first one takes long,
 * and the end of the call's patience.  In the caller's thread.
 *
 * Invariant: get_wait() returns when no first read is under way any more, so
 * nothing touches the caller's memory; second reads have memory of their own.
 */
#include <errno.h>
#include <string.h>

#include "base/time.h"
#include "client/get.h"

#define HEDGE_MIN_NS NS_PER_MS /* earlier is not worth it */
/* One read in 20 is slower than 95 % by definition.  Those may not use up what
 * there is for the one that takes so many times longer. */
#define HEDGE_LATE    4
#define HEDGE_RESERVE (LATENCY_SAVED / 2)

static const struct uuid *segment_id(const struct vols *v,
				     const Mc__Replica *replica)
{
	const Mc__Segment *s = xfer_segment(v, replica, 0);

	return s && s->id.len == sizeof(struct uuid)
		       ? (const struct uuid *)s->id.data
		       : NULL;
}

static uint64_t p95(struct get_batch *b, const Mc__Replica *replica,
		    uint64_t bytes)
{
	const struct uuid *id = segment_id(&b->vols, replica);

	return id ? latency_p95(&b->client->latency, id, bytes) : 0;
}

void get_hedge_plan(struct get_batch *b, struct get_one *one)
{
	uint64_t first, second, bytes = one->object->size;

	one->hedge_ns = 0;
	one->is_cancelled = one->is_hedge_late = false;
	one->start_ns = time_mono_ns();
	latency_earn(&b->client->latency);
	if (!b->client->conf.hedge || one->next >= one->object->n_replicas ||
	    bytes > HEDGE_BYTES_MAX)
		return;
	first = p95(b, one->order[one->next - 1], bytes);
	second = p95(b, one->order[one->next], bytes);
	/* A target that is always slow is not given all of its time. */
	if (first && second)
		first = MIN(first, second * 2);
	if (first)
		one->hedge_ns = one->start_ns + MAX(first, HEDGE_MIN_NS);
}

/* --- second reads --- */

static void hedge_begin(struct get_batch *b, struct get_one *one,
			struct bell *bell)
{
	const struct hedge_ask ask = {
		.vols = &b->vols,
		.replica = one->order[one->next],
		.bytes = one->object->size,
		.crcs = one->crcs,
		.crc_count = one->crc_count,
		.deadline_ns = one->xio.io.deadline_ns,
		.bell = bell,
	};

	unsigned leave = one->is_hedge_late ? 0 : HEDGE_RESERVE;
	uint64_t waited_ns = one->hedge_ns - one->start_ns;

	one->hedge_ns = 0;
	if (!latency_spend(&b->client->latency, leave)) {
		if (leave)
			one->hedge_ns = one->start_ns + waited_ns * HEDGE_LATE;
		one->is_hedge_late = true;
		return;
	}
	one->hedge = hedge_start(b->client, &ask);
	if (!one->hedge) {
		latency_refund(&b->client->latency);
		return;
	}
	one->hedge_replica = one->order[one->next++];
	stats_add(&b->client->stats, STAT_hedged_reads, 1);
}

static void copy_to_pieces(const struct item *item, const char *from)
{
	for (unsigned i = 0; i < item->iovcnt; i++) {
		memcpy(item->iov[i].iov_base, from, item->iov[i].iov_len);
		from += item->iov[i].iov_len;
	}
}

/* The second read has ended well and the first one has let go. */
static void hedge_take(struct get_batch *b, struct get_one *one)
{
	copy_to_pieces(one->item, hedge_bytes(one->hedge));
	one->xio.io.ret = 0;
	one->xio.replica = one->hedge_replica;
	stats_add(&b->client->stats, STAT_hedges_won, 1);
}

static void hedge_end(struct get_one *one)
{
	hedge_drop(TAKE(one->hedge));
}

static void cancel(struct get_batch *b, struct get_one *one)
{
	if (!one->is_cancelled)
		vol_cancel(b->client->vols, &one->xio.io);
	one->is_cancelled = true;
}

/* --- one look at one object --- */

/* The second read. */
static void hedge_failed(struct get_batch *b, const struct get_one *one,
			 unsigned extent, int ret)
{
	const struct get_failure why = {
		.replica = one->hedge_replica,
		.segment = xfer_segment(&b->vols, one->hedge_replica, extent),
		.ret = ret,
		.ended_ns = time_mono_ns(),
	};

	get_failed(b, one, &why);
}

/* The first read has ended; false when the second one is still waited for. */
static bool settle(struct get_batch *b, struct get_one *one)
{
	struct vol_io *io = &one->xio.io;
	unsigned extent;
	int ret;

	if (io->ret == 0 || !one->hedge) {
		hedge_end(one);
		return true;
	}
	ret = hedge_result(one->hedge, &extent);
	if (ret > 0)
		return false;
	/* One that was cancelled for a better one is nobody's failure. */
	if (!one->is_cancelled)
		get_first_failed(b, one);
	if (ret == 0) {
		hedge_take(b, one);
	} else {
		one->xio.replica = one->hedge_replica;
		one->xio.done_ns = time_mono_ns();
		io->ret = ret;
		io->failed_extent = extent;
	}
	hedge_end(one);
	return true;
}

/* The second read while the first one is under way. */
static void race(struct get_batch *b, struct get_one *one)
{
	unsigned extent;
	int ret = hedge_result(one->hedge, &extent);

	if (ret > 0)
		return;
	if (ret == 0) {
		cancel(b, one);
		return;
	}
	hedge_failed(b, one, extent, ret);
	hedge_end(one);
}

struct watch {
	struct bell bell;
	uint64_t deadline_ns;
	uint64_t next_ns; /* when to look again */
	bool is_over;	  /* nothing is waited for */
};

static void look(struct get_batch *b, struct get_one *one, struct watch *w)
{
	uint64_t now_ns = time_mono_ns();
	bool is_late = now_ns >= w->deadline_ns;

	if (xfer_is_done(&one->xio)) {
		if (is_late && one->xio.io.ret)
			hedge_end(one);
		w->is_over &= settle(b, one);
		if (one->hedge)
			w->next_ns = MIN(w->next_ns, w->deadline_ns);
		return;
	}
	w->is_over = false;
	if (one->hedge)
		race(b, one);
	if (is_late) {
		cancel(b, one);
		return;
	}
	if (one->hedge_ns && one->hedge_ns <= now_ns)
		hedge_begin(b, one, &w->bell);
	w->next_ns = MIN(w->next_ns, w->deadline_ns);
	if (one->hedge_ns)
		w->next_ns = MIN(w->next_ns, one->hedge_ns);
}

/* --- public --- */

static uint64_t first_event(const struct get_batch *b, uint64_t deadline_ns)
{
	uint64_t first_ns = deadline_ns;

	for (size_t i = 0; i < b->count; i++)
		if (b->ones[i].is_reading && b->ones[i].hedge_ns)
			first_ns = MIN(first_ns, b->ones[i].hedge_ns);
	return first_ns;
}

static uint64_t from_now(uint64_t at_ns)
{
	uint64_t now_ns = time_mono_ns();

	return at_ns == UINT64_MAX ? UINT64_MAX
	       : at_ns > now_ns	   ? at_ns - now_ns
				   : 0;
}

static void note_latencies(struct get_batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct get_one *one = &b->ones[i];
		const struct uuid *id;

		/* Also one that lost: that it was slow is worth knowing. */
		if (!one->is_reading ||
		    (one->xio.io.ret && !one->is_cancelled) ||
		    !xfer_is_done(&one->xio))
			continue;
		id = segment_id(&b->vols, one->first_replica);
		if (id)
			latency_add(&b->client->latency, id, one->object->size,
				    one->xio.done_ns - one->start_ns);
	}
}

void get_wait(struct get_batch *b, struct xfer *xfer, uint64_t deadline_ns)
{
	struct watch w = {.deadline_ns = deadline_ns};

	/* The usual case: all have ended before anything is due. */
	if (!xfer_wait_until(xfer, first_event(b, deadline_ns))) {
		bell_init(&w.bell);
		xfer_watch(xfer, &w.bell);
		do {
			uint32_t seen = bell_seen(&w.bell);

			w.is_over = true;
			w.next_ns = UINT64_MAX;
			for (size_t i = 0; i < b->count; i++)
				if (b->ones[i].is_reading)
					look(b, &b->ones[i], &w);
			if (!w.is_over)
				bell_wait(&w.bell, seen, from_now(w.next_ns));
		} while (!w.is_over);
		xfer_wait_until(xfer, UINT64_MAX);
	}
	note_latencies(b);
}
