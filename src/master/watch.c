/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probing of pool segments, on the metadata shard; vol's workers do the I/O and
 * post the result.  Invariant: while is_busy the probe or the label is vol's,
 * so a stopped watch is freed when it comes back, and what a label has claimed
 * by then is given back behind it.
 */
#include "master/watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "master/health.h"
#include "master/release.h"

#define DOUBT_NS	 (1 * NS_PER_S)	   /* period while something is wrong */
#define PAUSE_NS	 (100 * NS_PER_MS) /* least gap between two probes */
#define JITTER_PCT	 10
#define LABEL_TIMEOUT_MS 5000
/* Every so many rounds another path goes first, so that one that died is seen,
 * and wear is read. */
#define LOOK_AROUND 6

struct watch {
	struct service *svc;
	struct segment *seg; /* NULL once stopped */
	struct timer timer;
	struct mbox_msg msg;
	struct vol_probe probe;
	struct vol_label label; /* of a segment that is awaited */
	bool is_labeling;
	struct release *release; /* of a stopped one: begins after label */
	unsigned first;		 /* the path that worked last */
	unsigned tried;		 /* paths in this round */
	unsigned rounds;
	uint64_t ended_ns;
	bool is_busy;
	bool is_asked; /* meanwhile: what is found may be older than doubts */
};

static uint64_t jittered(struct service *svc, uint64_t ns)
{
	uint64_t spread = ns * 2 * JITTER_PCT / 100;

	return ns - spread / 2 + rng_below(&svc->core->rng, spread + 1);
}

static void arm(struct watch *w)
{
	const struct segment *seg = w->seg;
	uint64_t ns = w->svc->opts.probe_interval_ns;

	if (seg->state != SEG_ONLINE || seg->failures || w->is_asked)
		ns = MIN(ns, DOUBT_NS);
	timer_set(w->svc->loop, &w->timer, jittered(w->svc, ns));
}

static void probe_done(struct vol_probe *probe)
{
	struct watch *w = container_of(probe, struct watch, probe);

	loop_post(w->svc->loop, &w->msg);
}

static unsigned path_of(const struct watch *w)
{
	return (w->first + w->tried) % w->seg->endpoint_count;
}

static void submit(struct watch *w)
{
	w->probe = (struct vol_probe){
		.done = probe_done,
		.timeout_ms = w->svc->opts.probe_timeout_ms,
		.sb_only = true,
		.want_smart = w->rounds % LOOK_AROUND == 0,
		.want_owner = true,
		.key = w->seg->key ? w->seg->key : w->svc->opts.owner_key,
	};
	snprintf(w->probe.endpoint, sizeof(w->probe.endpoint), "%s",
		 w->seg->endpoints[path_of(w)]);
	w->is_busy = true;
	w->svc->vol_ops++;
	vol_probe_submit(w->svc->vols, &w->probe);
}

static void label_done(struct vol_label *label)
{
	struct watch *w = container_of(label, struct watch, label);

	loop_post(w->svc->loop, &w->msg);
}

static void label_submit(struct watch *w, const struct superblock *sb,
			 enum vol_claim claim)
{
	w->label = (struct vol_label){
		.done = label_done,
		.timeout_ms = LABEL_TIMEOUT_MS,
		.sb = *sb,
		.seen_epoch = w->probe.sb.epoch,
	};
	claim_set(w->svc, &w->probe.owner, claim, &w->label);
	snprintf(w->label.endpoint, sizeof(w->label.endpoint), "%s",
		 w->seg->endpoints[path_of(w)]);
	w->is_busy = true;
	w->is_labeling = true;
	w->svc->vol_ops++;
	vol_label_submit(w->svc->vols, &w->label);
}

/* What was claimed for once is given back, the rest when the segment goes. */
static void note_claim(struct watch *w)
{
	struct nof_found who;

	if (!w->label.may_hold)
		return;
	if (!w->label.is_for_once) {
		w->seg->claimed = w->label.key;
		return;
	}
	nof_found_of(w->seg, &who);
	release_label(w->svc, &who, &w->label);
}

/* A probe of the whole segment then finds it as it has to be. */
static void labeled(struct watch *w)
{
	w->is_labeling = false;
	note_claim(w);
	if (w->label.ret < 0) {
		log_warn("cannot write the superblock of this life",
			 "segment=\"%s\": %s", w->seg->name, w->label.err.text);
		health_not_adopted(w->svc->core, w->seg, &w->label);
		arm(w);
		return;
	}
	health_adopted(w->seg, &w->label);
	watch_now(w->seg);
}

static void judged(struct watch *w)
{
	struct core *core = w->svc->core;
	struct superblock sb;

	w->first = path_of(w);
	w->tried = 0;
	health_probed(core, w->seg, &w->probe);
	if (health_is_awaited(w->seg, &w->probe, &sb))
		label_submit(w, &sb, CLAIM_CLUSTER);
	else if (health_is_unheld(w->seg, &w->probe, &sb))
		label_submit(w, &sb, CLAIM_FREE);
	else
		arm(w);
}

static void probed(struct mbox_msg *msg)
{
	struct watch *w = container_of(msg, struct watch, msg);
	struct service *svc = w->svc;
	struct core *core = service_enter(svc);

	w->is_busy = false;
	w->ended_ns = core->now_ns;
	if (w->seg && !w->is_labeling)
		health_path_probed(core, w->seg, path_of(w), &w->probe);
	if (!w->seg) {
		release_begin(w->release, &w->label);
		free(w);
	} else if (w->is_labeling) {
		labeled(w);
	} else if (w->probe.ret < 0 && ++w->tried < w->seg->endpoint_count) {
		submit(w);
	} else {
		judged(w);
	}
	service_vol_op_done(svc);
}

static void fire(struct timer *timer)
{
	struct watch *w = container_of(timer, struct watch, timer);

	ASSERT(!w->is_busy && w->seg);
	w->is_asked = false;
	w->tried = 0;
	w->first += ++w->rounds % LOOK_AROUND == 0;
	submit(w);
}

int watch_start(struct service *svc, struct segment *seg)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->svc = svc;
	w->seg = seg;
	w->timer.fire = fire;
	w->msg.run = probed;
	seg->watch = w;
	arm(w);
	return 0;
}

bool watch_stop(struct segment *seg, struct release *release)
{
	struct watch *w = TAKE(seg->watch);

	if (!w)
		return false;
	timer_cancel(w->svc->loop, &w->timer);
	w->seg = NULL;
	if (w->is_labeling) {
		w->release = release;
		return true;
	}
	if (!w->is_busy)
		free(w);
	return false;
}

static void ask(struct watch *w, uint64_t pause_ns)
{
	uint64_t at_ns;

	if (!w)
		return;
	at_ns = w->ended_ns + pause_ns;
	if (w->is_busy)
		w->is_asked = true;
	else if (!timer_is_set(&w->timer) || w->timer.deadline_ns > at_ns)
		timer_set_at(w->svc->loop, &w->timer, at_ns);
}

void watch_now(struct segment *seg)
{
	ask(seg->watch, PAUSE_NS);
}

void watch_soon(struct segment *seg)
{
	ask(seg->watch, DOUBT_NS);
}
