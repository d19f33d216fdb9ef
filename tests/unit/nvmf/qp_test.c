/* SPDX-License-Identifier: Apache-2.0 */
/* I/O: every way of moving bytes, any iovec, and what happens on failure. */
#include "world.h"

#include "base/rand.h"

#define IOV_MAX_TEST 64

struct test_io {
	struct nvmf_io io;
	struct iovec iov[IOV_MAX_TEST];
	uint8_t *buf;
	int done;
};

static int all_done;

static void io_done(struct nvmf_io *io)
{
	struct test_io *t = container_of(io, struct test_io, io);

	t->done++;
	all_done++;
}

/* Cuts bytes into random pieces, in memory that has gaps between them. */
static void io_init(struct test_io *t, enum nvmf_io_op op, uint64_t slba,
		    uint64_t bytes, struct rng *rng)
{
	uint64_t left = bytes, at = 0;
	unsigned n = 0;

	*t = (struct test_io){.io = {.done = io_done,
				     .op = op,
				     .nsid = 1,
				     .lba_bytes = FAKE_LBA,
				     .slba = slba,
				     .bytes = bytes,
				     .iov = t->iov}};
	t->buf = malloc(bytes * 2 + 64 * 64);
	while (left) {
		uint64_t len = rng ? rng_below(rng, bytes / 4 + 2) : left;

		len = n == IOV_MAX_TEST - 1 ? left : MIN(len, left);
		t->iov[n++] = (struct iovec){t->buf + at, len};
		at += len + (rng ? rng_below(rng, 64) : 0);
		left -= len;
	}
	t->io.iovcnt = n;
}

static uint8_t pattern(uint64_t off, unsigned salt)
{
	return (uint8_t)(off * 7 + off / 251 + salt);
}

static void fill(struct test_io *t, unsigned salt)
{
	uint64_t off = t->io.slba * FAKE_LBA;

	for (unsigned i = 0; i < t->io.iovcnt; i++)
		for (size_t k = 0; k < t->iov[i].iov_len; k++)
			((uint8_t *)t->iov[i].iov_base)[k] =
				pattern(off++, salt);
}

static void expect(const struct test_io *t, unsigned salt)
{
	uint64_t off = t->io.slba * FAKE_LBA;

	for (unsigned i = 0; i < t->io.iovcnt; i++)
		for (size_t k = 0; k < t->iov[i].iov_len; k++, off++)
			if (((uint8_t *)t->iov[i].iov_base)[k] !=
			    pattern(off, salt))
				fail_msg("byte %llu is wrong",
					 (unsigned long long)off);
}

static void run(struct test_io *t)
{
	t->done = 0;
	nvmf_io_submit(w.qp, &t->io);
	assert_int_equal(t->done, 0); /* never inside the call */
	world_until(&t->done);
	assert_int_equal(t->done, 1);
}

static void round_trip(uint64_t bytes, unsigned salt, struct rng *rng)
{
	struct test_io t;
	uint64_t slba = rng ? rng_below(rng, 64) : 3;

	io_init(&t, NVMF_WRITE, slba, bytes, rng);
	fill(&t, salt);
	run(&t);
	assert_int_equal(t.io.sc, NVME_SC_OK);
	free(t.buf);
	io_init(&t, NVMF_READ, slba, bytes, rng);
	run(&t);
	assert_int_equal(t.io.sc, NVME_SC_OK);
	expect(&t, salt);
	free(t.buf);
}

/* In-capsule, one R2T, several R2Ts, several commands. */
static void test_sizes(void **state)
{
	static const uint64_t sizes[] = {512,	 4096,	 4608,
					 131072, 131584, 1048576};

	world_open();
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		round_trip(sizes[i], i, NULL);
	w.fake.c2h_piece = 1000;
	w.fake.r2t_piece = 12 * 512;
	w.fake.no_success = true;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		round_trip(sizes[i], i + 100, NULL);
}

/* Every knob at random, in a network that cuts everything to pieces. */
static void test_shapes(void **state)
{
	struct rng rng;

	for (unsigned seed = 1; seed <= 24; seed++) {
		print_message("seed %u\n", seed);
		rng_seed(&rng, seed);
		io_sim_set_faults(
			w.sim, &(struct io_sim_faults){
				       .latency_max_ns = 100 * NS_PER_US,
				       .max_segment = 1 + (uint32_t)rng_below(
								  &rng, 9000)});
		w.opts.hdgst = seed & 1;
		w.opts.ddgst = seed & 2;
		w.fake.cpda = (uint8_t)rng_below(&rng, 32);
		w.fake.maxh2c = 4096 + 4 * (uint32_t)rng_below(&rng, 5000);
		w.fake.c2h_piece = 1 + (uint32_t)rng_below(&rng, 70000);
		w.fake.r2t_piece = 512 + 4 * (uint32_t)rng_below(&rng, 9000);
		w.fake.r2ts = 1 + (unsigned)rng_below(&rng, 4);
		w.fake.r2t_reversed = seed & 8;
		w.fake.no_success = seed & 4;
		w.fake.id.mdts = seed % 3 ? 3 : 0;
		world_open();
		for (unsigned i = 0; i < 6; i++)
			round_trip((1 + rng_below(&rng, 400)) * FAKE_LBA, i,
				   &rng);
		assert_int_equal(w.qp_failed + w.ctrl_failed, 0);
		world_reset();
	}
}

