/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk holds that is not ours: a table of signatures, and a few that
 * need more than a comparison.  The offsets are those of the formats' own
 * documents (as in util-linux' libblkid).
 *
 * Pure functions, any thread.  Invariant: bytes that are not all zero are never
 * judged to be empty.
 */
#include "pool/superblock.h"

#include <stdio.h>
#include <string.h>

struct bytes {
	const uint8_t *p;
	size_t n;
};

struct signature {
	int64_t off; /* < 0: from the end of the disk */
	const char *magic;
	size_t len;
	const char *what;
};

#define SIG(off, magic, what)                                                  \
	{                                                                      \
		off, magic, sizeof(magic) - 1, what                            \
	}

/* The first match counts: what is a container of others stands first. */
static const struct signature signatures[] = {
	SIG(0, "LUKS\xba\xbe", "a LUKS encrypted volume"),
	SIG(16384, "SKUL\xba\xbe", "a LUKS2 encrypted volume"),
	SIG(0, "bluestore block device", "a Ceph BlueStore OSD"),
	SIG(0, "SPDKBLOB", "an SPDK blobstore"),
	SIG(0, "integrt\0", "a dm-integrity volume"),
	SIG(0, "dmvdo001", "a VDO volume"),
	SIG(516, "!Stra0tis\x86\xff\x02^Arh", "a Stratis pool member"),
	SIG(32, "ORCLDISK", "an Oracle ASM disk"),
	SIG(4120, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca", "a bcache device"),
	SIG(4120, "\xc6\x85\x73\xf6\x66\xce\x90\xa9", "a bcachefs file system"),
	SIG(0, "XFSB", "an XFS file system"),
	SIG(65600, "_BHRfS_M", "a Btrfs file system"),
	SIG(4086, "SWAPSPACE2", "a Linux swap area"),
	SIG(4086, "SWAP-SPACE", "an old Linux swap area"),
	SIG(4086, "S1SUSPEND", "a suspended Linux swap area"),
	SIG(8182, "SWAPSPACE2", "a Linux swap area"),
	SIG(16374, "SWAPSPACE2", "a Linux swap area"),
	SIG(65526, "SWAPSPACE2", "a Linux swap area"),
	SIG(1024, "\x10\x20\xf5\xf2", "an F2FS file system"),
	SIG(1024, "\xe2\xe1\xf5\xe0", "an EROFS file system"),
	SIG(0, "hsqs", "a SquashFS file system"),
	SIG(65588, "ReIsEr", "a ReiserFS file system"),
	SIG(32768, "JFS1", "a JFS file system"),
	SIG(65536, "\x01\x16\x19\x70", "a GFS2 file system"),
	SIG(2048, "OCFSV2", "an OCFS2 file system"),
	SIG(4096, "OCFSV2", "an OCFS2 file system"),
	SIG(8192, "OCFSV2", "an OCFS2 file system"),
	SIG(32, "NXSB", "an APFS container"),
	SIG(1024, "H+\0\x04", "an HFS+ file system"),
	SIG(3, "NTFS    ", "an NTFS file system"),
	SIG(3, "EXFAT   ", "an exFAT file system"),
	SIG(82, "FAT32   ", "a FAT file system"),
	SIG(54, "FAT16   ", "a FAT file system"),
	SIG(54, "FAT12   ", "a FAT file system"),
	SIG(512, "EFI PART", "a GPT partition table"),
	SIG(4096, "EFI PART", "a GPT partition table"),
	SIG(-512, "EFI PART", "a backup GPT partition table"),
	SIG(-4096, "EFI PART", "a backup GPT partition table"),
	SIG(512, "\x57\x45\x56\x82", "a BSD disk label"),
	/* Hybrid images have a partition table, too: that was looked for. */
	SIG(32769, "CD001", "an ISO 9660 image"),
	SIG(32769, "BEA01", "a UDF file system"),
	SIG(-512, "\xde\x11\xde\x11", "a DDF RAID member"),
	SIG(-1024, "Intel Raid ISM Cfg Sig. ", "an Intel RAID member"),
};

static bool has(struct bytes b, int64_t off, const void *magic, size_t len)
{
	size_t at = (size_t)off;

	if (off < 0) {
		if ((uint64_t)-off > b.n)
			return false;
		at = b.n - (size_t)-off;
	}
	return at <= b.n && len <= b.n - at && !memcmp(b.p + at, magic, len);
}

static uint32_t get32(struct bytes b, size_t off)
{
	uint32_t v = 0;

	if (off + sizeof(v) <= b.n)
		memcpy(&v, b.p + off, sizeof(v));
	return v;
}

static const char *find_signature(struct bytes head, struct bytes tail)
{
	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
		const struct signature *sig = &signatures[i];

		if (has(sig->off < 0 ? tail : head, sig->off, sig->magic,
			sig->len))
			return sig->what;
	}
	return NULL;
}

/* ext superblock at 1024: magic at 56, compatible features at 92 (journal 4),
 * incompatible ones at 96 (extents 0x40, 64 bit 0x80). */
static const char *find_ext(struct bytes head)
{
	if (!has(head, 1080, "\x53\xef", 2))
		return NULL;
	if (get32(head, 1120) & 0xc0)
		return "an ext4 file system";
	if (get32(head, 1116) & 4)
		return "an ext3 file system";
	return "an ext2 file system";
}

/* The label may stand in any of the first four sectors. */
static const char *find_lvm(struct bytes head)
{
	for (int64_t off = 0; off < 4 * 512; off += 512)
		if (has(head, off, "LABELONE", 8) &&
		    has(head, off + 24, "LVM2 001", 8))
			return "an LVM2 physical volume";
	return NULL;
}

#define MD_MAGIC "\xfc\x4e\x2b\xa9"

/* 1.1 at the begin, 1.2 at 4 KiB, 1.0 and 0.90 somewhere near the end, where
 * depends on the exact size: every sector is looked at. */
static const char *find_md(struct bytes head, struct bytes tail)
{
	static const char what[] = "a Linux MD RAID member";

	for (size_t off = 0; off <= 4096; off += 4096)
		if (has(head, (int64_t)off, MD_MAGIC, 4) &&
		    get32(head, off + 4) == 1)
			return what;
	for (size_t off = tail.n % 512; off + 12 <= tail.n; off += 512)
		if (has(tail, (int64_t)off, MD_MAGIC, 4) &&
		    (get32(tail, off + 4) == 1 ||
		     (get32(tail, off + 4) == 0 && get32(tail, off + 8) == 90)))
			return what;
	return NULL;
}

/* Uberblocks: the upper half of each 256 KiB label, one per KiB at least, in
 * either byte order; two labels at the begin, two at the end. */
static const char *find_zfs(struct bytes head, struct bytes tail)
{
	static const char what[] = "a ZFS pool member";
	struct bytes parts[2] = {{head.p, MIN(head.n, (size_t)(512 * KiB))},
				 tail};

	for (int i = 0; i < 2; i++) {
		struct bytes b = parts[i];

		for (size_t off = b.n % 1024; off + 8 <= b.n; off += 1024)
			if (!memcmp(b.p + off, "\x0c\xb1\xba\0\0\0\0\0", 8) ||
			    !memcmp(b.p + off, "\0\0\0\0\0\xba\xb1\x0c", 8))
				return what;
	}
	return NULL;
}

/* A partition that has a type and a size, and no impossible boot flag. */
static const char *find_mbr(struct bytes head)
{
	unsigned good = 0;

	if (!has(head, 510, "\x55\xaa", 2))
		return NULL;
	for (size_t off = 446; off < 510; off += 16) {
		if (head.p[off] & 0x7f)
			return NULL;
		good += head.p[off + 4] && get32(head, off + 12);
	}
	return good ? "an MBR partition table" : NULL;
}

/* Offset of the first byte that is not zero, or n. */
static size_t find_data(struct bytes b)
{
	size_t i = 0;

	for (; i < b.n && !b.p[i]; i++)
		;
	return i;
}

static enum label_kind foreign(char what[128], const char *text)
{
	snprintf(what, 128, "%s", text);
	return LABEL_FOREIGN;
}

static enum label_kind judge_rest(struct bytes head, struct bytes tail,
				  char what[128])
{
	size_t at = find_data(head);

	if (at < head.n) {
		snprintf(what, 128, "unknown data (first at byte %zu)", at);
		return LABEL_FOREIGN;
	}
	at = find_data(tail);
	if (at < tail.n) {
		snprintf(what, 128, "unknown data (%zu bytes before its end)",
			 tail.n - at);
		return LABEL_FOREIGN;
	}
	snprintf(what, 128, "nothing");
	return LABEL_EMPTY;
}

enum label_kind label_judge(const uint8_t *head, size_t head_len,
			    const uint8_t *tail, size_t tail_len,
			    char what[128])
{
	struct bytes h = {head, head_len}, t = {tail, tail ? tail_len : 0};
	struct superblock sb;
	struct err err = {0};
	const char *text;

	if (head_len >= SB_BYTES && sb_is_ours(head)) {
		if (sb_decode(head, &sb, &err) == 0) {
			snprintf(what, 128, "a Mooncake pool segment");
			return LABEL_OURS;
		}
		snprintf(what, 128, "a damaged Mooncake pool segment (%.80s)",
			 err.text);
		return LABEL_FOREIGN;
	}
	text = find_lvm(h);
	text = text ? text : find_md(h, t);
	text = text ? text : find_zfs(h, t);
	text = text ? text : find_ext(h);
	text = text ? text : find_signature(h, t);
	text = text ? text : find_mbr(h);
	if (text)
		return foreign(what, text);
	return judge_rest(h, t, what);
}
