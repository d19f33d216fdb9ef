/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames on a byte stream.  One owner each, no thread of its own.
 *
 * Invariant of rx: head <= tail <= cap, and cap is at most twice what the peer
 * has really sent (or RX_MIN), whatever length it announced.  What all rx of a
 * budget have as cap is what the budget says is used.
 */
#include "rpc/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"

#define RX_MIN ((size_t)16 << 10)
/* More than this is freed when empty; less where many idle ones share. */
#define RX_KEEP	       ((size_t)1 << 20)
#define RX_KEEP_SHARED ((size_t)128 << 10)

void rx_fini(struct rx *rx)
{
	free(rx->buf);
	if (rx->budget)
		atomic_fetch_sub(&rx->budget->used, rx->cap);
	*rx = (struct rx){.budget = rx->budget};
}

/* The least is always granted: it is bounded by the number of streams. */
static int rx_charge(struct rx *rx, size_t cap)
{
	struct rx_budget *budget = rx->budget;
	uint64_t more = cap - rx->cap, used;

	if (!budget)
		return 0;
	used = atomic_fetch_add(&budget->used, more) + more;
	if (cap <= RX_MIN || used <= budget->limit)
		return 0;
	atomic_fetch_sub(&budget->used, more);
	return -ENOBUFS;
}

static int rx_grow(struct rx *rx, size_t cap)
{
	int ret = rx_charge(rx, cap);
	uint8_t *buf;

	if (ret < 0)
		return ret;
	buf = realloc(rx->buf, cap);
	if (!buf) {
		if (rx->budget)
			atomic_fetch_sub(&rx->budget->used, cap - rx->cap);
		return -ENOMEM;
	}
	rx->buf = buf;
	rx->cap = cap;
	return 0;
}

int rx_prepare(struct rx *rx, struct iovec *iov)
{
	size_t unread = rx->tail - rx->head;
	int ret = 0;

	if (unread == 0 && rx->cap > (rx->budget ? RX_KEEP_SHARED : RX_KEEP))
		rx_fini(rx);
	if (rx->head > 0 && rx->cap - rx->tail < rx->cap / 2) {
		memmove(rx->buf, rx->buf + rx->head, unread);
		rx->head = 0;
		rx->tail = unread;
	}
	if (rx->cap < RX_MIN)
		ret = rx_grow(rx, RX_MIN);
	else if (rx->cap - rx->tail < rx->cap / 2)
		ret = rx_grow(rx, rx->cap * 2);
	if (ret < 0)
		return ret;
	iov->iov_base = rx->buf + rx->tail;
	iov->iov_len = rx->cap - rx->tail;
	return 0;
}

int rx_next(struct rx *rx, struct frame *frame, const uint8_t **body,
	    struct err *err)
{
	size_t unread = rx->tail - rx->head;
	const uint8_t *at;
	int ret;

	if (unread < sizeof(*frame))
		return 0;
	at = rx->buf + rx->head; /* there is none before the first byte */
	memcpy(frame, at, sizeof(*frame));
	ret = frame_check(frame, err);
	if (ret < 0)
		return ret;
	if (unread - sizeof(*frame) < frame->body_len)
		return 0;
	*body = at + sizeof(*frame);
	if (crc32c(0, *body, frame->body_len) != frame->body_crc)
		return err_set(err, -EBADMSG,
			       "a message of %u bytes does not match its "
			       "checksum",
			       frame->body_len);
	rx->head += sizeof(*frame) + frame->body_len;
	return 1;
}

int wire_encode(struct arena *arena, const ProtobufCMessage *msg, uint8_t **out,
		uint32_t *out_len)
{
	struct frame frame = {0};
	size_t len;
	int ret = codec_pack(arena, msg, sizeof(frame), out, &len);

	if (ret < 0)
		return ret;
	*out_len = (uint32_t)len;
	frame.body_len = *out_len - (uint32_t)sizeof(frame);
	frame.body_crc = crc32c(0, *out + sizeof(frame), frame.body_len);
	memcpy(*out, &frame, sizeof(frame));
	return 0;
}

void wire_set_header(uint8_t *out, struct frame frame)
{
	struct frame encoded;

	memcpy(&encoded, out, sizeof(encoded));
	frame.magic = FRAME_MAGIC;
	frame.version = PROTO_VERSION;
	frame.body_len = encoded.body_len;
	frame.body_crc = encoded.body_crc;
	memcpy(out, &frame, sizeof(frame));
}

size_t wire_unpack_limit(size_t body_len)
{
	return MIN(body_len * 64 + 65536, (size_t)512 << 20);
}
