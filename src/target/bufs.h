/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data buffers of one shard, for back ends without mapped memory: 4 KiB
 * aligned ranges of one arena.  When nothing fits the command waits in line;
 * first come, first served, so that a big one is not starved by small ones.
 */
#ifndef TARGET_BUFS_H
#define TARGET_BUFS_H

#include "base/extent.h"
#include "base/list.h"

#define BUFS_UNIT 4096

struct bufs {
	struct ext_alloc *ea;
	uint8_t *base;
	uint64_t bytes;
	struct list waiters; /* struct buf_wait */
	bool is_waking;
};

struct buf {
	void *p; /* NULL = none */
	struct ext ext;
};

/* Embedded in what waits. */
struct buf_wait {
	struct list node; /* list_init'ed */
	uint32_t len;
	void (*ready)(struct buf_wait *wait); /* buf holds the buffer */
	struct buf buf;
};

/* bytes is rounded up to the unit.  0 or -ENOMEM; fini takes half-built. */
int bufs_init(struct bufs *bufs, uint64_t bytes);
void bufs_fini(struct bufs *bufs);
/* 0; -EAGAIN: wait is queued and ready() will be called; -ENOMEM. */
int bufs_take(struct bufs *bufs, struct buf_wait *wait);
/* Withdraws a request that still waits; harmless otherwise. */
void bufs_cancel(struct buf_wait *wait);
void bufs_give(struct bufs *bufs, struct buf *buf);

#endif
