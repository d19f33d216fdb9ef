/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The initiator alone, against a target in another process: connections of one
 * queue pair each, with a fixed number of commands under way.
 *
 *	nvmf_perf --port=PORT [options]	  one run, one line of JSON
 *
 * One thread.  The namespace is written once before the clock runs, then come
 * 0.2 s to warm up.  Invariant: busy counts the commands under way, and all
 * connections are closed before the program ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/flag.h"
#include "base/rand.h"
#include "base/time.h"
#include "io/memory.h"
#include "meter.h"
#include "nvmf/nvmf.h"

#define DISK_BYTES  (128 * MiB)
#define FILL_BYTES  MiB
#define WARM_UP_NS  (200 * NS_PER_MS)
#define OPENING_MAX 16 /* connections being made at a time */

static struct config {
	bool random, data_digest, header_digest;
	char *op, *nqn, *host;
	uint64_t zerocopy_bytes, port, bytes, depth, ms, peer, spin_us,
		connections;
} config;

struct conn;

struct slot {
	struct nvmf_io io;
	struct iovec iov;
	struct conn *conn;
	uint64_t begun_ns;
};

struct conn {
	struct nvmf_ctrl *ctrl;
	struct nvmf_qp *qp;
};

enum phase {
	PHASE_FILL,
	PHASE_WARM,
	PHASE_COUNT,
	PHASE_END,
};

static struct {
	struct loop *loop;
	struct nvmf_opts opts;
	struct conn *conns;
	struct slot *slots;
	char *bufs;
	unsigned opened, live, open, busy;
	uint32_t lba_bytes;
	enum phase phase;
	uint64_t end_ns, next;
	struct rng rng;
	struct meter meter;
} p;

static _Noreturn void die(const char *text)
{
	fprintf(stderr, "nvmf_perf: %s\n", text);
	exit(1);
}

/* --- closing --- */

static void ctrl_closed(void *arg)
{
	if (--p.open == 0)
		loop_stop(p.loop);
}

static void qp_closed(void *arg)
{
	struct conn *conn = arg;

	nvmf_ctrl_close(conn->ctrl, ctrl_closed, conn);
}

/* --- I/O --- */

static bool is_write(void)
{
	return p.phase == PHASE_FILL || strcmp(config.op, "write") == 0;
}

static uint64_t io_bytes(void)
{
	return p.phase == PHASE_FILL ? FILL_BYTES : config.bytes;
}

static void submit(struct slot *slot)
{
	uint64_t bytes = io_bytes(), places = DISK_BYTES / bytes;
	bool is_random = config.random && p.phase != PHASE_FILL;
	uint64_t at = is_random ? rng_below(&p.rng, places) : p.next++ % places;

	slot->iov.iov_len = bytes;
	slot->io.op = is_write() ? NVMF_WRITE : NVMF_READ;
	slot->io.bytes = bytes;
	slot->io.slba = at * bytes / p.lba_bytes;
	slot->begun_ns = time_mono_ns();
	p.busy++;
	nvmf_io_submit(slot->conn->qp, &slot->io);
}

static void next_phase(uint64_t now)
{
	p.phase++;
	p.next = 0;
	if (p.phase == PHASE_WARM) {
		p.end_ns = now + WARM_UP_NS;
	} else if (p.phase == PHASE_COUNT) {
		meter_start(&p.meter);
		p.end_ns = p.meter.start_ns + config.ms * NS_PER_MS;
	} else {
		meter_print(&p.meter);
	}
}

static void start_all(void)
{
	for (unsigned i = 0; i < config.connections * config.depth; i++)
		submit(&p.slots[i]);
}

static void io_done(struct nvmf_io *io)
{
	struct slot *slot = container_of(io, struct slot, io);
	uint64_t now = time_mono_ns();

	p.busy--;
	if (io->sc != NVME_SC_OK) {
		p.meter.errors++;
		fprintf(stderr, "nvmf_perf: %s\n", nvme_sc_text(io->sc));
	} else if (p.phase == PHASE_COUNT) {
		hist_add(&p.meter.latency_ns, now - slot->begun_ns);
		p.meter.bytes += io->bytes;
	}
	if (p.phase == PHASE_FILL) {
		if (p.next < DISK_BYTES / FILL_BYTES) {
			submit(slot);
		} else if (!p.busy) {
			next_phase(now);
			start_all();
		}
		return;
	}
	if (p.phase < PHASE_END && (now >= p.end_ns || p.meter.errors))
		next_phase(now);
	if (p.phase < PHASE_END)
		submit(slot);
	for (unsigned i = 0; !p.busy && i < config.connections; i++)
		nvmf_qp_close(p.conns[i].qp, qp_closed, &p.conns[i]);
}

/* --- opening --- */

static void open_next(void);

static void all_live(void)
{
	uint64_t room = MAX(config.bytes, (uint64_t)FILL_BYTES);

	for (unsigned i = 0; i < config.connections * config.depth; i++) {
		struct slot *slot = &p.slots[i];
		/* One buffer for all of many connections. */
		unsigned at = i % (unsigned)MAX(config.depth, (uint64_t)8);

		slot->conn = &p.conns[i / config.depth];
		slot->iov.iov_base = p.bufs + at * room;
		slot->io = (struct nvmf_io){.done = io_done,
					    .nsid = 1,
					    .lba_bytes = p.lba_bytes,
					    .iov = &slot->iov,
					    .iovcnt = 1};
	}
	for (unsigned i = 0; i < MIN(config.depth, (uint64_t)8); i++)
		submit(&p.slots[i]);
}

