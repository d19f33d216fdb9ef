/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recency list: the head is the coldest.  A node is embedded in what it
 * orders.
 */
#ifndef BASE_LRU_H
#define BASE_LRU_H

#include "base/list.h"

struct lru {
	struct list head;
	size_t count;
};

void lru_init(struct lru *lru);
void lru_add(struct lru *lru, struct list *node); /* as the hottest */
void lru_del(struct lru *lru, struct list *node);
struct list *lru_coldest(struct lru *lru);		   /* or NULL */
struct list *lru_next(struct lru *lru, struct list *node); /* hotter, or NULL */

#endif
