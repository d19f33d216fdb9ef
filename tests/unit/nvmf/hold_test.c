/* SPDX-License-Identifier: Apache-2.0 */
/* Writes whose bytes are not copied: when they are done, and when not. */
#include "world.h"

#define BYTES	 4096u
#define WRITES	 12u
#define HOLDS	 3u    /* at a time */
#define COPIED	 4u    /* in a row, then no more */
#define ZEROCOPY 2048u /* more than a Connect has */

struct test_io {
	struct nvmf_io io;
	struct iovec iov;
	uint8_t buf[BYTES];
	int done;
};

static struct test_io ios[WRITES];

static void io_done(struct nvmf_io *io)
{
	struct test_io *t = container_of(io, struct test_io, io);

	assert_false(io_sim_is_held(w.sim, t->buf, sizeof(t->buf)));
	t->done++;
}

static struct test_io *submit(unsigned i, enum nvmf_io_op op, uint32_t bytes)
{
	struct test_io *t = &ios[i];

	memset(t, 0, sizeof(*t));
	memset(t->buf, (int)i + 1, bytes);
	t->iov = (struct iovec){t->buf, bytes};
	t->io = (struct nvmf_io){.done = io_done,
				 .op = op,
				 .nsid = 1,
				 .lba_bytes = FAKE_LBA,
				 .slba = i * (BYTES / FAKE_LBA),
				 .bytes = bytes,
				 .iov = &t->iov,
				 .iovcnt = 1};
	nvmf_io_submit(w.qp, &t->io);
	return t;
}

static void open_holding(uint64_t hold_ms, double copy_rate)
{
	struct io_sim_faults f = {.hold_max_ns = hold_ms * NS_PER_MS,
				  .hold_copy_rate = copy_rate};

	io_sim_set_faults(w.sim, &f);
	w.opts.zerocopy_bytes = ZEROCOPY;
	world_open();
	assert_int_equal(io_sim_hold_count(w.sim), 0);
}

static void a_write_waits_for_its_hold(void **state)
{
	struct test_io *t;

	open_holding(1000, 0);
	t = submit(0, NVMF_WRITE, BYTES);
	world_run_ms(2);
	assert_memory_equal(w.fake.disk, t->buf, BYTES);
	assert_int_equal(t->done, 0);
	assert_true(io_sim_is_held(w.sim, t->buf, BYTES));
	world_until(&t->done);
	assert_int_equal(t->io.sc, NVME_SC_OK);
	assert_int_equal(t->done, 1);
}

static void small_writes_and_reads_are_not_held(void **state)
{
	open_holding(1000, 0);
	submit(0, NVMF_WRITE, FAKE_LBA);
	world_until(&ios[0].done);
	submit(1, NVMF_READ, BYTES);
	world_until(&ios[1].done);
	assert_int_equal(io_sim_hold_count(w.sim), 0);
}

static void off_is_off(void **state)
{
	io_sim_set_faults(w.sim, &(struct io_sim_faults){.hold_max_ns = 1});
	world_open();
	submit(0, NVMF_WRITE, BYTES);
	world_until(&ios[0].done);
	assert_int_equal(io_sim_hold_count(w.sim), 0);
}

/* What comes behind takes another place, at last a plain send. */
static void no_send_waits_for_a_hold(void **state)
{
	unsigned done = 0;

	open_holding(1000, 0);
	for (unsigned i = 0; i < WRITES; i++) {
		submit(i, NVMF_WRITE, BYTES);
		world_run_ms(2);
		assert_memory_equal(w.fake.disk + i * BYTES, ios[i].buf, BYTES);
		done += (unsigned)ios[i].done;
	}
	assert_true(io_sim_hold_count(w.sim) >= HOLDS);
	assert_true(done >= WRITES / 2);
	for (unsigned i = 0; i < WRITES; i++) {
		world_until(&ios[i].done);
		assert_int_equal(ios[i].io.sc, NVME_SC_OK);
	}
}

static void copies_are_given_up(void **state)
{
	open_holding(1, 1);
	for (unsigned i = 0; i < WRITES; i++) {
		submit(i, NVMF_WRITE, BYTES);
		world_until(&ios[i].done);
	}
	assert_int_equal(io_sim_hold_count(w.sim), COPIED);
}

/* --- the end of a connection that holds --- */

static bool talks_nonsense(struct fake_conn *c, const union pdu_hdr *hdr,
			   const uint8_t *data, uint32_t len)
{
	if (!c->qid || hdr->ch.type != PDU_CAPSULE_CMD)
		return false;
	fake_send_raw(c, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	return true;
}

static bool hangs_up(struct fake_conn *c, const union pdu_hdr *hdr,
		     const uint8_t *data, uint32_t len)
{
	if (!c->qid || hdr->ch.type != PDU_CAPSULE_CMD)
		return false;
	fake_hang_up(c);
	return true;
}

static bool is_silent(struct fake_conn *c, const union pdu_hdr *hdr,
		      const uint8_t *data, uint32_t len)
{
	return c->qid && hdr->ch.type == PDU_CAPSULE_CMD;
}

/* In whatever way it ends: what is held is not done, then it is, once. */
static void an_end_waits_for_holds(void **state)
{
	static bool (*const hooks[])(struct fake_conn *, const union pdu_hdr *,
				     const uint8_t *, uint32_t) = {
		NULL, talks_nonsense, hangs_up, is_silent};

	for (unsigned round = 0; round < 4 * ARRAY_SIZE(hooks); round++) {
		w.opts.command_timeout_ms = 500;
		open_holding(3000, 0);
		w.fake.hook = hooks[round % ARRAY_SIZE(hooks)];
		for (unsigned i = 0; i < 2 * HOLDS; i++)
			submit(i, NVMF_WRITE, BYTES);
		world_run_ms(round / ARRAY_SIZE(hooks));
		nvmf_qp_close(TAKE(w.qp), world_counted, &w.qp_closed);
		world_until(&w.qp_closed);
		for (unsigned i = 0; i < 2 * HOLDS; i++)
			assert_int_equal(ios[i].done, 1);
		assert_true(io_sim_hold_count(w.sim) > 0);
		world_reset();
	}
}

#define T_TEST(f)                                                              \
	cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_TEST(a_write_waits_for_its_hold),
		T_TEST(small_writes_and_reads_are_not_held),
		T_TEST(off_is_off),
		T_TEST(no_send_waits_for_a_hold),
		T_TEST(copies_are_given_up),
		T_TEST(an_end_waits_for_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
