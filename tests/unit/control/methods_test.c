/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each method answers, in the order in which a deployment would call
 * them.  The facts are SPDK v26.05's.
 */
#include "t_control.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CNODE "nqn.2016-06.io.spdk:cnode1"
#define HOST                                                                   \
	"nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"
#define INVALID "!-32602 Invalid parameters"
#define DECODE	"!-32603 spdk_json_decode_object failed"
#define NODEV	"!-19 No such device"

static char file[] = "/tmp/mc-methods-XXXXXX";

static int setup(void **state)
{
	t_begin();
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

static void run_steps(const struct step *steps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		t_expect(steps[i].method, steps[i].params, steps[i].want);
}

#define RUN(steps) run_steps(steps, ARRAY_SIZE(steps))

static void test_framework(void **state)
{
	static const struct step steps[] = {
		{"spdk_get_version", NULL,
		 "{\"fields\":{\"major\":26,\"minor\":5,\"patch\":0}}"},
		{"spdk_get_version", "{}",
		 "!-32602 spdk_get_version method requires no parameters"},
		{"framework_wait_init", NULL, "true"},
		{"framework_start_init", NULL, "true"},
		{"log_get_level", NULL, "\"ERROR\""},
		{"log_set_level", "{\"level\":\"warning\"}", "true"},
		{"log_get_level", NULL, "\"WARNING\""},
		{"log_set_level", "{\"level\":\"NOTICE\"}", "true"},
		{"log_get_level", NULL, "\"NOTICE\""},
		{"log_set_level", "{\"level\":\"ERROR\"}", "true"},
		{"log_set_level", "{\"level\":\"LOUD\"}", INVALID},
		{"spdk_kill_instance", "{\"sig_name\":\"SIGNONE\"}", INVALID},
		{"iobuf_set_options", "{\"small_pool_count\":8192}", "true"},
		{"nvmf_set_config", NULL, "true"},
		{"no_such_method", NULL, "!-32601 Method not found"},
		{"framework_get_config", "{\"name\":\"nope\"}",
		 "!-32602 Subsystem 'nope' not found"},
		{"framework_get_config", "{\"name\":\"bdev\"}", "[]"},
	};

	RUN(steps);
}

/* load_config calls framework_start_init as long as it is offered. */
static void test_methods_offered(void **state)
{
	json_t *all = t_call("rpc_get_methods", NULL);
	json_t *now = t_call("rpc_get_methods", "{\"current\":true}");

	assert_int_equal(json_array_size(json_object_get(now, "result")) + 1,
			 json_array_size(json_object_get(all, "result")));
	json_decref(all);
	json_decref(now);
}

static void test_transport(void **state)
{
	static const struct step steps[] = {
		{"nvmf_get_transports", NULL, "[]"},
		{"nvmf_get_transports", "{\"trtype\":\"TCP\"}", NODEV},
		{"nvmf_create_transport",
		 "{\"trtype\":\"TCP\",\"max_io_size\":4096}",
		 "!-32603 Transport type 'TCP' create failed"},
		{"nvmf_create_transport",
		 "{\"trtype\":\"TCP\",\"max_io_size\":100000}",
		 "!-32603 Transport type 'TCP' create failed"},
		{"nvmf_create_transport", "{\"trtype\":\"RDMA\"}",
		 "!-32602 Invalid transport type 'RDMA'"},
		{"nvmf_create_transport", "{\"trtype\":\"BOGUS\"}",
		 "!-32602 Invalid transport type 'BOGUS'"},
		{"nvmf_create_transport", "{}", INVALID},
		{"nvmf_create_transport",
		 "{\"trtype\":\"TCP\",\"max_queue_depth\":\"128\"}", INVALID},
		{"nvmf_create_transport",
		 "{\"trtype\":\"TCP\",\"max_queue_depth\":1,"
		 "\"max_io_qpairs_per_ctrlr\":127,\"max_io_size\":8192,"
		 "\"in_capsule_data_size\":131072,\"io_unit_size\":0,"
		 "\"max_aq_depth\":16,\"num_shared_buffers\":4096,"
		 "\"buf_cache_size\":32,\"no_such_option\":1}",
		 "true"},
		{"nvmf_get_transports", NULL,
		 "[{\"trtype\":\"TCP\",\"max_queue_depth\":128,"
		 "\"max_io_qpairs_per_ctrlr\":127,\"in_capsule_data_size\":"
		 "8192,\"max_io_size\":8192,\"io_unit_size\":0,"
		 "\"max_aq_depth\":32,\"num_shared_buffers\":4096,"
		 "\"buf_cache_size\":32,\"dif_insert_or_strip\":false,"
		 "\"zcopy\":false,\"c2h_success\":true,\"sock_priority\":0,"
		 "\"abort_timeout_sec\":1}]"},
		{"nvmf_get_transports", "{\"trtype\":\"TCP\"}",
		 "[{\"trtype\":\"TCP\"}]"},
		{"nvmf_get_transports", "{\"trtype\":\"RDMA\"}", NODEV},
		{"nvmf_create_transport", "{\"trtype\":\"TCP\"}",
		 "!-32603 Transport type 'TCP' already exists"},
		{"nvmf_create_transport",
		 "{\"trtype\":\"TCP\",\"max_queue_depth\":\"128\"}", INVALID},
	};

	RUN(steps);
	assert_int_equal(tgt_opts_get(t_tgt)->max_transfer, 8192);
	assert_int_equal(tgt_opts_get(t_tgt)->max_queues, 127);
}

#define UUID "2b6601ba-eada-44fb-9a83-a20eb9eb9e90"

static const struct step disk_steps[] = {
	{"bdev_get_bdevs", NULL, "[]"},
	{"bdev_malloc_create",
	 "{\"name\":\"Malloc0\",\"num_blocks\":2048,\"block_size\":"
	 "512}",
	 "\"Malloc0\""},
	{"bdev_malloc_create",
	 "{\"name\":\"Malloc0\",\"num_blocks\":2048,\"block_size\":"
	 "512}",
	 "!-17 File exists"},
	{"bdev_malloc_create",
	 "{\"num_blocks\":64,\"block_size\":4096,\"uuid\":\"" UUID "\"}",
	 "\"Malloc1\""},
	{"bdev_malloc_create",
	 "{\"name\":\"B\",\"num_blocks\":1024,\"block_size\":1000}",
	 "!-22 Invalid argument"},
	{"bdev_malloc_create",
	 "{\"name\":\"Z\",\"num_blocks\":0,\"block_size\":512}",
	 "!-22 Invalid argument"},
	{"bdev_malloc_create",
	 "{\"name\":\"Z\",\"num_blocks\":9223372036854775807,"
	 "\"block_size\":512}",
	 "!-22 Invalid argument"},
	{"bdev_malloc_create",
	 "{\"name\":\"M\",\"num_blocks\":\"lots\",\"block_size\":512}", DECODE},
	{"bdev_malloc_create", "[1,2]", DECODE},
	{"bdev_malloc_create", NULL, DECODE},
	{"bdev_null_create",
	 "{\"name\":\"Null0\",\"num_blocks\":256,\"block_size\":4096}",
	 "\"Null0\""},
	{"bdev_aio_create",
	 "{\"name\":\"Aio1\",\"filename\":\"/nonexistent.img\","
	 "\"block_size\":4096}",
	 "!-2 No such file or directory"},
	{"bdev_aio_create", "{\"filename\":\"/nonexistent.img\"}", DECODE},
	{"bdev_get_bdevs", NULL,
	 "[{\"name\":\"Malloc0\",\"product_name\":\"Malloc disk\","
	 "\"block_size\":512,\"num_blocks\":2048,\"claimed\":false,"
	 "\"zoned\":false,\"driver_specific\":{}},"
	 "{\"name\":\"Malloc1\",\"aliases\":[\"" UUID
	 "\"],\"block_size\":4096,\"num_blocks\":64,\"uuid\":\"" UUID "\"},"
	 "{\"name\":\"Null0\",\"product_name\":\"Null disk\","
	 "\"num_blocks\":256}]"},
	{"bdev_get_bdevs", "{\"name\":\"" UUID "\"}",
	 "[{\"name\":\"Malloc1\",\"supported_io_types\":{\"read\":true,"
	 "\"write\":true,\"flush\":true,\"nvme_admin\":false}}]"},
	{"bdev_get_bdevs", "{\"name\":\"Nope\"}", NODEV},
	{"bdev_get_iostat", "{\"names\":[\"Malloc0\"]}",
	 "{\"bdevs\":[{\"name\":\"Malloc0\",\"bytes_read\":0,"
	 "\"num_write_ops\":0,\"io_error\":{}}]}"},
	{"bdev_get_iostat", "{\"name\":\"Null0\"}",
	 "{\"bdevs\":[{\"name\":\"Null0\"}]}"},
	{"bdev_get_iostat", NULL, "{\"bdevs\":[{},{},{}]}"},
	{"bdev_get_iostat", "{\"names\":[\"Nope\"]}", NODEV},
	{"bdev_aio_delete", "{\"name\":\"Malloc0\"}", NODEV},
	{"bdev_malloc_delete", "{\"name\":\"Malloc0\"}", "true"},
	{"bdev_malloc_delete", "{\"name\":\"Malloc0\"}", NODEV},
	{"bdev_null_delete", "{\"name\":\"Null0\"}", "true"},
	{"bdev_null_delete", "{}", DECODE},
	{"bdev_get_bdevs", NULL, "[{\"name\":\"Malloc1\"}]"},
};

static void test_disks(void **state)
{
	RUN(disk_steps);
}

static void test_file_disks(void **state)
{
	char params[256], want[512];
	int fd = open(file, O_RDWR);

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	/* A file does not know its block size. */
	snprintf(params, sizeof(params),
		 "{\"name\":\"Aio0\",\"filename\":\"%s\"}", file);
	t_expect("bdev_aio_create", params, "!-22 Invalid argument");
	snprintf(params, sizeof(params),
		 "{\"name\":\"Aio0\",\"filename\":\"%s\",\"block_size\":4096}",
		 file);
	t_expect("bdev_aio_create", params, "\"Aio0\"");
	t_expect("bdev_aio_create", params, "!-17 File exists");
	snprintf(want, sizeof(want),
		 "[{\"product_name\":\"AIO disk\",\"num_blocks\":256,"
		 "\"driver_specific\":{\"aio\":{\"filename\":\"%s\","
		 "\"block_size_override\":true,\"readonly\":false}}}]",
		 file);
	t_expect("bdev_get_bdevs", NULL, want);
	t_expect("bdev_aio_delete", "{\"name\":\"Aio0\"}", "true");
	snprintf(params, sizeof(params),
		 "{\"name\":\"U\",\"filename\":\"%s\",\"block_size\":512}",
		 file);
	t_expect("bdev_uring_create", params, "\"U\"");
	t_expect("bdev_aio_delete", "{\"name\":\"U\"}", NODEV);
	t_expect("bdev_uring_delete", "{\"name\":\"U\"}", "true");
}

#define NS(inner) "{\"nqn\":\"" CNODE "\",\"namespace\":{" inner "}}"
#define SS(inner) "{\"nqn\":\"" CNODE "\"" inner "}"

static const struct step subsystem_steps[] = {
	{"nvmf_create_subsystem",
	 SS(",\"allow_any_host\":true,\"serial_number\":"
	    "\"SPDK00000000000001\",\"max_namespaces\":12"),
	 "true"},
	{"nvmf_create_subsystem", SS(""),
	 "!-32603 Unable to create subsystem " CNODE},
	{"nvmf_create_subsystem", "{\"nqn\":\"bad-nqn\"}",
	 "!-32603 Unable to create subsystem bad-nqn"},
	{"nvmf_create_subsystem",
	 "{\"nqn\":\"nqn.2016-06.io.spdk:x\",\"serial_number\":"
	 "\"THIS-SERIAL-NUMBER-IS-TOO-LONG\"}",
	 INVALID},
	{"nvmf_create_subsystem", "{}", INVALID},
	{"nvmf_create_subsystem", SS(",\"bogus\":1"), INVALID},
	{"nvmf_create_subsystem", "{\"nqn\":12}", INVALID},
	{"bdev_malloc_create",
	 "{\"name\":\"M0\",\"num_blocks\":64,\"block_size\":4096}", "\"M0\""},
	{"bdev_malloc_create",
	 "{\"name\":\"M1\",\"num_blocks\":64,\"block_size\":4096,"
	 "\"uuid\":\"" UUID "\"}",
	 "\"M1\""},
	{"bdev_null_create",
	 "{\"name\":\"N0\",\"num_blocks\":64,\"block_size\":4096}", "\"N0\""},
	{"nvmf_subsystem_add_ns", NS("\"bdev_name\":\"M0\""), "1"},
	{"nvmf_subsystem_add_ns", NS("\"bdev_name\":\"M0\""), INVALID},
	{"nvmf_subsystem_add_ns", NS("\"bdev_name\":\"Nope\""), INVALID},
	{"nvmf_subsystem_add_ns", NS("\"bdev_name\":\"N0\",\"nsid\":1"),
	 INVALID},
	{"nvmf_subsystem_add_ns", NS("\"bdev_name\":\"N0\",\"nsid\":13"),
	 INVALID},
	{"nvmf_subsystem_add_ns",
	 "{\"nqn\":\"nqn.2016-06.io.spdk:none\",\"namespace\":"
	 "{\"bdev_name\":\"N0\"}}",
	 INVALID},
	{"nvmf_subsystem_add_ns", NS("\"nsid\":2"), INVALID},
	{"nvmf_subsystem_add_ns", NS("\"bdev_name\":\"N0\",\"nguid\":\"12\""),
	 INVALID},
	{"nvmf_subsystem_add_ns",
	 NS("\"bdev_name\":\"N0\",\"nsid\":5,\"nguid\":"
	    "\"ABCDEF0123456789ABCDEF0123456789\",\"eui64\":"
	    "\"ABCDEF0123456789\",\"uuid\":"
	    "\"8f1a3b52-0a09-4c2e-9d3a-111111111111\""),
	 "5"},
	{"nvmf_subsystem_add_ns", NS("\"bdev_name\":\"M1\""), "2"},
	{"nvmf_get_subsystems", SS(""),
	 "[{\"nqn\":\"" CNODE "\",\"subtype\":\"NVMe\","
	 "\"listen_addresses\":[],\"allow_any_host\":true,\"hosts\":[],"
	 "\"serial_number\":\"SPDK00000000000001\","
	 "\"max_namespaces\":12,\"namespaces\":["
	 "{\"nsid\":1,\"bdev_name\":\"M0\",\"name\":\"M0\"},"
	 "{\"nsid\":2,\"bdev_name\":\"M1\",\"uuid\":\"" UUID
	 "\",\"nguid\":\"2B6601BAEADA44FB9A83A20EB9EB9E90\"},"
	 "{\"nsid\":5,\"bdev_name\":\"N0\",\"nguid\":"
	 "\"ABCDEF0123456789ABCDEF0123456789\",\"eui64\":"
	 "\"ABCDEF0123456789\",\"uuid\":"
	 "\"8f1a3b52-0a09-4c2e-9d3a-111111111111\"}]}]"},
	{"nvmf_get_subsystems", NULL,
	 "[{\"nqn\":\"nqn.2014-08.org.nvmexpress.discovery\","
	 "\"subtype\":\"Discovery\",\"listen_addresses\":[],"
	 "\"allow_any_host\":true,\"hosts\":[]},"
	 "{\"nqn\":\"" CNODE "\"}]"},
	{"nvmf_get_subsystems", "{\"nqn\":\"nqn.2016-06.io.spdk:none\"}",
	 NODEV},
	{"nvmf_subsystem_remove_ns", SS(",\"nsid\":1"), "true"},
	{"nvmf_subsystem_remove_ns", SS(",\"nsid\":1"), INVALID},
	{"nvmf_subsystem_remove_ns", SS(",\"nsid\":0"), INVALID},
	{"nvmf_subsystem_remove_ns", SS(""), INVALID},
	/* a disk that serves goes with its namespace */
	{"bdev_malloc_delete", "{\"name\":\"M1\"}", "true"},
	{"nvmf_get_subsystems", SS(""), "[{\"namespaces\":[{\"nsid\":5}]}]"},
	{"nvmf_subsystem_add_ns", NS("\"bdev_name\":\"M0\""), "1"},
	{"nvmf_subsystem_get_controllers", SS(""), "[]"},
	{"nvmf_subsystem_get_qpairs", SS(""), "[]"},
	{"nvmf_get_stats", NULL,
	 "{\"poll_groups\":[{\"current_io_qpairs\":0,\"transports\":"
	 "[{\"trtype\":\"TCP\"}]}]}"},
	{"nvmf_delete_subsystem", SS(""), "true"},
	{"nvmf_delete_subsystem", SS(""), INVALID},
	{"nvmf_delete_subsystem", "{}", INVALID},
	{"nvmf_delete_subsystem",
	 "{\"nqn\":\"nqn.2014-08.org.nvmexpress.discovery\"}", INVALID},
	/* the disks are free again */
	{"nvmf_create_subsystem", SS(""), "true"},
	{"nvmf_subsystem_add_ns", NS("\"bdev_name\":\"M0\""), "1"},
	{"nvmf_create_subsystem",
	 "{\"nqn\":\"nqn.2016-06.io.spdk:y\",\"tgt_name\":\"other\"}", INVALID},
};

static void test_subsystems(void **state)
{
	RUN(subsystem_steps);
}

static void test_hosts(void **state)
{
	static const struct step steps[] = {
		{"nvmf_create_subsystem", SS(",\"allow_any_host\":true"),
		 "true"},
		{"nvmf_subsystem_allow_any_host",
		 SS(",\"allow_any_host\":false"), "true"},
		{"nvmf_subsystem_add_host", SS(",\"host\":\"" HOST "\""),
		 "true"},
		{"nvmf_subsystem_add_host", SS(",\"host\":\"" HOST "\""),
		 "!-32603 Internal error"},
		{"nvmf_subsystem_add_host", SS(",\"host\":\"bad\""),
		 "!-32603 Internal error"},
		{"nvmf_subsystem_add_host",
		 SS(",\"host\":\"" HOST "\",\"dhchap_key\":\"nokey\""),
		 INVALID},
		{"nvmf_get_subsystems", SS(""),
		 "[{\"allow_any_host\":false,\"hosts\":[{\"nqn\":\"" HOST
		 "\"}]}]"},
		{"nvmf_subsystem_remove_host", SS(",\"host\":\"" HOST "\""),
		 "true"},
		{"nvmf_subsystem_remove_host", SS(",\"host\":\"" HOST "\""),
		 "!-32603 Internal error"},
		{"nvmf_subsystem_allow_any_host",
		 SS(",\"allow_any_host\":true"), "true"},
		{"nvmf_get_subsystems", SS(""),
		 "[{\"allow_any_host\":true,\"hosts\":[]}]"},
	};

	RUN(steps);
}

static const char secret[] =
	"DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:\n";

static void write_key(const char *text)
{
	int fd = open(file, O_WRONLY | O_TRUNC);

	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void test_keyring(void **state)
{
	char params[256], want[512];

	write_key(secret);
	snprintf(params, sizeof(params), "{\"name\":\"key1\",\"path\":\"%s\"}",
		 file);
	t_expect("keyring_file_add_key", params, "true");
	t_expect("keyring_file_add_key", params, "!-17 File exists");
	t_expect("keyring_file_add_key",
		 "{\"name\":\"nokey\",\"path\":\"/nonexistent\"}",
		 "!-2 No such file or directory");
	t_expect("keyring_file_add_key", "{\"name\":\"rel\",\"path\":\"file\"}",
		 "!-22 Invalid argument");
	snprintf(want, sizeof(want),
		 "[{\"name\":\"key1\",\"module\":\"keyring_file\",\"removed\":"
		 "false,\"probed\":false,\"refcnt\":1,\"path\":\"%s\"}]",
		 file);
	t_expect("keyring_get_keys", NULL, want);
	t_expect("keyring_file_remove_key", "{\"name\":\"key1\"}", "true");
	t_expect("keyring_file_remove_key", "{\"name\":\"key1\"}",
		 "!-2 No such file or directory");
	t_expect("keyring_get_keys", NULL, "[]");
}

#define WITH_KEY(host, more) SS(",\"host\":\"" host "\"" more)

static const struct step key_steps[] = {
	{"nvmf_create_subsystem", SS(""), "true"},
	{"nvmf_subsystem_add_host",
	 WITH_KEY(HOST,
		  ",\"dhchap_key\":\"key1\",\"dhchap_ctrlr_key\":\"key1\""),
	 "true"},
	{"nvmf_subsystem_add_host",
	 WITH_KEY(HOST "x", ",\"dhchap_key\":\"nokey\""), INVALID},
	{"nvmf_subsystem_add_host",
	 WITH_KEY(HOST "x", ",\"dhchap_ctrlr_key\":\"key1\""), INVALID},
	{"nvmf_subsystem_add_host", WITH_KEY(HOST, ""),
	 "!-32603 Internal error"},
	{"keyring_get_keys", NULL, "[{\"refcnt\":3}]"},
	{"nvmf_get_subsystems", SS(""),
	 "[{\"hosts\":[{\"nqn\":\"" HOST "\",\"dhchap_key\":\"key1\","
	 "\"dhchap_ctrlr_key\":\"key1\"}]}]"},
	{"nvmf_subsystem_set_keys", WITH_KEY(HOST, ",\"dhchap_key\":\"key1\""),
	 "true"},
	{"nvmf_subsystem_set_keys",
	 WITH_KEY(HOST "-none", ",\"dhchap_key\":\"key1\""),
	 "!-22 Invalid argument"},
	{"keyring_get_keys", NULL, "[{\"refcnt\":2}]"},
	{"nvmf_subsystem_remove_host", WITH_KEY(HOST, ""), "true"},
	{"keyring_get_keys", NULL, "[{\"refcnt\":1}]"},
	{"nvmf_subsystem_add_host",
	 WITH_KEY("nqn.2014-08.org.a:h", ",\"dhchap_key\":\"key1\""), "true"},
	{"nvmf_delete_subsystem", SS(""), "true"},
	{"keyring_get_keys", NULL, "[{\"refcnt\":1}]"},
	{"nvmf_create_subsystem", SS(""), "true"},
};

static void test_host_keys(void **state)
{
	char params[256];

	write_key(secret);
	snprintf(params, sizeof(params), "{\"name\":\"key1\",\"path\":\"%s\"}",
		 file);
	t_expect("keyring_file_add_key", params, "true");
	RUN(key_steps);
	/* What is no key is found out when a host is to get it. */
	write_key("nonsense\n");
	t_expect("nvmf_subsystem_add_host",
		 WITH_KEY(HOST, ",\"dhchap_key\":\"key1\""),
		 "!-32603 Internal error");
	t_expect("nvmf_get_subsystems", SS(""), "[{\"hosts\":[]}]");
}

#define REFERRAL                                                               \
	"{\"address\":{\"trtype\":\"TCP\",\"adrfam\":\"IPv4\",\"traddr\":"     \
	"\"127.0.0.1\",\"trsvcid\":\"18010\"}}"

static void test_referrals(void **state)
{
	static const struct step steps[] = {
		{"nvmf_discovery_get_referrals", NULL, "[]"},
		{"nvmf_discovery_get_referrals", "{}", "[]"},
		{"nvmf_discovery_add_referral", REFERRAL, "true"},
		{"nvmf_discovery_add_referral", REFERRAL, "true"},
		{"nvmf_discovery_get_referrals", NULL,
		 "[{\"address\":{\"trtype\":\"TCP\",\"adrfam\":\"IPv4\","
		 "\"traddr\":\"127.0.0.1\",\"trsvcid\":\"18010\"},"
		 "\"secure_channel\":false,\"subnqn\":"
		 "\"nqn.2014-08.org.nvmexpress.discovery\"}]"},
		{"nvmf_discovery_remove_referral", REFERRAL, "true"},
		{"nvmf_discovery_remove_referral", REFERRAL,
		 "!-32603 Unable to remove a referral."},
		{"nvmf_discovery_add_referral",
		 "{\"address\":{\"trtype\":\"TCP\",\"traddr\":\"nowhere\","
		 "\"trsvcid\":\"1\"}}",
		 INVALID},
	};

	RUN(steps);
}

/* The port that a listener on port 0 got. */
static unsigned listener_port(unsigned index)
{
	struct tgt_listener_info info;

	assert_true(tgt_listener_at(t_tgt, index, &info));
	return addr_port(&info.addr);
}

static const struct step listener_steps[] = {
	{"nvmf_create_subsystem",
	 SS(",\"allow_any_host\":true,\"ana_reporting\":true"), "true"},
	{"nvmf_subsystem_add_listener",
	 SS(",\"listen_address\":{\"trtype\":\"TCP\",\"traddr\":"
	    "\"127.0.0.1\",\"trsvcid\":\"0\"}"),
	 INVALID}, /* no transport yet */
	{"nvmf_create_transport", "{\"trtype\":\"TCP\"}", "true"},
	{"nvmf_subsystem_add_listener",
	 SS(",\"listen_address\":{\"trtype\":\"TCP\",\"adrfam\":"
	    "\"IPv4\",\"traddr\":\"127.0.0.1\",\"trsvcid\":\"0\"}"),
	 "true"},
	{"nvmf_subsystem_add_listener",
	 SS(",\"listen_address\":{\"trtype\":\"TCP\",\"traddr\":"
	    "\"203.0.113.7\",\"trsvcid\":\"0\"}"),
	 INVALID},
	{"nvmf_subsystem_add_listener",
	 SS(",\"listen_address\":{\"trtype\":\"RDMA\",\"traddr\":"
	    "\"127.0.0.1\",\"trsvcid\":\"0\"}"),
	 INVALID},
	{"nvmf_subsystem_add_listener",
	 SS(",\"listen_address\":{\"trtype\":\"TCP\",\"adrfam\":"
	    "\"IPv6\",\"traddr\":\"127.0.0.1\",\"trsvcid\":\"0\"}"),
	 INVALID},
};

static void test_listeners(void **state)
{
	char params[256], want[256];
	unsigned port;

	RUN(listener_steps);
	port = listener_port(0);
#define LISTEN(more)                                                           \
	snprintf(params, sizeof(params),                                       \
		 SS(",\"listen_address\":{\"trtype\":\"TCP\",\"traddr\":"      \
		    "\"127.0.0.1\",\"trsvcid\":\"%u\"}" more),                 \
		 port)
	LISTEN("");
	t_expect("nvmf_subsystem_add_listener", params, INVALID);
	snprintf(want, sizeof(want),
		 "[{\"address\":{\"trtype\":\"TCP\",\"adrfam\":\"IPv4\","
		 "\"traddr\":\"127.0.0.1\",\"trsvcid\":\"%u\"}}]",
		 port);
	t_expect("nvmf_subsystem_get_listeners", SS(""), want);
	t_expect("bdev_malloc_create",
		 "{\"name\":\"M0\",\"num_blocks\":64,\"block_size\":4096}",
		 "\"M0\"");
	t_expect("nvmf_subsystem_add_ns", NS("\"bdev_name\":\"M0\""), "1");
	LISTEN(",\"ana_state\":\"inaccessible\"");
	t_expect("nvmf_subsystem_listener_set_ana_state", params, "true");
	t_expect("nvmf_subsystem_get_listeners", SS(""),
		 "[{\"ana_states\":[{\"ana_group\":1,\"ana_state\":"
		 "\"inaccessible\"}]}]");
	LISTEN(",\"ana_state\":\"sleepy\"");
	t_expect("nvmf_subsystem_listener_set_ana_state", params, INVALID);
	LISTEN("");
	t_expect("nvmf_subsystem_remove_listener", params, "true");
	t_expect("nvmf_subsystem_remove_listener", params, INVALID);
	t_expect("nvmf_subsystem_get_listeners", SS(""), "[]");
	/* and the socket is gone with its last subsystem */
	assert_false(tgt_listener_at(t_tgt, 0, &(struct tgt_listener_info){0}));
	t_expect("nvmf_subsystem_add_listener", params, "true");
	t_expect("nvmf_subsystem_get_listeners", SS(""), want);
	t_expect("nvmf_subsystem_get_listeners",
		 "{\"nqn\":\"nqn.2016-06.io.spdk:none\"}", INVALID);
	t_expect("nvmf_subsystem_add_listener",
		 "{\"nqn\":\"nqn.2014-08.org.nvmexpress.discovery\","
		 "\"listen_address\":{\"trtype\":\"TCP\",\"traddr\":"
		 "\"127.0.0.1\",\"trsvcid\":\"0\"}}",
		 "true");
	t_expect("nvmf_get_subsystems", NULL,
		 "[{\"subtype\":\"Discovery\",\"listen_addresses\":"
		 "[{\"trtype\":\"TCP\",\"traddr\":\"127.0.0.1\"}]},"
		 "{\"subtype\":\"NVMe\",\"listen_addresses\":"
		 "[{\"trtype\":\"TCP\",\"transport\":\"TCP\"}]}]");
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		ROW(test_framework),  ROW(test_methods_offered),
		ROW(test_transport),  ROW(test_disks),
		ROW(test_file_disks), ROW(test_subsystems),
		ROW(test_hosts),      ROW(test_keyring),
		ROW(test_host_keys),  ROW(test_referrals),
		ROW(test_listeners),
	};
	int fd = mkstemp(file), ret;

	if (fd < 0)
		return 77;
	close(fd);
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(file);
	return ret;
}
