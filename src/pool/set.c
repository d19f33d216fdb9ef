/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volume set: its workers, its life and its counters; pokes.
 *
 * create, destroy, stats: any thread, one at a time.  Invariant: no worker's
 * thread runs any more when the first struct of the set is freed.
 */
#include "pool/set.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"
#include "pool/job.h"

#define DESTROY_NS (10 * NS_PER_S)

static void poke_run(struct mbox_msg *msg)
{
	struct poke *poke = container_of(msg, struct poke, msg);

	/* Before run() looks at what was changed: a later send posts anew. */
	atomic_store(&poke->is_posted, false);
	poke->run(poke);
}

void poke_init(struct poke *poke, struct loop *loop,
	       void (*run)(struct poke *poke))
{
	poke->msg.run = poke_run;
	poke->loop = loop;
	poke->run = run;
	atomic_init(&poke->is_posted, false);
}

void poke_send(struct poke *poke)
{
	if (!atomic_exchange(&poke->is_posted, true))
		loop_post(poke->loop, &poke->msg);
}

static int check_opts(const struct vol_opts *opts, struct err *err)
{
	if (opts->workers < 1 || opts->workers > VOL_WORKERS_MAX)
		return err_set(err, -EINVAL, "%u workers: give 1 to %u",
			       opts->workers, VOL_WORKERS_MAX);
	if (opts->chunk_bytes < CHUNK_MIN || opts->chunk_bytes > CHUNK_MAX)
		return err_set(err, -EINVAL,
			       "chunks of %llu bytes: give %u to %llu",
			       (unsigned long long)opts->chunk_bytes, CHUNK_MIN,
			       (unsigned long long)CHUNK_MAX);
	if (opts->inflight_bytes < CHUNK_MIN)
		return err_set(
			err, -EINVAL, "%llu bytes in flight: give at least %u",
			(unsigned long long)opts->inflight_bytes, CHUNK_MIN);
	return 0;
}

/* The threads are stopped. */
static void set_free(struct vol_set *set)
{
	struct path *path, *next_path;
	struct vol *vol, *next_vol;
	struct mem_segment *m, *next_m;

	list_for_each_safe (vol, next_vol, &set->vols, node)
		vol_free(vol);
	list_for_each_safe (path, next_path, &set->paths, node)
		path_free(path);
	list_for_each_safe (m, next_m, &set->mems, node)
		free(m);
	for (unsigned i = 0; set->workers && i < set->opts.workers; i++)
		worker_free(&set->workers[i]);
	free(set->workers);
	pool_fini(&set->jobs);
	budget_fini(&set->budget);
	pthread_mutex_destroy(&set->jobs_mu);
	pthread_mutex_destroy(&set->mu);
	secret_clear(&set->opts.nvmf, sizeof(set->opts.nvmf));
	free(set);
}

static bool has_same_keys(const struct nvmf_opts *a, const struct nvmf_opts *b)
{
	return !memcmp(&a->dhchap_key, &b->dhchap_key, sizeof(a->dhchap_key)) &&
	       !memcmp(&a->dhchap_ctrl_key, &b->dhchap_ctrl_key,
		       sizeof(a->dhchap_ctrl_key)) &&
	       !memcmp(&a->tls_key, &b->tls_key, sizeof(a->tls_key));
}

bool set_keys_again(struct vol_set *set)
{
	struct nvmf_opts now = set->opts.nvmf;
	struct err err = {0};
	bool has_changed = false;

	if (!set->opts.key_files.key[0] && !set->opts.key_files.tls[0])
		return false;
	if (identity_keys_again(&set->opts.key_files, &now, &err)) {
		log_warn("key files not read again: the old keys stay",
			 "reason=\"%s\"", err.text);
	} else {
		has_changed = !has_same_keys(&now, &set->opts.nvmf);
		set->opts.nvmf = now;
	}
	secret_clear(&now, sizeof(now));
	return has_changed;
}

static void end_turn(void *arg)
{
}

/* What everybody waits for may be there before the turn of the worker that
 * brought it is over: lane_step() still pokes the control thread then.  No loop
 * goes before all those turns have ended. */
static void stop_workers(struct vol_set *set)
{
	for (unsigned i = 0; i < set->worker_count; i++)
		shard_call(&set->workers[i].shard, end_turn, NULL);
	for (unsigned i = 0; i < set->worker_count; i++)
		shard_stop(&set->workers[i].shard);
}

