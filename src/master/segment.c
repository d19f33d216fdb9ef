/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Table of segments, on the metadata shard.  Invariant: core.online[kind] holds
 * exactly the ONLINE segments of that kind that are not draining, and a
 * segment's memory is freed only when no extent of any replica is on it.
 */
#include "master/segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/copy.h"
#include "master/evict.h"
#include "master/note.h"
#include "master/object.h"
#include "master/quarantine.h"
#include "nvme/endpoint.h"

static void segment_free(struct segment *seg)
{
	if (!seg)
		return;
	ext_destroy(seg->space);
	for (unsigned i = 0; i < seg->endpoint_count; i++)
		free(seg->endpoints[i]);
	free(seg->name);
	free(seg->host_id);
	free(seg);
}

static void online_add(struct core *core, struct segment *seg)
{
	unsigned *count = &core->online_count[seg->kind];

	ASSERT(*count < SEGMENTS_MAX);
	core->online[seg->kind][(*count)++] = seg;
}

static void online_del(struct core *core, struct segment *seg)
{
	unsigned *count = &core->online_count[seg->kind];

	for (unsigned i = 0; i < *count; i++) {
		if (core->online[seg->kind][i] != seg)
			continue;
		core->online[seg->kind][i] = core->online[seg->kind][--*count];
		return;
	}
	UNREACHABLE();
}

static int add_path(struct segment *seg, const char *text)
{
	char *copy;

	if (seg->endpoint_count == SEGMENT_PATHS)
		return -ENOSPC;
	copy = str_dup(str_of(text));
	if (!copy)
		return -ENOMEM;
	seg->endpoints[seg->endpoint_count++] = copy;
	return 0;
}

static int copy_texts(struct segment *seg, const struct segment_desc *desc,
		      struct err *err)
{
	struct endpoint ep;

	for (unsigned i = 0; i < desc->endpoint_count; i++) {
		int ret = add_path(seg, desc->endpoints[i]);

		if (ret < 0)
			return err_set(err, ret,
				       "a segment has at most %d endpoints",
				       SEGMENT_PATHS);
	}
	if (endpoint_parse(str_of(seg->endpoints[0]), &ep, err) < 0)
		return -EINVAL;
	seg->name = str_dup(str_of(desc->name));
	seg->host_id = str_dup(str_of(
		desc->host_id && desc->host_id[0] ? desc->host_id : ep.traddr));
	if (!seg->name || !seg->host_id)
		return err_set(err, -ENOMEM, "out of memory");
	seg->host_hash = hash_str(str_of(seg->host_id));
	seg->target_hash = seg->host_hash ^ ep.trsvcid;
	seg->subsys_hash = hash_str(str_of(ep.subnqn));
	snprintf(seg->identity, sizeof(seg->identity), "%s",
		 desc->identity ? desc->identity : "");
	return 0;
}

int segment_add(struct core *core, const struct segment_desc *desc,
		struct segment **out, struct err *err)
{
	uint64_t unit = MAX((uint64_t)EXTENT_UNIT, (uint64_t)desc->block_bytes);
	struct segment *seg;
	int ret;

