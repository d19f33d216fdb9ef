/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data buffers of a shard.  Shard's thread only.  Invariant: when somebody
 * waits, something is in use, so a later bufs_give() wakes it.
 */
#include "target/bufs.h"

#include <errno.h>

#include "io/memory.h"

int bufs_init(struct bufs *bufs, uint64_t bytes)
{
	void *p = NULL;
	int ret;

	list_init(&bufs->waiters);
	bytes = ALIGN_UP(bytes, (uint64_t)BUFS_UNIT);
	ret = mem_map(bytes, true, &p);
	if (ret)
		return ret;
	bufs->base = p;
	bufs->bytes = bytes;
	ret = ext_create(0, bytes, BUFS_UNIT, &bufs->ea);
	if (ret)
		bufs_fini(bufs);
	return ret;
}

void bufs_fini(struct bufs *bufs)
{
	if (!bufs->base)
		return;
	ASSERT(list_is_empty(&bufs->waiters));
	ASSERT(!bufs->ea || ext_used(bufs->ea) == 0);
	ext_destroy(TAKE(bufs->ea));
	mem_unmap(TAKE(bufs->base), bufs->bytes);
}

static int bufs_try(struct bufs *bufs, uint32_t len, struct buf *buf)
{
	int ret = ext_take(bufs->ea, len, 0, &buf->ext);

	if (!ret)
		buf->p = bufs->base + buf->ext.off;
	return ret;
}

int bufs_take(struct bufs *bufs, struct buf_wait *wait)
{
	int ret = -EAGAIN;

	ASSERT(!wait->buf.p && wait->len);
	if (list_is_empty(&bufs->waiters))
		ret = bufs_try(bufs, wait->len, &wait->buf);
	if (!ret)
		return 0;
	if (list_is_empty(&bufs->waiters) && ext_used(bufs->ea) == 0)
		return -ENOMEM;
	list_add_tail(&bufs->waiters, &wait->node);
	return -EAGAIN;
}

void bufs_cancel(struct buf_wait *wait)
{
	list_del(&wait->node);
}

static void bufs_wake(struct bufs *bufs)
{
	struct buf_wait *wait;

	if (bufs->is_waking)
		return; /* ready() gave a buffer back: the loop below goes on */
	bufs->is_waking = true;
	while (!list_is_empty(&bufs->waiters)) {
		wait = list_first(&bufs->waiters, struct buf_wait, node);
		if (bufs_try(bufs, wait->len, &wait->buf))
			break;
		list_del(&wait->node);
		wait->ready(wait);
	}
	bufs->is_waking = false;
}

void bufs_give(struct bufs *bufs, struct buf *buf)
{
	ASSERT(buf->p);
	ext_give(bufs->ea, &buf->ext);
	buf->p = NULL;
	bufs_wake(bufs);
}
