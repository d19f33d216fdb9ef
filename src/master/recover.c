/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay of a journal, on the metadata shard before it serves.
 *
 * Extents are taken from their segments only at the end: a snapshot that was
 * written while the world went on may hold two objects that never had the same
 * space at the same time.  Invariant: until recovery_finish() no extent of any
 * replica is taken, and nothing rests.
 */
#include "master/recover.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "journal/record.h"
#include "master/client.h"
#include "master/copy.h"
#include "master/group.h"
#include "master/object.h"
#include "master/quarantine.h"
#include "master/rests.h"
#include "master/seg_table.h"
#include "master/segment.h"

struct recovery {
	struct core *core;
	struct seg_table segments;
	uint64_t generation; /* greatest one seen */
	struct jr_scrub scrub;
	struct rests rests;
	struct jr_object object; /* scratch */
};

static int corrupt(const struct jr_frame *frame, const char *what,
		   struct err *err)
{
	return err_set(err, -EBADMSG, "record %llu (%s) cannot be applied: %s",
		       (unsigned long long)frame->sequence,
		       jr_type_name(frame->type), what);
}

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory for the journal's objects");
}

/* --- segments --- */

/* NULL when it was unmounted since. */
static struct segment *find_segment(struct recovery *rec, uint32_t no)
{
	struct seg_entry *entry = seg_table_find(&rec->segments, no);

	return entry ? entry->seg : NULL;
}

static int add_segment(struct recovery *rec, const struct jr_segment *r,
		       struct err *err)
{
	char *texts[JR_PATHS_MAX + 3] = {0};
	struct segment_desc desc = {
		.id = r->id,
		.kind = (enum kind)r->kind,
		.endpoint_count = r->path_count,
		.endpoints = texts,
		.base = r->base,
		.size = r->size,
		.ns_bytes = r->ns_bytes,
		.block_bytes = r->block_bytes,
		.epoch = r->epoch,
		.client = r->client,
		.no = r->no,
	};
	const struct str words[] = {r->name, r->host_id, r->identity};
	struct segment *seg;
	int ret = 0;

	for (unsigned i = 0; i < r->path_count + 3; i++) {
		texts[i] =
			str_dup(i < r->path_count ? r->paths[i]
						  : words[i - r->path_count]);
		if (!texts[i])
			ret = no_memory(err);
	}
	desc.name = texts[r->path_count];
	desc.host_id = texts[r->path_count + 1];
	desc.identity = texts[r->path_count + 2];
	if (ret == 0)
		ret = segment_add(rec->core, &desc, &seg, err);
	if (ret == 0) {
		segment_set_state(rec->core, seg, SEG_OFFLINE,
				  "of the master's former life; not seen yet");
		seg->is_awaited = true;
		segment_set_draining(rec->core, seg, r->is_draining);
		ret = seg_table_add(&rec->segments, r->no, seg);
	}
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
	return ret;
}

static int update_segment(struct recovery *rec, struct segment *seg,
			  const struct jr_segment *r)
{
	int ret = 0;

	seg->epoch = MAX(seg->epoch, r->epoch);
	segment_set_draining(rec->core, seg, r->is_draining);
	for (unsigned i = 0; i < r->path_count && ret == 0; i++) {
		char *text = str_dup(r->paths[i]);

		if (!text)
			return -ENOMEM;
		if (!segment_has_path(seg, text))
			ret = segment_add_path(rec->core, seg, text);
		free(text);
	}
	return ret;
}

static int apply_segment(struct recovery *rec, const struct jr_frame *frame,
			 struct str body, struct err *err)
{
	struct segment *seg;
	struct err why = {0};
	struct jr_segment r;
	int ret;

	if (!jr_segment_decode(body, &r) || r.no == 0)
		return corrupt(frame, "its fields make no sense", err);
	rec->core->segment_no = MAX(rec->core->segment_no, r.no);
	seg = find_segment(rec, r.no);
	if (seg) {
		ret = update_segment(rec, seg, &r);
		if (ret < 0)
			err_set(&why, ret, "it does not fit the segment");
	} else if (seg_table_find(&rec->segments, r.no)) {
		return 0; /* gone before the snapshot's state was */
	} else {
		ret = add_segment(rec, &r, &why);
	}
	if (ret == -ENOMEM)
		return no_memory(err);
	return ret < 0 ? corrupt(frame, why.text, err) : 0;
}

