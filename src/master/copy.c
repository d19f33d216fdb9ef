/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks of clients, on the metadata shard.  Invariant: a replica that is being
 * copied is PROCESSING in a complete object and belongs to exactly one task;
 * whatever becomes of the task, the replica is completed or dropped with it,
 * and its extents rest as those of a put that has failed.
 */
#include "master/copy.h"

#include <errno.h>
#include <stdlib.h>

#include "master/census.h"
#include "master/note.h"
#include "master/object.h"
#include "master/place.h"
#include "master/quarantine.h"
#include "master/scan.h"

#define AGAIN_NS  (5 * NS_PER_S) /* after a pass in which a copy failed */
#define SELDOM_NS (120 * NS_PER_S)
#define ROOM_NS	  NS_PER_S /* between looks for room, each at all segments */
#define TRIES_MAX 5	   /* passes in a row in which copies only failed */
/* The check of all objects: from a start on, when segments are back; how often
 * its place is noted. */
#define SCRUB_SOON_NS (60 * NS_PER_S)
#define SCRUB_NOTE_NS (60 * NS_PER_S)
#define PACE_SURE     (64 * MiB) /* no limit makes anybody faster */
#define MOVERS_TTL    3 /* client TTLs without a client that takes tasks */

/* A walk over all objects. */
struct pass {
	struct scan scan;
	bool is_running;
	uint64_t due_ns;  /* when the next one begins; 0 = not */
	uint64_t free_ns; /* bandwidth: nothing is handed out before */
};

struct copier {
	struct pass repair, scrub;
	/* Generations up to these were handed out, and are done with, in this
	 * pass of checks, which may have begun in a former life. */
	uint64_t scrub_reached, scrub_done;
	bool scrub_skips; /* what the former life has done */
	uint64_t scrub_note_ns;
	struct list given; /* struct task */
	unsigned given_count, copies;
	/* copies since the pass began */
	unsigned failed, done, no_room;
	unsigned tries;
	/* The last pass found no room, and none is due since. */
	bool is_short;
	uint64_t need[KIND_COUNT]; /* the smallest that had none; 0 = all had */
	uint64_t freed;		   /* quarantine.freed by then */
	uint64_t pause_ns, room_ns; /* room is not looked for before */
	uint64_t lost_ns; /* when a segment next counts as lost; 0 = never */
	uint64_t movers_until_ns;
};

int copier_create(struct core *core)
{
	struct copier *c = calloc(1, sizeof(*c));

	core->copier = c;
	if (!c)
		return -ENOMEM;
	list_init(&c->given);
	list_init(&c->repair.scan.node);
	list_init(&c->scrub.scan.node);
	if (core->opts.scrub_interval_ns && core->opts.scrub_bytes_per_s)
		c->scrub.due_ns = UINT64_MAX; /* the clock is not set yet */
	return 0;
}

static void task_free(struct copier *c, struct task *task)
{
	list_del(&task->node);
	c->given_count--;
	c->copies -= task->kind == TASK_COPY;
	free(task);
}

void copier_destroy(struct core *core)
{
	struct copier *c = TAKE(core->copier);

	if (!c)
		return;
	scan_stop(&c->repair.scan);
	scan_stop(&c->scrub.scan);
	while (!list_is_empty(&c->given))
		task_free(c, list_first(&c->given, struct task, node));
	free(c);
}

/* --- tasks --- */

static uint64_t time_for(uint64_t bytes, uint64_t bytes_per_s)
{
	double ns = (double)bytes / (double)bytes_per_s * (double)NS_PER_S;

	if (!bytes_per_s)
		return 0;
	return (uint64_t)MIN(ns, (double)(TASK_NS_MAX / 4));
}

