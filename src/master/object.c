/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects and their replicas, on the metadata shard.  Invariant: an extent
 * belongs to exactly one replica, or rests in the quarantine, or is free in its
 * segment's allocator; only obj_add_replica and drop move it.
 */
#include "master/object.h"

#include <errno.h>

#include "master/copy.h"
#include "master/evict.h"
#include "master/group.h"
#include "master/note.h"
#include "master/quarantine.h"
#include "master/scan.h"

#define COPY_INDEX ((uint32_t)1 << 31)

struct object *obj_find(struct core *core, struct str key)
{
	struct hnode *node = htab_get(&core->objects, key, hash_str(key));

	return node ? container_of(node, struct object, hnode) : NULL;
}

struct object *obj_find_put(struct core *core, struct str key,
			    uint64_t generation)
{
	struct object *obj = obj_find(core, key);

	if (obj && obj->generation != generation)
		obj = obj_successor(obj);
	return obj && obj->generation == generation ? obj : NULL;
}

static size_t obj_alloc_size(size_t key_len, uint64_t size)
{
	return sizeof(struct object) + obj_crc_count(size) * sizeof(uint32_t) +
	       key_len;
}

static void obj_free(struct core *core, struct object *obj)
{
	bins_give(&core->bins, obj, obj_alloc_size(obj->key_len, obj->size));
}

struct writing *obj_writing(struct core *core, struct object *obj)
{
	struct writing *w = obj->writing;

	if (w)
		return w;
	w = bins_take(&core->bins, sizeof(*w));
	if (!w)
		return NULL;
	list_init(&w->node);
	w->obj = obj;
	obj->writing = w;
	return w;
}

static void forget_writing(struct core *core, struct object *obj)
{
	if (obj->writing)
		list_del(&obj->writing->node);
	bins_give(&core->bins, TAKE(obj->writing), sizeof(struct writing));
}

bool obj_is_copied(const struct object *obj)
{
	const struct replica *rep;

	if (!obj->is_complete || !obj->writing)
		return false;
	obj_for_each_replica (rep, obj)
		if (rep->state == REPLICA_PROCESSING)
			return true;
	return false;
}

/* Nearly always the last of them: all get the same time. */
static void add_late(struct core *core, struct writing *w)
{
	struct list *at = core->late.prev;

	if (!list_is_empty(&w->node))
		return;
	while (at != &core->late &&
	       list_entry(at, struct writing, node)->late_ns > w->late_ns)
		at = at->prev;
	list_add_head(at, &w->node);
}

void obj_settle(struct core *core, struct object *obj)
{
	struct writing *w = obj->writing;

	if (!w || !obj->is_complete || w->successor || obj_is_copied(obj))
		return;
	if (w->late_ns > core->now_ns)
		add_late(core, w);
	else
		forget_writing(core, obj);
}

void obj_settle_late(struct core *core)
{
	while (!list_is_empty(&core->late)) {
		struct writing *w =
			list_first(&core->late, struct writing, node);

		if (w->late_ns > core->now_ns)
			return;
		list_del(&w->node);
		obj_settle(core, w->obj);
	}
}

/* Under its key, or beside the one that has it. */
static int take_key(struct core *core, struct object *obj,
		    struct object *former)
{
	struct writing *own = obj_writing(core, obj), *other;

	if (!own)
		return -ENOMEM;
	own->former = former;
	if (!former)
		return htab_add(&core->objects, &obj->hnode);
	other = obj_writing(core, former);
	if (!other)
		return -ENOMEM;
	other->successor = obj;
	return 0;
}

struct object *obj_create(struct core *core, struct str key,
			  struct object *former, uint64_t size)
{
	struct object *obj =
		bins_take(&core->bins, obj_alloc_size(key.n, size));

	ASSERT(key.n <= KEY_LEN_MAX);
	ASSERT(!former || (former->is_complete && !obj_successor(former)));
	if (!obj)
		return NULL;
	obj->size = size;
	obj->key_len = (uint16_t)key.n;
	memcpy(obj->crcs + obj_crc_count(size), key.p, key.n);
	obj->hnode.hash = hash_str(key);
	obj->generation = ++core->generation;
	obj->used_ns = core->now_ns;
	if (take_key(core, obj, former) < 0) {
		forget_writing(core, obj);
		obj_free(core, obj);
		return NULL;
	}
	obj->writing->started_ns = core->now_ns;
	obj->writing->deadline_ns = core->now_ns + core->opts.write_ns;
	list_add_tail(&core->all, &obj->all_node);
	list_add_tail(&core->unfinished, &obj->writing->node);
	return obj;
}

