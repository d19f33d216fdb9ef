/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers as protobuf messages, built in the request's arena.  They point into
 * the metadata (names, checksums), so they are encoded before the shard does
 * anything else.
 */
#ifndef MASTER_REPLY_H
#define MASTER_REPLY_H

#include "master/core.h"
#include "proto/codec.h"

struct reply {
	struct core *core;
	struct arena *arena;
	Mc__Segment **segments; /* each once, in order of mention */
	size_t count, cap;
	uint64_t mark;
	bool failed; /* memory is out */
};

void reply_init(struct reply *r, struct core *core, struct arena *arena);
Mc__Replica *reply_replica(struct reply *r, const struct replica *rep);
/* All replicas of obj, or only those a reader is sent to. */
void reply_replicas(struct reply *r, const struct object *obj,
		    bool only_offered, Mc__Replica ***out, size_t *count);
/* What they take of an answer, at most. */
size_t reply_bytes(const struct object *obj);
/* A message of its own; what a client needs to reach it. */
Mc__Segment *reply_segment(struct arena *arena, struct segment *seg);
/* All mounted segments, with usage and health. */
Mc__Segment **reply_all_segments(struct core *core, struct arena *arena,
				 size_t *count);
/* 16 bytes or none (then zero); false for any other length. */
bool reply_uuid(const ProtobufCBinaryData *bytes, struct uuid *out);
static inline struct str reply_str(const ProtobufCBinaryData *bytes)
{
	return (struct str){(const char *)bytes->data, bytes->len};
}

#endif
