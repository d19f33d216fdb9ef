/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_append(void **state)
{
	struct strbuf sb = {0};
	char long_word[100];

	memset(long_word, 'y', sizeof(long_word));
	assert_string_equal(strbuf_str(&sb).p, "");
	strbuf_adds(&sb, "a");
	strbuf_addc(&sb, 'b');
	strbuf_add(&sb, "cdef", 2);
	strbuf_addf(&sb, "%d-%s", 7, "x");
	assert_string_equal(sb.p, "abcd7-x");
	assert_int_equal(sb.n, 7);
	memcpy(strbuf_extend(&sb, 100), long_word, 100);
	assert_int_equal(sb.n, 107);
	assert_memory_equal(sb.p, "abcd7-xyyy", 10);
	assert_int_equal(strlen(sb.p), 107);
	strbuf_reset(&sb);
	assert_string_equal(sb.p, "");
	strbuf_adds(&sb, "z");
	strbuf_fini(&sb);
	strbuf_fini(NULL);
}

/* Every length around each doubling, by both ways to append. */
static void test_growth(void **state)
{
	struct strbuf sb = {0};
	char word[300];

	memset(word, 'w', sizeof(word));
	for (int len = 0; len < 300; len++) {
		strbuf_fini(&sb);
		strbuf_addf(&sb, "%.*s", len, word);
		strbuf_add(&sb, word, (size_t)len);
		assert_int_equal(sb.n, 2 * len);
		assert_int_equal(strlen(sb.p), 2 * len);
	}
	strbuf_fini(&sb);
}

static void test_out_of_memory(void **state)
{
	struct strbuf sb = {0};

	strbuf_adds(&sb, "kept");
	strbuf_add(&sb, "", SIZE_MAX - 1);
	assert_true(sb.failed);
	strbuf_adds(&sb, "dropped");
	assert_null(strbuf_extend(&sb, 1));
	strbuf_addf(&sb, "%s", "dropped");
	assert_string_equal(sb.p, "kept");
	strbuf_fini(&sb);
	assert_false(sb.failed);
}

static void test_size(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1.00 KB"},
		{1536 * MiB, "1.50 GB"},
		{5 * 1024 * GiB, "5.00 TB"},
		{UINT64_MAX, "16384.00 PB"},
	};
	struct strbuf sb = {0};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		strbuf_reset(&sb);
		strbuf_add_size(&sb, cases[i].bytes);
		assert_string_equal(sb.p, cases[i].text);
	}
	strbuf_fini(&sb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
