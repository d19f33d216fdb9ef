/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions over a stand-in for ssh that runs the shell on this machine: frames,
 * limits, deadlines, passwords, files, and the ways it goes wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "deploy/fleet.h"
#include "deploy/remote.h"

static char dir[] = "/tmp/mooncake-remote-XXXXXX";
static char ssh_path[64];

/* A version is told.  Options and host are skipped; what is left is the remote
 * command. */
static const char *version = "OpenSSH_9.2p1";
#define SKIP                                                                   \
	"#!/bin/sh\n"                                                          \
	"[ \"$1\" != -V ] || { echo %s >&2; exit; }\n"                         \
	"printf '%%s\\n' \"$@\" >\"$(dirname \"$0\")/args\"\n"                 \
	"while [ \"$1\" != -- ]; do shift; done\n"                             \
	"host=$2; shift 2\n"

static void fake_ssh(const char *body)
{
	FILE *f = fopen(ssh_path, "w");

	assert_non_null(f);
	fprintf(f, SKIP "%s\n", version, body);
	fclose(f);
	assert_int_equal(chmod(ssh_path, 0700), 0);
}

static int setup(void **state)
{
	assert_non_null(mkdtemp(dir));
	snprintf(ssh_path, sizeof(ssh_path), "%s/ssh", dir);
	setenv("MOONCAKE_SSH_COMMAND", ssh_path, 1);
	return 0;
}

static int teardown(void **state)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static struct remote *session(void)
{
	struct err err = {0};
	struct remote *r;

	fake_ssh("exec sh -c \"$*\"");
	assert_int_equal(
		remote_open(&(struct remote_opts){.host = "node7"}, &r, &err),
		0);
	return r;
}

static struct remote_result run(struct remote *r, const char *script)
{
	struct remote_result res;
	struct err err = {0};

	assert_int_equal(remote_run(r, &(struct remote_cmd){.script = script},
				    &res, &err),
			 0);
	return res;
}

static void check(struct remote *r, const char *script, int status,
		  const char *out)
{
	struct remote_result res = run(r, script);

	assert_int_equal(res.status, status);
	assert_string_equal(res.out.p, out);
	remote_result_fini(&res);
}

static void test_commands(void **state)
{
	struct remote *r = session();
	struct remote_result res;

	check(r, "echo one; echo two", 0, "one\ntwo\n");
	check(r, "printf 'no newline'", 0, "no newline");
	check(r, "exit 7", 7, "");
	check(r, "printf '%s\\n' 'it'\\''s \"$0\" `echo $((1+1))` \\\\'", 0,
	      "it's \"$0\" `echo $((1+1))` \\\\\n");
	check(r, "if", 2, "");	/* a syntax error stays in its frame */
	check(r, "cat", 0, ""); /* stdin is empty, not the next command */
	check(r, "cat <<'X'\nMOONCAKE\nX", 0, "MOONCAKE\n");
	res = run(r, "echo words >&2; false");
	assert_int_equal(res.status, 1);
	assert_string_equal(res.errors.p, "words\n");
	remote_result_fini(&res);
	check(r, "echo still here", 0, "still here\n");
	remote_close(r);
}

static void test_long_answers(void **state)
{
	struct remote *r = session();
	struct remote_result res;
	struct err err = {0};

	res = run(r, "yes 0123456789abcde | head -c 3000000; "
		     "yes error | head -c 100000 >&2");
	assert_int_equal(res.out.n, 3000000);
	assert_true(res.errors.n <= 2 * REMOTE_ERRORS_MAX);
	remote_result_fini(&res);
	assert_int_equal(remote_run(r, &(struct remote_cmd){.script = "yes"},
				    &res, &err),
			 -E2BIG);
	remote_result_fini(&res);
	remote_close(r);
}

static void test_deadline(void **state)
{
	struct remote *r = session();
	struct remote_result res;
	struct err err = {0};

	assert_int_equal(remote_run(r,
				    &(struct remote_cmd){
					    .script = "sleep 1000",
					    .timeout_ms = 50,
				    },
				    &res, &err),
			 -ETIMEDOUT);
	assert_non_null(strstr(err.text, "node7"));
	remote_result_fini(&res);
	err = (struct err){0};
	assert_int_equal(remote_run(r, &(struct remote_cmd){.script = "true"},
				    &res, &err),
			 -EPIPE);
	remote_result_fini(&res);
	remote_close(r);
}

