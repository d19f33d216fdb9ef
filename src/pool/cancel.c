/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cancelling a vol_io: each worker looks for parts of it among its own.
 *
 * vol_cancel: any thread but a worker's.  The search: each worker's thread,
 * where a part that is found is alive and so is its job.  Invariant: the I/O
 * itself is only compared with, never looked into, because it may have ended.
 */
#include <errno.h>

#include "pool/chunk.h"

struct cancel {
	const struct vol_io *io;
	_Atomic(unsigned) left;
	struct gate gate;
};

struct cancel_msg {
	struct mbox_msg msg;
	struct cancel *cancel;
	struct worker *worker;
};

static void cancel_on_worker(struct mbox_msg *msg)
{
	struct cancel_msg *m = container_of(msg, struct cancel_msg, msg);
	struct cancel *c = m->cancel;
	struct part *part, *tmp;

	list_for_each_safe (part, tmp, &m->worker->active, node) {
		if (part->job->io != c->io)
			continue;
		job_fail(part->job, -ECANCELED, part->ext);
		chunks_cancel(part);
		part_maybe_end(part);
		break; /* a job has one part on a worker */
	}
	if (atomic_fetch_sub(&c->left, 1) == 1)
		gate_open(&c->gate);
}

void vol_cancel(struct vol_set *set, const struct vol_io *io)
{
	struct cancel_msg msgs[VOL_WORKERS_MAX];
	struct cancel c = {.io = io};

	atomic_init(&c.left, set->worker_count);
	gate_init(&c.gate);
	for (unsigned i = 0; i < set->worker_count; i++) {
		msgs[i] = (struct cancel_msg){.msg.run = cancel_on_worker,
					      .cancel = &c,
					      .worker = &set->workers[i]};
		loop_post(set->workers[i].shard.loop, &msgs[i].msg);
	}
	gate_wait(&c.gate);
}
