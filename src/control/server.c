/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket file, its listener and its clients.  One loop's thread.
 * Invariant: an open client receives, sends, or has a call under way.
 */
#include "control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/time.h"

#define RECV_BYTES 65536
#define REQUEST_MS 10000
#define SEND_MS	   30000

/* Owned by server.clients until its stream is closed and no call runs. */
struct client {
	struct list node;
	struct server *srv;
	struct stream stream;
	struct session session;
	struct timer timer; /* for the rest of a request, or of an answer */
	struct strbuf sending;
	bool is_receiving, is_sending, is_closed;
	struct iovec rx_iov;
	char rx[RECV_BYTES];
};

static void server_check(struct server *srv)
{
	if (srv->is_closing && !srv->is_listening && !srv->client_count)
		loop_defer(srv->loop, &srv->done_task);
}

static void client_free_check(struct client *c)
{
	struct server *srv = c->srv;

	if (!c->is_closed || session_is_busy(&c->session))
		return;
	timer_cancel(srv->loop, &c->timer);
	list_del(&c->node);
	srv->client_count--;
	session_fini(&c->session);
	strbuf_fini(&c->sending);
	free(c);
	server_check(srv);
}

static void client_on_closed(struct stream *s)
{
	struct client *c = s->arg;

	c->is_closed = true;
	client_free_check(c);
}

static void client_close(struct client *c)
{
	timer_cancel(c->srv->loop, &c->timer);
	if (!c->is_closed)
		stream_close(&c->stream, client_on_closed);
}

static void client_late(struct timer *timer)
{
	struct client *c = container_of(timer, struct client, timer);

	log_warn("control client closed", "reason=\"%s\"",
		 c->is_sending ? "it does not read its answer"
			       : "half a request, and no more of it");
	client_close(c);
}

static void client_go(struct client *c);

static void client_on_sent(struct stream *s, int res)
{
	struct client *c = s->arg;

	c->is_sending = false;
	timer_cancel(c->srv->loop, &c->timer);
	strbuf_reset(&c->sending);
	if (res < 0)
		client_close(c);
	else
		client_go(c);
}

static void client_send(struct client *c)
{
	struct strbuf empty = c->sending;
	struct iovec iov;

	c->sending = c->session.out;
	c->session.out = empty;
	iov = (struct iovec){c->sending.p, c->sending.n};
	c->is_sending = true;
	timer_set(c->srv->loop, &c->timer, c->srv->opts.send_ms * NS_PER_MS);
	stream_send(&c->stream, &iov, 1, client_on_sent);
}

static void client_on_recv(struct stream *s, int res)
{
	struct client *c = s->arg;

	c->is_receiving = false;
	if (res <= 0 || !stream_is_open(s))
		client_close(c);
	else
		session_feed(&c->session, c->rx, (size_t)res);
}

static void client_recv(struct client *c)
{
	c->is_receiving = true;
	c->rx_iov = (struct iovec){c->rx, sizeof(c->rx)};
	/* The deadline is the whole request's, so it is not moved on. */
	if (!session_is_waiting(&c->session))
		timer_cancel(c->srv->loop, &c->timer);
	else if (!timer_is_set(&c->timer))
		timer_set(c->srv->loop, &c->timer,
			  c->srv->opts.request_ms * NS_PER_MS);
	stream_recv(&c->stream, &c->rx_iov, 1, client_on_recv);
}

static void client_go(struct client *c)
{
	if (!stream_is_open(&c->stream)) {
		client_free_check(c);
		return;
	}
	if (c->is_sending)
		return;
	if (c->session.out.n)
		client_send(c);
	else if (session_is_busy(&c->session))
		return;
	else if (c->session.is_broken || c->srv->is_closing)
		client_close(c);
	else if (!c->is_receiving)
		client_recv(c);
}

static void client_on_notify(struct session *s)
{
	client_go(s->arg);
}

static void server_on_accept(struct listener *l, int fd,
			     const struct addr *peer)
{
	struct server *srv = l->arg;
	struct client *c = NULL;
	uint32_t held;

	if (srv->client_count < SERVER_CLIENTS_MAX)
		c = calloc(1, sizeof(*c));
	if (!c) {
		if (log_rate_take(&srv->refused, loop_now_ns(srv->loop), &held))
			log_warn("control client refused",
				 "clients=%u held_back=%u", srv->client_count,
				 held);
		io_close(srv->loop, fd);
		return;
	}
	c->srv = srv;
	c->timer.fire = client_late;
	list_add_tail(&srv->clients, &c->node);
	srv->client_count++;
	session_init(&c->session, srv->rpc, client_on_notify, c);
	stream_init(&c->stream, srv->loop, c);
	stream_attach(&c->stream, fd);
	client_go(c);
}

