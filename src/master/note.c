/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata as records, on the metadata shard.  Invariant: a record holds all
 * of what it names as it is when it is written, so that replaying records
 * twice, or over a snapshot that has seen them, changes nothing.
 */
#include "master/note.h"

#include <errno.h>
#include <stdlib.h>

#include "master/copy.h"
#include "master/group.h"
#include "master/object.h"
#include "master/segment.h"

/* Numbers that one mark takes; a restart skips what is left of them. */
#define GENERATIONS_AHEAD ((uint64_t)1 << 24)
#define SEGMENTS_AHEAD	  1024u

static_assert(JR_PATHS_MAX == SEGMENT_PATHS, "paths");
static_assert(JR_REPLICAS_MAX == REPLICAS_MAX, "replicas");
static_assert(JR_EXTENTS_MAX == EXTENTS_MAX, "extents");
/* What is recorded can be read again. */
static_assert(JR_KEY_MAX == KEY_LEN_MAX, "keys and groups");
static_assert(JR_CRCS_MAX == OBJECT_BYTES_MAX / CRC_BLOCK * sizeof(uint32_t),
	      "checksums");
static_assert(JR_TEXT_MAX >= SEGMENT_TEXT_MAX, "name and host of a segment");
static_assert(JR_TEXT_MAX >= ENDPOINT_TEXT_LEN, "path of a segment");

int notes_init(struct core *core, struct journal *journal)
{
	struct notes *notes = calloc(1, sizeof(*notes));

	if (!notes)
		return -ENOMEM;
	notes->journal = journal;
	/* What a former life has used, also if this one uses none. */
	notes->generations_marked = core->generation;
	notes->segments_marked = core->segment_no;
	core->notes = notes;
	return 0;
}

void notes_fini(struct core *core)
{
	struct notes *notes = TAKE(core->notes);

	if (!notes)
		return;
	strbuf_fini(&notes->body);
	free(notes);
}

/* --- to whom --- */

static struct strbuf *begin(struct notes *notes)
{
	strbuf_reset(&notes->body);
	return &notes->body;
}

static void append(struct notes *notes, enum jr_type type)
{
	struct journal *j = notes->journal;

	if (!j->has_news && notes->has_news)
		notes->has_news(notes->arg);
	j->ops->append(j, type, &notes->body);
}

static void save(struct notes *notes, enum jr_type type)
{
	struct journal *j = notes->journal;

	j->ops->snap_add(j, type, &notes->body);
}

/* --- what --- */

static void encode_segment(struct notes *notes, const struct segment *seg)
{
	struct jr_segment r = {
		.no = seg->no,
		.id = seg->id,
		.kind = seg->kind,
		.is_draining = seg->is_draining,
		.base = seg->base,
		.size = seg->size,
		.ns_bytes = seg->ns_bytes,
		.block_bytes = seg->block_bytes,
		.epoch = seg->epoch,
		.client = seg->client,
		.identity = str_of(seg->identity),
		.name = str_of(seg->name),
		.host_id = str_of(seg->host_id),
		.path_count = seg->endpoint_count,
	};

	for (unsigned i = 0; i < seg->endpoint_count; i++)
		r.paths[i] = str_of(seg->endpoints[i]);
	jr_segment_encode(&r, begin(notes));
}

static void encode_marks(struct notes *notes)
{
	jr_marks_encode(
		&(struct jr_marks){
			.generation = notes->generations_marked,
			.segment_no = notes->segments_marked,
		},
		begin(notes));
}

/* Before a number is used. */
static void mark(struct core *core, struct notes *notes)
{
	if (core->generation <= notes->generations_marked &&
	    core->segment_no <= notes->segments_marked)
		return;
	notes->generations_marked = core->generation + GENERATIONS_AHEAD;
	notes->segments_marked = core->segment_no + SEGMENTS_AHEAD;
	encode_marks(notes);
	append(notes, JR_MARKS);
}

