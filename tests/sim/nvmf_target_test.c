/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Initiator against target in one simulated world per seed: random segments,
 * latencies, shapes and options, and what the seed's mode adds: resets, stalls
 * that outlast deadlines (a connection that is half open), refused connections,
 * restarts of either end, cancelled I/O.  In half of the worlds sends are not
 * copied, and held for as long as the kernel likes.
 *
 *	sim_nvmf_target [first seed [count]]
 *
 * Promise: every I/O is done once, and a write not while its memory is held;
 * what was written is what is read, and its CRC-32C is what the queue says;
 * closing is bounded.  A region whose write
 * failed is unknown until a write succeeds that began when nothing of the lost
 * connection can be on its way any more: a target that was not told may still
 * carry out what it has received.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "io/sim.h"
#include "nvmf/nvmf.h"
#include "target/target.h"

#define NQN	     "nqn.2024-01.org.example:sim"
#define REGIONS	     8
#define REGION_BYTES (256u << 10)
#define IOVS	     40
#define IOS_PER_SEED 60
#define KATO_MS	     1000
#define COMMAND_MS   1000
#define ABORT_MS     300
#define CLOSE_MS     500
#define SUMS_MAX     (REGION_BYTES / 512)

static const struct mode {
	const char *name;
	uint32_t latency_max_us;
	double reset_rate, stall_rate, refuse_rate;
	uint32_t stall_ms;
	uint32_t late_ms; /* for so long a lost connection may still act */
	unsigned restart_ios, leave_ios; /* target, host: every so many I/Os */
	unsigned cancel_of;		 /* one in so many */
	bool is_rough;			 /* I/O may fail */
} modes[] = {
	{.name = "calm", .latency_max_us = 200},
	{.name = "slow link", .latency_max_us = 20000},
	{.name = "resets",
	 .latency_max_us = 1000,
	 .reset_rate = 0.001,
	 .late_ms = 10,
	 .is_rough = true},
	{.name = "stalls",
	 .latency_max_us = 500,
	 .stall_rate = 0.003,
	 .stall_ms = 100},
	{.name = "half open",
	 .latency_max_us = 500,
	 .stall_rate = 0.002,
	 .stall_ms = 2500,
	 .late_ms = 6000,
	 .is_rough = true},
	{.name = "refused",
	 .latency_max_us = 1000,
	 .reset_rate = 0.001,
	 .refuse_rate = 0.5,
	 .late_ms = 10,
	 .is_rough = true},
	{.name = "target restarts",
	 .latency_max_us = 500,
	 .late_ms = 10,
	 .restart_ios = 15,
	 .is_rough = true},
	{.name = "host restarts",
	 .latency_max_us = 500,
	 .late_ms = 10,
	 .leave_ios = 15,
	 .is_rough = true},
	{.name = "cancelled",
	 .latency_max_us = 2000,
	 .late_ms = 10,
	 .cancel_of = 4,
	 .is_rough = true},
	{.name = "all of it",
	 .latency_max_us = 3000,
	 .reset_rate = 0.0005,
	 .stall_rate = 0.001,
	 .stall_ms = 2000,
	 .refuse_rate = 0.1,
	 .late_ms = 6000,
	 .restart_ios = 25,
	 .leave_ios = 20,
	 .cancel_of = 8,
	 .is_rough = true},
};

