/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In-flight budget.  Any thread; a waiter belongs to one thread.
 *
 * Invariant: a waiter that stands in line is woken after every change that may
 * have made room for it.  take() counts itself as waiting before it looks at
 * used, give() lowers used before it looks at waiting, both sequentially
 * consistent: one of the two sees the other.
 */
#include "pool/budget.h"

void budget_init(struct budget *b, uint64_t limit)
{
	*b = (struct budget){.limit = limit};
	pthread_mutex_init(&b->mu, NULL);
	list_init(&b->line);
}

void budget_fini(struct budget *b)
{
	ASSERT(atomic_load(&b->used) == 0);
	pthread_mutex_destroy(&b->mu);
}

static bool fits(const struct budget *b, uint64_t used, uint64_t bytes)
{
	return used == 0 || (bytes <= b->limit && used <= b->limit - bytes);
}

static void note_high(struct budget *b, uint64_t used)
{
	uint64_t high = atomic_load_explicit(&b->high, memory_order_relaxed);

	while (used > high &&
	       !atomic_compare_exchange_weak(&b->high, &high, used))
		;
}

static bool try_take(struct budget *b, uint64_t bytes)
{
	uint64_t used = atomic_load(&b->used);

	do {
		if (!fits(b, used, bytes))
			return false;
	} while (!atomic_compare_exchange_weak(&b->used, &used, used + bytes));
	note_high(b, used + bytes);
	return true;
}

/* With the lock held. */
static void wake_first(struct budget *b)
{
	struct budget_waiter *w;

	if (list_is_empty(&b->line))
		return;
	w = list_first(&b->line, struct budget_waiter, node);
	if (fits(b, atomic_load(&b->used), w->want))
		w->wake(w);
}

static void leave_line(struct budget *b, struct budget_waiter *w)
{
	list_del(&w->node);
	w->is_in_line = false;
	atomic_fetch_sub(&b->waiting, 1);
	wake_first(b);
}

bool budget_take(struct budget *b, struct budget_waiter *w, uint64_t bytes)
{
	bool ok;

	if (!w->is_in_line &&
	    (bytes <= w->left || atomic_load(&b->waiting) == 0) &&
	    try_take(b, bytes)) {
		w->left -= MIN(w->left, bytes);
		return true;
	}
	w->left = 0;
	pthread_mutex_lock(&b->mu);
	if (!w->is_in_line) {
		list_add_tail(&b->line, &w->node);
		w->is_in_line = true;
		atomic_fetch_add(&b->waiting, 1);
	}
	w->want = bytes;
	ok = b->line.next == &w->node && try_take(b, bytes);
	if (ok) {
		w->left = b->turn_bytes - MIN(b->turn_bytes, bytes);
		leave_line(b, w);
	}
	pthread_mutex_unlock(&b->mu);
	return ok;
}

void budget_give(struct budget *b, uint64_t bytes)
{
	uint64_t before = atomic_fetch_sub(&b->used, bytes);

	ASSERT(before >= bytes);
	if (atomic_load(&b->waiting) == 0)
		return;
	pthread_mutex_lock(&b->mu);
	wake_first(b);
	pthread_mutex_unlock(&b->mu);
}

void budget_leave(struct budget *b, struct budget_waiter *w)
{
	w->left = 0;
	if (!w->is_in_line)
		return;
	pthread_mutex_lock(&b->mu);
	leave_line(b, w);
	pthread_mutex_unlock(&b->mu);
}
