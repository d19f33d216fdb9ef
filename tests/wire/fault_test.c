/* SPDX-License-Identifier: Apache-2.0 */
/* Each kind of fault, as a host sees it on the wire. */
#include "t_wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc.h"
#include "base/time.h"
#include "target/fault.h"

#define BLOCK	 4096u
#define NS_BYTES (1u << 20)
#define LEN	 (8 * BLOCK)
#define SC(sc)	 ((sc)&NVME_SC_MASK)

static struct t_target target;
static unsigned shard_count;
static uint8_t *disk; /* what namespace 1, in memory, holds */
static uint32_t ns_file;
static char path[64];
static uint8_t data[LEN], got[LEN];

static int setup(void **state)
{
	struct bdev *bdev;
	struct err err = {0};
	struct bdev_file_opts fo = {.path = path, .create_size = NS_BYTES};

	snprintf(path, sizeof(path), "/tmp/t_fault.%d", getpid());
	unlink(path);
	disk = aligned_alloc(BLOCK, NS_BYTES);
	t_target_start(&target, NULL, shard_count);
	assert_int_equal(bdev_ram_create(disk, NS_BYTES, &bdev, &err), 0);
	t_target_add_ns(&target, bdev);
	assert_int_equal(bdev_file_create(&fo, &bdev, &err), 0);
	ns_file = t_target_add_ns(&target, bdev);
	return 0;
}

static int teardown(void **state)
{
	t_target_stop(&target);
	unlink(path);
	free(disk);
	return 0;
}

/* --- rules, from the control loop --- */

struct call {
	const char *text;
	struct err err;
	uint32_t id;
	uint64_t injected;
};

static void do_set(void *arg)
{
	struct call *call = arg;

	tgt_fault_set(target.tgt, call->text, &call->id, &call->err);
}

static void set(const char *text)
{
	struct call call = {.text = text};

	shard_call(&target.control, do_set, &call);
	if (!call.id)
		fail_msg("%s", call.err.text);
}

static void on_listed(const struct tgt_fault_info *info, void *arg)
{
	*(uint64_t *)arg += info->injected;
}

static void do_clear(void *arg)
{
	tgt_fault_list(target.tgt, on_listed, arg);
	tgt_fault_clear(target.tgt, 0);
}

/* How often they hit. */
static uint64_t clear(void)
{
	uint64_t hits = 0;

	shard_call(&target.control, do_clear, &hits);
	return hits;
}

static void do_count(void *arg)
{
	tgt_fault_list(target.tgt, on_listed, arg);
}

/* Until they have hit so often. */
static void await_hits(uint64_t want)
{
	uint64_t hits = 0;

	for (int i = 0; i < 50000 && hits < want; i++) {
		usleep(100);
		hits = 0;
		shard_call(&target.control, do_count, &hits);
	}
	assert_true(hits >= want);
}

/* --- a host --- */

static struct t_wire admin, io;

static void open_host(bool hdgst, bool ddgst)
{
	admin = (struct t_wire){.hdgst = hdgst, .ddgst = ddgst};
	io = (struct t_wire){.hdgst = hdgst, .ddgst = ddgst};
	tw_admin_queue(&admin, &target.addr);
	tw_io_queue(&io, &target.addr, &admin, 1);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / BLOCK);
	memset(disk, 0xee, NS_BYTES);
}

static void close_host(void)
{
	tw_close(&io);
	tw_close(&admin);
}

/* All is well again. */
static void expect_good(void)
{
	assert_int_equal(tw_write(&io, 1, 40, data, LEN, false), 0);
	memset(got, 0, sizeof(got));
	assert_int_equal(tw_read(&io, 1, 40, got, LEN), 0);
	assert_memory_equal(got, data, LEN);
}

static void send_read(uint32_t len, struct nvme_sqe *sqe)
{
	nvme_cmd_rw(sqe, false, 1, 0, len / BLOCK);
	sqe->sgl = (struct nvme_sgl){.len = len, .type = NVME_SGL_TRANSPORT};
	tw_send_cmd(&io, sqe, NULL, 0);
}

static void errors_have_the_status(void **state)
{
	open_host(false, false);
	set("kind=error,op=read,nsid=1,every=2");
	set("kind=error,op=write,status=0x4181");
	assert_int_equal(tw_read(&io, 1, 0, got, LEN), 0);
	assert_int_equal(tw_read(&io, 1, 0, got, LEN), NVME_SC_READ_ERROR);
	assert_int_equal(tw_read(&io, ns_file, 0, got, LEN), 0);
	memset(disk, 0xee, LEN);
	/* with the data in the capsule, and waiting for an R2T that comes not
	 */
	assert_int_equal(tw_write(&io, 1, 0, data, BLOCK, true), 0x4181);
	assert_int_equal(tw_write(&io, 1, 0, data, LEN, false), 0x4181);
	assert_int_equal(disk[0], 0xee);
	assert_int_equal(clear(), 3);
	expect_good();
	close_host();
}