/* The process whose number the script has left in a file. */
static pid_t pid_in(const char *name)
{
	char path[80];
	int pid = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (int i = 0; i < 1000 && pid == 0; i++) {
		FILE *f = fopen(path, "r");

		if (f && fscanf(f, "%d", &pid) != 1)
			pid = 0;
		if (f)
			fclose(f);
		if (pid == 0)
			usleep(5000);
	}
	return pid;
}

/* What hangs there is ended over a new session, with what it has started; what
 * was made to stay there (a service) stays. */
static void test_recover(void **state)
{
	struct remote *r;
	struct remote_result res;
	struct err err = {0};
	char script[256];
	pid_t hangs, stays;

	/* As behind sshd: the end of ssh ends nothing there. */
	fake_ssh("setsid -w sh -c \"$*\"");
	assert_int_equal(
		remote_open(&(struct remote_opts){.host = "node7"}, &r, &err),
		0);

	snprintf(script, sizeof(script),
		 "(setsid sleep 1000 & echo $! >%s/stays)\n"
		 "sh -c 'echo $$ >%s/hangs; sleep 1000'\n",
		 dir, dir);
	assert_int_equal(remote_run(r,
				    &(struct remote_cmd){
					    .script = script,
					    .timeout_ms = 300,
				    },
				    &res, &err),
			 -ETIMEDOUT);
	remote_result_fini(&res);
	hangs = pid_in("hangs");
	stays = pid_in("stays");
	assert_true(hangs > 0 && stays > 0);
	assert_int_equal(kill(hangs, 0), 0);
	remote_recover(r, &err);
	assert_null(strstr(err.text, "still running"));
	assert_false(remote_is_broken(r));
	assert_int_equal(kill(hangs, 0), -1);
	assert_int_equal(kill(stays, SIGKILL), 0);
	assert_int_equal(remote_run(r, &(struct remote_cmd){.script = "exit 7"},
				    &res, &err),
			 0);
	assert_int_equal(res.status, 7);
	remote_result_fini(&res);
	/* No way back. */
	fake_ssh("exit 255");
	remote_recover(r, &err);
	assert_non_null(strstr(err.text, "no way back"));
	remote_close(r);
}

static void test_lost(void **state)
{
	struct remote *r = session();
	struct remote_result res;
	struct err err = {0};

	assert_int_equal(
		remote_run(r, &(struct remote_cmd){.script = "kill -9 $PPID"},
			   &res, &err),
		-EPIPE);
	assert_non_null(strstr(err.text, "connection was lost"));
	remote_result_fini(&res);
	remote_close(r);
}

static void test_must(void **state)
{
	struct remote *r = session();
	struct err err = {0};

	assert_int_equal(remote_must(r, "mend it",
				     &(struct remote_cmd){
					     .script = "echo broken >&2; false",
				     },
				     &err),
			 -EREMOTEIO);
	assert_string_equal(err.text, "node7: can't mend it: broken");
	remote_close(r);
}

static void test_files(void **state)
{
	static uint8_t data[150000];
	uint8_t back[sizeof(data)];
	struct remote *r = session();
	struct err err = {0};
	char path[80];
	struct stat st;
	int fd;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	snprintf(path, sizeof(path), "%s/it's a file", dir);
	for (size_t len = 0; len <= sizeof(data); len += 49999) {
		assert_int_equal(remote_write(r,
					      &(struct remote_file){
						      .path = path,
						      .data = data,
						      .len = len,
						      .mode = 0640,
					      },
					      &err),
				 0);
		fd = open(path, O_RDONLY);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, len);
		assert_int_equal(st.st_mode & 0777, 0640);
		assert_int_equal(read(fd, back, sizeof(back)), len);
		assert_memory_equal(back, data, len);
		close(fd);
	}
	remote_close(r);
}

static int open_with(const struct remote_opts *opts, struct err *err)
{
	struct remote *r;
	int ret;

	*err = (struct err){0};
	ret = remote_open(opts, &r, err);
	remote_close(r);
	return ret;
}

static void test_refusals(void **state)
{
	struct remote_opts opts = {.host = "node7", .connect_ms = 5000};
	struct err err;

	fake_ssh("echo 'Host key verification failed.' >&2; exit 255");
	assert_int_equal(open_with(&opts, &err), -EACCES);
	assert_string_equal(err.text,
			    "node7: ssh: Host key verification failed.");
	fake_ssh("echo 'connect to host: No route to host' >&2; exit 255");
	assert_int_equal(open_with(&opts, &err), -EHOSTUNREACH);
	fake_ssh("exit 0");
	assert_int_equal(open_with(&opts, &err), -EHOSTUNREACH);
	fake_ssh("exec sleep 1000");
	opts.connect_ms = 50;
	assert_int_equal(open_with(&opts, &err), -ETIMEDOUT);
	opts.host = "-oProxyCommand=evil";
	assert_int_equal(open_with(&opts, &err), -EINVAL);
	opts.host = "a b";
	assert_int_equal(open_with(&opts, &err), -EINVAL);
}

