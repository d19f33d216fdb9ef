/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few threads for calls that block.  A job runs on one of them and comes
 * back to the loop that gave it.
 */
#ifndef NODE_WORKERS_H
#define NODE_WORKERS_H

#include <pthread.h>

#include "io/loop.h"

#define WORKERS_MAX 16

struct job {
	void (*run)(struct job *job);  /* on a worker */
	void (*done)(struct job *job); /* on the loop, exactly once */
	bool is_cancelled; /* run was not called: the workers were stopped */
	/* private */
	struct mbox_msg msg;
	struct list node;
};

struct workers {
	struct loop *loop;
	size_t queue_max;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list queue; /* job.node; under lock */
	size_t queued;	   /* under lock */
	bool is_stopping;  /* under lock */
	unsigned count;
	pthread_t threads[WORKERS_MAX];
};

int workers_start(struct workers *w, struct loop *loop, unsigned count,
		  size_t queue_max, struct err *err);
/* On the loop.  -EAGAIN when queue_max jobs are waiting. */
int workers_submit(struct workers *w, struct job *job);
/*
 * Waits for the jobs that run; cancels those that wait.  When it returns, done
 * of all of them has been called or posted: the loop has to turn once.
 * Zeroed and half-started workers are fine.
 */
void workers_stop(struct workers *w);

#endif
