/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What objects should have and what they have, on the metadata shard.
 * Invariant: a replica that leaves is dropped only while there are as many
 * others as the object should have.
 */
#include "master/census.h"

#include "master/evict.h"
#include "master/note.h"
#include "master/object.h"

static bool is_lost(const struct core *core, const struct segment *seg)
{
	return core->opts.lost_ns && seg->state == SEG_OFFLINE &&
	       seg->offline_ns + core->opts.lost_ns <= core->now_ns;
}

bool replica_is_leaving(const struct core *core, const struct replica *rep)
{
	for (unsigned i = 0; i < rep->extent_count; i++) {
		const struct segment *seg = rep->extents[i].seg;

		if (seg->is_draining || is_lost(core, seg))
			return true;
	}
	return false;
}

struct census census_of(const struct core *core, const struct object *obj,
			enum kind kind)
{
	const struct replica *rep;
	struct census n = {0};

	obj_for_each_replica (rep, obj) {
		n.is_copied |= rep->state == REPLICA_PROCESSING;
		n.is_readable |= replica_is_readable(rep);
		if (rep->kind != kind || rep->state != REPLICA_COMPLETE ||
		    replica_is_leaving(core, rep))
			continue;
		n.good += replica_is_readable(rep);
		n.away += !replica_is_readable(rep);
	}
	return n;
}

static void note_moved(const struct replica *rep)
{
	for (unsigned i = 0; i < rep->extent_count; i++) {
		struct segment *seg = rep->extents[i].seg;

		if (!seg->is_draining || !replica_begins_there(rep, i))
			continue;
		seg->moved++;
		seg->moved_bytes += rep->obj->size;
	}
}

bool census_is_short(const struct core *core, const struct object *obj)
{
	bool is_short = false;

	for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
		struct census n = census_of(core, obj, kind);

		is_short |= census_wants(obj, kind) &&
			    n.good + n.away < obj->wanted[kind];
	}
	return is_short;
}

void census_trim(struct core *core, struct object *obj, enum kind kind)
{
	struct replica *rep, *next;
	struct census n = census_of(core, obj, kind);

	if (!n.good || n.good < obj->wanted[kind])
		return;
	for (rep = obj->replicas; rep; rep = next) {
		next = rep->next;
		if (rep->kind != kind || rep->state != REPLICA_COMPLETE ||
		    !replica_is_leaving(core, rep))
			continue;
		note_moved(rep);
		note_replica_gone(core, rep);
		obj_drop_replica(core, rep);
	}
	ASSERT(obj->replicas);
}

bool census_wants(const struct object *obj, enum kind kind)
{
	return obj->wanted[kind] > (kind == KIND_MEM);
}

bool census_has_room(const struct core *core, enum kind kind, uint64_t size)
{
	uint64_t live, capacity;

	evict_usage(core, kind, &live, &capacity);
	return (double)(live + size) <=
	       core->opts.high_watermark[kind] * (double)capacity;
}
