/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP server: routing, decoding, limits, late answers, closing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/resource.h>

#include "t_http.h"
#include "web/http.h"

struct env {
	struct loop *loop;
	struct http_server *hs;
	struct addr bound;
	struct http_req *kept[64];
	size_t kept_count;
	int calls;
};

static void on_hello(struct http_req *req)
{
	struct env *env = req->arg;

	env->calls++;
	http_replyf(req, 200, "hello %s %s", req->method,
		    http_query(req, "who") ?: "(nobody)");
}

static void on_echo(struct http_req *req)
{
	http_reply(req, 201, "application/octet-stream", req->body);
}

static void on_tail(struct http_req *req)
{
	http_replyf(req, 200, "[%s]", req->tail);
}

static void on_late(struct http_req *req)
{
	struct env *env = req->arg;

	assert_true(env->kept_count < ARRAY_SIZE(env->kept));
	env->kept[env->kept_count++] = req;
}

static const struct http_route routes[] = {
	{"GET", "/hello", false, on_hello}, {"PUT", "/echo", false, on_echo},
	{"POST", "/echo", false, on_echo},  {"GET", "/tail/", true, on_tail},
	{"GET", "/late", false, on_late},
};

static void open_at(struct env *env, const char *host,
		    enum io_backend_kind backend)
{
	struct http_opts opts = {
		.routes = routes,
		.route_count = ARRAY_SIZE(routes),
		.arg = env,
		.body_max = 300000,
	};
	struct err err = {0};

	memset(env, 0, sizeof(*env));
	assert_int_equal(loop_create(&(struct loop_opts){.backend = backend},
				     &env->loop, &err),
			 0);
	assert_int_equal(addr_parse(host, 0, &opts.addr), 0);
	if (http_open(env->loop, &opts, &env->bound, &env->hs, &err))
		fail_msg("%s", err.text);
	assert_true(addr_port(&env->bound) != 0);
}

static int setup(void **state)
{
	struct env *env = malloc(sizeof(*env));

	open_at(env, "127.0.0.1", IO_BACKEND_AUTO);
	*state = env;
	return 0;
}

static int teardown(void **state)
{
	struct env *env = *state;

	http_close(env->hs);
	loop_destroy(env->loop);
	free(env);
	return 0;
}

static void test_routes(void **state)
{
	struct env *env = *state;
	struct t_http c;

	t_http_connect(&c, env->loop, &env->bound);
	/* all on one connection: kept alive whatever the answer is */
	assert_int_equal(t_http_ask(&c, "GET", "/hello?who=you", NULL), 200);
	assert_true(t_http_body_is(&c, "hello GET you"));
	assert_int_equal(t_http_ask(&c, "GET", "/hello", NULL), 200);
	assert_true(t_http_body_is(&c, "hello GET (nobody)"));
	assert_int_equal(t_http_ask(&c, "PUT", "/echo", "12345"), 201);
	assert_true(t_http_body_is(&c, "12345"));
	assert_non_null(strstr(c.head.p, "application/octet-stream"));
	assert_int_equal(t_http_ask(&c, "PUT", "/echo", ""), 201);
	assert_true(t_http_body_is(&c, ""));
	assert_int_equal(t_http_ask(&c, "DELETE", "/echo", NULL), 405);
	assert_non_null(strstr(c.head.p, "Allow: PUT, POST\r\n"));
	assert_int_equal(t_http_ask(&c, "GET", "/nothing", NULL), 404);
	assert_non_null(strstr(c.body.p, "GET    /hello\n"));
	assert_int_equal(t_http_ask(&c, "PUT", "/nothing", "body"), 404);
	assert_non_null(strstr(c.body.p, "POST   /echo\n"));
	assert_int_equal(env->calls, 2);
	t_http_close(&c);
}

static void test_decoding(void **state)
{
	struct env *env = *state;
	struct t_http c;

	t_http_connect(&c, env->loop, &env->bound);
	assert_int_equal(t_http_ask(&c, "GET", "/tail/a/b%2Fc%20%25", NULL),
			 200);
	assert_true(t_http_body_is(&c, "[a/b/c %]"));
	assert_int_equal(t_http_ask(&c, "GET", "/tail/", NULL), 200);
	assert_true(t_http_body_is(&c, "[]"));
	assert_int_equal(
		t_http_ask(&c, "GET", "/hello?a=1&wh%6f=%C3%a4%2B%26", NULL),
		200);
	assert_true(t_http_body_is(&c, "hello GET ä+&"));
	assert_int_equal(t_http_ask(&c, "GET", "/tail/%00", NULL), 400);
	assert_int_equal(t_http_ask(&c, "GET", "/tail/%4", NULL), 400);
	assert_int_equal(t_http_ask(&c, "GET", "/tail/%zz", NULL), 400);
	assert_int_equal(t_http_ask(&c, "GET", "/hello?who=%x1", NULL), 400);
	assert_int_equal(t_http_ask(&c, "GET", "/hello", NULL), 200);
	t_http_close(&c);
}

