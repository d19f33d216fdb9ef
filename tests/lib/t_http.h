/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP client for tests, in the thread of the loop it tests: the socket does
 * not block and the loop is turned between tries, up to a deadline.
 */
#ifndef T_HTTP_H
#define T_HTTP_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/time.h"
#include "io/loop.h"

struct t_http {
	struct loop *loop;
	int fd;
	struct strbuf in; /* what came and is not yet taken */
	bool is_head;	  /* the answer has a length but no body */
	int status;
	struct strbuf head, body; /* of the last answer */
};

static inline void t_http_connect(struct t_http *c, struct loop *loop,
				  const struct addr *addr)
{
	int fd = socket(addr->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(c, 0, sizeof(*c));
	c->loop = loop;
	c->fd = fd;
	/* The kernel accepts before the loop does. */
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&addr->ss, addr->len) < 0)
		abort();
}

static inline void t_http_close(struct t_http *c)
{
	close(c->fd);
	strbuf_fini(&c->in);
	strbuf_fini(&c->head);
	strbuf_fini(&c->body);
}

static inline void t_http_send(struct t_http *c, const char *p, size_t n)
{
	uint64_t end_ns = time_mono_ns() + 10 * NS_PER_S;

	while (n > 0 && time_mono_ns() < end_ns) {
		ssize_t got = send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (got > 0) {
			p += got;
			n -= (size_t)got;
		} else if (got < 0 && errno != EAGAIN) {
			return; /* the answer tells */
		}
		loop_turn(c->loop, got > 0 ? 0 : NS_PER_MS);
	}
}

static inline size_t t_http_content_length(const char *head)
{
	const char *at = strcasestr(head, "\r\ncontent-length:");

	return at ? strtoul(at + 17, NULL, 10) : 0;
}

/* One whole answer is in c->in: takes it. */
static inline bool t_http_take(struct t_http *c)
{
	const char *end = c->in.p ? strstr(c->in.p, "\r\n\r\n") : NULL;
	struct strbuf rest = {0};
	size_t head_len, body_len;

	if (!end)
		return false;
	head_len = (size_t)(end - c->in.p) + 4;
	strbuf_reset(&c->head);
	strbuf_add(&c->head, c->in.p, head_len);
	body_len = c->is_head ? 0 : t_http_content_length(c->head.p);
	if (c->in.n < head_len + body_len)
		return false;
	strbuf_reset(&c->body);
	strbuf_add(&c->body, c->in.p + head_len, body_len);
	strbuf_add(&rest, c->in.p + head_len + body_len,
		   c->in.n - head_len - body_len);
	strbuf_fini(&c->in);
	c->in = rest;
	c->status = (int)strtol(c->head.p + strlen("HTTP/1.1 "), NULL, 10);
	return true;
}

/* Returns the status, or 0 when the connection ended or 10 s passed. */
static inline int t_http_recv(struct t_http *c)
{
	uint64_t end_ns = time_mono_ns() + 10 * NS_PER_S;
	char buf[65536];

	while (!t_http_take(c)) {
		ssize_t got = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (got > 0)
			strbuf_add(&c->in, buf, (size_t)got);
		else if (got == 0 || errno != EAGAIN || time_mono_ns() > end_ns)
			return 0;
		loop_turn(c->loop, got > 0 ? 0 : NS_PER_MS);
	}
	return c->status;
}

/* body NULL = a request without one. */
static inline int t_http_ask(struct t_http *c, const char *method,
			     const char *url, const char *body)
{
	struct strbuf req = {0};

	c->is_head = strcmp(method, "HEAD") == 0;
	strbuf_addf(&req, "%s %s HTTP/1.1\r\nHost: t\r\n", method, url);
	if (body)
		strbuf_addf(&req, "Content-Length: %zu\r\n", strlen(body));
	strbuf_adds(&req, "\r\n");
	if (body)
		strbuf_adds(&req, body);
	t_http_send(c, req.p, req.n);
	strbuf_fini(&req);
	return t_http_recv(c);
}

static inline bool t_http_body_is(const struct t_http *c, const char *text)
{
	return str_eq(strbuf_str(&c->body), str_of(text));
}

#endif
