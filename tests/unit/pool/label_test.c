/* SPDX-License-Identifier: Apache-2.0 */
/* Labels: bytes placed where each format has them, and images made by the
 * formats' own tools where these are installed. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "pool/superblock.h"

struct disk {
	uint8_t *head, *tail;
};

static int setup(void **state)
{
	static struct disk d;

	d.head = calloc(1, LABEL_HEAD_BYTES);
	d.tail = calloc(1, LABEL_TAIL_BYTES);
	*state = &d;
	return d.head && d.tail ? 0 : -1;
}

static int teardown(void **state)
{
	struct disk *d = *state;

	free(d->head);
	free(d->tail);
	return 0;
}

static enum label_kind judge(const struct disk *d, char what[128])
{
	return label_judge(d->head, LABEL_HEAD_BYTES, d->tail, LABEL_TAIL_BYTES,
			   what);
}

static void expect(struct disk *d, const char *want)
{
	char what[128];

	assert_int_equal(judge(d, what), LABEL_FOREIGN);
	if (!strstr(what, want))
		fail_msg("'%s' is not in '%s'", want, what);
	memset(d->head, 0, LABEL_HEAD_BYTES);
	memset(d->tail, 0, LABEL_TAIL_BYTES);
}

static void put(uint8_t *p, size_t off, const char *magic, size_t n)
{
	memcpy(p + off, magic, n);
}

static void test_empty_and_unknown(void **state)
{
	struct disk *d = *state;
	char what[128];

	assert_int_equal(judge(d, what), LABEL_EMPTY);
	assert_int_equal(label_judge(d->head, SB_BYTES, NULL, 0, what),
			 LABEL_EMPTY);
	d->head[LABEL_HEAD_BYTES - 1] = 1;
	expect(d, "unknown data (first at byte 1048575)");
	d->tail[LABEL_TAIL_BYTES - 3] = 1;
	expect(d, "unknown data (3 bytes before its end)");
}

static void test_ours(void **state)
{
	struct superblock sb = {.ns_bytes = GiB, .block_bytes = 512};
	struct disk *d = *state;
	char what[128];

	sb_encode(&sb, d->head);
	assert_int_equal(judge(d, what), LABEL_OURS);
	d->head[100] ^= 1;
	expect(d, "damaged Mooncake pool segment");
}

static const struct {
	long off; /* < 0: from the end */
	const char *magic;
	size_t n;
	const char *want;
} placed[] = {
	{0, "LUKS\xba\xbe", 6, "LUKS"},
	{0, "bluestore block device\n", 23, "BlueStore"},
	{0, "XFSB", 4, "XFS"},
	{65600, "_BHRfS_M", 8, "Btrfs"},
	{4086, "SWAPSPACE2", 10, "swap"},
	{65526, "SWAPSPACE2", 10, "swap"},
	{1024, "\x10\x20\xf5\xf2", 4, "F2FS"},
	{3, "NTFS    ", 8, "NTFS"},
	{82, "FAT32   ", 8, "FAT"},
	{32769, "CD001", 5, "ISO 9660"},
	{512, "EFI PART", 8, "GPT"},
	{4096, "EFI PART", 8, "GPT"},
	{-512, "EFI PART", 8, "backup GPT"},
	{4096, "\xfc\x4e\x2b\xa9\1\0\0\0", 8, "MD RAID"},
	{0, "\xfc\x4e\x2b\xa9\1\0\0\0", 8, "MD RAID"},
	{-8192, "\xfc\x4e\x2b\xa9\1\0\0\0", 8, "MD RAID"},
	{-65536, "\xfc\x4e\x2b\xa9\0\0\0\0\x5a\0\0\0", 12, "MD RAID"},
	{131072, "\x0c\xb1\xba\0\0\0\0\0", 8, "ZFS"},
	{131072 + 5 * 4096, "\0\0\0\0\0\xba\xb1\x0c", 8, "ZFS"},
	{-1024, "\x0c\xb1\xba\0\0\0\0\0", 8, "ZFS"},
	{0, "SPDKBLOB", 8, "SPDK"},
	{1080, "\x53\xef", 2, "ext2"},
};

static void test_placed(void **state)
{
	struct disk *d = *state;

	for (size_t i = 0; i < ARRAY_SIZE(placed); i++) {
		if (placed[i].off < 0)
			put(d->tail,
			    (size_t)((long)LABEL_TAIL_BYTES + placed[i].off),
			    placed[i].magic, placed[i].n);
		else
			put(d->head, (size_t)placed[i].off, placed[i].magic,
			    placed[i].n);
		expect(d, placed[i].want);
	}
}

static void test_lvm(void **state)
{
	struct disk *d = *state;

	put(d->head, 512, "LABELONE", 8);
	expect(d, "unknown data");
	put(d->head, 512, "LABELONE", 8);
	put(d->head, 536, "LVM2 001", 8);
	expect(d, "LVM2");
}

static void test_mbr(void **state)
{
	struct disk *d = *state;

	put(d->head, 510, "\x55\xaa", 2);
	expect(d, "unknown data");
	put(d->head, 510, "\x55\xaa", 2);
	d->head[450] = 0x83;
	d->head[458] = 1;
	expect(d, "MBR partition table");
}

/* Short or absent parts are no reason to read beyond them. */
static void test_short(void **state)
{
	char what[128];
	uint8_t *p;

	for (size_t n = 0; n < 9000; n += 511) {
		p = malloc(n + 1);
		assert_non_null(p);
		memset(p, 0, n + 1);
		assert_int_equal(label_judge(p, n, p, n, what), LABEL_EMPTY);
		free(p);
	}
}

static void check_tool(struct disk *d, const char *tool, const char *cmd,
		       const char *want)
{
	char path[] = "/tmp/label-XXXXXX", full[256];
	int fd, ret;

	if (access(tool, X_OK)) {
		print_message("%s is not installed: not tried\n", tool);
		return;
	}
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 64 * MiB), 0);
	snprintf(full, sizeof(full), cmd, tool, path);
	ret = system(full);
	assert_int_equal(ret, 0);
	assert_int_equal(pread(fd, d->head, LABEL_HEAD_BYTES, 0),
			 LABEL_HEAD_BYTES);
	assert_int_equal(pread(fd, d->tail, LABEL_TAIL_BYTES,
			       64 * MiB - LABEL_TAIL_BYTES),
			 LABEL_TAIL_BYTES);
	close(fd);
	unlink(path);
	expect(d, want);
}

static void test_tools(void **state)
{
	struct disk *d = *state;

	check_tool(d, "/usr/sbin/mkfs.ext4", "%s -q %s", "ext4");
	check_tool(d, "/usr/sbin/mkfs.ext3", "%s -q %s", "ext3");
	check_tool(d, "/usr/sbin/mkfs.ext2", "%s -q %s", "ext2");
	check_tool(d, "/usr/sbin/mkswap", "%s %s >/dev/null 2>&1", "swap");
	check_tool(d, "/usr/sbin/sfdisk",
		   "echo 'label: gpt\n,10M' | %s -q %s >/dev/null 2>&1",
		   "GPT partition table");
	check_tool(d, "/usr/sbin/sfdisk",
		   "echo 'label: dos\n,10M' | %s -q %s >/dev/null 2>&1",
		   "MBR partition table");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_and_unknown),
		cmocka_unit_test(test_ours),
		cmocka_unit_test(test_placed),
		cmocka_unit_test(test_lvm),
		cmocka_unit_test(test_mbr),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_tools),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
