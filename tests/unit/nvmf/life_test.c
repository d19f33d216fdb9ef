/* SPDX-License-Identifier: Apache-2.0 */
/* Late commands, closing. */
#include "hang.h"

static void submit_by(struct test_io *t, uint64_t deadline_ns)
{
	memset(t, 0, sizeof(*t));
	t->iov = (struct iovec){t->buf, BYTES};
	t->io = (struct nvmf_io){.done = io_done,
				 .op = NVMF_READ,
				 .nsid = 1,
				 .lba_bytes = FAKE_LBA,
				 .bytes = BYTES,
				 .iov = &t->iov,
				 .iovcnt = 1,
				 .deadline_ns = deadline_ns};
	nvmf_io_submit(w.qp, &t->io);
}

/* --- commands that hang --- */

static void test_abort_saves_the_queue(void **state)
{
	struct test_io *late, *good;
	uint64_t start;

	w.opts.command_timeout_ms = 500;
	open_with_ctrl();
	start_hang(1);
	start = now_ms();
	late = submit(0, NVMF_READ, 4096);
	world_until(&late->done);
	assert_in_range(now_ms() - start, 500, 510);
	assert_int_equal(late->io.sc, NVME_SC_HOST_ABORTED);
	assert_int_equal(h.aborts, 1);
	assert_int_equal(h.sqid, 1);
	good = submit(1, NVMF_READ, 4096);
	world_until(&good->done);
	assert_int_equal(good->io.sc, NVME_SC_OK);
	assert_int_equal(w.qp_failed + w.ctrl_failed, 0);
}

static void test_success_before_abort_counts(void **state)
{
	struct test_io *late;

	w.opts.command_timeout_ms = 500;
	open_with_ctrl();
	start_hang(1);
	h.late_sc = NVME_SC_OK;
	late = submit(0, NVMF_FLUSH, 0);
	world_until(&late->done);
	assert_int_equal(late->io.sc, NVME_SC_OK);
	assert_int_equal(w.qp_failed, 0);
}

static void test_deaf_target_costs_the_queue(void **state)
{
	struct test_io *late;
	uint64_t start;

	w.opts.command_timeout_ms = 500;
	w.opts.abort_timeout_ms = 300;
	open_with_ctrl();
	start_hang(1);
	h.is_deaf = true;
	start = now_ms();
	late = submit(0, NVMF_READ, 4096);
	world_until(&w.qp_failed);
	assert_in_range(now_ms() - start, 799, 810);
	assert_int_equal(late->done, 1);
	assert_int_equal(late->io.sc, NVME_SC_HOST_ABORTED);
	assert_int_equal(w.ctrl_failed, 0);
}

/* ACL 1: two at a time, the others when those are answered. */
static void test_abort_limit(void **state)
{
	w.fake.id.acl = 1;
	w.opts.command_timeout_ms = 500;
	open_with_ctrl();
	start_hang(8);
	h.is_slow = true;
	for (unsigned i = 0; i < 8; i++)
		submit(i, NVMF_READ, 4096);
	world_run_ms(600);
	assert_int_equal(h.aborts, 2);
	for (unsigned n = 0; n < 8; n++) {
		fake_resp(w.fake.conns[0], h.abort_cids[n], NVME_SC_OK, 0);
		h.aborts_now--;
		fake_resp(h.io_conn, h.cids[n], NVME_SC_ABORT_REQUESTED, 0);
		world_run_ms(5);
	}
	assert_int_equal(h.aborts, 8);
	assert_int_equal(h.aborts_most, 2);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(ios[i].done, 1);
	assert_int_equal(w.qp_failed, 0);
}

/* Nothing is sent for an I/O whose time is over, however it waited. */
static void test_deadline(void **state)
{
	struct test_io *sent, *waiting, *next;

	w.opts.io_depth = 2; /* one slot */
	w.opts.command_timeout_ms = 500;
	open_with_ctrl();
	start_hang(1);
	sent = submit(0, NVMF_READ, 4096);
	world_run_ms(5);
	waiting = &ios[1];
	submit_by(waiting, io_sim_now_ns(w.sim) + 100 * NS_PER_MS);
	next = submit(2, NVMF_READ, 4096);
	world_until(&next->done);
	assert_int_equal(sent->io.sc, NVME_SC_HOST_ABORTED);
	assert_int_equal(next->io.sc, NVME_SC_OK);
	assert_int_equal(waiting->done, 1);
	assert_int_equal(waiting->io.sc, NVME_SC_HOST_ABORTED);
	assert_int_equal(waiting->io.issued, 0);
	submit_by(waiting, 1);
	assert_int_equal(waiting->done, 0); /* never inside of the call */
	world_until(&waiting->done);
	assert_int_equal(waiting->io.issued, 0);
	submit_by(waiting, io_sim_now_ns(w.sim) + 100 * NS_PER_MS);
	world_until(&waiting->done);
	assert_int_equal(waiting->io.sc, NVME_SC_OK);
	assert_int_equal(w.qp_failed, 0);
}

/* --- closing --- */

static void test_close_lets_commands_end(void **state)
{
	struct test_io *t;

	open_with_ctrl();
	start_hang(1);
	t = submit(0, NVMF_FLUSH, 0);
	world_run_ms(5);
	nvmf_qp_close(TAKE(w.qp), world_counted, &w.qp_closed);
	world_run_ms(100);
	assert_int_equal(w.qp_closed + t->done, 0);
	fake_resp(h.io_conn, h.cids[0], NVME_SC_OK, 0);
	world_until(&w.qp_closed);
	assert_int_equal(t->done, 1);
	assert_int_equal(t->io.sc, NVME_SC_OK);
}

