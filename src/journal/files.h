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
	bool never_sync; /* leave it all to the kernel */
};

/* Makes and locks the directory.  recover() comes next. */
int files_open(const struct files_opts *opts, struct journal **out,
	       struct err *err);
/*
 * For an operator, without a master: gives up everything from the first fault
 * on that jr_walk() reported.  0 = there was none, 1 = done.
 */
int files_cut(const char *path, struct jr_report *report, struct err *err);

#endif
