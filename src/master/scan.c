/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over all objects, on the metadata shard.  Invariant: a cursor points to
 * core.all's head or to an object that exists.
 */
#include "master/scan.h"

void scan_start(struct core *core, struct scan *scan)
{
	list_add_tail(&core->scans, &scan->node);
	scan->cursor = core->all.next;
	scan->last_generation = core->generation;
}

void scan_stop(struct scan *scan)
{
	list_del(&scan->node);
}

struct object *scan_next(struct core *core, struct scan *scan)
{
	struct object *obj;

	if (scan->cursor == &core->all)
		return NULL;
	obj = list_entry(scan->cursor, struct object, all_node);
	/* In order of creation: a scan ends although writers go on. */
	if (obj->generation > scan->last_generation)
		return NULL;
	scan->cursor = scan->cursor->next;
	return obj;
}

void scans_leave(struct core *core, struct object *obj)
{
	struct scan *scan;

	list_for_each (scan, &core->scans, node)
		if (scan->cursor == &obj->all_node)
			scan->cursor = scan->cursor->next;
}
