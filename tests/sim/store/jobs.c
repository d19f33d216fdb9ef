/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients do: puts, gets and removals of few keys, so that they meet.
 * Every job is a thread of its client and ends with it.
 */
#include <stdlib.h>

#include "client/store.h"
#include "world.h"

#define POOL_WISHES 2
#define PATIENT_S   60 /* until a call without faults succeeds */

struct job {
	unsigned client, life;
	uint8_t *buf;
	mooncake_store_t store;
};

static void key_name(unsigned key, char out[16])
{
	snprintf(out, 16, "key%u", key);
}

/* Somebody else's put of the key was enough, whatever becomes of it. */
static uint64_t puts_existing(const struct job *job)
{
	return stats_get(&store_of(job->store)->client->stats,
			 STAT_puts_existing);
}

static int put(struct job *job, unsigned key)
{
	static const struct {
		int64_t memory, nof;
	} wishes[] = {{0, 1}, {0, 2}, {1, 0}, {1, 1}, {0, 1}};
	static_assert(POOL_WISHES <= ARRAY_SIZE(wishes), "the first of them");
	mooncake_put_opts_t opts = MOONCAKE_PUT_OPTS_INIT;
	uint32_t version = put_begins(key);
	size_t size = value_size(key, version), wish;
	mooncake_pieces_t pieces = {(void *const *)&job->buf, &size, 1};
	uint64_t existing = puts_existing(job);
	char text[16];
	const char *name = text;
	int result = -1;

	wish = below(is_pool_key(key) ? POOL_WISHES : ARRAY_SIZE(wishes));
	if (w.plan.has_hedges)
		wish = 1;
	opts.replica_num = wishes[wish].memory;
	opts.nof_replica_num = wishes[wish].nof;
	key_name(key, text);
	value_fill(key, version, job->buf);
	mooncake_store_batch_put_pieces(job->store, &name, &pieces, 1, &opts,
					&result);
	put_ended(key, version, result, puts_existing(job) != existing);
	return result;
}

/* --- checksums: what a lease covers is what was written --- */

static uint64_t *get_begins(struct client_node *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(c->gets); i++) {
		if (c->gets[i])
			continue;
		c->gets[i] = now_ns();
		return &c->gets[i];
	}
	fail("a client has more gets than jobs");
}

static uint64_t oldest_get(const struct client_node *c)
{
	uint64_t oldest = UINT64_MAX;

	for (size_t i = 0; i < ARRAY_SIZE(c->gets); i++)
		if (c->gets[i])
			oldest = MIN(oldest, c->gets[i]);
	return oldest;
}

/* Behind a target that does not answer a get may outlive its lease.  The count
 * is the client's, so its other gets count, too. */
static void judge_checksums(struct client_node *c, const struct stats *stats)
{
	uint64_t misses = stats_get(stats, STAT_checksum_misses);
	bool is_new = misses != c->checksum_misses;

	c->checksum_misses = misses;
	if (is_new && !may_be_damaged() && now_ns() - oldest_get(c) < LEASE_NS)
		fail("client %u: a checksum was wrong under a lease, though no "
		     "disk lies",
		     (unsigned)(c - w.clients));
}

static int64_t get(struct job *job, unsigned key)
{
	struct client_node *c = &w.clients[job->client];
	uint64_t *began = get_begins(c), start_ns = *began;
	char name[16];
	int64_t n;

	key_name(key, name);
	n = mooncake_store_get_into(job->store, name, job->buf, VALUE_MAX);
	get_ended(key, job->buf, n, start_ns);
	judge_checksums(c, &store_of(job->store)->client->stats);
	*began = 0;
	return n;
}

static int removal(struct job *job, unsigned key, bool is_forced)
{
	uint64_t start_ns = now_ns();
	char name[16];
	int result;

	key_name(key, name);
	remove_begins(key);
	w.clients[job->client].removing[key]++;
	result = mooncake_store_remove(job->store, name, is_forced);
	w.clients[job->client].removing[key]--;
	remove_ended(key, start_ns, result);
	return result;
}

static void step(struct job *job)
{
	unsigned key = (unsigned)below(w.plan.keys);
	uint64_t what = below(10);

	w.clients[job->client].calls++;
	if (what < 4)
		put(job, key);
	else if (what < 8)
		get(job, key);
	else
		removal(job, key, what == 8);
	w.clients[job->client].calls--;
}

static void job_init(struct job *job, unsigned client)
{
	*job = (struct job){
		.client = client,
		.life = w.clients[client].life,
		.buf = malloc(VALUE_MAX),
		.store = w.clients[client].store,
	};
	CHECK(job->buf);
}

static void job_main(void *arg)
{
	struct job job;

	job_init(&job, (unsigned)(uintptr_t)arg);
	while (!w.is_quiet) {
		step(&job);
		io_sim_sleep(below(w.plan.pause_ns));
	}
	free(job.buf);
}

void client_jobs_start(unsigned client)
{
	for (unsigned i = 0; i < CLIENT_JOBS; i++)
		io_sim_spawn(w.sim, NODE_CLIENT + client, job_main,
			     (void *)(uintptr_t)client);
}

/* --- when all is well again --- */

static void must_store(struct job *job, unsigned key)
{
	uint64_t limit_ns = now_ns() + PATIENT_S * NS_PER_S;
	int result;

	do {
		/* One whose writer died can't be removed; a put takes its
		 * place in time. */
		removal(job, key, true);
		result = put(job, key);
		if (result == 0 && get(job, key) > 0)
			return;
		io_sim_sleep(NS_PER_S);
	} while (now_ns() < limit_ns);
	fail("client %u can't store key %u though all is well: %d", job->client,
	     key, result);
}

/* Nothing but a disk that lies can take away what the master has.  Once may
 * fail: a way that was lost seconds ago is not waited for. */
static void must_read(struct job *job, unsigned key)
{
	uint64_t limit_ns = now_ns() + PATIENT_S * NS_PER_S;
	int64_t n;

	while (must_be_held(key) || audit_is_held(key)) {
		n = get(job, key);
		if (n >= 0 || w.plan.has_media)
			return;
		if (now_ns() < limit_ns) {
			io_sim_sleep(NS_PER_S);
			continue;
		}
		fail("key %u can't be read (%lld) though the master has it",
		     key, (long long)n);
	}
}

static void last_words(void *arg)
{
	struct job job;

	job_init(&job, (unsigned)(uintptr_t)arg);
	w.clients[job.client].calls++;
	for (unsigned key = 0; key < KEYS; key++)
		must_read(&job, key);
	for (unsigned key = job.client; key < KEYS; key += CLIENTS)
		must_store(&job, key);
	for (unsigned key = job.client; key < KEYS; key += CLIENTS)
		CHECK(removal(&job, key, true) == 0);
	w.clients[job.client].calls--;
	free(job.buf);
}

void client_last_words(unsigned client)
{
	io_sim_spawn(w.sim, NODE_CLIENT + client, last_words,
		     (void *)(uintptr_t)client);
}

void client_hedges(void)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		const struct stats *stats =
			&store_of(w.clients[i].store)->client->stats;

		w.hedged += stats_get(stats, STAT_hedged_reads);
		w.hedges_won += stats_get(stats, STAT_hedges_won);
	}
	if (w.plan.has_hedges && !w.hedges_won)
		fail("no second read was faster, though disks were slow");
}
