/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File back end: a regular file or a block device, with O_DIRECT where the
 * file system takes it.  Any thread may submit; an I/O stays on the loop it
 * was submitted on.  Invariant: fd is locked (file) or opened exclusively
 * (device) as long as the bdev lives, so one medium has one owner.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "target/bdev.h"

#define FILE_DEFAULT_BLOCK 4096

struct file {
	struct bdev bdev;
	int fd;	       /* through the page cache; carries the lock */
	int direct_fd; /* O_DIRECT, or -1 */
	uint32_t mem_align, off_align;
};

static bool file_fits_direct(const struct file *f, const struct bdev_io *io)
{
	if (f->direct_fd < 0 || !IS_ALIGNED(io->off, (uint64_t)f->off_align))
		return false;
	for (unsigned i = 0; i < io->iovcnt; i++) {
		if ((uintptr_t)io->iov[i].iov_base % f->mem_align ||
		    io->iov[i].iov_len % f->off_align)
			return false;
	}
	return true;
}

static void file_finish(struct bdev_io *io, int ret)
{
	io->ret = ret;
	io->done(io);
}

/* Takes n bytes that are done off the front of the iovecs. */
static void file_advance(struct bdev_io *io, size_t n)
{
	io->done_bytes += n;
	while (n && n >= io->iov->iov_len) {
		n -= io->iov->iov_len;
		io->iov++;
		io->iovcnt--;
	}
	if (n) {
		io->iov->iov_base = (char *)io->iov->iov_base + n;
		io->iov->iov_len -= n;
	}
}

static void file_next(struct file *f, struct bdev_io *io);

static void file_done(struct io_op *op)
{
	struct bdev_io *io = container_of(op, struct bdev_io, op_io);
	struct file *f = io->bounce;

	if (op->res < 0 || io->op == BDEV_FLUSH) {
		file_finish(io, MIN(op->res, 0));
	} else if (op->res == 0) {
		log_warn("namespace file ended early", "path=%s off=%llu",
			 f->bdev.name,
			 (unsigned long long)(io->off + io->done_bytes));
		file_finish(io, -EIO);
	} else {
		file_advance(io, (size_t)op->res);
		if (io->done_bytes == io->bytes)
			file_finish(io, 0);
		else
			file_next(f, io);
	}
}

static void file_next(struct file *f, struct bdev_io *io)
{
	static const enum io_kind kinds[] = {
		[BDEV_READ] = IO_READ,
		[BDEV_WRITE] = IO_WRITE,
		[BDEV_FLUSH] = IO_FSYNC,
	};
	bool is_direct = io->op != BDEV_FLUSH && file_fits_direct(f, io);

	io->op_io = (struct io_op){
		.done = file_done,
		.kind = kinds[io->op],
		.fd = is_direct ? f->direct_fd : f->fd,
		.iov = io->iov,
		.iovcnt = MIN(io->iovcnt, (unsigned)IO_IOV_MAX),
		.off = io->off + io->done_bytes,
	};
	io_submit(io->loop, &io->op_io);
}

static void file_submit(struct bdev *bdev, struct loop *loop,
			struct bdev_io *io)
{
	struct file *f = container_of(bdev, struct file, bdev);

	io->loop = loop;
	io->done_bytes = 0;
	io->bounce = f;
	file_next(f, io);
}

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

static const struct bdev_ops file_ops = {
	.kind = "file",
	.submit = file_submit,
	.map = file_map,
	.destroy = file_destroy,
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

static int file_open_fd(struct file *f, const struct bdev_file_opts *o,
			struct stat *st, struct err *err)
{
	int flags = O_RDWR | O_CLOEXEC;
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
	} else if (errno == ENOENT && o->create_size) {
		flags |= O_CREAT | O_EXCL;
		is_new = true;
	} else {
		return file_open_error(o->path, -errno, err);
	}
	f->fd = open(o->path, flags, 0600);
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

	if (S_ISBLK(st->st_mode)) {
		if (ioctl(f->fd, BLKGETSIZE64, &size) ||
		    ioctl(f->fd, BLKSSZGET, &sector))
			return err_set(err, -errno, "can't size %s: %s",
				       o->path, strerror(errno));
		if (!o->block)
			block = (uint32_t)sector;
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
	f->direct_fd = open(path, O_RDWR | O_CLOEXEC | O_DIRECT);
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
	if (!opts->no_direct)
		file_try_direct(f, opts->path);
	log_info("namespace file open", "path=%s bytes=%llu block=%u mode=%s",
		 f->bdev.name, (unsigned long long)f->bdev.size, f->bdev.block,
		 f->direct_fd >= 0 ? "direct" : "buffered");
	*out = &f->bdev;
	return 0;
fail:
	file_destroy(&f->bdev);
	return ret;
}
