/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scan: a walk over all objects in slices, during which the world goes on.
 * Objects created meanwhile are left out; one that is removed just
 * before its turn moves the cursor on.
 */
#ifndef MASTER_SCAN_H
#define MASTER_SCAN_H

#include "master/core.h"

struct scan {
	struct list node; /* core.scans */
	struct list *cursor;
	uint64_t last_generation; /* younger objects are left out */
};

void scan_start(struct core *core, struct scan *scan);
void scan_stop(struct scan *scan); /* idempotent */
/* The next object, or NULL at the end.  The caller may destroy it. */
struct object *scan_next(struct core *core, struct scan *scan);
/* An object goes away. */
void scans_leave(struct core *core, struct object *obj);

#endif
