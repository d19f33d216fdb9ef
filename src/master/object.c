/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects and their replicas, on the metadata shard.  Invariant: an extent
 * belongs to exactly one replica, or rests in the quarantine, or is free in its
 * segment's allocator; only obj_add_replica and drop move it.
 */
#include "master/object.h"

#include <errno.h>

#include "master/evict.h"
#include "master/note.h"
#include "master/quarantine.h"
#include "master/scan.h"
#include "proto/frame.h"

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
		obj = obj->successor;
	return obj && obj->generation == generation ? obj : NULL;
}

uint32_t obj_crc_count(uint64_t size)
{
	ASSERT(size <= OBJECT_BYTES_MAX);
	return (uint32_t)((size + CRC_BLOCK - 1) / CRC_BLOCK);
}

struct object *obj_create(struct core *core, struct str key,
			  struct object *former, uint64_t size)
{
	size_t n = sizeof(struct object) + key.n;
	struct object *obj = bins_take(&core->bins, n);

	ASSERT(key.n <= KEY_LEN_MAX);
	ASSERT(!former || (former->is_complete && !former->successor));
	if (!obj)
		return NULL;
	list_init(&obj->all_node);
	list_init(&obj->unfinished_node);
	list_init(&obj->replicas);
	obj->key_len = (uint32_t)key.n;
	memcpy(obj->key, key.p, key.n);
	obj->hnode.hash = hash_str(key);
	obj->size = size;
	obj->generation = ++core->generation;
	obj->started_ns = core->now_ns;
	obj->used_ns = core->now_ns;
	obj->write_deadline_ns = core->now_ns + core->opts.write_ns;
	obj->former = former;
	if (former) {
		former->successor = obj;
	} else if (htab_add(&core->objects, &obj->hnode) < 0) {
		bins_give(&core->bins, obj, n);
		return NULL;
	}
	list_add_tail(&core->all, &obj->all_node);
	list_add_tail(&core->unfinished, &obj->unfinished_node);
	return obj;
}

static void give_key_up(struct core *core, struct object *obj)
{
	struct object *next = TAKE(obj->successor);
	int ret = 0;

	if (obj->former) {
		obj->former->successor = NULL;
		return;
	}
	htab_del(&core->objects, &obj->hnode);
	if (!next)
		return;
	next->former = NULL;
	ret = htab_add(&core->objects, &next->hnode);
	ASSERT(ret == 0); /* the table was as full before */
}

/* Nothing is said of it. */
static void destroy(struct core *core, struct object *obj)
{
	while (!list_is_empty(&obj->replicas))
		obj_drop_replica(
			core, list_first(&obj->replicas, struct replica, node));
	scans_leave(core, obj);
	give_key_up(core, obj);
	if (obj->is_complete)
		core->soft_pinned -= obj->soft_pin_ns > 0;
	list_del(&obj->all_node);
	list_del(&obj->unfinished_node);
	bins_give(&core->bins, obj->crcs,
		  obj_crc_count(obj->size) * sizeof(uint32_t));
	bins_give(&core->bins, obj, sizeof(*obj) + obj->key_len);
}

void obj_destroy(struct core *core, struct object *obj)
{
	if (obj->is_complete)
		note_object_gone(core, obj);
	destroy(core, obj);
}

static size_t replica_alloc_size(unsigned count)
{
	return sizeof(struct replica) + count * sizeof(struct extent);
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

	list_for_each (rep, &obj->replicas, node)
		for (unsigned i = 0; i < rep->extent_count; i++) {
			struct segment *seg = rep->extents[i].seg;

			seg->written_until_ns =
				MAX(seg->written_until_ns, until_ns);
		}
}

void obj_give_time(struct core *core, struct object *obj)
{
	obj->write_deadline_ns = core->now_ns + core->opts.write_ns;
	written_until(obj, obj->write_deadline_ns);
}

void obj_is_resent(struct core *core, struct object *obj, uint64_t late_ns)
{
	obj->late_write_ns = MAX(obj->late_write_ns, core->now_ns + late_ns);
	written_until(obj, obj->late_write_ns);
}

/* Those of a put count from 0.  That of a copy comes from the generations, so
 * it is new even if the master was restarted: what a reader reports late must
 * not be taken for what has come in its place. */
static uint32_t new_index(struct core *core, const struct object *obj)
{
	const struct replica *rep;
	uint32_t next = 0;

	if (obj->is_complete)
		return COPY_INDEX | (uint32_t)++core->generation;
	list_for_each (rep, &obj->replicas, node)
		next = MAX(next, rep->index + 1);
	return next;
}

/* Memory first. */
static void add_in_order(struct object *obj, struct replica *rep)
{
	struct replica *other;

	list_for_each (other, &obj->replicas, node)
		if (other->kind > rep->kind)
			break;
	/* The head, when there is none. */
	list_add_tail(&other->node, &rep->node);
}

struct replica *obj_add_replica(struct core *core, struct object *obj,
				enum kind kind, const struct extent *extents,
				unsigned count)
{
	struct replica *rep;

	ASSERT(count > 0 && count <= EXTENTS_MAX);
	ASSERT(!obj->is_complete || obj->write_deadline_ns > core->now_ns);
	rep = bins_take(&core->bins, replica_alloc_size(count));
	if (!rep)
		return NULL;
	rep->obj = obj;
	rep->kind = kind;
	rep->state = REPLICA_PROCESSING;
	rep->index = new_index(core, obj);
	rep->extent_count = count;
	list_init(&rep->lru_node);
	for (unsigned i = 0; i < count; i++) {
		struct extent *ext = &rep->extents[i];

		*ext = extents[i];
		ext->replica = rep;
		list_add_tail(&ext->seg->extents, &ext->seg_node);
		ext->seg->unfinished++;
		ext->seg->written_until_ns =
			MAX(ext->seg->written_until_ns, obj->write_deadline_ns);
		ext->seg->replicas += replica_begins_there(rep, i);
		core->quarantine.live++;
	}
	add_in_order(obj, rep);
	obj->replica_count++;
	return rep;
}