static void qp_state(struct nvmf_qp *qp, enum nvmf_state state,
		     const struct err *err, void *arg)
{
	if (state != NVMF_LIVE)
		die(err->text);
	if (++p.live == config.connections)
		all_live();
	else
		open_next();
}

static void ns_known(int ret, const struct nvmf_ns_info *ns, size_t count,
		     void *arg)
{
	struct conn *conn = arg;
	struct nvmf_qp_opts opts = {.qid = 1, .opts = &p.opts};

	if (ret || count != 1 || ns->size_lba * ns->lba_bytes < DISK_BYTES)
		die("namespace 1 with 128 MiB is needed");
	p.lba_bytes = ns->lba_bytes;
	opts.info = *nvmf_ctrl_info(conn->ctrl);
	if (nvmf_qp_open(p.loop, &opts, qp_state, conn, &conn->qp))
		die("out of memory");
}

static void ctrl_state(struct nvmf_ctrl *ctrl, enum nvmf_state state,
		       const struct err *err, void *arg)
{
	if (state != NVMF_LIVE)
		die(err->text);
	if (nvmf_ns_get(ctrl, 1, ns_known, arg))
		die("out of memory");
}

static void open_next(void)
{
	struct conn *conn = &p.conns[p.opened];

	if (p.opened == config.connections)
		return;
	p.opened++;
	p.open++;
	if (nvmf_ctrl_open(p.loop, &p.opts, ctrl_state, conn, &conn->ctrl))
		die("out of memory");
}

#define OFF(field) offsetof(struct config, field)
static const struct flag flags[] = {
	{.name = "port",
	 .type = FLAG_UINT,
	 .off = OFF(port),
	 .max = 65535,
	 .attrs = FLAG_REQUIRED},
	{.name = "host",
	 .type = FLAG_STR,
	 .off = OFF(host),
	 .def = "127.0.0.1",
	 .help = "The target's address."},
	{.name = "nqn",
	 .type = FLAG_STR,
	 .off = OFF(nqn),
	 .def = "nqn.2024-01.org.example:perf"},
	{.name = "op", .type = FLAG_STR, .off = OFF(op), .def = "read"},
	{.name = "bs",
	 .type = FLAG_SIZE,
	 .off = OFF(bytes),
	 .def = "128k",
	 .min = 512,
	 .max = 16 << 20},
	{.name = "depth",
	 .type = FLAG_UINT,
	 .off = OFF(depth),
	 .def = "8",
	 .min = 1,
	 .max = 1024},
	{.name = "connections",
	 .type = FLAG_UINT,
	 .off = OFF(connections),
	 .def = "1",
	 .min = 1,
	 .max = 2000},
	{.name = "time", .type = FLAG_MS, .off = OFF(ms), .def = "1s"},
	{.name = "random", .type = FLAG_BOOL, .off = OFF(random)},
	{.name = "header_digest", .type = FLAG_BOOL, .off = OFF(header_digest)},
	{.name = "data_digest", .type = FLAG_BOOL, .off = OFF(data_digest)},
	{.name = "zerocopy_bytes",
	 .type = FLAG_SIZE,
	 .off = OFF(zerocopy_bytes),
	 .def = "0",
	 .max = GiB,
	 .help = "Sends of so much payload are not copied; 0 = all are."},
	{.name = "spin_us",
	 .type = FLAG_UINT,
	 .off = OFF(spin_us),
	 .help = "How long to poll before sleeping."},
	{.name = "peer",
	 .type = FLAG_UINT,
	 .off = OFF(peer),
	 .arg = "PID",
	 .help = "Whose CPU time is the target's."},
};

static const struct flag_prog prog = {
	.name = "nvmf_perf",
	.summary = "the initiator against a target of another process",
	.usage = "--port=PORT [options]",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

static void prepare(void)
{
	struct loop_opts lo = {.name = "host",
			       .spin_us = (uint32_t)config.spin_us};
	uint64_t room = MAX(config.bytes, (uint64_t)FILL_BYTES);
	uint64_t bytes = MAX(config.depth, (uint64_t)8) * room;
	struct err err = {0};
	void *bufs;

	p.conns = calloc(config.connections, sizeof(*p.conns));
	p.slots = calloc(config.connections * config.depth, sizeof(*p.slots));
	if (!p.conns || !p.slots || mem_map(bytes, true, &bufs))
		die("out of memory");
	p.bufs = bufs;
	memset(bufs, 1, bytes); /* page faults are not the subject */
	if (loop_create(&lo, &p.loop, &err))
		die(err.text);
	if (addr_parse(config.host, (uint16_t)config.port, &p.opts.addr))
		die("--host is not an address");
	snprintf(p.opts.subnqn, sizeof(p.opts.subnqn), "%s", config.nqn);
	host_id_derive(STR(""), &p.opts.host);
	p.opts.hdgst = config.header_digest;
	p.opts.ddgst = config.data_digest;
	p.opts.zerocopy_bytes = (uint32_t)config.zerocopy_bytes;
	p.opts.io_queues = 1;
	p.opts.io_depth = (uint16_t)MAX(config.depth + 1, (uint64_t)129);
	p.meter.peer = (int)config.peer;
	rng_seed(&p.rng, 1);
}

int main(int argc, char **argv)
{
	struct flag_set fs;
	int status;

	if (flag_main(&fs, &prog, &config, argc, argv, &status))
		return status;
	prepare();
	for (unsigned i = 0; i < OPENING_MAX; i++)
		open_next();
	loop_run(p.loop);
	loop_destroy(p.loop);
	flag_fini(&fs);
	return p.meter.errors != 0;
}
