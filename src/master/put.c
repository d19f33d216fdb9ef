/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a put, on the metadata shard.  Invariant: a key has at most one
 * object, or one that is complete and its unfinished successor; an unfinished
 * one is in core.unfinished and in no recency list, and its extents rest until
 * the writer's deadline whatever becomes of it.
 */
#include "master/put.h"

#include <errno.h>

#include "master/evict.h"
#include "master/group.h"
#include "master/note.h"
#include "master/object.h"
#include "master/quarantine.h"
#include "proto/frame.h"

/* Rounds of evicting the globally coldest before one segment is emptied
 * until a range fits. */
#define ROUNDS_GLOBAL 4

static enum mooncake_status resolve_counts(const struct core *core,
					   struct put_ask *ask)
{
	bool mem_asked = ask->count[KIND_MEM] >= 0;
	bool nof_asked = ask->count[KIND_NOF] >= 0;
	bool has_mem = core->online_count[KIND_MEM] > 0;
	bool has_nof = core->online_count[KIND_NOF] > 0;
	int *mem = &ask->count[KIND_MEM], *nof = &ask->count[KIND_NOF];

	if (!mem_asked)
		*mem = core->opts.replica_num >= 0 ? core->opts.replica_num
						   : has_mem;
	if (!nof_asked)
		*nof = core->opts.nof_replica_num >= 0
			       ? core->opts.nof_replica_num
			       : *mem == 0 && !mem_asked;
	/* Engines that ask for memory by habit still use a pool alone. */
	if (!nof_asked && *mem > 0 && *nof == 0 && !has_mem && has_nof) {
		*nof = *mem;
		*mem = 0;
	}
	if (*mem + *nof == 0 || *mem > REPLICAS_MAX / 2 ||
	    *nof > REPLICAS_MAX / 2)
		return MOONCAKE_INVALID_PARAMS;
	return MOONCAKE_OK;
}

enum mooncake_status put_resolve(const struct core *core, struct put_ask *ask)
{
	enum mooncake_status st;

	if (ask->soft_pin_ms &&
	    (!ask->has_soft_pin ||
	     ask->soft_pin_ms > core->opts.soft_pin_max_ns / NS_PER_MS))
		return MOONCAKE_INVALID_PARAMS;
	/* Only what was asked for is refused, not what a default adds. */
	if (ask->place.is_near_wanted && ask->count[KIND_NOF] > 0)
		return MOONCAKE_INVALID_PARAMS;
	if (ask->data_type > DATA_TYPE_MAX ||
	    ask->count[KIND_MEM] > REPLICAS_MAX ||
	    ask->count[KIND_NOF] > REPLICAS_MAX)
		return MOONCAKE_INVALID_PARAMS;
	st = resolve_counts(core, ask);
	return st;
}

static const struct writing *oldest_unfinished(const struct core *core)
{
	return list_first(&core->unfinished, struct writing, node);
}

uint64_t put_expire(struct core *core)
{
	obj_settle_late(core);
	while (!list_is_empty(&core->unfinished)) {
		const struct writing *w = oldest_unfinished(core);

		if (w->started_ns + core->opts.release_ns > core->now_ns)
			return w->started_ns + core->opts.release_ns;
		core->stats.released++;
		obj_destroy(core, w->obj);
	}
	return 0;
}

/* Under pressure: the oldest unfinished put, once it has to give way. */
static bool drop_oldest_unfinished(struct core *core)
{
	const struct writing *w;

	if (list_is_empty(&core->unfinished))
		return false;
	w = oldest_unfinished(core);
	if (w->started_ns + core->opts.discard_ns > core->now_ns)
		return false;
	core->stats.discarded++;
	obj_destroy(core, w->obj);
	return true;
}

static struct segment *emptiest(struct core *core, enum kind kind)
{
	struct segment *best = NULL;
	uint64_t best_free = 0;

	for (unsigned i = 0; i < core->online_count[kind]; i++) {
		struct segment *seg = core->online[kind][i];
		uint64_t free_bytes =
			seg->size - ext_used(seg->space) + seg->quarantined;

		if (seg->mark == core->mark || (best && free_bytes < best_free))
			continue;
		best = seg;
		best_free = free_bytes;
	}
	return best;
}