static void delays_hold_the_answer(void **state)
{
	uint64_t start_ns;

	open_host(true, true);
	set("kind=delay,ms=60,op=read");
	start_ns = time_mono_ns();
	assert_int_equal(tw_write(&io, 1, 0, data, LEN, false), 0);
	assert_int_equal(tw_read(&io, 1, 0, got, LEN), 0);
	assert_true(time_mono_ns() - start_ns >= 60 * NS_PER_MS);
	assert_memory_equal(got, data, LEN);
	assert_int_equal(tw_write(&io, ns_file, 0, data, LEN, false), 0);
	memset(got, 0, LEN);
	assert_int_equal(tw_read(&io, ns_file, 0, got, LEN), 0);
	assert_memory_equal(got, data, LEN);
	assert_int_equal(clear(), 2);
	close_host();
}

static void clearing_lets_go(void **state)
{
	struct nvme_sqe sqe;
	union pdu_hdr hdr;

	open_host(false, false);
	set("kind=delay,ms=3600000");
	send_read(LEN, &sqe);
	nvme_cmd_rw(&sqe, true, 1, 0, 1);
	tw_send_cmd(&io, &sqe, data, BLOCK);
	await_hits(2); /* both have come */
	assert_int_equal(clear(), 2);
	for (int i = 0; i < 3; i++)
		tw_recv(&io, &hdr, got, sizeof(got));
	expect_good();
	close_host();
}

static void rates_slow_down(void **state)
{
	uint64_t start_ns;

	open_host(false, false);
	set("kind=rate,bytes_per_s=1m");
	start_ns = time_mono_ns();
	for (int i = 0; i < 4; i++) /* 32 KiB each: a 32nd of a second */
		assert_int_equal(tw_read(&io, 1, 0, got, LEN), 0);
	assert_true(time_mono_ns() - start_ns >= 4 * NS_PER_S / 32);
	assert_int_equal(clear(), 4);
	close_host();
}

static unsigned bits_that_differ(const uint8_t *a, const uint8_t *b, size_t n)
{
	unsigned count = 0;

	for (size_t i = 0; i < n; i++)
		count += (unsigned)__builtin_popcount(a[i] ^ b[i]);
	return count;
}

/* Below the digests, and never in the medium when it is read. */
static void corruption_is_one_bit(void **state)
{
	const uint32_t ids[] = {1, ns_file};

	open_host(true, true);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tw_write(&io, ids[i], 0, data, LEN, false), 0);
		set("kind=corrupt,count=1");
		assert_int_equal(tw_read(&io, ids[i], 0, got, LEN), 0);
		assert_int_equal(bits_that_differ(got, data, LEN), 1);
		assert_int_equal(tw_read(&io, ids[i], 0, got, LEN), 0);
		assert_memory_equal(got, data, LEN);
		assert_int_equal(clear(), 1);
		set("kind=corrupt,op=write");
		assert_int_equal(tw_write(&io, ids[i], 0, data, LEN, false), 0);
		assert_int_equal(tw_write(&io, ids[i], 16, data, BLOCK, true),
				 0);
		assert_int_equal(clear(), 2);
		assert_int_equal(tw_read(&io, ids[i], 0, got, LEN), 0);
		assert_int_equal(bits_that_differ(got, data, LEN), 1);
		assert_int_equal(tw_read(&io, ids[i], 16, got, BLOCK), 0);
		assert_int_equal(bits_that_differ(got, data, BLOCK), 1);
	}
	close_host();
}

static void torn_writes_stop_half_way(void **state)
{
	open_host(false, false);
	set("kind=torn,blocks=3");
	assert_int_equal(tw_write(&io, 1, 0, data, LEN, false), 0);
	assert_memory_equal(disk, data, 3 * BLOCK);
	assert_int_equal(disk[3 * BLOCK], 0xee);
	assert_int_equal(clear(), 1);
	set("kind=torn,status=0x280");
	assert_int_equal(tw_write(&io, 1, 20, data, BLOCK, true),
			 NVME_SC_WRITE_FAULT);
	assert_int_equal(disk[20 * BLOCK], 0xee);
	assert_int_equal(tw_write(&io, ns_file, 20, data, LEN, false),
			 NVME_SC_WRITE_FAULT);
	assert_int_equal(clear(), 2);
	expect_good();
	close_host();
}

