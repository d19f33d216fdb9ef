/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that may be in flight at once, shared by all workers of a set.
 *
 * Who does not get its bytes stands in a line and is woken when it is first
 * and its bytes are there; while somebody waits nobody takes past him, except
 * who has had his turn and not taken all of it: turns are of turn_bytes, so
 * that who moves small pieces gets as much as who moves large ones.  A request
 * larger than the limit passes when nothing else is in flight.
 */
#ifndef POOL_BUDGET_H
#define POOL_BUDGET_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"

struct budget_waiter {
	/* Any thread, with the line's lock held: must only post. */
	void (*wake)(struct budget_waiter *waiter);
	/* the budget's */
	struct list node;
	uint64_t want;
	uint64_t left;	 /* of the turn; the owner's */
	bool is_in_line; /* written by the owner, under the lock */
};

struct budget {
	uint64_t limit;
	uint64_t turn_bytes; /* constant; 0: one request is a turn */
	_Atomic(uint64_t) used;
	_Atomic(uint64_t) high; /* most that was ever used */
	_Atomic(unsigned) waiting;
	pthread_mutex_t mu; /* line; taken only when somebody waits */
	struct list line;
};

void budget_init(struct budget *b, uint64_t limit);
void budget_fini(struct budget *b); /* all bytes are back */
/* false: the waiter is in line and will be woken; ask again then. */
bool budget_take(struct budget *b, struct budget_waiter *w, uint64_t bytes);
void budget_give(struct budget *b, uint64_t bytes);
/* No longer interested, what is left of the turn is lost; no-op when not in
 * line. */
void budget_leave(struct budget *b, struct budget_waiter *w);

#endif
