/* SPDX-License-Identifier: Apache-2.0 */
/* What is written as a configuration makes the same state again. */
#include "control/config.h"

#include "t_control.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define CNODE "nqn.2016-06.io.spdk:cnode1"

static char folder[] = "/tmp/mc-config-XXXXXX", path[64];

static int setup(void **state)
{
	t_begin();
	return 0;
}

static int teardown(void **state)
{
	t_end();
	unlink(path);
	return 0;
}

static void again(void)
{
	t_end();
	t_begin();
}

static void make_some(void)
{
	t_expect("nvmf_set_config",
		 "{\"dhchap_digests\":[\"sha384\",\"sha512\"],"
		 "\"discovery_filter\":\"match_any\"}",
		 "true");
	t_expect("nvmf_create_transport",
		 "{\"trtype\":\"TCP\",\"max_io_size\":131072}", "true");
	t_expect("bdev_malloc_create",
		 "{\"num_blocks\":64,\"block_size\":4096}", "\"Malloc0\"");
	t_expect("bdev_null_create",
		 "{\"name\":\"N\",\"num_blocks\":64,\"block_size\":512}",
		 "\"N\"");
	t_expect("nvmf_create_subsystem",
		 "{\"nqn\":\"" CNODE "\",\"serial_number\":\"S1\","
		 "\"ana_reporting\":true,\"max_namespaces\":7}",
		 "true");
	t_expect("nvmf_subsystem_add_host",
		 "{\"nqn\":\"" CNODE "\",\"host\":\"nqn.2014-08.org.a:h\"}",
		 "true");
	t_expect("nvmf_subsystem_add_ns",
		 "{\"nqn\":\"" CNODE "\",\"namespace\":{\"bdev_name\":"
		 "\"Malloc0\",\"nsid\":3,\"eui64\":\"0011223344556677\"}}",
		 "3");
	t_expect("nvmf_subsystem_add_ns",
		 "{\"nqn\":\"" CNODE "\",\"namespace\":{\"bdev_name\":\"N\"}}",
		 "1");
	t_expect("nvmf_subsystem_add_listener",
		 "{\"nqn\":\"" CNODE "\",\"listen_address\":{\"trtype\":"
		 "\"TCP\",\"traddr\":\"127.0.0.1\",\"trsvcid\":\"0\"}}",
		 "true");
	t_expect("nvmf_subsystem_add_listener",
		 "{\"nqn\":\"nqn.2014-08.org.nvmexpress.discovery\","
		 "\"listen_address\":{\"trtype\":\"TCP\",\"traddr\":"
		 "\"127.0.0.1\",\"trsvcid\":\"0\"}}",
		 "true");
	t_expect("nvmf_discovery_add_referral",
		 "{\"address\":{\"trtype\":\"TCP\",\"traddr\":\"127.0.0.1\","
		 "\"trsvcid\":\"8010\"}}",
		 "true");
}

/* With one listener and one group not optimized. */
static void make_ana(void)
{
	struct tgt_listener_info info;
	char params[256];

	assert_true(tgt_listener_at(t_tgt, 0, &info));
	snprintf(params, sizeof(params),
		 "{\"nqn\":\"" CNODE "\",\"listen_address\":{\"trtype\":"
		 "\"TCP\",\"traddr\":\"127.0.0.1\",\"trsvcid\":\"%u\"},"
		 "\"ana_state\":\"non_optimized\",\"anagrpid\":3}",
		 addr_port(&info.addr));
	t_expect("nvmf_subsystem_listener_set_ana_state", params, "true");
}

static void test_round_trip(void **state)
{
	json_t *first, *second;
	struct err err = {0};

	make_some();
	make_ana();
	first = config_all(&t_ctl, true);
	assert_non_null(first);
	again();
	assert_int_equal(config_load(&t_ctl, first, true, &err), 0);
	second = config_all(&t_ctl, true);
	if (!json_equal(first, second)) {
		json_dumpf(first, stderr, JSON_INDENT(1));
		json_dumpf(second, stderr, JSON_INDENT(1));
	}
	assert_true(json_equal(first, second));
	json_decref(first);
	json_decref(second);
}

