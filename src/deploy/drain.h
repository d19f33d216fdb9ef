/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Draining before unmounting: the master is told that segments take nothing new
 * and is asked until clients have moved what is only there to other segments,
 * and nobody reads or writes them.  For programs: waits by
 * sleeping, says on stderr what is going on.
 */
#ifndef DEPLOY_DRAIN_H
#define DEPLOY_DRAIN_H

#include "deploy/tool.h"

enum drain_result {
	DRAIN_IDLE,   /* now it may be unmounted, with only_idle */
	DRAIN_ABSENT, /* the master knows no such segment */
	DRAIN_FAILED, /* a row says why, and in which state it is */
};

/* SIGINT and SIGTERM end the waiting from now on, not the program. */
void drain_open(void);
/* Nothing new from now on; says what is there.  1 when the master knows no such
 * segment, else 0: failures are told by drain_wait(). */
int drain_begin(struct tool *tool, Mc__UnmountReq *what, const char *name);
/* Until it is idle or deadline_ns is over.  enum drain_result, -ENOMEM. */
int drain_wait(struct tool *tool, const Mc__UnmountReq *what, const char *name,
	       uint64_t deadline_ns);

#endif
