/* SPDX-License-Identifier: Apache-2.0 */
/* What the library makes of a message, to compare our own codec with. */
#ifndef T_MESSAGE_H
#define T_MESSAGE_H

#include <string.h>

#include "base/str.h"
#include "proto/codec.h"

static inline struct str t_pack(struct arena *arena,
				const ProtobufCMessage *msg)
{
	size_t n = protobuf_c_message_get_packed_size(msg);
	uint8_t *p = arena_take(arena, n);

	ASSERT(p && protobuf_c_message_pack(msg, p) == n);
	return (struct str){(const char *)p, n};
}

/* Is what we read what the library reads, also when that is nothing? */
static inline bool t_reads_alike(const ProtobufCMessageDescriptor *desc,
				 struct str wire)
{
	const uint8_t *p = (const uint8_t *)wire.p;
	ProtobufCMessage *ours, *theirs;
	struct arena arena;
	bool is_alike;

	arena_init(&arena, 0);
	ours = codec_unpack(desc, &arena, p, wire.n);
	theirs = protobuf_c_message_unpack(desc, &arena.pb, wire.n, p);
	is_alike = !ours == !theirs;
	if (ours && theirs)
		is_alike = str_eq(t_pack(&arena, ours), t_pack(&arena, theirs));
	arena_fini(&arena);
	return is_alike;
}

#endif
