/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing and precedence; what people read is in flag_text_test.c. */
#include "base/flag.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct config {
	uint64_t first; /* at offset 0, where an ignored option points */
	uint64_t port;
	int64_t nice;
	double ratio;
	bool metrics;
	char *host;
	uint64_t size;
	uint64_t timeout_ms;
	uint64_t drain_ms;
	struct flag_list paths;
};

#define AT(member) .off = offsetof(struct config, member)

static const struct flag flags[] = {
	{.name = "old", .type = FLAG_UINT, .attrs = FLAG_IGNORED},
	{.name = "old_switch", .type = FLAG_BOOL, .attrs = FLAG_IGNORED},
	{.name = "rpc_port",
	 .alias = "port, p",
	 .type = FLAG_UINT,
	 AT(port),
	 .def = "50051",
	 .min = 1,
	 .max = 65535,
	 .env = "T_FLAG_PORT"},
	{.name = "nice", .type = FLAG_INT, AT(nice), .min = -20, .max = 19},
	{.name = "ratio", .type = FLAG_DOUBLE, AT(ratio), .def = "0.5"},
	{.name = "metrics", .type = FLAG_BOOL, AT(metrics), .def = "true"},
	{.name = "host", .type = FLAG_STR, AT(host), .def = "localhost"},
	{.name = "size", .type = FLAG_SIZE, AT(size), .def = "1m"},
	{.name = "timeout", .type = FLAG_MS, AT(timeout_ms)},
	{.name = "drain", .type = FLAG_MS, AT(drain_ms), .alone = "60s"},
	{.name = "path",
	 .type = FLAG_LIST,
	 AT(paths),
	 .def = "a,b",
	 .env = "T_FLAG_PATH"},
};

static const struct flag_prog prog = {
	.name = "prog",
	.usage = "[options] [FILE]…",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
	.args_max = 2,
};

struct fixture {
	struct config config;
	struct flag_set fs;
	struct err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	unsetenv("T_FLAG_PORT");
	unsetenv("T_FLAG_PATH");
	if (!f || flag_init(&f->fs, &prog, &f->config, &f->err))
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	flag_fini(&f->fs);
	flag_fini(&f->fs);
	free(f);
	return 0;
}

/* Parses up to three arguments. */
static int parse(struct fixture *f, const char *a, const char *b, const char *c)
{
	char *argv[] = {(char *)(uintptr_t) "prog", (char *)(uintptr_t)a,
			(char *)(uintptr_t)b, (char *)(uintptr_t)c, NULL};
	int argc = 1;

	while (argv[argc])
		argc++;
	f->err = (struct err){0};
	return flag_parse_args(&f->fs, argc, argv, &f->err);
}

static void assert_refused(struct fixture *f, const char *a, const char *b,
			   const char *said)
{
	assert_true(parse(f, a, b, NULL) < 0);
	if (!strstr(f->err.text, said))
		fail_msg("'%s' lacks '%s'", f->err.text, said);
}

static void test_defaults(void **state)
{
	struct config *c = &((struct fixture *)*state)->config;

	assert_int_equal(c->port, 50051);
	assert_int_equal(c->nice, 0);
	assert_true(c->ratio == 0.5);
	assert_true(c->metrics);
	assert_string_equal(c->host, "localhost");
	assert_int_equal(c->size, MiB);
	assert_int_equal(c->paths.count, 2);
	assert_string_equal(c->paths.items[1], "b");
}

