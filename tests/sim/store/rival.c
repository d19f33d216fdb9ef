/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second master, with an operator and a client of its own on one node, that
 * wants the same namespaces: one of another cluster, which must never get one,
 * or one of the same cluster that knows nothing of the first.  That one gets
 * them, and from then on nobody else's writes may hurt what it stores.  It may
 * also have begun with a copy of the first one's journal: then it reads what
 * that one knew, too.
 *
 * Invariant: it lives from rival_start() to rival_stop() and nothing else
 * happens to it.
 */
#include <stdlib.h>
#include <string.h>

#include "client/nof.h"
#include "io/thread.h"
#include "master/service.h"
#include "world.h"

#define MASTER	    "10.0.0.9:50051"
#define VALUE_BYTES (100 * KiB)
#define RIVAL_KEYS  8
/* Without reservations: a probe of the first master's and the time of a writer
 * that it has let begin. */
#define FENCE_NS (14 * NS_PER_S)

static struct {
	struct shard shard;
	struct service *svc;
	struct vol_set *vols;
	struct err err;
	uint64_t taken_ns; /* all namespaces */
	unsigned taken;
	mooncake_store_t store;
	uint64_t put_ns[RIVAL_KEYS]; /* acknowledged; 0 = not */
	uint8_t bytes[VALUE_BYTES];
	uint8_t known[VALUE_MAX];
	char journal[300];
} rival;

static void rival_open(void *arg)
{
	struct service_opts opts = {
		.cluster_id = has_successor() ? "sim" : "other",
		.probe_interval_ns = 2 * NS_PER_S,
		.probe_timeout_ms = 1000,
	};
	const struct keeper_opts keeper = {
		.dir = rival.journal,
		.sync = KEEP_NEVER,
		.snapshot_bytes = 16 * KiB,
		.snapshot_interval_ns = 5 * NS_PER_S,
	};
	struct rpc_server_opts rpc = {
		.loop = rival.shard.loop,
		.handler = service_handle,
	};
	struct rpc_server *server;

	core_opts_default(&opts.core);
	opts.core.generation = time_wall_ns() / NS_PER_US << 12;
	opts.core.write_ns = 8 * NS_PER_S;
	if (w.plan.rival == RIVAL_COPY)
		opts.journal = &keeper;
	if (w.plan.has_owner)
		opts.owner_key = owner_key_make(opts.cluster_id);
	CHECK(service_open(rival.shard.loop, &opts, rival.vols, &rival.svc,
			   &rival.err) == 0);
	rpc.arg = rival.svc;
	CHECK(addr_parse("10.0.0.9", 50051, &rpc.addr) == 0);
	CHECK(rpc_server_open(&rpc, &rpc.addr, &server, &rival.err) == 0);
}

static void register_all(void)
{
	struct endpoint ep;
	struct err err;

	for (unsigned i = 0; i < TARGETS; i++) {
		err = (struct err){0};
		endpoint_of(i, &ep);
		if (nof_register(MASTER, &ep, 0, &err) < 0) {
			note("rival, target %u: %s", i, err.text);
			continue;
		}
		if (w.plan.rival == RIVAL_OTHER)
			fail("another cluster's master got target %u", i);
		rival.taken++;
		note("the rival has taken target %u", i);
	}
	rival.taken_ns = now_ns();
}

/* Must what was stored then be there? */
static bool is_safe(uint64_t put_ns)
{
	return put_ns &&
	       (w.plan.has_owner || put_ns > rival.taken_ns + FENCE_NS);
}

static void store_one(unsigned i)
{
	mooncake_put_opts_t opts = MOONCAKE_PUT_OPTS_INIT;
	uint64_t start_ns = now_ns();
	size_t size = VALUE_BYTES;
	void *p = rival.bytes;
	mooncake_pieces_t pieces = {&p, &size, 1};
	char text[16];
	const char *name = text;
	int result = -1;

	opts.replica_num = 0;
	opts.nof_replica_num = 1;
	snprintf(text, sizeof(text), "rival%u", i);
	memset(rival.bytes, (int)i + 1, VALUE_BYTES);
	mooncake_store_batch_put_pieces(rival.store, &name, &pieces, 1, &opts,
					&result);
	note("rival put %u: %d", i, result);
	rival.put_ns[i] = result == 0 ? start_ns : 0;
	w.rival_puts += result == 0;
}

