/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups: objects that are of use together only (the parts of a page of a KV
 * cache).  Who reads one of them keeps all of them, and they are evicted
 * together: one replica of each, when each of them may go.
 *
 * An object is in one group at most, from its put to its end; a group is there
 * while it has members.  Objects without a group cost nothing.
 */
#ifndef MASTER_GROUP_H
#define MASTER_GROUP_H

#include "master/core.h"

/* Those that come beyond it are without a group: one eviction, and one read
 * per half a lease, look at all members. */
#define GROUP_MEMBERS_MAX 1024

int groups_init(struct core *core); /* -ENOMEM */
void groups_fini(struct core *core);
/* id has 1 to KEY_LEN_MAX bytes.  -ENOMEM. */
int group_join(struct core *core, struct object *obj, struct str id);
void group_leave(struct core *core, struct object *obj);
/* STR("") without one. */
struct str group_id(struct core *core, const struct object *obj);

/* obj was read: so were the others, if the last time is half a lease ago. */
void group_touch(struct core *core, struct object *obj);
/* May each member go?  with_soft: soft pins don't count. */
bool group_may_go(struct core *core, const struct replica *rep, bool with_soft);
/* It may not: what would be found of it counts as used now.  Those that are
 * leased or (but for with_soft) soft-pinned keep their places.  Returns how
 * many members were looked at. */
unsigned group_warm(struct core *core, const struct replica *rep,
		    bool with_soft);
/* What has no lease any more may be read as if this one still counted. */
void group_keep_lease(struct core *core, const struct object *obj);
uint64_t group_lease_end(struct core *core, const struct object *obj);

struct sweep;
/* Calls drop() with one replica of rep's kind of each other member; it may
 * destroy the object.  The sum of what it returns. */
uint64_t group_drop_others(struct core *core, const struct replica *rep,
			   uint64_t (*drop)(struct core *core,
					    struct replica *rep,
					    struct sweep *sweep),
			   struct sweep *sweep);

#endif
