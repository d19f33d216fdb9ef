/* SPDX-License-Identifier: Apache-2.0 */
/* Key files: made private, and refused with a reason when they are not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "crypt/key.h"
#include "crypt/keyfile.h"

static char dir[] = "/tmp/keyfile_test.XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
	static const char *const names[] = {"key", "fifo", "link"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(in_dir(names[i]));
	return rmdir(dir);
}

static void put(const char *text)
{
	const char *path = in_dir("key");

	unlink(path);
	assert_int_equal(keyfile_create(path, str_of(text), &(struct err){0}),
			 0);
}

static void refused(const char *path, int code, const char *word)
{
	char buf[KEYFILE_MAX];
	struct err err = {0};
	struct str out;

	assert_int_equal(keyfile_read(path, buf, &out, &err), code);
	assert_non_null(strstr(err.text, word));
	assert_non_null(strstr(err.text, path));
}

static void test_read(void **state)
{
	char buf[KEYFILE_MAX];
	struct str out;
	struct stat st;

	put(" a secret\n\n");
	assert_int_equal(stat(in_dir("key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(
		keyfile_read(in_dir("key"), buf, &out, &(struct err){0}), 0);
	assert_true(str_eq(out, STR("a secret")));
	/* Kubernetes mounts secrets behind links. */
	assert_int_equal(symlink("key", in_dir("link")), 0);
	assert_int_equal(
		keyfile_read(in_dir("link"), buf, &out, &(struct err){0}), 0);
}

static void test_create_keeps_old(void **state)
{
	struct err err = {0};

	put("old");
	assert_int_equal(keyfile_create(in_dir("key"), STR("new"), &err),
			 -EEXIST);
	assert_non_null(strstr(err.text, "exists"));
}

static void test_refused(void **state)
{
	static const mode_t modes[] = {0640, 0604, 0660, 0610, 0602};
	char big[KEYFILE_MAX + 1];

	refused(in_dir("none"), -ENOENT, "can't be opened");
	refused(dir, -EINVAL, "not a regular file");
	assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
	refused(in_dir("fifo"), -EINVAL, "not a regular file");
	put("x");
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		assert_int_equal(chmod(in_dir("key"), modes[i]), 0);
		refused(in_dir("key"), -EPERM, "chmod 600");
	}
	put("");
	refused(in_dir("key"), -EINVAL, "empty");
	put(" \n");
	refused(in_dir("key"), -EINVAL, "empty");
	memset(big, 'x', KEYFILE_MAX);
	big[KEYFILE_MAX] = 0;
	put(big);
	refused(in_dir("key"), -EFBIG, "bytes");
	big[KEYFILE_MAX - 1] = 0;
	put(big);
	assert_int_equal(keyfile_read(in_dir("key"), big, &(struct str){0},
				      &(struct err){0}),
			 0);
}

static void test_foreign(void **state)
{
	if (geteuid() != 0)
		skip();
	put("x");
	assert_int_equal(chown(in_dir("key"), 12345, 12345), 0);
	refused(in_dir("key"), -EPERM, "user 12345");
}

static void test_load(void **state)
{
	struct dhchap_key key;
	struct err err = {0};

	put("DHHC-1:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPo:\n");
	assert_int_equal(dhchap_key_load(in_dir("key"), &key, &err), 0);
	assert_int_equal(key.len, 32);
	put("DHHC-1:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPp:\n");
	assert_int_equal(dhchap_key_load(in_dir("key"), &key, &err), -EINVAL);
	assert_non_null(strstr(err.text, in_dir("key")));
	assert_non_null(strstr(err.text, "checksum"));
	assert_int_equal(key.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_create_keeps_old),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
