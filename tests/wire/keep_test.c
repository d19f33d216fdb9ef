/* SPDX-License-Identifier: Apache-2.0 */
/* Reservations that outlive the target (PTPL), as hosts see them: with --state,
 * and without. */
#include "t_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/time.h"
#include "control/control.h"
#include "target/resv.h"

#define SC(sc)	   ((sc)&NVME_SC_MASK)
#define HOSTS	   2
#define BLOCK	   4096
#define PERSIST	   (3u << 30) /* CPTPL */
#define PERSIST_NO (2u << 30)
#define FID	   0x83

static struct t_target target;
static struct control ctl;
static struct t_wire admin[HOSTS], io[HOSTS];
static char folder[] = "/tmp/mc-keep-XXXXXX", path[64], tmp[80];
static bool is_kept;

/* Which target it is: one subsystem of the options, one namespace of calls. */
static const char first_state[] =
	"{\"subsystems\":[{\"subsystem\":\"bdev\",\"config\":[{\"method\":"
	"\"bdev_malloc_create\",\"params\":{\"name\":\"M\",\"num_blocks\":64,"
	"\"block_size\":4096}}]},{\"subsystem\":\"nvmf\",\"config\":[{"
	"\"method\":\"nvmf_subsystem_add_ns\",\"params\":{\"nqn\":\"" T_WIRE_NQN
	"\",\"namespace\":{\"bdev_name\":\"M\",\"nsid\":1,\"uuid\":"
	"\"11111111-2222-4333-8444-555555555555\"}}}]}]}";

static void open_control(void *arg)
{
	struct err err = {0};
	struct bdev *bdev;

	control_init(&ctl, target.control.loop, target.tgt);
	ctl.given_discovery = target.disc_addr;
	if (is_kept) {
		if (control_remember(&ctl, path, &err))
			fail_msg("%s", err.text);
		return;
	}
	assert_int_equal(bdev_ram_create(NULL, 64 * BLOCK, &bdev, &err), 0);
	assert_int_equal(tgt_ns_add(target.ss, bdev, NULL, &err), 1);
}

static void start(void)
{
	t_target_start(&target, NULL, 1);
	shard_call(&target.control, open_control, NULL);
	for (uint8_t h = 0; h < HOSTS; h++) {
		admin[h] = io[h] = (struct t_wire){.host = h};
		tw_admin_queue(&admin[h], &target.addr);
		tw_io_queue(&io[h], &target.addr, &admin[h], 1);
	}
}

static void on_closed(void *arg)
{
	gate_open(arg);
}

static void close_control(void *arg)
{
	control_close(&ctl, on_closed, arg);
}

static void stop(void)
{
	struct gate gate;

	for (unsigned h = 0; h < HOSTS; h++) {
		tw_close(&io[h]);
		tw_close(&admin[h]);
	}
	gate_init(&gate);
	shard_call(&target.control, close_control, &gate);
	assert_true(gate_wait_for(&gate, 10 * NS_PER_S));
	t_target_stop(&target);
	control_fini(&ctl);
}

static int setup_kept(void **state)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(first_state, f);
	assert_int_equal(fclose(f), 0);
	is_kept = true;
	start();
	return 0;
}

static int setup_alone(void **state)
{
	is_kept = false;
	start();
	return 0;
}

static int teardown(void **state)
{
	stop();
	unlink(path);
	return 0;
}

static void again(void)
{
	stop();
	start();
}

/* --- commands --- */

static uint16_t resv(unsigned host, uint8_t opcode, uint32_t cdw10,
		     uint64_t key, uint64_t other)
{
	struct nvme_sqe sqe = {.opcode = opcode,
			       .flags = NVME_SQE_PSDT_SGL,
			       .nsid = 1,
			       .cdw10 = cdw10};
	uint64_t keys[2] = {key, other};

	return SC(tw_data_out(&io[host], &sqe, keys, sizeof(keys), true));
}

static uint16_t reg(unsigned host, uint32_t cdw10, uint64_t key, uint64_t new)
{
	return resv(host, NVME_CMD_RESV_REGISTER, cdw10, key, new);
}

static uint16_t acq(unsigned host, unsigned type, uint64_t key)
{
	return resv(host, NVME_CMD_RESV_ACQUIRE, type << 8, key, 0);
}

static uint8_t rescap(void)
{
	static uint8_t page[4096];
	struct nvme_sqe sqe;

	nvme_cmd_identify(&sqe, 0, 1);
	assert_int_equal(tw_admin(&admin[0], &sqe, page, sizeof(page), NULL),
			 0);
	return page[31];
}

/* Of the report: registrants, type, PTPLS. */
static void expect_report(unsigned count, unsigned type, bool is_persistent)
{
	uint8_t out[1024];
	struct nvme_sqe sqe = {.opcode = NVME_CMD_RESV_REPORT,
			       .flags = NVME_SQE_PSDT_SGL,
			       .nsid = 1,
			       .cdw10 = sizeof(out) / 4 - 1,
			       .cdw11 = 1};

	assert_int_equal(tw_admin(&io[0], &sqe, out, sizeof(out), NULL), 0);
	assert_int_equal(out[4], type);
	assert_int_equal(out[5], count);
	assert_int_equal(out[9], is_persistent);
}

static uint16_t write_by(unsigned host)
{
	static uint8_t data[BLOCK];

	return SC(tw_write(&io[host], 1, 0, data, BLOCK, true));
}

