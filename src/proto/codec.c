/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Message descriptors by method, and the arena that unpacked messages live in.
 * An arena belongs to one thread at a time.
 *
 * Invariant: used counts what was taken from the blocks since the last reset
 * and never exceeds the limit, whatever a message on the wire asks for.
 */
#include "proto/codec.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK_MIN 4096
#define ARENA_BLOCK_MAX ((size_t)1 << 20)
#define ARENA_ALIGN	16

struct codec_entry {
	const ProtobufCMessageDescriptor *req, *rsp;
};

static const struct codec_entry entries[] = {
#define METHOD(name, number, request, response)                                \
	[number] = {&mc__##request##__descriptor,                              \
		    &mc__##response##__descriptor},
#include "proto/tbl/methods.h"
#undef METHOD
};

const ProtobufCMessageDescriptor *codec_request(uint16_t method)
{
	return method < ARRAY_SIZE(entries) ? entries[method].req : NULL;
}

const ProtobufCMessageDescriptor *codec_response(uint16_t method)
{
	return method < ARRAY_SIZE(entries) ? entries[method].rsp : NULL;
}

struct arena_block {
	struct arena_block *next;
	size_t used, size; /* of data */
	max_align_t data[];
};
static_assert(_Alignof(max_align_t) >= ARENA_ALIGN, "arena alignment");

static struct arena_block *arena_grow(struct arena *arena, size_t n)
{
	size_t size = arena->current ? arena->current->size * 2 : 0;
	struct arena_block *block;

	size = MAX(size, (size_t)ARENA_BLOCK_MIN);
	size = MAX(MIN(size, ARENA_BLOCK_MAX), n);
	block = malloc(sizeof(*block) + size);
	if (!block)
		return NULL;
	block->used = 0;
	block->size = size;
	if (arena->current) {
		block->next = arena->current->next;
		arena->current->next = block;
	} else {
		block->next = NULL;
		arena->first = block;
	}
	return block;
}

void *arena_take(struct arena *arena, size_t n)
{
	struct arena_block *block = arena->current;
	void *p;

	if (n > SIZE_MAX / 2)
		return NULL;
	n = ALIGN_UP(MAX(n, (size_t)1), (size_t)ARENA_ALIGN);
	if (arena->limit && n > arena->limit - arena->used)
		return NULL;
	/* A kept block that is too small is skipped until the next reset. */
	while (block && block->size - block->used < n && block->next) {
		block = block->next;
		arena->current = block;
	}
	if (!block || block->size - block->used < n) {
		block = arena_grow(arena, n);
		if (!block)
			return NULL;
		arena->current = block;
	}
	p = (char *)block->data + block->used;
	block->used += n;
	arena->used += n;
	return p;
}

static void *arena_pb_alloc(void *data, size_t n)
{
	return arena_take(data, n);
}

static void arena_pb_free(void *data, void *p)
{
	/* Everything goes at once, in arena_reset() or arena_fini(). */
	(void)data;
	(void)p;
}

void arena_init(struct arena *arena, size_t limit)
{
	*arena = (struct arena){
		.limit = limit,
		.pb = {arena_pb_alloc, arena_pb_free, arena},
	};
}

void arena_fini(struct arena *arena)
{
	struct arena_block *block = arena->first, *next;

	for (; block; block = next) {
		next = block->next;
		free(block);
	}
	arena->first = arena->current = NULL;
	arena->used = 0;
}

void arena_reset(struct arena *arena)
{
	for (struct arena_block *b = arena->first; b; b = b->next)
		b->used = 0;
	arena->current = arena->first;
	arena->used = 0;
}

struct arena_mark arena_mark(const struct arena *arena)
{
	struct arena_block *block = arena->current;

	return (struct arena_mark){block, block ? block->used : 0, arena->used};
}

void arena_rewind(struct arena *arena, struct arena_mark mark)
{
	if (!mark.block) {
		arena_reset(arena);
		return;
	}
	for (struct arena_block *b = mark.block->next; b; b = b->next)
		b->used = 0;
	mark.block->used = mark.block_used;
	arena->current = mark.block;
	arena->used = mark.used;
}

void *arena_alloc(struct arena *arena, size_t n)
{
	void *p = arena_take(arena, n);

	if (p)
		memset(p, 0, n);
	return p;
}
