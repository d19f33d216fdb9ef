/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Initiator against target in one simulated world per seed: random segments,
 * latencies, shapes and options; in every second world connections reset.
 *
 *	sim_nvmf_target [first seed [count]]
 *
 * Promise: every I/O is done once; what was written is what is read; a region
 * whose write failed is unknown until the next write of it succeeds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "base/time.h"
#include "io/sim.h"
#include "nvmf/nvmf.h"
#include "target/target.h"

#define NQN	     "nqn.2024-01.org.example:sim"
#define REGIONS	     8
#define REGION_BYTES (1u << 20)
#define IOVS	     40
#define IOS_PER_SEED 60

struct region {
	struct nvmf_io io;
	struct iovec iov[IOVS];
	uint8_t *buf, *want;
	bool is_known, is_busy;
};

static struct {
	uint64_t seed;
	struct rng rng;
	struct io_sim *sim;
	struct loop *host, *target;
	struct tgt *tgt;
	struct nvmf_opts opts;
	struct nvmf_ctrl *ctrl;
	struct nvmf_qp *qp;
	bool ctrl_live, qp_live, ctrl_failed, qp_failed;
	unsigned pending_closes, submitted, succeeded, failed;
	uint32_t lba_bytes;
	struct region regions[REGIONS];
	bool is_stopped, is_rough;
} w;

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			fprintf(stderr, "seed %llu: line %d: %s\n",            \
				(unsigned long long)w.seed, __LINE__, #cond);  \
			exit(1);                                               \
		}                                                              \
	} while (0)

static void step(void)
{
	io_sim_step(w.sim, io_sim_now_ns(w.sim) + NS_PER_MS);
}

/* --- one I/O --- */

static void gather(const struct region *r, uint8_t *out)
{
	for (unsigned i = 0; i < r->io.iovcnt; i++) {
		memcpy(out, r->iov[i].iov_base, r->iov[i].iov_len);
		out += r->iov[i].iov_len;
	}
}

static void io_done(struct nvmf_io *io)
{
	static uint8_t got[REGION_BYTES];
	struct region *r = container_of(io, struct region, io);

	CHECK(r->is_busy);
	r->is_busy = false;
	if (io->sc != NVME_SC_OK) {
		w.failed++;
		if (!w.is_rough)
			fprintf(stderr, "status %03xh: %s\n", io->sc,
				nvme_sc_text(io->sc));
		CHECK(w.is_rough);
		r->is_known = r->is_known && io->op == NVMF_READ;
		return;
	}
	w.succeeded++;
	gather(r, got);
	if (io->op == NVMF_WRITE) {
		memcpy(r->want, got, io->bytes);
		r->is_known = io->bytes == REGION_BYTES || r->is_known;
	} else if (io->op == NVMF_READ && r->is_known) {
		CHECK(memcmp(got, r->want, io->bytes) == 0);
	}
}

static void shape(struct region *r, uint64_t bytes)
{
	uint64_t left = bytes, at = 0;
	unsigned n = 0;

	while (left) {
		uint64_t len = 1 + rng_below(&w.rng, bytes / 8 + 1);

		len = n == IOVS - 1 ? left : MIN(len, left);
		r->iov[n++] = (struct iovec){r->buf + at, len};
		at += len + rng_below(&w.rng, 100);
		left -= len;
	}
	r->io.iovcnt = n;
}

static void submit(unsigned index)
{
	struct region *r = &w.regions[index];
	unsigned kind = (unsigned)rng_below(&w.rng, 20);
	uint64_t blocks = 1 + rng_below(&w.rng, REGION_BYTES / w.lba_bytes);

	r->io = (struct nvmf_io){
		.done = io_done,
		.op = kind == 0	  ? NVMF_FLUSH
		      : kind < 11 ? NVMF_WRITE
				  : NVMF_READ,
		.nsid = 1,
		.lba_bytes = w.lba_bytes,
		.slba = (uint64_t)index * (REGION_BYTES / w.lba_bytes),
		.iov = r->iov,
	};
	/* The first write makes the whole region known. */
	if (r->io.op == NVMF_WRITE && !r->is_known)
		blocks = REGION_BYTES / w.lba_bytes;
	else if (rng_below(&w.rng, 2))
		blocks = MIN(blocks, (uint64_t)8); /* in-capsule sizes */
	r->io.bytes = kind == 0 ? 0 : blocks * w.lba_bytes;
	shape(r, r->io.bytes);
	for (unsigned i = 0; i < r->io.iovcnt; i++)
		memset(r->iov[i].iov_base,
		       r->io.op == NVMF_READ ? 0xee
					     : (int)rng_below(&w.rng, 256),
		       r->iov[i].iov_len);
	r->is_busy = true;
	w.submitted++;
	nvmf_io_submit(w.qp, &r->io);
	CHECK(r->is_busy);
}

/* --- connections --- */

static void ctrl_state(struct nvmf_ctrl *ctrl, enum nvmf_state state,
		       const struct err *err, void *arg)
{
	w.ctrl_live = w.ctrl_live || state == NVMF_LIVE;
	w.ctrl_failed = w.ctrl_failed || state == NVMF_FAILED;
	if (state == NVMF_FAILED && !w.is_rough)
		fprintf(stderr, "controller: %s\n", err->text);
}

static void qp_state(struct nvmf_qp *qp, enum nvmf_state state,
		     const struct err *err, void *arg)
{
	w.qp_live = w.qp_live || state == NVMF_LIVE;
	w.qp_failed = w.qp_failed || state == NVMF_FAILED;
	if (state == NVMF_FAILED && !w.is_rough)
		fprintf(stderr, "queue: %s\n", err->text);
}

static void closed(void *arg)
{
	w.pending_closes--;
}