/* A reader may hold the lease; a writer that did not report the end may write
 * until its deadline, what one sent twice may be written a while longer. */
static uint64_t rest_until(const struct core *core, const struct replica *rep)
{
	const struct object *obj = rep->obj;
	uint64_t until = MAX(obj->lease_ns, obj->late_write_ns);

	if (rep->state == REPLICA_PROCESSING)
		until = MAX(until, obj->write_deadline_ns);
	return until ? until + core->opts.margin_ns : 0;
}

void obj_drop_replica(struct core *core, struct replica *rep)
{
	uint64_t release_ns = rest_until(core, rep);

	evict_forget(rep);
	for (unsigned i = 0; i < rep->extent_count; i++) {
		struct segment *seg = rep->extents[i].seg;
		bool is_first = replica_begins_there(rep, i);

		seg->unfinished -= rep->state == REPLICA_PROCESSING;
		ASSERT(seg->replicas >= is_first);
		seg->replicas -= is_first;
		list_del(&rep->extents[i].seg_node);
		quarantine_put(core, &rep->extents[i], release_ns);
	}
	list_del(&rep->node);
	ASSERT(rep->obj->replica_count > 0);
	rep->obj->replica_count--;
	bins_give(&core->bins, rep, replica_alloc_size(rep->extent_count));
}

bool obj_lose_replica(struct core *core, struct replica *rep)
{
	note_replica_gone(core, rep);
	return obj_unmount_replica(core, rep);
}

bool obj_unmount_replica(struct core *core, struct replica *rep)
{
	struct object *obj = rep->obj;

	obj_drop_replica(core, rep);
	if (!list_is_empty(&obj->replicas))
		return false;
	destroy(core, obj);
	return true;
}

struct replica *obj_replica(struct object *obj, uint32_t index)
{
	struct replica *rep;

	list_for_each (rep, &obj->replicas, node)
		if (rep->index == index)
			return rep;
	return NULL;
}

int obj_complete(struct core *core, struct object *obj, const uint8_t *crcs)
{
	uint32_t count = obj_crc_count(obj->size);
	struct replica *rep;

	ASSERT(!obj->is_complete && !list_is_empty(&obj->replicas));
	obj->crcs = bins_take(&core->bins, count * sizeof(uint32_t));
	if (!obj->crcs)
		return -ENOMEM;
	/* The wire's byte order is this machine's: little-endian. */
	memcpy(obj->crcs, crcs, count * sizeof(uint32_t));
	obj->is_complete = true;
	core->soft_pinned += obj->soft_pin_ns > 0;
	obj->used_ns = core->now_ns;
	list_del(&obj->unfinished_node);
	list_for_each (rep, &obj->replicas, node) {
		for (unsigned i = 0; i < rep->extent_count; i++)
			rep->extents[i].seg->unfinished--;
		rep->state = REPLICA_COMPLETE;
		obj->wanted[rep->kind]++;
		evict_note(core, rep);
	}
	hist_add(&core->stats.value_bytes, obj->size);
	/* In one record: it is there, and what had the key is not. */
	note_object(core, obj);
	if (obj->former)
		destroy(core, obj->former);
	return 0;
}

void obj_complete_replica(struct core *core, struct replica *rep)
{
	ASSERT(rep->obj->is_complete && rep->state == REPLICA_PROCESSING);
	for (unsigned i = 0; i < rep->extent_count; i++)
		rep->extents[i].seg->unfinished--;
	rep->state = REPLICA_COMPLETE;
	evict_note(core, rep);
	note_object(core, rep->obj);
}

void obj_hold(struct object *obj)
{
	struct replica *rep;

	list_for_each (rep, &obj->replicas, node)
		evict_forget(rep);
}

void obj_release(struct core *core, struct object *obj)
{
	struct replica *rep;

	list_for_each (rep, &obj->replicas, node)
		evict_note(core, rep);
}

void obj_touch(struct core *core, struct object *obj)
{
	struct replica *rep;

	if (obj->soft_pin_ns && !obj_is_soft_pinned(core, obj)) {
		obj->soft_pin_ns = 0;
		core->soft_pinned--;
	}
	obj->used_ns = core->now_ns;
	obj->lease_ns = MAX(obj->lease_ns, core->now_ns + core->opts.lease_ns);
	list_for_each (rep, &obj->replicas, node) {
		evict_note(core, rep);
		if (!replica_is_offered(rep))
			continue;
		for (unsigned i = 0; i < rep->extent_count; i++)
			rep->extents[i].seg->leased_until_ns = obj->lease_ns;
	}
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
	list_for_each (other, &rep->obj->replicas, node)
		if (replica_is_readable(other) && !replica_is_draining(other))
			return false;
	return true;
}

bool obj_is_readable(const struct object *obj)
{
	const struct replica *rep;

	list_for_each (rep, &obj->replicas, node)
		if (replica_is_readable(rep))
			return true;
	return false;
}

uint64_t replica_bytes(const struct replica *rep)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < rep->extent_count; i++)
		sum += rep->extents[i].ext.len;
	return sum;
}
