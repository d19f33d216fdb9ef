/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volume: a segment, the ways to it, and whether it is what the master says.
 *
 * vol_get, vol_put and the tables: any thread, under the set's lock.  The state
 * machine: control thread.  Invariant: ready is not NULL only between a check
 * of identity and superblock that succeeded on a connection and the loss of
 * that connection; it names the generation, so I/O that comes late can't go to
 * a connection on which nothing was checked.
 */
#include "pool/vol.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/time.h"
#include "pool/set.h"

#define QUIET_NS (10 * NS_PER_S) /* so old a failure is no news any more */

static void vol_set_state(struct vol *vol, enum vol_state state)
{
	bool was_ready = atomic_load(&vol->state) == VOL_READY;
	struct vol_way *way = &vol->ways[vol->way];

	if (was_ready != (state == VOL_READY))
		atomic_fetch_add(&vol->set->counters.connected,
				 was_ready ? (uint64_t)-1 : 1);
	if (state == VOL_READY) {
		atomic_store(&way->lane_count, way->path->lane_count);
		atomic_store(&way->gen, way->path->gen);
	}
	atomic_store(&vol->ready, state == VOL_READY ? way : NULL);
	atomic_store(&vol->state, state);
	for (unsigned i = 0; i < vol->set->worker_count; i++)
		poke_send(&vol->lanes[i].poke);
}

static void vol_unpark(struct poke *poke)
{
	struct vol_lane *lane = container_of(poke, struct vol_lane, poke);
	enum vol_state state = atomic_load(&lane->vol->state);

	if (state != VOL_NEW)
		worker_unpark(lane->worker, &lane->parked);
}

bool vol_is_wanted(const struct vol *vol)
{
	return atomic_load(&vol->refs) > 0;
}

bool vol_needs_check(const struct vol *vol)
{
	return !vol->is_checking && vol_is_wanted(vol) &&
	       atomic_load(&vol->state) != VOL_READY;
}

/* --- check of a volume on a live path --- */

static bool check_is_stale(const struct vol *vol)
{
	const struct path *path = vol->ways[vol->way].path;

	return path != vol->check_path || path->state != PATH_LIVE ||
	       path->gen != vol->check_gen;
}

static void check_end(struct vol *vol, enum vol_state state, const char *why)
{
	char text[UUID_TEXT_LEN];
	bool is_news = atomic_load(&vol->state) != state;

	vol->is_checking = false;
	if (check_is_stale(vol)) {
		if (vol->ways[vol->way].path->state == PATH_LIVE)
			vol_path_live(vol);
		return;
	}
	vol->ways_failed = 0;
	vol->was_ready = vol->was_ready || state == VOL_READY;
	if (state != VOL_READY && is_news) {
		uuid_format_hex(&vol->segment, text);
		log_warn("volume refused", "segment=%s nsid=%u reason=\"%s\"",
			 text, vol->ways[vol->way].nsid, why);
	}
	if (state != VOL_READY)
		path_recheck(vol->check_path);
	if (is_news)
		vol_set_state(vol, state);
}

static void check_superblock(struct vol *vol)
{
	struct superblock sb;
	struct err err = {0};

	if (sb_decode(vol->check_buf, &sb, &err))
		check_end(vol, VOL_FENCED, err.text);
	else if (!uuid_eq(&sb.segment, &vol->segment))
		check_end(vol, VOL_FENCED, "it is another segment's namespace");
	else if (sb.epoch != vol->epoch)
		check_end(vol, VOL_FENCED,
			  "the superblock has another epoch: it was adopted "
			  "anew");
	else
		check_end(vol, VOL_READY, NULL);
}

static void check_read_done(struct nvmf_io *io)
{
	struct vol *vol = container_of(io, struct vol, io);

	if (io->sc != NVME_SC_OK)
		check_end(vol, VOL_DOWN, nvme_sc_text(io->sc));
	else
		check_superblock(vol);
}

static void check_read(struct vol *vol, const struct nvmf_ns_info *ns)
{
	struct lane *lane = &vol->ways[vol->way].path->lanes[0];

	vol->iov.iov_base = vol->check_buf;
	vol->iov.iov_len = MAX(vol->block_bytes, (uint32_t)SB_BYTES);
	vol->io = (struct nvmf_io){
		.done = check_read_done,
		.op = NVMF_READ,
		.nsid = ns->nsid,
		.lba_bytes = ns->lba_bytes,
		.bytes = vol->iov.iov_len,
		.iov = &vol->iov,
		.iovcnt = 1,
	};
	/* Worker 0 is the control thread, so its lane is ours. */
	if (lane->is_live && lane->gen == vol->check_gen)
		nvmf_io_submit(lane->qp, &vol->io);
	else
		check_end(vol, VOL_DOWN, "the connection was lost");
}

static void check_ns_done(int ret, const struct nvmf_ns_info *ns, size_t count,
			  void *arg)
{
	struct vol *vol = arg;

	if (check_is_stale(vol) || ret || count != 1)
		check_end(vol, VOL_DOWN,
			  ret == -ENODEV ? "the namespace does not exist"
					 : "identify failed");
	else if (ns->lba_bytes != vol->block_bytes || ns->metadata_bytes)
		check_end(vol, VOL_FENCED, "the block size is another one");
	else if (vol->is_nof)
		check_read(vol, ns);
	else
		check_end(vol, VOL_READY, NULL);
}

