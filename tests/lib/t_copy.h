/* SPDX-License-Identifier: Apache-2.0 */
/* A pool of namespaces, and a client that does its tasks. */
#ifndef T_COPY_H
#define T_COPY_H

#include "master/copy.h"
#include "t_core.h"

#define T_LOOKS 1000

static inline struct core *t_pool(unsigned segments)
{
	struct core_opts opts;
	struct core *core;

	core_opts_default(&opts);
	opts.seed = 1;
	opts.copy_bytes_per_s = 0;
	core = t_core(&opts);
	for (unsigned i = 0; i < segments; i++)
		t_segment(core, KIND_NOF, i, 16 * MiB);
	copy_seen_client(core);
	return core;
}

static inline struct task *t_next(struct core *core, struct object **obj)
{
	unsigned looks = T_LOOKS;
	uint64_t wait_ns;

	copy_is_waiting(core);
	return copy_next(core, &T_CLIENT, &looks, obj, &wait_ns);
}

/* Also when a pass has to end before. */
static inline struct task *t_next_pass(struct core *core, struct object **obj)
{
	struct task *task = t_next(core, obj);

	return task ? task : t_next(core, obj);
}

static inline enum mooncake_status t_task_end(struct core *core, uint64_t id,
					      bool is_good)
{
	return copy_end(core, &T_CLIENT,
			&(struct task_result){.id = id, .is_good = is_good});
}

static inline unsigned t_readable(const struct object *obj)
{
	const struct replica *rep;
	unsigned n = 0;

	obj_for_each_replica (rep, obj)
		n += replica_is_readable(rep);
	return n;
}

static inline void t_lose(struct core *core, struct object *obj, uint32_t index)
{
	get_report_bad(core, obj_key(obj),
		       &(struct bad_replica){.generation = obj->generation,
					     .index = index});
}

#endif
