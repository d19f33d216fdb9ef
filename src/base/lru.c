/* SPDX-License-Identifier: Apache-2.0 */
/* Recency list.  Single owner; count is the number of nodes behind head. */
#include "base/lru.h"

void lru_init(struct lru *lru)
{
	list_init(&lru->head);
	lru->count = 0;
}

void lru_add(struct lru *lru, struct list *node)
{
	list_add_tail(&lru->head, node);
	lru->count++;
}

void lru_del(struct lru *lru, struct list *node)
{
	ASSERT(lru->count > 0 && !list_is_empty(node));
	list_del(node);
	lru->count--;
}

struct list *lru_coldest(struct lru *lru)
{
	return list_is_empty(&lru->head) ? NULL : lru->head.next;
}

struct list *lru_next(struct lru *lru, struct list *node)
{
	return node->next == &lru->head ? NULL : node->next;
}
