/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What anybody may send to the RPC port.  First byte: how the bytes are cut (0
 * = not).  The rest is a stream of frames; their checksums are put right, so
 * that the fuzzer gets at what is behind them.  Promise: no memory error,
 * unpacking never takes more than its limit, and what is read is what
 * protobuf-c reads.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/log.h"
#include "rpc/wire.h"
#include "t_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In place: each frame whose body is all there gets its right checksum. */
static void fix_checksums(uint8_t *p, size_t n)
{
	struct frame frame;

	while (n >= sizeof(frame)) {
		memcpy(&frame, p, sizeof(frame));
		if (frame.body_len > n - sizeof(frame))
			return;
		frame.body_crc = crc32c(0, p + sizeof(frame), frame.body_len);
		memcpy(p, &frame, sizeof(frame));
		p += sizeof(frame) + frame.body_len;
		n -= sizeof(frame) + frame.body_len;
	}
}

static void unpack(const struct frame *frame, const uint8_t *body)
{
	const ProtobufCMessageDescriptor *desc;
	struct arena arena;

	desc = frame->type == FRAME_REQUEST ? codec_request(frame->method)
					    : codec_response(frame->method);
	if (!desc)
		return;
	arena_init(&arena, wire_unpack_limit(frame->body_len));
	codec_unpack(desc, &arena, body, frame->body_len);
	ASSERT(arena.used <= arena.limit);
	arena_fini(&arena);
	ASSERT(t_reads_alike(
		desc, (struct str){(const char *)body, frame->body_len}));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t cut = size ? data[0] : 0, off = 0;
	struct err err = {0};
	struct frame frame;
	const uint8_t *body;
	struct rx rx = {0};
	struct iovec iov;
	uint8_t *copy;
	int ret = 0;

	if (size < 2)
		return 0;
	copy = malloc(--size);
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size);
	fix_checksums(copy, size);
	while (off < size && ret >= 0 && rx_prepare(&rx, &iov) == 0) {
		size_t n = MIN(size - off, cut ? cut : size);

		n = MIN(n, iov.iov_len);
		memcpy(iov.iov_base, copy + off, n);
		rx.tail += n;
		off += n;
		while ((ret = rx_next(&rx, &frame, &body, &err)) == 1)
			unpack(&frame, body);
	}
	rx_fini(&rx);
	free(copy);
	return 0;
}
