/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doubts: replicas of which a client says that their medium has lost them, and
 * that are the last ones anybody could read.  The master looks itself before
 * they go: a namespace that answers everything with errors is not one that has
 * lost these blocks.
 */
#ifndef MASTER_DOUBT_H
#define MASTER_DOUBT_H

#include "master/get.h"
#include "master/service.h"

#define DOUBTS_MAX 64 /* of one segment; more are not noted */

/* get_report_bad() has said GET_DOUBTED.  OK: it is noted, or was before.
 * What is not noted, or forgotten by a restart, the next reader reports. */
enum mooncake_status doubt_report(struct service *svc, struct str key,
				  const struct bad_replica *what);
/* Any segment, at any time; a look under way ends on its own. */
void doubts_stop(struct segment *seg);

#endif
