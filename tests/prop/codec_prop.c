/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to bytes and back against protobuf-c: any message of any method is
 * written as the library writes it, and any bytes, whole, damaged, or with
 * fields of another release, are read as the library reads them.
 */
#include <stdlib.h>

#include "proto/codec.h"
#include "t_message.h"
#include "t_rand.h"

#define MESSAGES 1500
#define DAMAGES	 8
#define TEXT_MAX 300

/* --- any message --- */

struct maker {
	struct arena arena;
	struct rng rng;
};

/* As in life: small ones, large ones, and those at a limit. */
static uint64_t any_number(struct rng *rng)
{
	uint64_t v = rng_u64(rng) >> rng_below(rng, 64);

	switch (rng_below(rng, 4)) {
	case 0:
		return rng_below(rng, 3);
	case 1:
		return ((uint64_t)1 << rng_below(rng, 64)) - rng_below(rng, 2);
	case 2:
		return ~v;
	default:
		return v;
	}
}

static uint8_t *any_bytes(struct maker *m, size_t n)
{
	uint8_t *p = arena_take(&m->arena, n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(1 + rng_below(&m->rng, 255));
	p[n] = 0;
	return p;
}

static ProtobufCMessage *any_message(struct maker *m,
				     const ProtobufCMessageDescriptor *desc);

static void any_value(struct maker *m, const ProtobufCFieldDescriptor *f,
		      void *member)
{
	ProtobufCBinaryData *bytes = member;
	size_t n = rng_below(&m->rng, rng_below(&m->rng, 8) ? 20 : TEXT_MAX);

	switch (f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)member = (int)rng_below(&m->rng, 2);
		break;
	case PROTOBUF_C_TYPE_UINT64:
		*(uint64_t *)member = any_number(&m->rng);
		break;
	case PROTOBUF_C_TYPE_STRING:
		*(uint8_t **)member = any_bytes(m, n);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		*bytes = (ProtobufCBinaryData){n, any_bytes(m, n)};
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)member = any_message(m, f->descriptor);
		break;
	default:
		*(uint32_t *)member = (uint32_t)any_number(&m->rng);
		break;
	}
}

static size_t value_bytes(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return 8;
	default:
		return 4;
	}
}

static void any_array(struct maker *m, const ProtobufCFieldDescriptor *f,
		      char *msg)
{
	size_t count = rng_below(&m->rng, rng_below(&m->rng, 10) ? 5 : 60);
	size_t size = value_bytes(f->type);
	char *items = arena_take(&m->arena, count * size);

	for (size_t i = 0; i < count; i++)
		any_value(m, f, items + i * size);
	*(size_t *)(void *)(msg + f->quantifier_offset) = count;
	*(void **)(void *)(msg + f->offset) = items;
}

static ProtobufCMessage *any_message(struct maker *m,
				     const ProtobufCMessageDescriptor *desc)
{
	ProtobufCMessage *msg = arena_take(&m->arena, desc->sizeof_message);
	char *p = (char *)msg;

	desc->message_init(msg);
	for (unsigned i = 0; i < desc->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &desc->fields[i];

		if (rng_below(&m->rng, 4) == 0)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			any_array(m, f, p);
			continue;
		}
		any_value(m, f, p + f->offset);
		if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
			*(uint32_t *)(void *)(p + f->quantifier_offset) = f->id;
	}
	return msg;
}

/* --- any bytes --- */

/* The same field twice, a field nobody knows, a field of another type, an
 * array in two pieces: what other writers may well send. */
