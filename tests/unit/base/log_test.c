/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"

static char text[8192];
static int saved_stderr, pipe_fds[2];

static void capture(void)
{
	assert_int_equal(pipe(pipe_fds), 0);
	saved_stderr = dup(STDERR_FILENO);
	dup2(pipe_fds[1], STDERR_FILENO);
	close(pipe_fds[1]);
}

static const char *captured(void)
{
	ssize_t n;

	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	n = read(pipe_fds[0], text, sizeof(text) - 1);
	close(pipe_fds[0]);
	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static void assert_matches(const char *line, const char *pattern)
{
	regex_t re;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&re, line, 0, NULL, 0))
		fail_msg("'%s' does not match '%s'", line, pattern);
	regfree(&re);
}

#define TIME "^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}\\.[0-9]{6}Z "

static void test_line(void **state)
{
	capture();
	log_warn("segment offline", "segment=%s failures=%u", "s1", 3u);
	assert_matches(captured(),
		       TIME "WARN  base/log_test\\.c:[0-9]+ segment "
			    "offline segment=s1 failures=3\n$");
	log_set_name("prog");
	capture();
	log_info("started");
	assert_matches(captured(),
		       TIME "INFO  prog base/log_test\\.c:[0-9]+ started\n$");
	log_set_name(NULL);
}

/* What comes from outside must not be able to forge a line of its own. */
static void test_escapes(void **state)
{
	capture();
	log_err("bad key", "key=%s", "a\nb\r\t\x1b[1m\x7f ü\\");
	assert_non_null(
		strstr(captured(), "key=a\\nb\\r\\t\\x1b[1m\\x7f ü\\\n"));
}

static void test_long_line_is_cut(void **state)
{
	static char value[5000];
	const char *line;

	memset(value, '\n', sizeof(value) - 1);
	capture();
	log_err("long", "value=%s", value);
	line = captured();
	assert_in_range(strlen(line), 1000, 2048);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void test_levels(void **state)
{
	enum log_level level = LOG_ERROR;

	assert_int_equal(log_level_max, LOG_INFO);
	capture();
	log_debug("not seen");
	log_level_max = LOG_DEBUG;
	log_debug("seen");
	log_level_max = LOG_INFO;
	captured();
	assert_null(strstr(text, "not seen"));
	assert_non_null(strstr(text, "DEBUG"));

	assert_int_equal(log_level_parse("Warning", &level), 0);
	assert_int_equal(level, LOG_WARN);
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_DEBUG);
	assert_int_equal(log_level_parse("error", &level), 0);
	assert_int_equal(level, LOG_ERROR);
	assert_int_equal(log_level_parse("", &level), -EINVAL);
	assert_int_equal(log_level_parse(NULL, &level), -EINVAL);
	assert_int_equal(log_level_parse("loud", &level), -EINVAL);
}

static void test_rate(void **state)
{
	struct log_rate rate = {0};
	uint64_t now = 7 * NS_PER_S;
	uint32_t held = 9;

	assert_true(log_rate_take(&rate, now, &held));
	assert_int_equal(held, 0);
	assert_false(log_rate_take(&rate, now, &held));
	assert_false(log_rate_take(&rate, now + NS_PER_S - 1, &held));
	assert_true(log_rate_take(&rate, now + NS_PER_S, &held));
	assert_int_equal(held, 2);
	assert_true(log_rate_take(&rate, now + 5 * NS_PER_S, &held));
	assert_int_equal(held, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_long_line_is_cut),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
