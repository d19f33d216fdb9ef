/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of the simulated machines: each is a thread that starts what the
 * program of that name starts.  Invariant: lives[] is of the life that is, or
 * was the last.
 */
#include <stdlib.h>
#include <string.h>

#include "io/thread.h"
#include "master/note.h"
#include "master/service.h"
#include "target/target.h"
#include "world.h"

#define MASTER_PORT 50051

static struct life {
	unsigned node;
	struct shard shard;
	struct addr addr;
	struct err err;
	struct vol_set *vols;
	struct service *svc; /* NULL: no master, or not yet */
} lives[NODES];

static void life_begin(struct life *life, unsigned node, uint16_t port)
{
	char host[24];

	*life = (struct life){.node = node};
	snprintf(host, sizeof(host), "10.0.0.%u", node);
	CHECK(addr_parse(host, port, &life->addr) == 0);
	CHECK(shard_start(&life->shard, &(struct loop_opts){.name = "sim"},
			  &life->err) == 0);
}

static void life_open(struct life *life, void (*open)(void *arg))
{
	shard_call(&life->shard, open, life);
	if (life->err.code && !files_are_dying())
		fail("node %u: %s", life->node, life->err.text);
}

/* --- master --- */

/* What the last life knew; its memory stays when it is dead. */
static struct {
	struct core *core;
	bool is_exact; /* and the next one has to know */
} last;

static bool master_keeps(struct keeper_opts *out)
{
	static const enum keep_sync syncs[] = {
		[KEEP_SOME] = KEEP_INTERVAL,
		[KEEP_ALL] = KEEP_ALWAYS,
		[KEEP_WRITTEN] = KEEP_NEVER,
	};

	if (w.plan.keep == KEEP_NOTHING)
		return false;
	*out = (struct keeper_opts){
		.dir = files_path(),
		.sync = syncs[w.plan.keep],
		.sync_interval_ns = SYNC_NS,
		.snapshot_bytes = w.plan.has_turns ? 2 * KiB : 16 * KiB,
		.snapshot_interval_ns = 5 * NS_PER_S,
	};
	return true;
}

/* Nothing has changed since the journal was read. */
static void master_recovered(struct life *life)
{
	if (last.is_exact)
		audit_recovered(life->svc->core, last.core);
	if (last.core)
		audit_held();
	last.core = life->svc->core;
}

static void master_open(void *arg)
{
	struct life *life = arg;
	struct service_opts opts = {
		.cluster_id = "sim",
		.probe_interval_ns = 2 * NS_PER_S,
		.probe_timeout_ms = 1000,
	};
	struct keeper_opts keeper;

	if (w.plan.has_owner)
		opts.owner_key = owner_key_make(opts.cluster_id);
	if (master_keeps(&keeper))
		opts.journal = &keeper;
	core_opts_default(&opts.core);
	opts.core.lease_ns = LEASE_NS;
	opts.core.write_ns = 8 * NS_PER_S;
	opts.core.discard_ns = 10 * NS_PER_S;
	opts.core.release_ns = 20 * NS_PER_S;
	opts.core.client_ttl_ns = 5 * NS_PER_S;
	opts.core.lost_ns = 4 * NS_PER_S;
	opts.core.scrub_interval_ns = 5 * NS_PER_S;
	opts.core.stripe_bytes = w.plan.has_stripes ? STRIPE : 0;
	opts.core.generation = time_wall_ns() / NS_PER_US << 12;
	rand_fill_os(&opts.core.seed, sizeof(opts.core.seed));
	if (service_open(life->shard.loop, &opts, life->vols, &life->svc,
			 &life->err) == 0)
		master_recovered(life);
}

static void master_serve(void *arg)
{
	struct life *life = arg;
	const struct rpc_server_opts rpc = {
		.loop = life->shard.loop,
		.addr = life->addr,
		.handler = service_handle,
		.arg = life->svc,
	};
	struct rpc_server *server;

	rpc_server_open(&rpc, &life->addr, &server, &life->err);
}

/* As the program does. */
static void master_settle(const struct life *life)
{
	uint64_t until_ns = now_ns() + 2 * NS_PER_S;

	while (life->svc->keeper && now_ns() < until_ns &&
	       !keeper_is_settled(life->svc->keeper))
		io_sim_sleep(50 * NS_PER_MS);
}

static void master_main(void *arg)
{
	struct life *life = arg;
	struct vol_opts opts;

	life_begin(life, NODE_MASTER, MASTER_PORT);
	CHECK(vol_opts_init(&opts, &life->err) == 0);
	opts.workers = 1;
	CHECK(vol_set_create(&opts, &life->vols, &life->err) == 0);
	life_open(life, master_open);
	master_settle(life);
	life_open(life, master_serve);
	w.master_lives++;
}

