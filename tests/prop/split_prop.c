/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks, pieces and checksums of random objects against a model that walks
 * them byte by byte.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/crc.h"
#include "pool/split.h"
#include "t_rand.h"

#define ROUNDS	   400
#define BYTES_MAX  40000
#define EXT_MAX	   5
#define PIECES_MAX 300
#define CRC_UNIT   4096 /* the arithmetic does not care which */

struct model {
	struct split_extent ext[EXT_MAX];
	unsigned ext_count;
	uint64_t bytes;
	/* where byte i of the object belongs */
	uint64_t dev_off[BYTES_MAX];
	unsigned dev_ext[BYTES_MAX];
	uint8_t *host[BYTES_MAX];
	struct iovec iov[PIECES_MAX];
	unsigned iovcnt;
	uint8_t buf[2 * BYTES_MAX];
};

static void make_extents(struct model *m, struct rng *rng)
{
	uint64_t left = m->bytes, start = 0, len;
	uint32_t block;

	for (m->ext_count = 0; left; m->ext_count++) {
		block = 512u << rng_below(rng, 5);
		len = left;
		if (m->ext_count + 1 < EXT_MAX && left > block &&
		    rng_below(rng, 2))
			len = block * (1 + rng_below(rng, left / block));
		len = MIN(len, left);
		m->ext[m->ext_count] = (struct split_extent){
			.start = start,
			.off = block * rng_below(rng, 1000),
			.len = len,
			.block = block,
		};
		for (uint64_t i = 0; i < len; i++) {
			m->dev_off[start + i] = m->ext[m->ext_count].off + i;
			m->dev_ext[start + i] = m->ext_count;
		}
		start += len;
		left -= len;
	}
}

static void make_pieces(struct model *m, struct rng *rng)
{
	uint64_t at = 0, len, place = 0, most = 1 + rng_below(rng, 5000);

	for (m->iovcnt = 0; at < m->bytes; m->iovcnt++) {
		len = rng_below(rng, MIN(most, m->bytes - at) + 1);
		if (m->iovcnt + 1 == PIECES_MAX)
			len = m->bytes - at;
		if (place + len + (m->bytes - at - len) < sizeof(m->buf))
			place += rng_below(rng, 7); /* a gap */
		m->iov[m->iovcnt] = (struct iovec){m->buf + place, len};
		for (uint64_t i = 0; i < len; i++)
			m->host[at + i] = m->buf + place + i;
		at += len;
		place += len;
		ASSERT(place <= sizeof(m->buf));
	}
}

static uint32_t model_crc(const struct model *m, uint64_t at, uint64_t len)
{
	uint32_t crc = 0;

	for (uint64_t i = 0; i < len; i++)
		crc = crc32c(crc, m->host[at + i], 1);
	return crc;
}

static void check_pieces(const struct model *m, struct split_cursor *cur,
			 const struct split_chunk *c)
{
	static struct iovec out[PIECES_MAX];
	static uint8_t copy[BYTES_MAX];
	struct split_cursor other;
	uint64_t at = c->at;
	unsigned n;

	split_seek(cur, c->at);
	other = *cur;
	ASSERT(split_crc(&other, c->len) == model_crc(m, c->at, c->len));
	other = *cur;
	split_gather(&other, c->len, copy);
	for (uint64_t i = 0; i < c->len; i++)
		ASSERT(copy[i] == *m->host[c->at + i]);
	other = *cur;
	n = split_pieces(&other, c->len, out, PIECES_MAX);
	ASSERT(n > 0);
	for (unsigned i = 0; i < n; i++) {
		ASSERT(out[i].iov_len > 0);
		for (size_t j = 0; j < out[i].iov_len; j++, at++)
			ASSERT((uint8_t *)out[i].iov_base + j == m->host[at]);
	}
	ASSERT(at == c->at + c->len && other.at == at);
	/* One entry too few is refused, and nothing has moved. */
	other = *cur;
	if (n > 1) {
		ASSERT(split_pieces(&other, c->len, out, n - 1) == 0);
		ASSERT(other.at == cur->at && other.index == cur->index);
	}
}

static void check_chunk(const struct model *m, const struct split_chunk *c,
			unsigned e, uint64_t chunk_bytes)
{
	const struct split_extent *ext = &m->ext[e];

	ASSERT(c->len > 0);
	ASSERT(c->dev_off % ext->block == 0 && c->dev_len % ext->block == 0);
	ASSERT(c->dev_len >= c->len && c->dev_len - c->len < ext->block);
	ASSERT(c->dev_len <= MAX(chunk_bytes, (uint64_t)ext->block));
	for (uint64_t i = 0; i < c->len; i++) {
		ASSERT(m->dev_ext[c->at + i] == e);
		ASSERT(m->dev_off[c->at + i] == c->dev_off + i);
	}
}

static void run_round(struct model *m, struct rng *rng)
{
	uint64_t chunk_bytes = CHUNK_MIN * (1 + rng_below(rng, 5)), at = 0;
	struct split_cursor cur;
	struct split_chunk c;
	bool is_parted, keeps;

	m->bytes = 1 + rng_below(rng, BYTES_MAX);
	make_extents(m, rng);
	make_pieces(m, rng);
	cur = (struct split_cursor){.iov = m->iov, .iovcnt = m->iovcnt};
	for (unsigned e = 0; e < m->ext_count; e++) {
		uint64_t count = split_count(&m->ext[e], chunk_bytes);

		keeps = split_keeps_blocks(&m->ext[e], chunk_bytes, CRC_UNIT);
		is_parted = false;
		for (uint64_t i = 0; i < count; i++) {
			split_get(&m->ext[e], chunk_bytes, i, &c);
			ASSERT(c.at == at);
			check_chunk(m, &c, e, chunk_bytes);
			check_pieces(m, &cur, &c);
			is_parted = is_parted || c.at % CRC_UNIT;
			at += c.len;
		}
		ASSERT(at == m->ext[e].start + m->ext[e].len);
		ASSERT(!keeps || !is_parted);
		ASSERT(keeps || is_parted || count > 2);
	}
	ASSERT(at == m->bytes);
}

int main(void)
{
	struct model *m = calloc(1, sizeof(*m));
	struct rng rng = t_rng(0);

	ASSERT(m);
	for (size_t i = 0; i < sizeof(m->buf); i++)
		m->buf[i] = (uint8_t)rng_u64(&rng);
	for (int i = 0; i < ROUNDS; i++)
		run_round(m, &rng);
	free(m);
	return 0;
}
