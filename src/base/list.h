/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked list with a head that is a node itself. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/def.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_add_between(struct list *n, struct list *prev,
				    struct list *next)
{
	n->prev = prev;
	n->next = next;
	prev->next = n;
	next->prev = n;
}

static inline void list_add_tail(struct list *head, struct list *n)
{
	list_add_between(n, head->prev, head);
}

static inline void list_add_head(struct list *head, struct list *n)
{
	list_add_between(n, head, head->next);
}

/* Leaves n as an empty list of its own, so deleting twice is harmless. */
static inline void list_del(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

/* Moves all nodes of from to the tail of to; from is empty afterwards. */
static inline void list_splice_tail(struct list *to, struct list *from)
{
	if (list_is_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(ptr, type, member)  container_of(ptr, type, member)
#define list_first(head, type, member) list_entry((head)->next, type, member)
#define list_for_each(pos, head, member)                                       \
	for (pos = list_first(head, typeof(*pos), member);                     \
	     &pos->member != (head);                                           \
	     pos = list_entry(pos->member.next, typeof(*pos), member))
#define list_for_each_safe(pos, tmp, head, member)                             \
	for (pos = list_first(head, typeof(*pos), member),                     \
	    tmp = list_entry(pos->member.next, typeof(*pos), member);          \
	     &pos->member != (head); pos = tmp,                                \
	    tmp = list_entry(tmp->member.next, typeof(*tmp), member))

#endif