/* Where this object may go. */
static uint64_t resting_bytes(const struct core *core, enum kind kind)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < core->online_count[kind]; i++) {
		const struct segment *seg = core->online[kind][i];

		if (seg->mark != core->mark)
			sum += seg->quarantined;
	}
	return sum;
}

/* Evicts at least size bytes in a round, or as much as there is and the budget
 * allows; returns how much now. */
static uint64_t make_room(struct core *core, struct put_ask *ask,
			  enum kind kind, uint64_t size)
{
	struct effort *effort = &ask->effort[kind];
	struct segment *focus =
		effort->round >= ROUNDS_GLOBAL ? emptiest(core, kind) : NULL;
	struct sweep sweep = {ask->budget, effort->sweep_ns, ask->is_last};
	uint64_t resting = resting_bytes(core, kind);
	uint64_t freed = 0, got = 1;

	while (effort->freed + freed < size && got && sweep.budget > 0) {
		got = focus ? evict_coldest_of(core, focus, &sweep) : 0;
		if (!got)
			got = evict_coldest(core, kind, &sweep);
		freed += got;
	}
	ask->budget = sweep.budget;
	effort->sweep_ns = freed ? 0 : sweep.since_ns;
	effort->freed += freed;
	/* Else the next slice goes on with it. */
	if (effort->freed >= size || sweep.budget > 0) {
		effort->round++;
		effort->freed = 0;
	}
	resting = resting_bytes(core, kind) - resting;
	if (resting > 0) {
		if (effort->until_ns <= core->now_ns)
			effort->rested = 0;
		effort->rested += resting;
		effort->until_ns = core->now_ns + core->opts.margin_ns;
	}
	return freed;
}

/* Enough was evicted for it, but has to rest first.  Once it has, it was no use
 * to who is still looking: others took it, or it lies in pieces. */
static bool is_evicted_for(const struct core *core, const struct effort *effort,
			   uint64_t size)
{
	return effort->rested >= size && effort->until_ns > core->now_ns;
}

/* Space is only resting: 0 = no, else when to look again. */
static uint64_t worth_waiting(struct core *core, enum kind kind)
{
	/* Evicted extents rest no longer than the margin; what an unfinished
	 * put left may rest longer and is not waited for. */
	return quarantine_next(core, kind, core->now_ns + core->opts.margin_ns);
}

/* One replica so far apart, with eviction. */
static int place_at_level(struct core *core, struct put_ask *ask,
			  struct object *obj, enum kind kind)
{
	struct effort *effort = &ask->effort[kind];
	uint64_t largest, capacity, freed;
	int ret;

	for (;;) {
		ret = place_replica(core, obj, kind, &ask->place);
		if (ret != -ENOSPC)
			return ret;
		capacity = place_mark(core, obj, kind, &ask->place, &largest);
		if (obj->size > capacity ||
		    (obj->size < SPLIT_MIN && obj->size > largest))
			return -ENOSPC;
		/* Those before it had enough room without any. */
		if (effort->more != ask->place.more)
			*effort = (struct effort){.more = ask->place.more};
		ask->retry_ns = worth_waiting(core, kind);
		if (ask->retry_ns && is_evicted_for(core, effort, obj->size))
			return -EAGAIN;
		freed = make_room(core, ask, kind, obj->size);
		if (ask->budget == 0) {
			ask->retry_ns = core->now_ns;
			return -EAGAIN;
		}
		if (freed || drop_oldest_unfinished(core))
			continue;
		ask->retry_ns = worth_waiting(core, kind);
		return ask->retry_ns ? -EAGAIN : -ENOSPC;
	}
}

/* One replica, as far apart as it goes.  0, -EAGAIN with ask->retry_ns,
 * -ENOSPC, -ENOMEM. */
static int place_evicting(struct core *core, struct put_ask *ask,
			  struct object *obj, enum kind kind)
{
	struct place *place = &ask->place;
	int ret = -ENOSPC;

	for (place->level = place_level_first(obj);
	     ret == -ENOSPC && place->level < PLACE_LEVELS; place->level++) {
		ret = place_at_level(core, ask, obj, kind);
		if (ret == -EAGAIN && ask->is_last)
			ret = -ENOSPC;
	}
	return ret;
}

/* All replicas of one kind; returns how many there are, or -errno for why
 * there is none of them or one is missing that must not. */
static int place_kind(struct core *core, struct put_ask *ask,
		      struct object *obj, enum kind kind)
{
	int placed = 0, ret = 0;

