/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master's books, read from outside between two of its turns.  Invariants
 * checked: what the allocator calls used is one live extent or one resting
 * extent, and nothing else; the extents of a replica are all of its object.
 */
#include <stdlib.h>

#include "master/object.h"
#include "master/quarantine.h"
#include "master/segment.h"
#include "world.h"

struct owned {
	uint64_t off, len;
};

static int by_off(const void *a, const void *b)
{
	const struct owned *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

static size_t count_owned(const struct core *core, const struct segment *seg,
			  struct owned *out)
{
	const struct extent *e;
	size_t n = 0;

	list_for_each (e, &seg->extents, seg_node) {
		if (out)
			out[n] = (struct owned){e->off, extent_range(e).len};
		n++;
	}
	for (size_t i = 0; i < core->quarantine.count; i++) {
		const struct resting *r = &core->quarantine.heap[i];

		if (r->seg != seg)
			continue;
		if (out)
			out[n] = (struct owned){r->ext.off, r->ext.len};
		n++;
	}
	return n;
}

static void audit_segment(const struct core *core, const struct segment *seg)
{
	size_t n = count_owned(core, seg, NULL);
	struct owned *o = calloc(n + 1, sizeof(*o));
	uint64_t sum = 0;

	CHECK(o);
	count_owned(core, seg, o);
	qsort(o, n, sizeof(*o), by_off);
	for (size_t i = 0; i < n; i++) {
		sum += o[i].len;
		if (o[i].off < seg->base ||
		    o[i].off + o[i].len > seg->base + seg->size)
			fail("%s: an extent at %llu is outside", seg->name,
			     (unsigned long long)o[i].off);
		if (i && o[i - 1].off + o[i - 1].len > o[i].off)
			fail("%s: the extent at %llu has two owners", seg->name,
			     (unsigned long long)o[i].off);
	}
	if (sum != ext_used(seg->space))
		fail("%s: %llu bytes are used, but %llu have an owner",
		     seg->name, (unsigned long long)ext_used(seg->space),
		     (unsigned long long)sum);
	free(o);
}

static void audit_object(const struct object *obj)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj) {
		uint64_t sum = 0;

		for (unsigned i = 0; i < rep->extent_count; i++)
			sum += rep->extents[i].bytes;
		if (sum != obj->size)
			fail(STR_FMT ": %llu bytes, and replica %u has %llu",
			     STR_ARG(obj_key(obj)),
			     (unsigned long long)obj->size, rep->index,
			     (unsigned long long)sum);
		w.striped += rep->extent_count > 1;
	}
}

/* What makes room in the pool, of the life that was looked at last. */
static struct {
	const struct core *core;
	uint64_t count;
} evicted;

static void count_evicted(const struct core *core)
{
	uint64_t count = core->stats.evicted_keys_nof, more;

	if (evicted.core != core)
		evicted.count = 0;
	evicted.core = core;
	more = count - evicted.count;
	evicted.count = count;
	if (more)
		history_evicted(more);
}

void audit_counts(const struct core *core)
{
	count_evicted(core);
	if (core->stats.checksum_mismatches && !may_be_damaged())
		fail("%llu replicas that the master has were not what was "
		     "written, though no disk lies",
		     (unsigned long long)core->stats.checksum_mismatches);
}

void audit_master(void)
{
	const struct core *core = master_core();
	const struct segment *seg;
	const struct object *obj;

	if (!core)
		return;
	audit_counts(core);
	list_for_each (obj, &core->all, all_node)
		audit_object(obj);
	list_for_each (seg, &core->segments, node)
		audit_segment(core, seg);
	list_for_each (seg, &core->dying, node)
		audit_segment(core, seg);
}

/* --- a master that started again --- */

static bool is_in_pool(const struct replica *rep)
{
	for (unsigned i = 0; i < rep->extent_count; i++)
		if (rep->extents[i].seg->state == SEG_UNMOUNTING)
			return false;
	return rep->kind == KIND_NOF && rep->state == REPLICA_COMPLETE;
}

static unsigned count_pool(const struct object *obj)
{
	const struct replica *rep;
	unsigned n = 0;

	obj_for_each_replica (rep, obj)
		n += is_in_pool(rep);
	return n;
}

static bool lies_as(const struct replica *rep, const struct replica *was)
{
	if (!rep || rep->extent_count != was->extent_count)
		return false;
	for (unsigned i = 0; i < was->extent_count; i++) {
		const struct extent *a = &rep->extents[i];
		const struct extent *b = &was->extents[i];

		if (a->seg->no != b->seg->no || a->off != b->off ||
		    a->bytes != b->bytes)
			return false;
	}
	return true;
}

