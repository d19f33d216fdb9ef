/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REST of a store service whose store is not set up: what is refused before
 * the store is asked, and how its errors are told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "node/rest.h"
#include "proto/frame.h"
#include "t_http.h"

struct env {
	struct loop *loop;
	struct workers workers;
	struct rest rest;
	struct http_server *http;
	struct t_http c;
};

static int setup(void **state)
{
	struct env *env = calloc(1, sizeof(*env));
	struct http_opts opts = {
		.routes = rest_routes,
		.route_count = rest_route_count,
		.arg = &env->rest,
		.body_max = REST_BODY_MAX,
	};
	struct err err = {0};
	struct addr bound;

	assert_int_equal(loop_create(&(struct loop_opts){0}, &env->loop, &err),
			 0);
	assert_int_equal(workers_start(&env->workers, env->loop, 2, 16, &err),
			 0);
	assert_int_equal(addr_parse("127.0.0.1", 0, &opts.addr), 0);
	assert_int_equal(http_open(env->loop, &opts, &bound, &env->http, &err),
			 0);
	env->rest.store = mooncake_store_create();
	env->rest.workers = &env->workers;
	t_http_connect(&env->c, env->loop, &bound);
	*state = env;
	return 0;
}

static int teardown(void **state)
{
	struct env *env = *state;

	t_http_close(&env->c);
	workers_stop(&env->workers);
	loop_turn(env->loop, 0);
	http_close(env->http);
	mooncake_store_destroy(env->rest.store);
	loop_destroy(env->loop);
	free(env);
	return 0;
}

static void expect(struct env *env, const char *ask[3], int status,
		   const char *word)
{
	int got = t_http_ask(&env->c, ask[0], ask[1], ask[2]);

	if (got != status || !strstr(env->c.body.p ?: "", word))
		fail_msg("%s %s: %d \"%s\", expected %d \"%s\"", ask[0], ask[1],
			 got, env->c.body.p, status, word);
}
#define EXPECT(method, url, body, status, word)                                \
	expect(env, (const char *[3]){method, url, body}, status, word)

static void test_refused(void **state)
{
	struct env *env = *state;

	EXPECT("PUT", "/api/put", "{\"key\": \"a\",\n}", 400,
	       "line 2, column 1");
	EXPECT("PUT", "/api/put", "", 400, "not JSON");
	EXPECT("PUT", "/api/put", "[]", 400, "Missing key or value");
	EXPECT("PUT", "/api/put", "{\"key\": \"a\"}", 400,
	       "Missing key or value");
	EXPECT("PUT", "/api/put", "{\"value\": \"a\"}", 400,
	       "Missing key or value");
	EXPECT("PUT", "/api/put", "{\"key\": \"a\", \"value\": 5}", 400,
	       "Missing key or value");
	EXPECT("PUT", "/api/put", "{\"key\": \"\", \"value\": \"v\"}", 400,
	       "empty");
	EXPECT("PUT", "/api/put", "{\"key\": \"a\\u0000b\", \"value\": \"v\"}",
	       400, "NUL");
	EXPECT("GET", "/api/get/", NULL, 400, "empty");
	EXPECT("DELETE", "/api/remove/", NULL, 400, "empty");
	EXPECT("POST", "/api/put", "{}", 405, "Method not allowed");
	EXPECT("GET", "/api/nothing", NULL, 404, "/api/get/");
}

static void test_long_key(void **state)
{
	struct env *env = *state;
	char url[KEY_LEN_MAX + 32] = "/api/exist/";
	size_t n = strlen(url);

	memset(url + n, 'k', KEY_LEN_MAX);
	EXPECT("GET", url, NULL, 500, "Exist check failed");
	url[n + KEY_LEN_MAX] = 'k';
	EXPECT("GET", url, NULL, 400, "4096");
}

static void test_store_errors(void **state)
{
	struct env *env = *state;

	EXPECT("PUT", "/api/put", "{\"key\": \"a\", \"value\": \"v\"}", 500,
	       "PUT operation failed");
	assert_non_null(strstr(env->c.body.p, "-600"));
	assert_non_null(strstr(env->c.head.p, "application/json"));
	EXPECT("GET", "/api/get/a/b", NULL, 500, "GET operation failed");
	EXPECT("GET", "/api/exist/a", NULL, 500, "Exist check failed");
	EXPECT("DELETE", "/api/remove/a", NULL, 500, "Remove operation failed");
	EXPECT("DELETE", "/api/remove_all", NULL, 500,
	       "RemoveAll operation failed");
	EXPECT("GET", "/health", NULL, 503, "not set up");
	assert_int_equal(t_http_ask(&env->c, "GET", "/metrics", NULL), 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_store_errors, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
