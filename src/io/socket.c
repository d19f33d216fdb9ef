/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel sockets for the uring and epoll back ends; the loop's thread.
 * Invariant: every TCP socket is close-on-exec and has TCP_NODELAY.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "io/backend.h"

void os_set_nodelay(int fd)
{
	int one = 1;

	/* May fail on a connection that is already reset; the next operation
	 * on it tells. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/*
 * Where BBR is the system's default it paces by timers what never leaves this
 * machine, and pays for that with half of the throughput.  Has to be said
 * before the connection is made: who has begun to pace goes on.
 */
void os_set_congestion(int fd, const struct addr *addr)
{
	static const char name[] = "reno"; /* the one that no kernel lacks */

	if (addr_is_loopback(addr))
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name,
				 sizeof(name) - 1);
}

int os_socket(struct loop *loop, int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | loop->sock_flags,
			0);

	if (fd < 0)
		return -errno;
	os_set_nodelay(fd);
	return fd;
}

int os_listen(struct loop *loop, const struct addr *addr, int backlog)
{
	int fd = os_socket(loop, addr->ss.ss_family), one = 1, ret;

	if (fd < 0)
		return fd;
	os_set_congestion(fd, addr); /* accepted sockets inherit it */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		goto fail;
	if (bind(fd, (const struct sockaddr *)&addr->ss, addr->len) < 0)
		goto fail;
	if (listen(fd, backlog) < 0)
		goto fail;
	return fd;
fail:
	ret = -errno;
	close(fd);
	return ret;
}

int os_local_addr(struct loop *loop, int fd, struct addr *out)
{
	memset(out, 0, sizeof(*out));
	out->len = sizeof(out->ss);
	if (getsockname(fd, (struct sockaddr *)&out->ss, &out->len) < 0)
		return -errno;
	return 0;
}

static void os_set_opt(int fd, int level, int name, uint32_t value)
{
	int v = (int)MIN(value, (uint32_t)INT32_MAX);

	if (value && setsockopt(fd, level, name, &v, sizeof(v)) < 0)
		log_debug("socket option refused", "fd=%d option=%d error=%s",
			  fd, name, strerror(errno));
}

void os_set_sockopts(struct loop *loop, int fd, const struct io_sockopts *so)
{
	os_set_opt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, so->user_timeout_ms);
	if (so->keepalive_s) {
		os_set_opt(fd, IPPROTO_TCP, TCP_KEEPIDLE, so->keepalive_s);
		os_set_opt(fd, IPPROTO_TCP, TCP_KEEPINTVL,
			   MAX(so->keepalive_s / 3, 1u));
		os_set_opt(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
		os_set_opt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	}
	os_set_opt(fd, SOL_SOCKET, SO_SNDBUF, so->sndbuf);
	os_set_opt(fd, SOL_SOCKET, SO_RCVBUF, so->rcvbuf);
	if (so->is_reset)
		connect(fd, &(struct sockaddr){.sa_family = AF_UNSPEC},
			sizeof(struct sockaddr));
}

uint64_t os_now_ns(struct loop *loop)
{
	return time_mono_ns();
}
