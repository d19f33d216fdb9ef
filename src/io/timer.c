/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers of a loop: a 4-ary heap of (deadline, sequence), the loop's thread
 * only.  Invariant: heap[timer->slot - 1].timer == timer for every set timer.
 */
#include <stdlib.h>

#include "base/log.h"
#include "io/backend.h"

#define HEAP_ARITY 4

static bool entry_is_before(const struct timer_entry *a,
			    const struct timer_entry *b)
{
	if (a->deadline_ns != b->deadline_ns)
		return a->deadline_ns < b->deadline_ns;
	return a->seq < b->seq;
}

static void heap_put(struct loop *loop, uint32_t i, struct timer_entry e)
{
	loop->heap[i] = e;
	e.timer->slot = i + 1;
}

static void heap_sift_up(struct loop *loop, uint32_t i, struct timer_entry e)
{
	while (i > 0) {
		uint32_t parent = (i - 1) / HEAP_ARITY;

		if (!entry_is_before(&e, &loop->heap[parent]))
			break;
		heap_put(loop, i, loop->heap[parent]);
		i = parent;
	}
	heap_put(loop, i, e);
}

static void heap_sift_down(struct loop *loop, uint32_t i, struct timer_entry e)
{
	for (;;) {
		uint32_t child = i * HEAP_ARITY + 1, best = child, end;

		if (child >= loop->heap_len)
			break;
		end = MIN(child + HEAP_ARITY, loop->heap_len);
		while (++child < end)
			if (entry_is_before(&loop->heap[child],
					    &loop->heap[best]))
				best = child;
		if (!entry_is_before(&loop->heap[best], &e))
			break;
		heap_put(loop, i, loop->heap[best]);
		i = best;
	}
	heap_put(loop, i, e);
}

static void heap_reserve(struct loop *loop)
{
	uint32_t cap = loop->heap_cap ? loop->heap_cap * 2 : 64;
	void *heap;

	if (loop->heap_len < loop->heap_cap)
		return;
	heap = reallocarray(loop->heap, cap, sizeof(*loop->heap));
	if (!heap) {
		/* A timer that can't be set would be a wait without an end. */
		log_err("out of memory for timers", "timers=%u",
			loop->heap_len);
		abort();
	}
	loop->heap = heap;
	loop->heap_cap = cap;
}

void timer_set_at(struct loop *loop, struct timer *timer, uint64_t deadline_ns)
{
	struct timer_entry e = {deadline_ns, loop->timer_seq++, timer};

	ASSERT(timer->fire);
	ASSERT(loop_is_owner(loop));
	timer_cancel(loop, timer);
	heap_reserve(loop);
	timer->deadline_ns = deadline_ns;
	heap_sift_up(loop, loop->heap_len++, e);
}

void timer_set(struct loop *loop, struct timer *timer, uint64_t delay_ns)
{
	uint64_t deadline_ns;

	/* Between turns the cached time may be old. */
	if (!loop->in_turn)
		loop->now_ns = loop->be->now_ns(loop);
	if (add_overflows(loop->now_ns, delay_ns, &deadline_ns))
		deadline_ns = UINT64_MAX;
	timer_set_at(loop, timer, deadline_ns);
}

void timer_cancel(struct loop *loop, struct timer *timer)
{
	uint32_t i = timer->slot - 1;
	struct timer_entry last;

	if (timer->slot == 0)
		return;
	ASSERT(loop_is_owner(loop));
	ASSERT(i < loop->heap_len && loop->heap[i].timer == timer);
	timer->slot = 0;
	last = loop->heap[--loop->heap_len];
	if (i == loop->heap_len)
		return;
	if (i > 0 && entry_is_before(&last, &loop->heap[(i - 1) / HEAP_ARITY]))
		heap_sift_up(loop, i, last);
	else
		heap_sift_down(loop, i, last);
}

uint64_t loop_next_deadline(const struct loop *loop)
{
	return loop->heap_len ? loop->heap[0].deadline_ns : UINT64_MAX;
}

void timers_fire(struct loop *loop)
{
	/* A timer that re-arms itself with no delay must not starve I/O. */
	uint32_t budget = loop->heap_len;

	while (budget-- && loop_next_deadline(loop) <= loop->now_ns) {
		struct timer *timer = loop->heap[0].timer;

		timer_cancel(loop, timer);
		timer->fire(timer);
	}
}
