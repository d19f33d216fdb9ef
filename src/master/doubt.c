/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at what is doubted, on the metadata shard; vol's workers read and
 * post the result.  One look is under way per segment, on a connection of its
 * own: the superblock, all of the replica that lies there, and one or two
 * other places.  The replica goes when the superblock is as it has to be, the
 * replica can't be read, and one of the others can: at two looks in a row.
 *
 * Invariant: while is_busy probe and ranges are vol's, so stopped doubts are
 * freed when they come back; what is looked at stands first in waiting.
 */
#include "master/doubt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "master/health.h"
#include "master/object.h"
#include "master/segment.h"
#include "master/watch.h"

#define PAUSE_NS   (20 * NS_PER_MS) /* least gap between two looks */
#define OTHERS_MAX 2
#define LOOKS_MAX  16 /* extents passed on the way to one of these */

struct doubt {
	struct list node;
	struct bad_replica what;
	bool was_lost; /* at the look before */
	uint32_t key_len;
	char key[];
};

struct doubts {
	struct service *svc;
	struct segment *seg; /* NULL once stopped */
	struct list waiting;
	unsigned count;
	bool is_busy;
	uint64_t ended_ns;
	struct timer timer; /* the next look */
	struct mbox_msg msg;
	struct vol_probe probe;
	/* The replica's, then others' */
	struct vol_range ranges[EXTENTS_MAX + OTHERS_MAX];
	unsigned own, others;
};

static struct doubt *first_doubt(const struct doubts *d)
{
	return list_first(&d->waiting, struct doubt, node);
}

static struct str key_of(const struct doubt *doubt)
{
	return (struct str){doubt->key, doubt->key_len};
}

static void forget_first(struct doubts *d)
{
	struct doubt *doubt = first_doubt(d);

	list_del(&doubt->node);
	d->count--;
	free(doubt);
}

static void forget_all(struct doubts *d)
{
	while (d->count)
		forget_first(d);
}

/* --- a look --- */

static void add_range(struct doubts *d, uint64_t off, uint64_t bytes)
{
	d->ranges[d->own + d->others] = (struct vol_range){off, bytes};
}

/* The first block of somebody else's, who has written it: what never was, a
 * target answers without its medium. */
static bool add_other(struct doubts *d, const struct replica *rep,
		      struct list *node)
{
	struct extent *ext = list_entry(node, struct extent, seg_node);
	const struct replica *other = extent_replica(ext);

	if (other == rep || other->state != REPLICA_COMPLETE)
		return false;
	add_range(d, ext->off, ext->seg->unit);
	d->others++;
	return true;
}

/* The oldest and the youngest, and without them whatever the last blocks say.
 */
static void add_others(struct doubts *d, const struct replica *rep)
{
	struct list *all = &d->seg->extents, *old = all->next, *new = all->prev;

	for (unsigned i = 0; i < LOOKS_MAX && old != all; i++, old = old->next)
		if (add_other(d, rep, old))
			break;
	for (unsigned i = 0; i < LOOKS_MAX && new != all; i++, new = new->prev)
		if (new == old || add_other(d, rep, new))
			break;
	if (d->others)
		return;
	add_range(d, d->seg->base + d->seg->size - d->seg->unit, d->seg->unit);
	d->others++;
}

static void fill_ranges(struct doubts *d, const struct replica *rep)
{
	d->own = d->others = 0;
	for (unsigned i = 0; i < rep->extent_count; i++) {
		const struct extent *ext = &rep->extents[i];

		if (ext->seg != d->seg)
			continue;
		add_range(d, ext->off, extent_range(ext).len);
		d->own++;
	}
	add_others(d, rep);
}

static void probe_done(struct vol_probe *probe)
{
	struct doubts *d = container_of(probe, struct doubts, probe);

	loop_post(d->svc->loop, &d->msg);
}

static void look(struct doubts *d)
{
	const struct segment *seg = d->seg;

	d->probe = (struct vol_probe){
		.done = probe_done,
		.timeout_ms = d->svc->opts.probe_timeout_ms,
		.sb_only = true,
		.ranges = d->ranges,
		.range_count = d->own + d->others,
	};
	snprintf(d->probe.endpoint, sizeof(d->probe.endpoint), "%s",
		 seg->endpoints[seg->last_path]);
	d->is_busy = true;
	d->svc->vol_ops++;
	vol_probe_submit(d->svc->vols, &d->probe);
}

static void fire(struct timer *timer)
{
	struct doubts *d = container_of(timer, struct doubts, timer);
	struct core *core = service_enter(d->svc);

	ASSERT(!d->is_busy && d->seg);
	while (d->count) {
		struct doubt *doubt = first_doubt(d);
		const struct replica *rep =
			get_bad_replica(core, key_of(doubt), &doubt->what);

		if (rep) {
			fill_ranges(d, rep);
			look(d);
			return;
		}
		forget_first(d); /* it went meanwhile */
	}
}

