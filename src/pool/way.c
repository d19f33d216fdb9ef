/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Way: a namespace behind a path, and whether it is the volume's.
 *
 * Control thread.  Invariant: a way is READY only between a check of identity
 * and superblock that succeeded on a connection and the loss of that
 * connection; it names the generation, so I/O that comes late can't go to a
 * connection on which nothing was checked.  All ways that are READY at a time
 * lead to a namespace of the same ids.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "pool/set.h"

#define QUIET_NS (10 * NS_PER_S) /* so old a failure is no news any more */

static uint64_t now_of(const struct vol_way *way)
{
	return loop_now_ns(set_loop(way->vol->set));
}

static void set_state(struct vol_way *way, enum way_state state)
{
	if (state == WAY_READY) {
		atomic_store(&way->lane_count, way->path->lane_count);
		atomic_store(&way->gen, way->path->gen);
		way->was_ready = true;
	}
	way->state = state;
	vol_refresh(way->vol);
}

/* The volume may be READY by another way: who gets it next says so here. */
void way_rest(struct vol_way *way)
{
	atomic_store(&way->vol->is_partial, true);
}

/* --- check on a live path --- */

static bool check_is_stale(const struct vol_way *way)
{
	return way->path->state != PATH_LIVE ||
	       way->path->gen != way->check_gen;
}

static void check_end(struct vol_way *way, enum way_state state,
		      const char *why)
{
	char text[UUID_TEXT_LEN];
	bool is_news = way->state != state;

	way->is_checking = false;
	if (check_is_stale(way) || way->check_again) {
		if (way->path->state == PATH_LIVE)
			way_live(way);
		return;
	}
	if (state != WAY_READY) {
		path_recheck(way->path);
		if (is_news) {
			uuid_format_hex(&way->vol->segment, text);
			log_warn("volume refused",
				 "segment=%s path=\"%s\" nsid=%u reason=\"%s\"",
				 text, way->path->name, way->nsid, why);
		}
	} else if (is_news) {
		way->ana =
			way->path->info.has_ana ? 0 : NVME_ANA_STATE_OPTIMIZED;
		way->ana_ns = now_of(way);
	}
	if (is_news)
		set_state(way, state);
	if (state == WAY_READY && way->path->info.has_ana)
		path_ana_read(way->path);
}

static void check_superblock(struct vol_way *way)
{
	const struct nvmf_ns_info *ns = &way->ns;
	const struct vol *vol = way->vol;
	uint64_t ns_bytes = ns->size_lba * ns->lba_bytes;
	char identity[sizeof(((struct superblock *)0)->identity)];
	struct superblock sb;
	struct err err = {0};

	vol_identity(ns, identity);
	if (sb_decode(way->check_buf, &sb, &err)) {
		check_end(way, WAY_FENCED, err.text);
	} else if (!uuid_eq(&sb.segment, &vol->segment)) {
		check_end(way, WAY_FENCED, "it is another segment's namespace");
	} else if (strcmp(sb.identity, identity) != 0) {
		err_set(&err, -EINVAL,
			"it is %s, but its superblock was written for %s: a "
			"copied disk?",
			identity, sb.identity);
		check_end(way, WAY_FENCED, err.text);
	} else if (sb.epoch != vol->epoch) {
		check_end(way, WAY_FENCED,
			  "the superblock has another epoch: it was adopted "
			  "anew");
	} else if (ns_bytes < sb.ns_bytes) {
		err_set(&err, -ERANGE,
			"the namespace has shrunk to %llu bytes, the segment "
			"is %llu: restore its size or unregister it",
			(unsigned long long)ns_bytes,
			(unsigned long long)sb.ns_bytes);
		check_end(way, WAY_FENCED, err.text);
	} else {
		check_end(way, WAY_READY, NULL);
	}
}

static void check_read_done(struct nvmf_io *io)
{
	struct vol_way *way = container_of(io, struct vol_way, io);

	if (io->sc == NVME_SC_OK)
		check_superblock(way);
	else
		check_end(way, WAY_DOWN, nvme_sc_text(io->sc));
}

static void check_read(struct vol_way *way)
{
	struct lane *lane = &way->path->lanes[0];

	way->iov.iov_base = way->check_buf;
	way->iov.iov_len = MAX(way->vol->block_bytes, (uint32_t)SB_BYTES);
	way->io = (struct nvmf_io){
		.done = check_read_done,
		.op = NVMF_READ,
		.nsid = way->nsid,
		.lba_bytes = way->ns.lba_bytes,
		.bytes = way->iov.iov_len,
		.iov = &way->iov,
		.iovcnt = 1,
	};
	/* Worker 0 is the control thread, so its lane is ours. */
	if (lane->is_live && lane->gen == way->check_gen)
		nvmf_io_submit(lane->qp, &way->io);
	else
		check_end(way, WAY_DOWN, "the connection was lost");
}

/* --- identity --- */

static bool has_same_ids(const struct nvmf_ns_info *a,
			 const struct nvmf_ns_info *b)
{
	return !memcmp(a->nguid, b->nguid, sizeof(a->nguid)) &&
	       !memcmp(a->uuid, b->uuid, sizeof(a->uuid)) &&
	       !memcmp(a->eui64, b->eui64, sizeof(a->eui64));
}

