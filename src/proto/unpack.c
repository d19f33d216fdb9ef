/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes to messages, in one pass.  Elements of an array lie side by side, and
 * bytes stay where they are in one copy of the body.  Runs where the arena
 * belongs to.
 *
 * Invariant: only what our own pack writes is read here (known fields, each
 * once, arrays in one piece).  Anything else is ODD and left to protobuf-c
 * from the beginning, so what is accepted, and as what, is its decision.
 */
#include "proto/codec.h"

#include <string.h>

#include "proto/value.h"

enum outcome {
	GOOD,
	ODD, /* protobuf-c shall look at it */
	FULL /* the arena is */
};

struct in {
	uint8_t *p, *end;
	struct arena *arena;
};

/* --- values --- */

static enum outcome get_long(struct in *in, unsigned bits, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned shift = 0; in->p < in->end && shift < bits; shift += 7) {
		uint8_t byte = *in->p++;

		/* Bits beyond the 64th */
		if (shift == 63 && byte > 1)
			return ODD;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*out = v;
			return GOOD;
		}
	}
	return ODD;
}

static inline enum outcome get_varint(struct in *in, unsigned bits,
				      uint64_t *out)
{
	if (unlikely(in->p == in->end || *in->p >= 0x80))
		return get_long(in, bits, out);
	*out = *in->p++;
	return GOOD;
}

static inline enum outcome get_tag(struct in *in, uint64_t *out)
{
	return get_varint(in, 32, out);
}

/* So many bytes are there. */
static inline enum outcome get_length(struct in *in, size_t *out)
{
	uint64_t n;

	if (get_varint(in, 32, &n) != GOOD || n > (size_t)(in->end - in->p))
		return ODD;
	*out = n;
	return GOOD;
}

static enum outcome get_string(struct in *in, size_t n, char **out)
{
	char *text = arena_take(in->arena, n + 1);

	if (!text)
		return FULL;
	memcpy(text, in->p, n);
	text[n] = 0;
	in->p += n;
	*out = text;
	return GOOD;
}

static inline enum outcome get_bytes(struct in *in, size_t n,
				     ProtobufCBinaryData *out)
{
	out->len = n;
	out->data = n ? in->p : NULL;
	in->p += n;
	return GOOD;
}

static enum outcome get_message(struct in *in, ProtobufCMessage *msg,
				const ProtobufCMessageDescriptor *desc);

/* The next n bytes. */
static enum outcome get_sub(struct in *in, size_t n, ProtobufCMessage *msg,
			    const ProtobufCMessageDescriptor *desc)
{
	struct in sub = {in->p, in->p + n, in->arena};

	in->p += n;
	return get_message(&sub, msg, desc);
}

static enum outcome get_number(struct in *in, ProtobufCType type, void *member)
{
	uint64_t v;

	if (get_varint(in, 64, &v) != GOOD)
		return ODD;
	switch (type) {
	case PROTOBUF_C_TYPE_UINT64:
		*(uint64_t *)member = v;
		return GOOD;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)member = v != 0;
		return GOOD;
	case PROTOBUF_C_TYPE_SINT32:
		*(uint32_t *)member =
			(uint32_t)v >> 1 ^ (v & 1 ? UINT32_MAX : 0);
		return GOOD;
	default:
		*(uint32_t *)member = (uint32_t)v;
		return GOOD;
	}
}

/* --- fields --- */

static enum outcome get_single(struct in *in, const ProtobufCFieldDescriptor *f,
			       char *msg)
{
	const ProtobufCMessageDescriptor *desc = f->descriptor;
	void *member = msg + f->offset;
	ProtobufCMessage *sub;
	size_t n;

	if (is_oneof(f)) {
		uint32_t *which = (void *)(msg + f->quantifier_offset);

		if (*which)
			return ODD;
		*which = f->id;
	}
	if (wire_type_of(f) == WIRE_VARINT)
		return get_number(in, f->type, member);
	if (get_length(in, &n) != GOOD)
		return ODD;
	if (f->type == PROTOBUF_C_TYPE_STRING)
		return get_string(in, n, member);
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return get_bytes(in, n, member);
	sub = arena_take(in->arena, desc->sizeof_message);
	if (!sub)
		return FULL;
	*(ProtobufCMessage **)member = sub;
	return get_sub(in, n, sub, desc);
}

