/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first 4 KiB of every pool namespace (docs/on-disk.md), and the judgement
 * of what a disk holds that is not ours.  Pure bytes.
 */
#ifndef POOL_SUPERBLOCK_H
#define POOL_SUPERBLOCK_H

#include "base/err.h"
#include "base/uuid.h"

#define SB_BYTES   4096
#define SB_VERSION 1
/* What label_judge() wants to see of a disk's head and tail. */
#define LABEL_HEAD_BYTES (1u << 20)
#define LABEL_TAIL_BYTES (256u << 10)
/* Where extents begin: the superblock and room for its copies and for what a
 * later version may need. */
#define POOL_DATA_OFFSET (1u << 20)

struct superblock {
	struct uuid segment;
	struct uuid cluster; /* derived from the cluster id's text */
	char cluster_id[129];
	char identity[80]; /* "uuid:…", "nguid:…", "eui:…" or "none" */
	uint64_t ns_bytes;
	uint32_t block_bytes;
	uint64_t epoch;	    /* of the life of a master that adopted it */
	uint64_t created_s; /* wall clock, for people */
};

void sb_encode(const struct superblock *sb, uint8_t out[SB_BYTES]);
/* -ENOENT: magic absent; -EPROTONOSUPPORT: newer version; -EBADMSG: CRC or
 * a field is wrong; err says which.  One that was torn while its epoch was
 * written anew is the one or the other, whole. */
int sb_decode(const uint8_t in[SB_BYTES], struct superblock *out,
	      struct err *err);
/* The magic alone: says "ours" also of a superblock that can't be decoded. */
bool sb_is_ours(const uint8_t in[SB_BYTES]);

/* Where each field stands; the table in docs/on-disk.md is compared to it. */
struct sb_field {
	const char *name;
	size_t off, bytes;
};
extern const struct sb_field sb_fields[];
extern const size_t sb_field_count;

enum label_kind {
	LABEL_EMPTY,
	LABEL_OURS,
	LABEL_FOREIGN
};

/*
 * head: first bytes of the disk, tail: last bytes (may be NULL).  Recognises
 * partition tables, file systems, LVM, MD, ZFS, Ceph, LUKS, swap by name;
 * whatever else is not zero is "unknown data".  what gets a text like
 * "an ext4 file system" (for FOREIGN).
 */
enum label_kind label_judge(const uint8_t *head, size_t head_len,
			    const uint8_t *tail, size_t tail_len,
			    char what[128]);

#endif
