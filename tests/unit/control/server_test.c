/* SPDX-License-Identifier: Apache-2.0 */
/* The socket: who is let in, and how a conversation ends. */
#include "control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/time.h"

#define TURN_NS	 (20 * NS_PER_MS)
#define GUARD_NS (20 * NS_PER_S)

static struct loop *loop;
static struct server srv;
static char folder[] = "/tmp/mc-server-XXXXXX", path[64];
static struct jrpc_call *held;
static bool is_done;

static void run_now(struct jrpc_call *call, void *args)
{
	jrpc_true(call);
}

static void run_later(struct jrpc_call *call, void *args)
{
	held = call;
}

/* Much more than a socket buffer holds. */
static void run_much(struct jrpc_call *call, void *args)
{
	char *text = calloc(1, 4 << 20);

	assert_non_null(text);
	memset(text, 'x', (4 << 20) - 1);
	jrpc_result(call, json_string(text));
	free(text);
}

static const struct jrpc_method methods[] = {
	{.name = "now", .run = run_now},
	{.name = "later", .run = run_later},
	{.name = "much", .run = run_much},
};
static const struct jrpc_table table = {methods, ARRAY_SIZE(methods)};
static const struct jrpc_table *const tables[] = {&table, NULL};
static struct jrpc rpc = {.tables = tables};

