/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is cut off a journal stays beside it for a while, for whoever wants to
 * look: "cut-N-<name of the log>-<byte>", in which N is the cut's.  No reader
 * of the journal knows these files.  Blocks; by whoever holds the lock.
 */
#ifndef JOURNAL_KEPT_H
#define JOURNAL_KEPT_H

#include "journal/dir.h"

#define JR_CUTS_KEPT 4

/* One cut. */
struct jr_keep {
	int dir_fd;
	unsigned no; /* 0: nothing was cut off yet */
	char name[JR_NAME_LEN + 48]; /* of the last file */
};

/* The log from that byte on; all of it, which then has this name alone, when
 * at is 0.  Earlier cuts go but for the last few.  0 or -errno. */
int jr_keep(struct jr_keep *keep, const struct jr_name *log, uint64_t at);

#endif
