/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master's core under random calls with a journal that is cut off at any
 * record, with and without a snapshot that was written while the world went
 * on: what is recovered between two calls is what was there, and space that a
 * writer may be at is handed to nobody.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "master/copy.h"
#include "master/note.h"
#include "master/recover.h"
#include "master/scan.h"
#include "t_core.h"
#include "t_journal.h"
#include "t_rand.h"

#define KEYS	 48
#define SEGMENTS 4
#define ROUNDS	 10
#define STEPS	 1500
#define LOOK_AT	 30 /* steps between two crashes */

struct world {
	struct core *core;
	struct t_journal *journal;
	struct rng rng;
	struct scan scan;
	bool is_saving, has_snapshot;
	unsigned next_segment, next_path;
	uint64_t last_task;
	size_t snap_end;
};

/* --- what there is, in one number --- */

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t pair[2] = {a, b};

	return hash_bytes(pair, sizeof(pair));
}

static uint64_t replica_digest(const struct replica *rep)
{
	uint64_t sum = mix(rep->kind, rep->index);

	for (unsigned i = 0; i < rep->extent_count; i++) {
		const struct extent *ext = &rep->extents[i];

		sum = mix(sum, ext->seg->no);
		sum = mix(sum, ext->off);
		sum = mix(sum, extent_range(ext).len);
		sum = mix(sum, ext->bytes);
	}
	return sum;
}

static uint64_t object_digest(const struct object *obj)
{
	uint64_t sum = mix(hash_str(obj_key(obj)), obj->generation);
	const struct replica *rep;
	uint64_t replicas = 0;

	obj_for_each_replica (rep, obj)
		if (rep->state == REPLICA_COMPLETE)
			replicas += replica_digest(rep);
	if (!replicas)
		return 0; /* nothing but a copy that is being made */
	sum = mix(sum, obj->wanted[KIND_MEM] * 256u + obj->wanted[KIND_NOF]);
	sum = mix(sum, obj->size);
	sum = mix(sum, obj->data_type);
	sum = mix(sum, obj->is_hard_pinned);
	sum = mix(sum, hash_bytes(obj->crcs,
				  obj_crc_count(obj->size) * sizeof(uint32_t)));
	return mix(sum, replicas);
}

static uint64_t segment_digest(const struct segment *seg)
{
	uint64_t sum = mix(hash_bytes(seg->id.b, sizeof(seg->id.b)), seg->no);

	sum = mix(sum, seg->is_draining);
	sum = mix(sum, seg->size);
	for (unsigned i = 0; i < seg->endpoint_count; i++)
		sum = mix(sum, hash_str(str_of(seg->endpoints[i])));
	return mix(sum, hash_str(str_of(seg->name)));
}

static uint64_t digest(struct core *core)
{
	const struct segment *seg;
	const struct object *obj;
	uint64_t sum = 0;

	list_for_each (seg, &core->segments, node)
		sum += segment_digest(seg);
	list_for_each (obj, &core->all, all_node)
		if (obj->is_complete)
			sum += object_digest(obj);
	return sum;
}

/* --- crash --- */

static struct core *recover(struct world *w, bool has_snap, size_t count)
{
	struct core *core = t_core(NULL);
	struct recovery *rec;
	struct err err = {0};

	ASSERT(recovery_create(core, &rec) == 0);
	t_journal_replay(w->journal, has_snap, count, recovery_apply, rec);
	ASSERT(recovery_finish(rec, &err) == 0);
	return core;
}

/* Every byte taken has one owner: a replica, or the quarantine. */
static void check_space(struct core *core)
{
	struct segment *seg;
	struct extent *ext;

	list_for_each (seg, &core->segments, node) {
		uint64_t owned = seg->quarantined;

		list_for_each (ext, &seg->extents, seg_node)
			owned += extent_range(ext).len;
		ASSERT(owned == ext_used(seg->space));
		ASSERT(seg->is_awaited && seg->state == SEG_OFFLINE);
	}
}

static bool is_free(struct core *core, const struct segment *home,
		    struct ext was)
{
	struct segment *seg = segment_find(core, &home->id);
	struct ext range;
	int ret;

