/* SPDX-License-Identifier: Apache-2.0 */
/* Cancelled commands. */
#include "hang.h"

static void test_cancel(void **state)
{
	struct test_io *sent, *waiting;

	w.opts.io_depth = 2; /* one slot */
	open_with_ctrl();
	start_hang(1);
	sent = submit(0, NVMF_WRITE, 4096);
	world_run_ms(5);
	waiting = submit(1, NVMF_READ, 4096);
	nvmf_io_cancel(w.qp, &waiting->io);
	assert_int_equal(waiting->done, 0);
	world_until(&waiting->done);
	assert_int_equal(waiting->io.sc, NVME_SC_ABORT_REQUESTED);
	assert_int_equal(sent->done, 0);
	nvmf_io_cancel(w.qp, &sent->io);
	nvmf_io_cancel(w.qp, &sent->io);
	world_until(&sent->done);
	assert_int_equal(sent->io.sc, NVME_SC_ABORT_REQUESTED);
	assert_int_equal(h.aborts, 1);
	assert_int_equal(w.qp_failed, 0);
}

/* The memory is the caller's at once, in the middle of the data, too; what
 * comes later goes nowhere, and the slot is used again after the answer only.
 */
static void cancel_read(bool ddgst, bool is_in_pdu)
{
	static char data[4096];
	struct test_io *t, *next;

	w.opts.ddgst = ddgst;
	w.opts.io_depth = 2; /* one slot */
	open_with_ctrl();
	start_hang(1);
	memset(data, 0x77, sizeof(data));
	t = submit(0, NVMF_READ, 4096);
	world_run_ms(5);
	fake_c2h(h.io_conn, h.cids[0], 0, 0, (struct str){data, 1024});
	if (!is_in_pdu)
		world_run_ms(5);
	nvmf_io_cancel(w.qp, &t->io);
	assert_int_equal(t->done, 0);
	world_until(&t->done);
	assert_int_equal(t->io.sc, NVME_SC_ABORT_REQUESTED);
	memset(t->buf, 0xdd, 4096);
	next = submit(1, NVMF_READ, 4096);
	world_run_ms(5);
	assert_int_equal(next->done, 0);
	fake_c2h(h.io_conn, h.cids[0], 1024, PDU_F_LAST,
		 (struct str){data, 3072});
	fake_resp(h.io_conn, h.cids[0], NVME_SC_OK, 0);
	world_until(&next->done);
	assert_int_equal(next->io.sc, NVME_SC_OK);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(t->buf[i], 0xdd);
	assert_int_equal(t->done, 1);
	assert_int_equal(h.aborts + w.qp_failed, 0);
}

static void test_cancel_read(void **state)
{
	cancel_read(false, false);
}

static void test_cancel_read_digest(void **state)
{
	cancel_read(true, false);
}

static void test_cancel_read_arriving(void **state)
{
	cancel_read(false, true);
}

/* A read of BYTES of which the header and half the payload have come. */
static struct test_io *read_half(const char *data)
{
	struct pdu_data hdr = {.ch = {.type = PDU_C2H_DATA}, .datal = BYTES};
	struct test_io *t;

	open_with_ctrl();
	start_hang(1);
	h.is_deaf = true;
	t = submit(0, NVMF_READ, BYTES);
	world_run_ms(5);
	hdr.cccid = h.cids[0];
	pdu_finish(&hdr.ch, BYTES, false, false, 0);
	fake_send_raw(h.io_conn, &hdr, sizeof(hdr));
	fake_send_raw(h.io_conn, data, BYTES / 2);
	world_run_ms(5);
	assert_int_equal(t->buf[BYTES / 2 - 1], (uint8_t)data[0]);
	return t;
}

