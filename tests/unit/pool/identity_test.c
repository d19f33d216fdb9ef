/* SPDX-License-Identifier: Apache-2.0 */
/* Which of environment, files and machine id counts, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pool/identity.h"

#define NQN_A "nqn.2020-01.org.example:a"
#define NQN_B "nqn.2020-01.org.example:b"
#define ID_A  "00112233-4455-6677-8899-aabbccddeeff"
#define ID_B  "ff112233-4455-6677-8899-aabbccddeeff"
#define KEY   "DHHC-1:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPo:"
#define KEY_2 "DHHC-1:00:QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl9YjiZe:"

static char etc[] = "/tmp/identity_test.XXXXXX";

static const char *const vars[] = {"MC_NVME_HOSTNQN", "MC_NVME_HOSTID",
				   "MC_NVME_DHCHAP_KEY_FILE",
				   "MC_NVME_DHCHAP_CTRL_KEY_FILE"};
static const char *const files[] = {"machine-id", "nvme/hostnqn", "nvme/hostid",
				    "key", "ctrl"};

static const char *at(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", etc, name);
	return path;
}

static void put(const char *name, const char *text)
{
	FILE *file = fopen(at(name), "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	chmod(at(name), 0600);
}

static int clear(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(vars); i++)
		unsetenv(vars[i]);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlink(at(files[i]));
	return 0;
}

static int make_etc(void **state)
{
	return mkdtemp(etc) ? mkdir(at("nvme"), 0700) : -1;
}

static int drop_etc(void **state)
{
	clear(state);
	rmdir(at("nvme"));
	return rmdir(etc);
}

static struct nvmf_opts good(void)
{
	struct nvmf_opts opts = {0};
	struct err err = {0};

	if (identity_read(etc, &opts, &err))
		fail_msg("%s", err.text);
	return opts;
}

static void refused(int code, const char *word, const char *other)
{
	struct nvmf_opts opts = {0};
	struct err err = {0};

	assert_int_equal(identity_read(etc, &opts, &err), code);
	if (!strstr(err.text, word) || !strstr(err.text, other))
		fail_msg("no '%s' and '%s' in: %s", word, other, err.text);
}

static void test_order(void **state)
{
	struct nvmf_opts random = good(), derived, o;

	put("machine-id", "0f01fb429f7f4856b0b351e60b8de349\n");
	derived = good();
	assert_memory_not_equal(&derived.host, &random.host, sizeof(o.host));
	o = good();
	assert_memory_equal(&o.host, &derived.host, sizeof(o.host));
	put("nvme/hostid", ID_A "\n");
	o = good();
	assert_string_equal(o.host.nqn, derived.host.nqn);
	assert_int_equal(o.host.id[0], 0);
	assert_int_equal(o.host.id[1], 0x11);
	put("nvme/hostnqn", NQN_A "\n");
	o = good();
	assert_string_equal(o.host.nqn, NQN_A);
	assert_int_equal(o.host.id[1], 0x11);
	/* Another host's name does not come with this machine's id. */
	setenv("MC_NVME_HOSTNQN", NQN_B, 1);
	o = good();
	assert_string_equal(o.host.nqn, NQN_B);
	assert_int_not_equal(o.host.id[1], 0x11);
	setenv("MC_NVME_HOSTID", ID_B, 1);
	o = good();
	assert_int_equal(o.host.id[0], 0xff);
}

static void test_invalid(void **state)
{
	put("nvme/hostnqn", "rubbish\n");
	refused(-EINVAL, "nvme/hostnqn", "rubbish");
	put("nvme/hostnqn", NQN_A);
	put("nvme/hostid", "12345\n");
	refused(-EINVAL, "nvme/hostid", "12345");
	setenv("MC_NVME_HOSTID", "00000000-0000-0000-0000-000000000000", 1);
	refused(-EINVAL, "MC_NVME_HOSTID", "zero");
	setenv("MC_NVME_HOSTID", ID_A, 1);
	setenv("MC_NVME_HOSTNQN", "host1", 1);
	refused(-EINVAL, "MC_NVME_HOSTNQN", "host1");
	setenv("MC_NVME_HOSTNQN", NQN_B, 1);
	good();
}

static void test_keys(void **state)
{
	struct nvmf_opts o = good();

	assert_int_equal(o.dhchap_key.len, 0);
	setenv("MC_NVME_DHCHAP_KEY_FILE", at("key"), 1);
	refused(-ENOENT, "MC_NVME_DHCHAP_KEY_FILE", "key");
	put("key", KEY "\n");
	unsetenv("MC_NVME_DHCHAP_KEY_FILE");
	setenv("MC_NVME_DHCHAP_CTRL_KEY_FILE", at("key"), 1);
	refused(-EINVAL, "MC_NVME_DHCHAP_CTRL_KEY_FILE",
		"MC_NVME_DHCHAP_KEY_FILE");
	setenv("MC_NVME_DHCHAP_KEY_FILE", at("key"), 1);
	o = good();
	assert_int_equal(o.dhchap_key.len, 32);
	assert_int_equal(o.dhchap_ctrl_key.len, 32);
	chmod(at("key"), 0644);
	refused(-EPERM, "MC_NVME_DHCHAP_KEY_FILE", "chmod");
	put("key", "DHHC-1:00:rubbish:");
	refused(-EINVAL, "MC_NVME_DHCHAP_KEY_FILE", "DHHC-1");
}

/* What is read again is all or nothing, from where it was at first. */
static void test_keys_again(void **state)
{
	struct identity_files where;
	struct nvmf_opts o, old;
	struct err err = {0};
	char name[IDENTITY_PATH_LEN + 1];

	put("key", KEY "\n");
	put("ctrl", KEY "\n");
	setenv("MC_NVME_DHCHAP_KEY_FILE", at("key"), 1);
	setenv("MC_NVME_DHCHAP_CTRL_KEY_FILE", at("ctrl"), 1);
	old = o = good();
	assert_int_equal(identity_files_read(&where, &err), 0);
	unsetenv("MC_NVME_DHCHAP_KEY_FILE");
	unsetenv("MC_NVME_DHCHAP_CTRL_KEY_FILE");
	put("key", KEY_2 "\n");
	put("ctrl", "rubbish");
	assert_int_equal(identity_keys_again(&where, &o, &err), -EINVAL);
	assert_memory_equal(&o, &old, sizeof(o));
	put("ctrl", KEY "\n");
	assert_int_equal(identity_keys_again(&where, &o, &err), 0);
	assert_memory_not_equal(&o.dhchap_key, &old.dhchap_key,
				sizeof(o.dhchap_key));
	assert_memory_equal(&o.dhchap_ctrl_key, &old.dhchap_ctrl_key,
			    sizeof(o.dhchap_ctrl_key));
	memset(name, 'x', IDENTITY_PATH_LEN);
	name[IDENTITY_PATH_LEN] = '\0';
	setenv("MC_NVME_DHCHAP_KEY_FILE", name, 1);
	assert_int_equal(identity_files_read(&where, &err), -ENAMETOOLONG);
	name[IDENTITY_PATH_LEN - 1] = '\0';
	setenv("MC_NVME_DHCHAP_KEY_FILE", name, 1);
	assert_int_equal(identity_files_read(&where, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_order, clear),
		cmocka_unit_test_setup(test_invalid, clear),
		cmocka_unit_test_setup(test_keys, clear),
		cmocka_unit_test_setup(test_keys_again, clear),
	};

	return cmocka_run_group_tests(tests, make_etc, drop_etc);
}
