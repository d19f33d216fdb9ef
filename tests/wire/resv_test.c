/* SPDX-License-Identifier: Apache-2.0 */
/* Reservations as three hosts see them: on memory and on a file, with queues
 * on two shards. */
#include "t_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "t_slow.h"
#include "target/resv.h"

#define SC(sc)	   ((sc)&NVME_SC_MASK)
#define NS_BYTES   (1u << 20)
#define BLOCK	   4096
#define HOSTS	   3
#define AER_RESULT 0x00800006u

static struct t_target target;
static struct t_wire admin[HOSTS], io[HOSTS];
static char path[64];
static uint8_t data[2 * BLOCK];
static uint32_t nsid;

static int setup(void **state)
{
	struct bdev_file_opts fo = {.path = path, .create_size = NS_BYTES};
	struct err err = {0};
	struct bdev *bdev;

	t_target_start(&target, NULL, 2);
	snprintf(path, sizeof(path), "/tmp/t_resv.%d", getpid());
	assert_int_equal(bdev_ram_create(NULL, NS_BYTES, &bdev, &err), 0);
	assert_int_equal(t_target_add_ns(&target, bdev), 1);
	assert_int_equal(bdev_file_create(&fo, &bdev, &err), 0);
	assert_int_equal(t_target_add_ns(&target, bdev), 2);
	assert_int_equal(t_target_add_ns(&target, t_slow_init(NS_BYTES)), 3);
	for (uint8_t h = 0; h < HOSTS; h++) {
		admin[h] = io[h] = (struct t_wire){.host = h};
		tw_admin_queue(&admin[h], &target.addr);
		tw_io_queue(&io[h], &target.addr, &admin[h], 1);
	}
	return 0;
}

static int teardown(void **state)
{
	for (unsigned h = 0; h < HOSTS; h++) {
		tw_close(&io[h]);
		tw_close(&admin[h]);
	}
	t_target_stop(&target);
	unlink(path);
	return 0;
}

static uint16_t resv(unsigned host, uint8_t opcode, uint32_t cdw10,
		     uint64_t key, uint64_t other)
{
	struct nvme_sqe sqe = {.opcode = opcode,
			       .flags = NVME_SQE_PSDT_SGL,
			       .nsid = nsid,
			       .cdw10 = cdw10};
	uint64_t keys[2] = {key, other};

	return SC(tw_data_out(&io[host], &sqe, keys, sizeof(keys), key & 1));
}

static uint16_t reg(unsigned host, unsigned action, uint64_t key, uint64_t new)
{
	return resv(host, NVME_CMD_RESV_REGISTER, action, key, new);
}

static uint16_t acq(unsigned host, unsigned action, unsigned type, uint64_t key,
		    uint64_t other)
{
	return resv(host, NVME_CMD_RESV_ACQUIRE, action | type << 8, key,
		    other);
}

static uint16_t rel(unsigned host, unsigned action, unsigned type, uint64_t key)
{
	return resv(host, NVME_CMD_RESV_RELEASE, action | type << 8, key, 0);
}

static uint16_t command(unsigned host, uint8_t opcode, bool has_data)
{
	struct nvme_sqe sqe;

	nvme_cmd_rw(&sqe, false, nsid, 0, 1);
	sqe.opcode = opcode;
	if (has_data)
		return SC(tw_data_out(&io[host], &sqe, data, BLOCK, false));
	return SC(tw_admin(&io[host], &sqe, NULL, 0, NULL));
}

static uint16_t deallocate(unsigned host)
{
	uint64_t range[2] = {(uint64_t)1 << 32, 9};
	struct nvme_sqe sqe = {.opcode = NVME_CMD_DSM,
			       .flags = NVME_SQE_PSDT_SGL,
			       .nsid = nsid,
			       .cdw11 = 4};

	return SC(tw_data_out(&io[host], &sqe, range, sizeof(range), true));
}

