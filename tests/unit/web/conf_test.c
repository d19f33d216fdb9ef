/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: values arrive, mistakes are named with their place. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "web/conf.h"

struct config {
	char *name;
	uint64_t size, port;
	bool is_fast;
	double ratio;
	struct flag_list paths;
};

static const struct flag flags[] = {
	{.name = "name",
	 .type = FLAG_STR,
	 .off = offsetof(struct config, name)},
	{.name = "segment_size",
	 .alias = "size,seg",
	 .type = FLAG_SIZE,
	 .off = offsetof(struct config, size)},
	{.name = "port",
	 .type = FLAG_UINT,
	 .off = offsetof(struct config, port),
	 .def = "80",
	 .min = 1,
	 .max = 65535},
	{.name = "fast",
	 .type = FLAG_BOOL,
	 .off = offsetof(struct config, is_fast)},
	{.name = "ratio",
	 .type = FLAG_DOUBLE,
	 .off = offsetof(struct config, ratio)},
	{.name = "path",
	 .type = FLAG_LIST,
	 .off = offsetof(struct config, paths)},
};
static const struct flag_prog prog = {
	.name = "t",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

struct conf_case {
	char path[64];
	struct config config;
	struct flag_set fs;
	struct err err;
	int ret;
};

static void load(struct conf_case *cc, const char *suffix, const char *text,
		 unsigned how)
{
	FILE *file;
	int fd;

	memset(cc, 0, sizeof(*cc));
	snprintf(cc->path, sizeof(cc->path), "/tmp/conf_test_XXXXXX%s", suffix);
	fd = mkstemps(cc->path, (int)strlen(suffix));
	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	fputs(text, file);
	fclose(file);
	assert_int_equal(flag_init(&cc->fs, &prog, &cc->config, &cc->err), 0);
	cc->ret = conf_load(&cc->fs, cc->path, how, &cc->err);
	unlink(cc->path);
}

static void check_good(const char *suffix, const char *text, unsigned how)
{
	struct conf_case cc;

	load(&cc, suffix, text, how);
	if (cc.ret)
		fail_msg("%s", cc.err.text);
	assert_string_equal(cc.config.name, "a \"b\"");
	assert_int_equal(cc.config.size, 4 * GiB);
	assert_int_equal(cc.config.port, 8080);
	assert_true(cc.config.is_fast);
	assert_true(cc.config.ratio == 0.25);
	assert_int_equal(cc.config.paths.count, 2);
	assert_string_equal(cc.config.paths.items[1], "/b");
	flag_fini(&cc.fs);
}

static void test_good(void **state)
{
	static const char json[] =
		"{\"name\": \"a \\\"b\\\"\", \"segment-size\": \"4 GB\",\n"
		" \"port\": 8080, \"fast\": true, \"ratio\": 0.25,\n"
		" \"path\": [\"/a\", \"/b\"]}";

	check_good(".json", json, 0);
	check_good("", json, 0);
	check_good(".yaml",
		   "# comment\nname: 'a \"b\"'\nseg: 4gb\nport: 8080\n"
		   "fast: yes\nratio: 0.25\npath:\n  - /a\n  - /b\n",
		   0);
	check_good(".yml", json, 0);
	check_good(".json",
		   "{\"mode\": {\"port\": 7}, \"name\": \"a \\\"b\\\"\", "
		   "\"size\": 4294967296, \"port\": 8080, \"fast\": \"on\", "
		   "\"ratio\": 0.25, \"path\": [\"/a\", \"/b\"], \"x\": [1]}",
		   CONF_IGNORE_UNKNOWN);
	check_good(".yaml",
		   "mode: {port: 7, a: [1, 2]}\nname: 'a \"b\"'\nsize: 4g\n"
		   "fast: true\nport: 8080\nratio: .25\npath: [/a, /b]\n",
		   CONF_IGNORE_UNKNOWN);
}

static void test_null_and_empty(void **state)
{
	static const char *const texts[][2] = {
		{".json", "{}"},
		{".json", "{\"port\": null}"},
		{".yaml", ""},
		{".yaml", "port:\n"},
		{".yaml", "port: null\n"},
	};
	struct conf_case cc;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		load(&cc, texts[i][0], texts[i][1], 0);
		if (cc.ret)
			fail_msg("%s: %s", texts[i][1], cc.err.text);
		assert_int_equal(cc.config.port, 80);
		flag_fini(&cc.fs);
	}
}

