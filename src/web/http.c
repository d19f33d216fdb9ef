/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP server: libmicrohttpd brought together with a loop.  Its epoll
 * descriptor is polled by the loop, MHD_run() is called from there, so that
 * everything here runs on the loop's thread.  What a request is, and how it is
 * answered, is in http_req.c.
 *
 * Invariant: while the server is open, exactly one of these stands: the poll
 * is in flight, repoll is set, or on_poll() is on the stack.
 */
#include "web/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "io/listener.h"
#include "web/http_impl.h"

/* A request line with a key of 4 KiB, percent-encoded, and headers. */
#define CONNECTION_MEMORY (64u << 10)
/* Resume, head, body: enough for answers that fit the socket's buffer. */
#define FLUSH_RUNS 4
/* Nobody is connected after something happened. */
#define EMPTY_PAUSE_NS (5 * NS_PER_MS)

static void server_run(struct http_server *hs);

static void poll_end(struct http_poll *poll)
{
	if (poll->closed)
		poll->closed(poll->closed_arg);
	free(poll);
}

static void on_end_task(struct loop_task *task)
{
	poll_end(container_of(task, struct http_poll, end_task));
}

static bool has_connections(const struct http_server *hs)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(
		hs->mhd, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	return info && info->num_connections > 0;
}

static void on_poll(struct io_op *op)
{
	struct http_poll *poll = container_of(op, struct http_poll, op);
	struct http_server *hs = poll->hs;

	if (!hs) {
		poll_end(poll);
		return;
	}
	if (op->res < 0)
		log_err("http poll failed", "error=\"%s\"", strerror(-op->res));
	server_run(hs);
	/*
	 * Don't turn at once for ever: after an error, or when all descriptors
	 * are in use.  MHD's listener then stays readable; it waits for one of
	 * its connections to end, but has none.
	 */
	if (op->res < 0)
		timer_set(hs->loop, &hs->repoll, NS_PER_S);
	else if (!has_connections(hs))
		timer_set(hs->loop, &hs->repoll, EMPTY_PAUSE_NS);
	else
		io_submit(hs->loop, op);
}

static void on_repoll(struct timer *timer)
{
	struct http_server *hs =
		container_of(timer, struct http_server, repoll);

	io_submit(hs->loop, &hs->poll->op);
}

static void on_timer(struct timer *timer)
{
	server_run(container_of(timer, struct http_server, timer));
}

static void on_task(struct loop_task *task)
{
	server_run(container_of(task, struct http_server, task));
}

static void server_run(struct http_server *hs)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	MHD_run(hs->mhd);
	if (MHD_get_timeout(hs->mhd, &wait_ms) != MHD_YES) {
		timer_cancel(hs->loop, &hs->timer);
		return;
	}
	if (wait_ms == 0)
		loop_defer(hs->loop, &hs->task);
	else
		timer_set(hs->loop, &hs->timer, wait_ms * NS_PER_MS);
}

static void on_mhd_log(void *arg, const char *fmt, va_list ap)
{
	char text[200];
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	n = MIN(MAX(n, 0), (int)sizeof(text) - 1);
	log_debug("libmicrohttpd", "text=\"" STR_FMT "\"",
		  STR_ARG(str_trim((struct str){text, (size_t)n})));
}

/* Left as it is: http_req.c decodes, and refuses what can't be decoded. */
static size_t unescape_nothing(void *arg, struct MHD_Connection *mhd, char *s)
{
	return strlen(s);
}

