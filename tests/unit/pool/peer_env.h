/* SPDX-License-Identifier: Apache-2.0 */
/* One namespace behind two targets: a volume with two ways. */
#ifndef TESTS_UNIT_POOL_PEER_ENV_H
#define TESTS_UNIT_POOL_PEER_ENV_H

#include <time.h>

#include "vol_env.h"

#define DATA  POOL_DATA_OFFSET
#define EPOCH 3

/* A second target over the memory of the first: in the same thread, because
 * TSan does not see that the network orders what both do to it, or in one of
 * its own, so that one of them can stand still. */
struct peer {
	struct env env; /* tgt, port; shard and mem are the first one's */
	bool has_thread;
};

struct world {
	struct env env;
	struct peer peer;
	char text[2][ENDPOINT_TEXT_LEN];
	struct vol *vol;
};

static inline void nap_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000 * 1000}, NULL);
}

static inline void peer_start(struct peer *peer, const struct env *first)
{
	struct err err = {0};

	peer->env = *first;
	peer->env.tgt = NULL;
	peer->env.port = 0;
	if (peer->has_thread &&
	    shard_start(&peer->env.shard, &(struct loop_opts){.name = "peer"},
			&err))
		fail_msg("%s", err.text);
	env_tgt_start(&peer->env);
}

static inline void world_open(struct world *w, const struct vol_opts *change)
{
	env_init(&w->env, 512);
	env_superblock(&w->env, 0, EPOCH);
	peer_start(&w->peer, &w->env);
	env_set_start(&w->env, change);
}

/* Of the first namespace, behind these two. */
static inline struct vol *world_vol_by(struct world *w, const struct env *a,
				       const struct env *b)
{
	const char *eps[2] = {w->text[0], w->text[1]};
	struct vol_desc desc = {.segment = w->env.segments[0],
				.is_nof = true,
				.epoch = EPOCH,
				.block_bytes = 512,
				.endpoints = eps,
				.endpoint_count = 2};
	struct err err = {0};
	struct vol *vol;

	env_endpoint(a, 1, w->text[0]);
	env_endpoint(b, 1, w->text[1]);
	if (vol_get(w->env.set, &desc, &vol, &err))
		fail_msg("%s", err.text);
	return vol;
}

static inline struct vol *world_vol(struct world *w)
{
	return world_vol_by(w, &w->env, &w->peer.env);
}

static inline void world_close(struct world *w)
{
	vol_put(w->vol);
	vol_set_destroy(w->env.set);
	w->env.set = NULL;
	if (w->peer.env.tgt)
		env_tgt_stop(&w->peer.env);
	if (w->peer.has_thread)
		shard_stop(&w->peer.env.shard);
	env_fini(&w->env);
}

/* Until so many ways take I/O. */
static inline void wait_ways(struct world *w, unsigned count)
{
	uint64_t end_ns = time_mono_ns() + 20 * NS_PER_S;

	while (vol_ways_ready(w->vol) != count) {
		if (time_mono_ns() > end_ns)
			fail_msg("%u ways, not %u", vol_ways_ready(w->vol),
				 count);
		nap_ms(5);
	}
}

static inline struct vol_path_stats stats_of(struct world *w, unsigned way)
{
	struct vol_path_stats s[8];
	size_t n = vol_paths_get(w->env.set, s, 8);
	char port[32];

	snprintf(port, sizeof(port), "trsvcid:%u ",
		 way ? w->peer.env.port : w->env.port);
	for (size_t i = 0; i < n; i++)
		if (strstr(s[i].name, port))
			return s[i];
	fail_msg("no path with %s", port);
	return s[0];
}

static inline int transfer(struct world *w, bool is_write, void *buf,
			   uint64_t len)
{
	return env_simple(&w->env, &(struct env_simple){.vol = w->vol,
							.is_write = is_write,
							.off = DATA,
							.len = len,
							.buf = buf});
}

static inline void open_default(struct world *w, enum vol_multipath policy)
{
	struct vol_opts change = {.workers = 2,
				  .chunk_bytes = 128 * KiB,
				  .inflight_bytes = 32 * MiB,
				  .multipath = policy};

	world_open(w, &change);
	w->vol = world_vol(w);
	wait_ways(w, 2);
}

/* A thread that stands still. */
struct block {
	struct mbox_msg msg;
	struct gate begun, end;
};

static inline void block_run(struct mbox_msg *msg)
{
	struct block *b = container_of(msg, struct block, msg);

	gate_open(&b->begun);
	gate_wait(&b->end);
}

#endif