/* bytes: of all replicas that it reads or writes. */
static struct task *task_give(struct core *core, const struct object *obj,
			      enum task_kind kind, uint64_t bytes,
			      const struct uuid *client)
{
	struct copier *c = core->copier;
	struct str key = obj_key(obj);
	struct task *task = calloc(1, sizeof(*task) + key.n);
	uint64_t pace = copy_pace(core, kind);

	if (!task)
		return NULL;
	/* Late ends of a former life's tasks are about none of these. */
	task->id = note_number(core);
	task->kind = kind;
	task->generation = obj->generation;
	task->client = *client;
	if (!pace || pace > PACE_SURE)
		pace = PACE_SURE;
	task->deadline_ns =
		core->now_ns + core->opts.write_ns + 2 * time_for(bytes, pace);
	task->bytes = bytes;
	task->key_len = (uint32_t)key.n;
	memcpy(task->key, key.p, key.n);
	list_add_tail(&c->given, &task->node);
	c->given_count++;
	c->copies += kind == TASK_COPY;
	return task;
}

static void had_no_room(struct copier *c, enum kind kind, uint64_t size)
{
	c->no_room++;
	if (!c->need[kind] || size < c->need[kind])
		c->need[kind] = size;
}

/* NULL when there is nothing to copy, no room or no source. */
static struct task *repair(struct core *core, struct object *obj,
			   enum kind kind, const struct uuid *client)
{
	struct census n = census_of(core, obj, kind);
	struct replica *rep;
	struct task *task;
	int ret;

	if (!census_wants(obj, kind) || n.is_copied || !n.is_readable)
		return NULL;
	if (n.good >= obj->wanted[kind])
		census_trim(core, obj, kind);
	if (n.good + n.away >= obj->wanted[kind])
		return NULL;
	task = task_give(core, obj, TASK_COPY, obj->size, client);
	if (!task)
		return NULL;
	ret = place_copy(core, obj, kind, task->deadline_ns);
	if (ret < 0) {
		had_no_room(core->copier, kind, obj->size);
		task_free(core->copier, task);
		obj_settle(core, obj);
		return NULL;
	}
	obj_for_each_replica (rep, obj)
		if (rep->state == REPLICA_PROCESSING)
			task->target = rep->index;
	note_grant(core, obj);
	obj_hold(core, obj);
	return task;
}

static struct task *repair_step(struct core *core, struct object *obj,
				const struct uuid *client)
{
	struct task *task = NULL;

	if (!obj->is_complete)
		return NULL;
	for (enum kind kind = 0; !task && kind < KIND_COUNT; kind++)
		task = repair(core, obj, kind, client);
	return task;
}

/* Notes now and then what is done with. */
static void scrub_mark(struct core *core)
{
	struct copier *c = core->copier;
	const struct task *task;

	if (!c->scrub.is_running || c->scrub_note_ns > core->now_ns)
		return;
	c->scrub_done = c->scrub_reached;
	list_for_each (task, &c->given, node)
		if (task->kind == TASK_CHECK)
			c->scrub_done =
				MIN(c->scrub_done, task->generation - 1);
	c->scrub_note_ns = core->now_ns + SCRUB_NOTE_NS;
	note_scrub(core);
}

/* Objects stand in order of their generations, but for some that were copied:
 * they stand behind, and are looked at. */
static bool scrub_skips(struct copier *c, const struct object *obj)
{
	c->scrub_skips = c->scrub_skips && obj->generation <= c->scrub_done;
	return c->scrub_skips;
}

static struct task *scrub_step(struct core *core, struct object *obj,
			       const struct uuid *client)
{
	const struct replica *rep;
	struct copier *c = core->copier;
	unsigned n = 0;

	if (scrub_skips(c, obj) || !obj->is_complete)
		return NULL;
	scrub_mark(core);
	c->scrub_reached = MAX(c->scrub_reached, obj->generation);
	obj_for_each_replica (rep, obj)
		n += rep->kind == KIND_NOF && replica_is_readable(rep);
	if (!n)
		return NULL;
	return task_give(core, obj, TASK_CHECK, n * obj->size, client);
}

/* --- passes --- */

