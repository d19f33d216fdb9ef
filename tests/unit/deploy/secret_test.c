/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords and keys are overwritten: after their use nothing in this process'
 * memory, freed or not, nor on its stack, has them.
 */
#include <errno.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/base64.h"
#include "crypt/tlskey.h"
#include "deploy/deployment.h"
#include "deploy/secret.h"
#include "pool/identity.h"
#include "t_dir.h"
#include "t_memory.h"

#define PASSWORD_BYTES 60
#define LAST	       30 /* of it that are looked for */
#define HOST	       "nqn.2024-01.io.example:host"

static struct t_dir dir;

/* A file with mode 0600 that holds head, the pattern and tail. */
static void write_file(char path[128], const char *head,
		       const struct t_pattern *p, const char *tail)
{
	int fd;

	snprintf(path, 128, "%s/secret", dir.path);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, head, strlen(head)), strlen(head));
	t_pattern_write(p, fd);
	assert_int_equal(write(fd, tail, strlen(tail)), strlen(tail));
	close(fd);
}

static void test_password_file(void **state)
{
	static const char *const around[][2] = {
		{"", ""}, {"", "\nmore\n"}, {"word\n", "\n"}};
	struct t_pattern p;
	struct err err = {0};
	char path[128], *password;

	for (size_t i = 0; i < ARRAY_SIZE(around); i++) {
		t_pattern_make(&p, PASSWORD_BYTES);
		write_file(path, around[i][0], &p, around[i][1]);
		assert_int_equal(
			secret_read(&(struct secret_source){.file = path}, "",
				    &password, &err),
			0);
		assert_int_equal(strlen(password), i == 2 ? 4 : PASSWORD_BYTES);
		/* The one that is in use is seen, and no other. */
		assert_int_equal(t_memory_count(&p, LAST), i != 2);
		secret_free(password);
		assert_int_equal(t_memory_count(&p, LAST), 0);
	}
}

/* At the other end of the terminal: exit status 0 when all is well. */
static void ask_and_forget(const struct t_pattern *p)
{
	struct err err = {0};
	char *password;

	if (secret_read(&(struct secret_source){.is_asked = true}, "Password",
			&password, &err))
		_exit(2);
	if (t_memory_count(p, LAST) != 1)
		_exit(3);
	secret_free(password);
	_exit(t_memory_count(p, LAST) ? 4 : 0);
}