void note_marks(struct core *core)
{
	encode_marks(core->notes);
	append(core->notes, JR_MARKS);
}

uint64_t note_number(struct core *core)
{
	core->generation++;
	if (core->notes)
		mark(core, core->notes);
	return core->generation;
}

static struct jr_extent extent_record(const struct segment *seg, struct ext ext,
				      uint64_t bytes)
{
	return (struct jr_extent){
		.segment = seg->no,
		.off = ext.off,
		.len = ext.len,
		.bytes = bytes,
	};
}

/* With its segment, which is on its way out and said so. */
static bool is_going(const struct replica *rep)
{
	for (unsigned i = 0; i < rep->extent_count; i++)
		if (rep->extents[i].seg->state == SEG_UNMOUNTING)
			return true;
	return false;
}

/* Those that a writer is at, or those that have their bytes. */
static void fill_replicas(struct jr_object *r, const struct object *obj,
			  enum replica_state state)
{
	const struct replica *rep;

	r->replica_count = 0;
	obj_for_each_replica (rep, obj) {
		struct jr_replica *to = &r->replicas[r->replica_count];

		if (rep->state != state || is_going(rep))
			continue;
		r->replica_count++;
		to->kind = rep->kind;
		to->index = rep->index;
		to->extent_count = rep->extent_count;
		for (unsigned i = 0; i < rep->extent_count; i++) {
			const struct extent *ext = &rep->extents[i];

			to->extents[i] = extent_record(
				ext->seg, extent_range(ext), ext->bytes);
		}
	}
}

/* All but the replicas, which are large. */
static void clear(struct jr_object *r)
{
	memset(r, 0, offsetof(struct jr_object, replica_count));
	r->late_ms = 0;
	r->key = r->crcs = STR("");
}

/* Rounded up. */
static uint64_t ms_until(const struct core *core, uint64_t at_ns)
{
	return at_ns > core->now_ns ? (at_ns - core->now_ns) / NS_PER_MS + 1
				    : 0;
}

/* How long who writes until then may still be at it; the reader of the record
 * adds the margin. */
static uint64_t writer_ms(const struct core *core, uint64_t deadline_ns)
{
	return ms_until(core, writer_silent_ns(core, deadline_ns) -
				      core->opts.margin_ns);
}

/* false: there is nothing to be said of it. */
static bool encode_grant(const struct core *core, struct notes *notes,
			 const struct object *obj)
{
	struct jr_object *r = &notes->object;

	clear(r);
	if (!obj->writing)
		return false;
	r->generation = obj->generation;
	/* Who copies slowly has more time than who puts. */
	r->soft_pin_ms = writer_ms(core, obj->writing->deadline_ns);
	fill_replicas(r, obj, REPLICA_PROCESSING);
	jr_object_encode(r, begin(notes));
	return r->replica_count > 0;
}

/* What else those have that go with a segment: it rests when they do, but a
 * snapshot may be the last to tell of it.  false: nothing. */
static bool encode_going(const struct core *core, struct notes *notes,
			 const struct object *obj)
{
	struct jr_object *r = &notes->object;
	const struct replica *rep;

	clear(r);
	r->generation = obj->generation;
	r->replica_count = 0;
	if (obj->writing)
		r->soft_pin_ms = MAX(writer_ms(core, obj->writing->deadline_ns),
				     ms_until(core, obj_late_ns(obj)));
	obj_for_each_replica (rep, obj) {
		struct jr_replica *to = &r->replicas[r->replica_count];

		if (!is_going(rep))
			continue;
		to->kind = rep->kind;
		to->index = rep->index;
		to->extent_count = 0;
		for (unsigned i = 0; i < rep->extent_count; i++) {
			const struct extent *ext = &rep->extents[i];

			if (ext->seg->state == SEG_UNMOUNTING)
				continue;
			to->extents[to->extent_count++] = extent_record(
				ext->seg, extent_range(ext), ext->bytes);
		}
		r->replica_count += to->extent_count > 0;
	}
	if (!r->replica_count)
		return false;
	jr_object_encode(r, begin(notes));
	return true;
}

