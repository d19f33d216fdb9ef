/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What plain sockets do with the same bytes: two programs, one connection,
 * blocking calls, a request of 72 bytes, an answer of 24, the payload behind
 * one of them.  nvmf_perf's figures are divided by these.
 *
 *	nvmf_floor --serve			prints its port, serves one
 *						connection after the other
 *	nvmf_floor --port=PORT [options]	one run, one line of JSON
 *
 * One thread each.  Invariant: as many requests are under way as --depth says.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/flag.h"
#include "base/rand.h"
#include "base/time.h"
#include "io/memory.h"
#include "meter.h"

#define DISK_BYTES (128 * MiB)
#define DEPTH_MAX  1024
#define WARM_UP_NS (200 * NS_PER_MS)
#define REPLY_LEN  24

struct request {
	uint32_t is_write, len;
	uint64_t off;
	bool is_spinning;
	char rest[55]; /* as long as a command capsule */
};
static_assert(sizeof(struct request) == 72, "size of a capsule");

static struct config {
	bool serve, spin, random;
	char *op;
	uint64_t port, bytes, depth, ms, peer;
} config;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "nvmf_floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *memory(size_t bytes)
{
	void *p;

	if (mem_map(bytes, true, &p))
		die("memory");
	memset(p, 1, bytes); /* page faults are not the subject */
	return p;
}

/* --- both ends --- */

static int tcp(void)
{
	static const char reno[] = "reno"; /* as ours on loopback */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		die("socket");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, reno,
			 sizeof(reno) - 1);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

static size_t advance(struct iovec *iov, size_t n)
{
	size_t left = 0;

	for (int i = 0; i < 2; i++) {
		size_t take = MIN(n, iov[i].iov_len);

		iov[i].iov_base = (char *)iov[i].iov_base + take;
		iov[i].iov_len -= take;
		n -= take;
		left += iov[i].iov_len;
	}
	return left;
}

/* All of two pieces; false at the end of the connection. */
static bool move(int fd, bool is_send, struct iovec iov[2], bool is_spinning)
{
	int flags = is_spinning ? MSG_DONTWAIT : MSG_WAITALL;
	ssize_t n;

	for (;;) {
		struct msghdr mh = {.msg_iov = iov,
				    .msg_iovlen = iov[1].iov_len ? 2 : 1};

		n = is_send ? sendmsg(fd, &mh, MSG_NOSIGNAL)
			    : recvmsg(fd, &mh, flags);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n == 0)
			return false;
		if (n > 0 && !advance(iov, (size_t)n))
			return true;
	}
}

/* --- the end that has the data --- */

static bool answer(int fd, char *disk, bool *is_spinning)
{
	char reply[REPLY_LEN] = {0};
	struct request rq;
	struct iovec in[2] = {{&rq, sizeof(rq)}, {NULL, 0}};
	struct iovec out[2] = {{reply, sizeof(reply)}, {NULL, 0}};

	if (!move(fd, false, in, *is_spinning))
		return false;
	if (rq.off > DISK_BYTES || rq.len > DISK_BYTES - rq.off)
		return false;
	*is_spinning = rq.is_spinning;
	in[0] = out[1] = (struct iovec){disk + rq.off, rq.len};
	if (rq.is_write) {
		out[1].iov_len = 0;
		if (!move(fd, false, in, *is_spinning))
			return false;
	}
	return move(fd, true, out, false);
}

static void serve(void)
{
	struct sockaddr_in addr = loopback(0);
	socklen_t len = sizeof(addr);
	char *disk = memory(DISK_BYTES);
	int fd = tcp();

	if (bind(fd, (struct sockaddr *)&addr, len) || listen(fd, 16) ||
	    getsockname(fd, (struct sockaddr *)&addr, &len))
		die("listen");
	printf("ready %u\n", ntohs(addr.sin_port));
	fflush(stdout);
	for (;;) {
		int conn = accept(fd, NULL, NULL), one = 1;
		bool is_spinning = false;

		if (conn < 0)
			die("accept");
		(void)setsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &one,
				 sizeof(one));
		while (answer(conn, disk, &is_spinning))
			;
		close(conn);
	}
}

