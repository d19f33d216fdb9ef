/* SPDX-License-Identifier: Apache-2.0 */
/* A start without a master: would it get through its journal? */
#ifndef MASTER_REHEARSE_H
#define MASTER_REHEARSE_H

#include "base/str.h"
#include "journal/walk.h"

struct rehearsal {
	jr_record_fn see; /* NULL, or shown what was applied */
	void *arg;
	/* What a master would know; of a journal that is refused, what is
	 * before the fault. */
	uint64_t objects;
	unsigned segments;
};

/* Changes no file; takes the memory that the master takes.  Any thread, blocks.
 * As jr_walk() in what it returns. */
int rehearse(int dir_fd, struct rehearsal *r, struct jr_report *report,
	     struct err *err);

/* What to type where a journal is refused and nobody has a copy, and what is
 * there then.  Nothing is added when there is nothing to cut. */
void rehearse_advise(struct strbuf *out, const char *dir,
		     const struct jr_report *report, uint64_t objects,
		     unsigned segments);

#endif