void vol_path_live(struct vol *vol)
{
	struct vol_way *way = &vol->ways[vol->way];

	if (vol->is_checking || !vol_is_wanted(vol))
		return;
	vol->is_checking = true;
	vol->check_path = way->path;
	vol->check_gen = way->path->gen;
	vol->check_ns = loop_now_ns(set_loop(vol->set));
	if (nvmf_ns_get(way->path->ctrl, way->nsid, check_ns_done, vol))
		vol->is_checking = false; /* the path looks again soon */
}

/* --- loss and retry --- */

static void vol_move(struct vol *vol, unsigned way)
{
	list_del(&vol->path_node);
	vol->way = way;
	list_add_tail(&vol->ways[way].path->vols, &vol->path_node);
}

void vol_path_idle(struct vol *vol)
{
	vol_set_state(vol, VOL_NEW);
}

void vol_path_retry(struct vol *vol)
{
	const struct path *path = vol->ways[vol->way].path;
	uint64_t now_ns = loop_now_ns(set_loop(vol->set));
	bool is_long_ago = now_ns - path->failed_ns > QUIET_NS;

	/* Once: a target that stays away must not cost every read 2 s, also
	 * when nobody holds the volume between two reads. */
	if (atomic_load(&vol->state) != VOL_NEW &&
	    (vol->was_ready || is_long_ago)) {
		vol->was_ready = false;
		vol_set_state(vol, VOL_RETRY);
	}
}

void vol_path_lost(struct vol *vol)
{
	unsigned way = (vol->way + 1) % vol->way_count;
	struct path *next = vol->ways[way].path;

	vol->ways_failed++;
	if (vol->ways_failed % vol->way_count == 0 || !vol_is_wanted(vol)) {
		vol_set_state(vol, VOL_DOWN); /* all were tried */
		if (vol->way_count == 1)
			return;
	} else if (atomic_load(&vol->state) == VOL_READY) {
		vol_set_state(vol, VOL_RETRY);
	}
	if (next == vol->ways[vol->way].path)
		return;
	vol_move(vol, way);
	if (next->state == PATH_LIVE)
		vol_path_live(vol);
	else if (vol_is_wanted(vol))
		path_want(next);
}

/* Also a volume that nobody held when the connection came up, or when the path
 * looked for those that were refused. */
static bool is_unchecked(const struct vol *vol, const struct path *path)
{
	uint64_t now_ns = loop_now_ns(set_loop(vol->set));

	return vol->check_path != path || vol->check_gen != path->gen ||
	       atomic_load(&vol->state) == VOL_NEW ||
	       now_ns - vol->check_ns > RECHECK_NS;
}

/* vol_get() wants it open. */
static void vol_control(struct poke *poke)
{
	struct vol *vol = container_of(poke, struct vol, control);
	struct path *path;

	if (!vol->way_count || vol->set->is_closing)
		return;
	path = vol->ways[vol->way].path;
	if (list_is_empty(&vol->path_node))
		list_add_tail(&path->vols, &vol->path_node);
	/* One that was refused is looked at again by the path, in its time:
	 * who asks often must not keep the disk busy. */
	if (path->state == PATH_LIVE && vol_needs_check(vol) &&
	    is_unchecked(vol, path))
		vol_path_live(vol);
	else
		path_want(path);
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

static int add_way(struct vol *vol, const char *text, struct err *err)
{
	struct vol_way *way = &vol->ways[vol->way_count];
	struct endpoint ep;
	int ret = endpoint_parse(str_of(text), &ep, err);

	if (ret)
		return ret;
	if (ep.nsid == 0 || ep.trtype != NVME_TRTYPE_TCP)
		return err_set(err, -EINVAL, "endpoint '%.200s': %s", text,
			       ep.nsid ? "only trtype:TCP is supported here"
				       : "ns:<number> is missing");
	way->path = path_get(vol->set, &ep);
	if (!way->path)
		return err_set(err, -ENOMEM, "no memory for a path");
	way->nsid = ep.nsid;
	vol->way_count++;
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
	free(vol->check_buf);
	free(vol);
}

static void vol_init(struct vol *vol, struct vol_set *set,
		     const struct vol_desc *desc)
{
	vol->set = set;
	vol->segment = desc->segment;
	vol->is_nof = desc->is_nof;
	vol->epoch = desc->epoch;
	vol->block_bytes = desc->block_bytes;
	vol->endpoints_hash = endpoints_hash(desc);
	list_init(&vol->path_node);
	poke_init(&vol->control, set_loop(set), vol_control);
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
	bytes = MAX(vol->block_bytes, (uint32_t)SB_BYTES);
	if (posix_memalign(&vol->check_buf, SB_BYTES, bytes)) {
		vol->check_buf = NULL;
		ret = err_set(err, -ENOMEM, "no memory for a volume");
		goto fail;
	}
	for (unsigned i = 0; i < desc->endpoint_count; i++) {
		ret = add_way(vol, desc->endpoints[i], err);
		if (ret)
			goto fail;
	}
	list_add_tail(&set->vols, &vol->node);
	*out = vol;
	return 0;
fail:
	vol_free(vol);
	return ret;
}

static bool is_same_desc(const struct vol *vol, const struct vol_desc *desc)
{
	return vol->is_nof == desc->is_nof && vol->epoch == desc->epoch &&
	       vol->block_bytes == desc->block_bytes &&
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
	    atomic_load(&(*out)->state) != VOL_READY)
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