	ASSERT(desc->endpoint_count > 0);
	if (core->segment_count >= SEGMENTS_MAX)
		return err_set(err, -ENOSPC, "%d segments are mounted already",
			       SEGMENTS_MAX);
	if (!IS_POW2(unit) || !IS_ALIGNED(desc->base, unit) ||
	    desc->size < unit || desc->size > SEGMENT_BYTES_MAX)
		return err_set(
			err, -EINVAL,
			"base %llu, size %llu, block size %u do not make "
			"a segment",
			(unsigned long long)desc->base,
			(unsigned long long)desc->size, desc->block_bytes);
	seg = calloc(1, sizeof(*seg));
	if (!seg)
		return err_set(err, -ENOMEM, "out of memory");
	ret = copy_texts(seg, desc, err);
	if (ret < 0)
		goto fail;
	seg->id = desc->id;
	seg->kind = desc->kind;
	seg->base = desc->base;
	seg->size = ALIGN_DOWN(desc->size, unit);
	seg->unit = (uint32_t)unit;
	seg->ns_bytes = desc->ns_bytes;
	seg->block_bytes = desc->block_bytes;
	seg->epoch = desc->epoch;
	seg->client = desc->client;
	seg->ok_ns = seg->added_ns = core->now_ns;
	list_init(&seg->extents);
	recency_init(&seg->recency);
	ret = ext_create(seg->base, seg->size, unit, &seg->space);
	if (ret < 0) {
		err_set(err, ret, "no memory for the map of %llu bytes",
			(unsigned long long)seg->size);
		goto fail;
	}
	list_add_tail(&core->segments, &seg->node);
	core->segment_count++;
	seg->state = SEG_ONLINE;
	online_add(core, seg);
	copy_is_due(core); /* there is room */
	seg->no = desc->no ? desc->no : ++core->segment_no;
	note_segment(core, seg);
	*out = seg;
	return 0;
fail:
	segment_free(seg);
	return ret;
}

struct segment *segment_find(struct core *core, const struct uuid *id)
{
	struct segment *seg;

	list_for_each (seg, &core->segments, node)
		if (uuid_eq(&seg->id, id))
			return seg;
	return NULL;
}

bool segment_has_path(const struct segment *seg, const char *text)
{
	for (unsigned i = 0; i < seg->endpoint_count; i++)
		if (strcmp(seg->endpoints[i], text) == 0)
			return true;
	return false;
}

struct segment *segment_find_path(struct core *core, const char *text)
{
	struct segment *seg;

	list_for_each (seg, &core->segments, node)
		if (segment_has_path(seg, text))
			return seg;
	return NULL;
}

struct segment *segment_find_identity(struct core *core, const char *identity)
{
	struct segment *seg;

	if (!identity[0] || strcmp(identity, "none") == 0)
		return NULL;
	list_for_each (seg, &core->segments, node)
		if (strcmp(seg->identity, identity) == 0)
			return seg;
	return NULL;
}

int segment_add_path(struct core *core, struct segment *seg, const char *text)
{
	int ret = add_path(seg, text);

	if (ret == 0)
		note_segment(core, seg);
	return ret;
}

static bool takes_extents(const struct segment *seg)
{
	return seg->state == SEG_ONLINE && !seg->is_draining;
}

/* After a change: took = takes_extents() before it. */
static void online_update(struct core *core, struct segment *seg, bool took)
{
	if (took && !takes_extents(seg))
		online_del(core, seg);
	if (!took && takes_extents(seg))
		online_add(core, seg);
}

void segment_set_state(struct core *core, struct segment *seg,
		       enum segment_state state, const char *message)
{
	bool took = takes_extents(seg);

	ASSERT(state != SEG_UNMOUNTING && seg->state != SEG_UNMOUNTING);
	if (state == SEG_OFFLINE && seg->state != SEG_OFFLINE)
		seg->offline_ns = core->now_ns;
	if (state == SEG_ONLINE && seg->state == SEG_OFFLINE)
		copy_is_due(core); /* there is a source */
	seg->state = state;
	online_update(core, seg, took);
	snprintf(seg->message, sizeof(seg->message), "%s", message);
}

void segment_set_draining(struct core *core, struct segment *seg,
			  bool is_draining)
{
	bool took = takes_extents(seg);

	ASSERT(seg->state != SEG_UNMOUNTING);
	if (is_draining != seg->is_draining) {
		seg->moved = seg->moved_bytes = 0;
		copy_is_due(core);
	}
	seg->is_draining = is_draining;
	online_update(core, seg, took);
	note_segment(core, seg);
}

uint64_t segment_busy_until(const struct core *core, const struct segment *seg)
{
	uint64_t until = seg->leased_until_ns;

	if (seg->unfinished)
		until = MAX(until, seg->written_until_ns);
	return until > core->now_ns ? until : 0;
}

