/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the master by method number, and the arena that unpacked
 * messages live in (one free for all, no malloc per field).
 */
#ifndef PROTO_CODEC_H
#define PROTO_CODEC_H

#include "proto/frame.h"
#include "proto/master.pb-c.h"

/* NULL for an unknown method. */
const ProtobufCMessageDescriptor *codec_request(uint16_t method);
const ProtobufCMessageDescriptor *codec_response(uint16_t method);

/* Bump allocator for protobuf-c; blocks are kept over reset. */
struct arena_block;
struct arena {
	struct arena_block *first, *current;
	size_t used, limit; /* limit: bytes in all, 0 = none */
	ProtobufCAllocator pb;
};
void arena_init(struct arena *arena, size_t limit);
void arena_fini(struct arena *arena);
void arena_reset(struct arena *arena);
void *arena_alloc(struct arena *arena, size_t n); /* zeroed, or NULL */

#endif
