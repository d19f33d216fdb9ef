/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot files: a header, then one zstd frame of records whose sequences
 * count from 0 and the last of which is an END.  Blocks; any one thread.
 */
#ifndef JOURNAL_SNAP_H
#define JOURNAL_SNAP_H

#include "journal/dir.h"

/* What to do about one that can't be read: nothing before it is there. */
#define SNAP_GIVE_UP                                                           \
	". Restore the directory from a copy, or begin an empty one and "      \
	"register the namespaces again (objects are lost)"

struct snap_writer;

/* Under a temporary name.  -errno. */
int snap_create(int dir_fd, const struct jr_header *header,
		struct snap_writer **out);
/* Whole records. */
int snap_add(struct snap_writer *w, const void *p, size_t n);
/* On disk under its name when it returns 0; *bytes: size of the file.  w is
 * gone in either case. */
int snap_finish(struct snap_writer *w, uint64_t *bytes);
/* Removes what there is; NULL is fine. */
void snap_abort(struct snap_writer *w);

/* The sentence for a file that the system can't read; a log, too.  ret: -errno,
 * which is returned. */
int jr_unreadable(const char *name, int ret, struct err *err);

/* -EBADMSG: the record is whole and still can't be taken. */
typedef int (*jr_record_fn)(const struct jr_frame *frame, void *arg,
			    struct err *err);
/* fd behind the header.  Calls fn for each record but the END; name is for
 * sentences.  -EBADMSG, -errno, or what fn returned. */
int snap_read(int fd, const char *name, jr_record_fn fn, void *arg,
	      uint64_t *records, struct err *err);

#endif
