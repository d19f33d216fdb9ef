/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Simulated disks.  A medium outlives the targets that serve it; a command
 * takes effect when it completes.  Invariant: what is pending belongs to the
 * target that lives now.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define SECTOR	   4096
#define DATA_OFF   MiB /* superblocks are hit by swaps alone */
#define LATENCY_NS (100 * NS_PER_US)

struct disk {
	struct bdev bdev;
	struct medium *m;
};

struct disk_io {
	struct list node; /* medium.pending */
	struct timer timer;
	struct medium *m;
	struct bdev_io *io;
};

void medium_init(struct medium *m, uint64_t id, bool is_foreign)
{
	*m = (struct medium){.is_foreign = is_foreign, .bytes = DISK_BYTES};
	m->mem = calloc(1, DISK_BYTES + MiB); /* it may grow */
	CHECK(m->mem);
	list_init(&m->pending);
	medium_name(m, id);
}

void medium_name(struct medium *m, uint64_t id)
{
	memcpy(m->id.b, &id, sizeof(id));
	m->id.b[15] = 1;
}

void medium_fill(struct medium *m, const struct medium *copy, uint8_t byte)
{
	if (copy) {
		memcpy(m->mem, copy->mem, DISK_BYTES);
		return;
	}
	memset(m->mem, 0, DISK_BYTES);
	memset(m->mem, byte, 2 * MiB);
}

/* --- what a command does --- */

static void move(const struct bdev_io *io, uint8_t *p, uint64_t limit)
{
	uint64_t done = 0;

	for (unsigned i = 0; i < io->iovcnt && done < limit; i++) {
		uint64_t n = MIN((uint64_t)io->iov[i].iov_len, limit - done);

		if (io->op == BDEV_READ)
			memcpy(io->iov[i].iov_base, p + done, n);
		else
			memcpy(p + done, io->iov[i].iov_base, n);
		done += n;
	}
}

static bool overlaps(const struct medium *m, const struct bdev_io *io)
{
	return m->bad_bytes && io->off < m->bad_off + m->bad_bytes &&
	       m->bad_off < io->off + io->bytes;
}

static void medium_write(struct medium *m, struct bdev_io *io, uint64_t limit)
{
	uint64_t off = io->off;

	if (m->is_foreign && m->foreign_writes++ == 0)
		note("foreign disk %d is written to at %llu",
		     (int)(m - w.foreign), (unsigned long long)off);
	if (overlaps(m, io))
		m->bad_bytes = 0;
	if (off >= DATA_OFF && chance(m->lose)) {
		m->corruptions++;
		note("disk %d loses a write at %llu", (int)m->id.b[0],
		     (unsigned long long)off);
		return;
	}
	if (off >= DATA_OFF && chance(m->misdirect)) {
		off = DATA_OFF +
		      below((DISK_BYTES - DATA_OFF - io->bytes) / SECTOR + 1) *
			      SECTOR;
		m->corruptions++;
		note("disk %d writes %llu at %llu", (int)m->id.b[0],
		     (unsigned long long)io->off, (unsigned long long)off);
	}
	if (io->op == BDEV_WRITE)
		move(io, m->mem + off, limit);
	else if (io->op == BDEV_ZERO || io->op == BDEV_UNMAP)
		memset(m->mem + off, 0, MIN(io->bytes, limit));
	if (off >= DATA_OFF && chance(m->flip)) {
		m->corruptions++;
		m->mem[off + below(io->bytes)] ^= (uint8_t)(1 << below(8));
		note("disk %d flips a bit at %llu", (int)m->id.b[0],
		     (unsigned long long)off);
	}
}

static int medium_read(struct medium *m, struct bdev_io *io)
{
	if (io->off >= DATA_OFF && chance(m->latent) && !m->bad_bytes) {
		m->bad_off = io->off;
		m->bad_bytes = SECTOR;
		m->corruptions++;
		note("disk %d can't read at %llu", (int)m->id.b[0],
		     (unsigned long long)io->off);
	}
	if (overlaps(m, io))
		return -EIO;
	move(io, m->mem + io->off, io->bytes);
	return 0;
}

static void disk_done(struct timer *timer)
{
	struct disk_io *di = container_of(timer, struct disk_io, timer);
	struct bdev_io *io = di->io;

	list_del(&di->node);
	io->ret = 0;
	if (io->op == BDEV_READ)
		io->ret = medium_read(di->m, io);
	else if (io->op != BDEV_FLUSH)
		medium_write(di->m, io, io->bytes);
	free(di);
	io->done(io);
}

static void disk_submit(struct bdev *bdev, struct loop *loop,
			struct bdev_io *io)
{
	struct disk *disk = container_of(bdev, struct disk, bdev);
	struct disk_io *di = calloc(1, sizeof(*di));
	uint64_t ns = LATENCY_NS + below(LATENCY_NS);

	CHECK(di);
	if (disk->m->slow_until_ns > now_ns())
		ns = below(3 * NS_PER_S);
	di->m = disk->m;
	di->io = io;
	di->timer.fire = disk_done;
	list_add_tail(&disk->m->pending, &di->node);
	timer_set(loop, &di->timer, ns);
}

/* No memory of its own for others: what a command does, it does at its end. */
static void *disk_map(struct bdev *bdev, uint64_t off, uint64_t bytes)
{
	return NULL;
}

static void disk_destroy(struct bdev *bdev)
{
	free(container_of(bdev, struct disk, bdev));
}

static const struct bdev_ops disk_ops = {
	.kind = "sim",
	.submit = disk_submit,
	.map = disk_map,
	.destroy = disk_destroy,
};

struct bdev *medium_attach(struct medium *m)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	CHECK(disk);
	disk->m = m;
	disk->bdev = (struct bdev){
		.ops = &disk_ops,
		.size = m->bytes,
		.block = SECTOR,
		.name = "sim",
	};
	return &disk->bdev;
}

void medium_crash(struct medium *m)
{
	struct disk_io *di, *next;

	list_for_each_safe (di, next, &m->pending, node) {
		uint64_t sectors = di->io->bytes / 512;

		list_del(&di->node);
		if (di->io->op != BDEV_READ && di->io->op != BDEV_FLUSH)
			medium_write(m, di->io, below(sectors + 1) * 512);
	}
}
