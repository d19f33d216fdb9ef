/* SPDX-License-Identifier: Apache-2.0 */
/* NVM commands beside Read, Write and Flush: what they do to each back end,
 * and how they are refused. */
#include "t_wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SC(sc)	   ((sc)&NVME_SC_MASK)
#define BLOCK	   4096u
#define NS_BYTES   (4u << 20)
#define BLOCKS	   (NS_BYTES / BLOCK)
#define WZ_DEAC	   (1u << 25)
#define WZ_FUA	   (1u << 30)
#define DSM_AD	   4u
#define DSM_RANGES 256

enum {
	NS_RAM = 1,
	NS_FILE,
	NS_BUFFERED, /* a file without O_DIRECT */
	NS_READONLY,
	NS_NULL,
	NS_BROKEN
};

struct range {
	uint32_t attributes, nlb;
	uint64_t slba;
};

static struct t_target target;
static struct t_wire admin, io;
static char paths[3][64];
static uint8_t data[8 * BLOCK], got[8 * BLOCK];

/* --- a medium that fails as it is told --- */

static _Atomic int broken_ret;

static void broken_done(struct loop_task *task)
{
	struct bdev_io *bio = container_of(task, struct bdev_io, task);

	bio->ret = broken_ret;
	bio->done(bio);
}

static void broken_submit(struct bdev *bdev, struct loop *loop,
			  struct bdev_io *bio)
{
	bio->task = (struct loop_task){.run = broken_done};
	loop_defer(loop, &bio->task);
}

static void *broken_map(struct bdev *bdev, uint64_t off, uint64_t bytes)
{
	return NULL;
}

static void broken_destroy(struct bdev *bdev)
{
}

static const struct bdev_ops broken_ops = {
	.kind = "broken",
	.submit = broken_submit,
	.map = broken_map,
	.destroy = broken_destroy,
};

static struct bdev broken = {.ops = &broken_ops,
			     .size = NS_BYTES,
			     .block = BLOCK,
			     .can_unmap = true};

/* --- set-up --- */

static void add_file(unsigned i, bool no_direct, bool is_readonly)
{
	struct bdev_file_opts fo = {.path = paths[i],
				    .create_size = NS_BYTES,
				    .no_direct = no_direct};
	struct err err = {0};
	struct bdev *bdev;

	snprintf(paths[i], sizeof(paths[i]), "/tmp/t_cmds.%d.%u", getpid(), i);
	assert_int_equal(bdev_file_create(&fo, &bdev, &err), 0);
	if (is_readonly) {
		bdev->ops->destroy(bdev);
		fo.create_size = 0;
		fo.is_readonly = true;
		assert_int_equal(bdev_file_create(&fo, &bdev, &err), 0);
		assert_true(bdev->is_readonly);
	}
	t_target_add_ns(&target, bdev);
}

static int setup(void **state)
{
	struct err err = {0};
	struct bdev *bdev;

	t_target_start(&target, NULL, 0);
	assert_int_equal(bdev_ram_create(NULL, NS_BYTES, &bdev, &err), 0);
	assert_int_equal(t_target_add_ns(&target, bdev), NS_RAM);
	add_file(0, false, false);
	add_file(1, true, false);
	add_file(2, false, true);
	assert_int_equal(bdev_null_create(NS_BYTES, 0, &bdev, &err), 0);
	assert_int_equal(t_target_add_ns(&target, bdev), NS_NULL);
	assert_int_equal(t_target_add_ns(&target, &broken), NS_BROKEN);
	tw_admin_queue(&admin, &target.addr);
	tw_io_queue(&io, &target.addr, &admin, 1);
	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251 + 1);
	return 0;
}

static int teardown(void **state)
{
	tw_close(&io);
	tw_close(&admin);
	t_target_stop(&target);
	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++)
		unlink(paths[i]);
	return 0;
}

