/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting objects into chunks, and walking the caller's pieces.
 *
 * Pure functions, any thread.  Invariant: the chunks of an extent follow each
 * other without gap or overlap, each begins on a block of the device, and only
 * the last one of an extent may be ragged.
 */
#include "pool/split.h"

#include <string.h>

#include "base/crc.h"
#include "proto/frame.h"

uint64_t split_round_chunk(uint64_t chunk_bytes)
{
	if (chunk_bytes >= CRC_BLOCK)
		return chunk_bytes - chunk_bytes % CRC_BLOCK;
	return MAX(chunk_bytes - chunk_bytes % CHUNK_MIN, (uint64_t)CHUNK_MIN);
}

/*
 * Length of an extent's first chunk.  The others are whole, so this decides
 * the grid: that of the object (whole checksum blocks in each chunk) when the
 * device's blocks allow it, the extent's own otherwise.
 */
static uint64_t first_len(const struct split_extent *ext, uint64_t step)
{
	uint64_t lead = ext->start % step;

	if (lead == 0 || (step - lead) % ext->block != 0)
		return step;
	return step - lead;
}

/* Chunks hold whole device blocks. */
static uint64_t step_of(const struct split_extent *ext, uint64_t chunk_bytes)
{
	return MAX(chunk_bytes - chunk_bytes % ext->block,
		   (uint64_t)ext->block);
}

uint64_t split_count(const struct split_extent *ext, uint64_t chunk_bytes)
{
	uint64_t step = step_of(ext, chunk_bytes);
	uint64_t first = first_len(ext, step);

	if (ext->len == 0)
		return 0;
	if (ext->len <= first)
		return 1;
	return 1 + (ext->len - first - 1) / step + 1;
}

void split_get(const struct split_extent *ext, uint64_t chunk_bytes,
	       uint64_t index, struct split_chunk *out)
{
	uint64_t step = step_of(ext, chunk_bytes);
	uint64_t first = first_len(ext, step);
	uint64_t rel = index == 0 ? 0 : first + (index - 1) * step;
	uint64_t end = MIN(first + index * step, ext->len);

	ASSERT(rel < ext->len);
	*out = (struct split_chunk){
		.at = ext->start + rel,
		.len = end - rel,
		.dev_off = ext->off + rel,
		.dev_len = ALIGN_UP(end - rel, (uint64_t)ext->block),
	};
}

bool split_keeps_blocks(const struct split_extent *ext, uint64_t chunk_bytes,
			uint64_t crc_block)
{
	uint64_t step = step_of(ext, chunk_bytes);
	uint64_t count = split_count(ext, chunk_bytes);

	if (count && ext->start % crc_block)
		return false;
	if (count > 1 && (ext->start + first_len(ext, step)) % crc_block)
		return false;
	return count < 3 || step % crc_block == 0;
}

/* The next piece of at most len bytes, never empty; moves the cursor. */
static struct iovec next_piece(struct split_cursor *cur, uint64_t len)
{
	struct iovec piece;
	size_t left;

	for (;;) {
		ASSERT(cur->index < cur->iovcnt);
		left = cur->iov[cur->index].iov_len - cur->off;
		if (left)
			break;
		cur->index++;
		cur->off = 0;
	}
	piece.iov_base = (char *)cur->iov[cur->index].iov_base + cur->off;
	piece.iov_len = (size_t)MIN((uint64_t)left, len);
	cur->off += piece.iov_len;
	cur->at += piece.iov_len;
	return piece;
}

void split_seek(struct split_cursor *cur, uint64_t at)
{
	ASSERT(at >= cur->at);
	while (cur->at < at)
		next_piece(cur, at - cur->at);
}

unsigned split_pieces(struct split_cursor *cur, uint64_t len, struct iovec *out,
		      unsigned max)
{
	struct split_cursor start = *cur;
	unsigned n = 0;

	while (len) {
		if (n == max) {
			*cur = start;
			return 0;
		}
		out[n] = next_piece(cur, len);
		len -= out[n++].iov_len;
	}
	return n;
}

uint32_t split_crc(struct split_cursor *cur, uint64_t len)
{
	uint32_t crc = 0;
	struct iovec piece;

	for (; len; len -= piece.iov_len) {
		piece = next_piece(cur, len);
		crc = crc32c(crc, piece.iov_base, piece.iov_len);
	}
	return crc;
}

void split_gather(struct split_cursor *cur, uint64_t len, void *to)
{
	char *p = to;
	struct iovec piece;

	for (; len; len -= piece.iov_len, p += piece.iov_len) {
		piece = next_piece(cur, len);
		memcpy(p, piece.iov_base, piece.iov_len);
	}
}

void split_scatter(struct split_cursor *cur, uint64_t len, const void *from)
{
	const char *p = from;
	struct iovec piece;

	for (; len; len -= piece.iov_len, p += piece.iov_len) {
		piece = next_piece(cur, len);
		memcpy(piece.iov_base, p, piece.iov_len);
	}
}