	while (placed < ask->count[kind]) {
		ask->place.more = (unsigned)(ask->count[kind] - placed);
		ret = place_evicting(core, ask, obj, kind);
		if (ret < 0)
			break;
		placed++;
	}
	if (ret == -EAGAIN || ret == -ENOMEM)
		return ret;
	return placed;
}

/* Upstream's write modes: 1 + 1 wants either, memory alone wants one at least,
 * anything with NoF wants all. */
static int place_all(struct core *core, struct put_ask *ask, struct object *obj)
{
	uint64_t mem_retry_ns;
	int mem, nof;

	obj->is_flexible =
		ask->count[KIND_MEM] == 1 && ask->count[KIND_NOF] == 1;
	mem = place_kind(core, ask, obj, KIND_MEM);
	if (mem < 0 && !obj->is_flexible)
		return mem;
	mem_retry_ns = ask->retry_ns;
	nof = place_kind(core, ask, obj, KIND_NOF);
	/* Whichever side has something first. */
	if (mem == -EAGAIN)
		ask->retry_ns = nof == -EAGAIN
					? MIN(mem_retry_ns, ask->retry_ns)
					: mem_retry_ns;
	if (nof < 0 && !obj->is_flexible)
		return nof;
	/* The next slice may have that side, too. */
	if (ask->budget == 0 && (mem == -EAGAIN || nof == -EAGAIN))
		return -EAGAIN;
	if (!obj->replicas)
		return mem < 0 ? mem : nof < 0 ? nof : -ENOSPC;
	if (!obj->is_flexible && ask->count[KIND_NOF] > 0 &&
	    (mem < ask->count[KIND_MEM] || nof < ask->count[KIND_NOF]))
		return -ENOSPC;
	if ((int)obj->replica_count <
	    ask->count[KIND_MEM] + ask->count[KIND_NOF])
		core->stats.partial_allocs++;
	return 0;
}

/* What to do with an object that has the key already. */
static enum mooncake_status give_way(struct core *core, struct object *old,
				     struct put_ask *ask)
{
	struct object *put = old;

	if (old->is_complete) {
		if (obj_is_readable(old))
			return MOONCAKE_OBJECT_ALREADY_EXISTS;
		/* Unreadable objects are a miss; who missed may put again. It
		 * goes when that put ends well, or it may come back. */
		put = obj_successor(old);
	}
	if (!put)
		return MOONCAKE_OK;
	if (put->writing->started_ns + core->opts.discard_ns > core->now_ns) {
		ask->is_being_written = true;
		return MOONCAKE_OBJECT_ALREADY_EXISTS;
	}
	core->stats.discarded++;
	obj_destroy(core, put);
	return MOONCAKE_OK;
}

static enum mooncake_status check_item(struct str key, struct str group,
				       uint64_t size)
{
	if (key.n == 0)
		return MOONCAKE_INVALID_PARAMS;
	if (key.n > KEY_LEN_MAX)
		return MOONCAKE_INVALID_KEY;
	if (group.n > KEY_LEN_MAX)
		return MOONCAKE_INVALID_PARAMS;
	if (size == 0 || size > OBJECT_BYTES_MAX)
		return MOONCAKE_INVALID_PARAMS;
	return MOONCAKE_OK;
}

static void pin(const struct core *core, const struct put_ask *ask,
		struct object *obj)
{
	uint64_t ttl_ns = ask->soft_pin_ms ? ask->soft_pin_ms * NS_PER_MS
					   : core->opts.soft_pin_ns;

	obj->is_hard_pinned = ask->has_hard_pin;
	if (ask->has_soft_pin)
		obj->soft_pin_ns = core->now_ns + ttl_ns;
}

/* What the same request began, if it was carried out before. */
static struct object *find_begun(const struct put_ask *ask, struct object *obj,
				 uint64_t size)
{
	if (obj && obj->is_complete)
		obj = obj_successor(obj);
	return obj && ask->request && obj->size == size &&
			       obj->writing->request == ask->request &&
			       uuid_eq(&obj->writing->client, &ask->client)
		       ? obj
		       : NULL;
}

