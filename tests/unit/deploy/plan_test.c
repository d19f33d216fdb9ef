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

#include "deploy/deployment.h"
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

static int call(const char *socket, json_t **result, struct err *err)
{
	struct relay relay = {.remote = remote, .timeout_ms = 5000};
	json_t *params = json_pack("{s:s}", "nqn", "it's");
	int ret;

	*err = (struct err){0};
	snprintf(relay.socket, sizeof(relay.socket), "%s", socket);
	ret = relay_call(&relay, "nvmf_get", params, result, err);
	json_decref(params);
	return ret;
}

static void test_relay(void **state)
{
	struct relay relay = {.remote = remote, .timeout_ms = 5000};
	struct server s;
	struct err err;
	json_t *result;

	server_start(&s, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[7]}\n");
	assert_int_equal(call(s.path, &result, &err), 0);
	assert_int_equal(json_integer_value(json_array_get(result, 0)), 7);
	json_decref(result);
	assert_non_null(strstr(s.seen[0], "\"params\":{\"nqn\":\"it's\"}"));
	server_stop(&s);
	assert_int_equal(call(s.path, &result, &err), -ENOENT);
	assert_int_equal(call("/nonexistent", &result, &err), -ENOENT);

	server_start(&s, "{\"id\":1,\"error\":{\"code\":-19,"
			 "\"message\":\"No such device\"}}");
	assert_int_equal(call(s.path, &result, &err), -EREMOTEIO);
	assert_string_equal(err.text, "n1: nvmf_get: No such device (-19)");
	server_stop(&s);
	server_start(&s, "{\"id\":2,\"result\":true}");
	assert_int_equal(call(s.path, &result, &err), -EPROTO);
	server_stop(&s);
	server_start(&s, "{\"id\":1,\"result\":5}");
	err = (struct err){0};
	snprintf(relay.socket, sizeof(relay.socket), "%s", s.path);
	assert_int_equal(relay_list(&relay, "nvmf_get", &result, &err),
			 -EPROTO);
	assert_null(result);
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
	assert_non_null(strstr(err.text, "can't make c: "));
	assert_non_null(strstr(err.text, "no; all taken back"));
	assert_false(exists("b") || exists("c") || exists("d"));
	assert_true(exists("undone"));
	assert_int_equal(s.count, 2);
	assert_non_null(strstr(s.seen[1], "nvmf_del"));
	plan_fini(&plan);
	server_stop(&s);
}

/* What could not be taken back is not said to have been. */
static void test_not_taken_back(void **state)
{
	struct plan plan = {0};
	struct err err;

	plan_script(&plan, "make b", "touch b", "rm b");
	plan_script(&plan, "end it", "touch ended", "exit 1");
	plan_script(&plan, "make c", "exit 1", NULL);
	assert_int_equal(apply(&plan, "/none", &err), -EREMOTEIO);
	assert_non_null(strstr(err.text, "NOT taken back: end it"));
	assert_null(strstr(err.text, "all taken back"));
	assert_true(exists("ended") && !exists("b"));
	plan_fini(&plan);
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

static const char *text_of(const char *name)
{
	static char text[64];
	char path[96];
	FILE *f;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	if (f) {
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[n] = '\0';
	return text;
}

static void put_text(const char *name, const char *text, unsigned mode)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
	chmod(path, mode);
}

/* What a file held before is there again, with its mode. */
static void test_old_file(void **state)
{
	static const char *const ends[] = {"exit 1", "kill -9 $PPID; sleep 1"};
	struct stat st;
	char path[96], link[96], none[96];
	struct err err;

	snprintf(path, sizeof(path), "%s/unit", dir);
	snprintf(link, sizeof(link), "%s/link", dir);
	snprintf(none, sizeof(none), "%s/none", dir);
	put_text("unit", "before\n", 0640);
	assert_int_equal(symlink("unit", link), 0);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct plan plan = {0};

		step_undo_add(&plan, plan_file(&plan, "w", path, "new", 0600),
			      "touch reloaded");
		plan_file(&plan, "link", link, "new", 0600);
		plan_file(&plan, "write one more", none, "new", 0600);
		plan_script(&plan, "fail", ends[i], NULL);
		assert_true(apply(&plan, "/none", &err) < 0);
		assert_non_null(strstr(err.text, "all taken back"));
		assert_string_equal(text_of("unit"), "before\n");
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0640);
		assert_int_equal(lstat(link, &st), 0);
		assert_true(S_ISLNK(st.st_mode));
		assert_false(exists("none") || exists("unit" PLAN_OLD));
		assert_true(exists("reloaded"));
		plan_fini(&plan);
	}
}