	if (!seg)
		return false;
	ret = ext_take_at(seg->space, was.off, was.len, &range);
	if (ret == 0)
		ext_give(seg->space, &range);
	return ret == 0;
}

/* What a writer or reader of the former life may be at is not free in this
 * one. */
static void check_users(struct world *w, struct core *core)
{
	const struct quarantine *q = &w->core->quarantine;
	const struct object *obj;
	const struct replica *rep;

	list_for_each (obj, &w->core->all, all_node)
		obj_for_each_replica (rep, obj)
			for (unsigned i = 0; rep->state == REPLICA_PROCESSING &&
					     i < rep->extent_count;
			     i++)
				ASSERT(!is_free(
					core, rep->extents[i].seg,
					extent_range(&rep->extents[i])));
	for (size_t i = 0; i < q->count; i++)
		ASSERT(q->heap[i].release_ns <= w->core->now_ns ||
		       !is_free(core, q->heap[i].seg, q->heap[i].ext));
}

static void crash(struct world *w)
{
	struct t_journal *j = w->journal;
	size_t some;

	for (int has_snap = 0; has_snap <= w->has_snapshot; has_snap++) {
		struct core *core = recover(w, has_snap, j->log_count);

		ASSERT(digest(core) == digest(w->core));
		ASSERT(core->generation >= w->core->generation);
		ASSERT(core->segment_no >= w->core->segment_no);
		check_space(core);
		check_users(w, core);
		core_destroy(core);
	}
	/* In the middle of anything: the pieces fit together all the same. */
	some = rng_below(&w->rng, j->log_count + 1);
	if (w->has_snapshot)
		some = MAX(some, w->snap_end);
	for (int has_snap = 0; has_snap <= w->has_snapshot; has_snap++) {
		struct core *core = recover(w, has_snap, some);

		check_space(core);
		core_destroy(core);
	}
}

/* --- snapshots --- */

static void save_begin(struct world *w)
{
	t_journal_forget_snap(w->journal);
	w->has_snapshot = false;
	w->is_saving = true;
	w->core->notes->is_saving = true;
	w->journal->snap_at = w->journal->log_count;
	save_rest(w->core);
	scan_start(w->core, &w->scan);
}

static void save_some(struct world *w)
{
	for (unsigned i = 0; i < 4; i++) {
		struct object *obj = scan_next(w->core, &w->scan);

		if (obj) {
			save_object(w->core, obj);
			continue;
		}
		scan_stop(&w->scan);
		w->core->notes->is_saving = w->is_saving = false;
		w->has_snapshot = true;
		/* It counts with what it has seen. */
		w->snap_end = w->journal->log_count;
		return;
	}
}

/* --- calls --- */

static void key_of(struct world *w, char out[16])
{
	snprintf(out, 16, "key-%u", (unsigned)rng_below(&w->rng, KEYS));
}

static uint64_t size_of(struct world *w)
{
	uint64_t size = 1 + rng_below(&w->rng, 300 * KiB);

	return rng_below(&w->rng, 8) ? size : size * 10;
}

static struct segment *some_segment(struct world *w)
{
	uint64_t n = rng_below(&w->rng, SEGMENTS);
	struct segment *seg;

	list_for_each (seg, &w->core->segments, node)
		if (n-- == 0)
			return seg;
	return NULL;
}

static void add_segment(struct world *w)
{
	enum kind kind = rng_below(&w->rng, 2) ? KIND_NOF : KIND_MEM;

	if (w->core->segment_count < SEGMENTS)
		t_segment(w->core, kind, w->next_segment++,
			  (4 + rng_below(&w->rng, 8)) * MiB);
}

static void change_segment(struct world *w)
{
	struct segment *seg = some_segment(w);
	char path[64];

	if (!seg)
		return;
	switch (rng_below(&w->rng, 8)) {
	case 0:
		segment_start_unmount(w->core, seg);
		break;
	case 1:
		segment_set_draining(w->core, seg, !seg->is_draining);
		break;
	case 2:
		snprintf(path, sizeof(path), "path %u", w->next_path++);
		segment_add_path(w->core, seg, path);
		break;
	default:
		segment_set_state(
			w->core, seg,
			rng_below(&w->rng, 3) ? SEG_ONLINE : SEG_OFFLINE, "");
	}
	/* In slices, too: what is on its way out counts as gone. */
	segments_reap(w->core, (unsigned)rng_below(&w->rng, 5));
}

