/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in any pieces: what comes back, in which order, and when nothing. */
#include "control/session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rand.h"

struct echo_args {
	const char *text;
	uint32_t number;
	bool flag;
	const char *inner;
	const json_t *list;
};

static const struct param inner_params[] = {
	{"inner", PARAM_STR, offsetof(struct echo_args, inner), true},
};
static const struct param echo_params[] = {
	{"text", PARAM_STR, offsetof(struct echo_args, text), true},
	{"number", PARAM_U32, offsetof(struct echo_args, number), .def = 7},
	{"flag", PARAM_BOOL, offsetof(struct echo_args, flag), .def = true},
	{"object", PARAM_OBJECT, .sub = inner_params, .sub_count = 1},
	{"list", PARAM_STRS, offsetof(struct echo_args, list)},
};

static struct jrpc_call *held;

static void run_echo(struct jrpc_call *call, void *args)
{
	const struct echo_args *a = args;

	jrpc_result(call, json_sprintf("%s/%u/%d/%s/%zu", a->text, a->number,
				       a->flag, a->inner ? a->inner : "-",
				       json_array_size(a->list)));
}

static void run_later(struct jrpc_call *call, void *args)
{
	assert_null(held);
	held = call;
}

static void run_fail(struct jrpc_call *call, void *args)
{
	jrpc_fail_errno(call, -ENODEV);
}

#define ECHO_ROW(attrs_)                                                       \
	.params = echo_params, .param_count = ARRAY_SIZE(echo_params),         \
	.args_size = sizeof(struct echo_args), .run = run_echo,                \
	.attrs = attrs_
static const struct jrpc_method methods[] = {
	{.name = "echo", ECHO_ROW(0)},
	{.name = "bdev_echo", ECHO_ROW(JRPC_BDEV_STYLE)},
	{.name = "loose", ECHO_ROW(JRPC_RELAXED)},
	{.name = "later", .run = run_later},
	{.name = "fail", .run = run_fail},
};
static const struct jrpc_table table = {methods, ARRAY_SIZE(methods)};
static const struct jrpc_table *const tables[] = {&table, NULL};
static struct jrpc rpc = {.tables = tables};

static void on_notify(struct session *s)
{
}

static int setup(void **state)
{
	static struct session s;

	log_level_max = LOG_ERROR;
	session_init(&s, &rpc, on_notify, NULL);
	*state = &s;
	return 0;
}

static int teardown(void **state)
{
	session_fini(*state);
	return 0;
}

static void feed(struct session *s, const char *text)
{
	session_feed(s, text, strlen(text));
}

static void expect(struct session *s, const char *text)
{
	assert_string_equal(s->out.n ? s->out.p : "", text);
	strbuf_reset(&s->out);
}

static void answer_held(void)
{
	struct jrpc_call *call = held;

	held = NULL;
	jrpc_true(call);
}

#define OK(id, text) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":" text "}"
#define BAD(id, code, text)                                                    \
	"{\"jsonrpc\":\"2.0\",\"id\":" id ",\"error\":{\"code\":" code         \
	",\"message\":\"" text "\"}}"
#define BAD_NULL BAD("null", "-32600", "Invalid request")
#define INVALID	 BAD_NULL "\n"
#define NODEV_1	 BAD("1", "-19", "No such device")
#define NODEV_2	 BAD("2", "-19", "No such device")
#define NODEV_3	 BAD("3", "-19", "No such device")

/* Facts of SPDK v26.05: what each request is answered. */
static void test_answers(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\","
		 "\"params\":{\"text\":\"a\"}}",
		 OK("1", "\"a/7/1/-/0\"") "\n"},
		{"{\"id\":\"x\",\"method\":\"echo\",\"params\":{\"text\":"
		 "\"a}\\\"{\",\"number\":0,\"flag\":false,\"object\":"
		 "{\"inner\":\"i\"},\"list\":[\"p\",\"q\"]}}",
		 OK("\"x\"", "\"a}\\\"{/0/0/i/2\"") "\n"},
		{"{\"id\":2,\"method\":\"fail\"}",
		 BAD("2", "-19", "No such device") "\n"},
		{"{\"id\":3,\"method\":\"nope\"}",
		 BAD("3", "-32601", "Method not found") "\n"},
		{"{\"id\":4,\"method\":\"fail\",\"params\":{}}",
		 BAD("4", "-32602", "fail method requires no parameters") "\n"},
		{"{\"jsonrpc\":\"1.0\",\"id\":5,\"method\":\"fail\"}", INVALID},
		{"{\"id\":6}", INVALID},
		{"{\"id\":7,\"method\":42}", INVALID},
		{"{\"id\":8,\"method\":\"fail\",\"extra\":1}", INVALID},
		{"{\"id\":[],\"method\":\"fail\"}", INVALID},
		{"{\"id\":9,\"method\":\"fail\",\"params\":3}",
		 BAD("9", "-32600", "Invalid request") "\n"},
		{"[]", INVALID},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"fail\"}", ""},
		{"{\"id\":null,\"method\":\"fail\"}", ""},
		{"{\"id\":null,\"method\":\"echo\",\"params\":{\"text\":"
		 "\"a\"}}",
		 ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		feed(*state, cases[i].in);
		expect(*state, cases[i].out);
		assert_false(((struct session *)*state)->is_broken);
	}
}

