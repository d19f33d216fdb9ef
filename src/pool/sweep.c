/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sweep: volumes and paths that nobody has used for long are forgotten.  Each
 * life of a master, and of a memory segment, has its own.
 *
 * Control thread; the tables under the set's lock.  Invariant: what is in no
 * table any more is held by nobody, and sends nothing.  Pokes from before may
 * be on their way to a worker, or back: it is freed when a message behind them
 * has been on every worker, and on the control thread first and last.
 */
#include "base/time.h"
#include "pool/set.h"

/* Far longer than any pause in which a newcomer would have to connect, or to
 * look at a superblock, where others knew already. */
#define SWEEP_NS (300 * NS_PER_S)

/* --- volumes --- */

/* Nobody has held it between two sweeps, so what its holders sent to the
 * control thread has come; and no check is under way. */
static bool is_over(struct vol *vol)
{
	bool was_unused = vol->is_unused;

	vol->is_unused = !vol_is_wanted(vol);
	if (!was_unused || !vol->is_unused)
		return false;
	for (unsigned i = 0; i < vol->way_count; i++)
		if (vol->ways[i].is_checking)
			return false;
	return true;
}

static void take_vol(struct vol_set *set, struct vol *vol)
{
	list_del(&vol->node);
	list_add_tail(&set->sweep.vols, &vol->node);
	for (unsigned i = 0; i < vol->way_count; i++)
		list_del(&vol->ways[i].node);
	if (atomic_load(&vol->state) == VOL_READY)
		atomic_fetch_sub(&set->counters.connected, 1);
}

/* --- paths --- */

/* The volumes that used it are freed, and so is its connection. */
static bool is_at_rest(const struct path *path)
{
	enum path_state state = atomic_load(&path->state);

	return !path->users && !path->is_ana_reading &&
	       (state == PATH_IDLE || state == PATH_BACKOFF);
}

static void add_dir(struct stat_dir *to, const struct stat_dir *from)
{
	stat_add(&to->ops, stat_get(&from->ops));
	stat_add(&to->bytes, stat_get(&from->bytes));
	for (unsigned b = 0; b < STAT_BUCKETS; b++)
		stat_add(&to->us[b], stat_get(&from->us[b]));
}

/* The lane of worker 0 is written by this thread. */
static void add_counts(struct path *to, const struct path *from)
{
	struct lane_load *sum = &to->lanes[0].load;

	stat_add(&to->lost_count, stat_get(&from->lost_count));
	for (unsigned i = 0; i < from->set->worker_count; i++) {
		const struct lane_load *load = &from->lanes[i].load;

		add_dir(&sum->dir[0], &load->dir[0]);
		add_dir(&sum->dir[1], &load->dir[1]);
		stat_add(&sum->retries, stat_get(&load->retries));
		for (unsigned e = 0; e < VOL_PATH_ERRORS; e++)
			stat_add(&sum->errors[e], stat_get(&load->errors[e]));
	}
}

static void take_path(struct vol_set *set, struct path *path)
{
	struct path *other;

	ASSERT(list_is_empty(&path->ways));
	timer_cancel(set_loop(set), &path->timer);
	path->state = PATH_GONE;
	list_del(&path->node);
	list_add_tail(&set->sweep.paths, &path->node);
	/* One address is told of with all its owners: no sum may shrink. */
	list_for_each (other, &set->paths, node)
		if (path_is_same(&other->ep, &path->ep)) {
			add_counts(other, path);
			break;
		}
}

/* --- what was taken --- */

static void sweep_end(struct vol_set *set)
{
	struct sweep *s = &set->sweep;
	struct path *path, *next_path;
	struct vol *vol, *next_vol;

	list_for_each_safe (path, next_path, &s->paths, node)
		path_free(path);
	pthread_mutex_lock(&set->mu);
	list_for_each_safe (vol, next_vol, &s->vols, node)
		vol_free(vol);
	pthread_mutex_unlock(&set->mu);
	list_init(&s->paths);
	list_init(&s->vols);
	s->is_passing = false;
	set_maybe_closed(set);
}

static void sweep_pass(struct mbox_msg *msg)
{
	struct vol_set *set = container_of(msg, struct vol_set, sweep.msg);
	struct sweep *s = &set->sweep;

	if (s->hops == set->worker_count) {
		sweep_end(set);
		return;
	}
	s->hops++;
	loop_post(set->workers[s->hops % set->worker_count].shard.loop, msg);
}

/* What can go; false when nothing is left. */
static bool take_all(struct vol_set *set)
{
	struct path *path, *next_path;
	struct vol *vol, *next_vol;
	bool is_empty;

	pthread_mutex_lock(&set->mu);
	list_for_each_safe (path, next_path, &set->paths, node)
		if (is_at_rest(path))
			take_path(set, path);
	list_for_each_safe (vol, next_vol, &set->vols, node)
		if (is_over(vol))
			take_vol(set, vol);
	is_empty = list_is_empty(&set->paths) && list_is_empty(&set->vols);
	pthread_mutex_unlock(&set->mu);
	return !is_empty;
}

static void set_timer(struct vol_set *set)
{
	if (!timer_is_set(&set->sweep.timer))
		timer_set(set_loop(set), &set->sweep.timer, SWEEP_NS);
}

/* --- public --- */

void sweep_run(struct vol_set *set)
{
	struct sweep *s = &set->sweep;

	timer_cancel(set_loop(set), &s->timer);
	if (s->is_passing || take_all(set))
		set_timer(set);
	if (s->is_passing ||
	    (list_is_empty(&s->vols) && list_is_empty(&s->paths)))
		return;
	s->is_passing = true;
	s->hops = 0;
	loop_post(set_loop(set), &s->msg);
}

static void sweep_fire(struct timer *timer)
{
	sweep_run(container_of(timer, struct vol_set, sweep.timer));
}

static void sweep_wanted(struct poke *poke)
{
	struct vol_set *set = container_of(poke, struct vol_set, sweep.want);

	if (!set->is_closing)
		set_timer(set);
}

void sweep_want(struct vol_set *set)
{
	poke_send(&set->sweep.want);
}

void sweep_init(struct vol_set *set)
{
	struct sweep *s = &set->sweep;

	s->timer.fire = sweep_fire;
	poke_init(&s->want, set_loop(set), sweep_wanted);
	s->msg.run = sweep_pass;
	list_init(&s->vols);
	list_init(&s->paths);
}

void sweep_stop(struct vol_set *set)
{
	timer_cancel(set_loop(set), &set->sweep.timer);
}