/* Another way that is READY and leads elsewhere. */
static const struct vol_way *find_other(const struct vol_way *way,
					const struct nvmf_ns_info *ns)
{
	const struct vol *vol = way->vol;

	for (unsigned i = 0; i < vol->way_count; i++) {
		const struct vol_way *other = &vol->ways[i];

		if (other != way && other->state == WAY_READY &&
		    !has_same_ids(&other->ns, ns))
			return other;
	}
	return NULL;
}

static void check_ids(struct vol_way *way, const struct nvmf_ns_info *ns)
{
	const struct vol_way *other = find_other(way, ns);
	struct err err = {0};

	if (ns->lba_bytes != way->vol->block_bytes || ns->metadata_bytes) {
		err_set(&err, -EINVAL,
			"its blocks have %u bytes and %u of metadata, the "
			"segment was registered with %u",
			ns->lba_bytes, ns->metadata_bytes,
			way->vol->block_bytes);
		check_end(way, WAY_FENCED, err.text);
	} else if (other) {
		err_set(&err, -EINVAL,
			"it is another namespace (UUID, NGUID or EUI-64) than "
			"the one at %.200s",
			other->path->name);
		check_end(way, WAY_FENCED, err.text);
	} else {
		way->ns = *ns;
		if (way->vol->is_nof)
			check_read(way);
		else
			check_end(way, WAY_READY, NULL);
	}
}

static void check_ns_done(int ret, const struct nvmf_ns_info *ns, size_t count,
			  void *arg)
{
	struct vol_way *way = arg;

	if (check_is_stale(way) || ret || count != 1)
		check_end(way, WAY_DOWN,
			  ret == -ENODEV ? "the namespace does not exist"
					 : "identify failed");
	else
		check_ids(way, ns);
}

static bool needs_check(const struct vol_way *way)
{
	return !way->is_checking && vol_is_wanted(way->vol) &&
	       way->state != WAY_READY;
}

void way_live(struct vol_way *way)
{
	if (way->is_checking) {
		way->check_again = true;
		return;
	}
	way->check_again = false;
	if (!vol_is_wanted(way->vol)) {
		way_rest(way);
		return;
	}
	way->is_checking = true;
	way->check_gen = way->path->gen;
	way->check_ns = now_of(way);
	if (nvmf_ns_get(way->path->ctrl, way->nsid, check_ns_done, way))
		way->is_checking = false; /* the path looks again soon */
}

bool way_look(struct vol_way *way)
{
	if (needs_check(way)) {
		way_live(way);
		return false;
	}
	if (way->state != WAY_READY)
		way_rest(way);
	if (way->state != WAY_READY || way->ana == NVME_ANA_STATE_OPTIMIZED ||
	    way->ana == NVME_ANA_STATE_NONOPTIMIZED)
		return true;
	vol_refresh(way->vol); /* patience may be over */
	path_ana_read(way->path);
	return false;
}

/* --- ANA --- */

void way_ana(struct vol_way *way, const struct nvmf_ana_group *groups,
	     size_t count)
{
	enum nvme_ana_state state = way->ana;

	if (way->state != WAY_READY) {
		/* Its superblock may not have been readable until now. */
		if (groups && needs_check(way))
			way_live(way);
		return;
	}
	/* A target that does not tell is used when nothing better is there. */
	if (!groups && !state)
		state = NVME_ANA_STATE_NONOPTIMIZED;
	for (size_t i = 0; i < count; i++)
		if (groups[i].id == way->ns.ana_group)
			state = (enum nvme_ana_state)groups[i].state;
	if (state == way->ana)
		return;
	log_info("ana state", "path=\"%s\" nsid=%u state=%u", way->path->name,
		 way->nsid, state);
	way->ana = state;
	way->ana_ns = now_of(way);
	vol_refresh(way->vol);
}

/* --- loss and retry --- */

void way_idle(struct vol_way *way)
{
	set_state(way, WAY_NEW);
}

/* I/O waits for the first new attempt, once: a target that stays away must not
 * cost every read 2 s, also when nobody holds the volume between two reads. */
static void expect_back(struct vol_way *way)
{
	way->was_ready = false;
	set_state(way, WAY_RETRY);
}

void way_lost(struct vol_way *way)
{
	if (way->was_ready && !path_is_given_up(way->path))
		expect_back(way);
	else
		set_state(way, WAY_DOWN);
}

void way_retry(struct vol_way *way)
{
	bool is_long_ago = now_of(way) - way->path->failed_ns > QUIET_NS;

	if (way->state == WAY_DOWN && is_long_ago &&
	    !path_is_given_up(way->path))
		expect_back(way);
}

/* Also a volume that nobody held when the connection came up, or when the path
 * looked for those that were refused. */
static bool is_unchecked(const struct vol_way *way)
{
	return way->check_gen != way->path->gen || way->state == WAY_NEW ||
	       now_of(way) - way->check_ns > RECHECK_NS;
}

void way_want(struct vol_way *way)
{
	struct path *path = way->path;

	if (list_is_empty(&way->node))
		list_add_tail(&path->ways, &way->node);
	/* Known to be away: a newcomer does not wait for what others don't. */
	if (path->state == PATH_BACKOFF && path->failures > 1 &&
	    way->state == WAY_NEW)
		set_state(way, WAY_DOWN);
	/* One that was refused is looked at again by the path, in its time:
	 * who asks often must not keep the disk busy. */
	if (path->state == PATH_LIVE && needs_check(way) && is_unchecked(way))
		way_live(way);
	else
		path_want(path);
	if (way->state != WAY_READY && !vol_is_wanted(way->vol))
		way_rest(way); /* given back meanwhile */
}
