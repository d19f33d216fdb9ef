/* SPDX-License-Identifier: Apache-2.0 */
/* A volume set and a target with RAM namespaces, in one process. */
#ifndef TESTS_UNIT_POOL_VOL_ENV_H
#define TESTS_UNIT_POOL_VOL_ENV_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/crc.h"
#include "base/log.h"
#include "base/time.h"
#include "io/memory.h"
#include "io/thread.h"
#include "pool/vol.h"
#include "proto/frame.h"
#include "t_rand.h"
#include "target/ident.h"
#include "target/target.h"

#define NS_BYTES (64 * MiB)
#define NS_COUNT 3
#define NQN	 "nqn.2024-01.io.mooncake:test"

struct env {
	struct vol_set *set;
	/* target */
	struct shard shard;
	struct tgt *tgt;
	uint16_t port; /* kept over restarts */
	struct uuid segments[NS_COUNT];
	uint8_t *mem[NS_COUNT];
	void *mem_p[NS_COUNT]; /* the same */
	uint32_t block;
	uint64_t ns_bytes;	/* what the target says, at most NS_BYTES */
	struct tgt_opts limits; /* of the target; its loop is set here */
	bool gives_up;		/* loss timeout 0 */
	bool has_ana;		/* the target reports ANA states */
	struct uuid ns_uuid;	/* of the first namespace; zero = derived */
};

struct env_call {
	struct env *env;
	struct gate gate;
	int ret;
};

static inline struct bdev *env_bdev(struct env *env, unsigned i)
{
	struct bdev *bdev = NULL;
	struct err err = {0};

	if (bdev_ram_create(env->mem[i], env->ns_bytes, &bdev, &err))
		fail_msg("%s", err.text);
	bdev->block = env->block;
	return bdev;
}

static inline void env_tgt_start_on(void *arg)
{
	struct env *env = arg;
	struct tgt_opts opts = env->limits;
	struct tgt_subsys *ss;
	struct err err = {0};
	struct addr addr;

	/* Small, so that most writes ask for their R2T. */
	if (!opts.in_capsule)
		opts.in_capsule = 16384;
	opts.loop = env->shard.loop;
	if (tgt_create(&opts, &env->tgt, &err) ||
	    tgt_subsys_add(env->tgt,
			   &(struct tgt_subsys_opts){
				   .nqn = NQN, .ana_reporting = env->has_ana},
			   &ss, &err))
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < NS_COUNT; i++) {
		struct tgt_ns_opts ns = {0};

		if (i == 0)
			ns.uuid = env->ns_uuid;
		if (tgt_ns_add(ss, env_bdev(env, i), &ns, &err) != (int)i + 1)
			fail_msg("%s", err.text);
	}
	assert_int_equal(addr_parse("127.0.0.1", env->port, &addr), 0);
	if (tgt_listen(env->tgt, &addr, &err))
		fail_msg("%s", err.text);
	env->port = addr_port(&addr);
}

static inline void env_tgt_stopped(void *arg)
{
	struct env_call *call = arg;

	gate_open(&call->gate);
}

static inline void env_tgt_stop_on(void *arg)
{
	struct env_call *call = arg;

	tgt_stop(call->env->tgt, env_tgt_stopped, call);
	call->env->tgt = NULL;
}

static inline void env_tgt_start(struct env *env)
{
	shard_call(&env->shard, env_tgt_start_on, env);
}

static inline void env_nothing(void *arg)
{
	(void)arg;
}

/* TSan does not see that the network orders what both ends do to memory. */
static inline void env_sync(struct env *env)
{
	shard_call(&env->shard, env_nothing, env);
}

static inline void env_tgt_stop(struct env *env)
{
	struct env_call call = {.env = env};

	gate_init(&call.gate);
	shard_call(&env->shard, env_tgt_stop_on, &call);
	gate_wait(&call.gate);
}

static inline void env_set_start(struct env *env, const struct vol_opts *change)
{
	struct vol_opts opts;
	struct err err = {0};

	if (vol_opts_init(&opts, &err))
		fail_msg("%s", err.text);
	if (change) {
		opts.workers = change->workers;
		opts.chunk_bytes = change->chunk_bytes;
		opts.inflight_bytes = change->inflight_bytes;
		opts.nvmf.hdgst = change->nvmf.hdgst;
		opts.nvmf.ddgst = change->nvmf.ddgst;
		opts.multipath = change->multipath;
		opts.nvmf.kato_ms = change->nvmf.kato_ms;
		opts.nvmf.dhchap_key = change->nvmf.dhchap_key;
		opts.nvmf.abort_timeout_ms = change->nvmf.abort_timeout_ms;
		opts.nvmf.io_queues = change->nvmf.io_queues;
	}
	opts.nvmf.command_timeout_ms = change && change->nvmf.command_timeout_ms
					       ? change->nvmf.command_timeout_ms
					       : 1000;
	opts.nvmf.connect_timeout_ms = 500;
	if (env->gives_up)
		opts.loss_timeout_s = 0;
	if (vol_set_create(&opts, &env->set, &err))
		fail_msg("%s", err.text);
}

