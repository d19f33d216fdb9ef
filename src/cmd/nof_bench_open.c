/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nof_worker_pool_bench does before the clock runs: connects, looks at
 * what each namespace is and holds, takes the buffers.  Main thread; the
 * answers of probes come on a worker's.
 *
 * Invariant: nothing has been written to a namespace before all were judged.
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/time.h"
#include "cmd/nof_bench.h"
#include "io/memory.h"
#include "pool/split.h"

#define FIRST_IO_NS (10 * NS_PER_S)

/* --- probes --- */

struct look {
	struct vol_probe probe;
	_Atomic(unsigned) *left;
	struct gate *gate;
};

static void look_done(struct vol_probe *probe)
{
	struct look *look = container_of(probe, struct look, probe);
	struct gate *gate = look->gate;

	if (atomic_fetch_sub(look->left, 1) == 1)
		gate_open(gate);
}

static int parse_all(struct bench *b, struct look *looks, struct err *err)
{
	struct endpoint ep;

	for (size_t i = 0; i < b->plan.endpoints.count; i++) {
		struct bench_end *end = &b->ends[i];

		if (endpoint_parse(str_of(end->text), &ep, err))
			return err->code;
		ep.nsid = ep.nsid ? ep.nsid : 1; /* as upstream */
		endpoint_format(&ep, looks[i].probe.endpoint);
	}
	return 0;
}

static void probe_all(struct bench *b, struct look *looks)
{
	unsigned count = (unsigned)b->plan.endpoints.count;
	_Atomic(unsigned) left = count;
	struct gate gate;

	gate_init(&gate);
	for (unsigned i = 0; i < count; i++) {
		looks[i].left = &left;
		looks[i].gate = &gate;
		looks[i].probe.done = look_done;
		vol_probe_submit(b->set, &looks[i].probe);
	}
	gate_wait(&gate);
}

/* --- judging --- */

static int judge_contents(const struct bench *b, const struct bench_end *end,
			  const struct vol_probe *probe, struct err *err)
{
	if (b->plan.op == BENCH_READ || b->plan.is_overwrite_agreed ||
	    probe->label == LABEL_EMPTY)
		return 0;
	return err_set(err, -EEXIST,
		       "'%.200s' holds %.100s, which writing would destroy: "
		       "give --yes-overwrite if that is meant",
		       end->text, probe->label_text);
}

static int judge_range(struct bench *b, struct bench_end *end,
		       const struct nvmf_ns_info *ns, struct err *err)
{
	uint64_t size = ns->size_lba * ns->lba_bytes, range, bytes;

	bytes = b->plan.io_bytes;
	range = b->plan.range_bytes;
	if (bytes % ns->lba_bytes)
		return err_set(err, -EINVAL,
			       "--io_size=%llu is no multiple of the block "
			       "size of '%.200s', %u",
			       (unsigned long long)bytes, end->text,
			       ns->lba_bytes);
	if (b->plan.start_lba >= ns->size_lba)
		return err_set(
			err, -EINVAL,
			"--start_lba=%llu is behind the end of '%.200s', "
			"which has %llu blocks",
			(unsigned long long)b->plan.start_lba, end->text,
			(unsigned long long)ns->size_lba);
	end->base = b->plan.start_lba * ns->lba_bytes;
	if (range > size - end->base && b->plan.is_range_given)
		return err_set(err, -EINVAL,
			       "--range_bytes=%llu from block %llu on is more "
			       "than '%.200s' has, %llu bytes in all",
			       (unsigned long long)range,
			       (unsigned long long)b->plan.start_lba, end->text,
			       (unsigned long long)size);
	range = MIN(range, size - end->base);
	end->places = range / bytes;
	if (!end->places)
		return err_set(
			err, -EINVAL,
			"--range_bytes=%llu of '%.200s' is less than one "
			"I/O of %llu bytes",
			(unsigned long long)range, end->text,
			(unsigned long long)bytes);
	return 0;
}

static int judge_all(struct bench *b, const struct look *looks, struct err *err)
{
	for (size_t i = 0; i < b->plan.endpoints.count; i++) {
		const struct vol_probe *probe = &looks[i].probe;

		if (probe->ret)
			return err_set(err, probe->ret, "'%.200s': %.200s",
				       b->ends[i].text, probe->err.text);
		if (judge_range(b, &b->ends[i], &probe->ns, err) ||
		    judge_contents(b, &b->ends[i], probe, err))
			return err->code;
	}
	return 0;
}

/* --- volumes --- */

static int get_volume(struct bench *b, const struct look *looks, size_t index,
		      struct uuid *ids, struct err *err)
{
	const char *text = looks[index].probe.endpoint;
	struct vol_desc desc = {
		.block_bytes = looks[index].probe.ns.lba_bytes,
		.endpoints = &text,
		.endpoint_count = 1,
	};
	size_t same = 0;

	/* One volume for a namespace that is given twice. */
	while (strcmp(looks[same].probe.endpoint, text) != 0)
		same++;
	if (same == index) {
		uuid_make(&ids[index]);
		b->unique++;
	}
	ids[index] = desc.segment = ids[same];
	return vol_get(b->set, &desc, &b->ends[index].vol, err);
}

struct first {
	struct vol_io io;
	struct gate gate;
};

static void first_io_done(struct vol_io *io)
{
	gate_open(&container_of(io, struct first, io)->gate);
}

