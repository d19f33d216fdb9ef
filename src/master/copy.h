/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work on bytes, which the master never touches itself: clients are given tasks
 * to copy a replica or to check replicas against their checksums.
 *
 * Nothing is queued.  A pass walks over all objects and stops where it has
 * found something to hand out; it goes on when a client asks for more and the
 * bandwidth allows it.  A pass of copies begins when something was lost or
 * drains, or when room came for what had none; a pass of checks every
 * scrub_interval_ns; the journal knows where that is.  So what is missing is
 * found by looking at what there is, also after a restart.
 */
#ifndef MASTER_COPY_H
#define MASTER_COPY_H

#include "journal/record.h"
#include "master/core.h"

enum task_kind {
	TASK_COPY,
	TASK_CHECK
};

/* One that was handed out.  Owned by the copier. */
struct task {
	struct list node; /* in order of hand-out */
	uint64_t id;
	enum task_kind kind;
	uint64_t generation;
	uint32_t target; /* COPY: index of the new replica */
	struct uuid client;
	uint64_t deadline_ns; /* the client stops by then */
	uint64_t bytes;
	uint32_t key_len;
	char key[];
};

#define TASKS_MAX 1024 /* handed out at a time */

int copier_create(struct core *core); /* -ENOMEM */
void copier_destroy(struct core *core);

/* Something was lost, drains, or came: a pass of copies is due. */
void copy_is_due(struct core *core);
/* A client is there that would do it. */
void copy_seen_client(struct core *core);
/* Is there (perhaps) something to do now?  Expires what was not done. */
bool copy_is_waiting(struct core *core);
/* Are objects being moved, or still to be looked at, by a client that is
 * there? */
bool copy_is_moving(const struct core *core);

/*
 * The next task for that client, with its object; looks at no more than *looks
 * objects, which it counts down.  NULL: nothing found; *wait_ns says when to
 * ask again, 0 = when something happens.
 */
struct task *copy_next(struct core *core, const struct uuid *client,
		       unsigned *looks, struct object **obj, uint64_t *wait_ns);

/* Where the check of all objects is, for the journal; false: no client has
 * asked yet, or there are no checks. */
bool copy_scrub(const struct core *core, struct jr_scrub *out);
/* From the journal; all zero when it does not say. */
void copy_recovered(struct core *core, const struct jr_scrub *r);

struct task_result {
	uint64_t id;
	bool is_good;	/* a COPY was written, read back and matched */
	bool is_resent; /* some of it more than once */
};
/* OK; OBJECT_NOT_FOUND: it was late, or its object is gone. */
enum mooncake_status copy_end(struct core *core, const struct uuid *client,
			      const struct task_result *result);
/* The object of a task as long as it is the one the task is about. */
struct object *copy_object(struct core *core, const struct uuid *client,
			   uint64_t id);
/* Pace at which a client does its tasks, 0 = no limit. */
uint64_t copy_pace(const struct core *core, enum task_kind kind);

#endif