static inline void env_init(struct env *env, uint32_t block)
{
	struct err err = {0};

	*env = (struct env){.block = block, .ns_bytes = NS_BYTES};
	for (unsigned i = 0; i < NS_COUNT; i++) {
		uuid_make(&env->segments[i]);
		assert_int_equal(mem_map(NS_BYTES, false, &env->mem_p[i]), 0);
		env->mem[i] = env->mem_p[i];
	}
	if (shard_start(&env->shard, &(struct loop_opts){.name = "tgt"}, &err))
		fail_msg("%s", err.text);
	env_tgt_start(env);
}

static inline void env_fini(struct env *env)
{
	vol_set_destroy(env->set);
	if (env->tgt)
		env_tgt_stop(env);
	shard_stop(&env->shard);
	for (unsigned i = 0; i < NS_COUNT; i++)
		mem_unmap(env->mem_p[i], NS_BYTES);
}

static inline void env_endpoint(const struct env *env, uint32_t nsid,
				char out[ENDPOINT_TEXT_LEN])
{
	snprintf(out, ENDPOINT_TEXT_LEN,
		 "traddr:127.0.0.1 trsvcid:%u subnqn:%s trtype:TCP "
		 "adrfam:IPv4 ns:%u",
		 env->port, NQN, nsid);
}

/* Of a namespace of env_tgt_start_on(), as its initiator sees it. */
static inline void env_identity(const struct env *env, unsigned i, char out[80])
{
	struct nvmf_ns_info ns = {0};
	struct uuid uuid = i == 0 ? env->ns_uuid : (struct uuid){0};

	if (uuid_is_zero(&uuid))
		ident_uuid(NQN, i + 1, "", &uuid);
	memcpy(ns.uuid, uuid.b, sizeof(ns.uuid));
	vol_identity(&ns, out);
}

static inline void env_superblock(struct env *env, unsigned i, uint64_t epoch)
{
	struct superblock sb = {
		.segment = env->segments[i],
		.ns_bytes = NS_BYTES,
		.block_bytes = env->block,
		.epoch = epoch,
	};

	env_identity(env, i, sb.identity);
	sb_encode(&sb, env->mem[i]);
}

static inline struct vol *env_vol(struct env *env, unsigned i, bool is_nof,
				  uint64_t epoch)
{
	char text[ENDPOINT_TEXT_LEN];
	const char *endpoints[1] = {text};
	struct vol_desc desc = {
		.segment = env->segments[i],
		.is_nof = is_nof,
		.epoch = epoch,
		.block_bytes = env->block,
		.endpoints = endpoints,
		.endpoint_count = 1,
	};
	struct err err = {0};
	struct vol *vol = NULL;

	env_endpoint(env, i + 1, text);
	if (vol_get(env->set, &desc, &vol, &err))
		fail_msg("%s", err.text);
	return vol;
}

/* --- waiting I/O --- */
struct env_io {
	struct vol_io io;
	struct gate gate;
};

static inline void env_io_done(struct vol_io *io)
{
	gate_open(&container_of(io, struct env_io, io)->gate);
}

static inline int env_io_run(struct env *env, struct env_io *r)
{
	int ret;

	gate_init(&r->gate);
	r->io.done = env_io_done;
	if (!r->io.deadline_ns)
		r->io.deadline_ns = time_mono_ns() + 20 * NS_PER_S;
	ret = vol_submit(env->set, &r->io);
	if (ret)
		return ret;
	if (!gate_wait_for(&r->gate, 60 * NS_PER_S))
		fail_msg("an I/O has not ended");
	return r->io.ret;
}

/* One extent, one piece. */
struct env_simple {
	struct vol *vol;
	bool is_write;
	uint64_t off, len;
	void *buf;
	uint32_t *crcs;
	uint64_t timeout_ns;
};

static inline int env_simple(struct env *env, const struct env_simple *s)
{
	struct vol_extent ext = {s->vol, s->off, s->len};
	struct iovec iov = {s->buf, s->len};
	struct env_io r = {.io = {
				   .is_write = s->is_write,
				   .extents = &ext,
				   .extent_count = 1,
				   .iov = &iov,
				   .iovcnt = 1,
				   .bytes = s->len,
				   .crcs = s->crcs,
			   }};

	if (s->timeout_ns)
		r.io.deadline_ns = time_mono_ns() + s->timeout_ns;
	return env_io_run(env, &r);
}

static inline void env_fill(void *p, size_t n, struct rng *rng)
{
	uint8_t *b = p;
	uint64_t v;

	for (; n >= 8; n -= 8, b += 8) {
		v = rng_u64(rng);
		memcpy(b, &v, 8);
	}
	for (; n; n--)
		*b++ = (uint8_t)rng_u64(rng);
}

#endif
