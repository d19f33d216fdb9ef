/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One GET to an address, without any proxy.  The caller's thread waits, at most
 * until the deadline.  Invariant: no more is read than the page holds, whatever
 * the peer sends.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
#include "deploy/doctor_check.h"

struct transfer {
	int fd;
	uint64_t end_ns;
};

static int wait_for(const struct transfer *t, short events)
{
	uint64_t now = time_mono_ns();
	struct pollfd pfd = {.fd = t->fd, .events = events};
	int ret;

	do {
		if (now >= t->end_ns)
			return -ETIMEDOUT;
		ret = poll(&pfd, 1, (int)((t->end_ns - now) / NS_PER_MS + 1));
		now = time_mono_ns();
	} while (ret == 0 || (ret < 0 && errno == EINTR));
	return ret < 0 ? -errno : 0;
}

static int open_to(struct transfer *t, const struct addr *addr)
{
	socklen_t len = sizeof(int);
	int cause = 0, ret;

	t->fd = socket(addr->ss.ss_family,
		       SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (t->fd < 0)
		return -errno;
	if (connect(t->fd, (const struct sockaddr *)&addr->ss, addr->len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	ret = wait_for(t, POLLOUT);
	if (ret == 0 && getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &cause, &len))
		ret = -errno;
	return ret ? ret : -cause;
}

static int send_all(const struct transfer *t, struct str text)
{
	while (text.n) {
		ssize_t n = send(t->fd, text.p, text.n, MSG_NOSIGNAL);
		int ret = 0;

		if (n >= 0) {
			text.p += n;
			text.n -= (size_t)n;
		} else {
			ret = errno == EAGAIN || errno == EINTR
				      ? wait_for(t, POLLOUT)
				      : -errno;
		}
		if (ret)
			return ret;
	}
	return 0;
}

/* Until the peer ends or buf is full; always with a NUL. */
static int receive(const struct transfer *t, char *buf, size_t size)
{
	size_t got = 0;
	int ret = 0;

	while (ret == 0 && got < size - 1) {
		ssize_t n = recv(t->fd, buf + got, size - 1 - got, 0);

		if (n > 0)
			got += (size_t)n;
		else if (n == 0)
			break;
		else
			ret = errno == EAGAIN || errno == EINTR
				      ? wait_for(t, POLLIN)
				      : -errno;
	}
	buf[got] = '\0';
	return ret;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", RFC 9110 section 5.6.7. */
static int64_t parse_date(const char *head)
{
	const char *at = strcasestr(head, "\r\ndate:");
	struct tm tm = {0};

	if (!at)
		return -1;
	at += 7;
	at += strspn(at, " ");
	if (!strptime(at, "%a, %d %b %Y %H:%M:%S GMT", &tm))
		return -1;
	return timegm(&tm);
}

static int parse(char *text, struct doctor_page *out)
{
	char *body = strstr(text, "\r\n\r\n");
	uint64_t status;

	if (strncmp(text, "HTTP/1.", 7) != 0 || strlen(text) < 12 || !body ||
	    str_to_u64((struct str){text + 9, 3}, &status))
		return -EPROTO;
	body[2] = '\0'; /* the head ends here */
	out->status = (int)status;
	out->date_s = parse_date(text);
	snprintf(out->body, sizeof(out->body), "%s", body + 4);
	return 0;
}

int doctor_connect(const struct addr *addr, uint32_t timeout_ms)
{
	struct transfer t = {
		.fd = -1,
		.end_ns = time_mono_ns() + timeout_ms * NS_PER_MS,
	};
	int ret = open_to(&t, addr);

	if (t.fd >= 0)
		close(t.fd);
	return ret;
}

int doctor_get(const struct addr *addr, const char *path, uint32_t timeout_ms,
	       struct doctor_page *out, struct err *err)
{
	struct transfer t = {
		.fd = -1,
		.end_ns = time_mono_ns() + timeout_ms * NS_PER_MS,
	};
	char name[ADDR_TEXT_LEN], text[8192];
	int n, ret = open_to(&t, addr);

	addr_format(addr, name);
	n = snprintf(text, sizeof(text),
		     "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
		     path, name);
	if (ret == 0)
		ret = send_all(&t, (struct str){text, (size_t)n});
	if (ret == 0)
		ret = receive(&t, text, sizeof(text));
	if (t.fd >= 0)
		close(t.fd);
	if (ret == 0)
		ret = parse(text, out);
	if (ret == -EPROTO)
		return err_set(err, ret, "what answers at %s is no HTTP server",
			       name);
	if (ret)
		return err_set(err, ret, "GET %s of %s: %s", path, name,
			       strerror(-ret));
	return 0;
}