static void test_parameters(void **state)
{
	static const struct {
		const char *method, *params, *code, *text;
	} cases[] = {
		{"echo", "{}", "-32602", "Invalid parameters"},
		{"echo", "{\"text\":1}", "-32602", "Invalid parameters"},
		{"echo", "{\"text\":\"a\",\"number\":\"5\"}", "-32602",
		 "Invalid parameters"},
		{"echo", "{\"text\":\"a\",\"number\":-1}", "-32602",
		 "Invalid parameters"},
		{"echo", "{\"text\":\"a\",\"number\":4294967296}", "-32602",
		 "Invalid parameters"},
		{"echo", "{\"text\":\"a\",\"number\":1.5}", "-32602",
		 "Invalid parameters"},
		{"echo", "{\"text\":\"a\",\"flag\":1}", "-32602",
		 "Invalid parameters"},
		{"echo", "{\"text\":\"a\",\"bogus\":1}", "-32602",
		 "Invalid parameters"},
		{"echo", "{\"text\":\"a\",\"object\":{}}", "-32602",
		 "Invalid parameters"},
		{"echo", "{\"text\":\"a\",\"object\":3}", "-32602",
		 "Invalid parameters"},
		{"echo", "{\"text\":\"a\",\"list\":[1]}", "-32602",
		 "Invalid parameters"},
		{"bdev_echo", "[1,2]", "-32603",
		 "spdk_json_decode_object failed"},
		{"bdev_echo", "{\"text\":\"a\",\"x\":1}", "-32603",
		 "spdk_json_decode_object failed"},
		{"loose", "{\"x\":1}", "-32602", "Invalid parameters"},
	};
	char in[256], out[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(in, sizeof(in),
			 "{\"id\":1,\"method\":\"%s\",\"params\":%s}",
			 cases[i].method, cases[i].params);
		snprintf(out, sizeof(out), BAD("1", "%s", "%s") "\n",
			 cases[i].code, cases[i].text);
		feed(*state, in);
		expect(*state, out);
	}
	feed(*state, "{\"id\":1,\"method\":\"loose\",\"params\":{\"text\":\"a\""
		     ",\"x\":1}}");
	expect(*state, OK("1", "\"a/7/1/-/0\"") "\n");
}

static void test_batch(void **state)
{
	feed(*state, "[{\"id\":1,\"method\":\"fail\"},"
		     "{\"method\":\"fail\"},7,{\"id\":2,\"method\":\"later\"}]"
		     "{\"id\":3,\"method\":\"fail\"}");
	expect(*state, "");
	answer_held();
	expect(*state,
	       "[" NODEV_1 "," BAD_NULL "," OK("2", "true") "]\n" NODEV_3 "\n");
	feed(*state, "[{\"method\":\"fail\"}]");
	expect(*state, "");
}

/* The second is looked at only when the first is answered. */
static void test_pipelined(void **state)
{
	feed(*state, " {\"id\":1,\"method\":\"later\"}\n\n"
		     "{\"id\":2,\"method\":\"later\"}{\"id\":3,");
	assert_true(session_is_busy(*state));
	expect(*state, "");
	answer_held();
	expect(*state, OK("1", "true") "\n");
	answer_held();
	expect(*state, OK("2", "true") "\n");
	assert_true(session_is_waiting(*state));
	feed(*state, "\"method\":\"fail\"}");
	expect(*state, BAD("3", "-19", "No such device") "\n");
	assert_false(session_is_waiting(*state));
}

static void test_any_pieces(void **state)
{
	static const char text[] =
		"{\"id\":1,\"method\":\"echo\",\"params\":{\"text\":\"\\\\\\\"["
		"\"}} [{\"id\":2,\"method\":\"fail\"}]\t{\"id\":3,\"method\":"
		"\"fail\"}";
	uint64_t seed = 20261122;
	struct rng rng;

	rng_seed(&rng, seed);
	print_message("seed %llu\n", (unsigned long long)seed);
	for (int round = 0; round < 200; round++) {
		size_t at = 0;

		while (at < sizeof(text) - 1) {
			size_t n = 1 + rng_below(&rng, sizeof(text) - 1 - at);

			session_feed(*state, text + at, n);
			at += n;
		}
		expect(*state,
		       OK("1", "\"\\\\\\\"[/7/1/-/0\"") "\n"
							"[" NODEV_2
							"]\n" NODEV_3 "\n");
	}
}

static void test_garbage(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"hello\n", BAD("null", "-32700", "Parse error") "\n"},
		{"{\"id\":1,,}", BAD("null", "-32700", "Parse error") "\n"},
		{"{\"id\":1,\"id\":2}",
		 BAD("null", "-32700", "Parse error") "\n"},
		{"}", BAD("null", "-32700", "Parse error") "\n"},
		{"[}", BAD("null", "-32700", "Parse error") "\n"},
		{"42", INVALID},
		{"\"text\"", INVALID},
	};
	struct session *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		feed(s, cases[i].in);
		expect(s, cases[i].out);
		assert_true(s->is_broken);
		session_fini(s);
		session_init(s, &rpc, on_notify, NULL);
	}
	session_feed(s, "\0", 1);
	assert_true(s->is_broken);
}

static void test_too_large(void **state)
{
	static char piece[65536];
	struct session *s = *state;
	size_t fed = 0;

	memset(piece, 'a', sizeof(piece));
	feed(s, "{\"id\":\"");
	while (!s->is_broken) {
		session_feed(s, piece, sizeof(piece));
		fed += sizeof(piece);
		assert_true(fed <= SESSION_REQUEST_MAX + sizeof(piece));
	}
	assert_true(fed >= SESSION_REQUEST_MAX);
	expect(s,
	       BAD("null", "-32600", "the request is larger than 1 MiB") "\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parameters, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipelined, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_any_pieces, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_large, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
