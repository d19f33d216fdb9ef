/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call is a connection: request, answer, end.  The caller's thread.
 * Invariant: what was read is at most ANSWER_MAX bytes, however much is sent.
 */
#include "deploy/jsonrpc.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/time.h"
#include "io/addr.h"

#define ANSWER_MAX (64u << 20)

/* 0, or -ETIMEDOUT, -errno. */
static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd pfd = {.fd = fd, .events = events};
	uint64_t now = time_mono_ns();
	int ret;

	if (now >= deadline_ns)
		return -ETIMEDOUT;
	ret = poll(&pfd, 1, (int)((deadline_ns - now) / NS_PER_MS) + 1);
	if (ret < 0 && errno != EINTR)
		return -errno;
	return ret == 0 ? -ETIMEDOUT : 0;
}

static int dial(const char *path, struct err *err)
{
	struct addr addr;
	int fd, ret = addr_unix(path, &addr);

	if (ret)
		return err_set(err, ret, "'%.100s' is no path of a socket",
			       path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, -errno, "no socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)&addr.ss, addr.len) == 0)
		return fd;
	ret = -errno;
	close(fd);
	if (ret == -ENOENT || ret == -ECONNREFUSED)
		return err_set(err, ret,
			       "no target answers on %.120s: is it running, "
			       "with this --rpc_socket?",
			       path);
	return err_set(err, ret, "%.120s: %s", path, strerror(-ret));
}

static int send_all(int fd, const char *p, size_t n, uint64_t deadline_ns)
{
	int ret = 0;

	while (!ret && n) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

		if (sent > 0) {
			p += sent;
			n -= (size_t)sent;
		} else if (errno == EAGAIN) {
			ret = wait_for(fd, POLLOUT, deadline_ns);
		} else if (errno != EINTR) {
			ret = -errno;
		}
	}
	return ret;
}

/* The answer is there when it is JSON to its end. */
static int recv_answer(int fd, uint64_t deadline_ns, json_t **out)
{
	struct strbuf sb = {0};
	json_error_t where;
	char buf[65536];
	int ret = 0;

	*out = NULL;
	while (!ret && !*out) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n == 0)
			ret = -ECONNRESET;
		else if (n < 0 && errno == EAGAIN)
			ret = wait_for(fd, POLLIN, deadline_ns);
		else if (n < 0 && errno != EINTR)
			ret = -errno;
		if (n <= 0)
			continue;
		strbuf_add(&sb, buf, (size_t)n);
		if (sb.failed || sb.n > ANSWER_MAX)
			ret = -EMSGSIZE;
		else if (buf[n - 1] == '\n' || buf[n - 1] == '}' ||
			 buf[n - 1] == ']')
			*out = json_loadb(sb.p, sb.n, 0, &where);
	}
	strbuf_fini(&sb);
	return ret;
}

static int take_result(json_t *answer, json_t **result, struct err *err)
{
	const char *text = "the answer has neither result nor error";
	int code = -EPROTO;

	*result = json_incref(json_object_get(answer, "result"));
	if (*result)
		return 0;
	(void)json_unpack(answer, "{s:{s:i, s:s}}", "error", "code", &code,
			  "message", &text);
	return err_set(err, code < 0 ? code : -EPROTO, "%.200s (%d)", text,
		       code);
}

int jsonrpc_ask(const char *path, const char *request, uint32_t timeout_ms,
		json_t **answer, struct err *err)
{
	uint64_t end = time_mono_ns() + timeout_ms * NS_PER_MS;
	int fd = dial(path, err);
	int ret = fd < 0 ? fd : send_all(fd, request, strlen(request), end);

	*answer = NULL;
	if (ret == -EPIPE)
		ret = -ECONNRESET;
	if (fd >= 0 && !ret)
		ret = recv_answer(fd, end, answer);
	if (fd >= 0 && ret)
		err_set(err, ret, "no answer on %.120s: %s", path,
			strerror(-ret));
	if (fd >= 0)
		close(fd);
	return ret;
}

int jsonrpc_call(const char *path, const char *method, json_t *params,
		 uint32_t timeout_ms, json_t **result, struct err *err)
{
	json_t *request = json_pack("{s:s, s:i, s:s}", "jsonrpc", "2.0", "id",
				    1, "method", method);
	json_t *answer = NULL;
	struct err why = {0};
	char *text = NULL;
	int ret;

	*result = NULL;
	if (params)
		json_object_set_new(request, "params", params);
	text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	json_decref(request);
	if (!text)
		return err_set(err, -EINVAL, "the request is no JSON");
	ret = jsonrpc_ask(path, text, timeout_ms, &answer, &why);
	if (ret)
		err_set(err, ret, "%.60s: %s", method, why.text);
	else
		ret = take_result(answer, result, err);
	json_decref(answer);
	free(text);
	return ret;
}