/* --- objects --- */

/* It goes; somebody may still read it. */
static int let_go(struct recovery *rec, struct object *obj)
{
	const struct replica *rep;
	int ret = 0;

	obj_for_each_replica (rep, obj)
		if (ret == 0)
			ret = rests_add_replica(&rec->rests, rec->core, rep);
	obj_destroy(rec->core, obj);
	return ret;
}

static int add_replica(struct recovery *rec, struct object *obj,
		       const struct jr_replica *r)
{
	struct extent extents[EXTENTS_MAX];
	struct replica *rep;

	for (unsigned i = 0; i < r->extent_count; i++) {
		struct segment *seg = find_segment(rec, r->extents[i].segment);

		if (!seg)
			return 0;
		extents[i] = (struct extent){
			.seg = seg,
			.off = r->extents[i].off,
			.bytes = r->extents[i].bytes,
		};
		if (extent_range(&extents[i]).len != r->extents[i].len)
			return -EBADMSG;
	}
	if (quarantine_reserve(rec->core, r->extent_count) < 0)
		return -ENOMEM;
	rep = obj_add_replica(rec->core, obj, (enum kind)r->kind, extents,
			      r->extent_count);
	if (!rep)
		return -ENOMEM;
	rep->index = r->index;
	return 0;
}

static void set_wanted(struct object *obj, const uint8_t wanted[2])
{
	obj->wanted[KIND_MEM] = wanted[0];
	obj->wanted[KIND_NOF] = wanted[1];
}

/* What has the key goes; the very same object is only said again, and stays
 * where it stood among all (*behind): checks go by that order. */
static int make_place(struct recovery *rec, const struct jr_object *r,
		      struct list **behind)
{
	struct object *old = obj_find(rec->core, r->key);

	if (!old)
		return 0;
	if (old->generation != r->generation)
		return let_go(rec, old);
	*behind = old->all_node.prev;
	obj_destroy(rec->core, old);
	return 0;
}

static int add_object(struct recovery *rec, const struct jr_object *r)
{
	struct core *core = rec->core;
	struct list *behind = NULL;
	struct object *obj;
	uint64_t pin_ms;
	int ret = make_place(rec, r, &behind);

	if (ret < 0)
		return ret;
	obj = obj_create(core, r->key, NULL, r->size);
	if (!obj)
		return -ENOMEM;
	if (behind) {
		list_del(&obj->all_node);
		list_add_head(behind, &obj->all_node);
	}
	obj->generation = r->generation;
	obj->data_type = (uint8_t)r->data_type;
	obj->is_hard_pinned = r->is_hard_pinned;
	pin_ms = MIN(r->soft_pin_ms, core->opts.soft_pin_max_ns / NS_PER_MS);
	if (pin_ms)
		obj->soft_pin_ns = core->now_ns + pin_ms * NS_PER_MS;
	for (unsigned i = 0; i < r->replica_count && ret == 0; i++)
		ret = add_replica(rec, obj, &r->replicas[i]);
	if (ret == 0 && !obj->replicas) {
		obj_destroy(core, obj); /* its segments are gone */
		return 0;
	}
	if (r->late_ms)
		obj_is_resent(core, obj, rests_ns(r->late_ms));
	/* Some reader of the former life may have a lease. */
	obj->was_leased = true;
	if (ret < 0) {
		obj_destroy(core, obj);
		return ret;
	}
	obj_complete(core, obj, (const uint8_t *)r->crcs.p);
	set_wanted(obj, r->wanted);
	return 0;
}

static bool is_sound(const struct jr_object *r)
{
	return r->key.n > 0 && r->size > 0 && r->size <= OBJECT_BYTES_MAX &&
	       r->replica_count > 0 && r->generation > 0 &&
	       r->data_type <= DATA_TYPE_MAX && jr_object_is_filled(r) &&
	       r->crcs.n == (size_t)obj_crc_count(r->size) * sizeof(uint32_t);
}

static int apply_object(struct recovery *rec, const struct jr_frame *frame,
			struct str body, struct err *err)
{
	struct jr_object *r = &rec->object;
	int ret;

	if (!jr_object_decode(body, r) || !is_sound(r))
		return corrupt(frame, "its fields make no sense", err);
	rec->generation = MAX(rec->generation, r->generation);
	ret = add_object(rec, r);
	if (ret == -EBADMSG)
		return corrupt(frame, "its extents do not fit", err);
	return ret < 0 ? no_memory(err) : 0;
}

