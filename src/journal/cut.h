/* SPDX-License-Identifier: Apache-2.0 */
/* Before a journal is gone on from. */
#ifndef JOURNAL_CUT_H
#define JOURNAL_CUT_H

#include "journal/walk.h"

/* What jr_walk() found torn or void goes, and logs without a header, which is
 * logged.  0 or -errno with err. */
int jr_tidy(int dir_fd, const char *path, const struct jr_report *report,
	    struct err *err);
/* A master that was killed may have left what is on no disk yet.  What is built
 * on it must not outlive it.  0 or -errno. */
int jr_sync_logs(int dir_fd);

#endif
