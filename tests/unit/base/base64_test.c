/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base64.h"

/* RFC 4648 section 10. */
static const char *const vectors[][2] = {
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
};

static void test_vectors(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		struct strbuf out = {0};

		base64_encode(&out, vectors[i][0], strlen(vectors[i][0]),
			      false);
		assert_true(str_eq(strbuf_str(&out), str_of(vectors[i][1])));
		strbuf_reset(&out);
		assert_int_equal(base64_decode(&out, str_of(vectors[i][1])), 0);
		assert_true(str_eq(strbuf_str(&out), str_of(vectors[i][0])));
		strbuf_fini(&out);
	}
}

static void test_any_bytes(void **state)
{
	struct strbuf text = {0}, back = {0};
	uint8_t bytes[1000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 + i / 256);
	for (size_t n = 0; n <= sizeof(bytes); n += 37) {
		strbuf_reset(&text);
		strbuf_reset(&back);
		base64_encode(&text, bytes, n, true);
		assert_int_equal(base64_decode(&back, strbuf_str(&text)), 0);
		assert_int_equal(back.n, n);
		assert_memory_equal(back.n ? back.p : "", bytes, n);
	}
	strbuf_fini(&text);
	strbuf_fini(&back);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"Z",	    "Zg",    "Zg=",   "Zm9",	  "=",	  "A===",
		"Zg==Zg==", "Zg===", "Zm9v=", "Zm9v Zg=", "Z-==", "Zg=a",
	};
	struct strbuf out = {0};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(base64_decode(&out, str_of(bad[i])), -EINVAL);
	assert_int_equal(base64_decode(&out, (struct str){"Zg\0=", 4}),
			 -EINVAL);
	strbuf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