static struct str and_more(struct maker *m, struct str a, struct str b)
{
	static const struct str odd[] = {
		STR("\xf8\x07\x05"),   /* field 127: 5 */
		STR("\xfa\x07\x02xy"), /* field 127: two bytes */
		STR("\x08\x81\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
		STR("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"),
		STR("\x0d\x01\x02\x03\x04"), /* field 1: 32 bits */
		STR("\x11xxxxyyyy"),	     /* field 2: 64 bits */
		/* Numbers that are longer than they need to be */
		STR("\x0a\x81\x80\x80\x80\x00x"),
		STR("\x0a\x81\x80\x80\x80\x80\x00x"),
		STR("\x88\x80\x80\x80\x00\x01"),
		STR("\x88\x80\x80\x80\x80\x00\x01"),
		STR("\x8a\x00\x81\x00x"),
	};
	struct str extra = odd[rng_below(&m->rng, ARRAY_SIZE(odd))];
	bool has_extra = rng_below(&m->rng, 2);
	size_t n = a.n + b.n + (has_extra ? extra.n : 0);
	char *p = arena_take(&m->arena, n);
	size_t at = 0;

	memcpy(p, a.p, a.n);
	at += a.n;
	if (has_extra) {
		memcpy(p + at, extra.p, extra.n);
		at += extra.n;
	}
	memcpy(p + at, b.p, b.n);
	return (struct str){p, n};
}

static struct str damaged(struct maker *m, struct str wire)
{
	char *p = arena_take(&m->arena, wire.n + 1);
	size_t at = wire.n ? rng_below(&m->rng, wire.n) : 0;

	memcpy(p, wire.p, wire.n);
	switch (rng_below(&m->rng, 4)) {
	case 0:
		return (struct str){p, at};
	case 1:
		p[at] = (char)(p[at] ^ 1 << rng_below(&m->rng, 8));
		return (struct str){p, wire.n};
	case 2: /* most trouble is in the first bytes */
		p[MIN(at, (size_t)rng_below(&m->rng, 4))] =
			(char)rng_below(&m->rng, 256);
		return (struct str){p, wire.n};
	default:
		memmove(p + at + 1, p + at, wire.n - at);
		p[at] = (char)rng_below(&m->rng, 256);
		return (struct str){p, wire.n + 1};
	}
}

/* --- the promise --- */

static void check_message(struct maker *m,
			  const ProtobufCMessageDescriptor *desc)
{
	ProtobufCMessage *msg = any_message(m, desc);
	struct str wire = t_pack(&m->arena, msg), more;
	size_t head = rng_below(&m->rng, 40), len;
	uint8_t *ours;

	ASSERT(codec_pack(&m->arena, msg, head, &ours, &len) == 0);
	ASSERT(str_eq((struct str){(char *)ours + head, len - head}, wire));
	ASSERT(t_reads_alike(desc, wire));
	more = t_pack(&m->arena, any_message(m, desc));
	more = and_more(m, rng_below(&m->rng, 4) ? wire : STR(""),
			rng_below(&m->rng, 4) ? more : STR(""));
	ASSERT(t_reads_alike(desc, more));
	msg = protobuf_c_message_unpack(desc, &m->arena.pb, more.n,
					(const uint8_t *)more.p);
	if (msg) { /* with what nobody knows in it */
		ASSERT(codec_pack(&m->arena, msg, 0, &ours, &len) == 0);
		ASSERT(str_eq((struct str){(char *)ours, len},
			      t_pack(&m->arena, msg)));
	}
	for (int i = 0; i < DAMAGES; i++)
		ASSERT(t_reads_alike(desc, damaged(m, i % 2 ? more : wire)));
}

static const ProtobufCMessageDescriptor *any_method(struct rng *rng)
{
	const ProtobufCMessageDescriptor *desc = NULL;

	while (!desc) {
		uint16_t method = (uint16_t)rng_below(rng, 32);

		desc = rng_below(rng, 2) ? codec_request(method)
					 : codec_response(method);
	}
	return desc;
}

int main(void)
{
	struct maker m = {.rng = t_rng(0)};

	arena_init(&m.arena, 0);
	for (int i = 0; i < MESSAGES; i++) {
		arena_reset(&m.arena);
		check_message(&m, any_method(&m.rng));
	}
	arena_fini(&m.arena);
	return 0;
}