static void test_shapes(void **state)
{
	struct fixture *f = *state;
	struct config *c = &f->config;

	assert_int_equal(parse(f, "--rpc-port=1", "-nice", "-5"), 0);
	assert_int_equal(c->port, 1);
	assert_int_equal(c->nice, -5);
	assert_int_equal(parse(f, "-p", "2", "--ratio=-1.5e3"), 0);
	assert_int_equal(c->port, 2);
	assert_true(c->ratio == -1500);
	assert_int_equal(parse(f, "--nometrics", "--host=", "--size=1.5k"), 0);
	assert_false(c->metrics);
	assert_string_equal(c->host, "");
	assert_int_equal(c->size, 1536);
	assert_int_equal(parse(f, "--metrics", "--timeout", "3s"), 0);
	assert_true(c->metrics);
	assert_int_equal(c->timeout_ms, 3000);
	assert_int_equal(parse(f, "-metrics=false", "--host", "--what=x"), 0);
	assert_false(c->metrics);
	assert_string_equal(c->host, "--what=x");
	assert_int_equal(parse(f, "--no-metrics", "--host=a=b", NULL), 0);
	assert_string_equal(c->host, "a=b");
}

/* Without a value it has its own, and leaves the next word alone. */
static void test_value_left_out(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(f->config.drain_ms, 0);
	assert_int_equal(parse(f, "--drain", "5s", NULL), 0);
	assert_int_equal(f->config.drain_ms, 60000);
	assert_string_equal(f->fs.args.items[0], "5s");
	assert_int_equal(parse(f, "--drain=5s", NULL, NULL), 0);
	assert_int_equal(f->config.drain_ms, 5000);
	assert_refused(f, "--drain=soon", NULL, "30s");
}

static void test_positional(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "one", "--", "--metrics"), 0);
	assert_int_equal(f->fs.args.count, 2);
	assert_string_equal(f->fs.args.items[1], "--metrics");
	assert_refused(f, "three", NULL, "unexpected argument 'three'");
}

/* "-" is stdin and "-1" a number: neither is an option. */
static void test_dash_is_no_option(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "-", "-1", NULL), 0);
	assert_string_equal(f->fs.args.items[0], "-");
	assert_string_equal(f->fs.args.items[1], "-1");
}

static void test_lists(void **state)
{
	struct fixture *f = *state;
	struct flag_list *paths = &f->config.paths;

	setenv("T_FLAG_PATH", "c, d ,", 1);
	assert_int_equal(flag_parse_env(&f->fs, &f->err), 0);
	assert_int_equal(paths->count, 2);
	assert_string_equal(paths->items[1], "d");
	assert_int_equal(parse(f, "--path=x,y", "--path", "z"), 0);
	assert_int_equal(paths->count, 2);
	assert_string_equal(paths->items[0], "x,y");
	assert_string_equal(paths->items[1], "z");
	assert_int_equal(flag_parse_env(&f->fs, &f->err), 0);
	assert_int_equal(paths->count, 2);
}

static void test_list_emptied(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "--path=", NULL, NULL), 0);
	assert_int_equal(f->config.paths.count, 0);
}

static int from_file(struct fixture *f, const char *name, const char *value)
{
	f->err = (struct err){0};
	return flag_set_text(&f->fs, name, str_of(value), FLAG_SRC_FILE,
			     "m.json:3", &f->err);
}

static void test_precedence(void **state)
{
	struct fixture *f = *state;
	struct config *c = &f->config;

	setenv("T_FLAG_PORT", "3", 1);
	assert_int_equal(from_file(f, "rpc-port", "2"), 0);
	assert_int_equal(c->port, 2);
	assert_int_equal(flag_parse_env(&f->fs, &f->err), 0);
	assert_int_equal(c->port, 2);
	assert_int_equal(parse(f, "--port=1", NULL, NULL), 0);
	assert_int_equal(from_file(f, "port", "4"), 0);
	assert_int_equal(c->port, 1);
	/* Overridden values are checked all the same. */
	assert_int_equal(from_file(f, "port", "x"), -EINVAL);
	assert_non_null(strstr(f->err.text, "m.json:3: port: 'x'"));
	setenv("T_FLAG_PORT", "0", 1);
	f->err = (struct err){0};
	assert_int_equal(flag_parse_env(&f->fs, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "T_FLAG_PORT: '0'"));
	setenv("T_FLAG_PORT", "", 1);
	assert_int_equal(flag_parse_env(&f->fs, &f->err), 0);
	assert_int_equal(from_file(f, "prot", "4"), -ENOENT);
	assert_non_null(strstr(f->err.text, "m.json:3: prot: unknown option"));
}