/* --- its result --- */

static unsigned count_lost(const struct vol_range *ranges, unsigned count)
{
	unsigned lost = 0;

	for (unsigned i = 0; i < count; i++)
		lost += ranges[i].ret == -ENODATA;
	return lost;
}

/* False: it has to be looked at once more.  A fault of the whole namespace that
 * ends between two reads of a look leaves one lost and the other good. */
static bool decide(struct doubts *d, struct core *core)
{
	struct keeper *keeper = d->svc->keeper;
	struct doubt *doubt = first_doubt(d);
	struct bad_replica what = doubt->what;
	bool is_lost = count_lost(d->ranges, d->own) > 0;
	bool is_all = count_lost(d->ranges + d->own, d->others) == d->others;

	what.is_confirmed = true;
	/* What is dropped while it is broken the journal would not know. */
	if (is_lost && !is_all && !(keeper && keeper_is_broken(keeper))) {
		if (!doubt->was_lost) {
			doubt->was_lost = true;
			return false;
		}
		get_report_bad(core, key_of(doubt), &what);
		return true;
	}
	log_warn("replica kept: its medium is doubted",
		 "segment=\"%s\" generation=%llu: %s", d->seg->name,
		 (unsigned long long)what.generation,
		 !is_lost ? "it can be read"
		 : is_all ? "neither can anything else that was tried"
			  : "the journal can't be written");
	return true;
}

static void looked(struct mbox_msg *msg)
{
	struct doubts *d = container_of(msg, struct doubts, msg);
	struct service *svc = d->svc;
	struct core *core = service_enter(svc);

	d->is_busy = false;
	d->ended_ns = core->now_ns;
	if (!d->seg) {
		forget_all(d);
		free(d);
		service_vol_op_done(svc);
		return;
	}
	if (health_is_well(d->seg, &d->probe)) {
		if (decide(d, core))
			forget_first(d);
	} else {
		/* It is more than some blocks: the watch will tell. */
		watch_now(d->seg);
		forget_all(d);
	}
	if (d->count)
		timer_set_at(svc->loop, &d->timer, d->ended_ns + PAUSE_NS);
	service_vol_op_done(svc);
}

/* --- what is reported --- */

static struct doubts *make_doubts(struct service *svc, struct segment *seg)
{
	struct doubts *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->svc = svc;
	d->seg = seg;
	d->timer.fire = fire;
	d->msg.run = looked;
	list_init(&d->waiting);
	seg->doubts = d;
	return d;
}

static bool is_noted(const struct doubts *d, const struct bad_replica *what)
{
	const struct doubt *doubt;

	list_for_each (doubt, &d->waiting, node)
		if (doubt->what.generation == what->generation &&
		    doubt->what.index == what->index)
			return true;
	return false;
}

static bool note_doubt(struct doubts *d, struct str key,
		       const struct bad_replica *what)
{
	struct doubt *doubt = malloc(sizeof(*doubt) + key.n);

	if (!doubt)
		return false;
	doubt->what = *what;
	doubt->was_lost = false;
	doubt->key_len = (uint32_t)key.n;
	memcpy(doubt->key, key.p, key.n);
	list_add_tail(&d->waiting, &doubt->node);
	d->count++;
	return true;
}

enum mooncake_status doubt_report(struct service *svc, struct str key,
				  const struct bad_replica *what)
{
	struct segment *seg = segment_find(svc->core, &what->segment);
	struct doubts *d;

	if (!seg)
		return MOONCAKE_SEGMENT_NOT_FOUND;
	if (!svc->vols || svc->is_stopping)
		return MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS;
	d = seg->doubts ? seg->doubts : make_doubts(svc, seg);
	if (!d)
		return MOONCAKE_INTERNAL_ERROR;
	if (is_noted(d, what))
		return MOONCAKE_OK;
	if (d->count == DOUBTS_MAX || !note_doubt(d, key, what))
		return MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS;
	if (!d->is_busy && !timer_is_set(&d->timer))
		timer_set_at(svc->loop, &d->timer,
			     MAX(svc->core->now_ns, d->ended_ns + PAUSE_NS));
	return MOONCAKE_OK;
}

void doubts_stop(struct segment *seg)
{
	struct doubts *d = TAKE(seg->doubts);

	if (!d)
		return;
	timer_cancel(d->svc->loop, &d->timer);
	d->seg = NULL;
	if (d->is_busy) {
		atomic_store(&d->probe.has_enough, true);
		return;
	}
	forget_all(d);
	free(d);
}
