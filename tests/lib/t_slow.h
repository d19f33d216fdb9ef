/* SPDX-License-Identifier: Apache-2.0 */
/* A medium that holds one command until the test lets it go. */
#ifndef T_SLOW_H
#define T_SLOW_H

#include <stdatomic.h>

#include "target/bdev.h"

static struct {
	struct bdev bdev;
	_Atomic(struct bdev_io *) held;
	struct loop *loop; /* of held */
	struct mbox_msg msg;
	bool is_destroyed;
} t_slow;

static void t_slow_submit(struct bdev *bdev, struct loop *loop,
			  struct bdev_io *io)
{
	t_slow.loop = loop;
	atomic_store(&t_slow.held, io);
}

static void *t_slow_map(struct bdev *bdev, uint64_t off, uint64_t bytes)
{
	return NULL;
}

static void t_slow_destroy(struct bdev *bdev)
{
	t_slow.is_destroyed = true;
}

static inline struct bdev *t_slow_init(uint64_t size)
{
	static const struct bdev_ops ops = {.kind = "slow",
					    .submit = t_slow_submit,
					    .map = t_slow_map,
					    .destroy = t_slow_destroy};

	t_slow.bdev = (struct bdev){.ops = &ops, .size = size, .block = 4096};
	t_slow.is_destroyed = false;
	return &t_slow.bdev;
}

static void t_slow_done(struct mbox_msg *msg)
{
	struct bdev_io *io = atomic_exchange(&t_slow.held, NULL);

	io->ret = 0;
	io->done(io);
}

static inline void t_slow_let_go(void)
{
	t_slow.msg.run = t_slow_done;
	loop_post(t_slow.loop, &t_slow.msg);
}

#endif