static uint64_t file_blocks(unsigned i)
{
	struct stat st;

	assert_int_equal(stat(paths[i], &st), 0);
	return (uint64_t)st.st_blocks;
}

/* --- commands --- */

static struct nvme_sqe range_cmd(uint8_t opcode, uint32_t nsid, uint64_t slba,
				 uint32_t nlb)
{
	struct nvme_sqe sqe;

	nvme_cmd_rw(&sqe, false, nsid, slba, nlb);
	sqe.opcode = opcode;
	return sqe;
}

static uint16_t write_zeroes(uint32_t nsid, uint64_t slba, uint32_t nlb,
			     uint32_t flags)
{
	struct nvme_sqe sqe = range_cmd(NVME_CMD_WRITE_ZEROES, nsid, slba, nlb);

	sqe.cdw12 |= flags;
	return tw_admin(&io, &sqe, NULL, 0, NULL);
}

static uint16_t dsm(uint32_t nsid, const struct range *ranges, unsigned count,
		    uint32_t flags, bool in_capsule)
{
	static struct range page[DSM_RANGES];
	struct nvme_sqe sqe = {.opcode = NVME_CMD_DSM,
			       .flags = NVME_SQE_PSDT_SGL,
			       .nsid = nsid,
			       .cdw10 = count - 1,
			       .cdw11 = flags};

	memset(page, 0, sizeof(page));
	memcpy(page, ranges, count * sizeof(*ranges));
	/* as Linux does: a whole page */
	return tw_data_out(&io, &sqe, page, sizeof(page), in_capsule);
}

static uint16_t compare(uint32_t nsid, const uint8_t *p, uint32_t len,
			bool in_capsule)
{
	struct nvme_sqe sqe =
		range_cmd(NVME_CMD_COMPARE, nsid, 16, len / BLOCK);

	return tw_data_out(&io, &sqe, p, len, in_capsule);
}

/* Blocks 16 to 23 hold data[] but for n zeroed ones from block first. */
static void holds(uint32_t nsid, unsigned first, unsigned n)
{
	static uint8_t want[sizeof(data)];

	memcpy(want, data, sizeof(data));
	memset(want + first * BLOCK, 0, n * BLOCK);
	assert_int_equal(tw_read(&io, nsid, 16, got, sizeof(got)), 0);
	assert_memory_equal(got, want, sizeof(got));
}

static void fill(uint32_t nsid)
{
	assert_int_equal(tw_write(&io, nsid, 16, data, sizeof(data), false), 0);
}

static void zeroes_are_written(void **state)
{
	static const uint32_t flags[] = {0, WZ_DEAC, WZ_FUA, WZ_DEAC | WZ_FUA};

	for (uint32_t nsid = NS_RAM; nsid <= NS_BUFFERED; nsid++) {
		for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
			fill(nsid);
			assert_int_equal(write_zeroes(nsid, 18, 3, flags[i]),
					 0);
			holds(nsid, 2, 3);
		}
		/* all of it, in one command */
		fill(nsid);
		assert_int_equal(write_zeroes(nsid, 0, BLOCKS, 0), 0);
		holds(nsid, 0, 8);
	}
}

static void deallocation_gives_space_back(void **state)
{
	struct range whole = {.nlb = BLOCKS};
	uint64_t before;

	for (unsigned i = 0; i < 2; i++) {
		fill(NS_FILE);
		before = file_blocks(0);
		assert_true(before * 512 >= 8 * BLOCK);
		if (i)
			assert_int_equal(
				write_zeroes(NS_FILE, 0, BLOCKS, WZ_DEAC), 0);
		else
			assert_int_equal(dsm(NS_FILE, &whole, 1, DSM_AD, true),
					 0);
		assert_true(file_blocks(0) < before);
		assert_int_equal(file_blocks(0), 0);
		holds(NS_FILE, 0, 8);
	}
}

