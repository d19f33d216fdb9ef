/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mailbox: the one way for another thread to hand work to a shard.
 *
 * Any thread may post; only the owning shard drains.  The message is linked
 * through its own node, so posting never allocates and never fails.  The
 * poster gives the node away and gets it back when its run() is called.
 */
#ifndef IO_MBOX_H
#define IO_MBOX_H

#include <stdatomic.h>
#include <stdbool.h>

struct mbox_msg {
	struct mbox_msg *next;
	void (*run)(struct mbox_msg *msg);
};

struct mbox {
	_Atomic(struct mbox_msg *) head; /* newest first */
	int event_fd; /* readable after the post that made it non-empty */
	atomic_uint posters; /* inside mbox_post() now */
};

/* Returns 0 or -errno.  fini() takes a zeroed or a half-built mbox, and waits
 * for posters whose message has run but whose post has not returned; asserts
 * that no message is left. */
int mbox_init(struct mbox *mbox);
void mbox_fini(struct mbox *mbox);

void mbox_post(struct mbox *mbox, struct mbox_msg *msg);

/* Runs what has been posted so far, oldest first; returns how many. */
unsigned mbox_drain(struct mbox *mbox);
bool mbox_is_empty(struct mbox *mbox);

#endif
