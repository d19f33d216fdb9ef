/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker threads.  The queue is shared under its lock, a running job belongs
 * to its worker.  Invariant: a job that was submitted is in the queue, on a
 * worker, or posted to the loop.
 */
#include "node/workers.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static void job_back(struct mbox_msg *msg)
{
	struct job *job = container_of(msg, struct job, msg);

	job->done(job);
}

static struct job *workers_take(struct workers *w)
{
	struct job *job = NULL;

	pthread_mutex_lock(&w->lock);
	while (!w->is_stopping && list_is_empty(&w->queue))
		pthread_cond_wait(&w->wake, &w->lock);
	if (!w->is_stopping) {
		job = list_first(&w->queue, struct job, node);
		list_del(&job->node);
		w->queued--;
	}
	pthread_mutex_unlock(&w->lock);
	return job;
}

static void *worker_thread(void *arg)
{
	struct workers *w = arg;
	struct job *job;

	pthread_setname_np(pthread_self(), "store-worker");
	while ((job = workers_take(w))) {
		job->run(job);
		loop_post(w->loop, &job->msg);
	}
	return NULL;
}

int workers_start(struct workers *w, struct loop *loop, unsigned count,
		  size_t queue_max, struct err *err)
{
	sigset_t all, old;
	int ret = 0;

	ASSERT(count > 0 && count <= WORKERS_MAX);
	*w = (struct workers){.loop = loop, .queue_max = queue_max};
	list_init(&w->queue);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (w->count < count && ret == 0) {
		ret = pthread_create(&w->threads[w->count], NULL, worker_thread,
				     w);
		w->count += ret == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret) {
		workers_stop(w);
		return err_set(err, -ret, "cannot start a thread: %s",
			       strerror(ret));
	}
	return 0;
}

int workers_submit(struct workers *w, struct job *job)
{
	bool is_full;

	job->msg.run = job_back;
	job->is_cancelled = false;
	pthread_mutex_lock(&w->lock);
	ASSERT(!w->is_stopping);
	is_full = w->queued >= w->queue_max;
	if (!is_full) {
		list_add_tail(&w->queue, &job->node);
		w->queued++;
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
	return is_full ? -EAGAIN : 0;
}

void workers_stop(struct workers *w)
{
	if (!w->loop)
		return;
	pthread_mutex_lock(&w->lock);
	w->is_stopping = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->count; i++)
		pthread_join(w->threads[i], NULL);
	while (!list_is_empty(&w->queue)) {
		struct job *job = list_first(&w->queue, struct job, node);

		list_del(&job->node);
		job->is_cancelled = true;
		loop_post(w->loop, &job->msg);
	}
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	*w = (struct workers){0};
}