static void give_key_up(struct core *core, struct object *obj)
{
	struct object *next = obj_successor(obj), *former = NULL;
	int ret;

	if (obj->writing)
		former = obj->writing->former;
	if (former) {
		former->writing->successor = NULL;
		obj_settle(core, former);
		return;
	}
	htab_del(&core->objects, &obj->hnode);
	if (!next)
		return;
	next->writing->former = NULL;
	ret = htab_add(&core->objects, &next->hnode);
	ASSERT(ret == 0); /* the table was as full before */
}

static size_t replica_alloc_size(unsigned count)
{
	return sizeof(struct replica) + count * sizeof(struct extent);
}

/* In the object itself, when it has one extent and the room is not taken. */
static struct replica *take_replica(struct core *core, struct object *obj,
				    unsigned count)
{
	struct replica *own = (struct replica *)obj->own;

	if (count > 1 || own->extent_count)
		return bins_take(&core->bins, replica_alloc_size(count));
	memset(own, 0, sizeof(obj->own));
	return own;
}

static void give_replica(struct core *core, struct replica *rep)
{
	if ((char *)rep == rep->obj->own)
		rep->extent_count = 0;
	else
		bins_give(&core->bins, rep,
			  replica_alloc_size(rep->extent_count));
}

bool replica_begins_there(const struct replica *rep, unsigned i)
{
	for (unsigned j = 0; j < i; j++)
		if (rep->extents[j].seg == rep->extents[i].seg)
			return false;
	return true;
}

/* Somebody may be at its replicas until then. */
static void written_until(const struct object *obj, uint64_t until_ns)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj)
		for (unsigned i = 0; i < rep->extent_count; i++) {
			struct segment *seg = rep->extents[i].seg;

			seg->written_until_ns =
				MAX(seg->written_until_ns, until_ns);
		}
}

void obj_give_time(struct core *core, struct object *obj)
{
	struct writing *w = obj->writing;

	w->deadline_ns =
		MAX(w->deadline_ns, core->now_ns + core->opts.write_ns);
	written_until(obj, w->deadline_ns);
}

void obj_is_resent(struct core *core, struct object *obj, uint64_t late_ns)
{
	struct writing *w = obj->writing;

	if (obj->is_complete)
		list_del(&w->node); /* of core.late; obj_settle() follows */
	w->late_ns = MAX(w->late_ns, core->now_ns + late_ns);
	written_until(obj, w->late_ns);
}

/* Those of a put count from 0.  That of a copy comes from the generations, so
 * it is new even if the master was restarted: what a reader reports late must
 * not be taken for what has come in its place. */
static uint32_t new_index(struct core *core, const struct object *obj)
{
	const struct replica *rep;
	uint32_t next = 0;

	if (obj->is_complete)
		return COPY_INDEX | (uint32_t)note_number(core);
	obj_for_each_replica (rep, obj)
		next = MAX(next, rep->index + 1);
	return next;
}

/* Memory first. */
static void add_in_order(struct object *obj, struct replica *rep)
{
	struct replica **at = &obj->replicas;

	while (*at && (*at)->kind <= rep->kind)
		at = &(*at)->next;
	rep->next = *at;
	*at = rep;
}

static void take_out(struct replica *rep)
{
	struct replica **at = &rep->obj->replicas;

	while (*at != rep)
		at = &(*at)->next;
	*at = rep->next;
}

struct replica *obj_add_replica(struct core *core, struct object *obj,
				enum kind kind, const struct extent *extents,
				unsigned count)
{
	const struct writing *w = obj->writing;
	struct replica *rep;

	ASSERT(count > 0 && count <= EXTENTS_MAX && w);
	ASSERT(!obj->is_complete || w->deadline_ns > core->now_ns);
	rep = take_replica(core, obj, count);
	if (!rep)
		return NULL;
	rep->obj = obj;
	rep->kind = kind;
	rep->state = REPLICA_PROCESSING;
	rep->index = new_index(core, obj);
	rep->extent_count = (uint8_t)count;
	list_init(&rep->lru_node);
	for (unsigned i = 0; i < count; i++) {
		struct extent *ext = &rep->extents[i];

		*ext = extents[i];
		ext->at = i;
		list_add_tail(&ext->seg->extents, &ext->seg_node);
		ext->seg->unfinished++;
		ext->seg->written_until_ns =
			MAX(ext->seg->written_until_ns, w->deadline_ns);
		ext->seg->replicas += replica_begins_there(rep, i);
		core->quarantine.live++;
	}
	add_in_order(obj, rep);
	obj->replica_count++;
	return rep;
}

