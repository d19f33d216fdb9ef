/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAM back end: the medium is memory, own or the caller's.  Any thread may
 * submit; overlapping commands race exactly as they would on a disk.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/memory.h"
#include "target/bdev.h"

#define ZERO_STEP  (4u << 20)
#define SMALL_PAGE 4096u
#define HUGE_PAGE  (2u << 20)

struct ram {
	struct bdev bdev;
	uint8_t *mem;
	bool is_own;
	size_t page; /* what the kernel takes back, own memory only */
};

static void *ram_map(struct bdev *bdev, uint64_t off, uint64_t bytes)
{
	struct ram *ram = container_of(bdev, struct ram, bdev);

	ASSERT(off <= bdev->size && bytes <= bdev->size - off);
	return ram->mem + off;
}

static void ram_copy(const struct bdev_io *io, uint8_t *p)
{
	for (unsigned i = 0; i < io->iovcnt; i++) {
		if (io->op == BDEV_READ)
			memcpy(io->iov[i].iov_base, p, io->iov[i].iov_len);
		else
			memcpy(p, io->iov[i].iov_base, io->iov[i].iov_len);
		p += io->iov[i].iov_len;
	}
}

/*
 * Memory of our own goes back to the kernel and reads as zeros when it is met
 * again; the caller's may be shared with others, who must see the zeros.  Only
 * whole pages: the kernel rounds the length of small ones up, over what is not
 * meant, and that of huge ones down, so that old bytes would stay.
 */
static void ram_unmap(const struct ram *ram, uint8_t *p, uint64_t bytes)
{
	uintptr_t from = ALIGN_UP((uintptr_t)p, (uintptr_t)ram->page);
	uintptr_t to = ALIGN_DOWN((uintptr_t)p + bytes, (uintptr_t)ram->page);

	if (from >= to || madvise((void *)from, to - from, MADV_DONTNEED)) {
		memset(p, 0, bytes);
		return;
	}
	memset(p, 0, from - (uintptr_t)p);
	memset((void *)to, 0, (uintptr_t)p + bytes - to);
}

static void ram_zero(const struct ram *ram, uint8_t *p, uint64_t bytes,
		     bool is_unmap)
{
	if (is_unmap && ram->is_own)
		ram_unmap(ram, p, bytes);
	else
		memset(p, 0, bytes);
}

/* Pages that can't be parted refuse a start inside of one. */
static size_t page_of(uint8_t *mem, uint64_t size)
{
	bool is_huge = size >= HUGE_PAGE &&
		       madvise(mem + SMALL_PAGE, SMALL_PAGE, MADV_DONTNEED);

	return is_huge ? HUGE_PAGE : (size_t)sysconf(_SC_PAGESIZE);
}

/* A long range is done in pieces, so that the loop does other things too. */
static void ram_step(struct loop_task *task)
{
	struct bdev_io *io = container_of(task, struct bdev_io, task);
	bool is_zero = io->op == BDEV_ZERO || io->op == BDEV_UNMAP;
	struct ram *ram = io->owner;
	uint64_t n;

	if (is_zero && io->done_bytes < io->bytes) {
		n = MIN(io->bytes - io->done_bytes, (uint64_t)ZERO_STEP);
		ram_zero(ram, ram->mem + io->off + io->done_bytes, n,
			 io->op == BDEV_UNMAP);
		io->done_bytes += n;
		loop_defer(io->loop, &io->task);
	} else {
		io->done(io);
	}
}

static void ram_submit(struct bdev *bdev, struct loop *loop, struct bdev_io *io)
{
	uint8_t *p = ram_map(bdev, io->off, io->bytes);

	io->ret = 0;
	io->loop = loop;
	io->owner = container_of(bdev, struct ram, bdev);
	io->done_bytes = 0;
	if (io->op == BDEV_READ || io->op == BDEV_WRITE)
		ram_copy(io, p);
	io->task = (struct loop_task){.run = ram_step};
	loop_defer(loop, &io->task);
}

static void ram_destroy(struct bdev *bdev)
{
	struct ram *ram = container_of(bdev, struct ram, bdev);

	if (ram->is_own && ram->mem)
		mem_unmap(ram->mem, bdev->size);
	free(ram);
}

static const struct bdev_ops ram_ops = {
	.kind = "ram",
	.submit = ram_submit,
	.map = ram_map,
	.destroy = ram_destroy,
};

int bdev_ram_create(void *mem, uint64_t size, struct bdev **out,
		    struct err *err)
{
	struct ram *ram;
	void *p = mem;

	*out = NULL;
	if (size == 0 || size % 4096)
		return err_set(err, -EINVAL,
			       "RAM namespace of %llu bytes: the size must be a"
			       " multiple of 4096",
			       (unsigned long long)size);
	ram = calloc(1, sizeof(*ram));
	if (!ram)
		return err_set(err, -ENOMEM, "out of memory");
	if (!mem && mem_map(size, true, &p)) {
		free(ram);
		return err_set(err, -ENOMEM,
			       "can't map %llu bytes for a RAM namespace: give"
			       " it less, or free memory",
			       (unsigned long long)size);
	}
	ram->mem = p;
	ram->is_own = !mem;
	if (ram->is_own)
		ram->page = page_of(p, size);
	ram->bdev = (struct bdev){.ops = &ram_ops,
				  .size = size,
				  .block = 4096,
				  .can_unmap = true,
				  .unmap_zeroes = true};
	snprintf(ram->bdev.name, sizeof(ram->bdev.name), "ram:%llu",
		 (unsigned long long)size);
	*out = &ram->bdev;
	return 0;
}