static int apply_grant(struct recovery *rec, const struct jr_frame *frame,
		       struct str body, struct err *err)
{
	struct jr_object *r = &rec->object;
	int ret = 0;

	if (!jr_object_decode(body, r))
		return corrupt(frame, "its fields make no sense", err);
	rec->generation = MAX(rec->generation, r->generation);
	for (unsigned i = 0; i < r->replica_count; i++)
		for (unsigned k = 0;
		     k < r->replicas[i].extent_count && ret == 0; k++)
			ret = rests_add(&rec->rests, &r->replicas[i].extents[k],
					r->soft_pin_ms);
	return ret < 0 ? no_memory(err) : 0;
}

/* The object, when it is that one. */
static struct object *find_gone(struct recovery *rec, const struct jr_gone *r)
{
	struct object *obj = obj_find(rec->core, r->key);

	return obj && obj->generation == r->generation ? obj : NULL;
}

static int apply_object_gone(struct recovery *rec, const struct jr_frame *frame,
			     struct str body, struct err *err)
{
	struct object *obj;
	struct jr_gone r;

	if (!jr_gone_decode(body, &r))
		return corrupt(frame, "its fields make no sense", err);
	obj = find_gone(rec, &r);
	return obj && let_go(rec, obj) < 0 ? no_memory(err) : 0;
}

static int apply_replica_gone(struct recovery *rec,
			      const struct jr_frame *frame, struct str body,
			      struct err *err)
{
	struct replica *rep = NULL;
	struct object *obj;
	struct jr_gone r;

	if (!jr_gone_decode(body, &r))
		return corrupt(frame, "its fields make no sense", err);
	obj = find_gone(rec, &r);
	if (obj)
		rep = obj_replica(obj, r.index);
	if (!rep)
		return 0;
	if (rests_add_replica(&rec->rests, rec->core, rep) < 0)
		return no_memory(err);
	set_wanted(obj, r.wanted);
	obj_lose_replica(rec->core, rep);
	return 0;
}

static bool lies_elsewhere(const struct replica *rep, const struct segment *seg)
{
	for (unsigned i = 0; i < rep->extent_count; i++)
		if (rep->extents[i].seg != seg)
			return true;
	return false;
}

/* Somebody may still be at what its replicas have elsewhere. */
static int empty_segment(struct recovery *rec, struct segment *seg)
{
	struct extent *ext;
	int ret = 0;

	list_for_each (ext, &seg->extents, seg_node) {
		const struct replica *rep = extent_replica(ext);

		if (ret == 0 && replica_begins_there(rep, ext->at) &&
		    lies_elsewhere(rep, seg))
			ret = rests_add_replica(&rec->rests, rec->core, rep);
	}
	segment_start_unmount(rec->core, seg);
	while (segments_reap(rec->core, UINT32_MAX))
		;
	return ret;
}

static int apply_segment_gone(struct recovery *rec,
			      const struct jr_frame *frame, struct str body,
			      struct err *err)
{
	struct jr_segment_gone r;
	struct seg_entry *ref;

	if (!jr_segment_gone_decode(body, &r))
		return corrupt(frame, "its fields make no sense", err);
	/* Its writers may still be about: it must not come back at once. */
	segment_bury(
		rec->core, &r.id, r.identity,
		rec->core->now_ns + rec->core->opts.margin_ns +
			MAX(rec->core->opts.write_ns, rests_ns(r.writers_ms)));
	if (r.no == 0)
		return 0;
	ref = seg_table_find(&rec->segments, r.no);
	if (!ref)
		return seg_table_add(&rec->segments, r.no, NULL) < 0
			       ? no_memory(err)
			       : 0;
	if (ref->seg && empty_segment(rec, TAKE(ref->seg)) < 0)
		return no_memory(err);
	return 0;
}

static int apply_group(struct recovery *rec, const struct jr_frame *frame,
		       struct str body, struct err *err)
{
	struct object *obj;
	struct jr_group r;

	if (!jr_group_decode(body, &r))
		return corrupt(frame, "its fields make no sense", err);
	obj = obj_find(rec->core, r.key);
	if (!obj || obj->generation != r.generation || obj->is_grouped)
		return 0;
	return group_join(rec->core, obj, r.group) < 0 ? no_memory(err) : 0;
}

