/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volume: a segment, the ways to it, and which of them take I/O.
 *
 * vol_get, vol_put and the tables: any thread, under the set's lock.  The state
 * and the ways: control thread.  Invariant: ready names READY ways only when it
 * is stored, and the generation that a way names decides where I/O that comes
 * late may go (way.c).
 */
#include "pool/vol.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/time.h"
#include "pool/set.h"

#define QUIET_NS (10 * NS_PER_S) /* of a way that is inaccessible */

static void publish(struct vol *vol, enum vol_state state, uint32_t ready)
{
	bool was_ready = atomic_load(&vol->state) == VOL_READY;

	if (was_ready != (state == VOL_READY))
		atomic_fetch_add(&vol->set->counters.connected,
				 was_ready ? (uint64_t)-1 : 1);
	atomic_store(&vol->ready, ready);
	atomic_store(&vol->state, state);
	for (unsigned i = 0; i < vol->set->worker_count; i++)
		poke_send(&vol->lanes[i].poke);
}

/* What a way that is READY counts for; its bit in *ready when it takes I/O. */
static enum vol_state judge_ana(const struct vol_way *way, uint32_t *ready)
{
	uint64_t now_ns = loop_now_ns(set_loop(way->vol->set));
	bool is_poor = way->ana == NVME_ANA_STATE_NONOPTIMIZED ||
		       atomic_load(&way->path->is_degraded);

	switch (way->ana) {
	case NVME_ANA_STATE_OPTIMIZED:
	case NVME_ANA_STATE_NONOPTIMIZED:
		*ready |= 1u << (way->index + (is_poor ? 16 : 0));
		return VOL_READY;
	case NVME_ANA_STATE_INACCESSIBLE:
		/* A moment: another way may be about to take over. */
		return now_ns - way->ana_ns < QUIET_NS ? VOL_RETRY : VOL_DOWN;
	case NVME_ANA_STATE_PERSISTENT_LOSS:
		return VOL_DOWN;
	default:
		return VOL_CHANGING; /* or not known yet */
	}
}

static enum vol_state judge_way(const struct vol_way *way, uint32_t *ready)
{
	switch (way->state) {
	case WAY_NEW:
		return VOL_NEW;
	case WAY_RETRY:
		return VOL_RETRY;
	case WAY_READY:
		return judge_ana(way, ready);
	case WAY_FENCED:
		return VOL_FENCED;
	case WAY_DOWN:
		return VOL_DOWN;
	}
	UNREACHABLE();
}

/* The most hopeful way decides. */
void vol_refresh(struct vol *vol)
{
	static const enum vol_state order[] = {
		VOL_READY, VOL_CHANGING, VOL_RETRY,
		VOL_NEW,   VOL_FENCED,	 VOL_DOWN,
	};
	unsigned seen = 0, i = 0;
	uint32_t ready = 0;

	for (unsigned w = 0; w < vol->way_count; w++)
		seen |= 1u << judge_way(&vol->ways[w], &ready);
	while (!(seen & 1u << order[i]))
		i++;
	if (seen & 1u << VOL_NEW)
		atomic_store(&vol->is_partial, true);
	if (order[i] != atomic_load(&vol->state) ||
	    ready != atomic_load(&vol->ready))
		publish(vol, order[i], ready);
}

/* Of the path that has most. */
unsigned vol_queue_pairs(const struct vol *vol)
{
	uint32_t ready = atomic_load(&vol->ready);
	unsigned most = 0;

	for (unsigned w = 0; w < vol->way_count; w++)
		if ((ways_good(ready) | ways_poor(ready)) & 1u << w)
			most = MAX(most, atomic_load(&vol->ways[w].lane_count));
	return most;
}

unsigned vol_ways_ready(const struct vol *vol)
{
	uint32_t ready = atomic_load(&vol->ready);

	return (unsigned)__builtin_popcount(ways_good(ready) ? ways_good(ready)
							     : ready);
}

static void vol_unpark(struct poke *poke)
{
	struct vol_lane *lane = container_of(poke, struct vol_lane, poke);
	enum vol_state state = atomic_load(&lane->vol->state);

	if (state != VOL_NEW)
		worker_unpark(lane->worker, &lane->parked);
	lane_unhold(lane); /* another path may be free */
}

bool vol_is_wanted(const struct vol *vol)
{
	return atomic_load(&vol->refs) > 0;
}

/* vol_get() wants it open: all ways at once, none waits for another. */
static void vol_control(struct poke *poke)
{
	struct vol *vol = container_of(poke, struct vol, control);

	if (vol->set->is_closing)
		return;
	atomic_store(&vol->is_partial, false);
	for (unsigned i = 0; i < vol->way_count; i++)
		way_want(&vol->ways[i]);
}