const char *segment_kind_name(const struct segment *seg)
{
	return seg->kind == KIND_MEM ? "memory" : "nof";
}

const char *segment_state_name(const struct segment *seg)
{
	if (seg->state == SEG_ONLINE)
		return seg->is_draining ? "DRAINING" : "ONLINE";
	return seg->state == SEG_OFFLINE ? "OFFLINE" : "UNMOUNTING";
}

bool segment_matches(const struct segment *seg, const struct uuid *id,
		     const struct endpoint *ep)
{
	if (!ep)
		return uuid_eq(&seg->id, id);
	for (unsigned i = 0; i < seg->endpoint_count; i++) {
		struct endpoint own;
		struct err err = {0};

		if (endpoint_parse(str_of(seg->endpoints[i]), &own, &err) < 0)
			continue;
		if (strcmp(own.traddr, ep->traddr) == 0 &&
		    own.trsvcid == ep->trsvcid &&
		    strcmp(own.subnqn, ep->subnqn) == 0 &&
		    (ep->nsid == 0 || ep->nsid == own.nsid))
			return true;
	}
	return false;
}

bool segment_has_epoch(const struct segment *seg, uint64_t epoch)
{
	return epoch == seg->epoch ||
	       (seg->is_awaited && epoch <= seg->known_epoch);
}

void segment_start_unmount(struct core *core, struct segment *seg)
{
	bool took = takes_extents(seg);

	ASSERT(seg->state != SEG_UNMOUNTING);
	/* What is on it goes with it; that is not said once more. */
	note_segment_gone(core, seg);
	seg->state = SEG_UNMOUNTING;
	online_update(core, seg, took);
	list_del(&seg->node);
	list_add_tail(&core->dying, &seg->node);
}

static void bury(struct core *core, struct segment *seg)
{
	uint64_t until = quarantine_purge(core, seg);

	until = MAX(until, seg->writers_until_ns);
	if (until > core->now_ns)
		segment_bury(core, &seg->id, str_of(seg->identity), until);
	list_del(&seg->node);
	core->segment_count--;
	if (core->on_gone)
		core->on_gone(seg, core->on_gone_arg);
	segment_free(seg);
}

static void drop_one(struct core *core, struct segment *seg)
{
	struct replica *rep = extent_replica(
		list_first(&seg->extents, struct extent, seg_node));
	uint64_t until;

	if (rep->state == REPLICA_PROCESSING) {
		until = writer_silent_ns(core, rep->obj->writing->deadline_ns);
		seg->writers_until_ns = MAX(seg->writers_until_ns, until);
	}
	if (obj_unmount_replica(core, rep))
		seg->dropped++;
	else
		copy_is_due(core);
}

bool segments_reap(struct core *core, unsigned budget)
{
	while (!list_is_empty(&core->dying)) {
		struct segment *seg =
			list_first(&core->dying, struct segment, node);

		while (!list_is_empty(&seg->extents)) {
			if (budget-- == 0)
				return true;
			drop_one(core, seg);
		}
		bury(core, seg);
	}
	return false;
}

void segment_bury(struct core *core, const struct uuid *id, struct str identity,
		  uint64_t until_ns)
{
	struct tomb *tomb = &core->tombs[core->tomb_next++ % TOMBS_MAX];
	size_t n = MIN(identity.n, sizeof(tomb->identity) - 1);

	*tomb = (struct tomb){.segment = *id, .until_ns = until_ns};
	memcpy(tomb->identity, identity.p, n);
}

uint64_t segment_tomb(const struct core *core, const struct uuid *id,
		      const char *identity)
{
	uint64_t until = 0;

	for (unsigned i = 0; i < TOMBS_MAX; i++) {
		const struct tomb *tomb = &core->tombs[i];

		if (tomb->until_ns <= core->now_ns)
			continue;
		if (uuid_eq(&tomb->segment, id) ||
		    (identity[0] && strcmp(identity, "none") != 0 &&
		     strcmp(tomb->identity, identity) == 0))
			until = MAX(until, tomb->until_ns);
	}
	return until;
}