static int apply_marks(struct recovery *rec, const struct jr_frame *frame,
		       struct str body, struct err *err)
{
	struct core *core = rec->core;
	struct jr_marks r;

	if (!jr_marks_decode(body, &r))
		return corrupt(frame, "its fields make no sense", err);
	rec->generation = MAX(rec->generation, r.generation);
	core->segment_no = MAX(core->segment_no, r.segment_no);
	return 0;
}

static int apply_scrub(struct recovery *rec, const struct jr_frame *frame,
		       struct str body, struct err *err)
{
	if (!jr_scrub_decode(body, &rec->scrub))
		return corrupt(frame, "its fields make no sense", err);
	return 0;
}

int recovery_apply(const struct jr_frame *frame, void *arg, struct err *err)
{
	static int (*const apply[])(struct recovery * rec,
				    const struct jr_frame *frame,
				    struct str body, struct err *err) = {
		[JR_SEGMENT] = apply_segment,
		[JR_SEGMENT_GONE] = apply_segment_gone,
		[JR_GRANT] = apply_grant,
		[JR_OBJECT] = apply_object,
		[JR_REPLICA_GONE] = apply_replica_gone,
		[JR_OBJECT_GONE] = apply_object_gone,
		[JR_MARKS] = apply_marks,
		[JR_GROUP] = apply_group,
		[JR_SCRUB] = apply_scrub,
	};
	struct str body = {(const char *)frame->body, frame->len};

	if (frame->type >= ARRAY_SIZE(apply) || !apply[frame->type])
		return err_set(err, -EPROTONOSUPPORT,
			       "record %llu has type %u, which this program "
			       "does not know: use the newer one that wrote it",
			       (unsigned long long)frame->sequence,
			       frame->type);
	return apply[frame->type](arg, frame, body, err);
}

/* --- the end --- */

/* Every extent has one owner from here on. */
static int take_all(struct recovery *rec, uint64_t *lost)
{
	struct object *obj, *next_obj;
	struct replica *rep, *next;

	list_for_each_safe (obj, next_obj, &rec->core->all, all_node) {
		bool is_gone = false;

		for (rep = obj->replicas; rep; rep = next) {
			int ret = is_gone ? 0 : replica_take_extents(rep);

			next = rep->next;
			if (ret == -ENOMEM)
				return ret;
			if (ret == 0)
				continue;
			++*lost;
			is_gone = obj_lose_replica(rec->core, rep);
			if (is_gone)
				break;
		}
	}
	return 0;
}

static int wake_segments(struct core *core)
{
	struct segment *seg;

	list_for_each (seg, &core->segments, node) {
		seg->leased_until_ns = core->now_ns + core->opts.lease_ns;
		seg->known_epoch = seg->epoch;
		if (seg->kind == KIND_NOF)
			seg->epoch += core->epoch_step;
		else if (!client_seen(core, &seg->client))
			return -ENOMEM;
	}
	return 0;
}

int recovery_finish(struct recovery *rec, struct err *err)
{
	struct core *core = rec->core;
	uint64_t lost = 0;
	int ret = take_all(rec, &lost);

	core->is_replaying = false;
	if (ret == 0)
		ret = rests_begin(&rec->rests, core, &rec->segments);
	if (lost)
		log_err("replicas dropped: the journal gives their space to "
			"others, too",
			"replicas=%llu", (unsigned long long)lost);
	core->generation = MAX(core->generation, rec->generation);
	copy_recovered(core, &rec->scrub);
	if (ret == 0)
		ret = wake_segments(core);
	recovery_destroy(rec);
	return ret < 0 ? no_memory(err) : 0;
}

int recovery_create(struct core *core, struct recovery **out)
{
	struct recovery *rec = calloc(1, sizeof(*rec));

	ASSERT(list_is_empty(&core->all) && !core->notes);
	if (!rec)
		return -ENOMEM;
	rec->core = core;
	if (seg_table_init(&rec->segments) < 0) {
		free(rec);
		return -ENOMEM;
	}
	core->is_replaying = true;
	*out = rec;
	return 0;
}

void recovery_destroy(struct recovery *rec)
{
	if (!rec)
		return;
	seg_table_fini(&rec->segments);
	rests_fini(&rec->rests);
	free(rec);
}
