/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target with its control, without a socket: calls by name, and answers
 * compared with what they must at least contain.
 */
#ifndef TESTS_UNIT_CONTROL_T_CONTROL_H
#define TESTS_UNIT_CONTROL_T_CONTROL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/time.h"
#include "control/control.h"

static struct loop *t_loop;
static struct tgt *t_tgt;
static struct control t_ctl;

static void t_on_flag(void *arg)
{
	*(bool *)arg = true;
}

static void t_turn_until(const bool *flag)
{
	uint64_t end = time_mono_ns() + 20 * NS_PER_S;

	while (!*flag && time_mono_ns() < end)
		loop_turn(t_loop, 10 * NS_PER_MS);
	assert_true(*flag);
}

static void t_begin(void)
{
	struct err err = {0};

	log_level_max = LOG_ERROR;
	assert_int_equal(
		loop_create(&(struct loop_opts){.name = "t"}, &t_loop, &err),
		0);
	assert_int_equal(
		tgt_create(&(struct tgt_opts){.loop = t_loop}, &t_tgt, &err),
		0);
	control_init(&t_ctl, t_loop, t_tgt);
}

static void t_end(void)
{
	bool is_closed = false, is_stopped = false;

	control_close(&t_ctl, t_on_flag, &is_closed);
	t_turn_until(&is_closed);
	tgt_stop(t_tgt, t_on_flag, &is_stopped);
	t_turn_until(&is_stopped);
	control_fini(&t_ctl);
	loop_destroy(t_loop);
}

struct t_answer {
	json_t *json;
	bool is_done;
};

static void t_on_answer(struct jrpc_call *call, json_t *answer, void *arg)
{
	struct t_answer *a = arg;

	a->json = answer;
	a->is_done = true;
}

/* The caller's to release. */
static json_t *t_call(const char *method, const char *params)
{
	struct t_answer a = {0};
	json_t *request = json_pack("{s:i, s:s}", "id", 1, "method", method);
	json_error_t where;

	if (params)
		json_object_set_new(
			request, "params",
			json_loads(params, JSON_DECODE_ANY, &where));
	jrpc_run(&t_ctl.rpc, request, t_on_answer, &a);
	t_turn_until(&a.is_done);
	json_decref(request);
	assert_non_null(a.json);
	return a.json;
}

/* Each member of want is in got; arrays have the same length. */
static bool t_contains(const json_t *got, const json_t *want)
{
	const char *key;
	json_t *value;

	if (json_is_array(want)) {
		if (json_array_size(got) != json_array_size(want))
			return false;
		for (size_t i = 0; i < json_array_size(want); i++) {
			if (!t_contains(json_array_get(got, i),
					json_array_get(want, i)))
				return false;
		}
		return json_is_array(got);
	}
	if (!json_is_object(want))
		return json_equal(got, want);
	json_object_foreach((json_t *)(uintptr_t)want, key, value)
	{
		if (!t_contains(json_object_get(got, key), value))
			return false;
	}
	return json_is_object(got);
}

/* want: the result as JSON, or "!CODE message". */
static void t_expect(const char *method, const char *params, const char *want)
{
	json_t *got = t_call(method, params), *expected;
	json_error_t where;
	char *text = json_dumps(got, JSON_COMPACT), *message = NULL;
	int code = 0;
	bool is_right;

	if (want[0] == '!') {
		code = (int)strtol(want + 1, &message, 10);
		expected = json_pack("{s:{s:i, s:s}}", "error", "code", code,
				     "message", message + 1);
	} else {
		expected = json_pack("{s:o}", "result",
				     json_loads(want, JSON_DECODE_ANY, &where));
	}
	assert_non_null(expected);
	is_right = t_contains(got, expected);
	if (!is_right)
		print_error("%s %s\n got %s\nwant %s\n", method,
			    params ? params : "", text, want);
	free(text);
	json_decref(expected);
	json_decref(got);
	assert_true(is_right);
}

#endif