static void pass_begin(struct core *core, struct pass *pass)
{
	struct copier *c = core->copier;

	if (pass == &c->repair) {
		memset(c->need, 0, sizeof(c->need));
		c->is_short = false;
	} else {
		c->scrub_skips = c->scrub_done > 0;
		c->scrub_reached = c->scrub_done;
		c->scrub_note_ns = core->now_ns + SCRUB_NOTE_NS;
	}
	pass->is_running = true;
	pass->due_ns = 0;
	scan_start(core, &pass->scan);
}

/* Passes in vain are ever further apart: somebody may always find a little
 * room, and something that does not fit. */
static void wait_for_room(struct core *core)
{
	struct copier *c = core->copier;

	c->is_short = true;
	c->freed = core->quarantine.freed;
	c->pause_ns = MIN(MAX(2 * c->pause_ns, AGAIN_NS), SELDOM_NS);
	c->room_ns = core->now_ns + c->pause_ns;
}

static void repair_end(struct core *core, struct pass *pass)
{
	struct copier *c = core->copier;
	bool has_moved = c->done || c->copies;

	c->tries = c->failed && !c->done ? c->tries + 1 : 0;
	if (has_moved)
		c->pause_ns = 0;
	if (c->failed && !pass->due_ns)
		pass->due_ns = core->now_ns +
			       (c->tries < TRIES_MAX ? AGAIN_NS : SELDOM_NS);
	/* What has moved may have left room. */
	if (c->no_room && has_moved && !pass->due_ns)
		pass->due_ns = core->now_ns + core->opts.margin_ns;
	if (c->no_room && !pass->due_ns)
		wait_for_room(core);
	c->failed = c->done = c->no_room = 0;
}

static void pass_end(struct core *core, struct pass *pass)
{
	pass->is_running = false;
	scan_stop(&pass->scan);
	if (pass == &core->copier->repair) {
		repair_end(core, pass);
		return;
	}
	pass->due_ns = core->now_ns + core->opts.scrub_interval_ns;
	core->copier->scrub_done = 0;
	note_scrub(core);
}

static bool pass_is_ready(struct core *core, struct pass *pass)
{
	if (core->copier->given_count >= TASKS_MAX ||
	    pass->free_ns > core->now_ns)
		return false;
	return pass->is_running ||
	       (pass->due_ns && pass->due_ns <= core->now_ns);
}

typedef struct task *(*step_fn)(struct core *core, struct object *obj,
				const struct uuid *client);

static struct task *pass_next(struct core *core, struct pass *pass,
			      step_fn step, const struct uuid *client,
			      unsigned *looks, struct object **obj)
{
	struct task *task = NULL;

	if (!pass_is_ready(core, pass))
		return NULL;
	if (!pass->is_running)
		pass_begin(core, pass);
	while (!task && *looks > 0) {
		*obj = scan_next(core, &pass->scan);
		if (!*obj) {
			pass_end(core, pass);
			return NULL;
		}
		(*looks)--;
		task = step(core, *obj, client);
	}
	if (task)
		pass->free_ns =
			MAX(pass->free_ns, core->now_ns) +
			time_for(task->bytes, copy_pace(core, task->kind));
	return task;
}

/* The later of when it is due and when there is bandwidth; 0 = never. */
static uint64_t pass_time(const struct pass *pass)
{
	if (!pass->is_running && !pass->due_ns)
		return 0;
	return MAX(pass->free_ns, pass->is_running ? 1 : pass->due_ns);
}

static uint64_t wait_for(const struct core *core)
{
	const struct copier *c = core->copier;
	uint64_t a = pass_time(&c->repair), b = pass_time(&c->scrub), at;

	at = a && b ? MIN(a, b) : MAX(a, b);
	if (!at)
		return 0;
	return at > core->now_ns ? at - core->now_ns : 1;
}

/* --- what happens meanwhile --- */

static struct object *object_of(struct core *core, const struct task *task)
{
	struct object *obj =
		obj_find(core, (struct str){task->key, task->key_len});