/* Is it still ours?  The superblock says so, or its path is fenced. */
static void vol_refused(struct poke *poke)
{
	struct vol *vol = container_of(poke, struct vol, refused);
	uint64_t now_ns = loop_now_ns(set_loop(vol->set));
	char text[UUID_TEXT_LEN];

	if (vol->set->is_closing ||
	    (vol->refused_ns && now_ns - vol->refused_ns < RECHECK_NS))
		return;
	vol->refused_ns = now_ns;
	uuid_format_hex(&vol->segment, text);
	log_warn("write refused by the target: another owner has reserved the "
		 "namespace; is our master the one in charge?",
		 "segment=%s epoch=%llu key=%016llx", text,
		 (unsigned long long)vol->epoch, (unsigned long long)vol->key);
	for (unsigned i = 0; i < vol->way_count; i++)
		if (vol->ways[i].path->state == PATH_LIVE)
			way_live(&vol->ways[i]);
}

/* --- tables, any thread --- */

static uint64_t endpoints_hash(const struct vol_desc *desc)
{
	uint64_t h = desc->endpoint_count;

	for (unsigned i = 0; i < desc->endpoint_count; i++)
		h = h * 0x9e3779b97f4a7c15u ^
		    hash_str(str_of(desc->endpoints[i]));
	return h;
}

static struct mem_segment *find_mem(struct vol_set *set,
				    const struct uuid *segment)
{
	struct mem_segment *m;

	list_for_each (m, &set->mems, node)
		if (uuid_eq(&m->segment, segment))
			return m;
	return NULL;
}

static bool is_same_endpoint(const struct vol_way *way,
			     const struct endpoint *ep)
{
	return way->nsid == ep->nsid && path_is_same(&way->path->ep, ep);
}

static int add_way(struct vol *vol, const char *text, struct err *err)
{
	struct vol_way *way = &vol->ways[vol->way_count];
	struct endpoint ep;
	size_t bytes;
	int ret = endpoint_parse(str_of(text), &ep, err);

	if (ret)
		return ret;
	if (ep.nsid == 0 || ep.trtype != NVME_TRTYPE_TCP)
		return err_set(err, -EINVAL, "endpoint '%.200s': %s", text,
			       ep.nsid ? "only trtype:TCP is supported here"
				       : "ns:<number> is missing");
	for (unsigned i = 0; i < vol->way_count; i++)
		if (is_same_endpoint(&vol->ways[i], &ep))
			return 0; /* said twice */
	bytes = MAX(vol->block_bytes, (uint32_t)SB_BYTES);
	way->path = path_get(vol->set, &ep, vol->key);
	if (!way->path || posix_memalign(&way->check_buf, SB_BYTES, bytes)) {
		way->check_buf = NULL;
		return err_set(err, -ENOMEM, "no memory for a path");
	}
	way->path->users++;
	way->vol = vol;
	way->index = vol->way_count++;
	way->nsid = ep.nsid;
	list_init(&way->node);
	return 0;
}

static int check_desc(const struct vol_desc *desc, struct err *err)
{
	if (desc->block_bytes < 512 || desc->block_bytes > BLOCK_MAX ||
	    !IS_POW2(desc->block_bytes))
		return err_set(err, -EINVAL,
			       "block size %u: only powers of two from 512 to "
			       "%u are supported",
			       desc->block_bytes, BLOCK_MAX);
	if (desc->endpoint_count > VOL_ENDPOINTS_MAX)
		return err_set(err, -EINVAL,
			       "%u endpoints for one segment: at most %u",
			       desc->endpoint_count, VOL_ENDPOINTS_MAX);
	return 0;
}

void vol_free(struct vol *vol)
{
	if (!vol)
		return;
	for (unsigned i = 0; i < vol->way_count; i++) {
		vol->ways[i].path->users--;
		free(vol->ways[i].check_buf);
	}
	free(vol);
}

static void vol_init(struct vol *vol, struct vol_set *set,
		     const struct vol_desc *desc)
{
	vol->set = set;
	vol->segment = desc->segment;
	vol->is_nof = desc->is_nof;
	vol->epoch = desc->epoch;
	vol->key = desc->key;
	vol->block_bytes = desc->block_bytes;
	vol->endpoints_hash = endpoints_hash(desc);
	poke_init(&vol->control, set_loop(set), vol_control);
	poke_init(&vol->refused, set_loop(set), vol_refused);
	for (unsigned i = 0; i < set->worker_count; i++) {
		struct vol_lane *lane = &vol->lanes[i];

		lane->vol = vol;
		lane->worker = &set->workers[i];
		list_init(&lane->parked);
		poke_init(&lane->poke, lane->worker->shard.loop, vol_unpark);
	}
}

static int vol_create(struct vol_set *set, const struct vol_desc *desc,
		      struct vol **out, struct err *err)
{
	struct vol *vol;
	size_t bytes;
	int ret;