static int begin(struct core *core, struct put_ask *ask, struct str key,
		 uint64_t size, struct object **out)
{
	enum mooncake_status st = check_item(key, ask->group, size);
	struct object *obj;
	int ret;

	ask->is_being_written = false;
	if (st != MOONCAKE_OK)
		return st;
	obj = obj_find(core, key);
	*out = find_begun(ask, obj, size);
	if (*out)
		return MOONCAKE_OK;
	st = obj ? give_way(core, obj, ask) : MOONCAKE_OK;
	if (st != MOONCAKE_OK)
		return st;
	put_expire(core);
	quarantine_release(core);
	obj = obj_create(core, key, obj_find(core, key), size);
	if (!obj)
		return MOONCAKE_INTERNAL_ERROR;
	obj->writing->client = ask->client;
	obj->writing->request = ask->request;
	obj->data_type = (uint8_t)ask->data_type;
	pin(core, ask, obj);
	ret = ask->group.n ? group_join(core, obj, ask->group) : 0;
	if (ret == 0)
		ret = place_all(core, ask, obj);
	if (ret == 0) {
		note_grant(core, obj);
		*out = obj;
		return MOONCAKE_OK;
	}
	/* Nobody heard of it, so nothing has to rest. */
	obj->writing->deadline_ns = 0;
	obj_destroy(core, obj);
	if (ret == -EAGAIN)
		return PUT_LATER;
	return ret == -ENOSPC ? MOONCAKE_NO_AVAILABLE_HANDLE
			      : MOONCAKE_INTERNAL_ERROR;
}

int put_start(struct core *core, struct put_ask *ask, struct str key,
	      uint64_t size, struct object **out)
{
	int st = begin(core, ask, key, size, out);

	for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
		struct effort *effort = &ask->effort[kind];

		if (st != PUT_LATER)
			*effort = (struct effort){0};
		else if (ask->budget > 0) /* not cut short */
			effort->sweep_ns = 0;
	}
	return st;
}

static struct object *find_own(struct core *core, const struct uuid *client,
			       struct str key, uint64_t generation,
			       enum mooncake_status *st)
{
	struct object *obj = obj_find_put(core, key, generation);

	*st = MOONCAKE_OK;
	if (!obj)
		obj = obj_find(core, key);
	if (!obj)
		*st = MOONCAKE_OBJECT_NOT_FOUND;
	else if (!obj->is_complete && !uuid_eq(&obj->writing->client, client))
		*st = MOONCAKE_ILLEGAL_CLIENT;
	else if (obj->generation != generation)
		*st = MOONCAKE_INVALID_WRITE;
	return *st == MOONCAKE_OK ? obj : NULL;
}

enum mooncake_status put_end(struct core *core, const struct put_end *end)
{
	enum mooncake_status st;
	struct object *obj =
		find_own(core, &end->client, end->key, end->generation, &st);

	if (!obj)
		return st;
	if (obj->is_complete)
		return MOONCAKE_OK; /* said twice: the answer got lost */
	if (end->crcs.n != (size_t)obj_crc_count(obj->size) * sizeof(uint32_t))
		return MOONCAKE_INVALID_PARAMS;
	/* What has failed may still be carried out, as what was sent twice. */
	if (end->failed_count > 0)
		obj_give_time(core, obj);
	if (end->failed_count > 0 && !obj->is_flexible) {
		obj_destroy(core, obj);
		return MOONCAKE_TRANSFER_FAIL;
	}
	for (size_t i = 0; i < end->failed_count; i++) {
		struct replica *rep = obj_replica(obj, end->failed[i]);

		if (rep && obj_lose_replica(core, rep))
			return MOONCAKE_TRANSFER_FAIL;
	}
	if (!obj->replicas) {
		obj_destroy(core, obj);
		return MOONCAKE_REPLICA_IS_GONE;
	}
	/* As long as a writer that is not heard of. */
	if (end->is_resent)
		obj_is_resent(core, obj, core->opts.write_ns);
	obj_complete(core, obj, (const uint8_t *)end->crcs.p);
	return MOONCAKE_OK;
}

enum mooncake_status put_revoke(struct core *core, const struct uuid *client,
				struct str key, uint64_t generation)
{
	enum mooncake_status st;
	struct object *obj = find_own(core, client, key, generation, &st);

	if (!obj)
		return st;
	if (obj->is_complete)
		return MOONCAKE_INVALID_WRITE;
	obj_give_time(core, obj); /* as above: it is revoked for a reason */
	obj_destroy(core, obj);
	return MOONCAKE_OK;
}
