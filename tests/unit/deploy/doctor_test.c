/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each check of the doctor against facts that a test makes up: files of a false
 * root, limits, environment, answers of targets.
 */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "deploy/doctor_check.h"
#include "pool/identity.h"

#define NQN "nqn.2020-01.org.example:host"

static char root[] = "/tmp/doctor_test.XXXXXX";

static const struct doctor_facts good_facts = {
	.memlock_bytes = 8 * MiB,
	.open_files = 65536,
	.open_files_hard = 65536,
	.cpus = 64,
	.clock_state = 1,
};

static const struct flag_list none;

/* What a good machine says; written anew before each test. */
static const struct {
	const char *path, *text;
} good_files[] = {
	{"proc/sys/kernel/io_uring_disabled", "0\n"},
	{"proc/meminfo", "MemTotal: 1 kB\nHugePages_Total:   4\n"
			 "HugePages_Free:    3\nHugepagesize:  2048 kB\n"},
	{"proc/sys/net/core/somaxconn", "4096\n"},
	{"proc/sys/net/core/optmem_max", "131072\n"},
	{"proc/sys/net/core/rmem_max", "212992\n"},
	{"proc/sys/net/core/wmem_max", "212992\n"},
	{"proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"},
	{"proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n"},
	{"proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"},
	{"proc/sys/net/ipv4/ip_local_reserved_ports", "50000-50100\n"},
	{"proc/sys/net/ipv4/tcp_congestion_control", "cubic\n"},
	{"sys/fs/cgroup/cpu.max", "max 100000\n"},
	{"sys/module/nvme_tcp/version", "1\n"},
	{"etc/machine-id", "0123456789abcdef0123456789abcdef\n"},
};

static void put(const char *path, const char *text)
{
	char full[256];
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0700);
		*p = '/';
	}
	file = fopen(full, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	chmod(full, 0600);
}

static int drop_one(const char *path, const struct stat *st, int kind,
		    struct FTW *ftw)
{
	return remove(path);
}

/* The file or folder with all that is in it, if it is there. */
static void drop(const char *path)
{
	char full[256];

	snprintf(full, sizeof(full), "%s/%s", root, path);
	if (access(full, F_OK) == 0)
		assert_int_equal(nftw(full, drop_one, 8, FTW_DEPTH | FTW_PHYS),
				 0);
}