/* The other half never comes: no deadline of the command is waited for. */
static void test_cancel_read_stops_arriving(void **state)
{
	static char data[BYTES];
	struct test_io *t;
	uint64_t start;

	memset(data, 0x77, sizeof(data));
	w.opts.command_timeout_ms = 30000;
	w.opts.abort_timeout_ms = 300;
	t = read_half(data);
	start = now_ms();
	nvmf_io_cancel(w.qp, &t->io);
	world_run_ms(280);
	assert_int_equal(t->done, 0); /* it is still written to */
	world_until(&t->done);
	assert_in_range(now_ms() - start, 290, 310);
	assert_int_equal(t->io.sc, NVME_SC_ABORT_REQUESTED);
	assert_int_equal(w.qp_failed, 1);
}

/* It was late already: it has what is left of the time that it has for that. */
static void test_cancel_late_read_stops_arriving(void **state)
{
	static char data[BYTES];
	struct test_io *t;
	uint64_t start;

	memset(data, 0x77, sizeof(data));
	w.opts.command_timeout_ms = 500;
	w.opts.abort_timeout_ms = 300;
	t = read_half(data);
	world_run_ms(690);
	assert_int_equal(h.aborts, 1);
	start = now_ms();
	nvmf_io_cancel(w.qp, &t->io);
	world_until(&t->done);
	assert_in_range(now_ms() - start, 50, 120);
	assert_int_equal(t->io.sc, NVME_SC_ABORT_REQUESTED);
	assert_int_equal(w.qp_failed, 1);
}

/* The PDU is complete in time: the command goes on with its own deadline. */
static void test_cancel_read_goes_on_arriving(void **state)
{
	static char data[BYTES];
	struct test_io *t;

	memset(data, 0x77, sizeof(data));
	w.opts.command_timeout_ms = 2000;
	w.opts.abort_timeout_ms = 300;
	t = read_half(data);
	nvmf_io_cancel(w.qp, &t->io);
	world_run_ms(250);
	fake_send_raw(h.io_conn, data, BYTES / 2);
	world_until(&t->done);
	assert_int_equal(t->io.sc, NVME_SC_ABORT_REQUESTED);
	world_run_ms(1500);
	assert_int_equal(h.aborts + w.qp_failed, 0);
	world_run_ms(1000); /* never answered */
	assert_int_equal(h.aborts, 1);
	assert_int_equal(w.qp_failed, 1);
	assert_int_equal(t->done, 1);
}

/* A few bytes of the other half every 100 ms, at most so many times. */
static void trickle(const struct test_io *t, unsigned times)
{
	static char some[8];

	memset(some, 0x77, sizeof(some));
	while (!t->done && times--) {
		fake_send_raw(h.io_conn, some, sizeof(some));
		world_run_ms(100);
	}
}

/* The PDU is slow, but it does not stop: its connection is worth more than the
 * moment. */
static void test_cancel_read_arrives_slowly(void **state)
{
	static char data[BYTES];
	struct test_io *t;

	memset(data, 0x77, sizeof(data));
	w.opts.command_timeout_ms = 5000;
	w.opts.abort_timeout_ms = 300;
	t = read_half(data);
	nvmf_io_cancel(w.qp, &t->io);
	trickle(t, 20);
	assert_int_equal(t->done, 0);
	fake_send_raw(h.io_conn, data, BYTES / 2 - 20 * 8);
	world_until(&t->done);
	assert_int_equal(t->io.sc, NVME_SC_ABORT_REQUESTED);
	world_run_ms(500);
	assert_int_equal(h.aborts + w.qp_failed, 0);
}

/* At most as long as if it had not been cancelled. */
static void test_cancel_read_arrives_forever(void **state)
{
	static char data[BYTES];
	struct test_io *t;
	uint64_t start;

	memset(data, 0x77, sizeof(data));
	w.opts.command_timeout_ms = 1000;
	w.opts.abort_timeout_ms = 300;
	start = now_ms();
	t = read_half(data);
	nvmf_io_cancel(w.qp, &t->io);
	trickle(t, 100);
	assert_in_range(now_ms() - start, 1000, 1500);
	assert_int_equal(t->done, 1);
	assert_int_equal(t->io.sc, NVME_SC_ABORT_REQUESTED);
	assert_int_equal(w.qp_failed, 1);
}