	return obj && obj->generation == task->generation && obj->is_complete
		       ? obj
		       : NULL;
}

static struct replica *target_of(struct object *obj, const struct task *task)
{
	struct replica *rep = obj ? obj_replica(obj, task->target) : NULL;

	return rep && rep->state == REPLICA_PROCESSING ? rep : NULL;
}

static void task_fail(struct core *core, struct task *task)
{
	struct object *obj = object_of(core, task);
	struct replica *rep;

	if (task->kind == TASK_COPY) {
		core->copier->failed++;
		core->stats.copies_failed++;
		rep = target_of(obj, task);
		/* As with a put: it may still be carried out. */
		if (rep)
			obj_give_time(core, obj);
		if (rep && obj_lose_replica(core, rep))
			obj = NULL;
		if (obj)
			obj_release(core, obj);
		if (!core->copier->repair.is_running &&
		    !core->copier->repair.due_ns)
			core->copier->repair.due_ns = core->now_ns + AGAIN_NS;
	} else if (obj) {
		core->stats.checks_failed++;
	}
	task_free(core->copier, task);
}

/* They are handed out with different deadlines, so all are looked at. */
static void expire(struct core *core)
{
	struct task *task, *tmp;

	list_for_each_safe (task, tmp, &core->copier->given, node)
		if (task->deadline_ns <= core->now_ns)
			task_fail(core, task);
}

/* A segment that has been away for too long is not waited for any more. */
static void look_for_lost(struct core *core)
{
	struct copier *c = core->copier;
	const struct segment *seg;
	uint64_t next = 0, at;

	if (c->lost_ns > core->now_ns || !core->opts.lost_ns)
		return;
	list_for_each (seg, &core->segments, node) {
		at = seg->offline_ns + core->opts.lost_ns;
		if (seg->state != SEG_OFFLINE)
			continue;
		if (at > core->now_ns)
			next = next ? MIN(next, at) : at;
		else if (at >= c->lost_ns)
			copy_is_due(core);
	}
	c->lost_ns = next ? next : core->now_ns + core->opts.lost_ns;
}

/* Something went since the last pass, and now one of those would fit that did
 * not. */
static void look_for_room(struct core *core)
{
	struct copier *c = core->copier;
	bool has_room = false;

	if (!c->is_short || c->room_ns > core->now_ns ||
	    c->freed == core->quarantine.freed)
		return;
	c->room_ns = core->now_ns + ROOM_NS;
	for (enum kind kind = 0; kind < KIND_COUNT; kind++)
		has_room |= c->need[kind] &&
			    census_has_room(core, kind, c->need[kind]);
	if (has_room && !c->repair.due_ns)
		c->repair.due_ns = core->now_ns;
}

/* --- public --- */

void copy_is_due(struct core *core)
{
	struct copier *c = core->copier;

	c->repair.due_ns = core->now_ns ? core->now_ns : 1;
	c->tries = 0;
	c->pause_ns = 0;
}

void copy_seen_client(struct core *core)
{
	core->copier->movers_until_ns =
		core->now_ns + MOVERS_TTL * core->opts.client_ttl_ns;
}

bool copy_is_waiting(struct core *core)
{
	struct copier *c = core->copier;

	if (c->scrub.due_ns == UINT64_MAX)
		c->scrub.due_ns = core->now_ns + core->opts.scrub_interval_ns;
	expire(core);
	look_for_lost(core);
	quarantine_release(core);
	look_for_room(core);
	return pass_is_ready(core, &c->repair) ||
	       pass_is_ready(core, &c->scrub);
}

bool copy_is_moving(const struct core *core)
{
	const struct copier *c = core->copier;

	return c->movers_until_ns > core->now_ns &&
	       (c->copies > 0 || ((c->repair.is_running || c->repair.due_ns) &&
				  c->tries < TRIES_MAX));
}

