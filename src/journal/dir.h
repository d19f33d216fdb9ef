/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal's directory: which files lie there, and the lock that keeps two
 * masters from sharing it.  Any thread; blocks.
 */
#ifndef JOURNAL_DIR_H
#define JOURNAL_DIR_H

#include "journal/frame.h"

#define JR_NAME_LEN 48

struct jr_name {
	enum jr_file kind;
	uint64_t sequence;
	char text[JR_NAME_LEN];
};

/* "journal-<16 hex digits>.log", "snapshot-<16 hex digits>.zst". */
void jr_name_format(struct jr_name *name, enum jr_file kind, uint64_t sequence);
bool jr_name_parse(const char *text, struct jr_name *out);

/* fn gets every name, also of files that are none of these, until it returns
 * < 0.  -errno, or what fn returned. */
int jr_dir_each(int dir_fd, int (*fn)(const char *name, void *arg), void *arg);

struct jr_list {
	struct jr_name *names; /* by kind, then by sequence */
	size_t count;
};
/* -errno with err.  Files of other names are left out. */
int jr_dir_list(int dir_fd, struct jr_list *out, struct err *err);
void jr_list_fini(struct jr_list *list);

/* Made when it is absent.  A descriptor or -errno with err. */
int jr_dir_open(const char *path, bool can_make, struct err *err);
/* Held until the descriptor is closed; -EBUSY says who has it. */
int jr_dir_lock(int dir_fd, const char *path, struct err *err);
/* What half-written snapshots left. */
void jr_dir_sweep(int dir_fd);
/* What the snapshot of that sequence makes unnecessary.  What can't be deleted
 * now is at the next one. */
void jr_dir_prune(int dir_fd, uint64_t sequence);

#endif
