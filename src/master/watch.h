/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watch: probes one pool segment for as long as it is mounted.  All watches run
 * in parallel, so a slow target delays nobody else's probe.
 */
#ifndef MASTER_WATCH_H
#define MASTER_WATCH_H

#include "master/service.h"

/* -ENOMEM.  The first probe comes within one interval. */
int watch_start(struct service *svc, struct segment *seg);
struct release;
/* Any segment, at any time; a probe under way ends on its own.  True: so does a
 * label, and release (NULL is fine) begins when it has. */
bool watch_stop(struct segment *seg, struct release *release);
/* Don't wait for the interval: somebody has doubts. */
void watch_now(struct segment *seg);
/* The same for doubts that may come again and again: at once, but a second
 * after the last one at the earliest. */
void watch_soon(struct segment *seg);

#endif
