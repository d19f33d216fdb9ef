/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File back end: opening a regular file or a block device, with O_DIRECT where
 * the file system takes it.  Set-up thread.  Invariant: fd is locked (file) or
 * opened exclusively (device) as long as the bdev lives, so one medium has one
 * owner.
 */
#include "target/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "base/log.h"

#define FILE_DEFAULT_BLOCK 4096

static void file_destroy(struct bdev *bdev)
{
	struct file *f;

	if (!bdev)
		return;
	f = container_of(bdev, struct file, bdev);
	if (f->direct_fd >= 0)
		close(f->direct_fd);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

static void *file_map(struct bdev *bdev, uint64_t off, uint64_t bytes)
{
	return NULL;
}

static bool file_refresh(struct bdev *bdev)
{
	struct file *f = container_of(bdev, struct file, bdev);
	uint64_t size = 0;
	struct stat st;

	if (f->is_device) {
		if (ioctl(f->fd, BLKGETSIZE64, &size))
			return false;
	} else if (fstat(f->fd, &st) == 0) {
		size = (uint64_t)st.st_size;
	}
	/* A growing file is of use block by block; one without any is an
	 * error that reads and writes will meet. */
	size = ALIGN_DOWN(size, (uint64_t)bdev->block);
	return size && atomic_exchange(&bdev->size, size) != size;
}

static uint64_t file_used(struct bdev *bdev)
{
	struct file *f = container_of(bdev, struct file, bdev);
	struct stat st;

	if (f->is_device || fstat(f->fd, &st))
		return UINT64_MAX;
	return (uint64_t)st.st_blocks * 512;
}

static const struct bdev_ops file_ops = {
	.kind = "file",
	.submit = file_submit,
	.map = file_map,
	.destroy = file_destroy,
	.refresh = file_refresh,
	.used = file_used,
};

static int file_open_error(const char *path, int code, struct err *err)
{
	switch (code) {
	case -ENOENT:
		return err_set(err, code,
			       "%s does not exist: create it by giving a size,"
			       " as in '%s:10g'",
			       path, path);
	case -EBUSY:
		return err_set(err, code,
			       "%s is in use (mounted, or part of a volume):"
			       " unmount it first",
			       path);
	case -EACCES:
	case -EPERM:
	case -EROFS:
		return err_set(err, code, "%s can't be opened for writing: %s",
			       path, strerror(-code));
	default:
		return err_set(err, code, "can't open %s: %s", path,
			       strerror(-code));
	}
}

/*
 * With all its space, so that no write finds the file system full later; and
 * writes to reserved space run side by side, where those to holes wait for each
 * other.
 */
static int file_give_size(int fd, const struct bdev_file_opts *o,
			  struct err *err)
{
	off_t size = (off_t)o->create_size;
	int code = fallocate(fd, 0, 0, size) ? errno : 0;

	/* Not every file system can. */
	if (code == EOPNOTSUPP || code == ENOSYS)
		code = ftruncate(fd, size) ? errno : 0;
	if (code == 0)
		return 0;
	unlink(o->path);
	if (code == ENOSPC)
		return err_set(err, -code,
			       "no room for %llu bytes in the file system of "
			       "%s: give a smaller size, or make the file "
			       "sparse yourself (truncate -s)",
			       (unsigned long long)o->create_size, o->path);
	return err_set(err, -code, "can't give %s %llu bytes: %s", o->path,
		       (unsigned long long)o->create_size, strerror(code));
}

/* A medium that can't be written is served read-only. */
static int file_open_any(struct file *f, const struct bdev_file_opts *o,
			 int flags)
{
	int fd = -1;

	if (!o->is_readonly)
		fd = open(o->path, flags | O_RDWR, 0600);
	if (o->is_readonly || (fd < 0 && errno == EROFS)) {
		f->bdev.is_readonly = true;
		fd = open(o->path, flags | O_RDONLY, 0600);
	}
	return fd;
}

static int file_open_fd(struct file *f, const struct bdev_file_opts *o,
			struct stat *st, struct err *err)
{
	int flags = O_CLOEXEC;
	bool is_new = false;
	int ret;

	if (stat(o->path, st) == 0) {
		if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
			return err_set(err, -EINVAL,
				       "%s is neither a regular file nor a"
				       " block device",
				       o->path);
		if (S_ISBLK(st->st_mode))
			flags |= O_EXCL;
	} else if (errno == ENOENT && o->create_size && !o->is_readonly) {
		flags |= O_CREAT | O_EXCL;
		is_new = true;
	} else {
		return file_open_error(o->path, -errno, err);
	}
	f->fd = file_open_any(f, o, flags);
	if (f->fd < 0 && is_new && errno == ENOENT)
		return err_set(err, -ENOENT,
			       "can't create %s: its folder does not exist",
			       o->path);
	if (f->fd < 0)
		return file_open_error(o->path, -errno, err);
	if (flock(f->fd, LOCK_EX | LOCK_NB))
		return err_set(err, -EBUSY,
			       "%s is served by another process already",
			       o->path);
	ret = is_new ? file_give_size(f->fd, o, err) : 0;
	if (ret)
		return ret;
	return fstat(f->fd, st) ? err_set(err, -errno, "can't stat %s: %s",
					  o->path, strerror(errno))
				: 0;
}

static int file_geometry(struct file *f, const struct bdev_file_opts *o,
			 const struct stat *st, struct err *err)
{
	uint32_t block = o->block ? o->block : FILE_DEFAULT_BLOCK;
	uint64_t size = (uint64_t)st->st_size;
	int sector;

	f->is_device = S_ISBLK(st->st_mode);
	if (f->is_device) {
		if (ioctl(f->fd, BLKGETSIZE64, &size) ||
		    ioctl(f->fd, BLKSSZGET, &sector))
			return err_set(err, -errno, "can't size %s: %s",
				       o->path, strerror(errno));
		if (!o->block)
			block = (uint32_t)sector;
		if (block < (uint32_t)sector)
			return err_set(err, -EINVAL,
				       "%s: block size %u: the device has"
				       " sectors of %d",
				       o->path, block, sector);
	}
	if (block != 512 && block != 4096)
		return err_set(err, -EINVAL,
			       "%s: block size %u: only 512 and 4096 work",
			       o->path, block);
	if (size == 0 || size % block)
		return err_set(err, -EINVAL,
			       "%s has %llu bytes: the size must be a multiple"
			       " of the block size %u (truncate -s changes it)",
			       o->path, (unsigned long long)size, block);
	if (o->create_size && size != o->create_size)
		return err_set(err, -EINVAL,
			       "%s exists and has %llu bytes, not %llu: leave"
			       " out the size, or remove the file",
			       o->path, (unsigned long long)size,
			       (unsigned long long)o->create_size);
	f->bdev.size = size;
	f->bdev.block = block;
	return 0;
}

static void file_direct_align(struct file *f, const char *path)
{
	struct statx sx;

	f->mem_align = f->off_align = f->bdev.block;
	if (statx(AT_FDCWD, path, 0, STATX_DIOALIGN, &sx) ||
	    !(sx.stx_mask & STATX_DIOALIGN))
		return;
	f->mem_align = sx.stx_dio_mem_align;
	f->off_align = sx.stx_dio_offset_align; /* 0: not possible */
}

/* Not an error when it can't be had: the page cache does as well. */
static void file_try_direct(struct file *f, const char *path)
{
	void *probe = NULL;
	ssize_t n = -1;

	file_direct_align(f, path);
	if (!f->mem_align || !f->off_align || f->off_align > f->bdev.block)
		return;
	f->direct_fd =
		open(path, O_CLOEXEC | O_DIRECT |
				   (f->bdev.is_readonly ? O_RDONLY : O_RDWR));
	if (f->direct_fd < 0)
		return;
	if (posix_memalign(&probe, 4096, f->bdev.block) == 0)
		n = pread(f->direct_fd, probe, f->bdev.block, 0);
	free(probe);
	if (n != (ssize_t)f->bdev.block) {
		close(f->direct_fd);
		f->direct_fd = -1;
	}
}

/* A number of the device's queue in sysfs, 0 when it is not known.  That of a
 * partition is its disk's. */
static uint32_t queue_limit(const struct stat *st, const char *name)
{
	static const char *const forms[] = {
		"/sys/dev/block/%u:%u/queue/%s",
		"/sys/dev/block/%u:%u/../queue/%s",
	};
	char path[128];
	unsigned value = 0;
	FILE *in = NULL;

	for (size_t i = 0; !in && i < ARRAY_SIZE(forms); i++) {
		snprintf(path, sizeof(path), forms[i], major(st->st_rdev),
			 minor(st->st_rdev), name);
		in = fopen(path, "re");
	}
	if (in && fscanf(in, "%u", &value) != 1)
		value = 0;
	if (in)
		fclose(in);
	return value;
}

static void device_limits(struct file *f, const struct stat *st)
{
	struct bdev *bdev = &f->bdev;
	int is_readonly = 0;

	if (ioctl(f->fd, BLKROGET, &is_readonly) == 0 && is_readonly)
		bdev->is_readonly = true;
	bdev->write_unit = queue_limit(st, "physical_block_size");
	bdev->write_best = queue_limit(st, "optimal_io_size");
	bdev->unmap_unit = queue_limit(st, "discard_granularity");
	/* What a discarded block holds is the device's secret: it may be
	 * zeros, or what was there. */
	bdev->can_unmap =
		!bdev->is_readonly && queue_limit(st, "discard_max_bytes") > 0;
}

static void file_limits(struct file *f, const struct stat *st)
{
	struct bdev *bdev = &f->bdev;
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (f->is_device) {
		device_limits(f, st);
		return;
	}
	bdev->write_unit = bdev->unmap_unit = (uint32_t)st->st_blksize;
	/* A hole behind the end: asks without changing anything. */
	bdev->can_unmap = bdev->unmap_zeroes =
		!bdev->is_readonly &&
		fallocate(f->fd, mode, st->st_size, bdev->block) == 0;
}

static void file_set_name(struct file *f, const char *path)
{
	char *real = realpath(path, NULL);

	snprintf(f->bdev.name, sizeof(f->bdev.name), "%s", real ? real : path);
	free(real);
}

int bdev_file_create(const struct bdev_file_opts *opts, struct bdev **out,
		     struct err *err)
{
	struct file *f = calloc(1, sizeof(*f));
	struct stat st;
	int ret;

	*out = NULL;
	if (!f)
		return err_set(err, -ENOMEM, "out of memory");
	f->bdev.ops = &file_ops;
	f->fd = f->direct_fd = -1;
	ret = file_open_fd(f, opts, &st, err);
	if (!ret)
		ret = file_geometry(f, opts, &st, err);
	if (ret)
		goto fail;
	file_set_name(f, opts->path);
	file_limits(f, &st);
	if (!opts->no_direct)
		file_try_direct(f, opts->path);
	log_info("namespace file open",
		 "path=%s bytes=%llu block=%u mode=%s%s holes=%s", f->bdev.name,
		 (unsigned long long)f->bdev.size, f->bdev.block,
		 f->direct_fd >= 0 ? "direct" : "buffered",
		 f->bdev.is_readonly ? ",readonly" : "",
		 f->bdev.can_unmap ? "yes" : "no");
	*out = &f->bdev;
	return 0;
fail:
	file_destroy(&f->bdev);
	return ret;
}
