/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mailbox: a stack that any thread pushes to and the owner takes whole.
 *
 * Invariant: when the box is not empty, event_fd is readable or the poster that
 * made it non-empty is about to write to it.
 */
#include "io/mbox.h"

#include <errno.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/def.h"

int mbox_init(struct mbox *mbox)
{
	atomic_init(&mbox->head, NULL);
	mbox->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mbox->event_fd < 0) {
		mbox->event_fd = 0;
		return -errno;
	}
	return 0;
}

void mbox_fini(struct mbox *mbox)
{
	/* A few instructions and one write() away. */
	while (atomic_load(&mbox->posters))
		sched_yield();
	ASSERT(mbox_is_empty(mbox)); /* or a poster waits for ever */
	if (mbox->event_fd > 0)
		close(mbox->event_fd);
	mbox->event_fd = 0;
}

void mbox_post(struct mbox *mbox, struct mbox_msg *msg)
{
	struct mbox_msg *head;
	uint64_t one = 1;

	ASSERT(msg->run);
	/* The message may run, and the owner end, before we are through. */
	atomic_fetch_add(&mbox->posters, 1);
	head = atomic_load(&mbox->head);
	do {
		msg->next = head;
	} while (!atomic_compare_exchange_weak(&mbox->head, &head, msg));

	/*
	 * Only the post that makes the box non-empty has to wake the owner:
	 * whoever came before us has done so already, and drain() empties the
	 * box after it has read event_fd.
	 */
	if (!head && write(mbox->event_fd, &one, sizeof(one)) < 0)
		ASSERT(errno == EAGAIN);
	atomic_fetch_sub(&mbox->posters, 1);
}

static struct mbox_msg *mbox_reverse(struct mbox_msg *msg)
{
	struct mbox_msg *oldest = NULL;

	while (msg) {
		struct mbox_msg *next = msg->next;

		msg->next = oldest;
		oldest = msg;
		msg = next;
	}
	return oldest;
}

unsigned mbox_drain(struct mbox *mbox)
{
	struct mbox_msg *msg;
	unsigned count = 0;
	uint64_t posts;

	/* Before the box is emptied, else a wake-up could be swallowed. */
	if (read(mbox->event_fd, &posts, sizeof(posts)) < 0)
		ASSERT(errno == EAGAIN || errno == EINTR);
	msg = mbox_reverse(atomic_exchange(&mbox->head, NULL));
	while (msg) {
		/* run() gives the node back, so next is read first */
		struct mbox_msg *next = msg->next;

		msg->run(msg);
		msg = next;
		count++;
	}
	return count;
}

bool mbox_is_empty(struct mbox *mbox)
{
	return atomic_load(&mbox->head) == NULL;
}
