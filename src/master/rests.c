/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rests after a replay, on the metadata shard.  Invariant: nothing is
 * taken from a segment before rests_begin(), when every replica has what is its
 * own.
 */
#include "master/rests.h"

#include <errno.h>
#include <stdlib.h>

#include "master/object.h"
#include "master/quarantine.h"

struct rest {
	struct jr_extent ext;
	uint64_t ms;
};

void rests_fini(struct rests *rests)
{
	free(rests->all);
	*rests = (struct rests){0};
}

int rests_add(struct rests *rests, const struct jr_extent *ext, uint64_t ms)
{
	if (rests->count == rests->cap) {
		size_t cap = MAX(rests->cap * 2, (size_t)1024);
		struct rest *more = realloc(rests->all, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		rests->all = more;
		rests->cap = cap;
	}
	rests->all[rests->count++] = (struct rest){*ext, ms};
	return 0;
}

int rests_add_replica(struct rests *rests, const struct core *core,
		      const struct replica *rep)
{
	uint64_t late_ns = obj_late_ns(rep->obj), ms = 0;
	int ret = 0;

	if (late_ns)
		ms = (late_ns - core->now_ns) / NS_PER_MS;
	for (unsigned i = 0; i < rep->extent_count && ret == 0; i++) {
		const struct extent *ext = &rep->extents[i];

		ret = rests_add(rests,
				&(struct jr_extent){
					.segment = ext->seg->no,
					.off = ext->off,
					.len = extent_range(ext).len,
				},
				ms);
	}
	return ret;
}

/* The youngest first: what an older one shares with it was free in between,
 * so nobody is at it any more. */
int rests_begin(const struct rests *rests, struct core *core,
		struct seg_table *segments)
{
	uint64_t longest = MAX(core->opts.write_ns, core->opts.lease_ns);

	for (size_t i = rests->count; i-- > 0;) {
		const struct rest *rest = &rests->all[i];
		const struct seg_entry *entry =
			seg_table_find(segments, rest->ext.segment);
		struct resting r = {
			.release_ns = core->now_ns + core->opts.margin_ns +
				      MAX(longest, rests_ns(rest->ms)),
			.is_written = true,
			.seg = entry ? entry->seg : NULL,
		};
		int ret;

		if (!r.seg)
			continue;
		if (quarantine_reserve(core, 1) < 0)
			return -ENOMEM;
		r.seg->written_until_ns =
			MAX(r.seg->written_until_ns, r.release_ns);
		ret = ext_take_at(r.seg->space, rest->ext.off, rest->ext.len,
				  &r.ext);
		if (ret == -ENOMEM)
			return ret;
		if (ret == 0)
			quarantine_rest(core, &r);
	}
	return 0;
}
