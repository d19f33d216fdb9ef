/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health to protobuf, on the metadata shard.  Invariant: texts are the
 * segment's or constant, all else is the arena's.
 */
#include "master/seg_reply.h"

#include "master/seg_stats.h"

static bool add_paths(struct arena *arena, const struct core *core,
		      const struct segment *seg, Mc__SegmentHealth *out)
{
	unsigned n = seg->endpoint_count;
	Mc__PathHealth *paths = arena_alloc(arena, n * sizeof(*paths));

	out->paths = arena_alloc(arena, n * sizeof(Mc__PathHealth *));
	if (!paths || !out->paths)
		return false;
	for (unsigned i = 0; i < n; i++) {
		const struct seg_path *p = &seg->paths[i];

		mc__path_health__init(&paths[i]);
		paths[i].endpoint = seg->endpoints[i];
		paths[i].has_ok = p->ok_ns > 0;
		paths[i].has_failed = p->failed_ns > 0;
		paths[i].ok_age_ms = seg_age_ms(core, p->ok_ns);
		paths[i].failed_age_ms = seg_age_ms(core, p->failed_ns);
		paths[i].latency_us = p->latency_ns / NS_PER_US;
		paths[i].answered_last = i == seg->last_path;
		out->paths[i] = &paths[i];
	}
	out->n_paths = n;
	return true;
}

static bool add_errors(struct arena *arena, const struct segment *seg,
		       Mc__SegmentHealth *out)
{
	Mc__ErrorCount *errors =
		arena_alloc(arena, SEG_ERROR_COUNT * sizeof(*errors));

	out->errors =
		arena_alloc(arena, SEG_ERROR_COUNT * sizeof(Mc__ErrorCount *));
	if (!errors || !out->errors)
		return false;
	for (unsigned i = 0; i < SEG_ERROR_COUNT; i++) {
		mc__error_count__init(&errors[i]);
		errors[i].kind = (char *)(uintptr_t)seg_error_name(i);
		errors[i].count = seg->errors[i];
		out->errors[i] = &errors[i];
	}
	out->n_errors = SEG_ERROR_COUNT;
	return true;
}

static bool add_smart(struct arena *arena, const struct core *core,
		      const struct segment *seg, Mc__SegmentHealth *out)
{
	Mc__Smart *smart;

	if (!seg->smart_ns)
		return true;
	smart = arena_alloc(arena, sizeof(*smart));
	if (!smart)
		return false;
	mc__smart__init(smart);
	smart->age_ms = seg_age_ms(core, seg->smart_ns);
#define SMART(field, message, name, type, help)                                \
	smart->message = seg->smart.field;
#include "master/tbl/smart.h"
#undef SMART
	out->smart = smart;
	return true;
}

Mc__SegmentHealth *seg_reply_health(struct arena *arena,
				    const struct core *core,
				    const struct segment *seg)
{
	Mc__SegmentHealth *out = arena_alloc(arena, sizeof(*out));
	char *owner = arena_alloc(arena, OWNER_TEXT_LEN);

	if (!out || !owner)
		return NULL;
	mc__segment_health__init(out);
	owner_text(&seg->owner, owner);
	out->ok_age_ms = seg_age_ms(core, seg->ok_ns);
	out->latency_us = seg->latency_ns / NS_PER_US;
	out->failures = seg->failures;
	out->hits = seg->hits;
	out->hit_bytes = seg->hit_bytes;
	out->quarantined = seg->quarantined;
	out->reservation = owner;
	if (!add_paths(arena, core, seg, out) || !add_errors(arena, seg, out) ||
	    !add_smart(arena, core, seg, out))
		return NULL;
	return out;
}
