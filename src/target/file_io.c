/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O of the file back end.  Any thread may submit; an I/O stays on the loop
 * it was submitted on.  Invariant: BDEV_ZERO succeeds only when the range
 * reads as zeros, by one of several ways, of which a medium may know few.
 */
#include "target/file.h"

#include <errno.h>
#include <fcntl.h>

#include "base/log.h"

#define ZEROS_BYTES (256u << 10)

enum zero_way {
	WAY_ZERO_RANGE, /* keeps the space */
	WAY_PUNCH,	/* files; tmpfs knows nothing else */
	WAY_WRITE
};

static uint8_t zeros[ZEROS_BYTES] __attribute__((aligned(4096)));

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
	struct file *f = io->owner;

	if (op->res < 0 || io->op == BDEV_FLUSH) {
		file_finish(io, MIN(op->res, 0));
	} else if (op->res == 0) {
		log_debug("namespace file ended early", "path=%s off=%llu",
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

/* Read, write, flush: what is left of it, as far as one call goes. */
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

/* --- zero and unmap --- */

static void zero_next(struct file *f, struct bdev_io *io);

static bool is_not_known(int ret)
{
	return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -EINVAL ||
	       ret == -ENOTTY;
}

static void zero_written(struct io_op *op)
{
	struct bdev_io *io = container_of(op, struct bdev_io, op_io);

	if (op->res <= 0) {
		file_finish(io, op->res ? op->res : -EIO);
		return;
	}
	io->done_bytes += (uint64_t)op->res;
	if (io->done_bytes == io->bytes)
		file_finish(io, 0);
	else
		zero_next(io->owner, io);
}

static void zero_ranged(struct io_op *op)
{
	struct bdev_io *io = container_of(op, struct bdev_io, op_io);
	struct file *f = io->owner;

	if (!is_not_known(op->res)) {
		file_finish(io, op->res);
		return;
	}
	io->way++;
	if (io->way == WAY_PUNCH && f->is_device)
		io->way++;
	atomic_store(&f->zero_way, io->way);
	zero_next(f, io);
}

static void zero_write(struct file *f, struct bdev_io *io)
{
	uint64_t left = io->bytes - io->done_bytes;
	bool is_direct = f->direct_fd >= 0 && f->mem_align <= 4096 &&
			 IS_ALIGNED(io->off | io->bytes | io->done_bytes,
				    (uint64_t)f->off_align);

	io->zeros = (struct iovec){zeros, MIN(left, (uint64_t)ZEROS_BYTES)};
	io->op_io = (struct io_op){
		.done = zero_written,
		.kind = IO_WRITE,
		.fd = is_direct ? f->direct_fd : f->fd,
		.iov = &io->zeros,
		.iovcnt = 1,
		.off = io->off + io->done_bytes,
	};
	io_submit(io->loop, &io->op_io);
}

static void zero_next(struct file *f, struct bdev_io *io)
{
	if (io->way == WAY_WRITE) {
		zero_write(f, io);
		return;
	}
	io->op_io = (struct io_op){
		.done = zero_ranged,
		.kind = IO_FALLOC,
		.fd = f->fd,
		.mode = FALLOC_FL_KEEP_SIZE |
			(io->way == WAY_PUNCH ? FALLOC_FL_PUNCH_HOLE
					      : FALLOC_FL_ZERO_RANGE),
		.off = io->off,
		.len = io->bytes,
	};
	io_submit(io->loop, &io->op_io);
}

static void unmap_done(struct io_op *op)
{
	struct bdev_io *io = container_of(op, struct bdev_io, op_io);

	file_finish(io, op->res);
}

static void unmap_nothing(struct loop_task *task)
{
	file_finish(container_of(task, struct bdev_io, task), 0);
}

static void unmap_start(struct file *f, struct bdev_io *io)
{
	if (!f->bdev.can_unmap) { /* it was only a hint */
		io->task = (struct loop_task){.run = unmap_nothing};
		loop_defer(io->loop, &io->task);
		return;
	}
	io->op_io = (struct io_op){
		.done = unmap_done,
		.kind = f->is_device ? IO_DISCARD : IO_FALLOC,
		.fd = f->fd,
		.mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
		.off = io->off,
		.len = io->bytes,
	};
	io_submit(io->loop, &io->op_io);
}

void file_submit(struct bdev *bdev, struct loop *loop, struct bdev_io *io)
{
	struct file *f = container_of(bdev, struct file, bdev);

	io->loop = loop;
	io->done_bytes = 0;
	io->owner = f;
	if (io->op == BDEV_ZERO) {
		io->way = atomic_load(&f->zero_way);
		zero_next(f, io);
	} else if (io->op == BDEV_UNMAP) {
		unmap_start(f, io);
	} else {
		file_next(f, io);
	}
}