static int setup(void **state)
{
	static const char *const names[] = {
		"MC_NOF_WORKERS",
		"MC_NOF_WORKER",
		"MC_RPC_TIMEOUT_MS",
		"MC_NVME_HOSTNQN",
		"MC_NVME_HOSTID",
		"MC_NVME_DHCHAP_KEY_FILE",
		"MC_NVME_TLS",
		"MC_NVME_TLS_KEY_FILE",
		"MC_NVME_TLS_IDENTITY",
		"MC_STORE_USE_HUGEPAGE",
		"MC_NVME_DHCHAP_CTRL_KEY_FILE",
		"http_proxy",
		"HTTP_PROXY",
		"https_proxy",
		"HTTPS_PROXY",
		"all_proxy",
		"ALL_PROXY",
		"no_proxy",
		"NO_PROXY",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	/* many loops, of which each closes faster */
	setenv("MC_IO_BACKEND", "epoll", 1);
	drop("");
	assert_int_equal(mkdir(root, 0700), 0);
	for (size_t i = 0; i < ARRAY_SIZE(good_files); i++)
		put(good_files[i].path, good_files[i].text);
	return 0;
}

static struct doctor *make(const struct doctor_facts *facts, const char *master,
			   const char *config)
{
	struct doctor_opts opts = {
		.root = root,
		.facts = facts,
		.master = master,
		.admin = "",
		.config = config,
		.endpoints = &none,
		.discover = &none,
		.timeout_ms = 100,
	};
	struct err err = {0};
	struct doctor *d;

	if (doctor_create(&opts, &d, &err))
		fail_msg("%s", err.text);
	return d;
}

/* Runs one check; its worst finding is of this level, has this word in the
 * text and that in the advice ("" = any). */
static void expect_with(struct doctor *d, const char *name,
			enum doctor_level level, const char *text,
			const char *advice)
{
	const struct doctor_check *check = doctor_find_check(name);
	const struct doctor_finding *worst;

	assert_non_null(check);
	check->run(d, check);
	assert_true(d->count > 0);
	worst = &d->findings[0];
	for (size_t i = 1; i < d->count; i++)
		if (d->findings[i].level > worst->level)
			worst = &d->findings[i];
	if (worst->level != level || !strstr(worst->text, text) ||
	    !strstr(worst->advice, advice))
		fail_msg("%s: level %d, '%s', advice '%s'", name, worst->level,
			 worst->text, worst->advice);
	/* Every trouble comes with what to do; none is worse than the table
	 * says. */
	assert_true(level == DOCTOR_OK || *worst->advice);
	assert_true(level <= check->worst);
	doctor_destroy(d);
}

static void expect(const char *name, enum doctor_level level, const char *text,
		   const char *advice)
{
	expect_with(make(&good_facts, "", ""), name, level, text, advice);
}

static void expect_facts(const char *name, const struct doctor_facts *facts,
			 enum doctor_level level, const char *advice)
{
	expect_with(make(facts, "", ""), name, level, "", advice);
}

static void test_good_machine(void **state)
{
	static const char *const names[] = {
		"io_uring",	 "memlock", "open files",     "hugepages",
		"CPUs",		 "clock",   "kernel modules", "RDMA",
		"machine id",	 "keys",    "environment",    "configuration",
		"host identity", "proxies", "socket limits",  "local ports",
		"congestion",	 "master",  "target",	      "MTU",
		"TLS",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		expect(names[i], DOCTOR_OK, "", "");
}

static void test_uring(void **state)
{
	struct doctor_facts facts = good_facts;

	facts.uring_ret = -EPERM;
	expect_facts("io_uring", &facts, DOCTOR_WARN, "seccomp");
	put("proc/self/status", "Name:\tx\nSeccomp:\t2\n");
	expect_with(make(&facts, "", ""), "io_uring", DOCTOR_WARN,
		    "a seccomp filter is in force", "seccomp");
	put("proc/sys/kernel/io_uring_disabled", "1\n");
	expect_facts("io_uring", &facts, DOCTOR_WARN, "io_uring_group");
	put("proc/sys/kernel/io_uring_disabled", "2\n");
	expect_facts("io_uring", &facts, DOCTOR_WARN, "io_uring_disabled=0");
	facts.uring_ret = -ENOMEM;
	put("proc/sys/kernel/io_uring_disabled", "0\n");
	expect_facts("io_uring", &facts, DOCTOR_WARN, "ulimit -l");
	facts.uring_ret = -ENOSYS;
	expect_facts("io_uring", &facts, DOCTOR_WARN, "5.19");
}

static void test_limits_of_process(void **state)
{
	struct doctor_facts facts = good_facts;

	facts.memlock_bytes = 64 * KiB;
	expect_facts("memlock", &facts, DOCTOR_NOTE, "ulimit -l");
	facts.memlock_bytes = RLIM_INFINITY;
	expect_facts("memlock", &facts, DOCTOR_OK, "");
	facts.open_files = 1024;
	expect_facts("open files", &facts, DOCTOR_NOTE, "LimitNOFILE");
	facts.open_files = 255;
	expect_facts("open files", &facts, DOCTOR_FAIL, "LimitNOFILE");
}

static void test_memory_and_cpus(void **state)
{
	struct doctor_facts facts = good_facts;

	put("proc/meminfo", "HugePages_Total: 4\nHugePages_Free: 0\n");
	expect("hugepages", DOCTOR_NOTE, "0 of 4", "nr_hugepages");
	put("proc/meminfo", "HugePages_Total: 0\nHugePages_Free: 0\n");
	expect("hugepages", DOCTOR_OK, "0 of 0", "");
	setenv("MC_STORE_USE_HUGEPAGE", "1", 1);
	expect("hugepages", DOCTOR_NOTE, "0 of 0", "nr_hugepages");
	unsetenv("MC_STORE_USE_HUGEPAGE");
	drop("proc/meminfo");
	expect("hugepages", DOCTOR_NOTE, "not known", "");
	setenv("MC_NOF_WORKERS", "8", 1);
	facts.cpus = 8;
	expect_facts("CPUs", &facts, DOCTOR_OK, "");
	facts.cpus = 7;
	expect_facts("CPUs", &facts, DOCTOR_WARN, "MC_NOF_WORKERS");
	facts.cpus = 64;
	put("sys/fs/cgroup/cpu.max", "250000 100000\n"); /* 2.5: 3 */
	expect_with(make(&facts, "", ""), "CPUs", DOCTOR_WARN,
		    "3 for 8 workers", "");
}

static void test_clock(void **state)
{
	struct doctor_facts facts = good_facts;

	facts.clock_state = 0;
	expect_facts("clock", &facts, DOCTOR_NOTE, "chronyd");
	facts.clock_state = -EPERM;
	expect_facts("clock", &facts, DOCTOR_NOTE, "chronyd");
}

static void test_modules(void **state)
{
	put("proc/sys/kernel/osrelease", "6.1.0-1-cloud\n");
	/* no /lib/modules: nothing is known */
	expect("kernel modules", DOCTOR_OK, "", "");
	put("lib/modules/6.1.0-1-cloud/modules.dep",
	    "kernel/drivers/nvme/host/nvme-tcp.ko.xz: "
	    "kernel/drivers/nvme/target/nvmet-tcp.ko\n");
	put("lib/modules/6.1.0-1-cloud/modules.builtin", "");
	expect("kernel modules", DOCTOR_NOTE, "not there for this kernel",
	       "linux-modules-extra");
	put("lib/modules/6.1.0-1-cloud/modules.builtin",
	    "kernel/drivers/nvme/target/nvmet-tcp.ko\n");
	expect("kernel modules", DOCTOR_OK, "", "");
}

static void test_rdma(void **state)
{
	put("sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n");
	put("sys/class/infiniband/mlx5_0/ports/1/gids/0",
	    "fe80:0000:0000:0000:0000:0000:0000:0001\n");
	put("sys/class/infiniband/mlx5_0/ports/1/gids/1",
	    "0000:0000:0000:0000:0000:0000:0000:0000\n");
	expect("RDMA", DOCTOR_NOTE, "'4: ACTIVE', 1 GIDs", "same ports");
	put("sys/class/infiniband/mlx5_0/ports/1/state", "1: DOWN\n");
	expect("RDMA", DOCTOR_NOTE, "DOWN", "link up");
}

static void test_machine_id(void **state)
{
	drop("etc/machine-id");
	expect("machine id", DOCTOR_WARN, "not there",
	       "systemd-machine-id-setup");
	expect("host identity", DOCTOR_WARN, "random", "MC_NVME_HOSTNQN");
	put("etc/machine-id", "\n");
	expect("machine id", DOCTOR_WARN, "empty", "");
	put("etc/machine-id", "uninitialized\n");
	expect("machine id", DOCTOR_WARN, "'uninitialized'", "");
	put("etc/machine-id", "00000000000000000000000000000000\n");
	expect("machine id", DOCTOR_WARN, "is none", "");
}

static void test_identity(void **state)
{
	struct doctor *d;
	const struct doctor_check *check = doctor_find_check("host identity");

	put("etc/nvme/hostnqn", NQN "\n");
	d = make(&good_facts, "", "");
	check->run(d, check);
	assert_int_equal(d->count, 2);
	assert_non_null(strstr(d->findings[0].text, NQN));
	assert_non_null(strstr(d->findings[0].text, "etc/nvme/hostnqn"));
	assert_non_null(strstr(d->findings[1].text, "from the NQN"));
	doctor_destroy(d);
	setenv("MC_NVME_HOSTNQN", NQN "2", 1);
	expect("host identity", DOCTOR_OK, NQN "2 (from MC_NVME_HOSTNQN)", "");
	setenv("MC_NVME_HOSTID", "nonsense", 1);
	expect("host identity", DOCTOR_FAIL, "nonsense", "hostid");
}

static void test_keys(void **state)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/key", root);
	put("key",
	    "DHHC-1:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk/PUPo:");
	setenv("MC_NVME_DHCHAP_KEY_FILE", path, 1);
	expect("keys", DOCTOR_OK, "the host authenticates", "");
	chmod(path, 0640);
	expect("keys", DOCTOR_FAIL, "0640", "chmod 600");
	put("key", "DHHC-1:00:AAcOFRwjKjE4P0ZNVFtiaXB3foWMk5qhqK+2vcTL0tk=:");
	expect("keys", DOCTOR_FAIL, "MC_NVME_DHCHAP_KEY_FILE",
	       "gen-dhchap-key");
	unlink(path);
	expect("keys", DOCTOR_FAIL, "can't be opened", "");
	unsetenv("MC_NVME_DHCHAP_KEY_FILE");
	setenv("MC_NVME_DHCHAP_CTRL_KEY_FILE", path, 1);
	expect("keys", DOCTOR_FAIL, "MC_NVME_DHCHAP_KEY_FILE", "");
}

/* What is wrong with TLS is said once, by its own check. */
static void test_tls(void **state)
{
	struct err err = {0};
	char path[256];

	snprintf(path, sizeof(path), "%s/tls.key", root);
	setenv("MC_NVME_TLS", "1", 1);
	expect("TLS", DOCTOR_FAIL, "set MC_NVME_TLS_KEY_FILE", "gen-tls-key");
	expect("keys", DOCTOR_OK, "", "");
	unsetenv("MC_NVME_TLS");
	setenv("MC_NVME_TLS_IDENTITY", "1", 1);
	expect("TLS", DOCTOR_NOTE, "MC_NVME_TLS_IDENTITY", "unset");
	setenv("MC_NVME_TLS_KEY_FILE", path, 1);
	put("tls.key", "NVMeTLSkey-1:01:nonsense:");
	if (identity_read_tls(&(struct nvmf_opts){0}, &err) == -EOPNOTSUPP) {
		expect("TLS", DOCTOR_FAIL, "without TLS", "");
		return;
	}
	expect("TLS", DOCTOR_FAIL, "MC_NVME_TLS_KEY_FILE", "gen-tls-key");
	put("tls.key", "NVMeTLSkey-1:01:ISYrMDU6P0RJTlNYXWJnbHF2e4CFio+UmZ6jqK2"
		       "yt7yFwnI9:");
	expect("TLS", DOCTOR_OK, "SHA-256, derived as 1", "");
	chmod(path, 0644);
	expect("TLS", DOCTOR_FAIL, "0644", "chmod 600");
	chmod(path, 0600);
	setenv("MC_NVME_TLS_IDENTITY", "2", 1);
	expect("TLS", DOCTOR_FAIL, "1-compat", "");
	unsetenv("MC_NVME_TLS_IDENTITY");
	setenv("MC_NVME_TLS", "0", 1);
	expect("TLS", DOCTOR_NOTE, "not encrypted", "unset");
}

static void test_environment(void **state)
{
	setenv("MC_NOF_WORKERS", "0", 1);
	expect("environment", DOCTOR_FAIL, "out of range", "unset");
	expect("CPUs", DOCTOR_NOTE, "not known", "");
	unsetenv("MC_NOF_WORKERS");
	setenv("MC_NOF_WORKER", "2", 1);
	expect("environment", DOCTOR_WARN, "unknown", "name");
	unsetenv("MC_NOF_WORKER");
	setenv("MC_RPC_TIMEOUT_MS", "soon", 1);
	expect("environment", DOCTOR_FAIL, "MC_RPC_TIMEOUT_MS", "");
}

static void test_config(void **state)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/store.json", root);
	put("store.json", "{\"local_hostname\": \"10.0.0.5\", "
			  "\"metadata_server\": \"P2PHANDSHAKE\", "
			  "\"master_server_address\": \"10.0.0.1\"}");
	expect_with(make(&good_facts, "", path), "configuration", DOCTOR_OK,
		    "valid", "");
	put("store.json", "{\"local_hostname\": \"localhost\", "
			  "\"metadata_server\": \"P2PHANDSHAKE\", "
			  "\"master_server_address\": \"10.0.0.1\"}");
	expect_with(make(&good_facts, "", path), "configuration", DOCTOR_WARN,
		    "localhost", "");
	expect_with(make(&good_facts, "", "/dev/tty"), "configuration",
		    DOCTOR_FAIL, "regular", "");
	put("store.json", "{");
	expect_with(make(&good_facts, "", path), "configuration", DOCTOR_FAIL,
		    "store.json", "Correct the file");
}

