/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk may hold where a pool looks at it: its first bytes, and its last
 * ones (a quarter of the input).  Promise: no memory error; what is decoded is
 * text that ends, and encodes to the same again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/def.h"
#include "pool/superblock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const uint8_t *block)
{
	struct superblock sb, again;
	uint8_t out[SB_BYTES];
	struct err err = {0};

	if (sb_decode(block, &sb, &err) < 0) {
		ASSERT(err.text[0]);
		return;
	}
	ASSERT(sb_is_ours(block));
	ASSERT(memchr(sb.cluster_id, 0, sizeof(sb.cluster_id)));
	ASSERT(memchr(sb.identity, 0, sizeof(sb.identity)));
	sb_encode(&sb, out);
	ASSERT(sb_decode(out, &again, &err) == 0);
	ASSERT(again.ns_bytes == sb.ns_bytes && again.epoch == sb.epoch);
	ASSERT(strcmp(again.identity, sb.identity) == 0);
}

/* The superblock's checksum is the last field before the zeroes. */
static void fix_checksum(uint8_t *block)
{
	const struct sb_field *last = &sb_fields[sb_field_count - 1];
	uint32_t crc = crc32c(0, block, last->off);

	ASSERT(last->bytes == sizeof(crc));
	memcpy(block + last->off, &crc, sizeof(crc));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t block[SB_BYTES] = {0};
	size_t tail = size / 4;
	char what[128] = "";

	memcpy(block, data, MIN(size, sizeof(block)));
	decode(block);
	fix_checksum(block);
	decode(block);
	if (label_judge(data, size - tail, tail ? data + size - tail : NULL,
			tail, what) == LABEL_FOREIGN)
		ASSERT(what[0] && memchr(what, 0, sizeof(what)));
	return 0;
}
