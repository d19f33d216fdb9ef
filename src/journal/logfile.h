/* SPDX-License-Identifier: Apache-2.0 */
/* The file of one log: begun, written to, marked.  Any thread; blocks.  0 or
 * -errno. */
#ifndef JOURNAL_LOGFILE_H
#define JOURNAL_LOGFILE_H

#include "journal/frame.h"

/* As h says; nothing of it stays when it can't be begun.  -EEXIST: one of that
 * sequence has records. */
int jr_log_create(int dir_fd, const struct jr_header *h, int *fd);
int jr_log_write(int fd, const void *p, size_t n, uint64_t at);
/* Another header for it. */
int jr_log_mark(int fd, const struct jr_header *h);

#endif
