/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to bytes, in one pass from the last field to the first: what stands
 * in front of a message, its length, is known when it is written.  The bytes
 * are those of protobuf_c_message_pack(), which walks each message twice.
 * Runs where the arena belongs to.
 *
 * Invariant: at..end is what has been written so far, and start..at is free.
 */
#include "proto/codec.h"

#include <errno.h>
#include <string.h>

#include "proto/value.h"

#define FIRST_BYTES ((size_t)1024)

struct back {
	struct arena *arena;
	uint8_t *start, *at, *end;
	size_t max; /* of at..end */
	int ret;    /* why there is no room */
};

static inline size_t written(const struct back *b)
{
	return (size_t)(b->end - b->at);
}

/* --- room --- */

static bool grow(struct back *b, size_t need)
{
	size_t used = written(b);
	size_t cap = MAX((size_t)(b->end - b->start) * 4, FIRST_BYTES);
	uint8_t *start;

	/* A number asks for what it may need at most. */
	if (need > b->max + VARINT_BYTES_MAX - used) {
		b->ret = -EMSGSIZE;
		return false;
	}
	while (cap - used < need)
		cap *= 4;
	cap = MIN(cap, b->max + VARINT_BYTES_MAX);
	start = arena_take(b->arena, cap);
	if (!start) {
		b->ret = -ENOMEM;
		return false;
	}
	if (used)
		memcpy(start + cap - used, b->at, used);
	b->start = start;
	b->end = start + cap;
	b->at = b->end - used;
	return true;
}

static inline bool has_room(struct back *b, size_t need)
{
	return likely((size_t)(b->at - b->start) >= need) || grow(b, need);
}

/* --- values --- */

/* There is room. */
static inline void push(struct back *b, uint64_t v)
{
	uint8_t *p;

	if (likely(v < 0x80)) {
		*--b->at = (uint8_t)v;
		return;
	}
	b->at -= (63 - __builtin_clzll(v)) / 7 + 1;
	for (p = b->at; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p = (uint8_t)v;
}

/* A field's number, or its length, and in front of it the tag. */
static inline bool put_head(struct back *b, uint64_t v, uint32_t id,
			    enum wire_type type)
{
	if (!has_room(b, 2 * VARINT_BYTES_MAX))
		return false;
	push(b, v);
	push(b, (uint64_t)id << 3 | type);
	return true;
}

static inline bool put_bytes(struct back *b, const void *p, size_t n)
{
	if (!has_room(b, n))
		return false;
	b->at -= n;
	memcpy(b->at, p, n);
	return true;
}

/* Small numbers of either sign are short. */
static inline uint64_t zigzag(int32_t v)
{
	return (uint32_t)v << 1 ^ (v < 0 ? UINT32_MAX : 0);
}

static inline uint64_t number(ProtobufCType type, const void *member)
{
	switch (type) {
	case PROTOBUF_C_TYPE_UINT64:
		return *(const uint64_t *)member;
	case PROTOBUF_C_TYPE_BOOL:
		return *(const protobuf_c_boolean *)member != 0;
	case PROTOBUF_C_TYPE_UINT32:
		return *(const uint32_t *)member;
	case PROTOBUF_C_TYPE_SINT32:
		return zigzag(*(const int32_t *)member);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_ENUM: /* negative ones have ten bytes */
		return (uint64_t)(*(const int32_t *)member);
	default:
		UNREACHABLE();
	}
}

/* --- fields --- */

static bool put_message(struct back *b, const ProtobufCMessage *msg);

/* What is zero or empty is not sent, unless it was asked for. */
static inline bool put_field(struct back *b, const ProtobufCFieldDescriptor *f,
			     const void *member, bool is_asked_for)
{
	const ProtobufCBinaryData *bytes = member;
	const char *const *text = member;
	const ProtobufCMessage *const *sub = member;
	size_t before = written(b), n;
	uint64_t v;

	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		if (!*sub && !is_asked_for)
			return true;
		if (*sub && !put_message(b, *sub))
			return false;
		break;
	case PROTOBUF_C_TYPE_BYTES:
		if (!bytes->len && !is_asked_for)
			return true;
		if (bytes->len && !put_bytes(b, bytes->data, bytes->len))
			return false;
		break;
	case PROTOBUF_C_TYPE_STRING:
		n = *text ? strlen(*text) : 0;
		if (!n && !is_asked_for)
			return true;
		if (n && !put_bytes(b, *text, n))
			return false;
		break;
	default:
		v = number(f->type, member);
		return (!v && !is_asked_for) ||
		       put_head(b, v, f->id, WIRE_VARINT);
	}
	return put_head(b, written(b) - before, f->id, WIRE_LENGTH);
}

static bool put_packed(struct back *b, const ProtobufCFieldDescriptor *f,
		       const char *items, size_t count)
{
	size_t size = value_size(f->type), before = written(b);

	for (size_t i = count; i-- > 0;) {
		if (!has_room(b, VARINT_BYTES_MAX))
			return false;
		push(b, number(f->type, items + i * size));
	}
	return put_head(b, written(b) - before, f->id, WIRE_LENGTH);
}

static bool put_repeated(struct back *b, const ProtobufCFieldDescriptor *f,
			 const char *msg)
{
	size_t count = *(const size_t *)(msg + f->quantifier_offset);
	const char *items = *(const char *const *)(msg + f->offset);
	size_t size = value_size(f->type);

	if (count && is_packed(f))
		return put_packed(b, f, items, count);
	for (size_t i = count; i-- > 0;)
		if (!put_field(b, f, items + i * size, true))
			return false;
	return true;
}

/* Fields of a newer release: the library keeps them, and knows how. */
static bool put_foreign(struct back *b, const ProtobufCMessage *msg)
{
	size_t n = protobuf_c_message_get_packed_size(msg);

	if (!has_room(b, n))
		return false;
	b->at -= n;
	protobuf_c_message_pack(msg, b->at);
	return true;
}

static bool put_message(struct back *b, const ProtobufCMessage *msg)
{
	const ProtobufCMessageDescriptor *desc = msg->descriptor;
	const char *p = (const char *)msg;

	if (unlikely(msg->n_unknown_fields))
		return put_foreign(b, msg);
	for (unsigned i = desc->n_fields; i-- > 0;) {
		const ProtobufCFieldDescriptor *f = &desc->fields[i];
		bool is_asked_for = false;

		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			if (!put_repeated(b, f, p))
				return false;
			continue;
		}
		if (unlikely(is_oneof(f))) {
			is_asked_for =
				*(const uint32_t *)(p + f->quantifier_offset) ==
				f->id;
			if (!is_asked_for)
				continue;
		}
		if (!put_field(b, f, p + f->offset, is_asked_for))
			return false;
	}
	return true;
}

int codec_pack(struct arena *arena, const ProtobufCMessage *msg, size_t head,
	       uint8_t **out, size_t *out_len)
{
	struct back b = {.arena = arena, .max = FRAME_BODY_MAX + head};

	if ((msg && !put_message(&b, msg)) || !has_room(&b, head))
		return b.ret;
	if (written(&b) > FRAME_BODY_MAX)
		return -EMSGSIZE;
	b.at -= head;
	*out = b.at;
	*out_len = written(&b);
	return 0;
}
