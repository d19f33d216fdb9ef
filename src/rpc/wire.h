/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames on a byte stream, for both ends: a receive buffer that grows with
 * what really arrives, and messages encoded behind room for their header.
 */
#ifndef RPC_WIRE_H
#define RPC_WIRE_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "proto/codec.h"

/* What the buffers of many streams may take together; any thread. */
struct rx_budget {
	_Atomic(uint64_t) used;
	uint64_t limit;
};

struct rx {
	uint8_t *buf;
	size_t cap, head, tail;	  /* head..tail is unread */
	struct rx_budget *budget; /* NULL = no limit */
};
void rx_fini(struct rx *rx); /* empty afterwards, may be used again */
/* Room to receive into; bodies given out before are invalid.  -ENOMEM, or
 * -ENOBUFS when the budget is used up. */
int rx_prepare(struct rx *rx, struct iovec *iov);
/*
 * 1: a whole, checked frame; body lives until the next rx_prepare().
 * 0: more bytes are needed.  -errno with a sentence: the stream is lost (frame
 * is filled in when at least a header was there).
 */
int rx_next(struct rx *rx, struct frame *frame, const uint8_t **body,
	    struct err *err);

/* Header (zeroed but for body_len and body_crc) and message (may be NULL) in
 * one piece from the arena.  -ENOMEM, or -EMSGSIZE above FRAME_BODY_MAX. */
int wire_encode(struct arena *arena, const ProtobufCMessage *msg, uint8_t **out,
		uint32_t *out_len);
/* Completes a header made by wire_encode(). */
void wire_set_header(uint8_t *out, struct frame frame);

/* What a body of that size may cost when unpacked; hostile bodies are small
 * and want much. */
size_t wire_unpack_limit(size_t body_len);

/* The peer that is gone without a word is noticed after this. */
#define RPC_USER_TIMEOUT_MS 10000
#define RPC_KEEPALIVE_S	    30 /* while nothing is under way */
#define RPC_TX_BATCH	    64 /* frames in one send */

#endif
