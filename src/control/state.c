/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the state file: a new file, fsync, rename, fsync of the folder.
 * Control loop.  Invariant: a call in writing and a save in saving are released
 * when a file that contains the change has its name, or when that has failed.
 */
#include "control/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "control/config.h"

struct state {
	struct control *ctl;
	char *path, *tmp, *folder;
	struct list waiting, writing; /* jrpc_call.node */
	struct list saves, saving;    /* tgt_save.node */
	struct io_op op;
	struct iovec iov;
	char *text;
	int fd; /* of the file, then of the folder; -1 = nothing under way */
};

static void state_start(struct state *st);

static bool is_awaited(const struct state *st)
{
	return !list_is_empty(&st->waiting) || !list_is_empty(&st->saves);
}

static void state_end(struct state *st, int ret)
{
	struct jrpc_call *call;
	struct tgt_save *save;
	char why[512];

	if (st->fd >= 0)
		close(st->fd);
	st->fd = -1;
	free(st->text);
	st->text = NULL;
	snprintf(why, sizeof(why),
		 "done, but it can't be remembered in %.200s: %s", st->path,
		 strerror(-ret));
	if (ret)
		log_err("state not written", "path=%s error=\"%s\"", st->path,
			strerror(-ret));
	while (!list_is_empty(&st->saving)) {
		save = list_first(&st->saving, struct tgt_save, node);
		list_del(&save->node);
		save->done(save, ret);
	}
	while (!list_is_empty(&st->writing)) {
		call = list_first(&st->writing, struct jrpc_call, node);
		list_del(&call->node);
		if (ret)
			jrpc_release_fail(call, ret, why);
		else
			jrpc_release(call);
	}
	/* A release may have begun the next one. */
	if (st->fd < 0 && is_awaited(st))
		state_start(st);
}

static void on_folder_synced(struct io_op *op)
{
	struct state *st = container_of(op, struct state, op);

	state_end(st, MIN(op->res, 0));
}

static void state_rename(struct state *st)
{
	close(st->fd);
	st->fd = -1;
	if (rename(st->tmp, st->path)) {
		state_end(st, -errno);
		return;
	}
	st->fd = open(st->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (st->fd < 0) {
		state_end(st, -errno);
		return;
	}
	st->op = (struct io_op){
		.done = on_folder_synced, .kind = IO_FSYNC, .fd = st->fd};
	io_submit(st->ctl->loop, &st->op);
}

static void on_synced(struct io_op *op)
{
	struct state *st = container_of(op, struct state, op);

	if (op->res < 0)
		state_end(st, op->res);
	else
		state_rename(st);
}

static void on_written(struct io_op *op)
{
	struct state *st = container_of(op, struct state, op);

	if (op->res <= 0) {
		state_end(st, op->res ? op->res : -EIO);
		return;
	}
	op->off += (uint64_t)op->res;
	st->iov.iov_base = (char *)st->iov.iov_base + op->res;
	st->iov.iov_len -= (size_t)op->res;
	if (st->iov.iov_len == 0) {
		op->kind = IO_FSYNC;
		op->done = on_synced;
	}
	io_submit(st->ctl->loop, op);
}

/* One file for all calls that came while the last one was written. */
static void state_start(struct state *st)
{
	json_t *root;

	list_splice_tail(&st->writing, &st->waiting);
	list_splice_tail(&st->saving, &st->saves);
	/* Listeners are closed by now, and paths inaccessible. */
	if (st->ctl->rpc.is_leaving) {
		state_end(st, -ECANCELED);
		return;
	}
	root = config_all(st->ctl, false);
	st->text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	json_decref(root);
	if (!st->text) {
		state_end(st, -ENOMEM);
		return;
	}
	st->fd = open(st->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (st->fd < 0) {
		state_end(st, -errno);
		return;
	}
	st->iov = (struct iovec){st->text, strlen(st->text)};
	st->op = (struct io_op){.done = on_written,
				.kind = IO_WRITE,
				.fd = st->fd,
				.iov = &st->iov,
				.iovcnt = 1};
	io_submit(st->ctl->loop, &st->op);
}

static void state_hold(struct jrpc *rpc, struct jrpc_call *call)
{
	struct control *ctl = rpc->ctx;
	struct state *st = ctl->state;

	list_add_tail(&st->waiting, &call->node);
	if (st->fd < 0 && list_is_empty(&st->writing) &&
	    list_is_empty(&st->saving))
		state_start(st);
}

/* What hosts have reserved. */
static void state_keep(void *arg, struct tgt_save *save)
{
	struct state *st = arg;

	list_add_tail(&st->saves, &save->node);
	if (st->fd < 0 && list_is_empty(&st->writing) &&
	    list_is_empty(&st->saving))
		state_start(st);
}

static int set_names(struct state *st, const char *path)
{
	char *slash;

	st->path = str_dup(str_of(path));
	st->folder = str_dup(str_of(path));
	st->tmp = malloc(strlen(path) + sizeof(".new"));
	if (!st->path || !st->folder || !st->tmp)
		return -ENOMEM;
	snprintf(st->tmp, strlen(path) + sizeof(".new"), "%s.new", path);
	slash = strrchr(st->folder, '/');
	if (slash)
		slash[slash == st->folder] = '\0';
	else
		snprintf(st->folder, strlen(path) + 1, ".");
	return 0;
}

int state_open(struct control *ctl, const char *path, struct state **out,
	       struct err *err)
{
	struct state *st = calloc(1, sizeof(*st));

	*out = NULL;
	if (!st)
		return err_set(err, -ENOMEM, "out of memory");
	st->ctl = ctl;
	st->fd = -1;
	list_init(&st->waiting);
	list_init(&st->writing);
	list_init(&st->saves);
	list_init(&st->saving);
	if (!path[0] || set_names(st, path)) {
		state_close(st);
		return err_set(err, -EINVAL, "--state: '%.100s' is no file",
			       path);
	}
	if (access(st->folder, W_OK | X_OK)) {
		err_set(err, -errno, "--state: the folder %.150s: %s",
			st->folder, strerror(errno));
		state_close(st);
		return err->code;
	}
	ctl->rpc.hold = state_hold;
	tgt_keeper_set(ctl->tgt, state_keep, st);
	*out = st;
	return 0;
}

void state_close(struct state *st)
{
	if (!st)
		return;
	ASSERT(st->fd < 0 && list_is_empty(&st->waiting) &&
	       list_is_empty(&st->writing) && !is_awaited(st));
	st->ctl->rpc.hold = NULL;
	free(st->path);
	free(st->folder);
	free(st->tmp);
	free(st);
}
