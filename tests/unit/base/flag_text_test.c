/* SPDX-License-Identifier: Apache-2.0 */
#include "base/flag_text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/flag.h"

struct config {
	uint64_t port, size, timeout_ms;
	char *host;
	bool metrics;
	struct flag_list paths;
};

#define AT(member) .off = offsetof(struct config, member)

static const struct flag flags[] = {
	{.name = "rpc_port",
	 .alias = "port",
	 .type = FLAG_UINT,
	 AT(port),
	 .def = "50051",
	 .min = 1,
	 .max = 65535,
	 .env = "MC_PORT",
	 .arg = "PORT",
	 .group = "Network",
	 .help = "TCP port on which clients and store nodes reach the master, "
		 "which tells them where "
		 "everything else is – in ünïcödé."},
	{.name = "timeout",
	 .type = FLAG_MS,
	 AT(timeout_ms),
	 .def = "500",
	 .help = "How long a call may take."},
	{.name = "secret_knob",
	 .type = FLAG_BOOL,
	 AT(metrics),
	 .attrs = FLAG_HIDDEN},
	{.name = "size",
	 .type = FLAG_SIZE,
	 AT(size),
	 .def = "64mb",
	 .min = 4096,
	 .max = 1 << 30,
	 .group = "Limits",
	 .help = "Memory to use."},
	{.name = "metrics",
	 .type = FLAG_BOOL,
	 AT(metrics),
	 .help = "Count things."},
	{.name = "path",
	 .type = FLAG_LIST,
	 AT(paths),
	 .arg = "PATH",
	 .help = "First line.\nSecond line."},
	{.name = "host", .type = FLAG_STR, AT(host), .attrs = FLAG_REQUIRED},
	{.name = "ancient", .type = FLAG_UINT, .attrs = FLAG_IGNORED},
};

static const struct flag_prog prog = {
	.name = "prog",
	.summary = "does what it should",
	.usage = "[options] FILE",
	.details = "It does so for everybody who asks in a sentence that is "
		   "longer than one line can be.\n\nAnd again.",
	.examples = "  prog --host=a file",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

static void assert_has(const struct strbuf *sb, const char *part)
{
	if (!strstr(sb->p, part))
		fail_msg("'%s' is not in:\n%s", part, sb->p);
}

static void test_help(void **state)
{
	struct strbuf sb = {0};

	flag_format_help(&prog, &sb);
	assert_int_equal(strncmp(sb.p,
				 "prog - does what it should\n\n"
				 "Usage: prog [options] FILE\n\n",
				 54),
			 0);
	assert_has(&sb, "\n\nAnd again.\n\nNetwork:\n  --rpc_port=PORT\n"
			"        TCP port on which");
	assert_has(&sb, "\n\nLimits:\n  --size=SIZE\n        Memory to use. "
			"[default: 64mb; 4kb to 1gb]\n");
	assert_has(&sb, "[default: 500 ms]");
	assert_has(&sb, "  --[no]metrics\n        Count things. "
			"[default: false]\n");
	assert_has(&sb, "        First line.\n        Second line. "
			"[may be repeated]\n");
	assert_has(&sb, "  --host=TEXT\n        [required]\n");
	assert_has(&sb, "no effect:\n  --ancient\n");
	assert_has(&sb, "\nExamples:\n  prog --host=a file\n");
	assert_null(strstr(sb.p, "secret_knob"));
	strbuf_fini(&sb);
}

static size_t columns(struct str line)
{
	size_t n = 0;

	for (size_t i = 0; i < line.n; i++)
		n += (line.p[i] & 0xc0) != 0x80;
	return n;
}

static void test_help_fits_the_screen(void **state)
{
	struct strbuf sb = {0};
	struct str rest;
	size_t widest = 0;

	flag_format_help(&prog, &sb);
	rest = strbuf_str(&sb);
	while (rest.p) {
		struct str line = str_cut(rest, '\n', &rest);

		widest = MAX(widest, columns(line));
		assert_true(!line.n || line.p[line.n - 1] != ' ');
	}
	assert_in_range(widest, 70, 80);
	strbuf_fini(&sb);
}

static void test_did_you_mean(void **state)
{
	static const struct {
		const char *typed, *guess;
	} cases[] = {
		{"rpc_prot", "--rpc_port?"},
		{"rpcport", "--rpc_port?"},
		{"rpc-pott", "--rpc_port?"},
		{"hots", NULL},
		{"hos", "--host?"},
		{"ancien", NULL},
		{"secret_kno", NULL},
		{"", NULL},
		{"completely_different", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str name = str_of(cases[i].typed);
		struct err err = {0};

		assert_int_equal(flag_unknown(&prog, name, "x", &err), -ENOENT);
		if (cases[i].guess)
			assert_non_null(strstr(err.text, cases[i].guess));
		else
			assert_null(strstr(err.text, "did you mean"));
	}
}

static void test_overlong_name(void **state)
{
	char name[1000];
	struct err err = {0};

	memset(name, 'x', sizeof(name));
	assert_int_equal(flag_unknown(&prog, (struct str){name, sizeof(name)},
				      "x", &err),
			 -ENOENT);
}

static void test_values(void **state)
{
	char *argv[] = {(char *)(uintptr_t) "prog",
			(char *)(uintptr_t) "--path=a",
			(char *)(uintptr_t) "--path=b"};
	struct config config = {0};
	struct strbuf sb = {0};
	struct flag_set fs;

	assert_int_equal(flag_init(&fs, &prog, &config, NULL), 0);
	assert_int_equal(flag_parse_args(&fs, 3, argv, NULL), 0);
	flag_format_values(&fs, &sb);
	assert_string_equal(sb.p, "rpc_port=50051 (default)\n"
				  "timeout=500 ms (default)\n"
				  "secret_knob=false (default)\n"
				  "size=67108864 bytes (default)\n"
				  "metrics=false (default)\n"
				  "path=a,b (command line)\n"
				  "host= (default)\n");
	strbuf_fini(&sb);
	flag_fini(&fs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_help_fits_the_screen),
		cmocka_unit_test(test_did_you_mean),
		cmocka_unit_test(test_overlong_name),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
