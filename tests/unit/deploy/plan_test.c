/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans on this machine through a stand-in for ssh: what is shown, applied,
 * taken back; and calls to a target's socket.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "deploy/plan.h"
#include "deploy/relay.h"

static char dir[] = "/tmp/mooncake-plan-XXXXXX";

/* A target that answers one request per connection. */
struct server {
	int fd;
	pthread_t thread;
	char path[64];
	char seen[10][256];
	int count;
	const char *answer; /* in two parts, so that it comes in two reads */
};

static struct remote *remote;

static int setup(void **state)
{
	char path[64];
	struct err err = {0};
	FILE *f;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ssh", dir);
	f = fopen(path, "w");
	fprintf(f,
		"#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\n"
		"shift 2; cd %s; exec sh -c \"$*\"\n",
		dir);
	fclose(f);
	chmod(path, 0700);
	setenv("MOONCAKE_SSH_COMMAND", path, 1);
	assert_int_equal(
		remote_open(&(struct remote_opts){.host = "n1"}, &remote, &err),
		0);
	return 0;
}

static int teardown(void **state)
{
	char cmd[128];

	remote_close(remote);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
		char *seen = s->seen[s->count % 10];
		ssize_t n = read(fd, seen, 255);
		size_t half = strlen(s->answer) / 2;

		seen[n > 0 ? n : 0] = '\0';
		s->count++;
		assert_int_equal(write(fd, s->answer, half), half);
		assert_int_equal(
			write(fd, s->answer + half, strlen(s->answer) - half),
			strlen(s->answer) - half);
		/* As SPDK: the connection stays open until the client goes. */
		while (n > 0 && read(fd, (char[1]){0}, 1) > 0)
			;
		close(fd);
	}
	return NULL;
}

static void server_start(struct server *s, const char *answer)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	*s = (struct server){.answer = answer};
	snprintf(s->path, sizeof(s->path), "%s/rpc.sock", dir);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", s->path);
	unlink(s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(s->fd, 8), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
}

static int call(const char *socket, json_t **result, int *code, struct err *err)
{
	struct relay relay = {.remote = remote, .timeout_ms = 5000};
	json_t *params = json_pack("{s:s}", "nqn", "it's");
	int ret;

	*err = (struct err){0};
	snprintf(relay.socket, sizeof(relay.socket), "%s", socket);
	ret = relay_call(&relay, "nvmf_get", params, result, code, err);
	json_decref(params);
	return ret;
}

static void test_relay(void **state)
{
	struct server s;
	struct err err;
	json_t *result;
	int code;

	server_start(&s, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[7]}\n");
	assert_int_equal(call(s.path, &result, &code, &err), 0);
	assert_int_equal(json_integer_value(json_array_get(result, 0)), 7);
	json_decref(result);
	assert_non_null(strstr(s.seen[0], "\"params\":{\"nqn\":\"it's\"}"));
	server_stop(&s);
	assert_int_equal(call(s.path, &result, &code, &err), -ENOENT);
	assert_int_equal(call("/nonexistent", &result, &code, &err), -ENOENT);

	server_start(&s, "{\"id\":1,\"error\":{\"code\":-19,"
			 "\"message\":\"No such device\"}}");
	assert_int_equal(call(s.path, &result, &code, &err), -EREMOTEIO);
	assert_int_equal(code, -19);
	assert_string_equal(err.text, "nvmf_get: No such device (-19)");
	server_stop(&s);
	server_start(&s, "{\"id\":2,\"result\":true}");
	assert_int_equal(call(s.path, &result, &code, &err), -EPROTO);
	server_stop(&s);
}

static bool exists(const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static int apply(const struct plan *plan, const char *socket, struct err *err)
{
	size_t done = 0;

	*err = (struct err){0};
	return plan_apply(plan, &done,
			  &(struct plan_target){
				  .remote = remote,
				  .socket = socket,
			  },
			  err);
}

static void test_apply(void **state)
{
	struct plan plan = {0};
	char path[96];
	struct err err;
	struct server s;

	server_start(&s, "{\"id\":1,\"result\":true}");
	snprintf(path, sizeof(path), "%s/file", dir);
	plan_script(&plan, "make a", "touch a", "rm -f a");
	plan_file(&plan, "write a file", path, "text\n", 0600);
	plan_rpc(&plan, "call", "nvmf_x", json_pack("{s:i}", "n", 1));
	assert_int_equal(apply(&plan, s.path, &err), 0);
	assert_true(exists("a") && exists("file"));
	assert_non_null(strstr(s.seen[0], "nvmf_x"));
	plan_fini(&plan);
	server_stop(&s);
}

static void test_roll_back(void **state)
{
	struct plan plan = {0};
	struct server s;
	struct step *step;
	struct err err;

	server_start(&s, "{\"id\":1,\"result\":true}");
	plan_script(&plan, "make b", "touch b", "rm b; touch undone");
	step = plan_rpc(&plan, "call", "nvmf_add", NULL);
	step_undo_rpc(&plan, step, "nvmf_del", json_pack("{s:i}", "n", 2));
	plan_script(&plan, "make c", "touch c; echo no >&2; exit 1", "rm -f c");
	plan_script(&plan, "make d", "touch d", NULL);
	assert_int_equal(apply(&plan, s.path, &err), -EREMOTEIO);
	assert_non_null(strstr(err.text, "step make c: "));
	assert_non_null(strstr(err.text, "no; all taken back"));
	assert_false(exists("b") || exists("c") || exists("d"));
	assert_true(exists("undone"));
	assert_int_equal(s.count, 2);
	assert_non_null(strstr(s.seen[1], "nvmf_del"));
	plan_fini(&plan);
	server_stop(&s);
}

/* The session dies in the middle: the rest is done over a new one. */
static void test_cut_off(void **state)
{
	struct plan plan = {0};
	struct err err;

	plan_script(&plan, "make e", "touch e", "rm -f e");
	plan_script(&plan, "make f", "touch f; kill -9 $PPID; sleep 1",
		    "rm -f f");
	assert_int_equal(apply(&plan, "/none", &err), -EPIPE);
	assert_non_null(strstr(err.text, "all taken back"));
	assert_false(exists("e") || exists("f"));
	plan_fini(&plan);
}

static void test_left_behind(void **state)
{
	struct plan plan = {0};
	struct err err;

	plan_script(&plan, "make g", "touch g", "exit 9");
	plan_script(&plan, "fail", "exit 1", NULL);
	assert_int_equal(apply(&plan, "/none", &err), -EREMOTEIO);
	assert_non_null(strstr(err.text, "NOT taken back: make g"));
	plan_fini(&plan);
}

static void test_show(void **state)
{
	struct plan plan = {0};
	struct strbuf out = {0};
	json_t *json;

	plan_format(&plan, "n1", false, &out);
	assert_string_equal(out.p, "n1: nothing to do\n");
	strbuf_reset(&out);
	plan_note(&plan, "disk %s is used", "sda");
	plan_script(&plan, "make x", "touch x", "rm x");
	plan_format(&plan, "n1", true, &out);
	assert_string_equal(out.p,
			    "n1:\n       disk sda is used\n   1. make x\n"
			    "       touch x\n");
	json = plan_json(&plan, "n1");
	assert_int_equal(json_array_size(json_object_get(json, "steps")), 1);
	json_decref(json);
	strbuf_fini(&out);
	plan_fini(&plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relay),
		cmocka_unit_test(test_apply),
		cmocka_unit_test(test_roll_back),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_left_behind),
		cmocka_unit_test(test_show),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