static void test_refusals(void **state)
{
	struct fixture *f = *state;

	assert_refused(f, "--rpc_port=65536", NULL,
		       "--rpc_port: '65536' is not possible; expected a whole "
		       "number from 1 to 65535");
	assert_refused(f, "--rpc_port=-1", NULL, "whole number");
	assert_refused(f, "--rpc_port", NULL, "needs a value");
	assert_refused(f, "--rpc_port=", NULL, "''");
	assert_refused(f, "--host", "--metrics", "--host needs a value");
	assert_refused(f, "--metrics=perhaps", NULL, "true or false");
	assert_refused(f, "--nometrics=1", NULL, "write --metrics=1");
	assert_refused(f, "--nohost", NULL, "unknown option");
	assert_refused(f, "--ratio=nan", NULL, "a number");
	assert_refused(f, "--size=3x", NULL, "64kb");
	assert_refused(f, "--timeout=3d", NULL, "30s");
	assert_refused(f, "--nice=-21", NULL, "from -20 to 19");
	assert_refused(f, "--=1", NULL, "unknown option");
	assert_int_equal(f->config.port, 50051);
}

static void test_ignored(void **state)
{
	struct fixture *f = *state;

	f->config.first = 77;
	assert_int_equal(parse(f, "--old", "9", "--old_switch"), 0);
	assert_int_equal(f->config.first, 77);
	assert_int_equal(f->fs.args.count, 0);
	assert_int_equal(f->fs.source[0], FLAG_SRC_CMDLINE);
}

static void test_required(void **state)
{
	static const struct flag required = {.name = "master",
					     .type = FLAG_STR,
					     AT(host),
					     .env = "T_FLAG_MASTER",
					     .attrs = FLAG_REQUIRED};
	static const struct flag_prog strict = {.name = "strict",
						.flags = &required,
						.flag_count = 1,
						.args_min = 1,
						.args_max = SIZE_MAX};
	char *argv[] = {(char *)(uintptr_t) "strict",
			(char *)(uintptr_t) "file"};
	struct config config = {0};
	struct err err = {0};
	struct flag_set fs;

	assert_int_equal(flag_init(&fs, &strict, &config, &err), 0);
	assert_int_equal(flag_parse_args(&fs, 1, argv, &err), -EINVAL);
	assert_non_null(strstr(err.text, "argument is missing"));
	err = (struct err){0};
	assert_int_equal(flag_parse_args(&fs, 2, argv, &err), 0);
	assert_int_equal(flag_check(&fs, &err), -EINVAL);
	assert_non_null(strstr(err.text, "--master is required"));
	assert_non_null(strstr(err.text, "T_FLAG_MASTER"));
	flag_set_text(&fs, "master", STR("m"), FLAG_SRC_FILE, "f", &err);
	assert_int_equal(flag_check(&fs, &err), 0);
	flag_fini(&fs);
	assert_null(config.host);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int main_status(int argc, char **argv)
{
	struct config config = {0};
	struct flag_set fs;
	int status = -1;

	if (flag_main(&fs, &prog, &config, argc, argv, &status) == 0) {
		assert_int_equal(config.port, 81);
		flag_fini(&fs);
		return -1;
	}
	/* All is given back already. */
	assert_null(config.host);
	return status;
}

static void test_main(void **state)
{
	char *good[] = {"prog", "--port=81", NULL};
	char *help[] = {"prog", "--help", NULL};
	char *wrong[] = {"prog", "--port=eighty", NULL};

	assert_int_equal(main_status(2, good), -1);
	assert_int_equal(main_status(2, help), 0);
	assert_int_equal(main_status(2, wrong), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_defaults),	      TEST(test_shapes),
		TEST(test_value_left_out),    TEST(test_positional),
		TEST(test_dash_is_no_option), TEST(test_lists),
		TEST(test_list_emptied),      TEST(test_precedence),
		TEST(test_refusals),	      TEST(test_main),
		TEST(test_ignored),	      cmocka_unit_test(test_required),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