static void test_password(void **state)
{
	struct remote_opts opts = {.host = "node7", .password = "s3cret 'x'"};
	char cmd[160];
	struct err err;

	/* As ssh does: first an unknown host key, then the password. */
	fake_ssh("! \"$SSH_ASKPASS\" 'Are you sure (yes/no)? ' || exit 3\n"
		 "ask() { \"$SSH_ASKPASS\" \"root@$1's password: \"; }\n"
		 "[ -z \"$SSH_ASKPASS\" ] || ! ask jump || exit 4\n"
		 "[ \"$(ask node7)\" = \"s3cret 'x'\" ] || { echo Permission "
		 "denied >&2; exit 255; }\n"
		 "exec sh -c \"$*\"");
	assert_int_equal(open_with(&opts, &err), 0);
	snprintf(cmd, sizeof(cmd), "grep -q s3cret %s/args", dir);
	assert_int_not_equal(system(cmd), 0);
	opts.password = "wrong";
	assert_int_equal(open_with(&opts, &err), -EACCES);
	assert_null(strstr(err.text, "wrong"));
	/* What the others ask is the cause, whatever is said after it. */
	fake_ssh("\"$SSH_ASKPASS\" \"root@jump's password: \"\n"
		 "echo 'Connection closed by UNKNOWN port 65535' >&2; "
		 "exit 255");
	assert_int_equal(open_with(&opts, &err), -EACCES);
	assert_string_equal(
		err.text, "node7: ssh: the password is for node7 only, and "
			  "was not given to \"root@jump's password: \": use a "
			  "key or an agent there");
}

/* One that may pass another host's question on as the node's is asked to do
 * nothing. */
static void test_old_ssh(void **state)
{
	struct remote_opts opts = {.host = "node7", .password = "s3cret"};
	struct err err;

	version = "OpenSSH_8.4p1";
	fake_ssh("exec sh -c \"$*\"");
	assert_int_equal(open_with(&opts, &err), -ENOTSUP);
	assert_string_equal(
		err.text,
		"node7: no password is given to the ssh here, OpenSSH_8.4p1, "
		"which does not say who asks for it: OpenSSH does from 8.5 on; "
		"or use --key_file or an agent");
	version = "''";
	fake_ssh("exec sh -c \"$*\"");
	assert_int_equal(open_with(&opts, &err), -ENOTSUP);
	opts.password = NULL;
	assert_int_equal(open_with(&opts, &err), 0);
	version = "OpenSSH_9.2p1";
}

/* --- many at once --- */

static int ask_one(struct fleet_host *host, struct err *err)
{
	struct remote_opts opts = {.host = host->name, .connect_ms = 10000};
	struct remote_result res = {0};
	struct remote *r;
	int ret = remote_open(&opts, &r, err);

	fleet_step(host, "asks for its name");
	if (ret == 0)
		ret = remote_run(r,
				 &(struct remote_cmd){.script = "echo $HOST7"},
				 &res, err);
	if (ret == 0)
		*(char *)host->arg = res.out.p[0];
	remote_result_fini(&res);
	remote_close(r);
	return ret;
}

static void test_fleet(void **state)
{
	struct fleet_host hosts[10] = {0};
	char answers[10] = {0};

	fake_ssh("[ \"$host\" != n3 ] || exit 255\n"
		 "export HOST7=\"${host#n}\"; exec sh -c \"$*\"");
	for (int i = 0; i < 10; i++) {
		snprintf(hosts[i].name, sizeof(hosts[i].name), "n%d", i);
		hosts[i].arg = &answers[i];
	}
	assert_int_equal(fleet_run(hosts, 10, ask_one), 1);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(hosts[i].ret, i == 3 ? -EHOSTUNREACH : 0);
		assert_int_equal(answers[i], i == 3 ? 0 : '0' + i);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_long_answers),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_recover),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_must),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_password),
		cmocka_unit_test(test_old_ssh),
		cmocka_unit_test(test_fleet),
	};
	int status;

	if (remote_askpass(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, setup, teardown);
}