static uint16_t feature_set(uint32_t nsid, uint32_t value)
{
	struct nvme_sqe sqe;

	nvme_cmd_set_feature(&sqe, FID, value);
	sqe.nsid = nsid;
	return SC(tw_admin(&admin[0], &sqe, NULL, 0, NULL));
}

static uint16_t feature_get(uint32_t nsid, unsigned select, uint32_t *value)
{
	struct nvme_sqe sqe = {.opcode = NVME_ADM_GET_FEATURES,
			       .flags = NVME_SQE_PSDT_SGL,
			       .nsid = nsid,
			       .cdw10 = FID | select << 8};
	struct nvme_cqe cqe;
	uint16_t sc = SC(tw_admin(&admin[0], &sqe, NULL, 0, &cqe));

	*value = cqe.dw0;
	return sc;
}

/* --- the tests --- */

/* Nobody may believe in what does not happen. */
static void test_alone(void **state)
{
	uint32_t value;

	assert_int_equal(rescap(), 0xfe);
	assert_int_equal(reg(0, PERSIST, 0, 10), NVME_SC_BAD_FIELD);
	assert_int_equal(reg(0, PERSIST_NO, 0, 10), 0);
	expect_report(1, 0, false);
	assert_int_equal(feature_set(1, 1), NVME_SC_FEATURE_NOT_CHANGEABLE);
	assert_int_equal(feature_set(1, 0), 0);
	assert_int_equal(feature_get(1, 0, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(feature_get(1, 3, &value), 0);
	assert_int_equal(value & 4, 0); /* can't be changed */
}

static void test_kept(void **state)
{
	assert_int_equal(rescap(), 0xff);
	assert_int_equal(reg(0, PERSIST, 0, 0xfedcba9876543210), 0);
	assert_int_equal(reg(1, 0, 0, 11), 0);
	assert_int_equal(acq(0, RESV_WRITE_EXCL, 0xfedcba9876543210), 0);
	expect_report(2, RESV_WRITE_EXCL, true);
	again();
	expect_report(2, RESV_WRITE_EXCL, true);
	assert_int_equal(write_by(0), 0);
	assert_int_equal(write_by(1), NVME_SC_RESV_CONFLICT);
	assert_int_equal(acq(1, RESV_EXCL, 11), NVME_SC_RESV_CONFLICT);
	/* What goes on afterwards is kept as well. */
	assert_int_equal(reg(0, RESV_UNREGISTER, 0xfedcba9876543210, 0), 0);
	assert_int_equal(acq(1, RESV_EXCL, 11), 0);
	again();
	expect_report(1, RESV_EXCL, true);
	assert_int_equal(write_by(0), NVME_SC_RESV_CONFLICT);
	assert_int_equal(write_by(1), 0);
}

static void test_not_wanted(void **state)
{
	assert_int_equal(reg(0, 0, 0, 10), 0);
	assert_int_equal(acq(0, RESV_EXCL, 10), 0);
	again();
	expect_report(0, 0, false);
	assert_int_equal(reg(0, PERSIST, 0, 10), 0);
	assert_int_equal(reg(0, PERSIST_NO | RESV_REPLACE, 10, 12), 0);
	expect_report(1, 0, false);
	again();
	expect_report(0, 0, false);
}

static void test_feature(void **state)
{
	uint32_t value;

	assert_int_equal(feature_get(1, 3, &value), 0);
	assert_int_equal(value, 6); /* can be changed, per namespace */
	assert_int_equal(feature_set(0, 1), NVME_SC_BAD_NS);
	assert_int_equal(feature_set(2, 1), NVME_SC_BAD_NS);
	assert_int_equal(feature_set(UINT32_MAX, 1), 0);
	assert_int_equal(feature_get(UINT32_MAX, 0, &value), NVME_SC_BAD_NS);
	assert_int_equal(feature_get(1, 0, &value), 0);
	assert_int_equal(value, 1);
	assert_int_equal(feature_get(1, 1, &value), 0);
	assert_int_equal(value, 0); /* the default */
	again();
	assert_int_equal(feature_get(1, 0, &value), 0);
	assert_int_equal(value, 1);
	expect_report(0, 0, true);
	assert_int_equal(feature_set(1, 0), 0);
	again();
	assert_int_equal(feature_get(1, 0, &value), 0);
	assert_int_equal(value, 0);
}

/* Success is not said of what is not on the disk. */
static void test_disk_full(void **state)
{
	assert_int_equal(mkdir(tmp, 0700), 0);
	assert_int_equal(reg(0, PERSIST, 0, 10), NVME_SC_INTERNAL);
	assert_int_equal(feature_set(1, 1), NVME_SC_INTERNAL);
	assert_int_equal(rmdir(tmp), 0);
	assert_int_equal(reg(0, PERSIST, 0, 10), 0); /* the same again */
	again();
	expect_report(1, 0, true);
}

int main(void)
{
#define KEPT(name) cmocka_unit_test_setup_teardown(name, setup_kept, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_alone, setup_alone,
						teardown),
		KEPT(test_kept),
		KEPT(test_not_wanted),
		KEPT(test_feature),
		KEPT(test_disk_full),
	};
	int ret;

	log_level_max = LOG_WARN;
	if (!mkdtemp(folder))
		return 77;
	snprintf(path, sizeof(path), "%s/state", folder);
	snprintf(tmp, sizeof(tmp), "%s.new", path);
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return ret;
}
