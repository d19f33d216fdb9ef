/* SPDX-License-Identifier: Apache-2.0 */
/* Before a journal is gone on from. */
#ifndef JOURNAL_CUT_H
#define JOURNAL_CUT_H

#include "journal/walk.h"

/* Cuts what jr_walk() found torn, if anything.  0 or -errno. */
int jr_undo_torn(int dir_fd, const struct jr_report *report);
/* Deletes them; what can't be deleted is void all the same. */
void jr_drop_logs_from(int dir_fd, uint64_t sequence);
/* Deletes logs without a header and says so; after jr_walk(), which refuses
 * those that something may be in. */
void jr_drop_bare_logs(int dir_fd, const char *path);
/* A master that was killed may have left what is on no disk yet.  What is built
 * on it must not outlive it.  0 or -errno. */
int jr_sync_logs(int dir_fd);

#endif
