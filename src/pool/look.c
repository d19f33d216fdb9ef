/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges that a probe is asked to read: has the medium lost them, or is it the
 * namespace, or the way to it?  Control thread.
 *
 * Invariant: only a medium error ends one range and goes on with the next;
 * whatever else goes wrong is the whole probe's failure.
 */
#include "pool/visit.h"

#include <errno.h>

#include "base/time.h"

static void look_done(struct visit *v)
{
	struct vol_range *r = &v->probe->ranges[v->range];
	int ret = nvme_sc_errno(v->io.sc);

	v->range_at += v->io.bytes;
	if (ret || v->range_at >= r->bytes) {
		r->ret = ret;
		v->range++;
		v->range_at = 0;
	}
	visit_look(v);
}

void visit_look(struct visit *v)
{
	struct vol_probe *p = v->probe;
	const struct vol_range *r;
	uint64_t bytes;

	if (v->ret || v->range >= p->range_count ||
	    atomic_load(&p->has_enough)) {
		visit_close(v);
		return;
	}
	r = &p->ranges[v->range];
	bytes = MIN(r->bytes - v->range_at, v->head_bytes);
	v->step = "read what is doubted";
	if (r->off % v->ns.lba_bytes || bytes % v->ns.lba_bytes || !bytes) {
		visit_fail(v, -EINVAL, "its blocks have another size now");
		return;
	}
	timer_set(set_loop(v->set), &v->timer, p->timeout_ms * NS_PER_MS);
	visit_io(v, &(struct visit_io){
			    .step = v->step,
			    .op = NVMF_READ,
			    .off = r->off + v->range_at,
			    .bytes = bytes,
			    .buf = v->head,
			    .next = look_done,
			    .may_lose = true,
		    });
}
