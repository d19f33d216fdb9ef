/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Initiator and RAM target over loopback TCP, one thread each.
 *
 *	nvmf_perf [read|write [bytes per I/O [I/Os at a time [seconds]]]]
 *
 * MC_IO_BACKEND=uring|epoll chooses the loop's back end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "io/memory.h"
#include "io/thread.h"
#include "nvmf/nvmf.h"
#include "target/target.h"

#define NQN	   "nqn.2024-01.org.example:perf"
#define DISK_BYTES (128 * MiB)
#define DEPTH_MAX  256

static struct {
	struct shard shard; /* the target's */
	struct tgt *tgt;
	struct gate stopped;
	struct loop *loop; /* the initiator's */
	struct nvmf_opts opts;
	struct nvmf_ctrl *ctrl;
	struct nvmf_qp *qp;
	enum nvmf_io_op op;
	uint64_t bytes, done, errors, start_ns, end_ns, next;
	uint32_t lba_bytes;
	unsigned depth, busy;
	struct nvmf_io ios[DEPTH_MAX];
	struct iovec iov[DEPTH_MAX];
} p;

static void die(const struct err *err)
{
	fprintf(stderr, "nvmf_perf: %s\n", err->text);
	exit(1);
}

/* --- target --- */

static void start_target(void *arg)
{
	struct tgt_opts opts = {.loop = p.shard.loop};
	struct tgt_ns_opts ns = {.nsid = 1};
	struct tgt_subsys *ss = NULL;
	struct bdev *bdev = NULL;
	struct err err = {0};
	void *mem;

	/* Touched before the clock runs: page faults are not the subject. */
	ASSERT(!mem_map(DISK_BYTES, false, &mem));
	memset(mem, 1, DISK_BYTES);
	ASSERT(!addr_parse("127.0.0.1", 0, &p.opts.addr));
	if (tgt_create(&opts, &p.tgt, &err) ||
	    tgt_subsys_add(p.tgt, NQN, NULL, &ss, &err) ||
	    bdev_ram_create(mem, DISK_BYTES, &bdev, &err))
		die(&err);
	p.lba_bytes = bdev->block;
	if (tgt_ns_add(ss, bdev, &ns, &err) < 0 ||
	    tgt_listen(p.tgt, &p.opts.addr, &err))
		die(&err);
}

static void target_stopped(void *arg)
{
	gate_open(&p.stopped);
}

static void stop_target(void *arg)
{
	tgt_stop(p.tgt, target_stopped, NULL);
}

/* --- initiator --- */

static void closed(void *arg)
{
	loop_stop(p.loop);
}

static void qp_closed(void *arg)
{
	nvmf_ctrl_close(p.ctrl, closed, NULL);
}

static void submit(struct nvmf_io *io)
{
	uint64_t per_io = p.bytes / p.lba_bytes;

	io->slba = p.next++ % (DISK_BYTES / p.bytes) * per_io;
	nvmf_io_submit(p.qp, io);
}

static void io_done(struct nvmf_io *io)
{
	p.done++;
	p.errors += io->sc != NVME_SC_OK;
	if (loop_now_ns(p.loop) < p.end_ns && !p.errors)
		submit(io);
	else if (--p.busy == 0)
		nvmf_qp_close(p.qp, qp_closed, NULL);
}

static void qp_state(struct nvmf_qp *qp, enum nvmf_state state,
		     const struct err *err, void *arg)
{
	if (state != NVMF_LIVE)
		die(err);
	p.start_ns = loop_now_ns(p.loop);
	p.end_ns += p.start_ns;
	for (p.busy = 0; p.busy < p.depth; p.busy++) {
		void *buf = aligned_alloc(4096, ALIGN_UP(p.bytes, 4096));

		ASSERT(buf);
		memset(buf, 1, p.bytes);
		p.iov[p.busy] = (struct iovec){buf, p.bytes};
		p.ios[p.busy] = (struct nvmf_io){.done = io_done,
						 .op = p.op,
						 .nsid = 1,
						 .lba_bytes = p.lba_bytes,
						 .bytes = p.bytes,
						 .iov = &p.iov[p.busy],
						 .iovcnt = 1};
		submit(&p.ios[p.busy]);
	}
}

static void ctrl_state(struct nvmf_ctrl *ctrl, enum nvmf_state state,
		       const struct err *err, void *arg)
{
	struct nvmf_qp_opts opts = {.qid = 1, .opts = &p.opts};

	if (state != NVMF_LIVE)
		die(err);
	opts.info = *nvmf_ctrl_info(ctrl);
	ASSERT(!nvmf_qp_open(p.loop, &opts, qp_state, NULL, &p.qp));
}

static uint64_t number(int argc, char **argv, int i, uint64_t otherwise)
{
	uint64_t value = otherwise;

	if (argc > i && (str_to_size(str_of(argv[i]), &value) || !value))
		die(&(struct err){.text = "numbers must be positive"});
	return value;
}

int main(int argc, char **argv)
{
	struct loop_opts lo = {.name = "host"}, to = {.name = "target"};
	struct err err = {0};
	double seconds;

	p.op = argc > 1 && strcmp(argv[1], "write") == 0 ? NVMF_WRITE
							 : NVMF_READ;
	p.bytes = ALIGN_UP(number(argc, argv, 2, MiB), 4096);
	p.depth = (unsigned)MIN(number(argc, argv, 3, 16), (uint64_t)DEPTH_MAX);
	p.end_ns = number(argc, argv, 4, 3) * NS_PER_S;
	gate_init(&p.stopped);
	if (p.bytes > DISK_BYTES || shard_start(&p.shard, &to, &err) ||
	    loop_create(&lo, &p.loop, &err))
		die(&err);
	shard_call(&p.shard, start_target, NULL);
	snprintf(p.opts.subnqn, sizeof(p.opts.subnqn), "%s", NQN);
	host_id_derive(STR(""), &p.opts.host);
	ASSERT(!nvmf_ctrl_open(p.loop, &p.opts, ctrl_state, NULL, &p.ctrl));
	loop_run(p.loop);
	seconds = (double)(time_mono_ns() - p.start_ns) / 1e9;
	printf("%s %s %llu bytes x %u: %.2f GB/s, %.0f IOPS, %llu errors\n",
	       loop_backend_name(p.loop), p.op == NVMF_WRITE ? "write" : "read",
	       (unsigned long long)p.bytes, p.depth,
	       (double)p.done * (double)p.bytes / seconds / 1e9,
	       (double)p.done / seconds, (unsigned long long)p.errors);
	shard_call(&p.shard, stop_target, NULL);
	gate_wait(&p.stopped);
	shard_stop(&p.shard);
	loop_destroy(p.loop);
	return p.errors != 0;
}