static void drop_replica(struct world *w, const char *key)
{
	struct object *obj = obj_find(w->core, str_of(key));
	struct bad_replica what = {0};

	if (!obj || !obj->is_complete)
		return;
	what.generation = obj->generation;
	what.index = obj->replicas->index;
	get_report_bad(w->core, str_of(key), &what);
}

static void put_some(struct world *w, const char *key)
{
	int mem = (int)rng_below(&w->rng, 3) - 1;
	int nof = (int)rng_below(&w->rng, 3) - 1;
	struct put_ask ask = {
		.client = T_CLIENT,
		.count = {mem, nof},
		.budget = 1000,
		.has_hard_pin = rng_below(&w->rng, 20) == 0,
		.has_soft_pin = rng_below(&w->rng, 10) == 0,
		.data_type = (uint32_t)rng_below(&w->rng, 5),
	};
	struct object *obj;

	if (put_resolve(w->core, &ask) == MOONCAKE_OK)
		put_start(w->core, &ask, str_of(key), size_of(w), &obj);
}

static void revoke(struct world *w, const char *key)
{
	struct object *obj = obj_find(w->core, str_of(key));

	if (obj && obj->is_complete)
		obj = obj_successor(obj);
	if (obj)
		put_revoke(w->core, &T_CLIENT, str_of(key), obj->generation);
}

/* Clients copy what drains. */
static void copy(struct world *w)
{
	unsigned looks = 100;
	uint64_t wait_ns;
	struct object *obj;
	struct task *task;

	copy_seen_client(w->core);
	copy_is_waiting(w->core);
	task = copy_next(w->core, &T_CLIENT, &looks, &obj, &wait_ns);
	if (task && task->kind == TASK_COPY)
		w->last_task = task->id;
	if (rng_below(&w->rng, 2))
		copy_end(w->core, &T_CLIENT,
			 &(struct task_result){w->last_task,
					       rng_below(&w->rng, 5) > 0});
}

static void step(struct world *w)
{
	char key[16];

	key_of(w, key);
	switch (rng_below(&w->rng, 18)) {
	case 0:
		add_segment(w);
		break;
	case 1:
		change_segment(w);
		break;
	case 2:
		drop_replica(w, key);
		break;
	case 3:
		revoke(w, key);
		break;
	case 4:
		remove_key(w->core, str_of(key), true);
		break;
	case 5:
		t_get(w->core, key);
		break;
	case 6:
		t_pass(w->core, rng_below(&w->rng, 15) * NS_PER_S);
		put_expire(w->core);
		break;
	case 7:
		if (w->is_saving)
			save_some(w);
		else if (rng_below(&w->rng, 5) == 0)
			save_begin(w);
		break;
	case 8 ... 11:
		put_some(w, key);
		break;
	case 12 ... 13:
		copy(w);
		break;
	default:
		t_end(w->core, key);
	}
}

static void run_round(unsigned round)
{
	struct world w = {.journal = t_journal_create(), .rng = t_rng(round)};

	w.core = t_core(NULL);
	list_init(&w.scan.node);
	ASSERT(notes_init(w.core, &w.journal->j) == 0);
	for (unsigned i = 0; i < SEGMENTS; i++)
		add_segment(&w);
	for (unsigned i = 0; i < STEPS; i++) {
		step(&w);
		if (i % LOOK_AT)
			continue;
		/* What is on its way out is gone, as the journal sees it. */
		while (segments_reap(w.core, UINT32_MAX))
			;
		crash(&w);
	}
	scan_stop(&w.scan);
	notes_fini(w.core);
	core_destroy(w.core);
	t_journal_destroy(w.journal);
}

int main(void)
{
	log_level_max = LOG_ERROR;
	for (unsigned round = 0; round < ROUNDS; round++)
		run_round(round);
	return 0;
}