/* A step that could not even begin is not taken back. */
static void test_file_not_begun(void **state)
{
	struct plan plan = {0};
	char path[96];
	struct err err;

	snprintf(path, sizeof(path), "%s/kept", dir);
	put_text("kept", "before\n", 0644);
	snprintf(path, sizeof(path), "%s/kept" PLAN_OLD, dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/kept", dir);
	plan_file(&plan, "write", path, "new", 0600);
	assert_int_equal(apply(&plan, "/none", &err), -EREMOTEIO);
	assert_string_equal(text_of("kept"), "before\n");
	plan_fini(&plan);
}

/* A file that is there by now is not ours: neither touched nor removed. */
static void test_make_file(void **state)
{
	struct deployment d = {0};
	struct err err;
	struct stat st;
	char path[96];

	snprintf(path, sizeof(path), "%s/disk's", dir);
	deployment_make_file(&d, path, 8192);
	assert_int_equal(apply(&d.plan, "/none", &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 8192);
	put_text("disk's", "data\n", 0644);
	assert_int_equal(apply(&d.plan, "/none", &err), -EREMOTEIO);
	assert_string_equal(text_of("disk's"), "data\n");
	assert_false(exists("disk's" REMOTE_NEW));
	unlink(path);
	plan_script(&d.plan, "fail", "exit 1", NULL);
	assert_int_equal(apply(&d.plan, "/none", &err), -EREMOTEIO);
	assert_false(exists("disk's"));
	deployment_fini(&d);
}

static void test_settle(void **state)
{
	struct plan plan = {0};
	char path[96];
	struct err err;

	snprintf(path, sizeof(path), "%s/settled", dir);
	put_text("settled", "before\n", 0644);
	plan_file(&plan, "write", path, "new", 0600);
	assert_int_equal(apply(&plan, "/none", &err), 0);
	assert_string_equal(text_of("settled"), "new");
	assert_string_equal(text_of("settled" PLAN_OLD), "before\n");
	plan_settle(&plan, &(struct plan_target){.remote = remote});
	assert_false(exists("settled" PLAN_OLD));
	assert_string_equal(text_of("settled"), "new");
	plan_fini(&plan);
}

/* The target did it, but its answer never came. */
static void test_lost_answer(void **state)
{
	struct plan plan = {0};
	struct server s;
	struct step *step;
	struct err err;

	server_start(&s, "");
	step = plan_rpc(&plan, "call", "nvmf_add", NULL);
	step_undo_rpc(&plan, step, "nvmf_del", NULL);
	step->timeout_ms = 1000;
	assert_int_equal(apply(&plan, s.path, &err), -EIO);
	assert_int_equal(s.count, 2);
	assert_non_null(strstr(s.seen[1], "nvmf_del"));
	plan_fini(&plan);
	server_stop(&s);
	server_start(&s, "{\"id\":1,\"error\":{\"code\":-1}}");
	plan_script(&plan, "make h", "touch h", "rm h");
	step = plan_rpc(&plan, "call", "nvmf_add", NULL);
	step_undo_rpc(&plan, step, "nvmf_del", NULL);
	assert_int_equal(apply(&plan, s.path, &err), -EREMOTEIO);
	assert_int_equal(s.count, 1); /* it said no: nothing to take back */
	assert_false(exists("h"));
	plan_fini(&plan);
	server_stop(&s);
}

/* Arguments can be read by everybody there, scripts hold secrets. */
static void test_no_arguments(void **state)
{
	struct remote_result res;
	struct err err = {0};

	assert_int_equal(remote_run(remote,
				    &(struct remote_cmd){
					    .script = "k=very-secret\n"
						      "cat /proc/$$/cmdline "
						      "/proc/$PPID/cmdline\n"
						      "read -r x || exit 7",
				    },
				    &res, &err),
			 0);
	assert_int_equal(res.status, 7);
	assert_null(memmem(res.out.p, res.out.n, "very-secret", 11));
	remote_result_fini(&res);
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

static void test_secret(void **state)
{
	struct plan plan = {0};
	struct strbuf out = {0};
	struct step *step;
	json_t *json;
	char *text;

	step = plan_file(&plan, "write k", "/k", "swordfish", 0600);
	step->is_secret = true;
	plan_format(&plan, "n1", true, &out);
	assert_non_null(strstr(out.p, "(a secret)"));
	assert_null(strstr(out.p, "swordfish"));
	json = plan_json(&plan, "n1");
	text = json_dumps(json, 0);
	assert_null(strstr(text, "swordfish"));
	free(text);
	json_decref(json);
	strbuf_fini(&out);
	plan_fini(&plan);
}

/* First what was written comes back, then the target is told to read it. */
static void test_read_again(void **state)
{
	struct plan plan = {0};
	struct server s;
	struct step *step;
	struct err err;

	server_start(&s, "{\"id\":1,\"result\":true}");
	step = plan_script(&plan, "write b", "touch b", "rm b && touch undone");
	step_undo_rpc(&plan, step, "nvmf_read_again", NULL);
	plan_script(&plan, "make c", "exit 1", NULL);
	assert_int_equal(apply(&plan, s.path, &err), -EREMOTEIO);
	assert_non_null(strstr(err.text, "; all taken back"));
	assert_false(exists("b"));
	assert_int_equal(s.count, 1);
	assert_non_null(strstr(s.seen[0], "nvmf_read_again"));
	plan_fini(&plan);
	server_stop(&s);
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
		cmocka_unit_test(test_not_taken_back),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_left_behind),
		cmocka_unit_test(test_old_file),
		cmocka_unit_test(test_file_not_begun),
		cmocka_unit_test(test_make_file),
		cmocka_unit_test(test_settle),
		cmocka_unit_test(test_lost_answer),
		cmocka_unit_test(test_no_arguments),
		cmocka_unit_test(test_show),
		cmocka_unit_test(test_secret),
		cmocka_unit_test(test_read_again),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
