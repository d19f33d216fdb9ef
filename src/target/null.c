/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Null back end: no medium at all, for measuring everything else.  Any thread
 * may submit.  Invariant: what is read is zeros, whatever was written.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/bdev.h"

static void null_done(struct loop_task *task)
{
	struct bdev_io *io = container_of(task, struct bdev_io, task);

	io->done(io);
}

static void null_submit(struct bdev *bdev, struct loop *loop,
			struct bdev_io *io)
{
	for (unsigned i = 0; io->op == BDEV_READ && i < io->iovcnt; i++)
		memset(io->iov[i].iov_base, 0, io->iov[i].iov_len);
	io->ret = 0;
	io->task = (struct loop_task){.run = null_done};
	loop_defer(loop, &io->task);
}

static void *null_map(struct bdev *bdev, uint64_t off, uint64_t bytes)
{
	return NULL;
}

static void null_destroy(struct bdev *bdev)
{
	free(bdev);
}

static uint64_t null_used(struct bdev *bdev)
{
	return 0;
}

static const struct bdev_ops null_ops = {
	.kind = "null",
	.submit = null_submit,
	.map = null_map,
	.destroy = null_destroy,
	.used = null_used,
};

int bdev_null_create(uint64_t size, uint32_t block, struct bdev **out,
		     struct err *err)
{
	struct bdev *bdev;

	*out = NULL;
	block = block ? block : 4096;
	if (block != 512 && block != 4096)
		return err_set(err, -EINVAL,
			       "null namespace: block size %u: only 512 and"
			       " 4096 work",
			       block);
	if (size == 0 || size % block || size > INT64_MAX)
		return err_set(err, -EINVAL,
			       "null namespace of %llu bytes: the size must be"
			       " a multiple of the block size %u",
			       (unsigned long long)size, block);
	bdev = calloc(1, sizeof(*bdev));
	if (!bdev)
		return err_set(err, -ENOMEM, "out of memory");
	bdev->ops = &null_ops;
	bdev->size = size;
	bdev->block = block;
	bdev->can_unmap = bdev->unmap_zeroes = true;
	snprintf(bdev->name, sizeof(bdev->name), "null:%llu",
		 (unsigned long long)size);
	*out = bdev;
	return 0;
}