/* The caller's sums are what digests are made of, and what a read gives. */
static void test_block_sums(void **state)
{
	static const uint32_t blocks[] = {512, 1536, 8192, 131072};
	enum {
		BYTES = 130048
	};
	uint32_t sums[BYTES / 512], want[BYTES / 512];
	struct test_io t;

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(blocks); i++) {
		uint32_t size = blocks[i / 2], n = (BYTES + size - 1) / size;

		w.opts.ddgst = i % 2;
		w.fake.c2h_piece = 10000;
		w.fake.r2t_piece = 20000;
		w.fake.id.mdts = 4; /* 64 KiB: less than the largest block */
		world_open();
		io_init(&t, NVMF_WRITE, 0, BYTES, NULL);
		fill(&t, i);
		for (unsigned k = 0; k < n; k++)
			want[k] = crc32c(0, t.buf + k * size,
					 MIN(size, BYTES - k * size));
		t.io.crcs = want;
		t.io.crc_bytes = size;
		run(&t); /* the fake checks each digest */
		assert_int_equal(t.io.sc, NVME_SC_OK);
		t.io.op = NVMF_READ;
		t.io.crcs = sums;
		memset(sums, 0xee, sizeof(sums));
		run(&t);
		assert_int_equal(t.io.sc, NVME_SC_OK);
		assert_int_equal(t.io.has_crcs, size <= 65536);
		if (t.io.has_crcs)
			assert_memory_equal(sums, want, n * sizeof(*sums));
		free(t.buf);
		world_reset();
	}
}

/* One byte per iovec does not fit into any gather as in-capsule data. */
static void test_crumbs(void **state)
{
	enum {
		BYTES = 2048
	};
	struct iovec *iov = calloc(BYTES, sizeof(*iov));
	struct test_io t;

	world_open();
	io_init(&t, NVMF_WRITE, 0, BYTES, NULL);
	fill(&t, 5);
	for (unsigned i = 0; i < BYTES; i++)
		iov[i] = (struct iovec){t.buf + i, 1};
	t.io.iov = iov;
	t.io.iovcnt = BYTES;
	run(&t);
	assert_int_equal(t.io.sc, NVME_SC_OK);
	assert_int_equal(w.fake.h2c_pdus, 3); /* at most 1020 pieces each */
	t.io.op = NVMF_READ;
	memset(t.buf, 0, BYTES);
	run(&t);
	assert_int_equal(t.io.sc, NVME_SC_OK);
	t.io.iovcnt = 1; /* of its own iov again */
	expect(&t, 5);
	free(t.buf);
	free(iov);
}

enum {
	FULL_BYTES = 4608, /* more than fits into a capsule */
	FULL_READS = 4
};
static struct test_io full_reads[FULL_READS];

static void full_done(struct nvmf_io *io)
{
	for (unsigned i = 0; i < FULL_READS; i++)
		nvmf_io_submit(w.qp, &full_reads[i].io);
}

/*
 * A write of crumbs takes all places of a gather, and commands come behind it:
 * the R2T arrives together with the answer to b, whose done() submits them.
 */
static void test_full_gather(void **state)
{
	struct iovec *iov = calloc(FULL_BYTES, sizeof(*iov));
	struct test_io a, b, t;

	world_open();
	io_init(&a, NVMF_READ, 0, 512, NULL);
	io_init(&b, NVMF_READ, 0, 512, NULL);
	io_init(&t, NVMF_WRITE, 0, FULL_BYTES, NULL);
	fill(&t, 6);
	for (unsigned i = 0; i < FULL_BYTES; i++)
		iov[i] = (struct iovec){t.buf + i, 1};
	t.io.iov = iov;
	t.io.iovcnt = FULL_BYTES;
	for (unsigned i = 0; i < FULL_READS; i++)
		io_init(&full_reads[i], NVMF_READ, 64, 512, NULL);
	b.io.done = full_done;
	nvmf_io_submit(w.qp, &a.io);
	nvmf_io_submit(w.qp, &t.io);
	nvmf_io_submit(w.qp, &b.io);
	world_until(&t.done);
	assert_int_equal(t.io.sc, NVME_SC_OK);
	for (unsigned i = 0; i < FULL_READS; i++) {
		world_until(&full_reads[i].done);
		assert_int_equal(full_reads[i].io.sc, NVME_SC_OK);
		free(full_reads[i].buf);
	}
	for (unsigned i = 0; i < FULL_BYTES; i++)
		assert_int_equal(w.fake.disk[i], pattern(i, 6));
	free(a.buf);
	free(b.buf);
	free(t.buf);
	free(iov);
}