static void test_direct(void **state)
{
	static const struct {
		const char *list, *host;
		bool is_direct;
	} cases[] = {
		{"", "10.0.0.1", false},
		{"*", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.10, 10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.10", false},
		{".example.org", "a.example.org", true},
		{"example.org", "a.Example.org", true},
		{"example.org", "anexample.org", false},
		{",,", "a", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(doctor_is_direct(cases[i].list, cases[i].host),
				 cases[i].is_direct);
}

static void test_proxy(void **state)
{
	setenv("HTTPS_PROXY", "http://p:1", 1);
	expect("proxies", DOCTOR_WARN, "ignore it", "unset HTTPS_PROXY");
	setenv("no_proxy", "10.0.0.1", 1);
	expect("proxies", DOCTOR_NOTE, "", "10.0.0.1,HOST");
	expect_with(make(&good_facts, "10.0.0.1:50051", ""), "proxies",
		    DOCTOR_OK, "no_proxy keeps 10.0.0.1", "");
	expect_with(make(&good_facts, "10.0.0.2", ""), "proxies", DOCTOR_WARN,
		    "does not name 10.0.0.2", "no_proxy=10.0.0.1,10.0.0.2");
}

static void test_network(void **state)
{
	put("proc/sys/net/core/somaxconn", "128\n");
	expect("socket limits", DOCTOR_NOTE, "128", "1024 or more");
	put("proc/sys/net/core/somaxconn", "4096\n");
	put("proc/sys/net/core/optmem_max", "10240\n");
	expect("socket limits", DOCTOR_NOTE, "10240", "20480 or more");
	put("proc/sys/net/core/optmem_max", "131072\n");
	put("proc/sys/net/ipv4/tcp_wmem", "4096 16384 65536\n");
	expect("socket limits", DOCTOR_NOTE, "65536", "4194304");
	drop("proc/sys/net/ipv4/tcp_wmem");
	expect("socket limits", DOCTOR_NOTE, "can't be read", "container");
	put("proc/sys/net/ipv4/ip_local_reserved_ports", "8080\n");
	expect("local ports", DOCTOR_NOTE, "50051",
	       "ip_local_reserved_ports=8080,50051");
	put("proc/sys/net/ipv4/ip_local_port_range", "60000 60999\n");
	expect("local ports", DOCTOR_WARN, "60000 to 60999", "32768 60999");
	put("proc/sys/net/ipv4/tcp_congestion_control", "vegas\n");
	expect("congestion", DOCTOR_NOTE, "vegas", "cubic");
}

/* --- ports --- */

static int listen_somewhere(uint16_t *port)
{
	struct addr addr = {.len = sizeof(addr.ss)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ret = addr_parse("127.0.0.1", 0, &addr);

	assert_true(fd >= 0 && ret == 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr.ss, addr.len),
			 0);
	assert_int_equal(listen(fd, 4), 0);
	addr.len = sizeof(addr.ss);
	assert_int_equal(
		getsockname(fd, (struct sockaddr *)&addr.ss, &addr.len), 0);
	*port = addr_port(&addr);
	return fd;
}

static void test_ports(void **state)
{
	const struct doctor_check *check = doctor_find_check("ports");
	struct doctor *d = make(&good_facts, "", "");
	uint16_t port;
	int fd = listen_somewhere(&port);

	/* accepts, and closes without a word */
	shutdown(fd, SHUT_RD);
	close(fd);
	doctor_judge_port(d, check, port, DOCTOR_PORT_ADMIN);
	assert_string_equal(d->findings[0].text, "free");
	fd = listen_somewhere(&port);
	doctor_judge_port(d, check, port, DOCTOR_PORT_TARGET);
	close(fd);
	assert_int_equal(d->findings[1].level, DOCTOR_WARN);
	assert_non_null(strstr(d->findings[1].advice, "--listen"));
	doctor_destroy(d);
}

/* --- the report --- */

static void test_report(void **state)
{
	const struct doctor_check *check = doctor_find_check("clock");
	struct doctor *d = make(&good_facts, "", "");
	struct strbuf out = {0};
	json_t *root_json, *list;

	doctor_add(d, check, DOCTOR_OK, "", "fine");
	assert_int_equal(doctor_worst(d), DOCTOR_OK);
	doctor_add(d, check, DOCTOR_WARN, "a", "b %d", 1);
	doctor_advise(d, "Do this.");
	assert_int_equal(doctor_worst(d), DOCTOR_WARN);
	doctor_format(d, &out);
	assert_string_equal(out.p, "RESULT  CHECK  FINDING\n"
				   "OK      clock  fine\n"
				   "WARN    clock  a: b 1\n"
				   "    → Do this.\n"
				   "\n1 OK, 0 notes, 1 warnings, 0 failures\n");
	strbuf_fini(&out);
	root_json = doctor_json(d);
	list = json_object_get(root_json, "findings");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(list, 1), "advice")),
			    "Do this.");
	json_decref(root_json);
	d->is_out_of_memory = true;
	assert_int_equal(doctor_worst(d), DOCTOR_FAIL);
	doctor_destroy(d);
}

static int make_root(void **state)
{
	return mkdtemp(root) ? 0 : -1;
}

static int drop_root(void **state)
{
	drop("");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_good_machine, setup),
		cmocka_unit_test_setup(test_uring, setup),
		cmocka_unit_test_setup(test_limits_of_process, setup),
		cmocka_unit_test_setup(test_memory_and_cpus, setup),
		cmocka_unit_test_setup(test_clock, setup),
		cmocka_unit_test_setup(test_modules, setup),
		cmocka_unit_test_setup(test_rdma, setup),
		cmocka_unit_test_setup(test_machine_id, setup),
		cmocka_unit_test_setup(test_identity, setup),
		cmocka_unit_test_setup(test_keys, setup),
		cmocka_unit_test_setup(test_tls, setup),
		cmocka_unit_test_setup(test_environment, setup),
		cmocka_unit_test_setup(test_config, setup),
		cmocka_unit_test(test_direct),
		cmocka_unit_test_setup(test_proxy, setup),
		cmocka_unit_test_setup(test_network, setup),
		cmocka_unit_test_setup(test_ports, setup),
		cmocka_unit_test_setup(test_report, setup),
	};

	return cmocka_run_group_tests(tests, make_root, drop_root);
}
