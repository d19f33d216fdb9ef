/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads that do blocking file I/O for one loop.  Invariant: an operation
 * is in the queue, or with one worker, or on its way back in the mailbox.
 */
#include "io/filepool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "io/backend.h"

/* Lives in op->priv while the pool has the operation. */
struct file_job {
	struct mbox_msg msg;
	struct filepool *fp;
	struct io_op *op;
	int res;
};

static_assert(sizeof(struct file_job) <= sizeof(((struct io_op *)0)->priv),
	      "a job fits into the operation");

static struct file_job *op_job(struct io_op *op)
{
	return (struct file_job *)(void *)&op->priv;
}

void filepool_init(struct filepool *fp, struct loop *loop)
{
	fp->loop = loop;
	pthread_mutex_init(&fp->lock, NULL);
	pthread_cond_init(&fp->wake, NULL);
	list_init(&fp->queue);
}

void filepool_fini(struct filepool *fp)
{
	if (!fp->loop)
		return;
	pthread_mutex_lock(&fp->lock);
	ASSERT(list_is_empty(&fp->queue));
	fp->is_stopping = true;
	pthread_cond_broadcast(&fp->wake);
	pthread_mutex_unlock(&fp->lock);
	for (unsigned i = 0; i < fp->thread_count; i++)
		pthread_join(fp->threads[i], NULL);
	pthread_cond_destroy(&fp->wake);
	pthread_mutex_destroy(&fp->lock);
	fp->loop = NULL;
}

static ssize_t file_discard(const struct io_op *op)
{
	uint64_t range[2] = {op->off, op->len};

	return ioctl(op->fd, BLKDISCARD, range);
}

static ssize_t file_do(const struct io_op *op)
{
	switch (op->kind) {
	case IO_READ:
		return preadv(op->fd, op->iov, (int)op->iovcnt, (off_t)op->off);
	case IO_WRITE:
		return pwritev(op->fd, op->iov, (int)op->iovcnt,
			       (off_t)op->off);
	case IO_FSYNC:
		return fsync(op->fd);
	case IO_FALLOC:
		return fallocate(op->fd, op->mode, (off_t)op->off,
				 (off_t)op->len);
	case IO_DISCARD:
		return file_discard(op);
	default:
		UNREACHABLE();
	}
}

static void file_job_done(struct mbox_msg *msg)
{
	struct file_job *job = container_of(msg, struct file_job, msg);

	loop_complete(job->fp->loop, job->op, job->res);
}

static void file_job_run(struct filepool *fp, struct io_op *op)
{
	struct file_job *job = op_job(op);
	ssize_t n;

	do
		n = file_do(op);
	while (n < 0 && errno == EINTR);
	job->res = n < 0 ? -errno : (int)n;
	loop_post(fp->loop, &job->msg);
}

static void *filepool_thread(void *arg)
{
	struct filepool *fp = arg;
	struct io_op *op;

	pthread_mutex_lock(&fp->lock);
	while (!fp->is_stopping) {
		if (list_is_empty(&fp->queue)) {
			pthread_cond_wait(&fp->wake, &fp->lock);
			continue;
		}
		op = list_first(&fp->queue, struct io_op, node);
		list_del(&op->node);
		pthread_mutex_unlock(&fp->lock);
		file_job_run(fp, op);
		pthread_mutex_lock(&fp->lock);
	}
	pthread_mutex_unlock(&fp->lock);
	return NULL;
}

static int filepool_start(struct filepool *fp)
{
	sigset_t all, old;
	int ret = 0;

	/* Signals belong to the thread that waits for them. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (ret == 0 && fp->thread_count < FILEPOOL_THREADS) {
		ret = pthread_create(&fp->threads[fp->thread_count], NULL,
				     filepool_thread, fp);
		if (ret == 0)
			pthread_setname_np(fp->threads[fp->thread_count++],
					   "io-file");
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	/* One thread is slower, not wrong. */
	return fp->thread_count > 0 ? 0 : -ret;
}

int filepool_submit(struct filepool *fp, struct io_op *op)
{
	struct file_job *job = op_job(op);
	int ret;

	if (fp->thread_count == 0) {
		ret = filepool_start(fp);
		if (ret < 0)
			return ret;
	}
	job->msg.run = file_job_done;
	job->fp = fp;
	job->op = op;
	pthread_mutex_lock(&fp->lock);
	list_add_tail(&fp->queue, &op->node);
	pthread_cond_signal(&fp->wake);
	pthread_mutex_unlock(&fp->lock);
	return 0;
}

bool filepool_cancel(struct filepool *fp, struct io_op *op)
{
	struct list *node;
	bool is_queued = false;

	/* Not by list_is_empty(&op->node): a worker may be changing it. */
	pthread_mutex_lock(&fp->lock);
	for (node = fp->queue.next; node != &fp->queue; node = node->next)
		is_queued |= node == &op->node;
	if (is_queued)
		list_del(&op->node);
	pthread_mutex_unlock(&fp->lock);
	return is_queued;
}