static void test_remembered(void **state)
{
	json_t *before, *after;
	struct err err = {0};

	assert_int_equal(control_remember(&t_ctl, path, &err), 0);
	make_some();
	make_ana();
	before = t_call("nvmf_get_subsystems", NULL);
	again();
	assert_int_equal(control_remember(&t_ctl, path, &err), 0);
	after = t_call("nvmf_get_subsystems", NULL);
	assert_true(json_equal(before, after));
	json_decref(before);
	json_decref(after);
	t_expect("nvmf_delete_subsystem", "{\"nqn\":\"" CNODE "\"}", "true");
	again();
	assert_int_equal(control_remember(&t_ctl, path, &err), 0);
	t_expect("nvmf_get_subsystems", NULL, "[{\"subtype\":\"Discovery\"}]");
	t_expect("bdev_get_bdevs", NULL, "[{},{}]");
}

/* A disk that is not there today may be there tomorrow. */
static void test_not_loaded_is_kept(void **state)
{
	struct err err = {0};
	json_t *root =
		json_pack("{s:[{s:s, s:[{s:s, s:{s:s, s:s, s:i}}]}]}",
			  "subsystems", "subsystem", "bdev", "config", "method",
			  "bdev_aio_create", "params", "name", "Away",
			  "filename", "/nonexistent.img", "block_size", 4096);

	assert_int_equal(json_dump_file(root, path, 0), 0);
	json_decref(root);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(control_remember(&t_ctl, path, &err), 0);
		t_expect("bdev_get_bdevs", NULL, i ? "[{}]" : "[]");
		if (i == 0)
			t_expect("bdev_null_create",
				 "{\"name\":\"N\",\"num_blocks\":64,"
				 "\"block_size\":4096}",
				 "\"N\"");
		again();
	}
	root = json_load_file(path, 0, NULL);
	assert_string_equal(
		json_string_value(json_object_get(
			json_object_get(
				json_array_get(
					json_object_get(
						json_array_get(
							json_object_get(
								root,
								"subsystems"),
							1),
						"config"),
					1),
				"params"),
			"name")),
		"Away");
	json_decref(root);
}

static void test_bad_files(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"{\"subsystems\":[", ":1:"},
		{"[]", "\"subsystems\" is missing"},
		{"{\"subsystems\":[{}]}", "no name"},
		{"{\"subsystems\":[{\"subsystem\":\"bdev\",\"config\":[{}]}]}",
		 "call 1 (?): no method"},
		{"{\"subsystems\":[{\"subsystem\":\"bdev\",\"config\":"
		 "[{\"method\":\"bdev_wait_for_examine\"},"
		 "{\"method\":\"nope\"}]}]}",
		 "subsystem bdev, call 2 (nope): Method not found"},
		{"{\"subsystems\":[{\"subsystem\":\"bdev\",\"config\":null}]}",
		 NULL},
	};
	struct err err;
	FILE *f;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		f = fopen(path, "w");
		fputs(cases[i].text, f);
		fclose(f);
		err = (struct err){0};
		assert_int_equal(config_load_file(&t_ctl, path, true, &err),
				 cases[i].why ? -EINVAL : 0);
		if (cases[i].why && !strstr(err.text, cases[i].why))
			fail_msg("%s: %s", cases[i].text, err.text);
	}
	unlink(path);
	err = (struct err){0};
	assert_int_equal(config_load_file(&t_ctl, path, true, &err), -ENOENT);
}

static struct jrpc_call *parked;

static void park(struct jrpc_call *call, void *args)
{
	parked = call;
}

