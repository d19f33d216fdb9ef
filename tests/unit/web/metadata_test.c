/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata server: every answer of the protocol, with its text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_http.h"
#include "web/metadata.h"

#define RAM "/metadata?key=mooncake%2Fram%2Fnode1%3A12345"
#define RPC "/metadata?key=mooncake%2Frpc_meta%2Fnode1%3A12345"

struct env {
	struct loop *loop;
	struct metadata_server *ms;
	struct addr bound;
	struct t_http c;
};

static int setup(void **state)
{
	struct env *env = calloc(1, sizeof(*env));
	struct err err = {0};
	struct addr addr;

	assert_int_equal(loop_create(&(struct loop_opts){0}, &env->loop, &err),
			 0);
	assert_int_equal(addr_parse("127.0.0.1", 0, &addr), 0);
	assert_int_equal(metadata_server_open(env->loop, &addr, &env->bound,
					      &env->ms, &err),
			 0);
	t_http_connect(&env->c, env->loop, &env->bound);
	*state = env;
	return 0;
}

static int teardown(void **state)
{
	struct env *env = *state;

	t_http_close(&env->c);
	metadata_server_close(env->ms);
	loop_destroy(env->loop);
	free(env);
	return 0;
}

static void expect(struct env *env, const char *ask[3], int status,
		   const char *text)
{
	int got = t_http_ask(&env->c, ask[0], ask[1], ask[2]);

	if (got != status || !t_http_body_is(&env->c, text))
		fail_msg("%s %s: %d \"%s\", expected %d \"%s\"", ask[0], ask[1],
			 got, env->c.body.p, status, text);
}
#define EXPECT(method, url, body, status, text)                                \
	expect(env, (const char *[3]){method, url, body}, status, text)

static void test_life(void **state)
{
	struct env *env = *state;

	EXPECT("GET", RAM, NULL, 404, "metadata not found");
	EXPECT("DELETE", RAM, NULL, 404, "metadata not found");
	EXPECT("PUT", RAM, "{\"a\":1}", 200, "metadata updated");
	EXPECT("GET", RAM, NULL, 200, "{\"a\":1}");
	assert_non_null(strstr(env->c.head.p, "application/json"));
	EXPECT("PUT", RAM, "{}", 200, "metadata updated");
	/* the key is what it decodes to, however it is written */
	EXPECT("GET", "/metadata?key=mooncake/ram/node1:12345", NULL, 200,
	       "{}");
	EXPECT("PUT", RAM, "", 200, "metadata updated");
	EXPECT("GET", RAM, NULL, 200, "");
	EXPECT("DELETE", RAM, NULL, 200, "metadata deleted");
	EXPECT("GET", RAM, NULL, 404, "metadata not found");
	EXPECT("GET", "/health", NULL, 200, "OK");
}

static void test_rpc_meta(void **state)
{
	struct env *env = *state;

	EXPECT("PUT", RPC, "{\"p\":1}", 200, "metadata updated");
	EXPECT("PUT", RPC, "{\"p\":1}", 200, "metadata unchanged");
	EXPECT("PUT", RPC, "{\"p\":2}", 400,
	       "Duplicate rpc_meta key not allowed");
	EXPECT("GET", RPC, NULL, 200, "{\"p\":1}");
	EXPECT("DELETE", RPC, NULL, 200, "metadata deleted");
	EXPECT("PUT", RPC, "{\"p\":2}", 200, "metadata updated");
}

static void test_bad_requests(void **state)
{
	struct env *env = *state;

	EXPECT("GET", "/metadata", NULL, 400, "Missing key parameter");
	EXPECT("PUT", "/metadata?key=", "x", 400, "Missing key parameter");
	EXPECT("DELETE", "/metadata?k=x", NULL, 400, "Missing key parameter");
	EXPECT("POST", "/metadata?key=x", "x", 405, "Method not allowed");
	assert_non_null(strstr(env->c.head.p, "Allow: GET, PUT, DELETE"));
	assert_int_equal(t_http_ask(&env->c, "GET", "/x", NULL), 404);
}

static void test_limits(void **state)
{
	struct env *env = *state;
	char url[METADATA_KEY_MAX + 32] = "/metadata?key=";
	size_t n = strlen(url);
	char *body;

	memset(url + n, 'k', METADATA_KEY_MAX);
	EXPECT("PUT", url, "v", 200, "metadata updated");
	EXPECT("GET", url, NULL, 200, "v");
	url[n + METADATA_KEY_MAX] = 'k';
	assert_int_equal(t_http_ask(&env->c, "PUT", url, "v"), 413);
	assert_non_null(strstr(env->c.body.p, "4097"));
	body = malloc(METADATA_VALUE_MAX + 2);
	memset(body, 'b', METADATA_VALUE_MAX + 1);
	body[METADATA_VALUE_MAX + 1] = '\0';
	assert_int_equal(t_http_ask(&env->c, "PUT", RAM, body), 413);
	free(body);
}

static void test_full(void **state)
{
	struct env *env = *state;
	char *body = malloc(METADATA_VALUE_MAX + 1), url[64];
	size_t count = METADATA_BYTES_MAX / METADATA_VALUE_MAX;
	int status = 200;

	memset(body, 'b', METADATA_VALUE_MAX);
	body[METADATA_VALUE_MAX] = '\0';
	/* the keys count as well, so the last one does not fit */
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(status, 200);
		snprintf(url, sizeof(url), "/metadata?key=%zu", i);
		status = t_http_ask(&env->c, "PUT", url, body);
	}
	assert_int_equal(status, 507);
	assert_non_null(strstr(env->c.body.p, "full"));
	/* replacing one is no growth, deleting one makes room */
	assert_int_equal(t_http_ask(&env->c, "PUT", "/metadata?key=1", body),
			 200);
	EXPECT("DELETE", "/metadata?key=0", NULL, 200, "metadata deleted");
	assert_int_equal(t_http_ask(&env->c, "PUT", url, body), 200);
	free(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rpc_meta, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_requests, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
