/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reservations that are given back, on the metadata shard; vol's workers talk
 * to the target and post the result.  Invariant: a release is in
 * service.releases from its beginning to its end, and while one is held or
 * runs, a label or the release itself counts as a vol_op.
 */
#include "master/release.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "master/segment.h"

#define RELEASE_TIMEOUT_MS 5000

enum release_step {
	RELEASE_HELD,  /* a label is still under way there */
	RELEASE_WAITS, /* for its time */
	RELEASE_RUNS,
};

struct release {
	struct list node; /* service.releases */
	struct service *svc;
	enum release_step step;
	struct nof_found who; /* its names, and nothing else of it */
	uint64_t at_ns;
	struct timer timer;
	struct mbox_msg msg;
	struct vol_release vol; /* key 0: there is nothing to give back */
};

void claim_set(const struct service *svc, const struct vol_owner *found,
	       enum vol_claim claim, struct vol_label *label)
{
	label->key = svc->opts.owner_key;
	if (!label->key && found->hold == HOLD_OTHER) {
		label->key = owner_key_make(svc->opts.cluster_id);
		label->is_for_once = true;
	}
	label->claim = label->key ? claim : CLAIM_NONE;
}

static void release_free(struct release *r)
{
	list_del(&r->node);
	free(r);
}

static void release_over(struct mbox_msg *msg)
{
	struct release *r = container_of(msg, struct release, msg);
	struct service *svc = r->svc;

	service_enter(svc);
	if (r->vol.ret < 0)
		log_warn("reservation not given back: another cluster needs "
			 "--force to take the namespace",
			 "endpoint=\"%s\" key=%016llx: %s", r->vol.endpoint,
			 (unsigned long long)r->vol.key, r->vol.err.text);
	else
		log_info("reservation given back",
			 "endpoint=\"%s\" key=%016llx", r->vol.endpoint,
			 (unsigned long long)r->vol.key);
	release_free(r);
	service_vol_op_done(svc);
}

static void release_done(struct vol_release *vol)
{
	struct release *r = container_of(vol, struct release, vol);

	loop_post(r->svc->loop, &r->msg);
}

static void run(struct release *r)
{
	r->step = RELEASE_RUNS;
	r->svc->vol_ops++;
	vol_release_submit(r->svc->vols, &r->vol);
}

static void release_fire(struct timer *timer)
{
	run(container_of(timer, struct release, timer));
}

static struct release *create(struct service *svc, const struct nof_found *who,
			      const char *endpoint, uint64_t key)
{
	struct release *r = calloc(1, sizeof(*r));

	if (!r) {
		log_err("out of memory for giving back a reservation",
			"endpoint=\"%s\"", endpoint);
		return NULL;
	}
	r->svc = svc;
	r->who = *who;
	r->timer.fire = release_fire;
	r->msg.run = release_over;
	r->vol = (struct vol_release){
		.done = release_done,
		.timeout_ms = RELEASE_TIMEOUT_MS,
		.key = key,
	};
	snprintf(r->vol.endpoint, sizeof(r->vol.endpoint), "%s", endpoint);
	list_add_tail(&svc->releases, &r->node);
	return r;
}

struct release *release_segment(struct service *svc, const struct segment *seg)
{
	struct nof_found who;
	struct release *r;

	if (seg->kind != KIND_NOF || !svc->vols)
		return NULL;
	nof_found_of(seg, &who);
	r = create(svc, &who, seg->endpoints[seg->last_path], seg->claimed);
	if (r)
		r->at_ns = segment_tomb(svc->core, &seg->id, seg->identity);
	return r;
}

static void drop_late(struct release *r)
{
	log_warn("reservation not given back: the master ends before "
		 "the last writer's time",
		 "endpoint=\"%s\"", r->vol.endpoint);
	release_free(r);
}

void release_begin(struct release *r, const struct vol_label *label)
{
	uint64_t now_ns;

	if (!r)
		return;
	ASSERT(r->step == RELEASE_HELD);
	now_ns = r->svc->core->now_ns;
	if (label && label->may_hold)
		r->vol.key = label->key;
	if (!r->vol.key) {
		release_free(r);
	} else if (r->at_ns <= now_ns) {
		run(r);
	} else if (r->svc->is_stopping) {
		drop_late(r);
	} else {
		r->step = RELEASE_WAITS;
		timer_set_at(r->svc->loop, &r->timer, r->at_ns);
	}
}

void release_label(struct service *svc, const struct nof_found *found,
		   const struct vol_label *label)
{
	if (label->may_hold)
		release_begin(create(svc, found, label->endpoint, label->key),
			      NULL);
}

uint64_t release_until(const struct service *svc, const struct nof_found *found)
{
	uint64_t until = 0, now_ns = svc->core->now_ns;
	const struct release *r;

	list_for_each (r, &svc->releases, node) {
		uint64_t at_ns = r->step == RELEASE_WAITS ? r->at_ns : now_ns;

		if (nof_is_same(&r->who, found))
			until = MAX(until, at_ns);
	}
	return until;
}

void releases_stop(struct service *svc)
{
	struct release *r, *tmp;

	list_for_each_safe (r, tmp, &svc->releases, node) {
		if (r->step != RELEASE_WAITS)
			continue;
		timer_cancel(svc->loop, &r->timer);
		drop_late(r);
	}
}