static bool encode_object(const struct core *core, struct notes *notes,
			  const struct object *obj)
{
	struct jr_object *r = &notes->object;
	uint64_t pin_ns = obj->soft_pin_ns;

	clear(r);
	r->generation = obj->generation;
	r->size = obj->size;
	r->data_type = obj->data_type;
	r->wanted[0] = obj->wanted[KIND_MEM];
	r->wanted[1] = obj->wanted[KIND_NOF];
	r->is_hard_pinned = obj->is_hard_pinned;
	r->soft_pin_ms =
		pin_ns > core->now_ns ? (pin_ns - core->now_ns) / NS_PER_MS : 0;
	r->key = obj_key(obj);
	/* Little-endian on disk, as in this machine. */
	r->crcs.p = (const char *)obj->crcs;
	r->crcs.n = (size_t)((obj->size + CRC_BLOCK - 1) / CRC_BLOCK) *
		    sizeof(uint32_t);
	r->late_ms = ms_until(core, obj_late_ns(obj));
	fill_replicas(r, obj, REPLICA_COMPLETE);
	jr_object_encode(r, begin(notes));
	return r->replica_count > 0;
}

/* false: it has none. */
static bool encode_group(struct core *core, struct notes *notes,
			 const struct object *obj)
{
	struct jr_group r = {
		.generation = obj->generation,
		.key = obj_key(obj),
		.group = group_id(core, obj),
	};

	if (!r.group.n)
		return false;
	jr_group_encode(&r, begin(notes));
	return true;
}

/* Space that nobody has, but somebody may be at. */
static void encode_resting(struct notes *notes, const struct resting *rest,
			   uint64_t left_ms)
{
	const struct segment *seg = rest->seg;
	struct ext ext = rest->ext;
	struct jr_object *r = &notes->object;

	clear(r);
	r->soft_pin_ms = left_ms;
	r->replica_count = 1;
	r->replicas[0] =
		(struct jr_replica){.kind = seg->kind, .extent_count = 1};
	r->replicas[0].extents[0] = extent_record(seg, ext, ext.len);
	jr_object_encode(r, begin(notes));
}

/* --- when it happens --- */

void note_segment(struct core *core, const struct segment *seg)
{
	struct notes *notes = core->notes;

	if (!notes)
		return;
	mark(core, notes);
	encode_segment(notes, seg);
	append(notes, JR_SEGMENT);
}

/* no: 0 when its replicas are not there any more. */
static void encode_segment_gone(const struct core *core, struct notes *notes,
				const struct segment *seg, uint32_t no)
{
	struct jr_segment_gone r = {
		.no = no,
		.id = seg->id,
		.identity = str_of(seg->identity),
		.writers_ms = writer_ms(core, seg->written_until_ns),
	};

	jr_segment_gone_encode(&r, begin(notes));
}

void note_segment_gone(struct core *core, const struct segment *seg)
{
	struct notes *notes = core->notes;

	if (!notes)
		return;
	encode_segment_gone(core, notes, seg, seg->no);
	append(notes, JR_SEGMENT_GONE);
}

void note_grant(struct core *core, const struct object *obj)
{
	struct notes *notes = core->notes;

	if (!notes)
		return;
	mark(core, notes);
	if (encode_grant(core, notes, obj))
		append(notes, JR_GRANT);
}

static void note_gone(struct notes *notes, enum jr_type type,
		      const struct object *obj, uint32_t index)
{
	struct jr_gone r = {
		.generation = obj->generation,
		.index = index,
		.wanted = {obj->wanted[KIND_MEM], obj->wanted[KIND_NOF]},
		.key = obj_key(obj),
	};

	jr_gone_encode(&r, begin(notes));
	append(notes, type);
}