/* Every command that reads, every one that writes. */
static void may(unsigned host, bool read, bool write)
{
	uint16_t no = NVME_SC_RESV_CONFLICT;
	uint16_t r = read ? 0 : no, w = write ? 0 : no;

	assert_int_equal(SC(tw_write(&io[host], nsid, 0, data, BLOCK, true)),
			 w);
	assert_int_equal(
		SC(tw_write(&io[host], nsid, 0, data, 2 * BLOCK, false)), w);
	assert_int_equal(command(host, NVME_CMD_WRITE_ZEROES, false), w);
	assert_int_equal(deallocate(host), w);
	assert_int_equal(command(host, NVME_CMD_FLUSH, false), w);
	assert_int_equal(command(host, NVME_CMD_VERIFY, false), r);
	if (read)
		assert_int_equal(tw_read(&io[host], nsid, 0, data, BLOCK), 0);
	assert_int_equal(command(host, NVME_CMD_COMPARE, true), r);
}

static void conflicts_are_answered(void **state)
{
	for (nsid = 1; nsid <= 2; nsid++) {
		assert_int_equal(reg(0, RESV_REGISTER, 0, 10), 0);
		assert_int_equal(reg(1, RESV_REGISTER, 0, 11), 0);
		assert_int_equal(acq(0, RESV_ACQUIRE, RESV_EXCL_REG, 10, 0), 0);
		may(0, true, true);
		may(1, true, true);
		may(2, false, false);
		assert_int_equal(rel(0, RESV_RELEASE, RESV_EXCL_REG, 10), 0);
		may(2, true, true);
		assert_int_equal(acq(0, RESV_ACQUIRE, RESV_WRITE_EXCL, 10, 0),
				 0);
		may(0, true, true);
		may(1, true, false);
		may(2, true, false);
		assert_int_equal(acq(1, RESV_ACQUIRE, RESV_WRITE_EXCL, 11, 0),
				 NVME_SC_RESV_CONFLICT);
		assert_int_equal(acq(1, RESV_PREEMPT, RESV_EXCL, 11, 10), 0);
		may(0, false, false);
		may(1, true, true);
		assert_int_equal(rel(1, RESV_CLEAR, 0, 11), 0);
		may(2, true, true);
	}
}

/* A write whose data come after it has lost its right is not done. */
static void late_data_are_fenced(void **state)
{
	static uint8_t old[BLOCK], got[BLOCK], late[BLOCK];
	struct nvme_sqe sqe;
	union pdu_hdr hdr;

	memset(old, 1, sizeof(old));
	memset(late, 2, sizeof(late));
	for (nsid = 1; nsid <= 2; nsid++) {
		assert_int_equal(reg(0, RESV_REGISTER, 0, 10), 0);
		assert_int_equal(reg(1, RESV_REGISTER, 0, 11), 0);
		assert_int_equal(acq(0, RESV_ACQUIRE, RESV_EXCL, 10, 0), 0);
		assert_int_equal(tw_write(&io[0], nsid, 7, old, BLOCK, true),
				 0);
		nvme_cmd_rw(&sqe, true, nsid, 7, 1);
		sqe.sgl = (struct nvme_sgl){.len = BLOCK,
					    .type = NVME_SGL_TRANSPORT};
		tw_send_cmd(&io[0], &sqe, NULL, 0);
		tw_recv(&io[0], &hdr, NULL, 0);
		assert_int_equal(hdr.ch.type, PDU_R2T);
		assert_int_equal(acq(1, RESV_PREEMPT, RESV_EXCL, 11, 10), 0);
		struct pdu_data pdu = {
			.ch = {.type = PDU_H2C_DATA, .flags = PDU_F_LAST},
			.cccid = sqe.cid,
			.ttag = hdr.r2t.ttag,
			.datal = BLOCK};

		tw_send_pdu(&io[0], &pdu.ch, late, BLOCK);
		tw_recv(&io[0], &hdr, NULL, 0);
		assert_int_equal(hdr.resp.cqe.status >> 1,
				 NVME_SC_RESV_CONFLICT | NVME_SC_DNR);
		assert_int_equal(tw_read(&io[1], nsid, 7, got, BLOCK), 0);
		assert_memory_equal(got, old, BLOCK);
		assert_int_equal(rel(1, RESV_CLEAR, 0, 11), 0);
	}
}