static void set_init(struct vol_set *set, const struct vol_opts *opts)
{
	uint64_t seed;

	set->opts = *opts;
	set->opts.chunk_bytes = split_round_chunk(opts->chunk_bytes);
	pthread_mutex_init(&set->mu, NULL);
	pthread_mutex_init(&set->jobs_mu, NULL);
	list_init(&set->vols);
	list_init(&set->paths);
	list_init(&set->mems);
	pool_init(&set->jobs,
		  sizeof(struct vol_job) + opts->workers * sizeof(struct part),
		  0);
	budget_init(&set->budget, opts->inflight_bytes);
	set->budget.turn_bytes = set->opts.chunk_bytes;
	rand_fill_os(&seed, sizeof(seed));
	rng_seed(&set->rng, seed);
}

int vol_set_create(const struct vol_opts *opts, struct vol_set **out,
		   struct err *err)
{
	struct vol_set *set;
	int ret = check_opts(opts, err);

	if (ret)
		return ret;
	set = calloc(1, sizeof(*set));
	if (!set)
		return err_set(err, -ENOMEM, "no memory for a volume set");
	set_init(set, opts);
	if (opts->numa_node >= 0) {
		ret = numa_cpus(opts->numa_node, &set->cpus, err);
		if (ret)
			goto fail;
	}
	set->workers = calloc(opts->workers, sizeof(set->workers[0]));
	if (!set->workers) {
		ret = err_set(err, -ENOMEM, "no memory for workers");
		goto fail;
	}
	for (unsigned i = 0; i < opts->workers; i++) {
		ret = worker_start(&set->workers[i], set, i, err);
		if (ret)
			goto fail;
		set->worker_count++;
	}
	sweep_init(set);
	report_init(set);
	*out = set;
	return 0;
fail:
	stop_workers(set);
	set_free(set);
	return ret;
}

/* Control thread. */
void set_maybe_closed(struct vol_set *set)
{
	struct path *path;
	bool is_quiet =
		set->is_closing && !set->visits && !set->sweep.is_passing;

	if (!is_quiet || !set->closed)
		return;
	list_for_each (path, &set->paths, node)
		is_quiet = is_quiet && path->state == PATH_GONE;
	if (is_quiet)
		gate_open(TAKE(set->closed));
}

struct set_close {
	struct vol_set *set;
	struct gate gate;
};

static void set_close(void *arg)
{
	struct set_close *close = arg;
	struct vol_set *set = close->set;
	struct path *path;

	set->is_closing = true;
	report_stop(set);
	sweep_stop(set);
	list_for_each (path, &set->paths, node)
		path_shut(path);
	set->closed = &close->gate;
	set_maybe_closed(set);
}

void vol_set_destroy(struct vol_set *set)
{
	struct set_close close = {.set = set};

	if (!set)
		return;
	gate_init(&close.gate);
	shard_call(&set->workers[0].shard, set_close, &close);
	/* Closing is bounded by nvmf's own deadlines, visits by theirs. */
	if (!gate_wait_for(&close.gate, DESTROY_NS))
		log_warn("connections close slowly", "waiting for %u visits",
			 set->visits);
	gate_wait(&close.gate);
	stop_workers(set);
	set_free(set);
}

void vol_stats_get(struct vol_set *set, struct vol_stats *out)
{
	struct counters *c = &set->counters;

	*out = (struct vol_stats){
		.reads = atomic_load(&c->ops[0]),
		.writes = atomic_load(&c->ops[1]),
		.read_bytes = atomic_load(&c->bytes[0]),
		.write_bytes = atomic_load(&c->bytes[1]),
		.local_reads = atomic_load(&c->local[0]),
		.local_writes = atomic_load(&c->local[1]),
		.errors = atomic_load(&c->errors),
		.checksum_errors = atomic_load(&c->checksum_errors),
		.timeouts = atomic_load(&c->timeouts),
		.fenced = atomic_load(&c->fenced),
		.volumes_connected = atomic_load(&c->connected),
		.inflight_high = atomic_load(&set->budget.high),
	};
}

void vol_identity(const struct nvmf_ns_info *ns, char out[80])
{
	static const uint8_t zero[16];
	char hex[2 * 16 + 1];
	struct uuid uuid;

	if (memcmp(ns->uuid, zero, sizeof(ns->uuid))) {
		memcpy(uuid.b, ns->uuid, sizeof(uuid.b));
		memcpy(out, "uuid:", 5);
		uuid_format_hex(&uuid, out + 5);
		return;
	}
	if (memcmp(ns->nguid, zero, sizeof(ns->nguid))) {
		for (int i = 0; i < 16; i++)
			snprintf(hex + 2 * i, 3, "%02x", ns->nguid[i]);
		snprintf(out, 80, "nguid:%s", hex);
		return;
	}
	if (memcmp(ns->eui64, zero, sizeof(ns->eui64))) {
		for (int i = 0; i < 8; i++)
			snprintf(hex + 2 * i, 3, "%02x", ns->eui64[i]);
		snprintf(out, 80, "eui:%s", hex);
		return;
	}
	snprintf(out, 80, "none");
}
