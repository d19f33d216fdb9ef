/* SPDX-License-Identifier: Apache-2.0 */
/* A journal over files in one directory (docs/on-disk.md). */
#ifndef JOURNAL_FILES_H
#define JOURNAL_FILES_H

#include "io/loop.h"
#include "journal/journal.h"

struct files_opts {
	const char *path;
	const char *cluster_id;
	struct loop *loop; /* the owner's */
	struct journal_events events;
	bool never_sync; /* but at a start, and snapshots */
};

/* Makes and locks the directory.  recover() comes next. */
int files_open(const struct files_opts *opts, struct journal **out,
	       struct err *err);
/* A jr_walk() that does with the records what a start does. */
typedef int (*jr_read_fn)(int dir_fd, struct jr_report *report,
			  struct err *err);
/*
 * For an operator, without a master: gives up everything from the first fault
 * on.  0 = there was none, 1 = done, and report has the fault and what is left.
 */
int files_cut(const char *path, jr_read_fn read, struct jr_report *report,
	      struct err *err);

#endif