/* A reader may hold the lease; a writer that did not report the end may write
 * until its deadline, what one sent twice may be written a while longer.
 * is_heard: whoever writes has ended, or had the time to. */
static uint64_t rest_until(struct core *core, const struct replica *rep,
			   bool is_heard)
{
	const struct object *obj = rep->obj;
	const struct writing *w = obj->writing;
	uint64_t until = MAX(obj_lease_end(core, obj), obj_late_ns(obj));

	if (obj->is_grouped)
		until = MAX(until, group_lease_end(core, obj));
	if (rep->state == REPLICA_PROCESSING)
		until = MAX(until, w->deadline_ns);
	until = until ? until + core->opts.margin_ns : 0;
	if (rep->state == REPLICA_PROCESSING && !is_heard)
		until = MAX(until, writer_silent_ns(core, w->deadline_ns));
	return until;
}

static void drop(struct core *core, struct replica *rep, bool is_heard)
{
	uint64_t release_ns = rest_until(core, rep, is_heard);

	evict_forget(core, rep);
	for (unsigned i = 0; i < rep->extent_count; i++) {
		struct segment *seg = rep->extents[i].seg;
		bool is_first = replica_begins_there(rep, i);

		seg->unfinished -= rep->state == REPLICA_PROCESSING;
		ASSERT(seg->replicas >= is_first);
		seg->replicas -= is_first;
		list_del(&rep->extents[i].seg_node);
		quarantine_put(core, &rep->extents[i], release_ns);
	}
	take_out(rep);
	ASSERT(rep->obj->replica_count > 0);
	rep->obj->replica_count--;
	give_replica(core, rep);
}

void obj_drop_replica(struct core *core, struct replica *rep)
{
	drop(core, rep, true);
}

/* Nothing is said of it. */
static void destroy(struct core *core, struct object *obj)
{
	/* Whose put goes has ended, or had the time to; who copies has not. */
	while (obj->replicas)
		drop(core, obj->replicas, !obj->is_complete);
	scans_leave(core, obj);
	group_leave(core, obj);
	give_key_up(core, obj);
	if (obj->is_complete)
		core->soft_pinned -= obj->soft_pin_ns > 0;
	list_del(&obj->all_node);
	forget_writing(core, obj);
	obj_free(core, obj);
}

void obj_destroy(struct core *core, struct object *obj)
{
	if (obj->is_complete)
		note_object_gone(core, obj);
	destroy(core, obj);
}

static bool lose(struct core *core, struct replica *rep, bool is_heard)
{
	struct object *obj = rep->obj;

	drop(core, rep, is_heard);
	if (obj->replicas)
		return false;
	destroy(core, obj);
	return true;
}

bool obj_lose_replica(struct core *core, struct replica *rep)
{
	note_replica_gone(core, rep);
	return lose(core, rep, true);
}

bool obj_unmount_replica(struct core *core, struct replica *rep)
{
	return lose(core, rep, false);
}

struct replica *obj_replica(struct object *obj, uint32_t index)
{
	struct replica *rep;

	obj_for_each_replica (rep, obj)
		if (rep->index == index)
			return rep;
	return NULL;
}

