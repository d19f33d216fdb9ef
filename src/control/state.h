/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --state: what was changed by JSON-RPC is in a file before the change is
 * answered, and is made again at the next start.  Control loop.
 */
#ifndef CONTROL_STATE_H
#define CONTROL_STATE_H

#include "control/control.h"

struct state;

/* From now on; -errno with a sentence when the folder can't be written. */
int state_open(struct control *ctl, const char *path, struct state **out,
	       struct err *err);
/* After the server has closed: no call is held any more.  NULL is fine. */
void state_close(struct state *state);

#endif