static void same_object(struct core *now, const struct object *was)
{
	struct object *obj = obj_find(now, obj_key(was));
	unsigned n = count_pool(was);
	const struct replica *rep;

	if (!was->is_complete || !n)
		return;
	if (!obj || !obj->is_complete || obj->generation != was->generation ||
	    count_pool(obj) != n)
		fail(STR_FMT ": had %u replicas in the pool before the master "
			     "started again, and has %u",
		     STR_ARG(obj_key(was)), n, obj ? count_pool(obj) : 0);
	obj_for_each_replica (rep, was)
		if (is_in_pool(rep) &&
		    !lies_as(obj_replica(obj, rep->index), rep))
			fail(STR_FMT ": replica %u does not lie where it lay "
				     "before the master started again",
			     STR_ARG(obj_key(was)), rep->index);
}

/* Nothing of it is free. */
static void is_taken(const struct core *now, const struct segment *was_on,
		     const struct ext *ext)
{
	uint64_t at = ext->off, end = ext->off + ext->len;
	const struct segment *seg;
	struct owned *o = NULL;
	size_t n = 0;

	list_for_each (seg, &now->segments, node)
		if (seg->no == was_on->no && !o) {
			n = count_owned(now, seg, NULL);
			o = calloc(n + 1, sizeof(*o));
			CHECK(o);
			count_owned(now, seg, o);
			qsort(o, n, sizeof(*o), by_off);
		}
	for (size_t i = 0; i < n; i++)
		if (o[i].off <= at)
			at = MAX(at, o[i].off + o[i].len);
	if (o && at < end)
		fail("%s: %llu+%llu may be in use by those whom the master "
		     "served before it started again, and is free",
		     was_on->name, (unsigned long long)ext->off,
		     (unsigned long long)ext->len);
	free(o);
}

void audit_recovered(struct core *now, const struct core *before)
{
	const struct writing *writing;
	const struct object *obj;
	const struct replica *rep;

	w.recoveries++;
	list_for_each (obj, &before->all, all_node)
		same_object(now, obj);
	list_for_each (obj, &now->all, all_node)
		if (!obj_find((struct core *)(uintptr_t)before, obj_key(obj)))
			fail(STR_FMT ": is back since the master started again",
			     STR_ARG(obj_key(obj)));
	for (size_t i = 0; i < before->quarantine.count; i++) {
		const struct resting *r = &before->quarantine.heap[i];

		if (r->release_ns > now->now_ns)
			is_taken(now, r->seg, &r->ext);
	}
	list_for_each (writing, &before->unfinished, node)
		obj_for_each_replica (rep, writing->obj)
			for (unsigned i = 0; i < rep->extent_count; i++) {
				struct ext ext = extent_range(&rep->extents[i]);

				is_taken(now, rep->extents[i].seg, &ext);
			}
}

static const struct object *find_key(struct core *core, unsigned key)
{
	const struct object *obj;
	char name[16];

	snprintf(name, sizeof(name), "key%u", key);
	obj = obj_find(core, str_of(name));
	return obj && obj->is_complete && count_pool(obj) ? obj : NULL;
}

uint64_t audit_generation(unsigned key, uint64_t size)
{
	struct core *core = master_core();
	const struct object *obj = core ? find_key(core, key) : NULL;

	return obj && (!size || obj->size == size) ? obj->generation : 0;
}

bool audit_key(unsigned key)
{
	struct core *core = master_core();

	if (!core)
		return false;
	audit_counts(core);
	if (!must_be_held(key))
		return false;
	if (!find_key(core, key))
		fail("key%u: its put was acknowledged at %llu, and the master "
		     "does not have it",
		     key, (unsigned long long)w.keys[key].held_ns);
	return true;
}

void audit_held(void)
{
	for (unsigned key = 0; key < KEYS; key++)
		audit_key(key);
}

/* --- the end --- */

void audit_empty(void)
{
	struct core *core = master_core();
	const struct segment *seg;

	CHECK(core);
	w.copies = core->stats.copies;
	w.checks = core->stats.checks;
	/* Nobody takes anything: what has rested is free when asked for. */
	core_enter(core, now_ns());
	quarantine_release(core);
	list_for_each (seg, &core->segments, node)
		if (ext_used(seg->space))
			fail("%s: %llu bytes are used, though all is removed",
			     seg->name,
			     (unsigned long long)ext_used(seg->space));
	CHECK(core->quarantine.count == 0);
	CHECK(list_is_empty(&core->dying));
}

bool audit_is_held(unsigned key)
{
	char name[16];
	struct core *core = master_core();
	struct object *obj;
	struct replica *rep;

	if (!core)
		return false;
	snprintf(name, sizeof(name), "key%u", key);
	obj = obj_find(core, str_of(name));
	if (!obj || !obj->is_complete || !obj_is_readable(obj))
		return false;
	obj_for_each_replica (rep, obj)
		for (unsigned i = 0; i < rep->extent_count; i++)
			note("master: key=%u replica %u: %llu+%llu of %s, %s",
			     key, rep->index,
			     (unsigned long long)rep->extents[i].off,
			     (unsigned long long)rep->extents[i].bytes,
			     rep->extents[i].seg->name,
			     segment_state_name(rep->extents[i].seg));
	return true;
}