static void read_one(unsigned i)
{
	char name[16];
	int64_t n;

	snprintf(name, sizeof(name), "rival%u", i);
	memset(rival.bytes, 0, VALUE_BYTES);
	n = mooncake_store_get_into(rival.store, name, rival.bytes,
				    VALUE_BYTES);
	note("rival get %u: %lld", i, (long long)n);
	if (n < 0 && is_safe(rival.put_ns[i]))
		fail("what a client of the namespaces' owner stored at %llu "
		     "can't be read: %lld",
		     (unsigned long long)rival.put_ns[i], (long long)n);
	for (int64_t k = 0; k < n; k++)
		if (rival.bytes[k] != i + 1)
			fail("the rival's client reads wrong bytes");
	if (n < 0)
		rival.put_ns[i] = 0;
	w.rival_gets += n > 0;
}

/* Any that was put, or none: those it knows may be gone by now. */
static void read_known(void)
{
	unsigned key = (unsigned)below(w.plan.keys);
	char name[16];
	int64_t n;

	snprintf(name, sizeof(name), "key%u", key);
	n = mooncake_store_get_into(rival.store, name, rival.known, VALUE_MAX);
	note("rival get of key=%u: %lld", key, (long long)n);
	if (n >= 0 && !was_put(key, rival.known, n))
		fail("the rival's client reads wrong bytes of key %u", key);
	w.rival_known += n >= 0;
}

static void remove_one(unsigned i)
{
	char name[16];

	snprintf(name, sizeof(name), "rival%u", i);
	if (mooncake_store_remove(rival.store, name, true) == 0)
		rival.put_ns[i] = 0;
}

static void use(void)
{
	const char *names[] = {"local_hostname", "metadata_server",
			       "global_segment_size", "master_server_addr"};
	const char *values[] = {"10.0.0.9:12345", "P2PHANDSHAKE", "0", MASTER};

	rival.store = mooncake_store_create();
	CHECK(rival.store);
	if (mooncake_store_setup_config(rival.store, names, values,
					ARRAY_SIZE(names)) != 0)
		fail("rival: %s", mooncake_store_setup_error(rival.store));
	for (;;) {
		unsigned i = (unsigned)below(RIVAL_KEYS);

		if (w.plan.rival == RIVAL_COPY && chance(0.4))
			read_known();
		else if (rival.put_ns[i] && chance(0.3))
			remove_one(i);
		else if (rival.put_ns[i])
			read_one(i);
		else
			store_one(i);
		io_sim_sleep(below(50 * NS_PER_MS));
	}
}

/* The namespaces that it knew are its own. */
static bool has_taken_all(void)
{
	const struct segment *seg;

	list_for_each (seg, &rival.svc->core->segments, node)
		if (seg->kind == KIND_NOF && seg->state != SEG_ONLINE)
			return false;
	return true;
}

static void rival_main(void *arg)
{
	struct vol_opts opts;

	CHECK(shard_start(&rival.shard, &(struct loop_opts){.name = "rival"},
			  &rival.err) == 0);
	CHECK(vol_opts_init(&opts, &rival.err) == 0);
	opts.workers = 1;
	CHECK(vol_set_create(&opts, &rival.vols, &rival.err) == 0);
	io_sim_sleep(2 * NS_PER_S + below(3 * NS_PER_S));
	if (w.plan.rival == RIVAL_COPY) {
		snprintf(rival.journal, sizeof(rival.journal), "%s/copy",
			 files_path());
		files_copy(rival.journal);
	}
	shard_call(&rival.shard, rival_open, NULL);
	while (w.plan.rival == RIVAL_OTHER) {
		register_all();
		io_sim_sleep(NS_PER_S);
	}
	while (rival.taken < TARGETS) {
		rival.taken = 0;
		register_all();
	}
	while (!has_taken_all())
		io_sim_sleep(10 * NS_PER_MS);
	rival.taken_ns = now_ns();
	use();
}

void rival_start(void)
{
	if (w.plan.rival != RIVAL_NONE)
		io_sim_spawn(w.sim, NODE_RIVAL, rival_main, NULL);
}

void rival_stop(void)
{
	if (w.plan.rival == RIVAL_NONE)
		return;
	if (has_successor() && !w.rival_puts)
		fail("the successor has stored nothing: it took %u namespaces",
		     rival.taken);
	io_sim_kill(w.sim, NODE_RIVAL, false);
}
