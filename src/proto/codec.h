/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the master by method number, their way to bytes and back, and the
 * arena that they live in (one free for all, no malloc per field).
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
void *arena_take(struct arena *arena, size_t n);  /* the same, not zeroed */
/* Gives back what was taken since. */
struct arena_mark {
	struct arena_block *block;
	size_t block_used, used;
};
struct arena_mark arena_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);

/*
 * What protobuf_c_message_pack() writes, behind head bytes of room; msg NULL is
 * nothing.  -ENOMEM, or -EMSGSIZE above FRAME_BODY_MAX.
 */
int codec_pack(struct arena *arena, const ProtobufCMessage *msg, size_t head,
	       uint8_t **out, size_t *out_len);
/* What protobuf_c_message_unpack() reads, or NULL; all of it is in the arena.
 */
ProtobufCMessage *codec_unpack(const ProtobufCMessageDescriptor *desc,
			       struct arena *arena, const uint8_t *body,
			       size_t len);

#endif
