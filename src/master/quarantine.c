/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quarantine of freed extents, a binary heap by release time, on the metadata
 * shard.  Invariant: cap >= count + live, where live counts the extents that
 * objects hold, so that every one of them finds a place here.
 */
#include "master/quarantine.h"

#include <errno.h>
#include <stdlib.h>

#include "master/note.h"
#include "master/object.h"

int quarantine_reserve(struct core *core, size_t count)
{
	struct quarantine *q = &core->quarantine;
	size_t need = q->count + q->live + count;
	size_t cap = q->cap ? q->cap : 64;
	struct resting *heap;

	if (need <= q->cap)
		return 0;
	while (cap < need)
		cap *= 2;
	heap = realloc(q->heap, cap * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	q->heap = heap;
	q->cap = cap;
	return 0;
}

static void sift_down(struct quarantine *q, size_t i)
{
	struct resting moved = q->heap[i];

	for (;;) {
		size_t kid = 2 * i + 1;

		if (kid >= q->count)
			break;
		if (kid + 1 < q->count &&
		    q->heap[kid + 1].release_ns < q->heap[kid].release_ns)
			kid++;
		if (q->heap[kid].release_ns >= moved.release_ns)
			break;
		q->heap[i] = q->heap[kid];
		i = kid;
	}
	q->heap[i] = moved;
}

static void push(struct quarantine *q, const struct resting *r)
{
	size_t i = q->count++;

	ASSERT(q->count + q->live <= q->cap);
	while (i > 0 && q->heap[(i - 1) / 2].release_ns > r->release_ns) {
		q->heap[i] = q->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	q->heap[i] = *r;
}

static bool is_written(const struct core *core, const struct replica *rep)
{
	return rep->state == REPLICA_PROCESSING ||
	       obj_late_ns(rep->obj) > core->now_ns;
}

void quarantine_put(struct core *core, struct extent *ext, uint64_t release_ns)
{
	struct quarantine *q = &core->quarantine;
	struct ext range = extent_range(ext);

	ASSERT(q->live > 0);
	q->live--;
	if (core->is_replaying)
		return;
	q->freed++;
	if (release_ns <= core->now_ns) {
		ext_give(ext->seg->space, &range);
		return;
	}
	note_resting(core, ext, release_ns);
	quarantine_rest(core, &(struct resting){
				      .release_ns = release_ns,
				      .is_written = is_written(
					      core, extent_replica(ext)),
				      .seg = ext->seg,
				      .ext = range,
			      });
}

void quarantine_rest(struct core *core, const struct resting *r)
{
	r->seg->quarantined += r->ext.len;
	push(&core->quarantine, r);
}

size_t quarantine_release(struct core *core)
{
	struct quarantine *q = &core->quarantine;
	size_t n = 0;

	while (q->count > 0 && q->heap[0].release_ns <= core->now_ns) {
		struct resting r = q->heap[0];

		ASSERT(r.seg->quarantined >= r.ext.len);
		r.seg->quarantined -= r.ext.len;
		ext_give(r.seg->space, &r.ext);
		q->heap[0] = q->heap[--q->count];
		if (q->count > 0)
			sift_down(q, 0);
		n++;
	}
	q->freed += n;
	return n;
}

/* Something of that kind rests where it is of use. */
static bool is_resting(const struct core *core, enum kind kind)
{
	for (unsigned i = 0; i < core->online_count[kind]; i++) {
		const struct segment *seg = core->online[kind][i];

		if (seg->quarantined && seg->mark != core->mark)
			return true;
	}
	return false;
}

uint64_t quarantine_next(const struct core *core, enum kind kind,
			 uint64_t limit_ns)
{
	const struct quarantine *q = &core->quarantine;
	uint64_t best = 0;

	if (!is_resting(core, kind) || q->count == 0 ||
	    q->heap[0].release_ns > limit_ns)
		return 0;
	/* The top of the heap is enough of it: entries behind the 256th are
	 * later, and whoever waits looks again. */
	for (size_t i = 0; i < q->count && i < 256; i++) {
		const struct resting *r = &q->heap[i];

		if (r->release_ns > limit_ns || r->seg->kind != kind ||
		    r->seg->state != SEG_ONLINE || r->seg->is_draining ||
		    r->seg->mark == core->mark)
			continue;
		if (!best || r->release_ns < best)
			best = r->release_ns;
	}
	return best;
}

uint64_t quarantine_purge(struct core *core, const struct segment *seg)
{
	struct quarantine *q = &core->quarantine;
	uint64_t latest = 0;
	size_t kept = 0;

	if (!seg->quarantined)
		return 0;
	for (size_t i = 0; i < q->count; i++) {
		const struct resting *r = &q->heap[i];

		if (r->seg != seg)
			q->heap[kept++] = *r;
		else if (r->is_written)
			latest = MAX(latest, r->release_ns);
	}
	q->count = kept;
	for (size_t i = kept / 2; i-- > 0;)
		sift_down(q, i);
	return latest;
}