static const struct {
	const char *suffix, *text, *place, *word;
} broken[] = {
	{".json", "", ":1:", ""},
	{".json", "{\"port\": 1,\n  \"name\" \"x\"}", ":2:", "near"},
	{".json", "{\n \"port\": 70000}", ":2:10", "70000"},
	{".json", "{\"x\": {\"port\": 1},\n\"port\": 0}", ":1:7", "\"x\""},
	{".json", "{\"name\": \"\\\"port\\\": é\", \"port\":\t\"a\"}", ":1:33",
	 "port"},
	{".json", "{\"prot\": 1}", ":1:10", "prot"},
	{".json", "{\"port\": {}}", ":1:10", "expected"},
	{".json", "{\"path\": [[1]]}", ":1:10", "expected"},
	{".json", "[1]", ":1:1", "object"},
	{".json", "{\"port\": 1, \"port\": 2}", ":1:", "duplicate"},
	{".json", "{\"port\": 1} x", ":1:", "end of file"},
	{".json", "{\"name\": \"a\\u0000b\"}", ":1:", "\\u0000"},
	{".yaml", "name: a\nport: 70000\n", ":2:7", "70000"},
	{".yaml", "name: [a\nport: 1\n", ":2:", ""},
	{".yaml", "- a\n", ":1:1", "name: value"},
	{".yaml", "port: {a: b}\n", ":1:7", "expected"},
	{".yaml", "path: [a, [b]]\n", ":1:11", "list"},
	{".yaml", "prot: 1\n", ":1:7", "prot"},
	{".yaml", "\tport: 1\n", ":1:", ""},
	{".yaml", "[a]: 1\n", ":1:1", "name"},
};

static void test_broken(void **state)
{
	struct conf_case cc;
	char place[96];

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		load(&cc, broken[i].suffix, broken[i].text, 0);
		snprintf(place, sizeof(place), "%s%s", cc.path,
			 broken[i].place);
		if (!cc.ret || !strstr(cc.err.text, place) ||
		    !strstr(cc.err.text, broken[i].word))
			fail_msg("%s: %d \"%s\", expected %s and \"%s\"",
				 broken[i].text, cc.ret, cc.err.text, place,
				 broken[i].word);
		flag_fini(&cc.fs);
	}
}

/* The key of the same name inside an ignored value is not the place. */
static void test_place_beside_ignored(void **state)
{
	struct conf_case cc;

	load(&cc, ".json",
	     "{\"x\": {\"port\": 1, \"y\": [\"port\"]},\n \"port\": 0}",
	     CONF_IGNORE_UNKNOWN);
	assert_int_equal(cc.ret, -EINVAL);
	if (!strstr(cc.err.text, ".json:2:10: "))
		fail_msg("%s", cc.err.text);
	flag_fini(&cc.fs);
}

static void test_no_file(void **state)
{
	struct config config = {0};
	struct flag_set fs;
	struct err err = {0};

	assert_int_equal(flag_init(&fs, &prog, &config, &err), 0);
	assert_int_equal(conf_load(&fs, "/nonexistent/x.json", 0, &err),
			 -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/x.json"));
	memset(&err, 0, sizeof(err));
	assert_true(conf_load(&fs, "/tmp", 0, &err) < 0);
	assert_non_null(strstr(err.text, "/tmp"));
	memset(&err, 0, sizeof(err));
	assert_int_equal(conf_load(&fs, "/dev/zero", 0, &err), -EFBIG);
	flag_fini(&fs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_null_and_empty),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_place_beside_ignored),
		cmocka_unit_test(test_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
