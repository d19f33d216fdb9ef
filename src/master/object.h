/* SPDX-License-Identifier: Apache-2.0 */
/* Objects and replicas: birth, completion, loss, death. */
#ifndef MASTER_OBJECT_H
#define MASTER_OBJECT_H

#include "master/core.h"

struct object *obj_find(struct core *core, struct str key);
/* Of the next lookups; up to HTAB_WARM_MAX keys. */
static inline void obj_warm(const struct core *core, const struct str *keys,
			    size_t count)
{
	htab_warm(&core->objects, keys, count);
}
/* The object, or the successor of the object, that a put was granted. */
struct object *obj_find_put(struct core *core, struct str key,
			    uint64_t generation);

/* A new, unfinished object without replicas.  NULL when memory is out.  former
 * is what has the key: complete and without a successor, or NULL. */
struct object *obj_create(struct core *core, struct str key,
			  struct object *former, uint64_t size);
/* Drops all replicas and the object; a successor gets the key. */
void obj_destroy(struct core *core, struct object *obj);

/* Takes the extents (already taken from their segments) over.  Somebody is
 * writing().  NULL, when memory is out, leaves them with the caller.
 * quarantine_reserve() was called for them. */
struct replica *obj_add_replica(struct core *core, struct object *obj,
				enum kind kind, const struct extent *extents,
				unsigned count);
/* Its extents rest as long as somebody may touch them.  The object stays, even
 * without a replica. */
void obj_drop_replica(struct core *core, struct replica *rep);
/* As above, and destroys the object with its last replica; true then. */
bool obj_lose_replica(struct core *core, struct replica *rep);
/* The same because of its segment, whose end says it all to the journal. */
bool obj_unmount_replica(struct core *core, struct replica *rep);
struct replica *obj_replica(struct object *obj, uint32_t index);
/* Takes its extents from their segments, or none of them: -EBUSY, -EINVAL,
 * -ENOMEM.  For a journal that was read. */
int replica_take_extents(struct replica *rep);
/* Its writer's time, or that of what hangs at a target, begins now. */
void obj_give_time(struct core *core, struct object *obj);
/* From then on nothing comes of who writes until that deadline, even if it is
 * not heard of: what it had sent has been carried out, or its connection is
 * closed. */
static inline uint64_t writer_silent_ns(const struct core *core,
					uint64_t deadline_ns)
{
	return deadline_ns + core->opts.discard_ns - core->opts.write_ns;
}
/* Something was sent twice, and may be written for so long.  Before it is
 * completed, so that the journal knows. */
void obj_is_resent(struct core *core, struct object *obj, uint64_t late_ns);

/* Is it the replica's first extent on that segment? */
bool replica_begins_there(const struct replica *rep, unsigned extent);

/* The writer is done: crcs (copied, one per CRC_BLOCK) and visible; a former
 * object is destroyed. */
void obj_complete(struct core *core, struct object *obj, const uint8_t *crcs);

/* What is known of its writer; made when there is none.  NULL: no memory. */
struct writing *obj_writing(struct core *core, struct object *obj);
/* Forgets it, when nobody writes any more; or later, if that is only because
 * something was sent twice. */
void obj_settle(struct core *core, struct object *obj);
void obj_settle_late(struct core *core); /* those whose time has come */
/* What was sent twice may be written until then; 0 = nothing was. */
static inline uint64_t obj_late_ns(const struct object *obj)
{
	return obj->writing ? obj->writing->late_ns : 0;
}
/* The put of the same key that waits for its end, or NULL. */
static inline struct object *obj_successor(const struct object *obj)
{
	return obj->writing ? obj->writing->successor : NULL;
}

/* One more replica of a complete object has its bytes; obj_release() files it.
 */
void obj_complete_replica(struct core *core, struct replica *rep);

/* End of the last lease, 0 if there was none: all are equally long. */
static inline uint64_t obj_lease_end(const struct core *core,
				     const struct object *obj)
{
	return obj->was_leased ? obj->used_ns + core->opts.lease_ns : 0;
}

/* An access by a reader: recency, and a lease; of its group as well. */
void obj_touch(struct core *core, struct object *obj);
void obj_touch_alone(struct core *core, struct object *obj);
/* No eviction while it is copied. */
void obj_hold(struct core *core, struct object *obj);
void obj_release(struct core *core, struct object *obj);
bool obj_is_copied(const struct object *obj);
static inline bool obj_is_leased(const struct core *core,
				 const struct object *obj)
{
	return obj_lease_end(core, obj) > core->now_ns;
}
static inline bool obj_is_soft_pinned(const struct core *core,
				      const struct object *obj)
{
	return obj->soft_pin_ns > core->now_ns;
}
/* Complete, with a replica whose segments are all ONLINE. */
bool obj_is_readable(const struct object *obj);
bool replica_is_readable(const struct replica *rep);
bool replica_is_draining(const struct replica *rep); /* some of it is */
/* Readers are sent to it: readable, and on a segment that is draining only if
 * there is nothing else. */
bool replica_is_offered(const struct replica *rep);
uint64_t replica_bytes(const struct replica *rep); /* as allocated */

#endif