/* Reads one I/O, so that the connection is there when the clock runs. */
static int touch(struct bench *b, const struct bench_end *end, struct err *err)
{
	struct vol_extent ext = {
		.vol = end->vol, .off = end->base, .len = b->plan.io_bytes};
	struct iovec iov = {b->bufs, b->plan.io_bytes};
	struct first f = {.io = {
				  .done = first_io_done,
				  .extents = &ext,
				  .extent_count = 1,
				  .iov = &iov,
				  .iovcnt = 1,
				  .bytes = b->plan.io_bytes,
				  .deadline_ns = time_mono_ns() + FIRST_IO_NS,
			  }};
	int ret;

	gate_init(&f.gate);
	ret = vol_submit(b->set, &f.io);
	if (!ret) {
		gate_wait(&f.gate);
		ret = f.io.ret;
	}
	if (ret)
		return err_set(err, ret, "'%.200s': the first read failed: %s",
			       end->text, strerror(-ret));
	return 0;
}

static int get_volumes(struct bench *b, const struct look *looks,
		       struct err *err)
{
	size_t count = b->plan.endpoints.count;
	struct uuid *ids = calloc(count, sizeof(*ids));
	int ret = ids ? 0 : err_set(err, -ENOMEM, "out of memory");

	for (size_t i = 0; !ret && i < count; i++)
		ret = get_volume(b, looks, i, ids, err);
	for (size_t i = 0; !ret && i < count; i++)
		ret = touch(b, &b->ends[i], err);
	free(ids);
	return ret;
}

/* --- memory --- */

static uint64_t bufs_bytes(const struct bench *b)
{
	uint64_t slots = b->plan.endpoints.count * b->plan.depth;

	return slots * ALIGN_UP(b->plan.io_bytes, 4096);
}

static int take_buffers(struct bench *b, struct err *err)
{
	int64_t node = b->plan.socket_id;
	unsigned long mask[16] = {0};
	void *p;

	if (mem_map(bufs_bytes(b), false, &p))
		return err_set(err, -ENOMEM,
			       "%llu MiB for the buffers are not there: less "
			       "--iodepth or --io_size is needed",
			       (unsigned long long)(bufs_bytes(b) >> 20));
	b->bufs = p;
	if (node < 0)
		return 0;
	mask[node / 64] = 1ul << node % 64;
	if (syscall(SYS_mbind, p, bufs_bytes(b), MPOL_BIND, mask,
		    sizeof(mask) * 8, 0))
		return err_set(err, -errno, "--socket_id=%lld: %s",
			       (long long)node,
			       errno == EINVAL ? "there is no such NUMA node"
					       : strerror(errno));
	return 0;
}

static int take_memory(struct bench *b, struct err *err)
{
	size_t count = b->plan.endpoints.count;

	b->ends = calloc(count, sizeof(*b->ends));
	b->slots = calloc(count * b->plan.depth, sizeof(*b->slots));
	b->bench_jobs = calloc(b->plan.jobs, sizeof(*b->bench_jobs));
	b->reported = calloc(count, sizeof(*b->reported));
	if (!b->ends || !b->slots || !b->bench_jobs || !b->reported)
		return err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		struct bench_end *end = &b->ends[i];

		end->b = b;
		end->text = b->plan.endpoints.items[i];
		end->job = &b->bench_jobs[i % b->plan.jobs];
		rng_seed(&end->rng, b->plan.seed + i);
	}
	for (unsigned i = 0; i < b->plan.jobs; i++)
		b->bench_jobs[i] = (struct bench_job){.b = b, .index = i};
	return take_buffers(b, err);
}

static int take_marks(struct bench *b, struct err *err)
{
	if (!b->plan.is_verified || b->plan.op != BENCH_MIXED)
		return 0;
	for (size_t i = 0; i < b->plan.endpoints.count; i++) {
		struct bench_end *end = &b->ends[i];

		end->written = calloc(end->places / 8 + 1, 1);
		if (!end->written)
			return err_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

static int open_set(struct bench *b, struct err *err)
{
	const struct bench_plan *plan = &b->plan;
	int ret = vol_opts_init(&b->opts, err);

	if (ret)
		return ret;
	if (plan->workers)
		b->opts.workers = (uint32_t)plan->workers;
	if (plan->chunk_bytes)
		b->opts.chunk_bytes = split_round_chunk(plan->chunk_bytes);
	if (plan->inflight_bytes)
		b->opts.inflight_bytes = plan->inflight_bytes;
	return vol_set_create(&b->opts, &b->set, err);
}

int bench_open(struct bench *b, struct err *err)
{
	struct look *looks;
	int ret = take_memory(b, err);

	if (ret)
		return ret;
	looks = calloc(b->plan.endpoints.count, sizeof(*looks));
	if (!looks)
		return err_set(err, -ENOMEM, "out of memory");
	ret = parse_all(b, looks, err);
	if (!ret)
		ret = open_set(b, err);
	if (!ret) {
		probe_all(b, looks);
		ret = judge_all(b, looks, err);
	}
	if (!ret)
		ret = take_marks(b, err);
	if (!ret)
		ret = get_volumes(b, looks, err);
	free(looks);
	return ret;
}

void bench_close(struct bench *b)
{
	for (size_t i = 0; b->ends && i < b->plan.endpoints.count; i++) {
		vol_put(b->ends[i].vol);
		free(b->ends[i].written);
	}
	vol_set_destroy(b->set);
	if (b->bufs)
		mem_unmap(b->bufs, bufs_bytes(b));
	free(b->ends);
	free(b->slots);
	free(b->bench_jobs);
	free(b->reported);
}
