/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of objects, on the metadata shard.  Who is in which group stands
 * beside the objects, by generation, so that those without one stay small.
 * Invariant: an object is_grouped exactly while it has a member here, and a
 * group that nobody walks has one member at least.
 */
#include "master/group.h"

#include <errno.h>

#include "master/evict.h"
#include "master/object.h"

struct group {
	struct hnode hnode; /* core.groups */
	struct list members;
	uint64_t touched_ns; /* when all of them were read last */
	uint64_t lease_ns;   /* end of the last lease that was forgotten */
	uint32_t count;
	bool is_walked; /* stays, though it may be empty */
	uint32_t id_len;
	char id[];
};

struct member {
	struct hnode hnode; /* core.members */
	struct list node;   /* group.members */
	struct group *group;
	struct object *obj;
	uint64_t generation; /* of obj: its key in core.members */
};

static struct str group_key(const struct hnode *node)
{
	const char *p = (const char *)node - offsetof(struct group, hnode);
	const struct group *group = (const struct group *)p;

	return (struct str){group->id, group->id_len};
}

static struct str generation_key(const uint64_t *generation)
{
	return (struct str){(const char *)generation, sizeof(*generation)};
}

static struct str member_key(const struct hnode *node)
{
	const char *p = (const char *)node - offsetof(struct member, hnode);

	return generation_key(&((const struct member *)p)->generation);
}

int groups_init(struct core *core)
{
	int ret = htab_init(&core->groups, 64, group_key);

	return ret ? ret : htab_init(&core->members, 64, member_key);
}

void groups_fini(struct core *core)
{
	ASSERT(core->groups.count == 0 && core->members.count == 0);
	htab_fini(&core->groups);
	htab_fini(&core->members);
}

static struct member *member_of(struct core *core, const struct object *obj)
{
	struct str key = generation_key(&obj->generation);
	struct hnode *node;

	if (!obj->is_grouped)
		return NULL;
	node = htab_get(&core->members, key, hash_str(key));
	ASSERT(node);
	return container_of(node, struct member, hnode);
}

static void give_group(struct core *core, struct group *group)
{
	if (group->count || group->is_walked)
		return;
	htab_del(&core->groups, &group->hnode);
	bins_give(&core->bins, group, sizeof(*group) + group->id_len);
}

static struct group *take_group(struct core *core, struct str id)
{
	struct hnode *node = htab_get(&core->groups, id, hash_str(id));
	size_t n = sizeof(struct group) + id.n;
	struct group *group;

	if (node)
		return container_of(node, struct group, hnode);
	group = bins_take(&core->bins, n);
	if (!group)
		return NULL;
	list_init(&group->members);
	group->id_len = (uint32_t)id.n;
	memcpy(group->id, id.p, id.n);
	group->hnode.hash = hash_str(id);
	if (htab_add(&core->groups, &group->hnode) < 0) {
		bins_give(&core->bins, group, n);
		return NULL;
	}
	return group;
}

int group_join(struct core *core, struct object *obj, struct str id)
{
	struct group *group = take_group(core, id);
	struct member *m;

	ASSERT(!obj->is_grouped && id.n > 0 && id.n <= KEY_LEN_MAX);
	if (!group)
		return -ENOMEM;
	if (group->count == GROUP_MEMBERS_MAX)
		return 0;
	m = bins_take(&core->bins, sizeof(*m));
	if (!m)
		goto fail;
	m->obj = obj;
	m->group = group;
	m->generation = obj->generation;
	m->hnode.hash = hash_str(generation_key(&m->generation));
	if (htab_add(&core->members, &m->hnode) < 0)
		goto fail;
	list_add_tail(&group->members, &m->node);
	group->count++;
	obj->is_grouped = true;
	return 0;
fail:
	bins_give(&core->bins, m, sizeof(*m));
	give_group(core, group);
	return -ENOMEM;
}