static uint16_t next_status(unsigned host, uint16_t cid)
{
	union pdu_hdr hdr;

	tw_recv(&io[host], &hdr, NULL, 0);
	assert_int_equal(hdr.ch.type, PDU_CAPSULE_RESP);
	assert_int_equal(hdr.resp.cqe.cid, cid);
	return hdr.resp.cqe.status >> 1;
}

/* A command whose data go with it; its answer is looked at later. */
static uint16_t send_resv(unsigned host, uint8_t opcode, uint32_t cdw10,
			  uint64_t key, uint64_t other)
{
	struct nvme_sqe sqe = {.opcode = opcode,
			       .flags = NVME_SQE_PSDT_SGL,
			       .nsid = nsid,
			       .cdw10 = cdw10};
	uint64_t keys[2] = {key, other};

	tw_send_cmd(&io[host], &sqe, keys, sizeof(keys));
	return sqe.cid;
}

/* What was sent later is answered first. */
static uint16_t preempt_and_abort(unsigned host)
{
	uint16_t abort = send_resv(host, NVME_CMD_RESV_ACQUIRE,
				   RESV_PREEMPT_ABORT | RESV_EXCL << 8, 11, 10);
	uint16_t other =
		send_resv(host, NVME_CMD_RESV_REGISTER, RESV_REPLACE, 11, 11);

	assert_int_equal(next_status(host, other), 0);
	return abort;
}

/* Preempt and Abort is answered when the medium is free of what was preempted:
 * of what is in the back end, and of what is received straight into memory. */
static void abort_waits_for_the_medium(void **state)
{
	struct nvme_sqe sqe;
	union pdu_hdr hdr;
	uint16_t abort;

	nsid = 3;
	assert_int_equal(reg(0, RESV_REGISTER, 0, 10), 0);
	assert_int_equal(reg(1, RESV_REGISTER, 0, 11), 0);
	assert_int_equal(acq(0, RESV_ACQUIRE, RESV_EXCL, 10, 0), 0);
	nvme_cmd_rw(&sqe, true, nsid, 0, 1);
	tw_send_cmd(&io[0], &sqe, data, BLOCK);
	while (!atomic_load(&t_slow.held))
		usleep(100);
	abort = preempt_and_abort(1);
	t_slow_let_go();
	assert_int_equal(next_status(0, sqe.cid), 0);
	assert_int_equal(next_status(1, abort), 0);
	assert_int_equal(rel(1, RESV_CLEAR, 0, 11), 0);

	nsid = 1;
	assert_int_equal(reg(0, RESV_REGISTER, 0, 10), 0);
	assert_int_equal(reg(1, RESV_REGISTER, 0, 11), 0);
	nvme_cmd_rw(&sqe, true, nsid, 7, 1);
	sqe.sgl = (struct nvme_sgl){.len = BLOCK, .type = NVME_SGL_TRANSPORT};
	tw_send_cmd(&io[0], &sqe, NULL, 0);
	tw_recv(&io[0], &hdr, NULL, 0);
	assert_int_equal(hdr.ch.type, PDU_R2T);
	abort = preempt_and_abort(1);
	struct pdu_data pdu = {
		.ch = {.type = PDU_H2C_DATA, .flags = PDU_F_LAST},
		.cccid = sqe.cid,
		.ttag = hdr.r2t.ttag,
		.datal = BLOCK};

	tw_send_pdu(&io[0], &pdu.ch, data, BLOCK);
	assert_int_equal(next_status(0, sqe.cid), 0);
	assert_int_equal(next_status(1, abort), 0);
	assert_int_equal(rel(1, RESV_CLEAR, 0, 11), 0);
}

