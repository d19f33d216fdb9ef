/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reservations that are given back, on the metadata shard; vol's workers talk
 * to the target and post the result.  Invariant: one that waits for its time is
 * in service.releases, one that is under way counts as a vol_op.
 */
#include "master/release.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "master/segment.h"

#define RELEASE_TIMEOUT_MS 5000

struct release {
	struct list node; /* service.releases, while it waits */
	struct service *svc;
	struct timer timer;
	struct mbox_msg msg;
	struct vol_release vol;
};

static void release_over(struct mbox_msg *msg)
{
	struct release *r = container_of(msg, struct release, msg);
	struct service *svc = r->svc;

	service_enter(svc);
	if (r->vol.ret < 0)
		log_warn("reservation not given back: another cluster needs "
			 "--force to take the namespace",
			 "endpoint=\"%s\": %s", r->vol.endpoint,
			 r->vol.err.text);
	else
		log_info("reservation given back",
			 "endpoint=\"%s\" key=%016llx", r->vol.endpoint,
			 (unsigned long long)r->vol.key);
	free(r);
	service_vol_op_done(svc);
}

static void release_done(struct vol_release *vol)
{
	struct release *r = container_of(vol, struct release, vol);

	loop_post(r->svc->loop, &r->msg);
}

static void release_fire(struct timer *timer)
{
	struct release *r = container_of(timer, struct release, timer);

	list_del(&r->node);
	r->svc->vol_ops++;
	vol_release_submit(r->svc->vols, &r->vol);
}

static void release_at(struct service *svc, const char *endpoint, uint64_t key,
		       uint64_t at_ns)
{
	struct release *r = calloc(1, sizeof(*r));

	if (!r) {
		log_err("out of memory for giving back a reservation",
			"endpoint=\"%s\"", endpoint);
		return;
	}
	r->svc = svc;
	r->timer.fire = release_fire;
	r->msg.run = release_over;
	r->vol = (struct vol_release){
		.done = release_done,
		.timeout_ms = RELEASE_TIMEOUT_MS,
		.key = key,
	};
	snprintf(r->vol.endpoint, sizeof(r->vol.endpoint), "%s", endpoint);
	list_add_tail(&svc->releases, &r->node);
	timer_set_at(svc->loop, &r->timer, at_ns);
}

void release_key(struct service *svc, const char *endpoint, uint64_t key)
{
	release_at(svc, endpoint, key, svc->core->now_ns);
}

void release_segment(struct service *svc, const struct segment *seg)
{
	uint64_t until;

	if (!seg->key || !svc->vols || svc->is_stopping)
		return;
	until = segment_tomb(svc->core, &seg->id, seg->identity);
	release_at(svc, seg->endpoints[seg->last_path], seg->key,
		   MAX(until, svc->core->now_ns));
}

void releases_stop(struct service *svc)
{
	struct release *r, *tmp;

	list_for_each_safe (r, tmp, &svc->releases, node) {
		timer_cancel(svc->loop, &r->timer);
		list_del(&r->node);
		log_warn("reservation not given back: the master ends before "
			 "the last writer's time",
			 "endpoint=\"%s\"", r->vol.endpoint);
		free(r);
	}
}