static void test_flush_and_range(void **state)
{
	struct test_io t;

	world_open();
	io_init(&t, NVMF_FLUSH, 0, 0, NULL);
	run(&t);
	assert_int_equal(t.io.sc, NVME_SC_OK);
	free(t.buf);
	io_init(&t, NVMF_READ, FAKE_BLOCKS - 1, 1024, NULL);
	run(&t);
	assert_int_equal(t.io.sc & NVME_SC_MASK, NVME_SC_LBA_RANGE);
	assert_int_equal(w.qp_failed, 0);
	free(t.buf);
	round_trip(4096, 1, NULL);
}

/* Far more than the queue takes; a queue of two entries is the smallest. */
static void test_depth(void **state)
{
	static struct test_io ios[100];

	w.opts.io_depth = 2;
	world_open();
	all_done = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(ios); i++) {
		io_init(&ios[i], NVMF_WRITE, i * 8, 4096, NULL);
		fill(&ios[i], 9);
		nvmf_io_submit(w.qp, &ios[i].io);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(ios); i++) {
		world_until(&ios[i].done);
		assert_int_equal(ios[i].io.sc, NVME_SC_OK);
		free(ios[i].buf);
	}
	for (unsigned i = 0; i < 100 * 4096; i++)
		assert_int_equal(w.fake.disk[i], pattern(i, 9));
}

static bool swallow(struct fake_conn *c, const union pdu_hdr *hdr,
		    const uint8_t *data, uint32_t len)
{
	return c->qid != 0;
}

static void test_timeout(void **state)
{
	struct test_io a, b;
	uint64_t start;

	w.opts.command_timeout_ms = 700;
	world_open();
	w.fake.hook = swallow;
	io_init(&a, NVMF_READ, 0, 4096, NULL);
	io_init(&b, NVMF_WRITE, 0, 131072, NULL);
	start = io_sim_now_ns(w.sim);
	nvmf_io_submit(w.qp, &a.io);
	world_run_ms(100);
	nvmf_io_submit(w.qp, &b.io);
	world_until(&w.qp_failed);
	assert_in_range((io_sim_now_ns(w.sim) - start) / NS_PER_MS, 690, 720);
	assert_int_equal(a.done, 1);
	assert_int_equal(a.io.sc, NVME_SC_HOST_ABORTED);
	assert_int_equal(b.done, 1);
	assert_int_equal(b.io.sc, NVME_SC_HOST_PATH_ERROR);
	assert_int_equal(w.err.code, -ETIMEDOUT);
	/* A dead queue answers, but not inside the call. */
	run(&a);
	assert_int_equal(a.io.sc, NVME_SC_HOST_PATH_ERROR);
	free(a.buf);
	free(b.buf);
}

/* The target hangs up after n PDUs: everything is done once, whatever n. */
static void test_cut_anywhere(void **state)
{
	for (int n = 0; n < 40; n++) {
		struct test_io ios[4];

		w.fake.cut_after = n;
		w.fake.c2h_piece = 2048;
		w.fake.r2t_piece = 4096;
		w.fake.no_success = n & 1;
		world_ctrl_open();
		while (!w.ctrl_live && !w.ctrl_failed)
			assert_true(io_sim_step(w.sim, UINT64_MAX));
		if (w.ctrl_live) {
			world_qp_open();
			for (unsigned i = 0; i < 4; i++) {
				io_init(&ios[i], i & 1 ? NVMF_READ : NVMF_WRITE,
					i * 64, 12288, NULL);
				fill(&ios[i], 0);
				nvmf_io_submit(w.qp, &ios[i].io);
			}
			for (unsigned i = 0; i < 4; i++) {
				world_until(&ios[i].done);
				assert_int_equal(ios[i].done, 1);
				free(ios[i].buf);
			}
		}
		world_run_ms(100);
		assert_int_equal(w.ctrl_failed,
				 w.ctrl_live ? w.ctrl_failed : 1);
		world_reset();
	}
}

/* Closing with I/O at every stage; nothing may touch the buffers after. */
static void test_close_busy(void **state)
{
	for (unsigned n = 0; n < 30; n++) {
		struct test_io ios[3];

		w.fake.c2h_piece = 1024;
		w.fake.r2t_piece = 4096;
		world_open();
		for (unsigned i = 0; i < 3; i++) {
			io_init(&ios[i], i & 1 ? NVMF_READ : NVMF_WRITE, i * 64,
				16384, NULL);
			fill(&ios[i], 0);
			nvmf_io_submit(w.qp, &ios[i].io);
		}
		for (unsigned i = 0; i < n; i++)
			io_sim_step(w.sim, UINT64_MAX);
		nvmf_qp_close(w.qp, world_counted, &w.qp_closed);
		w.qp = NULL;
		world_until(&w.qp_closed);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(ios[i].done, 1);
			free(ios[i].buf);
		}
		world_reset();
	}
}

#define TEST(fn)                                                               \
	cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sizes),	 TEST(test_shapes),
		TEST(test_crumbs),	 TEST(test_block_sums),
		TEST(test_full_gather),	 TEST(test_flush_and_range),
		TEST(test_depth),	 TEST(test_timeout),
		TEST(test_cut_anywhere), TEST(test_close_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