static void test_close_is_bounded(void **state)
{
	struct test_io *t;
	uint64_t start;

	w.opts.close_timeout_ms = 400;
	open_with_ctrl();
	start_hang(64);
	t = submit(0, NVMF_READ, 4096);
	world_run_ms(5);
	start = now_ms();
	nvmf_qp_close(TAKE(w.qp), world_counted, &w.qp_closed);
	world_until(&w.qp_closed);
	assert_in_range(now_ms() - start, 400, 410);
	assert_int_equal(t->io.sc, NVME_SC_HOST_PATH_ERROR);
}

static bool mute(struct fake_conn *c, const union pdu_hdr *hdr,
		 const uint8_t *data, uint32_t len)
{
	return true;
}

static void test_ctrl_close_is_bounded(void **state)
{
	uint64_t start;

	w.opts.close_timeout_ms = 400;
	world_ctrl_open();
	world_until(&w.ctrl_live);
	w.fake.hook = mute;
	start = now_ms();
	nvmf_ctrl_close(TAKE(w.ctrl), world_counted, &w.ctrl_closed);
	world_until(&w.ctrl_closed);
	assert_in_range(now_ms() - start, 400, 410);
}

static unsigned shst_polls;

static bool shut_slowly(struct fake_conn *c, const union pdu_hdr *hdr,
			const uint8_t *data, uint32_t len)
{
	const struct nvme_sqe *sqe = &hdr->cmd.sqe;

	if (hdr->ch.type != PDU_CAPSULE_CMD || sqe->opcode != NVME_OP_FABRICS ||
	    (sqe->nsid & 0xff) != NVME_FCTYPE_PROP_GET ||
	    sqe->cdw11 != NVME_PROP_CSTS || !c->fake->shutdowns)
		return false;
	shst_polls++;
	fake_resp(c, sqe->cid, NVME_SC_OK, shst_polls < 5 ? 1u << 2 : 2u << 2);
	return true;
}

static void test_shutdown_is_awaited(void **state)
{
	world_ctrl_open();
	world_until(&w.ctrl_live);
	shst_polls = 0;
	w.fake.hook = shut_slowly;
	nvmf_ctrl_close(TAKE(w.ctrl), world_counted, &w.ctrl_closed);
	world_until(&w.ctrl_closed);
	assert_int_equal(w.fake.shutdowns, 1);
	assert_int_equal(shst_polls, 5);
}

static unsigned late_commands, lists;
static int list_ret;

static bool count_late(struct fake_conn *c, const union pdu_hdr *hdr,
		       const uint8_t *data, uint32_t len)
{
	late_commands += hdr->ch.type == PDU_CAPSULE_CMD &&
			 c->fake->shutdowns &&
			 hdr->cmd.sqe.opcode != NVME_OP_FABRICS;
	return false;
}

static void list_done(int ret, const struct nvmf_ns_info *ns, size_t count,
		      void *arg)
{
	list_ret = ret;
	lists++;
}

/* What goes on in steps ends; nothing follows the shutdown. */
static void test_nothing_after_shutdown(void **state)
{
	late_commands = lists = 0;
	world_ctrl_open();
	world_until(&w.ctrl_live);
	w.fake.hook = count_late;
	assert_int_equal(nvmf_ns_list(w.ctrl, list_done, NULL), 0);
	nvmf_ctrl_close(TAKE(w.ctrl), world_counted, &w.ctrl_closed);
	world_until(&w.ctrl_closed);
	assert_int_equal(w.fake.shutdowns, 1);
	assert_int_equal(lists, 1);
	assert_int_equal(list_ret, -ENOTCONN);
	assert_int_equal(late_commands, 0);
}

/* --- a loop that was busy --- */

/*
 * Deadlines pass while the loop's thread does something else, and the answers,
 * more than one receive takes, lie in the socket: they count.
 */
static void test_busy_loop(void **state)
{
	enum {
		LEN = 1 << 20
	};
	struct loop_opts lo = {
		.backend = IO_BACKEND_SIM, .sim = w.sim, .name = "host"};
	struct loop *peer = w.loop;
	uint8_t *buf = malloc(LEN);
	struct test_io t = {.iov = {buf, LEN}};
	struct err err = {0};

	assert_int_equal(loop_create(&lo, &w.loop, &err), 0);
	w.opts.command_timeout_ms = 100;
	world_open();
	t.io = (struct nvmf_io){.done = io_done,
				.nsid = 1,
				.lba_bytes = FAKE_LBA,
				.bytes = LEN,
				.iov = &t.iov,
				.iovcnt = 1};
	nvmf_io_submit(w.qp, &t.io);
	loop_turn(w.loop, 0);
	io_sim_freeze(w.loop, true);
	world_run_ms(200);
	assert_int_equal(t.done, 0);
	io_sim_freeze(w.loop, false);
	world_until(&t.done);
	assert_int_equal(t.io.sc, NVME_SC_OK);
	assert_int_equal(w.qp_failed, 0);
	nvmf_qp_close(TAKE(w.qp), world_counted, &w.qp_closed);
	world_until(&w.qp_closed);
	nvmf_ctrl_close(TAKE(w.ctrl), world_counted, &w.ctrl_closed);
	world_until(&w.ctrl_closed);
	loop_destroy(w.loop);
	w.loop = peer;
	free(buf);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_abort_saves_the_queue),
		T(test_success_before_abort_counts),
		T(test_deaf_target_costs_the_queue),
		T(test_abort_limit),
		T(test_deadline),
		T(test_close_lets_commands_end),
		T(test_close_is_bounded),
		T(test_ctrl_close_is_bounded),
		T(test_shutdown_is_awaited),
		T(test_nothing_after_shutdown),
		T(test_busy_loop),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
