/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory segment.  Called from the thread that runs setup or close; the
 * target itself lives on the segment's shard.
 *
 * Invariant: the memory outlives the target, which outlives no connection.
 */
#include "client/segment.h"

#include <errno.h>
#include <stdio.h>

#include "io/memory.h"
#include "pool/identity.h"

#define SEGMENT_NQN "nqn.2026-11.io.mooncake:segment:"

struct segment_job {
	struct segment *seg;
	struct addr *addr;
	struct err *err;
	int ret;
	struct gate gate;
};

void segment_nqn(const struct segment *seg, char out[NVME_NQN_LEN])
{
	char id[UUID_TEXT_LEN];

	uuid_format_hex(&seg->id, id);
	snprintf(out, NVME_NQN_LEN, SEGMENT_NQN "%s", id);
}

/* One key for the cluster: what this process proves itself with to others is
 * what others prove themselves with to it. */
static int segment_set_keys(struct segment *seg, struct err *err)
{
	struct nvmf_opts self = {0};
	struct tgt_keys keys;
	int ret = identity_read("/etc", &self, err);

	keys.host = self.dhchap_key;
	keys.ctrl = self.dhchap_ctrl_key;
	if (ret == 0 && keys.host.len) {
		ret = tgt_keys_set(seg->tgt, NULL, NULL, &keys);
		if (ret)
			err_set(err, ret, "out of memory");
	}
	if (ret == 0 && self.tls_key.len) {
		seg->is_tls = true;
		ret = tgt_tls_key_set(seg->tgt, NULL, NULL, &self.tls_key);
		if (ret)
			err_set(err, ret, "out of memory");
	}
	secret_clear(&self, sizeof(self));
	secret_clear(&keys, sizeof(keys));
	return ret;
}

static int segment_serve(struct segment *seg, struct err *err)
{
	struct tgt_ns_opts ns = {.nsid = 1, .uuid = seg->id};
	char nqn[NVME_NQN_LEN];
	struct tgt_subsys *ss;
	struct bdev *bdev;
	int ret;

	segment_nqn(seg, nqn);
	ret = tgt_subsys_add(seg->tgt, &(struct tgt_subsys_opts){.nqn = nqn},
			     &ss, err);
	if (ret < 0)
		return ret;
	ret = bdev_ram_create(seg->mem, seg->bytes, &bdev, err);
	if (ret < 0)
		return ret;
	ret = tgt_ns_add(ss, bdev, &ns, err);
	if (ret < 0)
		bdev->ops->destroy(bdev);
	return ret;
}

static void segment_make_target(void *arg)
{
	struct segment_job *job = arg;
	struct segment *seg = job->seg;
	struct tgt_opts opts = {.loop = seg->shard.loop};

	job->ret = tgt_create(&opts, &seg->tgt, job->err);
	if (job->ret < 0)
		return;
	job->ret = segment_set_keys(seg, job->err);
	if (job->ret == 0)
		job->ret = segment_serve(seg, job->err);
}

int segment_open(struct segment *seg, const struct client_conf *conf,
		 struct err *err)
{
	struct segment_job job = {.seg = seg, .err = err};
	int ret;

	uuid_make(&seg->id);
	seg->bytes = conf->segment_bytes;
	ret = mem_map(seg->bytes, conf->want_huge, &seg->mem);
	if (ret < 0)
		return err_set(err, ret,
			       "no memory for a segment of %llu bytes: make "
			       "global_segment_size smaller",
			       (unsigned long long)seg->bytes);
	ret = shard_start(&seg->shard,
			  &(struct loop_opts){.name = "mc-segment"}, err);
	if (ret < 0)
		return ret;
	shard_call(&seg->shard, segment_make_target, &job);
	return job.ret < 0 ? job.ret : 0;
}

static void segment_do_listen(void *arg)
{
	struct segment_job *job = arg;

	job->ret = job->seg->is_tls
			   ? tgt_listen_tls(job->seg->tgt, job->addr, false,
					    job->err)
			   : tgt_listen(job->seg->tgt, job->addr, job->err);
}

int segment_listen(struct segment *seg, struct addr *addr, struct err *err)
{
	struct segment_job job = {.seg = seg, .addr = addr, .err = err};

	shard_call(&seg->shard, segment_do_listen, &job);
	if (job.ret == 0)
		seg->listen = *addr;
	return job.ret;
}

/* --- another id --- */

static void segment_serve_anew(void *arg)
{
	struct segment *seg = arg;
	struct endpoint ep;
	struct err err = {0};
	int ret = endpoint_parse(str_of(seg->endpoint), &ep, &err);

	ASSERT(ret == 0); /* our own */
	uuid_make(&seg->id);
	segment_nqn(seg, ep.subnqn);
	endpoint_format(&ep, seg->endpoint);
	ret = segment_serve(seg, &err);
	seg->renewed(seg, MIN(ret, 0));
}

static void segment_renew_run(struct mbox_msg *msg)
{
	struct segment *seg = container_of(msg, struct segment, renew);
	struct tgt_subsys *ss;
	char nqn[NVME_NQN_LEN];

	segment_nqn(seg, nqn);
	ss = tgt_subsys_find(seg->tgt, nqn);
	/* None: it could not be added the last time. */
	if (!ss || tgt_subsys_remove(ss, segment_serve_anew, seg, NULL) < 0)
		segment_serve_anew(seg);
}

void segment_renew(struct segment *seg,
		   void (*done)(struct segment *seg, int ret))
{
	seg->renewed = done;
	seg->renew.run = segment_renew_run;
	loop_post(seg->shard.loop, &seg->renew);
}

/* --- the end --- */

static void segment_stopped(void *arg)
{
	struct segment_job *job = arg;

	gate_open(&job->gate);
}

static void segment_stop_target(void *arg)
{
	struct segment_job *job = arg;

	tgt_stop(job->seg->tgt, segment_stopped, job);
}

void segment_close(struct segment *seg)
{
	struct segment_job job = {.seg = seg};

	gate_init(&job.gate);
	if (seg->tgt) {
		shard_call(&seg->shard, segment_stop_target, &job);
		gate_wait(&job.gate);
		seg->tgt = NULL;
	}
	shard_stop(&seg->shard);
	if (seg->mem)
		mem_unmap(seg->mem, seg->bytes);
	seg->mem = NULL;
}