/* The wall clock decides no more than when the next check begins. */
bool copy_scrub(const struct core *core, struct jr_scrub *out)
{
	const struct copier *c = core->copier;
	uint64_t due_ns = c->scrub.is_running ? core->now_ns : c->scrub.due_ns;

	if (!due_ns || due_ns == UINT64_MAX)
		return false;
	*out = (struct jr_scrub){.generation = c->scrub_done};
	out->due_ms = time_wall_ns() / NS_PER_MS;
	if (due_ns > core->now_ns)
		out->due_ms += (due_ns - core->now_ns) / NS_PER_MS;
	return true;
}

void copy_recovered(struct core *core, const struct jr_scrub *r)
{
	struct copier *c = core->copier;
	uint64_t interval_ns = core->opts.scrub_interval_ns;
	uint64_t wall_ms = time_wall_ns() / NS_PER_MS, left_ms = 0;

	if (!c->scrub.due_ns || (!r->due_ms && list_is_empty(&core->all)))
		return;
	if (!r->generation && r->due_ms > wall_ms)
		left_ms = MIN(r->due_ms - wall_ms, interval_ns / NS_PER_MS);
	c->scrub_done = r->generation;
	c->scrub.due_ns = core->now_ns + MAX(left_ms * NS_PER_MS,
					     MIN(SCRUB_SOON_NS, interval_ns));
}

struct task *copy_next(struct core *core, const struct uuid *client,
		       unsigned *looks, struct object **obj, uint64_t *wait_ns)
{
	struct copier *c = core->copier;
	struct task *task =
		pass_next(core, &c->repair, repair_step, client, looks, obj);

	*wait_ns = 0;
	if (!task)
		task = pass_next(core, &c->scrub, scrub_step, client, looks,
				 obj);
	if (!task)
		*wait_ns = wait_for(core);
	return task;
}

static struct task *find(struct core *core, const struct uuid *client,
			 uint64_t id)
{
	struct task *task;

	list_for_each (task, &core->copier->given, node)
		if (task->id == id && uuid_eq(&task->client, client))
			return task;
	return NULL;
}

struct object *copy_object(struct core *core, const struct uuid *client,
			   uint64_t id)
{
	const struct task *task = find(core, client, id);

	return task ? object_of(core, task) : NULL;
}

enum mooncake_status copy_end(struct core *core, const struct uuid *client,
			      const struct task_result *result)
{
	struct task *task = find(core, client, result->id);
	struct object *obj = task ? object_of(core, task) : NULL;
	struct replica *rep;

	if (!task)
		return MOONCAKE_OBJECT_NOT_FOUND;
	if (!obj || !result->is_good || task->deadline_ns <= core->now_ns) {
		task_fail(core, task);
		return obj ? MOONCAKE_OK : MOONCAKE_OBJECT_NOT_FOUND;
	}
	if (task->kind == TASK_CHECK) {
		core->stats.checks++;
		core->stats.checked_bytes += task->bytes;
		task_free(core->copier, task);
		scrub_mark(core);
		return MOONCAKE_OK;
	}
	rep = target_of(obj, task);
	task_free(core->copier, task);
	if (!rep) {
		obj_release(core, obj);
		return MOONCAKE_REPLICA_IS_GONE;
	}
	core->stats.copies++;
	core->stats.copied_bytes += obj->size;
	core->copier->done++;
	/* As with a put. */
	if (result->is_resent)
		obj_is_resent(core, obj, core->opts.write_ns);
	obj_complete_replica(core, rep);
	census_trim(core, obj, rep->kind);
	/* One copy at a time is made of an object: it may need more. */
	if (census_is_short(core, obj) && !core->copier->repair.due_ns)
		core->copier->repair.due_ns = core->now_ns + AGAIN_NS;
	obj_release(core, obj);
	return MOONCAKE_OK;
}

uint64_t copy_pace(const struct core *core, enum task_kind kind)
{
	return kind == TASK_COPY ? core->opts.copy_bytes_per_s
				 : core->opts.scrub_bytes_per_s;
}
