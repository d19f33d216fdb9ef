/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers, on the metadata shard.  Invariant: Get and Exist call the same
 * objects readable, and both grant the lease that keeps them so.
 */
#include "master/get.h"

#include "base/log.h"
#include "master/copy.h"
#include "master/object.h"

#define LINE 64 /* of the cache */

/* What a read touches beside an object's first bytes: the rest of it, and its
 * neighbours in the recency list, which it leaves. */
static void warm(struct object *const *found, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *p = (const char *)found[i];

		if (!p)
			continue;
		for (size_t at = LINE; at < sizeof(struct object); at += LINE)
			__builtin_prefetch(p + at, 1);
	}
	for (size_t i = 0; i < count; i++) {
		const struct replica *rep =
			found[i] ? found[i]->replicas : NULL;

		if (!rep)
			continue;
		__builtin_prefetch(rep->lru_node.prev, 1);
		__builtin_prefetch(rep->lru_node.next, 1);
	}
}

void get_lookup(struct core *core, const struct str *keys, size_t count,
		struct object **out)
{
	struct hnode *nodes[GET_BATCH];
	uint64_t hashes[GET_BATCH];

	ASSERT(count <= GET_BATCH);
	htab_get_batch(&core->objects, keys, count, hashes, nodes);
	for (size_t i = 0; i < count; i++)
		out[i] = nodes[i] ? container_of(nodes[i], struct object, hnode)
				  : NULL;
	warm(out, count);
}

/* The replica that a reader tries first; memory stands first in the list. */
static const struct replica *best_replica(const struct object *obj)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj)
		if (replica_is_offered(rep))
			return rep;
	UNREACHABLE(); /* asked for readable objects only */
}

static void count_hit(struct core *core, const struct object *obj)
{
	const struct replica *rep = best_replica(obj);
	struct stats *st = &core->stats;

	rep->extents[0].seg->hits++;
	for (unsigned i = 0; i < rep->extent_count; i++)
		rep->extents[i].seg->hit_bytes += rep->extents[i].bytes;
	st->valid_gets++;
	if (rep->kind == KIND_MEM) {
		st->hits_mem++;
		st->hit_bytes_mem += obj->size;
	} else {
		st->hits_nof++;
		st->hit_bytes_nof += obj->size;
	}
}

enum mooncake_status get_object(struct core *core, struct object *obj,
				bool is_peek)
{
	core->stats.total_gets += !is_peek;
	if (!obj)
		return MOONCAKE_OBJECT_NOT_FOUND;
	if (!obj->is_complete)
		return MOONCAKE_REPLICA_IS_NOT_READY;
	if (!obj_is_readable(obj))
		return MOONCAKE_OBJECT_NOT_FOUND;
	if (!is_peek) {
		obj_touch(core, obj);
		count_hit(core, obj);
	}
	return MOONCAKE_OK;
}

bool exist_object(struct core *core, struct object *obj)
{
	if (!obj || !obj->is_complete || !obj_is_readable(obj))
		return false;
	obj_touch(core, obj);
	return true;
}

/* The segment whose bytes they were; the first one when nobody said, NULL when
 * the replica has nothing there. */
static struct segment *culprit(const struct replica *rep,
			       const struct uuid *segment)
{
	for (unsigned i = 0; i < rep->extent_count; i++)
		if (uuid_eq(&rep->extents[i].seg->id, segment))
			return rep->extents[i].seg;
	return uuid_is_zero(segment) ? rep->extents[0].seg : NULL;
}

/* Known to readers, and with bytes on the segment they complain of. */
static struct replica *find_bad(struct object *obj,
				const struct bad_replica *what,
				struct segment **seg)
{
	struct replica *rep = obj_replica(obj, what->index);

	if (!rep || rep->state != REPLICA_COMPLETE)
		return NULL;
	*seg = culprit(rep, &what->segment);
	return *seg ? rep : NULL;
}

static void count_bad(struct core *core, struct segment *seg,
		      const struct bad_replica *what)
{
	if (what->is_media_error) {
		core->stats.media_errors++;
		seg->errors[SEG_ERROR_MEDIA]++;
	} else {
		core->stats.checksum_mismatches++;
		seg->errors[SEG_ERROR_CHECKSUM]++;
	}
}

/* Nobody could read the object without it. */
static bool is_last(const struct replica *rep)
{
	const struct replica *other;

	obj_for_each_replica (other, rep->obj)
		if (other != rep && replica_is_readable(other))
			return false;
	return true;
}

static struct object *find_known(struct core *core, struct str key,
				 uint64_t generation)
{
	struct object *obj = obj_find(core, key);

	return obj && obj->generation == generation && obj->is_complete ? obj
									: NULL;
}

struct replica *get_bad_replica(struct core *core, struct str key,
				const struct bad_replica *what)
{
	struct object *obj = find_known(core, key, what->generation);
	struct segment *seg;

	return obj ? find_bad(obj, what, &seg) : NULL;
}

int get_report_bad(struct core *core, struct str key,
		   const struct bad_replica *what)
{
	struct object *obj = find_known(core, key, what->generation);
	struct segment *seg;
	struct replica *rep;

	if (!obj)
		return MOONCAKE_OBJECT_NOT_FOUND;
	rep = find_bad(obj, what, &seg);
	if (!rep)
		return MOONCAKE_REPLICA_NOT_FOUND;
	if (what->is_media_error) {
		if (seg->failures || seg->state != SEG_ONLINE)
			return MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS;
		/* Memory is asked by nobody, and a cache at best. */
		if (!what->is_confirmed && rep->kind == KIND_NOF &&
		    is_last(rep))
			return GET_DOUBTED;
	}
	count_bad(core, seg, what);
	log_warn(what->is_media_error ? "replica dropped: media error"
				      : "replica dropped: checksum mismatch",
		 "segment=\"%s\" offset=%llu bytes=%llu generation=%llu",
		 seg->name, (unsigned long long)rep->extents[0].off,
		 (unsigned long long)obj->size,
		 (unsigned long long)what->generation);
	if (!obj_lose_replica(core, rep))
		copy_is_due(core);
	return MOONCAKE_OK;
}