static void report_tells(void **state)
{
	struct nvme_sqe sqe = {.opcode = NVME_CMD_RESV_REPORT,
			       .flags = NVME_SQE_PSDT_SGL,
			       .nsid = 1,
			       .cdw10 = 63,
			       .cdw11 = 1};
	uint8_t buf[256];

	nsid = 1;
	assert_int_equal(reg(2, RESV_REGISTER, 0, 0x1122), 0);
	assert_int_equal(acq(2, RESV_ACQUIRE, RESV_EXCL_ALL, 0x1122, 0), 0);
	assert_int_equal(tw_admin(&io[0], &sqe, buf, 256, NULL), 0);
	assert_int_equal(buf[4], RESV_EXCL_ALL);
	assert_int_equal(buf[5], 1);
	assert_int_equal(buf[66], 1);
	assert_int_equal(buf[72], 0x22);
	assert_memory_equal(buf + 80, "\x01\x02\x03\x02", 4);
	assert_int_equal(buf[128], 0);
	sqe.cdw11 = 0; /* 64-bit host ids */
	assert_int_equal(SC(tw_admin(&io[0], &sqe, buf, 256, NULL)),
			 NVME_SC_BAD_HOSTID_FORMAT);
	sqe.cdw11 = 1;
	sqe.cdw10 = UINT32_MAX;
	assert_int_equal(SC(tw_admin(&io[0], &sqe, buf, 256, NULL)),
			 NVME_SC_BAD_FIELD);
	assert_int_equal(rel(2, RESV_CLEAR, 0, 0x1122), 0);
}

static void commands_are_judged(void **state)
{
	static const struct {
		uint8_t opcode;
		uint32_t nsid, cdw10, len;
		uint16_t sc;
	} cases[] = {
		{NVME_CMD_RESV_REGISTER, 9, 0, 16, NVME_SC_BAD_NS},
		{NVME_CMD_RESV_REGISTER, UINT32_MAX, 0, 16, NVME_SC_BAD_NS},
		{NVME_CMD_RESV_REGISTER, 1, 0, 8, NVME_SC_DATA_SGL_LEN},
		{NVME_CMD_RESV_REGISTER, 1, 7, 16, NVME_SC_BAD_FIELD},
		/* would have to survive the target */
		{NVME_CMD_RESV_REGISTER, 1, 3u << 30, 16, NVME_SC_BAD_FIELD},
		{NVME_CMD_RESV_ACQUIRE, 1, 1 << 8, 8, NVME_SC_DATA_SGL_LEN},
		{NVME_CMD_RESV_ACQUIRE, 1, 9 << 8, 16, NVME_SC_BAD_FIELD},
		{NVME_CMD_RESV_ACQUIRE, 1, 1 << 8 | 8, 16, NVME_SC_BAD_FIELD},
		{NVME_CMD_RESV_ACQUIRE, 1, 1 << 8, 16, NVME_SC_RESV_CONFLICT},
		{NVME_CMD_RESV_RELEASE, 1, 1 << 8, 4, NVME_SC_DATA_SGL_LEN},
		{NVME_CMD_RESV_RELEASE, 1, 1 << 8, 8, NVME_SC_RESV_CONFLICT},
	};
	uint64_t keys[2] = {5, 6};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nvme_sqe sqe = {.opcode = cases[i].opcode,
				       .flags = NVME_SQE_PSDT_SGL,
				       .nsid = cases[i].nsid,
				       .cdw10 = cases[i].cdw10};
		uint16_t sc =
			tw_data_out(&io[0], &sqe, keys, cases[i].len, true);

		if (SC(sc) != cases[i].sc)
			fail_msg("case %zu: %#x", i, sc);
	}
}

static uint32_t next_event(unsigned host)
{
	union pdu_hdr hdr;

	tw_recv(&admin[host], &hdr, NULL, 0);
	assert_int_equal(hdr.ch.type, PDU_CAPSULE_RESP);
	assert_int_equal(hdr.resp.cqe.status, 0);
	return hdr.resp.cqe.dw0;
}

