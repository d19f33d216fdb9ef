/* SPDX-License-Identifier: Apache-2.0 */
/* TLS by calls: keys of hosts, secure_channel of listeners. */
#include "control/config.h"

#include "t_control.h"

#include <sys/stat.h>
#include <unistd.h>

#include "io/tls.h"

#define CNODE	 "nqn.2016-06.io.spdk:cnode1"
#define HOST	 "nqn.2014-08.org.a:h"
#define INVALID	 "!-32602 Invalid parameters"
#define SS(more) "{\"nqn\":\"" CNODE "\"" more "}"
#define AT(port)                                                               \
	",\"listen_address\":{\"trtype\":\"TCP\",\"traddr\":\"127.0.0.1\","    \
	"\"trsvcid\":\"" port "\"}"
#define SECURE ",\"secure_channel\":true"

static char tls_file[] = "/tmp/mc-tls-XXXXXX", auth_file[] = "/tmp/mc-a-XXXXXX";

static const char tls_key[] =
	"NVMeTLSkey-1:00:ICUqLzQ5PkNITVJXXGFma3B1en+EiY6TmJ2ip6yxtrsWjykY:\n";
static const char auth_key[] =
	"DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:\n";

static int setup(void **state)
{
	char params[128];

	t_begin();
	t_expect("nvmf_create_transport", "{\"trtype\":\"TCP\"}", "true");
	t_expect("nvmf_create_subsystem", SS(""), "true");
	snprintf(params, sizeof(params), "{\"name\":\"psk1\",\"path\":\"%s\"}",
		 tls_file);
	t_expect("keyring_file_add_key", params, "true");
	snprintf(params, sizeof(params), "{\"name\":\"dh1\",\"path\":\"%s\"}",
		 auth_file);
	t_expect("keyring_file_add_key", params, "true");
	return 0;
}

static int teardown(void **state)
{
	t_end();
	return 0;
}

struct step {
	const char *method, *params, *want;
};

static void run(const struct step *steps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		t_expect(steps[i].method, steps[i].params, steps[i].want);
}

static void test_psk(void **state)
{
	static const struct step steps[] = {
		{"nvmf_subsystem_add_host",
		 SS(",\"host\":\"" HOST "\",\"psk\":\"none\""), INVALID},
		{"nvmf_subsystem_add_host", /* a secret of the other kind */
		 SS(",\"host\":\"" HOST "\",\"psk\":\"dh1\""),
		 "!-32603 Internal error"},
		{"nvmf_get_subsystems", SS(""), "[{\"hosts\":[]}]"},
		{"nvmf_subsystem_add_host",
		 SS(",\"host\":\"" HOST "\",\"psk\":\"psk1\",\"dhchap_key\":"
		    "\"dh1\""),
		 "true"},
		{"keyring_get_keys", NULL, "[{\"refcnt\":2},{\"refcnt\":2}]"},
		{"nvmf_get_subsystems", SS(""),
		 "[{\"hosts\":[{\"nqn\":\"" HOST "\",\"psk\":\"psk1\","
		 "\"dhchap_key\":\"dh1\"}]}]"},
		/* Other keys for authentication leave the PSK. */
		{"nvmf_subsystem_set_keys", SS(",\"host\":\"" HOST "\""),
		 "true"},
		{"nvmf_get_subsystems", SS(""),
		 "[{\"hosts\":[{\"nqn\":\"" HOST "\",\"psk\":\"psk1\"}]}]"},
		{"keyring_get_keys", NULL, "[{\"refcnt\":2},{\"refcnt\":1}]"},
		{"nvmf_subsystem_remove_host", SS(",\"host\":\"" HOST "\""),
		 "true"},
		{"keyring_get_keys", NULL, "[{\"refcnt\":1},{\"refcnt\":1}]"},
	};

	run(steps, ARRAY_SIZE(steps));
}

