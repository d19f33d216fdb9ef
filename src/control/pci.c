/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks through sysfs.  Control loop; reads a few small files and 128 KiB of
 * a disk.  Invariant: nothing is written anywhere.
 */
#include "control/pci.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD_BYTES (128 << 10)

/* Where others put their marks.  Our own superblock is none of them. */
static const struct {
	uint32_t off;
	const char *bytes;
	uint8_t len;
	const char *what;
} marks[] = {
	{510, "\x55\xaa", 2, "a partition table"},
	{512, "EFI PART", 8, "a partition table"},
	{4096, "EFI PART", 8, "a partition table"},
	{1080, "\x53\xef", 2, "an ext file system"},
	{0, "XFSB", 4, "an XFS file system"},
	{65600, "_BHRfS_M", 8, "a Btrfs file system"},
	{1024, "\x10\x20\xf5\xf2", 4, "an F2FS file system"},
	{0, "LUKS\xba\xbe", 6, "a LUKS volume"},
	{0, "LABELONE", 8, "an LVM volume"},
	{512, "LABELONE", 8, "an LVM volume"},
	{1024, "LABELONE", 8, "an LVM volume"},
	{1536, "LABELONE", 8, "an LVM volume"},
	{0, "\xfc\x4e\x2b\xa9", 4, "a RAID member"},
	{4096, "\xfc\x4e\x2b\xa9", 4, "a RAID member"},
	{4086, "SWAPSPACE2", 10, "swap space"},
	{0, "bluestore block device", 22, "a Ceph OSD"},
	/* Vdev label, then the name of its first pair in XDR. */
	{16384 + 24, "version", 7, "a ZFS member"},
};

/* "nvme0n1", or "nvme0c1n1" with the kernel's multipath: nvme0n1 then. */
static bool parse_ns(const char *name, struct pci_ns *out)
{
	unsigned subsys, path, nsid;
	int n = 0;

	if (sscanf(name, "nvme%un%u%n", &subsys, &nsid, &n) == 2 && n &&
	    !name[n]) {
		snprintf(out->dev, sizeof(out->dev), "%.31s", name);
	} else if (sscanf(name, "nvme%uc%un%u%n", &subsys, &path, &nsid, &n) ==
			   3 &&
		   n && !name[n]) {
		snprintf(out->dev, sizeof(out->dev), "nvme%un%u", subsys, nsid);
	} else {
		return false;
	}
	out->nsid = nsid;
	return true;
}

/* An address and nothing that would lead elsewhere in sysfs. */
static bool is_bdf(const char *text)
{
	return text[0] &&
	       strspn(text, "0123456789abcdefABCDEF:.") == strlen(text) &&
	       strchr(text, ':') && !strstr(text, "..");
}

static int list_ns(const char *folder, struct pci_ns *out, int count)
{
	DIR *dir = opendir(folder);
	const struct dirent *e;

	while (dir && count < PCI_NS_MAX && (e = readdir(dir))) {
		if (parse_ns(e->d_name, &out[count]))
			count++;
	}
	if (dir)
		closedir(dir);
	return count;
}

int pci_namespaces(const char *sysfs, const char *bdf,
		   struct pci_ns out[PCI_NS_MAX], struct err *err)
{
	char folder[PATH_MAX], ctrl[PATH_MAX];
	const struct dirent *e;
	int count = 0;
	DIR *dir = NULL;

	snprintf(folder, sizeof(folder), "%s/bus/pci/devices/%.20s/nvme", sysfs,
		 bdf);
	if (is_bdf(bdf))
		dir = opendir(folder);
	if (!dir)
		return err_set(err, -ENODEV,
			       "no NVMe drive of the kernel's driver at PCI "
			       "address '%.20s'; one that was given to "
			       "vfio-pci must be given back",
			       bdf);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		if (snprintf(ctrl, sizeof(ctrl), "%s/%s", folder, e->d_name) <
		    (int)sizeof(ctrl))
			count = list_ns(ctrl, out, count);
	}
	closedir(dir);
	return count ? count
		     : err_set(err, -ENODEV,
			       "the drive at %.20s has no namespace", bdf);
}

/* A name in the folder that is one of the device's partitions; or, with
 * prefix "", any. */
static bool has_entry(const char *folder, const char *prefix)
{
	DIR *dir = opendir(folder);
	size_t n = strlen(prefix);
	const struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir)))
		found = e->d_name[0] != '.' && strlen(e->d_name) > n &&
			strncmp(e->d_name, prefix, n) == 0;
	if (dir)
		closedir(dir);
	return found;
}

static const char *find_mark(const uint8_t *head, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		if (marks[i].off + marks[i].len <= n &&
		    memcmp(head + marks[i].off, marks[i].bytes, marks[i].len) ==
			    0)
			return marks[i].what;
	}
	return NULL;
}

static int check_marks(const char *path, struct err *err)
{
	uint8_t *head = calloc(1, HEAD_BYTES);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 && head ? pread(fd, head, HEAD_BYTES, 0) : -1;
	const char *what = NULL;
	int ret = 0;

	if (n < 0)
		ret = err_set(err, head ? -errno : -ENOMEM, "%s: %s", path,
			      strerror(head ? errno : ENOMEM));
	else
		what = find_mark(head, (size_t)n);
	if (what)
		ret = err_set(err, -EBUSY,
			      "%s carries %s: it is left alone (wipefs -a "
			      "makes it free, and its data unreachable)",
			      path, what);
	if (fd >= 0)
		close(fd);
	free(head);
	return ret;
}

int pci_ns_check_unused(const char *sysfs, const struct pci_ns *ns,
			const char *path, struct err *err)
{
	char folder[PATH_MAX];

	snprintf(folder, sizeof(folder), "%s/class/block/%s", sysfs, ns->dev);
	if (has_entry(folder, ns->dev))
		return err_set(err, -EBUSY, "%s has partitions", path);
	snprintf(folder, sizeof(folder), "%s/class/block/%s/holders", sysfs,
		 ns->dev);
	if (has_entry(folder, ""))
		return err_set(err, -EBUSY, "%s is part of a volume", path);
	return check_marks(path, err);
}
