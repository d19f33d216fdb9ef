/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What anybody may ask the HTTP port: the input stands behind "GET /", and may
 * bring its own blanks, lines and further requests.  Promise: no memory error,
 * and what handlers see is text.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "web/http.h"

#define TURNS_MAX 100 /* half a request is waited for by the server */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct loop *loop;
	struct http_server *server;
	struct addr addr;
} f;

static void handle(struct http_req *req)
{
	static const char *const names[] = {"key", "a", "", "b"};
	size_t n = strlen(req->path) + strlen(req->tail) + req->body.n;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *value = http_query(req, names[i]);

		n += value ? strlen(value) : 0;
	}
	http_replyf(req, 200, "%zu\n", n);
}

static const struct http_route routes[] = {
	{"GET", "/", true, handle},
	{"PUT", "/put/", true, handle},
	{"GET", "/q", false, handle},
};

/* One server for all inputs: starting it costs more than asking it. */
static void start(void)
{
	struct loop_opts lo = {.backend = IO_BACKEND_EPOLL, .name = "fuzz"};
	struct http_opts opts = {
		.routes = routes,
		.route_count = ARRAY_SIZE(routes),
		.body_max = 4096,
	};
	struct err err = {0};

	log_level_max = LOG_ERROR;
	ASSERT(loop_create(&lo, &f.loop, &err) == 0);
	ASSERT(addr_parse("127.0.0.1", 0, &opts.addr) == 0);
	ASSERT(http_open(f.loop, &opts, &f.addr, &f.server, &err) == 0);
}

static void send_all(int fd, const void *p, size_t n)
{
	(void)!send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char end[] = " HTTP/1.1\r\nHost: x\r\n"
				  "Connection: close\r\n\r\n";
	char answer[4096];
	unsigned turns = 0;
	ssize_t n = -1;
	int fd;

	if (!f.loop)
		start();
	fd = socket(f.addr.ss.ss_family, SOCK_STREAM, 0);
	ASSERT(fd >= 0);
	ASSERT(connect(fd, (struct sockaddr *)&f.addr.ss, f.addr.len) == 0);
	send_all(fd, "GET /", 5);
	send_all(fd, data, MIN(size, (size_t)32768));
	send_all(fd, end, sizeof(end) - 1);
	shutdown(fd, SHUT_WR);
	while (n != 0 && ++turns < TURNS_MAX) {
		loop_turn(f.loop, 100 * NS_PER_US);
		n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
		if (n < 0 && errno == ECONNRESET)
			n = 0;
	}
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
		   sizeof(struct linger));
	close(fd);
	return 0;
}