/* What was acknowledged before is on disk: nothing if it is never synced.  From
 * a sync that failed to the next snapshot nothing is. */
static uint64_t safe_until_ns(const struct keeper *k)
{
	uint64_t since_ns = now_ns(), lag_ns = 0;

	if (w.plan.keep == KEEP_WRITTEN)
		return 0;
	if (k && keeper_is_broken(k) && files_unsynced_ns())
		since_ns = files_unsynced_ns();
	if (w.plan.keep == KEEP_SOME)
		since_ns = MIN(since_ns, master_stood_ns());
	if (w.plan.keep == KEEP_SOME)
		lag_ns += SYNC_NS * 3 / 2;
	if (w.plan.has_turns)
		lag_ns += 6 * SYNC_SLOW_NS; /* a snapshot's stand in line */
	return since_ns - MIN(since_ns, lag_ns);
}

void master_died(bool is_power_cut)
{
	const struct life *life = &lives[NODE_MASTER];
	const struct keeper *k = life->svc ? life->svc->keeper : NULL;

	last.is_exact = k && !is_power_cut && !files_are_dying() &&
			!keeper_is_broken(k) &&
			!life->svc->core->notes->journal->has_news;
	if (is_power_cut)
		history_cut(safe_until_ns(k));
	w.lossy += is_power_cut;
	if (life->svc)
		audit_counts(life->svc->core);
	files_crash(is_power_cut);
}

struct core *master_core(void)
{
	struct life *life = &lives[NODE_MASTER];

	if (!io_sim_is_alive(w.sim, NODE_MASTER) || !life->svc)
		return NULL;
	return life->svc->core;
}

/* --- targets --- */

void nqn_of(unsigned target, char out[64])
{
	snprintf(out, 64, "nqn.2026-11.org.example:disk%u", target);
}

static void target_open(void *arg)
{
	struct life *life = arg;
	unsigned target = life->node - NODE_TARGET;
	struct tgt_opts opts = {.loop = life->shard.loop};
	struct tgt_ns_opts ns = {.nsid = 1, .uuid = w.at[target]->id};
	struct tgt_subsys *ss;
	struct tgt *tgt;
	char nqn[64];
	int ret;

	nqn_of(target, nqn);
	ret = tgt_create(&opts, &tgt, &life->err);
	if (ret == 0)
		ret = tgt_subsys_add(tgt, &(struct tgt_subsys_opts){.nqn = nqn},
				     &ss, &life->err);
	if (ret == 0)
		ret = tgt_ns_add(ss, medium_attach(w.at[target]), &ns,
				 &life->err);
	if (ret >= 0)
		tgt_listen(tgt, &life->addr, &life->err);
}

static void target_main(void *arg)
{
	struct life *life = arg;

	life_begin(life, life->node, TARGET_PORT);
	life_open(life, target_open);
}

/* --- clients --- */

static bool client_setup(unsigned client, mooncake_store_t store)
{
	char host[32];
	/* One has memory that the others use. */
	const char *names[] = {"local_hostname", "metadata_server",
			       "global_segment_size", "master_server_addr"};
	const char *values[] = {host, "P2PHANDSHAKE",
				client == 0 ? "6291456" : "0",
				"10.0.0.1:50051"};

	static_assert(MEM_BYTES == 6291456, "as above");
	snprintf(host, sizeof(host), "10.0.0.%u:12345", NODE_CLIENT + client);
	return mooncake_store_setup_config(store, names, values,
					   ARRAY_SIZE(names)) == 0;
}

static void client_main(void *arg)
{
	struct life *life = arg;
	unsigned client = life->node - NODE_CLIENT;
	struct client_node *c = &w.clients[client];
	mooncake_store_t store = mooncake_store_create();

	CHECK(store);
	while (!client_setup(client, store)) {
		note("client %u: %s", client,
		     mooncake_store_setup_error(store));
		io_sim_sleep(NS_PER_S);
	}
	note("client %u is there", client);
	c->store = store;
	client_jobs_start(client);
}

/* --- public --- */

void node_start(unsigned node)
{
	void (*run)(void *arg) = client_main;

	if (node == NODE_MASTER)
		run = master_main;
	else if (node < NODE_CLIENT)
		run = target_main;
	else if (node == NODE_OPERATOR)
		run = operator_main;
	lives[node] = (struct life){.node = node};
	io_sim_revive(w.sim, node);
	io_sim_spawn(w.sim, node, run, &lives[node]);
}