/* --- the end that asks --- */

static struct {
	int fd;
	struct rng rng;
	uint64_t next, begun_ns[DEPTH_MAX];
	char *bufs;
	struct meter meter;
} c;

static void ask(unsigned slot)
{
	uint64_t places = DISK_BYTES / config.bytes;
	uint64_t at =
		config.random ? rng_below(&c.rng, places) : c.next++ % places;
	struct request rq = {
		.is_write = strcmp(config.op, "write") == 0,
		.len = (uint32_t)config.bytes,
		.off = at * config.bytes,
		.is_spinning = config.spin,
	};
	struct iovec iov[2] = {{&rq, sizeof(rq)},
			       {c.bufs + slot * config.bytes, config.bytes}};

	if (!rq.is_write)
		iov[1].iov_len = 0;
	c.begun_ns[slot] = time_mono_ns();
	if (!move(c.fd, true, iov, false))
		die("send");
}

static void take(unsigned slot)
{
	char reply[REPLY_LEN];
	struct iovec iov[2] = {{reply, sizeof(reply)},
			       {c.bufs + slot * config.bytes, config.bytes}};

	if (strcmp(config.op, "write") == 0)
		iov[1].iov_len = 0;
	if (!move(c.fd, false, iov, config.spin))
		die("receive");
	hist_add(&c.meter.latency_ns, time_mono_ns() - c.begun_ns[slot]);
	c.meter.bytes += config.bytes;
}

static void measure(void)
{
	struct sockaddr_in addr = loopback((uint16_t)config.port);
	uint64_t end_ns;
	unsigned slot = 0;

	c.fd = tcp();
	c.bufs = memory(config.depth * config.bytes);
	c.meter.peer = (int)config.peer;
	rng_seed(&c.rng, 1);
	if (connect(c.fd, (struct sockaddr *)&addr, sizeof(addr)))
		die("connect");
	for (unsigned i = 0; i < config.depth; i++)
		ask(i);
	for (int is_warm = 0; is_warm < 2; is_warm++) {
		meter_start(&c.meter);
		end_ns = c.meter.start_ns +
			 (is_warm ? config.ms * NS_PER_MS : WARM_UP_NS);
		while (time_mono_ns() < end_ns) {
			take(slot); /* answers come in order */
			ask(slot);
			slot = (slot + 1) % (unsigned)config.depth;
		}
	}
	meter_print(&c.meter);
}

#define OFF(field) offsetof(struct config, field)
static const struct flag flags[] = {
	{.name = "serve",
	 .type = FLAG_BOOL,
	 .off = OFF(serve),
	 .help = "Has the data."},
	{.name = "port", .type = FLAG_UINT, .off = OFF(port), .max = 65535},
	{.name = "op", .type = FLAG_STR, .off = OFF(op), .def = "read"},
	{.name = "bs",
	 .type = FLAG_SIZE,
	 .off = OFF(bytes),
	 .def = "128k",
	 .min = 1,
	 .max = 16 << 20},
	{.name = "depth",
	 .type = FLAG_UINT,
	 .off = OFF(depth),
	 .def = "8",
	 .min = 1,
	 .max = DEPTH_MAX},
	{.name = "time", .type = FLAG_MS, .off = OFF(ms), .def = "1s"},
	{.name = "random", .type = FLAG_BOOL, .off = OFF(random)},
	{.name = "spin",
	 .type = FLAG_BOOL,
	 .off = OFF(spin),
	 .help = "Both ends ask the socket again and again."},
	{.name = "peer",
	 .type = FLAG_UINT,
	 .off = OFF(peer),
	 .arg = "PID",
	 .help = "Whose CPU time is the other end's."},
};

static const struct flag_prog prog = {
	.name = "nvmf_floor",
	.summary = "requests and payload over plain blocking sockets",
	.usage = "--serve | --port=PORT [options]",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

int main(int argc, char **argv)
{
	struct flag_set fs;
	int status;

	if (flag_main(&fs, &prog, &config, argc, argv, &status))
		return status;
	if (config.serve)
		serve();
	measure();
	flag_fini(&fs);
	return 0;
}