/* A file that is no key any more when a host is to get it. */
static void test_psk_file(void **state)
{
	assert_int_equal(chmod(tls_file, 0644), 0);
	t_expect("nvmf_subsystem_add_host",
		 SS(",\"host\":\"" HOST "\",\"psk\":\"psk1\""),
		 "!-32603 Internal error");
	assert_int_equal(chmod(tls_file, 0600), 0);
	t_expect("nvmf_subsystem_add_host",
		 SS(",\"host\":\"" HOST "\",\"psk\":\"psk1\""), "true");
}

static unsigned port_at(unsigned index)
{
	struct tgt_listener_info info;

	assert_true(tgt_listener_at(t_tgt, index, &info));
	assert_true(info.is_tls);
	return addr_port(&info.addr);
}

/* What a socket speaks is the first one's to say. */
static void test_secure_channel(void **state)
{
	char params[256];
	unsigned port;

	t_expect("nvmf_subsystem_add_listener", SS(AT("0") SECURE), "true");
	port = port_at(0);
	t_expect("nvmf_create_subsystem", "{\"nqn\":\"" CNODE "0\"}", "true");
	snprintf(params, sizeof(params),
		 "{\"nqn\":\"" CNODE "0\",\"listen_address\":{\"trtype\":"
		 "\"TCP\",\"traddr\":\"127.0.0.1\",\"trsvcid\":\"%u\"}}",
		 port);
	t_expect("nvmf_subsystem_add_listener", params, INVALID);
	t_expect("nvmf_subsystem_add_listener",
		 "{\"nqn\":\"nqn.2014-08.org.nvmexpress.discovery\"" AT("0")
			 SECURE "}",
		 "true");
	(void)port_at(1);
}

/* What is written of both makes both again. */
static void test_configuration(void **state)
{
	json_t *before, *after;
	struct err err = {0};
	char *text;

	t_expect("nvmf_subsystem_add_host",
		 SS(",\"host\":\"" HOST "\",\"psk\":\"psk1\""), "true");
	t_expect("nvmf_subsystem_add_listener", SS(AT("0") SECURE), "true");
	before = config_all(&t_ctl, true);
	text = json_dumps(before, JSON_COMPACT);
	assert_non_null(strstr(text, "\"secure_channel\":true"));
	assert_non_null(strstr(text, "\"psk\":\"psk1\""));
	assert_null(strstr(text, "NVMeTLSkey"));
	free(text);
	t_end();
	t_begin();
	if (config_load(&t_ctl, before, true, &err))
		fail_msg("%s", err.text);
	after = config_all(&t_ctl, true);
	assert_true(json_equal(before, after));
	(void)port_at(0);
	json_decref(before);
	json_decref(after);
}

/* A build without TLS says so instead of listening in the clear. */
static void test_not_built(void **state)
{
	t_expect("nvmf_subsystem_add_listener", SS(AT("0") SECURE), INVALID);
	assert_false(tgt_listener_at(t_tgt, 0, &(struct tgt_listener_info){0}));
	t_expect("nvmf_subsystem_add_listener", SS(AT("0")), "true");
}

static bool write_file(char *name, const char *text)
{
	int fd = mkstemp(name);
	size_t n = strlen(text);
	bool is_good = fd >= 0 && write(fd, text, n) == (ssize_t)n;

	if (fd >= 0)
		close(fd);
	return is_good;
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest with[] = {
		ROW(test_psk),
		ROW(test_psk_file),
		ROW(test_secure_channel),
		ROW(test_configuration),
	};
	const struct CMUnitTest without[] = {ROW(test_not_built)};
	int ret;

	if (!write_file(tls_file, tls_key) || !write_file(auth_file, auth_key))
		return 77;
	ret = stream_tls_is_built()
		      ? cmocka_run_group_tests(with, NULL, NULL)
		      : cmocka_run_group_tests(without, NULL, NULL);
	unlink(tls_file);
	unlink(auth_file);
	return ret;
}
