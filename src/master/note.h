/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the metadata tells the journal: called where it changes, and for all
 * there is while a snapshot is written.  Without a journal these do nothing.
 *
 * Unfinished puts are told as grants: after a restart their space rests until
 * their writers have to have stopped, and they are not known otherwise.
 */
#ifndef MASTER_NOTE_H
#define MASTER_NOTE_H

#include "journal/journal.h"
#include "master/core.h"

struct notes {
	struct journal *journal;
	/* The first record since the last commit; may be NULL. */
	void (*has_news)(void *arg);
	void *arg;
	bool is_saving;		     /* a snapshot is being written */
	uint64_t generations_marked; /* up to here they count as used */
	uint32_t segments_marked;
	struct strbuf body;
	struct jr_object object; /* scratch */
};

/* -ENOMEM.  Ends with notes_fini(). */
int notes_init(struct core *core, struct journal *journal);
void notes_fini(struct core *core); /* idempotent */

void note_segment(struct core *core, const struct segment *seg);
void note_segment_gone(struct core *core, const struct segment *seg);
void note_grant(struct core *core, const struct object *obj);
void note_object(struct core *core, const struct object *obj);
void note_object_gone(struct core *core, const struct object *obj);
void note_replica_gone(struct core *core, const struct replica *rep);
/* Once more which numbers count as used: for what a record says of those before
 * it.  With a journal only. */
void note_marks(struct core *core);
/* One of the generations, which no other life of the master gives. */
uint64_t note_number(struct core *core);
/* Before it begins to. */
void note_resting(struct core *core, const struct extent *ext,
		  uint64_t release_ns);

/* How far the check of all objects is. */
void note_scrub(struct core *core);

/* Into the snapshot: all but the objects; what an object is. */
void save_rest(struct core *core);
void save_object(struct core *core, const struct object *obj);

#endif