void group_leave(struct core *core, struct object *obj)
{
	struct member *m = member_of(core, obj);
	struct group *group;

	if (!m)
		return;
	group = m->group;
	htab_del(&core->members, &m->hnode);
	list_del(&m->node);
	bins_give(&core->bins, m, sizeof(*m));
	obj->is_grouped = false;
	group->count--;
	give_group(core, group);
}

struct str group_id(struct core *core, const struct object *obj)
{
	const struct member *m = member_of(core, obj);

	return m ? (struct str){m->group->id, m->group->id_len} : STR("");
}

void group_touch(struct core *core, struct object *obj)
{
	struct member *own = member_of(core, obj), *m;

	if (!own ||
	    (own->group->touched_ns &&
	     core->now_ns - own->group->touched_ns < core->opts.lease_ns / 2))
		return;
	own->group->touched_ns = core->now_ns;
	list_for_each (m, &own->group->members, node)
		if (m != own && m->obj->is_complete)
			obj_touch_alone(core, m->obj);
}

/* One whose turn will come; NULL: it has none, or is held. */
static struct replica *evictable(const struct object *obj, enum kind kind)
{
	struct replica *rep, *found = NULL;

	obj_for_each_replica (rep, obj)
		if (rep->kind == kind && rep->turn != TURN_NONE)
			found = rep;
	return found;
}

static bool has_kind(const struct object *obj, enum kind kind)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj)
		if (rep->kind == kind && rep->state == REPLICA_COMPLETE)
			return true;
	return false;
}

bool group_may_go(struct core *core, const struct replica *rep, bool with_soft)
{
	const struct member *own = member_of(core, rep->obj), *m;

	if (!own)
		return true;
	list_for_each (m, &own->group->members, node) {
		const struct object *obj = m->obj;

		if (!obj->is_complete || !has_kind(obj, rep->kind))
			continue;
		if (obj->is_hard_pinned || obj_is_leased(core, obj) ||
		    obj_is_copied(obj) ||
		    (!with_soft && obj_is_soft_pinned(core, obj)) ||
		    !evictable(obj, rep->kind))
			return false;
	}
	return true;
}

/* Of any kind: all replicas of an object are used at the same time. */
static bool has_turn(const struct object *obj)
{
	const struct replica *rep;

	obj_for_each_replica (rep, obj)
		if (rep->turn != TURN_NONE)
			return true;
	return false;
}

unsigned group_warm(struct core *core, const struct replica *rep,
		    bool with_soft)
{
	const struct member *own = member_of(core, rep->obj), *m;

	list_for_each (m, &own->group->members, node) {
		struct object *obj = m->obj;

		if (has_turn(obj) && !obj_is_leased(core, obj) &&
		    (with_soft || !obj_is_soft_pinned(core, obj)))
			evict_renew(core, obj);
	}
	return own->group->count;
}

void group_keep_lease(struct core *core, const struct object *obj)
{
	struct group *group = member_of(core, obj)->group;

	group->lease_ns = MAX(group->lease_ns, obj_lease_end(core, obj));
}

uint64_t group_lease_end(struct core *core, const struct object *obj)
{
	return member_of(core, obj)->group->lease_ns;
}

uint64_t group_drop_others(struct core *core, const struct replica *rep,
			   uint64_t (*drop)(struct core *core,
					    struct replica *rep,
					    struct sweep *sweep),
			   struct sweep *sweep)
{
	struct member *own = member_of(core, rep->obj), *m, *next;
	enum kind kind = rep->kind;
	struct group *group;
	uint64_t bytes = 0;

	if (!own)
		return 0;
	group = own->group;
	group->is_walked = true;
	list_for_each_safe (m, next, &group->members, node) {
		struct replica *other =
			m == own ? NULL : evictable(m->obj, kind);

		if (other)
			bytes += drop(core, other, sweep);
	}
	group->is_walked = false;
	return bytes;
}