	ret = check_desc(desc, err);
	if (ret)
		return ret;
	bytes = sizeof(*vol) + set->worker_count * sizeof(vol->lanes[0]);
	vol = calloc(1, bytes);
	if (!vol)
		return err_set(err, -ENOMEM, "no memory for a volume");
	vol_init(vol, set, desc);
	for (unsigned i = 0; i < desc->endpoint_count; i++) {
		ret = add_way(vol, desc->endpoints[i], err);
		if (ret)
			goto fail;
	}
	list_add_head(&set->vols, &vol->node); /* the last life's first */
	*out = vol;
	return 0;
fail:
	vol_free(vol);
	return ret;
}

static bool is_same_desc(const struct vol *vol, const struct vol_desc *desc)
{
	return vol->is_nof == desc->is_nof && vol->epoch == desc->epoch &&
	       vol->key == desc->key && vol->block_bytes == desc->block_bytes &&
	       vol->endpoints_hash == endpoints_hash(desc);
}

/* What the master says may alternate for a while: one volume for each thing
 * it said. */
static struct vol *find_vol(struct vol_set *set, const struct vol_desc *desc)
{
	struct vol *vol;

	list_for_each (vol, &set->vols, node)
		if (uuid_eq(&vol->segment, &desc->segment) &&
		    is_same_desc(vol, desc))
			return vol;
	return NULL;
}

static int get_locked(struct vol_set *set, const struct vol_desc *desc,
		      struct vol **out, struct err *err)
{
	struct vol *vol = find_vol(set, desc);
	struct mem_segment *m = find_mem(set, &desc->segment);
	int ret;

	if (!vol) {
		sweep_want(set);
		ret = vol_create(set, desc, &vol, err);
		if (ret)
			return ret;
		if (m) {
			atomic_store(&vol->mem_size, m->size);
			atomic_store(&vol->mem, m->mem);
		}
	}
	if (!atomic_load(&vol->mem) && !vol->way_count)
		return err_set(err, -EINVAL,
			       "the segment has no endpoint and is not in "
			       "this process");
	vol->is_unused = false;
	atomic_fetch_add(&vol->refs, 1);
	*out = vol;
	return 0;
}

int vol_get(struct vol_set *set, const struct vol_desc *desc, struct vol **out,
	    struct err *err)
{
	int ret;

	pthread_mutex_lock(&set->mu);
	ret = get_locked(set, desc, out, err);
	pthread_mutex_unlock(&set->mu);
	if (!ret && !atomic_load(&(*out)->mem) &&
	    (atomic_load(&(*out)->state) != VOL_READY ||
	     atomic_load(&(*out)->is_partial)))
		poke_send(&(*out)->control);
	return ret;
}

void vol_put(struct vol *vol)
{
	unsigned before;

	if (!vol)
		return;
	before = atomic_fetch_sub(&vol->refs, 1);
	ASSERT(before > 0);
}

static void set_mem(struct vol_set *set, const struct uuid *segment, void *mem,
		    uint64_t size)
{
	struct vol *vol;

	list_for_each (vol, &set->vols, node) {
		if (!uuid_eq(&vol->segment, segment))
			continue;
		atomic_store(&vol->mem_size, size);
		atomic_store(&vol->mem, mem);
	}
}

int vol_attach_memory(struct vol_set *set, const struct uuid *segment,
		      void *mem, uint64_t size)
{
	struct mem_segment *m = calloc(1, sizeof(*m));
	int ret = 0;

	if (!m)
		return -ENOMEM;
	*m = (struct mem_segment){
		.segment = *segment, .mem = mem, .size = size};
	pthread_mutex_lock(&set->mu);
	if (find_mem(set, segment)) {
		ret = -EEXIST;
		free(m);
	} else {
		list_add_tail(&set->mems, &m->node);
		set_mem(set, segment, mem, size);
	}
	pthread_mutex_unlock(&set->mu);
	return ret;
}

void vol_detach_memory(struct vol_set *set, const struct uuid *segment)
{
	struct mem_segment *m;

	pthread_mutex_lock(&set->mu);
	m = find_mem(set, segment);
	if (m) {
		set_mem(set, segment, NULL, 0);
		list_del(&m->node);
		free(m);
	}
	pthread_mutex_unlock(&set->mu);
}

/* A worker copies between two messages, so it is over with what it took the
 * memory for. */
static void detach_pass(struct mbox_msg *msg)
{
	struct vol_detach *detach = container_of(msg, struct vol_detach, msg);
	struct vol_set *set = detach->set;

	if (++detach->passed < set->worker_count)
		loop_post(set->workers[detach->passed].shard.loop, msg);
	else
		detach->done(detach);
}

void vol_detach_memory_start(struct vol_set *set, const struct uuid *segment,
			     struct vol_detach *detach)
{
	vol_detach_memory(set, segment);
	detach->set = set;
	detach->passed = 0;
	detach->msg.run = detach_pass;
	loop_post(set->workers[0].shard.loop, &detach->msg);
}