static void ranges_are_deallocated(void **state)
{
	const struct range two[] = {{.slba = 17, .nlb = 1},
				    {.nlb = 0, .slba = UINT64_MAX},
				    {.slba = 18, .nlb = 4}};
	const struct range bad[] = {{.slba = 16, .nlb = 8},
				    {.slba = BLOCKS - 1, .nlb = 2}};
	const struct range wrap = {.slba = UINT64_MAX, .nlb = 2};

	for (uint32_t nsid = NS_RAM; nsid <= NS_BUFFERED; nsid++) {
		for (int in_capsule = 0; in_capsule < 2; in_capsule++) {
			fill(nsid);
			assert_int_equal(dsm(nsid, two, 3, DSM_AD, in_capsule),
					 0);
			holds(nsid, 1, 5);
			fill(nsid);
			/* only a hint */
			assert_int_equal(dsm(nsid, two, 3, 1, in_capsule), 0);
			/* one bad range: nothing happens */
			assert_int_equal(
				SC(dsm(nsid, bad, 2, DSM_AD, in_capsule)),
				NVME_SC_LBA_RANGE);
			assert_int_equal(
				SC(dsm(nsid, &wrap, 1, DSM_AD, in_capsule)),
				NVME_SC_LBA_RANGE);
			holds(nsid, 0, 0);
		}
	}
}

static void contents_are_compared(void **state)
{
	for (uint32_t nsid = NS_RAM; nsid <= NS_BUFFERED; nsid++) {
		for (int in_capsule = 0; in_capsule < 2; in_capsule++) {
			uint32_t len = in_capsule ? 4 * BLOCK : sizeof(data);

			fill(nsid);
			assert_int_equal(compare(nsid, data, len, in_capsule),
					 0);
			memcpy(got, data, len);
			got[len - 1] ^= 1;
			assert_int_equal(
				SC(compare(nsid, got, len, in_capsule)),
				NVME_SC_COMPARE_FAILED);
			holds(nsid, 0, 0); /* it was not a write */
		}
	}
}

static void verify_and_flush(void **state)
{
	struct nvme_sqe sqe;

	for (uint32_t nsid = NS_RAM; nsid <= NS_NULL; nsid++) {
		sqe = range_cmd(NVME_CMD_VERIFY, nsid, 0, 256);
		assert_int_equal(tw_admin(&io, &sqe, NULL, 0, NULL), 0);
		sqe = range_cmd(NVME_CMD_FLUSH, nsid, 0, 1);
		assert_int_equal(tw_admin(&io, &sqe, NULL, 0, NULL), 0);
	}
}

static void null_forgets(void **state)
{
	assert_int_equal(tw_write(&io, NS_NULL, 0, data, sizeof(data), false),
			 0);
	memset(got, 1, sizeof(got));
	assert_int_equal(tw_read(&io, NS_NULL, 0, got, sizeof(got)), 0);
	for (unsigned i = 0; i < sizeof(got); i++)
		assert_int_equal(got[i], 0);
}

static void readonly_is_protected(void **state)
{
	struct range one = {.nlb = 1};

	assert_int_equal(tw_read(&io, NS_READONLY, 0, got, BLOCK), 0);
	memset(got, 0, BLOCK);
	assert_int_equal(compare(NS_READONLY, got, BLOCK, true), 0);
	assert_int_equal(SC(tw_write(&io, NS_READONLY, 0, data, BLOCK, true)),
			 NVME_SC_WRITE_PROTECTED);
	assert_int_equal(SC(tw_write(&io, NS_READONLY, 0, data, BLOCK, false)),
			 NVME_SC_WRITE_PROTECTED);
	assert_int_equal(SC(write_zeroes(NS_READONLY, 0, 1, 0)),
			 NVME_SC_WRITE_PROTECTED);
	assert_int_equal(SC(dsm(NS_READONLY, &one, 1, DSM_AD, true)),
			 NVME_SC_WRITE_PROTECTED);
	assert_int_equal(dsm(NS_READONLY, &one, 1, 0, true), 0);
}