void obj_complete(struct core *core, struct object *obj, const uint8_t *crcs)
{
	struct replica *rep;

	ASSERT(!obj->is_complete && obj->replicas);
	/* The wire's byte order is this machine's: little-endian. */
	memcpy(obj->crcs, crcs, obj_crc_count(obj->size) * sizeof(uint32_t));
	obj->is_complete = true;
	core->soft_pinned += obj->soft_pin_ns > 0;
	obj->used_ns = core->now_ns;
	list_del(&obj->writing->node);
	obj_for_each_replica (rep, obj) {
		for (unsigned i = 0; i < rep->extent_count; i++)
			rep->extents[i].seg->unfinished--;
		rep->state = REPLICA_COMPLETE;
		obj->wanted[rep->kind]++;
	}
	obj_for_each_replica (rep, obj) {
		evict_note(core, rep);
		if (replica_is_draining(rep))
			copy_is_due(core); /* the pass may have gone past it */
	}
	hist_add(&core->stats.value_bytes, obj->size);
	/* In one record: it is there, and what had the key is not. */
	note_object(core, obj);
	if (obj->writing->former)
		destroy(core, obj->writing->former);
	obj_settle(core, obj);
}

void obj_complete_replica(struct core *core, struct replica *rep)
{
	ASSERT(rep->obj->is_complete && rep->state == REPLICA_PROCESSING);
	for (unsigned i = 0; i < rep->extent_count; i++)
		rep->extents[i].seg->unfinished--;
	rep->state = REPLICA_COMPLETE;
	note_object(core, rep->obj);
}

void obj_touch_alone(struct core *core, struct object *obj)
{
	struct replica *rep;

	if (obj->soft_pin_ns && !obj_is_soft_pinned(core, obj)) {
		obj->soft_pin_ns = 0;
		core->soft_pinned--;
	}
	obj->used_ns = core->now_ns;
	obj->was_leased = true;
	obj_for_each_replica (rep, obj) {
		evict_note(core, rep);
		if (!replica_is_offered(rep))
			continue;
		for (unsigned i = 0; i < rep->extent_count; i++)
			rep->extents[i].seg->leased_until_ns =
				obj_lease_end(core, obj);
	}
}

/* Who has a lease keeps the place that its end has in the order; evict.c takes
 * it out when its turn comes. */
void obj_hold(struct core *core, struct object *obj)
{
	struct replica *rep;

	if (obj_is_leased(core, obj))
		return;
	obj_for_each_replica (rep, obj)
		evict_forget(core, rep);
}

static bool is_out(const struct object *obj)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj)
		if (rep->state == REPLICA_COMPLETE && rep->turn == TURN_NONE)
			return !obj->is_hard_pinned;
	return false;
}

/* In what is ordered by last access there is room at the end only. */
void obj_release(struct core *core, struct object *obj)
{
	if (is_out(obj) && obj_is_leased(core, obj))
		obj_touch_alone(core, obj);
	else if (is_out(obj))
		evict_renew(core, obj);
	obj_settle(core, obj);
}

void obj_touch(struct core *core, struct object *obj)
{
	obj_touch_alone(core, obj);
	if (obj->is_grouped)
		group_touch(core, obj);
}

bool replica_is_readable(const struct replica *rep)
{
	if (rep->state != REPLICA_COMPLETE)
		return false;
	for (unsigned i = 0; i < rep->extent_count; i++)
		if (rep->extents[i].seg->state != SEG_ONLINE)
			return false;
	return true;
}

bool replica_is_draining(const struct replica *rep)
{
	for (unsigned i = 0; i < rep->extent_count; i++)
		if (rep->extents[i].seg->is_draining)
			return true;
	return false;
}

bool replica_is_offered(const struct replica *rep)
{
	const struct replica *other;

	if (!replica_is_readable(rep))
		return false;
	if (!replica_is_draining(rep))
		return true;
	obj_for_each_replica (other, rep->obj)
		if (replica_is_readable(other) && !replica_is_draining(other))
			return false;
	return true;
}

bool obj_is_readable(const struct object *obj)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj)
		if (replica_is_readable(rep))
			return true;
	return false;
}

uint64_t replica_bytes(const struct replica *rep)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < rep->extent_count; i++)
		sum += extent_range(&rep->extents[i]).len;
	return sum;
}

int replica_take_extents(struct replica *rep)
{
	for (unsigned i = 0; i < rep->extent_count; i++) {
		struct extent *ext = &rep->extents[i];
		struct ext range = extent_range(ext);
		int ret = ext_take_at(ext->seg->space, range.off, range.len,
				      &range);

		ext->node = range.node;
		if (ret == 0)
			continue;
		while (i-- > 0) {
			range = extent_range(&rep->extents[i]);
			ext_give(rep->extents[i].seg->space, &range);
		}
		return ret;
	}
	return 0;
}