static const char now_is[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":true}\n";

static void on_done(void *arg)
{
	is_done = true;
}

static void server_end(void)
{
	uint64_t end = time_mono_ns() + GUARD_NS;

	is_done = false;
	server_close(&srv, on_done, NULL);
	while (!is_done && time_mono_ns() < end)
		loop_turn(loop, TURN_NS);
	assert_true(is_done);
}

static void server_begin(const struct server_opts *opts)
{
	struct err err = {0};

	assert_int_equal(server_open(&srv, loop, &rpc, path, opts, &err), 0);
}

static int dial(void)
{
	struct addr addr;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(addr_unix(path, &addr), 0);
	assert_int_equal(connect(fd, (void *)&addr.ss, addr.len), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	size_t n = strlen(text);

	assert_int_equal(write(fd, text, n), (ssize_t)n);
}

/* Bytes until n are there or the end has come; -1 stands for the end. */
static ssize_t hear(int fd, char *out, size_t n)
{
	uint64_t end = time_mono_ns() + GUARD_NS;
	size_t got = 0;

	while (got < n && time_mono_ns() < end) {
		ssize_t ret = read(fd, out + got, n - got);

		if (ret == 0 || (ret < 0 && errno != EAGAIN))
			return got ? (ssize_t)got : -1;
		if (ret > 0)
			got += (size_t)ret;
		else
			loop_turn(loop, NS_PER_MS);
	}
	return (ssize_t)got;
}

static void expect(int fd, const char *text)
{
	char buf[512];
	size_t n = strlen(text);

	assert_int_equal(hear(fd, buf, n), (ssize_t)n);
	assert_memory_equal(buf, text, n);
}

static void expect_end(int fd)
{
	char c;

	assert_int_equal(hear(fd, &c, 1), -1);
	close(fd);
}

static void turn_until_held(void)
{
	uint64_t end = time_mono_ns() + GUARD_NS;

	while (!held && time_mono_ns() < end)
		loop_turn(loop, TURN_NS);
	assert_non_null(held);
}

static void answer_held(void)
{
	struct jrpc_call *call = held;

	held = NULL;
	jrpc_true(call);
}

static int setup(void **state)
{
	struct err err = {0};

	log_level_max = LOG_ERROR;
	assert_int_equal(
		loop_create(&(struct loop_opts){.name = "t"}, &loop, &err), 0);
	return 0;
}

static int teardown(void **state)
{
	loop_destroy(loop);
	unlink(path);
	return 0;
}

static void test_file(void **state)
{
	struct err err = {0};
	struct server other;
	struct stat st;
	char much[200];
	int fd;

	server_begin(NULL);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(server_open(&other, loop, &rpc, path, NULL, &err),
			 -EADDRINUSE);
	assert_non_null(strstr(err.text, "answers on"));
	server_end();
	assert_int_equal(stat(path, &st), -1);

	/* A file that is no socket is not touched. */
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	err = (struct err){0};
	assert_int_equal(server_open(&srv, loop, &rpc, path, NULL, &err),
			 -EEXIST);
	assert_int_equal(stat(path, &st), 0);
	unlink(path);

	memset(much, 'a', sizeof(much));
	much[sizeof(much) - 1] = '\0';
	err = (struct err){0};
	assert_int_equal(server_open(&srv, loop, &rpc, much, NULL, &err),
			 -ENAMETOOLONG);
	err = (struct err){0};
	assert_int_equal(server_open(&srv, loop, &rpc, "", NULL, &err),
			 -EINVAL);
}

static void test_stale(void **state)
{
	struct addr addr;
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	addr_unix(path, &addr);
	assert_int_equal(bind(fd, (void *)&addr.ss, addr.len), 0);
	assert_int_equal(listen(fd, 1), 0);
	close(fd); /* as a killed program leaves it */
	server_begin(NULL);
	fd = dial();
	say(fd, "{\"id\":1,\"method\":\"now\"}");
	expect(fd, now_is);
	close(fd);
	/* What has replaced ours is not ours to remove. */
	assert_int_equal(unlink(path), 0);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	server_end();
	assert_int_equal(stat(path, &st), 0);
}

static void test_several_clients(void **state)
{
	int a, b;

	server_begin(NULL);
	a = dial();
	b = dial();
	say(a, "{\"id\":1,\"method\":\"later\"}");
	turn_until_held();
	say(b, "{\"id\":1,\"method\":\"now\"}");
	expect(b, now_is);
	answer_held();
	expect(a, now_is);
	say(a, "hello");
	expect(a, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700"
		  ",\"message\":\"Parse error\"}}\n");
	expect_end(a);
	say(b, "{\"id\":1,\"method\":\"now\"}");
	expect(b, now_is);
	close(b);
	server_end();
}

static void test_gone_before_the_answer(void **state)
{
	int fd;

	server_begin(NULL);
	fd = dial();
	say(fd, "{\"id\":1,\"method\":\"later\"}{\"id\":1,\"method\":\"now\"}");
	turn_until_held();
	close(fd);
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 0);
	answer_held();
	fd = dial();
	say(fd, "{\"id\":1,\"method\":\"now\"}");
	expect(fd, now_is);
	close(fd);
	server_end();
}

static void test_gone_mid_answer(void **state)
{
	char some[1000];
	int fd;

	server_begin(NULL);
	fd = dial();
	say(fd, "{\"id\":1,\"method\":\"much\"}");
	assert_int_equal(hear(fd, some, sizeof(some)), sizeof(some));
	close(fd);
	fd = dial();
	say(fd, "{\"id\":1,\"method\":\"now\"}");
	expect(fd, now_is);
	close(fd);
	server_end();
}

static void test_much(void **state)
{
	size_t n = (4 << 20) - 1 +
		   sizeof("{\"jsonrpc\":\"2.0\",\"id\":1,"
			  "\"result\":\"\"}\n") -
		   1;
	char *buf = calloc(1, n);
	int fd;

	server_begin(NULL);
	fd = dial();
	say(fd, "{\"id\":1,\"method\":\"much\"}{\"id\":1,\"method\":\"now\"}");
	assert_int_equal(hear(fd, buf, n), n);
	expect(fd, now_is);
	close(fd);
	free(buf);
	server_end();
}

static void test_half_request(void **state)
{
	int fd;

	server_begin(&(struct server_opts){.request_ms = 20});
	fd = dial();
	say(fd, "{\"id\":1,");
	expect_end(fd);
	server_end();
}

static void test_answer_not_read(void **state)
{
	char some[1000];
	int fd;

	server_begin(&(struct server_opts){.send_ms = 20});
	fd = dial();
	say(fd, "{\"id\":1,\"method\":\"much\"}");
	while (!srv.client_count)
		loop_turn(loop, TURN_NS);
	while (srv.client_count)
		loop_turn(loop, TURN_NS);
	while (hear(fd, some, sizeof(some)) == sizeof(some))
		;
	close(fd);
	server_end();
}

/* A call that is under way is answered before the server goes. */
static void test_close_waits(void **state)
{
	int fd;

	server_begin(NULL);
	fd = dial();
	say(fd, "{\"id\":1,\"method\":\"later\"}");
	turn_until_held();
	is_done = false;
	server_close(&srv, on_done, NULL);
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 0);
	assert_false(is_done);
	answer_held();
	expect(fd, now_is);
	expect_end(fd);
	while (!is_done)
		loop_turn(loop, TURN_NS);
}

static void test_too_many(void **state)
{
	int fds[SERVER_CLIENTS_MAX], extra;

	server_begin(NULL);
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++) {
		fds[i] = dial();
		say(fds[i], "{\"id\":1,\"method\":\"now\"}");
		expect(fds[i], now_is);
	}
	extra = dial();
	expect_end(extra);
	say(fds[7], "{\"id\":1,\"method\":\"now\"}");
	expect(fds[7], now_is);
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++)
		close(fds[i]);
	server_end();
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		ROW(test_file),
		ROW(test_stale),
		ROW(test_several_clients),
		ROW(test_gone_before_the_answer),
		ROW(test_gone_mid_answer),
		ROW(test_much),
		ROW(test_half_request),
		ROW(test_answer_not_read),
		ROW(test_close_waits),
		ROW(test_too_many),
	};
	int ret;

	if (!mkdtemp(folder))
		return 77;
	snprintf(path, sizeof(path), "%s/sock", folder);
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return ret;
}
