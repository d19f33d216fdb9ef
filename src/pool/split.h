/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic of an object's I/O: which chunks an object is cut into, where a
 * chunk stands on the device, which of the caller's pieces it covers.
 * Pure functions.
 */
#ifndef POOL_SPLIT_H
#define POOL_SPLIT_H

#include <sys/uio.h>

#include "base/def.h"

#define CHUNK_MIN	4096
#define CHUNK_MAX	(64 * MiB)
#define BLOCK_MAX	65536 /* largest logical block that is taken */
#define VOL_WORKERS_MAX 64

/* A multiple of CRC_BLOCK where that is possible, of CHUNK_MIN otherwise, so
 * that one chunk holds whole checksummed blocks. */
uint64_t split_round_chunk(uint64_t chunk_bytes);

/* What of an extent the arithmetic has to know. */
struct split_extent {
	uint64_t start; /* of the extent, in the object */
	uint64_t off;	/* on the device */
	uint64_t len;	/* bytes of the object */
	uint32_t block;
};

struct split_chunk {
	uint64_t at;	  /* in the object */
	uint64_t len;	  /* bytes of the object */
	uint64_t dev_off; /* on the device, a multiple of the block */
	uint64_t dev_len; /* len rounded up to the block */
};

/* Chunks of one extent; 0 for an empty one. */
uint64_t split_count(const struct split_extent *ext, uint64_t chunk_bytes);
/* index < split_count() */
void split_get(const struct split_extent *ext, uint64_t chunk_bytes,
	       uint64_t index, struct split_chunk *out);

/*
 * Position in an iovec.  A cursor only moves forward; a chunk's pieces are
 * taken with split_pieces(), which leaves it behind them.
 */
struct split_cursor {
	const struct iovec *iov;
	unsigned iovcnt, index;
	size_t off;  /* in iov[index] */
	uint64_t at; /* in the object */
};
void split_seek(struct split_cursor *cur, uint64_t at);
/*
 * The pieces of the next len bytes in out[max]; returns how many, or 0 when
 * max is too small (the cursor has not moved then).
 */
unsigned split_pieces(struct split_cursor *cur, uint64_t len, struct iovec *out,
		      unsigned max);
/* CRC-32C of, copy from, copy to the next len bytes; moves the cursor. */
uint32_t split_crc(struct split_cursor *cur, uint64_t len);
void split_gather(struct split_cursor *cur, uint64_t len, void *to);
void split_scatter(struct split_cursor *cur, uint64_t len, const void *from);

/* Blocks of crc_block bytes are begun in [at, …) from this one on. */
static inline uint64_t split_block_first(uint64_t at, uint64_t crc_block)
{
	return (at + crc_block - 1) / crc_block;
}
/* No block of crc_block bytes of the object is parted between two chunks, as
 * far as this extent is concerned. */
bool split_keeps_blocks(const struct split_extent *ext, uint64_t chunk_bytes,
			uint64_t crc_block);

#endif
