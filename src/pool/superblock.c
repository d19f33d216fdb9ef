/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Superblock of a pool namespace: bytes to struct and back (docs/on-disk.md).
 *
 * Pure functions, any thread.  Invariant: what sb_decode() accepts came from
 * sb_encode(), whole or torn between two epochs: magic, version, CRC, and every
 * field in its range with its text ended by a NUL.
 */
#include "pool/superblock.h"

#include <errno.h>
#include <string.h>

#include "base/crc.h"
#include "base/str.h"

static const char magic[8] = {'M', 'C', 'P', 'O', 'O', 'L', 'S', 'B'};

/* Little-endian, as nvme/cmd.h. */
struct sb_wire {
	char magic[8];
	uint32_t version;
	uint32_t bytes;
	uint8_t segment[16];
	uint8_t cluster[16];
	uint64_t ns_bytes;
	uint32_t block_bytes;
	uint32_t flags; /* 0; a version 1 reader refuses what it can't know */
	uint64_t epoch;
	uint64_t created_s;
	uint64_t data_offset;
	char identity[80];
	char cluster_id[136];
	uint8_t zero[3776];
	uint64_t epoch_again; /* 0: of a program that did not write it */
	uint32_t zeros;
	uint32_t crc; /* CRC-32C of all that stands before */
};
static_assert(sizeof(struct sb_wire) == SB_BYTES, "superblock");
static_assert(offsetof(struct sb_wire, segment) == 16, "segment");
static_assert(offsetof(struct sb_wire, ns_bytes) == 48, "ns_bytes");
static_assert(offsetof(struct sb_wire, epoch) == 64, "epoch");
static_assert(offsetof(struct sb_wire, identity) == 88, "identity");
static_assert(offsetof(struct sb_wire, cluster_id) == 168, "cluster_id");
static_assert(offsetof(struct sb_wire, epoch_again) == 4080, "epoch_again");
static_assert(offsetof(struct sb_wire, crc) == 4092, "crc");
static_assert(sizeof(((struct superblock *)0)->cluster_id) <=
		      sizeof(((struct sb_wire *)0)->cluster_id),
	      "cluster id fits");
static_assert(sizeof(((struct superblock *)0)->identity) ==
		      sizeof(((struct sb_wire *)0)->identity),
	      "identity fits");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian");

#define FIELD(name)                                                            \
	{                                                                      \
#name, offsetof(struct sb_wire, name),                         \
			sizeof(((struct sb_wire *)0)->name)                    \
	}
const struct sb_field sb_fields[] = {
	FIELD(magic),	    FIELD(version),	FIELD(bytes),
	FIELD(segment),	    FIELD(cluster),	FIELD(ns_bytes),
	FIELD(block_bytes), FIELD(flags),	FIELD(epoch),
	FIELD(created_s),   FIELD(data_offset), FIELD(identity),
	FIELD(cluster_id),  FIELD(zero),	FIELD(epoch_again),
	FIELD(zeros),	    FIELD(crc),
};
const size_t sb_field_count = ARRAY_SIZE(sb_fields);

bool sb_is_ours(const uint8_t in[SB_BYTES])
{
	return memcmp(in, magic, sizeof(magic)) == 0;
}

void sb_encode(const struct superblock *sb, uint8_t out[SB_BYTES])
{
	struct sb_wire w = {
		.version = SB_VERSION,
		.bytes = SB_BYTES,
		.ns_bytes = sb->ns_bytes,
		.block_bytes = sb->block_bytes,
		.epoch = sb->epoch,
		.created_s = sb->created_s,
		.data_offset = POOL_DATA_OFFSET,
		.epoch_again = sb->epoch,
	};

	memcpy(w.magic, magic, sizeof(magic));
	memcpy(w.segment, sb->segment.b, sizeof(w.segment));
	memcpy(w.cluster, sb->cluster.b, sizeof(w.cluster));
	memcpy(w.identity, sb->identity,
	       strnlen(sb->identity, sizeof(w.identity) - 1));
	memcpy(w.cluster_id, sb->cluster_id,
	       strnlen(sb->cluster_id, sizeof(sb->cluster_id) - 1));
	w.crc = crc32c(0, &w, offsetof(struct sb_wire, crc));
	memcpy(out, &w, sizeof(w));
}

static bool is_text(const char *p, size_t max)
{
	return memchr(p, 0, max) != NULL;
}

static int check_fields(const struct sb_wire *w, struct err *err)
{
	if (w->bytes != SB_BYTES || w->data_offset != POOL_DATA_OFFSET ||
	    w->flags)
		return err_set(err, -EBADMSG,
			       "superblock: layout fields are wrong "
			       "(bytes %u, data_offset %llu, flags %#x)",
			       w->bytes, (unsigned long long)w->data_offset,
			       w->flags);
	if (w->block_bytes < 512 || !IS_POW2(w->block_bytes))
		return err_set(err, -EBADMSG,
			       "superblock: block size %u is not a power of "
			       "two of at least 512",
			       w->block_bytes);
	if (w->ns_bytes < POOL_DATA_OFFSET || w->ns_bytes % w->block_bytes)
		return err_set(err, -EBADMSG,
			       "superblock: namespace size %llu is impossible",
			       (unsigned long long)w->ns_bytes);
	if (w->epoch_again && w->epoch_again != w->epoch)
		return err_set(err, -EBADMSG,
			       "superblock: two epochs, %llu and %llu",
			       (unsigned long long)w->epoch,
			       (unsigned long long)w->epoch_again);
	if (!is_text(w->identity, sizeof(w->identity)) ||
	    !is_text(w->cluster_id,
		     sizeof(((struct superblock *)0)->cluster_id)))
		return err_set(err, -EBADMSG,
			       "superblock: a text field has no end");
	return 0;
}

/*
 * Adopting a disk changes the epoch and nothing else: in the first 512 bytes,
 * and in the last beside the CRC.  A power failure between these two leaves the
 * one of a new and the other of an old superblock.  Both were right; the CRC
 * vouches for the epoch beside it, so the adoption counts as made or as not
 * begun.
 */
static bool heal_torn(struct sb_wire *w)
{
	w->epoch = w->epoch_again;
	return crc32c(0, w, offsetof(struct sb_wire, crc)) == w->crc;
}

int sb_decode(const uint8_t in[SB_BYTES], struct superblock *out,
	      struct err *err)
{
	struct sb_wire w;
	uint32_t crc;
	int ret;

	if (!sb_is_ours(in))
		return err_set(err, -ENOENT, "no superblock (magic absent)");
	memcpy(&w, in, sizeof(w));
	crc = crc32c(0, in, offsetof(struct sb_wire, crc));
	if (crc != w.crc && !heal_torn(&w))
		return err_set(err, -EBADMSG,
			       "superblock: checksum %08x, computed %08x",
			       w.crc, crc);
	if (w.version != SB_VERSION)
		return err_set(err, -EPROTONOSUPPORT,
			       "superblock: format version %u, this program "
			       "knows %u: use a newer program",
			       w.version, SB_VERSION);
	ret = check_fields(&w, err);
	if (ret)
		return ret;
	*out = (struct superblock){
		.ns_bytes = w.ns_bytes,
		.block_bytes = w.block_bytes,
		.epoch = w.epoch,
		.created_s = w.created_s,
	};
	memcpy(out->segment.b, w.segment, sizeof(w.segment));
	memcpy(out->cluster.b, w.cluster, sizeof(w.cluster));
	memcpy(out->identity, w.identity, sizeof(out->identity));
	memcpy(out->cluster_id, w.cluster_id, sizeof(out->cluster_id));
	return 0;
}
