/* SPDX-License-Identifier: Apache-2.0 */
/* The methods for fault filters, against a target that nobody is connected to.
 */
#include "control/control.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct loop *loop;
static struct tgt *tgt;
static struct control ctl;
static json_t *last;

static int setup(void **state)
{
	struct tgt_opts opts = {0};
	struct err err = {0};

	if (loop_create(&(struct loop_opts){.name = "test"}, &loop, &err))
		return -1;
	opts.loop = loop;
	if (tgt_create(&opts, &tgt, &err))
		return -1;
	control_init(&ctl, loop, tgt);
	return 0;
}

static int teardown(void **state)
{
	json_decref(last);
	tgt_stop(tgt, NULL, NULL);
	loop_turn(loop, 0);
	loop_destroy(loop);
	return 0;
}

static void on_done(struct jrpc_call *call, json_t *answer, void *arg)
{
	json_decref(last);
	last = answer;
}

/* What was answered: the result, or the error object. */
static json_t *ask(const char *method, const char *params)
{
	json_t *p = params ? json_loads(params, 0, NULL) : NULL;
	json_t *request = json_pack("{s:s, s:i, s:s, s:o*}", "jsonrpc", "2.0",
				    "id", 1, "method", method, "params", p);
	json_t *result;

	assert_non_null(request);
	jrpc_run(&ctl.rpc, request, on_done, NULL);
	json_decref(request);
	result = json_object_get(last, "result");
	return result ? result : json_object_get(last, "error");
}

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static void faults_come_and_go(void **state)
{
	json_t *a, *one;

	a = ask("mooncake_fault_set", "{\"fault\": \"kind=error,seed=5\"}");
	assert_int_equal(number(a, "id"), 1);
	a = ask("mooncake_fault_set",
		"{\"fault\": \"kind=stall,for=3600,op=read\"}");
	assert_int_equal(number(a, "id"), 2);
	a = ask("mooncake_fault_list", NULL);
	assert_int_equal(json_array_size(a), 2);
	one = json_array_get(a, 0);
	assert_string_equal(text(one, "fault"), "kind=error,seed=5");
	assert_string_equal(text(one, "seed"), "5");
	assert_true(json_is_true(json_object_get(one, "active")));
	assert_int_equal(number(one, "injected"), 0);
	one = json_array_get(a, 1);
	assert_true(number(one, "left_ms") > 3500000);
	a = ask("mooncake_fault_clear", "{\"id\": 1}");
	assert_int_equal(number(a, "cleared"), 1);
	a = ask("mooncake_fault_clear", "{\"id\": 1}");
	assert_int_equal(number(a, "code"), -ENOENT);
	a = ask("mooncake_fault_clear", NULL);
	assert_int_equal(number(a, "cleared"), 1);
	assert_int_equal(json_array_size(ask("mooncake_fault_list", NULL)), 0);
}

static void wrong_ones_are_explained(void **state)
{
	json_t *a = ask("mooncake_fault_set", "{\"fault\": \"kind=magic\"}");

	assert_int_equal(number(a, "code"), JRPC_INVALID_PARAMS);
	assert_non_null(strstr(text(a, "message"), "magic"));
	a = ask("mooncake_fault_set", "{}");
	assert_int_equal(number(a, "code"), JRPC_INVALID_PARAMS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults_come_and_go),
		cmocka_unit_test(wrong_ones_are_explained),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