static enum outcome get_packed(struct in *in, const ProtobufCFieldDescriptor *f,
			       size_t *count, void *array)
{
	size_t size = value_size(f->type), n = 0, len;
	struct in sub = *in;
	char *items;

	if (get_length(&sub, &len) != GOOD || len == 0)
		return ODD;
	in->p = sub.p + len;
	sub.end = in->p;
	for (const uint8_t *p = sub.p; p < sub.end; p++)
		n += *p < 0x80;
	items = arena_take(in->arena, n * size);
	if (!items)
		return FULL;
	for (size_t i = 0; i < n; i++)
		if (get_number(&sub, f->type, items + i * size) != GOOD)
			return ODD;
	*count = n;
	*(void **)array = items;
	return sub.p == sub.end ? GOOD : ODD;
}

/* How many elements follow each other, the first without its tag. */
static size_t count_run(struct in in, uint64_t tag)
{
	size_t count = 0, n;
	uint64_t next;

	do {
		if (get_length(&in, &n) != GOOD)
			return 0;
		in.p += n;
		count++;
	} while (in.p < in.end && get_tag(&in, &next) == GOOD && next == tag);
	return count;
}

/* Element i of an array; messages are in a row that begins at rows. */
static enum outcome get_element(struct in *in,
				const ProtobufCFieldDescriptor *f, void *item,
				char *row)
{
	ProtobufCMessage *sub = (ProtobufCMessage *)(void *)row;
	size_t n;

	if (get_length(in, &n) != GOOD)
		return ODD;
	if (f->type == PROTOBUF_C_TYPE_STRING)
		return get_string(in, n, item);
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return get_bytes(in, n, item);
	*(ProtobufCMessage **)item = sub;
	return get_sub(in, n, sub, f->descriptor);
}

static enum outcome get_run(struct in *in, const ProtobufCFieldDescriptor *f,
			    uint64_t tag, char *msg)
{
	const ProtobufCMessageDescriptor *desc = f->descriptor;
	size_t size = value_size(f->type), row_size = 0, list_size;
	size_t count = count_run(*in, tag);
	enum outcome ret = GOOD;
	char *items, *rows;

	if (!count)
		return ODD;
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		row_size = desc->sizeof_message;
	/* Messages lie behind the pointers to them. */
	list_size = ALIGN_UP(count * size, sizeof(max_align_t));
	items = arena_take(in->arena, list_size + count * row_size);
	if (!items)
		return FULL;
	rows = items + list_size;
	for (size_t i = 0; i < count && ret == GOOD; i++) {
		if (i && get_tag(in, &tag) != GOOD)
			return ODD;
		ret = get_element(in, f, items + i * size, rows + i * row_size);
	}
	*(size_t *)(void *)(msg + f->quantifier_offset) = count;
	*(void **)(void *)(msg + f->offset) = items;
	return ret;
}

static enum outcome get_message(struct in *in, ProtobufCMessage *msg,
				const ProtobufCMessageDescriptor *desc)
{
	enum outcome ret = GOOD;
	char *p = (char *)msg;
	uint64_t seen = 0, tag;

	desc->message_init(msg);
	while (in->p < in->end && ret == GOOD) {
		const ProtobufCFieldDescriptor *f;
		uint64_t i;

		if (get_tag(in, &tag) != GOOD)
			return ODD;
		i = (tag >> 3) - 1;
		if (i >= MIN(desc->n_fields, 64u) || seen >> i & 1)
			return ODD;
		seen |= (uint64_t)1 << i;
		f = &desc->fields[i];
		if (f->id != i + 1 || (tag & 7) != wire_type_of(f))
			return ODD;
		if (f->label != PROTOBUF_C_LABEL_REPEATED)
			ret = get_single(in, f, p);
		else if (is_packed(f))
			ret = get_packed(in, f,
					 (void *)(p + f->quantifier_offset),
					 p + f->offset);
		else
			ret = get_run(in, f, tag, p);
	}
	return ret;
}

ProtobufCMessage *codec_unpack(const ProtobufCMessageDescriptor *desc,
			       struct arena *arena, const uint8_t *body,
			       size_t len)
{
	const struct arena_mark mark = arena_mark(arena);
	ProtobufCMessage *msg = arena_take(arena, desc->sizeof_message);
	struct in in = {.p = arena_take(arena, len), .arena = arena};
	enum outcome ret;

	if (!msg || !in.p)
		return NULL;
	if (len)
		memcpy(in.p, body, len);
	in.end = in.p + len;
	ret = get_message(&in, msg, desc);
	if (ret != ODD)
		return ret == GOOD ? msg : NULL;
	arena_rewind(arena, mark);
	return protobuf_c_message_unpack(desc, &arena->pb, len, body);
}
