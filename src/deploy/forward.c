/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ssh child that forwards a socket.  The thread of its remote.  Invariant:
 * the folder with the socket is ours alone, and goes with the child.
 */
#include "deploy/forward.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "deploy/limit.h"
#include "deploy/sshproc.h"

#define REFUSE_MS 500 /* for ssh to say why it closed a connection */
#define SAID_MAX  8192

struct forward {
	struct sshproc proc;
	char dir[32], control[48], path[48], there[108];
	struct strbuf said;
};

/* More of what ssh says; false when it has ended. */
static bool listen_to(struct forward *f, int ms)
{
	struct pollfd p = {f->proc.err, POLLIN, 0};
	char part[1024];
	ssize_t n;

	if (poll(&p, 1, ms) <= 0)
		return true;
	n = read(f->proc.err, part, sizeof(part));
	if (n > 0 && f->said.n < SAID_MAX)
		strbuf_add(&f->said, part, (size_t)n);
	return n > 0 || (n < 0 && errno == EAGAIN);
}

static bool is_socket(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* Logged in: it takes orders. */
static int wait_open(struct forward *f, uint32_t ms)
{
	uint64_t until_ns = time_mono_ns() + ms * NS_PER_MS;

	while (!is_socket(f->control)) {
		if (time_mono_ns() >= until_ns)
			return -ETIMEDOUT;
		if (!listen_to(f, 10))
			return -EHOSTUNREACH;
	}
	return 0;
}

int forward_open(const struct remote_opts *opts, const char *there,
		 struct forward **out)
{
	struct forward *f = calloc(1, sizeof(*f));
	uint32_t ms = opts->connect_ms ? opts->connect_ms : LIMIT_LOGIN_MS;
	struct err ignored = {0};
	int ret;

	*out = NULL;
	if (!f)
		return -ENOMEM;
	f->proc = SSHPROC_NONE;
	snprintf(f->there, sizeof(f->there), "%s", there);
	snprintf(f->dir, sizeof(f->dir), "/tmp/mooncake-ssh-XXXXXX");
	if (!mkdtemp(f->dir)) {
		ret = -errno;
		f->dir[0] = '\0';
		goto fail;
	}
	snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	snprintf(f->control, sizeof(f->control), "%s/c", f->dir);
	ret = sshproc_master(&f->proc, opts, f->control, &ignored);
	if (ret == 0)
		ret = wait_open(f, ms);
	if (ret)
		goto fail;
	sshproc_forward(opts, f->control, f->path, there);
	if (!is_socket(f->path)) {
		ret = -EHOSTUNREACH;
		goto fail;
	}
	*out = f;
	return 0;

fail:
	forward_close(f);
	return ret;
}

void forward_close(struct forward *f)
{
	if (!f)
		return;
	sshproc_kill(&f->proc); /* nothing there is worth a word */
	sshproc_end(&f->proc);
	if (f->path[0])
		unlink(f->path);
	if (f->control[0])
		unlink(f->control);
	if (f->dir[0])
		rmdir(f->dir);
	strbuf_fini(&f->said);
	free(f);
}

const char *forward_path(const struct forward *f)
{
	return f->path;
}

const char *forward_there(const struct forward *f)
{
	return f->there;
}

bool forward_has_refused(struct forward *f)
{
	uint64_t until_ns = time_mono_ns() + REFUSE_MS * NS_PER_MS;

	while (time_mono_ns() < until_ns) {
		bool is_alive = listen_to(f, 20);

		if (f->said.p && strstr(f->said.p, "open failed"))
			return true;
		if (!is_alive)
			break;
	}
	return false;
}
