/* SPDX-License-Identifier: Apache-2.0 */
/* What a start makes of its journal. */
#ifndef MASTER_REPLAY_H
#define MASTER_REPLAY_H

#include "journal/journal.h"

struct service;

/* Into svc's core, which is empty; dir is what the log calls the journal. */
int replay(struct service *svc, struct journal *journal, const char *dir,
	   struct err *err);

#endif