/* A call that does not end is an error that names it, whenever it is answered;
 * how long all of them take does not matter. */
static void test_slow_call(void **state)
{
	static const struct jrpc_method methods[] = {
		{.name = "slow", .run = park}};
	static const struct jrpc_table table = {methods, 1};
	const struct jrpc_table *const tables[] = {&table, NULL};
	struct err err = {0};
	json_t *root =
		json_pack("{s:[{s:s, s:[{s:s}]}]}", "subsystems", "subsystem",
			  "nvmf", "config", "method", "slow");

	t_ctl.rpc.tables = tables;
	t_ctl.load_call_ns = 20 * NS_PER_MS;
	for (int is_strict = 0; is_strict < 2; is_strict++) {
		err = (struct err){0};
		assert_int_equal(config_load(&t_ctl, root, is_strict, &err),
				 -ETIMEDOUT);
		assert_string_equal(err.text, "subsystem nvmf, call 1 (slow): "
					      "no answer in 0 s");
		jrpc_true(parked);
	}
	json_decref(root);
}

/* A change that can't be remembered is told to whoever made it. */
static void test_not_remembered(void **state)
{
	struct err err = {0};
	char want[256];

	assert_int_equal(control_remember(&t_ctl, path, &err), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(want, sizeof(want),
		 "!-21 done, but it can't be remembered in %s: Is a directory",
		 path);
	t_expect("bdev_null_create",
		 "{\"name\":\"N\",\"num_blocks\":64,\"block_size\":4096}",
		 want);
	t_expect("bdev_get_bdevs", NULL, "[{\"name\":\"N\"}]");
	assert_int_equal(rmdir(path), 0);
	t_expect("bdev_null_delete", "{\"name\":\"N\"}", "true");
	snprintf(want, sizeof(want), "%s/none/state", folder);
	again();
	assert_int_equal(control_remember(&t_ctl, want, &err), -ENOENT);
}

/* What a drain takes down is not what is to come back. */
static void test_drain_is_not_remembered(void **state)
{
	struct t_answer removal = {0};
	struct err err = {0};
	json_t *request, *before, *after;
	bool is_drained = false;
	json_error_t where;

	assert_int_equal(control_remember(&t_ctl, path, &err), 0);
	make_some();
	before = json_load_file(path, 0, NULL);
	request =
		json_loads("{\"id\":1,\"method\":\"nvmf_subsystem_remove_ns\","
			   "\"params\":{\"nqn\":\"" CNODE "\",\"nsid\":1}}",
			   0, &where);
	jrpc_run(&t_ctl.rpc, request, t_on_answer, &removal);
	assert_false(removal.is_done);
	control_leave(&t_ctl);
	tgt_drain(t_tgt, 100, t_on_flag, &is_drained);
	t_turn_until(&removal.is_done);
	assert_int_equal(
		json_integer_value(json_object_get(
			json_object_get(removal.json, "error"), "code")),
		-ECANCELED);
	t_expect("bdev_null_delete", "{\"name\":\"N\"}",
		 "!-1 The target is stopping");
	t_turn_until(&is_drained);
	t_expect("bdev_get_bdevs", "{\"name\":\"N\"}", "[{}]");
	after = json_load_file(path, 0, NULL);
	assert_true(json_equal(before, after));
	json_decref(request);
	json_decref(removal.json);
	json_decref(before);
	json_decref(after);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		ROW(test_round_trip),
		ROW(test_remembered),
		ROW(test_not_loaded_is_kept),
		ROW(test_bad_files),
		ROW(test_slow_call),
		ROW(test_not_remembered),
		ROW(test_drain_is_not_remembered),
	};
	char tmp[80];
	int ret;

	if (!mkdtemp(folder))
		return 77;
	snprintf(path, sizeof(path), "%s/state", folder);
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(tmp, sizeof(tmp), "%s.new", path);
	unlink(tmp);
	rmdir(folder);
	return ret;
}
