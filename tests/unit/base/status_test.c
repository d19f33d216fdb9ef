/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const enum mooncake_status all[] = {
#define STATUS(name, code, err, text) MOONCAKE_##name,
#include "base/tbl/status.h"
#undef STATUS
};

static void test_names(void **state)
{
	assert_string_equal(status_name(MOONCAKE_OBJECT_NOT_FOUND),
			    "OBJECT_NOT_FOUND");
	assert_string_equal(status_text(MOONCAKE_OK), "success");
	assert_string_equal(status_name((enum mooncake_status) - 9999),
			    "UNKNOWN");
	assert_string_equal(status_text((enum mooncake_status) - 9999),
			    "unknown status");
}

/* No number is given twice, and only OK is not negative. */
static void test_table(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		assert_true(all[i] < 0 || i == 0);
		assert_true(status_text(all[i])[0] != '\0');
		for (size_t k = 0; k < i; k++)
			assert_true(all[i] != all[k]);
	}
}

static void test_of_errno(void **state)
{
	static const struct {
		int err;
		enum mooncake_status code;
	} cases[] = {
		{0, MOONCAKE_OK},
		{17, MOONCAKE_OK},
		{-EINVAL, MOONCAKE_INVALID_PARAMS},
		{-ENOENT, MOONCAKE_OBJECT_NOT_FOUND},
		{-EEXIST, MOONCAKE_OBJECT_ALREADY_EXISTS},
		{-ENOSPC, MOONCAKE_NO_AVAILABLE_HANDLE},
		{-EILSEQ, MOONCAKE_CHECKSUM_MISMATCH},
		{-ETIMEDOUT, MOONCAKE_RPC_TIMEOUT},
		{-ECONNREFUSED, MOONCAKE_RPC_FAIL},
		{-ECONNRESET, MOONCAKE_RPC_FAIL},
		{-EHOSTUNREACH, MOONCAKE_RPC_FAIL},
		{-EPERM, MOONCAKE_RPC_FAIL},
		{-EPROTONOSUPPORT, MOONCAKE_INVALID_VERSION},
		{-EMSGSIZE, MOONCAKE_BUFFER_OVERFLOW},
		{-EBADMSG, MOONCAKE_DESERIALIZE_FAIL},
		{-ENODEV, MOONCAKE_SEGMENT_NOT_FOUND},
		{-ENOMEM, MOONCAKE_INTERNAL_ERROR},
		{-4000, MOONCAKE_INTERNAL_ERROR},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(status_of_errno(cases[i].err), cases[i].code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_of_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