static void writes_land_elsewhere(void **state)
{
	uint64_t last = NS_BYTES / BLOCK - 8;

	open_host(false, false);
	set("kind=misdirect,shift=16");
	assert_int_equal(tw_write(&io, 1, 0, data, LEN, false), 0);
	assert_int_equal(disk[0], 0xee);
	assert_memory_equal(disk + 16 * BLOCK, data, LEN);
	/* at the end it is moved the other way */
	assert_int_equal(tw_write(&io, 1, last, data, LEN, false), 0);
	assert_int_equal(disk[last * BLOCK], 0xee);
	assert_memory_equal(disk + (last - 16) * BLOCK, data, LEN);
	assert_int_equal(clear(), 2);
	expect_good();
	close_host();
}

static void dropped_ones_are_done_but_not_told(void **state)
{
	struct nvme_sqe sqe;

	open_host(false, false);
	set("kind=drop,once");
	nvme_cmd_rw(&sqe, true, 1, 0, 1);
	tw_send_cmd(&io, &sqe, data, BLOCK);
	expect_good(); /* the answers to what came later */
	assert_memory_equal(disk, data, BLOCK);
	assert_int_equal(clear(), 1);
	close_host();
}

static void connections_end(void **state)
{
	struct nvme_sqe sqe;
	ssize_t ret;
	char c;

	open_host(false, false);
	set("kind=disconnect,after=2");
	for (int i = 0; i < 2; i++)
		assert_int_equal(tw_read(&io, 1, 0, got, LEN), 0);
	send_read(LEN, &sqe);
	tw_expect_eof(&io);
	assert_int_equal(clear(), 1);
	tw_close(&io);
	io = (struct t_wire){0};
	tw_io_queue(&io, &target.addr, &admin, 2);
	set("kind=disconnect,how=rst,qid=2");
	send_read(LEN, &sqe);
	do
		ret = recv(io.fd, &c, 1, 0);
	while (ret < 0 && errno == EINTR);
	assert_int_equal(ret, -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(clear(), 1);
	close_host();
}

static void stalls_end(void **state)
{
	static const char *const rules[] = {"kind=stall,side=rx,ms=50,once",
					    "kind=stall,side=tx,ms=50,once",
					    "kind=stall,ms=50,once"};
	uint64_t start_ns;

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		open_host(true, false);
		set(rules[i]);
		start_ns = time_mono_ns();
		assert_int_equal(tw_read(&io, 1, 0, got, LEN), 0);
		assert_int_equal(tw_read(&io, 1, 0, got, LEN), 0);
		assert_true(time_mono_ns() - start_ns >= 50 * NS_PER_MS);
		expect_good();
		assert_int_equal(clear(), 1);
		close_host();
	}
}

/* Nothing is answered, TCP lives, other connections are served. */
static void stalled_until_cleared(void **state)
{
	struct nvme_sqe sqe;
	union pdu_hdr hdr;
	struct t_wire other = {0};

	open_host(false, false);
	tw_io_queue(&other, &target.addr, &admin, 2);
	set("kind=stall,qid=1");
	send_read(BLOCK, &sqe);
	send_read(BLOCK, &sqe);
	for (int i = 0; i < 20; i++)
		assert_int_equal(tw_read(&other, 1, 0, got, LEN), 0);
	assert_int_equal(recv(io.fd, got, 1, MSG_DONTWAIT), -1);
	clear();
	for (int i = 0; i < 4; i++)
		tw_recv(&io, &hdr, got, sizeof(got));
	expect_good();
	tw_close(&other);
	close_host();
}

static void connects_are_refused(void **state)
{
	struct t_wire w = {0};

	open_host(false, false);
	set("kind=refuse,count=1,host=" T_WIRE_HOSTNQN);
	tw_start(&w, &target.addr);
	assert_int_equal(tw_connect(&w, T_WIRE_NQN, 0, 0xffff, NULL),
			 NVME_SC_CONNECT_CTRL_BUSY);
	assert_int_equal(tw_connect(&w, T_WIRE_NQN, 0, 0xffff, NULL), 0);
	tw_close(&w);
	assert_int_equal(clear(), 1);
	set("kind=refuse,nqn=nqn.another");
	w = (struct t_wire){0};
	tw_admin_queue(&w, &target.addr);
	tw_close(&w);
	assert_int_equal(clear(), 0);
	expect_good();
	close_host();
}