static void test_body_limit(void **state)
{
	struct env *env = *state;
	char *big = malloc(400001);
	struct t_http c;

	memset(big, 'x', 400000);
	big[400000] = '\0';
	t_http_connect(&c, env->loop, &env->bound);
	big[300000] = '\0';
	assert_int_equal(t_http_ask(&c, "PUT", "/echo", big), 201);
	assert_int_equal(c.body.n, 300000);
	big[300000] = 'x';
	assert_int_equal(t_http_ask(&c, "PUT", "/echo", big), 413);
	t_http_close(&c);
	free(big);
}

static void test_chunked_body_limit(void **state)
{
	static const char head[] = "PUT /echo HTTP/1.1\r\nHost: t\r\n"
				   "Transfer-Encoding: chunked\r\n\r\n";
	struct env *env = *state;
	struct strbuf req = {0};
	struct t_http c;

	strbuf_adds(&req, head);
	strbuf_addf(&req, "%x\r\n%0*d\r\n0\r\n\r\n", 300001, 300001, 0);
	t_http_connect(&c, env->loop, &env->bound);
	t_http_send(&c, req.p, req.n);
	assert_int_equal(t_http_recv(&c), 413);
	strbuf_reset(&req);
	strbuf_adds(&req, head);
	strbuf_adds(&req, "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
	t_http_send(&c, req.p, req.n);
	assert_int_equal(t_http_recv(&c), 201);
	assert_true(t_http_body_is(&c, "abcdefg"));
	t_http_close(&c);
	strbuf_fini(&req);
}

static const char late[] = "GET /late HTTP/1.1\r\nHost: t\r\n\r\n";

static void wait_kept(struct env *env, size_t count)
{
	uint64_t end_ns = time_mono_ns() + 10 * NS_PER_S;

	while (env->kept_count < count && time_mono_ns() < end_ns)
		loop_turn(env->loop, NS_PER_MS);
	assert_int_equal(env->kept_count, count);
}

static void test_late_answers(void **state)
{
	struct env *env = *state;
	struct t_http c[40];

	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		t_http_connect(&c[i], env->loop, &env->bound);
		t_http_send(&c[i], late, sizeof(late) - 1);
	}
	wait_kept(env, ARRAY_SIZE(c));
	/* One client goes away; its request is answered all the same. */
	close(c[7].fd);
	c[7].fd = -1;
	for (size_t i = ARRAY_SIZE(c); i-- > 0;)
		http_replyf(env->kept[i], 202, "late");
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		if (i != 7) {
			assert_int_equal(t_http_recv(&c[i]), 202);
			assert_true(t_http_body_is(&c[i], "late"));
		}
		t_http_close(&c[i]);
	}
}

static void test_close_answers_kept(void **state)
{
	struct env *env = *state;
	struct t_http c;

	t_http_connect(&c, env->loop, &env->bound);
	t_http_send(&c, late, sizeof(late) - 1);
	wait_kept(env, 1);
	http_close(env->hs);
	env->hs = NULL;
	assert_int_equal(t_http_recv(&c), 503);
	assert_int_equal(t_http_recv(&c), 0);
	t_http_close(&c);
}

static void test_garbage(void **state)
{
	static const char *const junk[] = {
		"\r\n\r\n\r\n",
		"GET\r\n\r\n",
		"GET /hello HTTP/9.9\r\n\r\n",
		"PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n",
		("PUT /echo HTTP/1.1\r\nHost: t\r\n"
		 "Content-Length: 99999999999999999999\r\n\r\n"),
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	};
	struct env *env = *state;
	struct t_http c;

	for (size_t i = 0; i < ARRAY_SIZE(junk); i++) {
		t_http_connect(&c, env->loop, &env->bound);
		t_http_send(&c, junk[i], strlen(junk[i]));
		t_http_close(&c);
	}
	t_http_connect(&c, env->loop, &env->bound);
	assert_int_equal(t_http_ask(&c, "GET", "/hello", NULL), 200);
	assert_int_equal(env->calls, 1);
	t_http_close(&c);
}

