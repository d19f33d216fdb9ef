/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the paths do, for metrics and for the log.
 *
 * vol_paths_get(): any thread, under the set's lock.  The periodic lines:
 * control thread.  Invariant: nothing here changes what it looks at.
 */
#include "base/log.h"
#include "base/time.h"
#include "pool/set.h"

static const char *state_text(enum path_state state)
{
	switch (state) {
	case PATH_IDLE:
	case PATH_GONE:
		return "idle";
	case PATH_RESOLVING:
	case PATH_CONNECTING:
	case PATH_LANES:
		return "connecting";
	case PATH_LIVE:
		return "live";
	case PATH_CLOSING:
	case PATH_BACKOFF:
		return "away";
	}
	UNREACHABLE();
}

/* What was counted for one path, or for several. */
struct sums {
	uint64_t us[2][STAT_BUCKETS];
};

static void sum_dir(const struct path *path, unsigned dir, struct sums *sums,
		    struct vol_path_stats *out)
{
	for (unsigned i = 0; i < path->set->worker_count; i++) {
		const struct stat_dir *d = &path->lanes[i].load.dir[dir];

		out->ops[dir] += stat_get(&d->ops);
		out->bytes[dir] += stat_get(&d->bytes);
		for (unsigned b = 0; b < STAT_BUCKETS; b++)
			sums->us[dir][b] += stat_get(&d->us[b]);
	}
}

static void sum_path(const struct path *path, struct sums *sums,
		     struct vol_path_stats *out)
{
	enum path_state state = atomic_load(&path->state);

	/* The one that is in use, or may be soon. */
	if (!out->state || (state != PATH_IDLE && state != PATH_GONE)) {
		out->state = state_text(state);
		out->queues = atomic_load(&path->lane_count);
	}
	out->lost += stat_get(&path->lost_count);
	out->is_degraded |= atomic_load(&path->is_degraded);
	sum_dir(path, 0, sums, out);
	sum_dir(path, 1, sums, out);
	for (unsigned i = 0; i < path->set->worker_count; i++) {
		const struct lane_load *load = &path->lanes[i].load;

		out->inflight += stat_get(&load->inflight);
		out->retries += stat_get(&load->retries);
		for (unsigned e = 0; e < VOL_PATH_ERRORS; e++)
			out->errors[e] += stat_get(&load->errors[e]);
	}
}

/* Of all owners as whom we went there, first among them this one. */
static void path_stats(const struct path *first, struct vol_path_stats *out)
{
	const struct path *path = first;
	struct sums sums = {0};

	*out = (struct vol_path_stats){0};
	memcpy(out->name, first->name, sizeof(out->name));
	for (; &path->node != &first->set->paths;
	     path = list_entry(path->node.next, struct path, node))
		if (path_is_same(&path->ep, &first->ep))
			sum_path(path, &sums, out);
	for (unsigned dir = 0; dir < 2; dir++) {
		uint64_t count = 0;

		for (unsigned b = 0; b < STAT_BUCKETS; b++)
			count += sums.us[dir][b];
		out->p50_us[dir] = stat_percentile(sums.us[dir], count, 50);
		out->p99_us[dir] = stat_percentile(sums.us[dir], count, 99);
	}
}

static bool is_first(const struct path *path)
{
	const struct path *other;

	list_for_each (other, &path->set->paths, node)
		if (path_is_same(&other->ep, &path->ep))
			return other == path;
	UNREACHABLE();
}

size_t vol_paths_get(struct vol_set *set, struct vol_path_stats *out,
		     size_t max)
{
	const struct path *path;
	size_t n = 0;

	pthread_mutex_lock(&set->mu);
	list_for_each (path, &set->paths, node) {
		if (!is_first(path))
			continue;
		if (n < max)
			path_stats(path, &out[n]);
		n++;
	}
	pthread_mutex_unlock(&set->mu);
	return n;
}

/* --- the log --- */

static void report_path(const struct path *path)
{
	struct vol_path_stats s;

	path_stats(path, &s);
	log_info("path",
		 "path=\"%s\" state=%s queues=%u inflight=%llu reads=%llu "
		 "writes=%llu read_p99_us=%llu write_p99_us=%llu lost=%llu "
		 "retries=%llu%s",
		 s.name, s.state, s.queues, (unsigned long long)s.inflight,
		 (unsigned long long)s.ops[0], (unsigned long long)s.ops[1],
		 (unsigned long long)s.p99_us[0],
		 (unsigned long long)s.p99_us[1], (unsigned long long)s.lost,
		 (unsigned long long)s.retries,
		 s.is_degraded ? " degraded" : "");
}

static void report_vol(const struct vol *vol)
{
	char text[UUID_TEXT_LEN];

	uuid_format_hex(&vol->segment, text);
	log_info("volume", "segment=%s held=%u ways=%u ready=%u", text,
		 atomic_load(&vol->refs), vol->way_count, vol_ways_ready(vol));
}

static void report_run(struct timer *timer)
{
	struct vol_set *set = container_of(timer, struct vol_set, debug);
	const struct path *path;
	const struct vol *vol;

	log_info("queues", "workers=%u inflight=%llu limit=%llu waiting=%u",
		 set->worker_count,
		 (unsigned long long)atomic_load(&set->budget.used),
		 (unsigned long long)set->budget.limit,
		 atomic_load(&set->budget.waiting));
	pthread_mutex_lock(&set->mu);
	list_for_each (path, &set->paths, node)
		if (is_first(path))
			report_path(path);
	list_for_each (vol, &set->vols, node)
		report_vol(vol);
	pthread_mutex_unlock(&set->mu);
	timer_set(set_loop(set), timer, set->opts.debug_ms * NS_PER_MS);
}

static void report_start(struct poke *poke)
{
	struct vol_set *set = container_of(poke, struct vol_set, debug_start);

	if (!set->is_closing)
		report_run(&set->debug);
}

void report_init(struct vol_set *set)
{
	if (!set->opts.debug_ms)
		return;
	set->debug.fire = report_run;
	poke_init(&set->debug_start, set_loop(set), report_start);
	poke_send(&set->debug_start);
}

void report_stop(struct vol_set *set)
{
	timer_cancel(set_loop(set), &set->debug);
}