static void refusals(void **state)
{
	static const struct {
		const char *what;
		uint8_t opcode, flags;
		uint32_t nsid;
		uint64_t slba;
		uint32_t nlb, sgl_len;
		uint16_t sc;
	} cases[] = {
		{"wz end", 0x08, 0x40, 1, BLOCKS, 1, 0, NVME_SC_LBA_RANGE},
		{"wz over", 0x08, 0x40, 2, BLOCKS - 1, 2, 0, NVME_SC_LBA_RANGE},
		{"wz wrap", 0x08, 0x40, 2, UINT64_MAX, 2, 0, NVME_SC_LBA_RANGE},
		{"wz large", 0x08, 0x40, 1, 0, 8193, 0, NVME_SC_BAD_FIELD},
		{"wz ns 0", 0x08, 0x40, 0, 0, 1, 0, NVME_SC_BAD_NS},
		{"wz all ns", 0x08, 0x40, UINT32_MAX, 0, 1, 0, NVME_SC_BAD_NS},
		{"verify over", 0x0c, 0x40, 2, BLOCKS, 1, 0, NVME_SC_LBA_RANGE},
		{"verify large", 0x0c, 0x40, 2, 0, 257, 0, NVME_SC_BAD_FIELD},
		{"verify ns", 0x0c, 0x40, 9, 0, 1, 0, NVME_SC_BAD_NS},
		{"compare over", 0x05, 0x40, 1, BLOCKS, 1, BLOCK,
		 NVME_SC_LBA_RANGE},
		{"compare large", 0x05, 0x40, 1, 0, 257, 257 * BLOCK,
		 NVME_SC_BAD_FIELD},
		{"compare sgl", 0x05, 0x40, 1, 0, 2, BLOCK,
		 NVME_SC_DATA_SGL_LEN},
		{"compare fused", 0x05, 0x41, 1, 0, 1, BLOCK,
		 NVME_SC_BAD_FIELD},
		{"write fused", 0x01, 0x42, 1, 0, 1, BLOCK, NVME_SC_BAD_FIELD},
		{"dsm short", 0x09, 0x40, 1, 3, 1, 48, NVME_SC_DATA_SGL_LEN},
		{"dsm long", 0x09, 0x40, 1, 0, 1, 8192, NVME_SC_DATA_SGL_LEN},
		{"dsm ns", 0x09, 0x40, 77, 0, 1, 4096, NVME_SC_BAD_NS},
		{"flush all", 0x00, 0x40, UINT32_MAX, 0, 1, 0, NVME_SC_BAD_NS},
		{"uncorrectable", 0x04, 0x40, 1, 0, 1, 0, NVME_SC_BAD_OPCODE},
		{"copy", 0x19, 0x40, 1, 0, 1, 0, NVME_SC_BAD_OPCODE},
		{"no opcode", 0x03, 0x40, 1, 0, 1, 0, NVME_SC_BAD_OPCODE},
		{"vendor", 0xc1, 0x40, 1, 0, 1, 0, NVME_SC_BAD_OPCODE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nvme_sqe sqe = range_cmd(cases[i].opcode, cases[i].nsid,
						cases[i].slba, cases[i].nlb);
		union pdu_hdr hdr;

		sqe.flags = cases[i].flags;
		sqe.sgl = (struct nvme_sgl){.len = cases[i].sgl_len,
					    .type = NVME_SGL_TRANSPORT};
		tw_send_cmd(&io, &sqe, NULL, 0);
		tw_recv(&io, &hdr, NULL, 0);
		assert_int_equal(hdr.ch.type, PDU_CAPSULE_RESP);
		if (hdr.resp.cqe.status >> 1 != (cases[i].sc | NVME_SC_DNR))
			fail_msg("%s: status %#x, not %#x", cases[i].what,
				 hdr.resp.cqe.status >> 1, cases[i].sc);
	}
}

/* May the host try again? */
static void errors_of_the_medium(void **state)
{
	static const struct {
		int ret;
		uint16_t read, write;
		bool is_final;
	} cases[] = {
		{-EIO, NVME_SC_READ_ERROR, NVME_SC_WRITE_FAULT, false},
		{-ENODATA, NVME_SC_READ_ERROR, NVME_SC_WRITE_FAULT, true},
		{-ENOSPC, NVME_SC_CAP_EXCEEDED, NVME_SC_CAP_EXCEEDED, true},
		{-EROFS, NVME_SC_WRITE_PROTECTED, NVME_SC_WRITE_PROTECTED,
		 true},
		{-EPERM, NVME_SC_ACCESS_DENIED, NVME_SC_ACCESS_DENIED, true},
		{-ENOMEM, NVME_SC_INTERNAL, NVME_SC_INTERNAL, false},
		{-ENODEV, NVME_SC_NS_NOT_READY, NVME_SC_NS_NOT_READY, false},
		{-EINVAL, NVME_SC_INTERNAL, NVME_SC_INTERNAL, true},
	};
	struct range one = {.nlb = 1};
	uint16_t sc[5];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint16_t end = cases[i].is_final ? NVME_SC_DNR : 0;

		broken_ret = cases[i].ret;
		sc[0] = tw_read(&io, NS_BROKEN, 0, got, BLOCK);
		sc[1] = tw_write(&io, NS_BROKEN, 0, data, BLOCK, false);
		sc[2] = compare(NS_BROKEN, data, BLOCK, true);
		sc[3] = write_zeroes(NS_BROKEN, 0, 1, 0);
		sc[4] = dsm(NS_BROKEN, &one, 1, DSM_AD, true);
		for (unsigned c = 0; c < 5; c++) {
			uint16_t want = c % 2 || c == 4 ? cases[i].write
							: cases[i].read;

			sc[c] &= (uint16_t)~NVME_SC_MORE;
			if (sc[c] != (want | end))
				fail_msg("errno %d, command %u: %#x",
					 -cases[i].ret, c, sc[c]);
		}
	}
}