void note_object_gone(struct core *core, const struct object *obj)
{
	if (core->notes)
		note_gone(core->notes, JR_OBJECT_GONE, obj, 0);
}

void note_object(struct core *core, const struct object *obj)
{
	struct notes *notes = core->notes;

	if (!notes)
		return;
	if (encode_object(core, notes, obj)) {
		append(notes, JR_OBJECT);
		if (encode_group(core, notes, obj))
			append(notes, JR_GROUP);
	} else if (obj->writing && obj->writing->former) {
		/* All it has is on its way out. */
		note_object_gone(core, obj->writing->former);
	}
}

void note_replica_gone(struct core *core, const struct replica *rep)
{
	if (core->notes && rep->state == REPLICA_COMPLETE)
		note_gone(core->notes, JR_REPLICA_GONE, rep->obj, rep->index);
}

void note_resting(struct core *core, const struct extent *ext,
		  uint64_t release_ns)
{
	struct notes *notes = core->notes;

	/* The log has the grant; only a snapshot may have missed both. */
	if (!notes || !notes->is_saving || ext->seg->state == SEG_UNMOUNTING)
		return;
	encode_resting(
		notes,
		&(struct resting){.seg = ext->seg, .ext = extent_range(ext)},
		ms_until(core, release_ns));
	append(notes, JR_GRANT);
}

/* false: nothing is known of it. */
static bool encode_scrub(const struct core *core, struct notes *notes)
{
	struct jr_scrub r;

	if (!copy_scrub(core, &r))
		return false;
	jr_scrub_encode(&r, begin(notes));
	return true;
}

void note_scrub(struct core *core)
{
	struct notes *notes = core->notes;

	if (notes && encode_scrub(core, notes))
		append(notes, JR_SCRUB);
}

/* --- all of it --- */

static void save_tombs(struct core *core, struct notes *notes)
{
	for (unsigned i = 0; i < TOMBS_MAX; i++) {
		const struct tomb *tomb = &core->tombs[i];

		if (tomb->until_ns <= core->now_ns)
			continue;
		jr_segment_gone_encode(
			&(struct jr_segment_gone){
				.id = tomb->segment,
				.identity = str_of(tomb->identity),
				.writers_ms = ms_until(core, tomb->until_ns),
			},
			begin(notes));
		save(notes, JR_SEGMENT_GONE);
	}
}

void save_rest(struct core *core)
{
	struct notes *notes = core->notes;
	const struct quarantine *q = &core->quarantine;
	const struct segment *seg;

	encode_marks(notes);
	save(notes, JR_MARKS);
	list_for_each (seg, &core->segments, node) {
		encode_segment(notes, seg);
		save(notes, JR_SEGMENT);
	}
	/* Those that are being emptied count as gone. */
	list_for_each (seg, &core->dying, node) {
		encode_segment_gone(core, notes, seg, 0);
		save(notes, JR_SEGMENT_GONE);
	}
	save_tombs(core, notes);
	if (encode_scrub(core, notes))
		save(notes, JR_SCRUB);
	for (size_t i = 0; i < q->count; i++) {
		const struct resting *r = &q->heap[i];

		if (r->seg->state == SEG_UNMOUNTING)
			continue;
		encode_resting(notes, r, ms_until(core, r->release_ns));
		save(notes, JR_GRANT);
	}
}

void save_object(struct core *core, const struct object *obj)
{
	struct notes *notes = core->notes;

	if (obj->is_complete && encode_object(core, notes, obj)) {
		save(notes, JR_OBJECT);
		if (encode_group(core, notes, obj))
			save(notes, JR_GROUP);
	}
	if (encode_grant(core, notes, obj))
		save(notes, JR_GRANT);
	if (encode_going(core, notes, obj))
		save(notes, JR_GRANT);
}
