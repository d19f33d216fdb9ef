/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RPC frame: a fixed header, then a protobuf message.  Little-endian.
 * A reader checks magic, version, length limit and CRC before it parses.
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include "base/err.h"

#define PROTO_VERSION	1
#define FRAME_MAGIC	0x3143524dU /* "MRC1" */
#define FRAME_BODY_MAX	(64u << 20)
#define FRAME_ITEMS_MAX 65536 /* keys in one batch */
#define KEY_LEN_MAX	4096  /* bytes; longer keys are INVALID_KEY */
/* Bytes that one checksum covers. */
#define CRC_BLOCK (128u << 10)

enum frame_type {
	FRAME_REQUEST = 1,
	FRAME_RESPONSE = 2
};

struct frame {
	uint32_t magic;
	uint8_t version;
	uint8_t type;
	uint16_t method;
	uint64_t id;	      /* chosen by the caller, echoed */
	uint32_t deadline_ms; /* request: what is left of the caller's patience
			       */
	int32_t status;	      /* response: 0, or why there is no message */
	uint32_t body_len;
	uint32_t body_crc; /* CRC-32C */
};
static_assert(sizeof(struct frame) == 32, "frame");

enum method {
#define METHOD(name, number, req, rsp) METHOD_##name = (number),
#include "proto/tbl/methods.h"
#undef METHOD
};

/* "PUT_START"; NULL for a number that is none. */
const char *method_name(uint16_t method);
/* 0, or -EBADMSG / -EPROTONOSUPPORT / -EMSGSIZE with a sentence. */
int frame_check(const struct frame *frame, struct err *err);

#endif