static struct MHD_Daemon *start_daemon(struct http_server *hs,
				       const struct http_opts *opts, int fd)
{
	unsigned flags =
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	unsigned limit = opts->max_connections ? opts->max_connections : 256;
	unsigned timeout_s = opts->timeout_s ? opts->timeout_s : 30;

	if (opts->addr.ss.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	return MHD_start_daemon(
		flags, 0, NULL, NULL, http_on_request, hs,
		MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		limit, MHD_OPTION_CONNECTION_TIMEOUT, timeout_s,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_UNESCAPE_CALLBACK, unescape_nothing, NULL,
		MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, hs,
		MHD_OPTION_END);
}

static void server_free(struct http_server *hs)
{
	if (hs->mhd)
		MHD_stop_daemon(hs->mhd); /* closes the listening socket */
	ASSERT(list_is_empty(&hs->conns));
	if (hs->out_of_memory)
		MHD_destroy_response(hs->out_of_memory);
	free(hs->poll);
	free(hs);
}

static int server_start(struct http_server *hs, const struct http_opts *opts,
			struct addr *bound, struct err *err)
{
	static char text[] = "out of memory\n";
	const union MHD_DaemonInfo *info;
	int fd;

	hs->poll = calloc(1, sizeof(*hs->poll));
	hs->out_of_memory = MHD_create_response_from_buffer(
		sizeof(text) - 1, text, MHD_RESPMEM_PERSISTENT);
	if (!hs->poll || !hs->out_of_memory)
		return err_set(err, -ENOMEM, "out of memory");
	fd = listen_open(hs->loop, &opts->addr, SOMAXCONN, bound, err);
	if (fd < 0)
		return fd;
	hs->mhd = start_daemon(hs, opts, fd);
	if (!hs->mhd) {
		io_close(hs->loop, fd);
		return err_set(err, -EIO, "the HTTP server did not start");
	}
	info = MHD_get_daemon_info(hs->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return err_set(err, -EIO, "libmicrohttpd without epoll");
	hs->poll->hs = hs;
	hs->poll->op.done = on_poll;
	hs->poll->end_task.run = on_end_task;
	hs->poll->op.kind = IO_POLL;
	hs->poll->op.fd = info->epoll_fd;
	hs->poll->op.poll_mask = POLLIN;
	io_submit(hs->loop, &hs->poll->op);
	return 0;
}

int http_open(struct loop *loop, const struct http_opts *opts,
	      struct addr *bound, struct http_server **out, struct err *err)
{
	struct http_server *hs = calloc(1, sizeof(*hs));
	struct addr unused;
	int ret;

	*out = NULL;
	if (!hs)
		return err_set(err, -ENOMEM, "out of memory");
	hs->loop = loop;
	hs->routes = opts->routes;
	hs->route_count = opts->route_count;
	hs->arg = opts->arg;
	hs->body_max = opts->body_max ? opts->body_max : MiB;
	list_init(&hs->conns);
	hs->timer.fire = on_timer;
	hs->repoll.fire = on_repoll;
	hs->task.run = on_task;
	ret = server_start(hs, opts, bound ? bound : &unused, err);
	if (ret < 0) {
		server_free(hs);
		return ret;
	}
	*out = hs;
	return 0;
}

void http_close_async(struct http_server *hs, void (*done)(void *arg),
		      void *arg)
{
	struct http_poll *poll = TAKE(hs->poll);
	struct loop *loop = hs->loop;
	bool is_polling = !timer_is_set(&hs->repoll);

	http_answer_kept(hs);
	for (int i = 0; i < FLUSH_RUNS; i++)
		MHD_run(hs->mhd);
	timer_cancel(loop, &hs->timer);
	timer_cancel(loop, &hs->repoll);
	loop_undefer(loop, &hs->task);
	poll->hs = NULL;
	poll->closed = done;
	poll->closed_arg = arg;
	/* Before the descriptor goes, which may then be another one. */
	if (is_polling)
		io_cancel(loop, &poll->op);
	server_free(hs);
	if (!is_polling)
		loop_defer(loop, &poll->end_task);
}

static void on_closed(void *arg)
{
	*(bool *)arg = true;
}

void http_close(struct http_server *hs)
{
	bool is_closed = false;
	struct loop *loop;

	if (!hs)
		return;
	loop = hs->loop;
	http_close_async(hs, on_closed, &is_closed);
	while (!is_closed)
		loop_turn(loop, NS_PER_S);
}