/* A file that somebody makes longer is longer for the host too. */
static void growth_is_noticed(void **state)
{
	struct nvme_sqe sqe, aer = {.opcode = NVME_ADM_AER, .flags = 0x40};
	union pdu_hdr hdr;
	uint64_t nsze;

	nvme_cmd_set_feature(&sqe, 0x0b, 0x100);
	assert_int_equal(tw_admin(&admin, &sqe, NULL, 0, NULL), 0);
	tw_send_cmd(&admin, &aer, NULL, 0);
	assert_int_equal(SC(tw_read(&io, NS_BUFFERED, BLOCKS, got, BLOCK)),
			 NVME_SC_LBA_RANGE);
	assert_int_equal(truncate(paths[1], NS_BYTES + 8192), 0);
	assert_int_equal(tw_read(&io, NS_BUFFERED, BLOCKS, got, BLOCK), 0);
	tw_recv(&admin, &hdr, NULL, 0);
	assert_int_equal(hdr.resp.cqe.cid, aer.cid);
	assert_int_equal(hdr.resp.cqe.dw0, 0x00040002);
	nvme_cmd_identify(&sqe, 0x00, NS_BUFFERED);
	assert_int_equal(tw_admin(&admin, &sqe, got, 4096, NULL), 0);
	memcpy(&nsze, got, sizeof(nsze));
	assert_int_equal(nsze, BLOCKS + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zeroes_are_written),
		cmocka_unit_test(deallocation_gives_space_back),
		cmocka_unit_test(ranges_are_deallocated),
		cmocka_unit_test(contents_are_compared),
		cmocka_unit_test(verify_and_flush),
		cmocka_unit_test(null_forgets),
		cmocka_unit_test(readonly_is_protected),
		cmocka_unit_test(refusals),
		cmocka_unit_test(errors_of_the_medium),
		cmocka_unit_test(growth_is_noticed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