static void test_terminal(void **state)
{
	struct t_pattern p;
	char part[64];
	int tty, status;
	size_t n = 0;
	pid_t pid;

	t_pattern_make(&p, PASSWORD_BYTES);
	pid = forkpty(&tty, NULL, NULL, NULL);
	assert_true(pid >= 0);
	if (pid == 0)
		ask_and_forget(&p);
	/* What is typed before the question is thrown away. */
	while (n < 10) {
		ssize_t got = read(tty, part, sizeof(part));

		assert_true(got > 0);
		n += (size_t)got;
	}
	t_pattern_write(&p, tty);
	assert_int_equal(write(tty, "\n", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(tty);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- keys --- */

/* A new key's text, as is and as it travels; only the patterns are kept. */
static void make_key(struct t_pattern *text, struct t_pattern *carried,
		     struct t_pattern *bytes)
{
	struct strbuf base64 = {.is_secret = true};
	char form[DHCHAP_KEY_TEXT_LEN];
	struct dhchap_key key;

	assert_int_equal(dhchap_key_make(DHCHAP_SHA256, 48, &key), 0);
	dhchap_key_format(&key, form);
	t_pattern_set(text, form, strlen(form), strlen(form));
	t_pattern_set(bytes, key.bytes, key.len, key.len);
	base64_encode(&base64, form, strlen(form) / 3 * 3, false);
	t_pattern_set(carried, base64.p, base64.n, LAST);
	strbuf_fini(&base64);
	secret_clear(&key, sizeof(key));
	secret_clear(form, sizeof(form));
}

/* A shell of this machine stands for the node's. */
static struct remote *session(void)
{
	struct err err = {0};
	struct remote *r;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/ssh", dir.path);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\n"
	      "shift 2; exec sh -c \"$*\"\n",
	      f);
	fclose(f);
	assert_int_equal(chmod(path, 0700), 0);
	setenv("MOONCAKE_SSH_COMMAND", path, 1);
	assert_int_equal(
		remote_open(&(struct remote_opts){.host = "node7"}, &r, &err),
		0);
	return r;
}

static void send_keys(struct deployment *d)
{
	struct err err = {0};
	char to[128];

	snprintf(to, sizeof(to), "%s/there", dir.path);
	for (size_t i = 0; i < d->plan.count; i++) {
		const struct step *step = &d->plan.steps[i];

		if (step->kind != STEP_FILE)
			continue;
		assert_int_equal(remote_write(d->remote,
					      &(struct remote_file){
						      .path = to,
						      .data = step->data,
						      .len = strlen(step->data),
						      .mode = 0600,
					      },
					      &err),
				 0);
	}
}

/* From a file, through scripts and a session, to a file there. */
static void test_host_keys(void **state)
{
	struct t_pattern text, carried, bytes;
	struct node *node = calloc(1, sizeof(*node));
	struct deployment *d = calloc(1, sizeof(*d));
	struct strbuf shown = {0};
	struct err err = {0};
	char path[128];

	assert_true(node && d);
	make_key(&text, &carried, &bytes);
	write_file(path, "", &text, "\n");
	memcpy(node->allow[node->allow_count++], HOST, sizeof(HOST));
	snprintf(node->key.items[node->key.count++].file, 256, "%s", path);
	d->node = node;
	assert_int_equal(hostkeys_load(node, &d->keys, &err), 0);
	assert_int_equal(t_memory_count(&text, LAST), 1);
	d->remote = session();
	if (geteuid() == 0) { /* a look as root */
		assert_int_equal(hostkeys_plan(d, &err), 0);
		plan_format(&d->plan, "node7", true, &shown);
		send_keys(d);
		assert_int_equal(t_memory_count(&text, LAST), 2);
	}
	deployment_fini(d);
	free(d);
	free(node);
	strbuf_fini(&shown);
	assert_int_equal(t_memory_count(&text, LAST), 0);
	assert_int_equal(t_memory_count(&carried, carried.n), 0);
	assert_int_equal(t_memory_count(&bytes, LAST), 0);
}

/* As hosts have them: read for a connection, forgotten with its options. */
static void test_options(void **state)
{
	struct nvmf_opts *opts = calloc(1, sizeof(*opts));
	struct t_pattern text, carried, bytes;
	struct err err = {0};
	char path[128];

	assert_non_null(opts);
	make_key(&text, &carried, &bytes);
	write_file(path, "", &text, "\n");
	setenv("MC_NVME_DHCHAP_KEY_FILE", path, 1);
	assert_int_equal(identity_read_dhchap(opts, &err), 0);
	unsetenv("MC_NVME_DHCHAP_KEY_FILE");
	assert_int_equal(t_memory_count(&bytes, LAST), 1);
	assert_int_equal(t_memory_count(&text, LAST), 0);
	secret_clear(opts, sizeof(*opts));
	free(opts);
	assert_int_equal(t_memory_count(&bytes, LAST), 0);
}

static void derive(const char *path, struct t_pattern *psk_bytes)
{
	struct tls_psk psk;
	struct tls_key key;
	struct err err = {0};

	assert_int_equal(tls_key_load(path, &key, &err), 0);
	assert_int_equal(tls_psk_derive(&key, TLS_FORM_V1, HOST,
					"nqn.2024-01.io.example:ssd", &psk),
			 0);
	t_pattern_set(psk_bytes, psk.bytes, psk.len, psk.len);
	assert_true(t_memory_count(psk_bytes, psk.len) >= 1);
	secret_clear(&psk, sizeof(psk));
	secret_clear(&key, sizeof(key));
}

static void test_tls_key(void **state)
{
	struct t_pattern text, bytes, psk;
	char form[TLS_KEY_TEXT_LEN], path[128];
	struct tls_key key;

	assert_int_equal(tls_key_make(TLS_SHA384, &key), 0);
	tls_key_format(&key, form);
	t_pattern_set(&text, form, strlen(form), strlen(form));
	t_pattern_set(&bytes, key.bytes, key.len, key.len);
	secret_clear(&key, sizeof(key));
	secret_clear(form, sizeof(form));
	write_file(path, "", &text, "\n");
	derive(path, &psk);
	assert_int_equal(t_memory_count(&text, LAST), 0);
	assert_int_equal(t_memory_count(&bytes, LAST), 0);
	assert_int_equal(t_memory_count(&psk, LAST), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_password_file),
		cmocka_unit_test(test_terminal),
		cmocka_unit_test(test_host_keys),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_tls_key),
	};
	int ret;

	t_dir_open(&dir);
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	t_dir_empty(&dir);
	rmdir(dir.path);
	return ret;
}
