/* SPDX-License-Identifier: Apache-2.0 */
/* A start without a master: would it get through its journal? */
#ifndef MASTER_REHEARSE_H
#define MASTER_REHEARSE_H

#include "journal/walk.h"

struct rehearsal {
	jr_record_fn see; /* NULL, or shown what was applied */
	void *arg;
	uint64_t objects; /* that a master would know */
	unsigned segments;
};

/* Changes no file; takes the memory that the master takes.  Any thread, blocks.
 * As jr_walk() in what it returns. */
int rehearse(int dir_fd, struct rehearsal *r, struct jr_report *report,
	     struct err *err);

#endif
