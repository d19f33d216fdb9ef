/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose turn it is: fair shares of bytes between reads and writes, between
 * callers, and among the parts of one caller first come, first served.
 *
 * A caller is a number.  Its entries stand behind each other: the first one is
 * the leader and stands in the line of its direction, the others follow it, and
 * the next one takes its place when it leaves.  Nothing is allocated.  Pure
 * bookkeeping of one thread.
 */
#ifndef POOL_TURNS_H
#define POOL_TURNS_H

#include "base/def.h"
#include "base/list.h"

#define TURN_BYTES   MiB /* of one caller before the next one's turn */
#define TURN_BUCKETS 64

enum turn_place {
	TURN_NOWHERE,
	TURN_LEADER,
	TURN_FOLLOWER
};

struct turn {
	/* set by the caller of turns_add() */
	uint64_t flow;
	bool is_write;
	/* private */
	struct list node;      /* in the line (leader) or behind the leader */
	struct list followers; /* leader */
	struct list bucket;    /* leader */
	uint64_t bytes;	       /* leader: taken in this turn */
	enum turn_place place;
};

struct turns {
	struct list line[2]; /* leaders of reads, of writes */
	uint64_t used[2];    /* bytes, writes times write_cost */
	uint32_t write_cost;
	struct list buckets[TURN_BUCKETS];
};

/* write_cost: reads get that many bytes for each one of a write while there
 * are both; 1 = equal shares. */
void turns_init(struct turns *t, uint32_t write_cost);
void turns_add(struct turns *t, struct turn *turn);
/* No-op when it is nowhere; zeroed is fine. */
void turns_leave(struct turns *t, struct turn *turn);
/* Who is next, or NULL. */
struct turn *turns_next(struct turns *t);
/* turns_next() was it, and has taken so many bytes: others may be next now. */
void turns_charge(struct turns *t, struct turn *turn, uint64_t bytes);

#endif
