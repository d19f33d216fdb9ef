/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File operations for which a back end has no asynchronous form: two threads,
 * started with the first operation, that post the result to the loop.
 */
#ifndef IO_FILEPOOL_H
#define IO_FILEPOOL_H

#include <pthread.h>

#include "io/loop.h"

#define FILEPOOL_THREADS 2

struct filepool {
	struct loop *loop;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list queue; /* io_op.node; under lock */
	bool is_stopping;  /* under lock */
	unsigned thread_count;
	pthread_t threads[FILEPOOL_THREADS];
};

void filepool_init(struct filepool *fp, struct loop *loop);
/* Joins the threads; nothing may be queued. */
void filepool_fini(struct filepool *fp);
/* 0, or -errno when no thread could be started (op is not taken then). */
int filepool_submit(struct filepool *fp, struct io_op *op);
/* True when op was still queued: it is out, the caller completes it. */
bool filepool_cancel(struct filepool *fp, struct io_op *op);

#endif