static void read_log(unsigned host, uint8_t buf[64])
{
	struct nvme_sqe sqe;

	nvme_cmd_get_log(&sqe, 0x80, 0, 64);
	assert_int_equal(tw_admin(&admin[host], &sqe, buf, 64, NULL), 0);
}

/* What earlier tests have left; the count of the last. */
static uint8_t drain(unsigned host)
{
	uint8_t buf[64], count = 0;

	for (;;) {
		read_log(host, buf);
		if (!buf[0])
			return count;
		count = buf[0];
	}
}

static void notification(unsigned host, uint64_t count, uint8_t event,
			 uint8_t more)
{
	uint8_t buf[64];

	read_log(host, buf);
	assert_int_equal(buf[0], count);
	assert_int_equal(buf[8], event);
	assert_int_equal(buf[9], more);
	assert_int_equal(buf[12], event ? 1 : 0);
}

/* Host 1 takes it from host 0, which is told twice, by one event. */
static void hosts_are_told(void **state)
{
	struct nvme_sqe aer = {.opcode = NVME_ADM_AER, .flags = 0x40}, sqe;

	uint8_t before = drain(0);

	nsid = 1;
	assert_int_equal(reg(0, RESV_REGISTER, 0, 10), 0);
	assert_int_equal(reg(1, RESV_REGISTER, 0, 11), 0);
	assert_int_equal(acq(0, RESV_ACQUIRE, RESV_EXCL, 10, 0), 0);
	tw_send_cmd(&admin[0], &aer, NULL, 0);
	tw_send_cmd(&admin[0], &aer, NULL, 0);
	assert_int_equal(acq(1, RESV_PREEMPT, RESV_EXCL_REG, 11, 10), 0);
	assert_int_equal(next_event(0), AER_RESULT);
	notification(0, before + 1, RESV_EVENT_REGISTRATION_PREEMPTED, 1);
	assert_int_equal(next_event(0), AER_RESULT); /* there is more */
	notification(0, before + 2, RESV_EVENT_PREEMPTED, 0);
	notification(0, 0, 0, 0);
	/* who has masked it is not told */
	assert_int_equal(reg(0, RESV_REGISTER, 0, 10), 0);
	nvme_cmd_set_feature(&sqe, 0x82, 1 << RESV_EVENT_RELEASED);
	sqe.nsid = 1;
	assert_int_equal(tw_admin(&admin[0], &sqe, NULL, 0, NULL), 0);
	assert_int_equal(rel(1, RESV_RELEASE, RESV_EXCL_REG, 11), 0);
	notification(0, 0, 0, 0);
	assert_int_equal(rel(1, RESV_CLEAR, 0, 11), 0);
	notification(0, before + 3, RESV_EVENT_PREEMPTED, 0);
}

/* A registration is the host's, not the connection's. */
static void registrations_outlive_connections(void **state)
{
	nsid = 2;
	assert_int_equal(reg(0, RESV_REGISTER, 0, 10), 0);
	assert_int_equal(acq(0, RESV_ACQUIRE, RESV_EXCL, 10, 0), 0);
	tw_close(&io[0]);
	tw_close(&admin[0]);
	assert_int_equal(SC(tw_write(&io[1], 2, 0, data, BLOCK, true)),
			 NVME_SC_RESV_CONFLICT);
	admin[0] = io[0] = (struct t_wire){0};
	tw_admin_queue(&admin[0], &target.addr);
	tw_io_queue(&io[0], &target.addr, &admin[0], 1);
	may(0, true, true);
	assert_int_equal(rel(0, RESV_CLEAR, 0, 10), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conflicts_are_answered),
		cmocka_unit_test(late_data_are_fenced),
		cmocka_unit_test(abort_waits_for_the_medium),
		cmocka_unit_test(report_tells),
		cmocka_unit_test(commands_are_judged),
		cmocka_unit_test(hosts_are_told),
		cmocka_unit_test(registrations_outlive_connections),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
