/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames against the bytes a real initiator sent (facts of a captured
 * exchange), and the status table.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "nvme/cmd.h"

static void test_connect(void **state)
{
	static const uint8_t want[64] = {
		[0] = 0x7f, [1] = 0x40, [4] = 0x01,  [39] = 0x5a,
		[42] = 1,   [44] = 127, [48] = 0x10, [49] = 0x27,
	};
	struct nvme_sqe sqe;

	nvme_cmd_connect(&sqe, 1, 127, 10000);
	assert_memory_equal(&sqe, want, sizeof(want));
}

static void test_properties(void **state)
{
	static const uint8_t get[64] = {
		[0] = 0x7f, [1] = 0x40, [4] = 0x04, [39] = 0x5a, [40] = 1,
	};
	static const uint8_t set[64] = {
		[0] = 0x7f,  [1] = 0x40,  [39] = 0x5a,
		[44] = 0x14, [48] = 0x01, [50] = 0x46,
	};
	struct nvme_sqe sqe;

	nvme_cmd_prop_get(&sqe, NVME_PROP_CAP, true);
	assert_memory_equal(&sqe, get, sizeof(get));
	nvme_cmd_prop_set(&sqe, NVME_PROP_CC, false, 0x460001);
	assert_memory_equal(&sqe, set, sizeof(set));
}

static void test_admin(void **state)
{
	static const uint8_t features[64] = {
		[0] = 0x09,  [1] = 0x40,  [39] = 0x5a, [40] = 0x07,
		[44] = 0xff, [45] = 0x03, [46] = 0xff, [47] = 0x03,
	};
	struct nvme_sqe sqe;

	nvme_cmd_set_feature(&sqe, 7, 0x3ff03ff);
	assert_memory_equal(&sqe, features, sizeof(features));
	nvme_cmd_identify(&sqe, 3, 1);
	assert_int_equal(sqe.opcode, 6);
	assert_int_equal(sqe.nsid, 1);
	assert_int_equal(sqe.cdw10, 3);
	nvme_cmd_get_log(&sqe, 0x70, 0x100000400, 0x50000);
	assert_int_equal(sqe.cdw10, 0x3fff0070); /* 0x14000 dwords, less 1 */
	assert_int_equal(sqe.cdw11, 1);
	assert_int_equal(sqe.cdw12, 0x400);
	assert_int_equal(sqe.cdw13, 1);
}

static void test_rw(void **state)
{
	struct nvme_sqe sqe;

	nvme_cmd_rw(&sqe, true, 7, 0x123456789a, 65536);
	assert_int_equal(sqe.opcode, 1);
	assert_int_equal(sqe.nsid, 7);
	assert_int_equal(sqe.cdw10, 0x3456789a);
	assert_int_equal(sqe.cdw11, 0x12);
	assert_int_equal(sqe.cdw12, 0xffff);
	nvme_cmd_rw(&sqe, false, 1, 0, 1);
	assert_int_equal(sqe.opcode, 2);
	assert_int_equal(sqe.cdw12, 0);
}

static void test_status(void **state)
{
	assert_int_equal(nvme_sc_errno(NVME_SC_OK), 0);
	assert_int_equal(nvme_sc_errno(NVME_SC_DNR | NVME_SC_LBA_RANGE),
			 -ERANGE);
	assert_string_equal(nvme_sc_text(NVME_SC_DNR | NVME_SC_LBA_RANGE),
			    "LBA out of range");
	/* Of one range, not of the whole namespace. */
	assert_int_equal(nvme_sc_errno(NVME_SC_READ_ERROR | NVME_SC_DNR),
			 -ENODATA);
	assert_int_equal(nvme_sc_errno(NVME_SC_WRITE_FAULT), -ENODATA);
	assert_int_equal(nvme_sc_errno(NVME_SC(2, 0x99)), -ENODATA);
	assert_int_equal(nvme_sc_errno(NVME_SC_INTERNAL), -EIO);
	assert_string_equal(nvme_sc_text(NVME_SC(2, 0x99)), "media error");
	for (unsigned sc = 0; sc <= UINT16_MAX; sc++) {
		assert_non_null(nvme_sc_text((uint16_t)sc));
		assert_true(nvme_sc_errno((uint16_t)sc) <= 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_properties),
		cmocka_unit_test(test_admin),
		cmocka_unit_test(test_rw),
		cmocka_unit_test(test_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