/* Somebody's, a dead program's, or nobody's: 0 when path is free now. */
static int path_clear(const char *path, const struct addr *addr,
		      struct err *err)
{
	struct stat st;
	int fd, ret;

	if (lstat(path, &st))
		return errno == ENOENT ? 0
				       : err_set(err, -errno, "%s: %s", path,
						 strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST,
			       "%s exists and is no socket: remove it, or "
			       "choose another --rpc_socket",
			       path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, -errno, "no socket: %s", strerror(errno));
	ret = connect(fd, (const struct sockaddr *)&addr->ss, addr->len)
		      ? -errno
		      : 0;
	close(fd);
	if (ret == 0 || ret == -EAGAIN)
		return err_set(err, -EADDRINUSE,
			       "another program answers on %s: stop it, or "
			       "choose another --rpc_socket",
			       path);
	if (ret != -ECONNREFUSED)
		return err_set(err, ret, "%s: %s", path, strerror(-ret));
	return unlink(path) && errno != ENOENT
		       ? err_set(err, -errno,
				 "the socket %s of a program that has ended "
				 "can't be removed: %s",
				 path, strerror(errno))
		       : 0;
}

static int path_listen(struct server *srv, const struct addr *addr,
		       struct err *err)
{
	/* Nobody else gets in, not even before a chmod() could say so. */
	mode_t old = umask(0177);
	int ret = listener_open(&srv->listener, srv->loop, addr,
				server_on_accept, srv, err);
	struct stat st;

	umask(old);
	if (ret)
		return ret;
	srv->is_listening = true;
	srv->inode = stat(srv->path, &st) ? 0 : st.st_ino;
	return 0;
}

static int path_take(struct server *srv, const char *path, struct err *err)
{
	char *folder = str_dup(str_of(path));
	char *slash = folder ? strrchr(folder, '/') : NULL;
	struct addr addr;
	int fd, ret;

	srv->path = str_dup(str_of(path));
	if (!folder || !srv->path) {
		free(folder);
		return err_set(err, -ENOMEM, "out of memory");
	}
	ret = addr_unix(path, &addr);
	if (ret)
		ret = err_set(err, ret,
			      "the path of --rpc_socket is empty or longer "
			      "than %zu bytes: '%s'",
			      sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
			      path);
	if (slash)
		slash[slash == folder] = '\0';
	/* Two programs that start at once take turns. */
	fd = ret ? -1
		 : open(slash ? folder : ".",
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!ret && fd < 0)
		ret = err_set(err, -errno, "the folder of %s: %s", path,
			      strerror(errno));
	if (fd >= 0)
		(void)flock(fd, LOCK_EX);
	if (!ret)
		ret = path_clear(path, &addr, err);
	if (!ret)
		ret = path_listen(srv, &addr, err);
	if (fd >= 0)
		close(fd);
	free(folder);
	return ret;
}

static void server_done(struct loop_task *task)
{
	struct server *srv = container_of(task, struct server, done_task);
	void (*done)(void *arg) = srv->done;

	free(srv->path);
	srv->path = NULL;
	srv->loop = NULL;
	if (done)
		done(srv->done_arg);
}

int server_open(struct server *srv, struct loop *loop, struct jrpc *rpc,
		const char *path, const struct server_opts *opts,
		struct err *err)
{
	int ret;

	memset(srv, 0, sizeof(*srv));
	srv->loop = loop;
	srv->rpc = rpc;
	if (opts)
		srv->opts = *opts;
	if (!srv->opts.request_ms)
		srv->opts.request_ms = REQUEST_MS;
	if (!srv->opts.send_ms)
		srv->opts.send_ms = SEND_MS;
	srv->done_task.run = server_done;
	list_init(&srv->clients);
	ret = path_take(srv, path, err);
	if (ret) {
		free(srv->path);
		memset(srv, 0, sizeof(*srv));
		return ret;
	}
	log_info("control socket open", "path=%s", path);
	return 0;
}

static void server_on_listener_closed(struct listener *l)
{
	struct server *srv = l->arg;

	srv->is_listening = false;
	server_check(srv);
}

void server_close(struct server *srv, void (*done)(void *arg), void *arg)
{
	struct client *c, *tmp;
	struct stat st;

	if (!srv->loop) {
		if (done)
			done(arg);
		return;
	}
	srv->done = done;
	srv->done_arg = arg;
	srv->is_closing = true;
	if (srv->inode && stat(srv->path, &st) == 0 && st.st_ino == srv->inode)
		unlink(srv->path);
	listener_close(&srv->listener, server_on_listener_closed);
	list_for_each_safe (c, tmp, &srv->clients, node) {
		if (!session_is_busy(&c->session) && !c->is_sending)
			client_close(c);
	}
}