static void disconnect(void)
{
	uint64_t limit = io_sim_now_ns(w.sim) + 60 * NS_PER_S;

	if (w.qp) {
		w.pending_closes++;
		nvmf_qp_close(TAKE(w.qp), closed, NULL);
	}
	if (w.ctrl) {
		w.pending_closes++;
		nvmf_ctrl_close(TAKE(w.ctrl), closed, NULL);
	}
	while (w.pending_closes && io_sim_now_ns(w.sim) < limit)
		step();
	CHECK(!w.pending_closes);
	w.ctrl_live = w.qp_live = w.ctrl_failed = w.qp_failed = false;
}

static bool connect_once(void)
{
	struct nvmf_qp_opts qo = {.qid = 1, .opts = &w.opts};

	CHECK(!nvmf_ctrl_open(w.host, &w.opts, ctrl_state, NULL, &w.ctrl));
	while (!w.ctrl_live && !w.ctrl_failed)
		step();
	if (w.ctrl_failed)
		return false;
	qo.info = *nvmf_ctrl_info(w.ctrl);
	CHECK(!nvmf_qp_open(w.host, &qo, qp_state, NULL, &w.qp));
	while (!w.qp_live && !w.qp_failed)
		step();
	return !w.qp_failed;
}

static void connect_both(void)
{
	for (int i = 0; i < 200; i++) {
		if (connect_once())
			return;
		CHECK(w.is_rough);
		disconnect();
	}
	CHECK(!"no connection after 200 attempts");
}

/* --- one world --- */

static struct loop *new_loop(const char *name)
{
	struct loop_opts lo = {
		.backend = IO_BACKEND_SIM, .sim = w.sim, .name = name};
	struct err err = {0};
	struct loop *loop;

	CHECK(!loop_create(&lo, &loop, &err));
	return loop;
}

static void start_target(void)
{
	struct tgt_opts to = {
		.loop = w.target,
		.max_transfer = 8192u << rng_below(&w.rng, 8),
		.in_capsule = (uint32_t)rng_below(&w.rng, 3) * 4096,
		.max_h2cdata = 4096u << rng_below(&w.rng, 9),
		.no_c2h_success = rng_below(&w.rng, 2),
	};
	struct tgt_ns_opts no = {.nsid = 1};
	struct tgt_subsys *ss;
	struct bdev *bdev;
	struct err err = {0};

	CHECK(!tgt_create(&to, &w.tgt, &err));
	CHECK(!tgt_subsys_add(w.tgt, NQN, NULL, &ss, &err));
	CHECK(!bdev_ram_create(NULL, (uint64_t)REGIONS * REGION_BYTES, &bdev,
			       &err));
	w.lba_bytes = bdev->block;
	CHECK(tgt_ns_add(ss, bdev, &no, &err) == 1);
	CHECK(!addr_parse("127.0.0.1", 4420, &w.opts.addr));
	CHECK(!tgt_listen(w.tgt, &w.opts.addr, &err));
}

static void setup(uint64_t seed)
{
	memset(&w, 0, sizeof(w));
	w.seed = seed;
	w.is_rough = seed % 2;
	rng_seed(&w.rng, seed);
	w.sim = io_sim_create(seed);
	w.host = new_loop("host");
	w.target = new_loop("target");
	snprintf(w.opts.subnqn, sizeof(w.opts.subnqn), "%s", NQN);
	host_id_derive(STR("sim"), &w.opts.host);
	w.opts.io_depth = (uint16_t)(2 + rng_below(&w.rng, 40));
	start_target();
	io_sim_set_faults(
		w.sim,
		&(struct io_sim_faults){
			.latency_max_ns = rng_below(&w.rng, NS_PER_MS),
			.max_segment =
				(uint32_t)(1000 + rng_below(&w.rng, 60000)),
			.reset_rate = w.is_rough ? 0.0003 : 0});
	for (unsigned i = 0; i < REGIONS; i++) {
		w.regions[i].buf = malloc(REGION_BYTES + IOVS * 100);
		w.regions[i].want = calloc(1, REGION_BYTES);
		CHECK(w.regions[i].buf && w.regions[i].want);
	}
}

static void stopped(void *arg)
{
	w.is_stopped = true;
}

static void teardown(void)
{
	disconnect();
	for (unsigned i = 0; i < REGIONS; i++) {
		CHECK(!w.regions[i].is_busy);
		free(w.regions[i].buf);
		free(w.regions[i].want);
	}
	tgt_stop(w.tgt, stopped, NULL);
	for (int i = 0; i < 60000 && !w.is_stopped; i++)
		step();
	CHECK(w.is_stopped);
	CHECK(w.submitted == w.succeeded + w.failed);
	loop_destroy(w.host);
	loop_destroy(w.target);
	io_sim_destroy(w.sim);
}

static void run_seed(uint64_t seed)
{
	uint64_t limit;

	setup(seed);
	limit = io_sim_now_ns(w.sim) + 3600 * NS_PER_S;
	connect_both();
	while (w.submitted < IOS_PER_SEED) {
		unsigned index = (unsigned)rng_below(&w.rng, REGIONS);

		CHECK(io_sim_now_ns(w.sim) < limit);
		if (w.qp_failed || w.ctrl_failed) {
			disconnect();
			connect_both();
		}
		if (w.regions[index].is_busy)
			step();
		else
			submit(index);
	}
	for (unsigned i = 0; i < REGIONS; i++) {
		while (w.regions[i].is_busy)
			step();
	}
	teardown();
}

int main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 20;

	for (uint64_t seed = first; seed < first + count; seed++) {
		run_seed(seed);
		printf("seed %llu: %u done, %u failed\n",
		       (unsigned long long)seed, w.succeeded, w.failed);
	}
	return 0;
}