/* --- a target that breaks the rules --- */

static uint32_t recv_u32(void)
{
	uint32_t v;

	assert_int_equal(recv(io.fd, &v, sizeof(v), MSG_WAITALL), sizeof(v));
	return v;
}

/* The answer to a read, as raw bytes: header, digests right or wrong. */
static void recv_read(uint32_t len, struct pdu_data *pdu, bool *is_hdgst_good,
		      bool *is_ddgst_good)
{
	assert_int_equal(recv(io.fd, pdu, sizeof(*pdu), MSG_WAITALL),
			 sizeof(*pdu));
	assert_int_equal(pdu->ch.type, PDU_C2H_DATA);
	*is_hdgst_good =
		!io.hdgst || recv_u32() == crc32c(0, pdu, sizeof(*pdu));
	assert_int_equal(recv(io.fd, got, len, MSG_WAITALL), len);
	*is_ddgst_good = !io.ddgst || recv_u32() == crc32c(0, got, len);
}

static void lies_are_told(void **state)
{
	static const struct {
		const char *text;
		bool hdgst, ddgst, cid, range;
	} cases[] = {
		{"kind=hdgst", true, false, false, false},
		{"kind=ddgst", false, true, false, false},
		{"kind=wrongcid", false, false, true, false},
		{"kind=badrange", false, false, false, true},
	};
	struct nvme_sqe sqe;
	struct pdu_data pdu;
	bool hdgst, ddgst;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		open_host(true, true);
		set(cases[i].text);
		send_read(LEN, &sqe);
		recv_read(LEN, &pdu, &hdgst, &ddgst);
		assert_int_equal(hdgst, !cases[i].hdgst);
		assert_int_equal(ddgst, !cases[i].ddgst);
		assert_int_equal(pdu.cccid != sqe.cid, cases[i].cid);
		assert_int_equal(pdu.datao >= LEN, cases[i].range);
		assert_int_equal(clear(), 1);
		close_host();
	}
}

static void answers_come_twice(void **state)
{
	struct nvme_sqe sqe;
	union pdu_hdr hdr[2];

	open_host(true, true);
	set("kind=dup");
	nvme_cmd_rw(&sqe, true, 1, 0, 1);
	tw_send_cmd(&io, &sqe, data, BLOCK);
	for (int i = 0; i < 2; i++)
		tw_recv(&io, &hdr[i], NULL, 0);
	assert_memory_equal(&hdr[0].resp, &hdr[1].resp, sizeof(hdr[0].resp));
	clear();
	expect_good();
	close_host();
}

/* What faults hold must not keep a target from ending. */
static void the_target_stops_in_spite_of_faults(void **state)
{
	struct nvme_sqe sqe;

	open_host(false, false);
	set("kind=delay,ms=3600000,op=read,after=1");
	set("kind=drop,op=write");
	set("kind=stall,op=flush");
	assert_int_equal(tw_read(&io, 1, 0, got, LEN), 0);
	send_read(LEN, &sqe);
	nvme_cmd_rw(&sqe, true, 1, 0, 1);
	tw_send_cmd(&io, &sqe, data, BLOCK);
	nvme_cmd_rw(&sqe, true, 1, 0, 1);
	sqe.opcode = NVME_CMD_FLUSH;
	tw_send_cmd(&io, &sqe, NULL, 0);
	teardown(state);
	close_host();
	setup(state);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(errors_have_the_status),
	cmocka_unit_test(delays_hold_the_answer),
	cmocka_unit_test(clearing_lets_go),
	cmocka_unit_test(rates_slow_down),
	cmocka_unit_test(corruption_is_one_bit),
	cmocka_unit_test(torn_writes_stop_half_way),
	cmocka_unit_test(writes_land_elsewhere),
	cmocka_unit_test(dropped_ones_are_done_but_not_told),
	cmocka_unit_test(connections_end),
	cmocka_unit_test(stalls_end),
	cmocka_unit_test(stalled_until_cleared),
	cmocka_unit_test(connects_are_refused),
	cmocka_unit_test(lies_are_told),
	cmocka_unit_test(answers_come_twice),
	cmocka_unit_test(the_target_stops_in_spite_of_faults),
};

int main(void)
{
	int failed;

	failed = cmocka_run_group_tests_name("control loop only", tests, setup,
					     teardown);
	shard_count = 2;
	failed += cmocka_run_group_tests_name("two shards", tests, setup,
					      teardown);
	return failed ? 1 : 0;
}