struct region {
	struct nvmf_io io;
	struct iovec iov[IOVS];
	uint8_t *buf, *want;
	uint32_t sums[SUMS_MAX];
	uint64_t submit_ns, unsafe_until_ns;
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
	const struct mode *mode;
	uint64_t hold_ns; /* the longest hold, 0: all is copied */
	bool is_stopped;
} w;

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			fprintf(stderr, "seed %llu (%s): line %d: %s\n",       \
				(unsigned long long)w.seed, w.mode->name,      \
				__LINE__, #cond);                              \
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

static void check_sums(const struct region *r, const uint8_t *got)
{
	const struct nvmf_io *io = &r->io;

	for (uint64_t at = 0; io->has_crcs && at < io->bytes;
	     at += io->crc_bytes)
		CHECK(r->sums[at / io->crc_bytes] ==
		      crc32c(0, got + at, MIN(io->crc_bytes, io->bytes - at)));
}

static void io_failed(struct region *r)
{
	w.failed++;
	if (!w.mode->is_rough)
		fprintf(stderr, "status %03xh: %s\n", r->io.sc,
			nvme_sc_text(r->io.sc));
	CHECK(w.mode->is_rough);
	if (r->io.op != NVMF_WRITE)
		return;
	r->is_known = false;
	r->unsafe_until_ns = io_sim_now_ns(w.sim) + w.mode->late_ms * NS_PER_MS;
}

static void io_done(struct nvmf_io *io)
{
	static uint8_t got[REGION_BYTES];
	struct region *r = container_of(io, struct region, io);

	CHECK(r->is_busy);
	for (unsigned i = 0; i < io->iovcnt; i++)
		CHECK(!io_sim_is_held(w.sim, r->iov[i].iov_base,
				      r->iov[i].iov_len));
	r->is_busy = false;
	if (io->sc != NVME_SC_OK) {
		io_failed(r);
		return;
	}
	w.succeeded++;
	gather(r, got);
	if (io->op == NVMF_WRITE) {
		memcpy(r->want, got, io->bytes);
		if (io->bytes == REGION_BYTES)
			r->is_known = r->submit_ns >= r->unsafe_until_ns;
	} else if (io->op == NVMF_READ) {
		CHECK(!r->is_known || !memcmp(got, r->want, io->bytes));
		check_sums(r, got);
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

static void add_sums(struct region *r)
{
	static uint8_t all[REGION_BYTES];

	r->io.crcs = r->sums;
	r->io.crc_bytes = w.lba_bytes << rng_below(&w.rng, 6);
	gather(r, all);
	for (uint64_t at = 0; at < r->io.bytes; at += r->io.crc_bytes)
		r->sums[at / r->io.crc_bytes] = crc32c(
			0, all + at, MIN(r->io.crc_bytes, r->io.bytes - at));
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
	if (r->io.bytes && rng_below(&w.rng, 2))
		add_sums(r);
	r->is_busy = true;
	r->submit_ns = io_sim_now_ns(w.sim);
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
	if (state == NVMF_FAILED && !w.mode->is_rough)
		fprintf(stderr, "controller: %s\n", err->text);
}

static void qp_state(struct nvmf_qp *qp, enum nvmf_state state,
		     const struct err *err, void *arg)
{
	w.qp_live = w.qp_live || state == NVMF_LIVE;
	w.qp_failed = w.qp_failed || state == NVMF_FAILED;
	if (state == NVMF_FAILED && !w.mode->is_rough)
		fprintf(stderr, "queue: %s\n", err->text);
}

static void closed(void *arg)
{
	w.pending_closes--;
}

static void await_closed(void)
{
	uint64_t start = io_sim_now_ns(w.sim);

	while (w.pending_closes)
		step();
	/* What commands under way get, and a TermReq that lingers. */
	CHECK(io_sim_now_ns(w.sim) - start <=
	      (CLOSE_MS + 210) * NS_PER_MS + w.hold_ns);
}

static void disconnect(void)
{
	if (w.qp) {
		w.pending_closes++;
		nvmf_qp_close(TAKE(w.qp), closed, NULL);
		await_closed();
	}
	if (w.ctrl) {
		w.pending_closes++;
		nvmf_ctrl_close(TAKE(w.ctrl), closed, NULL);
		await_closed();
	}
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
	qo.ctrl = w.ctrl;
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
		CHECK(w.mode->is_rough);
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

/* What one end may not copy. */
static uint32_t zerocopy_bytes(void)
{
	if (!w.hold_ns || !rng_below(&w.rng, 4))
		return 0;
	return 1u << rng_below(&w.rng, 18);
}

static void start_target(void)
{
	struct tgt_opts to = {
		.loop = w.target,
		.max_transfer = 8192u << rng_below(&w.rng, 8),
		.in_capsule = 4096u << rng_below(&w.rng, 6),
		.max_h2cdata = 4096u << rng_below(&w.rng, 9),
		.no_c2h_success = rng_below(&w.rng, 2),
		.zerocopy_bytes = zerocopy_bytes(),
	};
	struct tgt_ns_opts no = {.nsid = 1};
	struct tgt_subsys *ss;
	struct bdev *bdev;
	struct err err = {0};

	CHECK(!tgt_create(&to, &w.tgt, &err));
	CHECK(!tgt_subsys_add(w.tgt, &(struct tgt_subsys_opts){.nqn = NQN}, &ss,
			      &err));
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
	w.mode = &modes[seed % ARRAY_SIZE(modes)];
	rng_seed(&w.rng, seed);
	w.sim = io_sim_create(seed);
	w.host = new_loop("host");
	w.target = new_loop("target");
	snprintf(w.opts.subnqn, sizeof(w.opts.subnqn), "%s", NQN);
	host_id_derive(STR("sim"), &w.opts.host);
	w.opts.io_depth = (uint16_t)(2 + rng_below(&w.rng, 40));
	w.opts.hdgst = rng_below(&w.rng, 2);
	w.opts.ddgst = rng_below(&w.rng, 2);
	w.opts.kato_ms = KATO_MS;
	w.opts.command_timeout_ms = COMMAND_MS;
	w.opts.admin_timeout_ms = COMMAND_MS;
	w.opts.connect_timeout_ms = COMMAND_MS;
	w.opts.abort_timeout_ms = ABORT_MS;
	w.opts.close_timeout_ms = CLOSE_MS;
	/* Longer than a round trip, and sometimes than a command's time. */
	if (seed / ARRAY_SIZE(modes) % 2)
		w.hold_ns = NS_PER_MS
			    << rng_below(&w.rng, w.mode->is_rough ? 12 : 8);
	w.opts.zerocopy_bytes = zerocopy_bytes();
	start_target();
	io_sim_set_faults(
		w.sim,
		&(struct io_sim_faults){
			.latency_max_ns =
				1 + rng_below(&w.rng, w.mode->latency_max_us *
							      NS_PER_US),
			.max_segment =
				(uint32_t)(1000 + rng_below(&w.rng, 60000)),
			.reset_rate = w.mode->reset_rate,
			.stall_rate = w.mode->stall_rate,
			.stall_ns = w.mode->stall_ms * NS_PER_MS,
			.refuse_rate = w.mode->refuse_rate,
			.hold_max_ns = w.hold_ns,
			.hold_copy_rate = 0.3});
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

static void stop_target(void)
{
	w.is_stopped = false;
	tgt_stop(TAKE(w.tgt), stopped, NULL);
	for (int i = 0; i < 60000 && !w.is_stopped; i++)
		step();
	CHECK(w.is_stopped);
}

/* It comes back with other limits and an empty medium. */
static void restart_target(void)
{
	stop_target();
	start_target();
	for (unsigned i = 0; i < REGIONS; i++) {
		w.regions[i].is_known = false;
		w.regions[i].unsafe_until_ns = io_sim_now_ns(w.sim);
	}
}

static void teardown(void)
{
	disconnect();
	for (unsigned i = 0; i < REGIONS; i++) {
		CHECK(!w.regions[i].is_busy);
		free(w.regions[i].buf);
		free(w.regions[i].want);
	}
	stop_target();
	CHECK(w.submitted == w.succeeded + w.failed);
	loop_destroy(w.host);
	loop_destroy(w.target);
	io_sim_destroy(w.sim);
}

static void one_turn(void)
{
	struct region *r;
	unsigned index = (unsigned)rng_below(&w.rng, REGIONS);
	bool is_bad = w.qp_failed || w.ctrl_failed;
	unsigned leave = w.mode->leave_ios;

	if (is_bad || (leave && !rng_below(&w.rng, 4 * leave))) {
		disconnect();
		connect_both();
	}
	r = &w.regions[index];
	if (!r->is_busy) {
		submit(index);
		if (w.mode->restart_ios &&
		    !rng_below(&w.rng, w.mode->restart_ios))
			restart_target();
		return;
	}
	if (w.mode->cancel_of && !rng_below(&w.rng, w.mode->cancel_of))
		nvmf_io_cancel(w.qp, &r->io);
	step();
}

static void run_seed(uint64_t seed)
{
	uint64_t limit;

	setup(seed);
	limit = io_sim_now_ns(w.sim) + 3600 * NS_PER_S;
	connect_both();
	while (w.submitted < IOS_PER_SEED) {
		CHECK(io_sim_now_ns(w.sim) < limit);
		one_turn();
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
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;
	unsigned done[ARRAY_SIZE(modes)] = {0}, lost[ARRAY_SIZE(modes)] = {0};

	log_level_max = LOG_ERROR;
	for (uint64_t seed = first; seed < first + count; seed++) {
		run_seed(seed);
		done[seed % ARRAY_SIZE(modes)] += w.succeeded;
		lost[seed % ARRAY_SIZE(modes)] += w.failed;
	}
	printf("seeds %llu to %llu\n", (unsigned long long)first,
	       (unsigned long long)(first + count - 1));
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		printf("%-16s %5u done, %4u failed\n", modes[i].name, done[i],
		       lost[i]);
	return 0;
}