static void test_port_in_use(void **state)
{
	struct env *env = *state;
	struct http_opts opts = {.addr = env->bound, .routes = routes};
	struct http_server *hs;
	struct err err = {0};
	char port[64];

	assert_int_equal(http_open(env->loop, &opts, NULL, &hs, &err),
			 -EADDRINUSE);
	assert_null(hs);
	snprintf(port, sizeof(port), "port %u on 127.0.0.1 is in use",
		 addr_port(&env->bound));
	assert_non_null(strstr(err.text, port));
}

static void test_ipv6_and_epoll(void **state)
{
	struct env env;
	struct t_http c;

	open_at(&env, "::1", IO_BACKEND_EPOLL);
	t_http_connect(&c, env.loop, &env.bound);
	assert_int_equal(t_http_ask(&c, "GET", "/hello", NULL), 200);
	assert_int_equal(t_http_ask(&c, "HEAD", "/hello", NULL), 200);
	assert_int_equal(c.body.n, 0);
	t_http_close(&c);
	http_close(env.hs);
	loop_destroy(env.loop);
}

/* Who connects and says no more is sent away, by MHD's own deadline alone. */
static void test_idle_connection_ends(void **state)
{
	struct http_opts opts = {
		.routes = routes, .route_count = 1, .timeout_s = 1};
	uint64_t start_ns = time_mono_ns();
	struct env *env = *state;
	struct http_server *hs;
	struct addr bound;
	struct err err = {0};
	char c;
	int fd;

	assert_int_equal(addr_parse("127.0.0.1", 0, &opts.addr), 0);
	assert_int_equal(http_open(env->loop, &opts, &bound, &hs, &err), 0);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(
		connect(fd, (const struct sockaddr *)&bound.ss, bound.len), 0);
	assert_int_equal(write(fd, "GET /hel", 8), 8);
	while (recv(fd, &c, 1, MSG_DONTWAIT) != 0) {
		assert_true(time_mono_ns() < start_ns + 10 * NS_PER_S);
		loop_turn(env->loop, 10 * NS_PER_S);
	}
	close(fd);
	http_close(hs);
}

/* No descriptor for the first connection: it is served later, and waiting
 * costs next to no turns. */
static void test_out_of_descriptors(void **state)
{
	struct env *env = *state;
	int spare[256], count = 0, turns = 0;
	struct rlimit old, few;
	uint64_t end_ns;
	struct t_http c;

	t_http_connect(&c, env->loop, &env->bound);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = 200;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (count < 256 && (spare[count] = dup(STDIN_FILENO)) >= 0)
		count++;
	end_ns = time_mono_ns() + 100 * NS_PER_MS;
	for (; time_mono_ns() < end_ns; turns++)
		loop_turn(env->loop, 100 * NS_PER_MS);
	while (count > 0)
		close(spare[--count]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_in_range(turns, 1, 100);
	assert_int_equal(t_http_ask(&c, "GET", "/hello", NULL), 200);
	t_http_close(&c);
}

/* Closing while a body is coming in. */
static void test_close_in_a_body(void **state)
{
	struct env *env = *state;
	struct t_http c;
	static const char head[] = "PUT /echo HTTP/1.1\r\nHost: t\r\n"
				   "Content-Length: 1000\r\n\r\nabc";

	t_http_connect(&c, env->loop, &env->bound);
	t_http_send(&c, head, strlen(head));
	for (int i = 0; i < 10; i++)
		loop_turn(env->loop, NS_PER_MS);
	http_close(env->hs);
	env->hs = NULL;
	t_http_close(&c);
}

struct closer {
	struct loop_task task;
	struct env *env;
	bool is_closed;
};

static void on_closed(void *arg)
{
	struct closer *closer = arg;

	closer->is_closed = true;
}

static void close_inside(struct loop_task *task)
{
	struct closer *closer = container_of(task, struct closer, task);

	http_close_async(closer->env->hs, on_closed, closer);
	closer->env->hs = NULL;
}

static void test_close_inside_a_callback(void **state)
{
	struct env *env = *state;
	struct closer closer = {.task.run = close_inside, .env = env};
	uint64_t end_ns = time_mono_ns() + 10 * NS_PER_S;

	loop_defer(env->loop, &closer.task);
	while (!closer.is_closed && time_mono_ns() < end_ns)
		loop_turn(env->loop, NS_PER_MS);
	assert_true(closer.is_closed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_routes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_decoding, setup, teardown),
		cmocka_unit_test_setup_teardown(test_body_limit, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_chunked_body_limit, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_late_answers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_close_answers_kept, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_port_in_use, setup,
						teardown),
		cmocka_unit_test(test_ipv6_and_epoll),
		cmocka_unit_test_setup_teardown(test_idle_connection_ends,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_out_of_descriptors, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_close_in_a_body, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_close_inside_a_callback,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
