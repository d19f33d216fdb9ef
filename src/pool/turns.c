/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns; one thread's.  Invariant: an entry is in a line (leader), behind a
 * leader, or nowhere; a flow has one leader for each direction, and that one is
 * in a bucket.
 */
#include "pool/turns.h"

void turns_init(struct turns *t, uint32_t write_cost)
{
	*t = (struct turns){.write_cost = write_cost};
	list_init(&t->line[0]);
	list_init(&t->line[1]);
	for (size_t i = 0; i < TURN_BUCKETS; i++)
		list_init(&t->buckets[i]);
}

static struct list *bucket_of(struct turns *t, uint64_t flow)
{
	return &t->buckets[(flow * 0x9e3779b97f4a7c15u) >> 58];
}

static struct turn *find_leader(struct turns *t, const struct turn *like)
{
	struct turn *leader;

	list_for_each (leader, bucket_of(t, like->flow), bucket)
		if (leader->flow == like->flow &&
		    leader->is_write == like->is_write)
			return leader;
	return NULL;
}

void turns_add(struct turns *t, struct turn *turn)
{
	struct turn *leader = find_leader(t, turn);
	struct list *line = &t->line[turn->is_write];

	ASSERT(turn->place == TURN_NOWHERE);
	list_init(&turn->followers);
	list_init(&turn->bucket);
	turn->bytes = 0;
	if (leader) {
		turn->place = TURN_FOLLOWER;
		list_add_tail(&leader->followers, &turn->node);
		return;
	}
	/* A direction that was idle has saved nothing up. */
	if (list_is_empty(line))
		t->used[turn->is_write] =
			MAX(t->used[turn->is_write], t->used[!turn->is_write]);
	turn->place = TURN_LEADER;
	list_add_tail(line, &turn->node);
	list_add_tail(bucket_of(t, turn->flow), &turn->bucket);
}

/* The first follower takes the leader's place in the line. */
static void hand_over(struct turns *t, struct turn *old)
{
	struct turn *heir = list_first(&old->followers, struct turn, node);

	list_del(&heir->node);
	list_splice_tail(&heir->followers, &old->followers);
	heir->place = TURN_LEADER;
	heir->bytes = old->bytes;
	list_add_head(&old->node, &heir->node);
	list_add_tail(bucket_of(t, heir->flow), &heir->bucket);
}

void turns_leave(struct turns *t, struct turn *turn)
{
	if (turn->place == TURN_NOWHERE)
		return;
	if (turn->place == TURN_LEADER) {
		if (!list_is_empty(&turn->followers))
			hand_over(t, turn);
		list_del(&turn->bucket);
	}
	list_del(&turn->node);
	turn->place = TURN_NOWHERE;
}

struct turn *turns_next(struct turns *t)
{
	bool has_read = !list_is_empty(&t->line[0]);
	bool has_write = !list_is_empty(&t->line[1]);
	bool is_write = has_write && (!has_read || t->used[1] < t->used[0]);

	if (!has_read && !has_write)
		return NULL;
	return list_first(&t->line[is_write], struct turn, node);
}

void turns_charge(struct turns *t, struct turn *turn, uint64_t bytes)
{
	bool is_write = turn->is_write;

	ASSERT(turn->place == TURN_LEADER);
	t->used[is_write] += is_write ? bytes * t->write_cost : bytes;
	turn->bytes += bytes;
	if (turn->bytes < TURN_BYTES)
		return;
	turn->bytes = 0;
	list_del(&turn->node);
	list_add_tail(&t->line[is_write], &turn->node);
}
