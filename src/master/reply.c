/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata to protobuf, on the metadata shard.  Invariant: a segment stands
 * once in an answer; its reply_mark says in which answer its reply_index is
 * valid.
 */
#include "master/reply.h"

#include "master/object.h"
#include "master/seg_reply.h"

#define REPLICA_BYTES 24
#define EXTENT_BYTES  24

void reply_init(struct reply *r, struct core *core, struct arena *arena)
{
	*r = (struct reply){.core = core, .arena = arena};
	r->mark = ++core->mark;
}

bool reply_uuid(const ProtobufCBinaryData *bytes, struct uuid *out)
{
	*out = (struct uuid){{0}};
	if (bytes->len == 0)
		return true;
	if (bytes->len != sizeof(out->b))
		return false;
	memcpy(out->b, bytes->data, sizeof(out->b));
	return true;
}

static Mc__SegmentState state_of(const struct segment *seg)
{
	switch (seg->state) {
	case SEG_ONLINE:
		return seg->is_draining ? MC__SEGMENT_STATE__SEGMENT_DRAINING
					: MC__SEGMENT_STATE__SEGMENT_ONLINE;
	case SEG_OFFLINE:
		return MC__SEGMENT_STATE__SEGMENT_OFFLINE;
	default:
		return MC__SEGMENT_STATE__SEGMENT_UNMOUNTING;
	}
}

Mc__Segment *reply_segment(struct arena *arena, struct segment *seg)
{
	Mc__Segment *out = arena_alloc(arena, sizeof(*out));

	if (!out)
		return NULL;
	mc__segment__init(out);
	out->id = (ProtobufCBinaryData){sizeof(seg->id.b), seg->id.b};
	out->name = seg->name;
	out->kind =
		seg->kind == KIND_MEM ? MC__KIND__MEMORY : MC__KIND__NOF_SSD;
	out->endpoints = seg->endpoints;
	out->n_endpoints = seg->endpoint_count;
	out->start = seg->base;
	out->size = seg->size;
	out->block_size = seg->block_bytes;
	out->state = state_of(seg);
	out->epoch = seg->epoch;
	out->owner_key = seg->key;
	out->identity = seg->identity;
	out->host_id = seg->host_id;
	out->message = seg->message;
	out->client_id =
		(ProtobufCBinaryData){sizeof(seg->client.b), seg->client.b};
	out->used = ext_used(seg->space);
	out->objects = seg->replicas;
	return out;
}

static bool reply_grow(struct reply *r)
{
	size_t cap = r->cap ? r->cap * 2 : 8;
	Mc__Segment **more = arena_alloc(r->arena, cap * sizeof(*more));

	if (!more)
		return false;
	if (r->count)
		memcpy(more, r->segments, r->count * sizeof(*more));
	r->segments = more;
	r->cap = cap;
	return true;
}

static uint32_t mention(struct reply *r, struct segment *seg)
{
	Mc__Segment *msg;

	if (seg->reply_mark == r->mark)
		return seg->reply_index;
	msg = reply_segment(r->arena, seg);
	if (!msg || (r->count == r->cap && !reply_grow(r))) {
		r->failed = true;
		return 0;
	}
	/* Not worth its bytes in every answer. */
	msg->client_id = (ProtobufCBinaryData){0};
	seg->reply_mark = r->mark;
	seg->reply_index = (uint32_t)r->count;
	r->segments[r->count++] = msg;
	return seg->reply_index;
}

Mc__Replica *reply_replica(struct reply *r, const struct replica *rep)
{
	uint32_t n = rep->extent_count;
	Mc__Replica *out = arena_alloc(r->arena, sizeof(*out));
	Mc__Extent **list = arena_alloc(r->arena, n * sizeof(*list));
	Mc__Extent *extents = arena_alloc(r->arena, n * sizeof(*extents));

	if (!out || !list || !extents) {
		r->failed = true;
		return NULL;
	}
	mc__replica__init(out);
	out->kind =
		rep->kind == KIND_MEM ? MC__KIND__MEMORY : MC__KIND__NOF_SSD;
	out->index = rep->index;
	out->extents = list;
	out->n_extents = n;
	for (uint32_t i = 0; i < n; i++) {
		const struct extent *ext = &rep->extents[i];

		mc__extent__init(&extents[i]);
		extents[i].segment = mention(r, ext->seg);
		extents[i].offset = ext->off;
		extents[i].length = ext->bytes;
		list[i] = &extents[i];
	}
	return out;
}

void reply_replicas(struct reply *r, const struct object *obj,
		    bool only_offered, Mc__Replica ***out, size_t *count)
{
	const struct replica *rep;
	Mc__Replica **list;

	*count = 0;
	list = arena_alloc(r->arena, obj->replica_count * sizeof(*list));
	*out = list;
	if (!list) {
		r->failed = true;
		return;
	}
	obj_for_each_replica (rep, obj) {
		if (only_offered && !replica_is_offered(rep))
			continue;
		list[*count] = reply_replica(r, rep);
		if (!list[*count])
			return;
		(*count)++;
	}
}

size_t reply_bytes(const struct object *obj)
{
	const struct replica *rep;
	size_t n = 0;

	obj_for_each_replica (rep, obj)
		n += REPLICA_BYTES + rep->extent_count * EXTENT_BYTES;
	return n;
}

Mc__Segment **reply_all_segments(struct core *core, struct arena *arena,
				 size_t *count)
{
	Mc__Segment **list =
		arena_alloc(arena, (core->segment_count + 1) * sizeof(*list));
	struct segment *seg;

	*count = 0;
	if (!list)
		return NULL;
	list_for_each (seg, &core->segments, node) {
		list[*count] = reply_segment(arena, seg);
		if (!list[*count])
			return NULL;
		if (seg->kind == KIND_NOF) {
			list[*count]->health =
				seg_reply_health(arena, core, seg);
			if (!list[*count]->health)
				return NULL;
		}
		(*count)++;
	}
	return list;
}