/* Half of it has come, whole: that is not the read. */
static void test_cancel_read_of_two_commands(void **state)
{
	static char data[8192], buf[2 * sizeof(data)];
	struct test_io *t = &ios[0];

	w.fake.id.mdts = 1; /* 8 KiB */
	open_with_ctrl();
	start_hang(2);
	memset(buf, 0, sizeof(buf));
	memset(data, 0x77, sizeof(data));
	t->done = 0;
	t->iov = (struct iovec){buf, sizeof(buf)};
	t->io = (struct nvmf_io){.done = io_done,
				 .op = NVMF_READ,
				 .nsid = 1,
				 .lba_bytes = FAKE_LBA,
				 .bytes = sizeof(buf),
				 .iov = &t->iov,
				 .iovcnt = 1};
	nvmf_io_submit(w.qp, &t->io);
	world_run_ms(5);
	assert_int_equal(h.cid_count, 2);
	io_sim_set_faults(
		w.sim, &(struct io_sim_faults){.latency_max_ns = 20 * NS_PER_MS,
					       .max_segment = 1000});
	fake_c2h(h.io_conn, h.cids[0], 0, PDU_F_LAST | PDU_F_SUCCESS,
		 (struct str){data, sizeof(data)});
	while (!buf[0])
		world_run_ms(1);
	assert_int_equal(buf[sizeof(data) - 1], 0); /* in the middle of it */
	nvmf_io_cancel(w.qp, &t->io);
	world_until(&t->done);
	assert_int_equal(t->io.sc, NVME_SC_ABORT_REQUESTED);
	fake_c2h(h.io_conn, h.cids[1], 0, PDU_F_LAST | PDU_F_SUCCESS,
		 (struct str){data, sizeof(data)});
	world_run_ms(100);
	assert_int_equal(buf[sizeof(data)], 0);
	assert_int_equal(t->done, 1);
	assert_int_equal(h.aborts + w.qp_failed, 0);
}

/* One that is never answered is late like any other. */
static void test_cancel_read_lost(void **state)
{
	struct test_io *t;

	w.opts.command_timeout_ms = 500;
	open_with_ctrl();
	start_hang(1);
	h.is_deaf = true;
	t = submit(0, NVMF_READ, 4096);
	world_run_ms(5);
	nvmf_io_cancel(w.qp, &t->io);
	world_until(&t->done);
	assert_int_equal(w.qp_failed, 0);
	world_until(&w.qp_failed);
	assert_int_equal(t->done, 1);
}

/* In a slot, but behind a gather that is full: no byte of it has left. */
static void test_cancel_unsent(void **state)
{
	struct test_io *t = NULL;

	open_with_ctrl();
	start_hang(0);
	/* 70 in-capsule writes are more than the network takes at once. */
	io_sim_set_faults(w.sim, &(struct io_sim_faults){
					 .latency_min_ns = 5 * NS_PER_MS,
					 .latency_max_ns = 5 * NS_PER_MS});
	for (unsigned i = 0; i < 70; i++)
		t = submit(i, NVMF_WRITE, 4096);
	nvmf_io_cancel(w.qp, &t->io);
	assert_int_equal(t->done, 0);
	world_run_ms(50);
	for (unsigned i = 0; i < 70; i++)
		assert_int_equal(ios[i].done, 1);
	assert_int_equal(ios[68].io.sc, NVME_SC_OK);
	assert_int_equal(t->io.sc, NVME_SC_ABORT_REQUESTED);
	assert_int_equal(h.aborts + w.qp_failed, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_cancel),
		T(test_cancel_read),
		T(test_cancel_read_digest),
		T(test_cancel_read_arriving),
		T(test_cancel_read_stops_arriving),
		T(test_cancel_late_read_stops_arriving),
		T(test_cancel_read_goes_on_arriving),
		T(test_cancel_read_arrives_slowly),
		T(test_cancel_read_arrives_forever),
		T(test_cancel_read_of_two_commands),
		T(test_cancel_read_lost),
		T(test_cancel_unsent),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
