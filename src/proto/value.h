/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of pack and unpack: how values look on the wire and in memory. */
#ifndef PROTO_VALUE_H
#define PROTO_VALUE_H

#include "proto/codec.h"

enum wire_type {
	WIRE_VARINT = 0,
	WIRE_LENGTH = 2 /* a length and so many bytes */
};

#define VARINT_BYTES_MAX 10

static inline bool is_packed(const ProtobufCFieldDescriptor *f)
{
	return f->flags & PROTOBUF_C_FIELD_FLAG_PACKED;
}

static inline bool is_oneof(const ProtobufCFieldDescriptor *f)
{
	return f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}

static inline enum wire_type wire_type_of(const ProtobufCFieldDescriptor *f)
{
	return is_packed(f) || f->type == PROTOBUF_C_TYPE_STRING ||
			       f->type == PROTOBUF_C_TYPE_BYTES ||
			       f->type == PROTOBUF_C_TYPE_MESSAGE
		       ? WIRE_LENGTH
		       : WIRE_VARINT;
}

/* Of one in an array; all types that master.proto has. */
static inline size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_BOOL:
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_UINT32:
		return sizeof(uint32_t);
	case PROTOBUF_C_TYPE_UINT64:
		return sizeof(uint64_t);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		UNREACHABLE();
	}
}

#endif
