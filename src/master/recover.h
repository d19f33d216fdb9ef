/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a journal's records back to the metadata, before anybody asks for it.
 *
 * What is known afterwards: every complete object on the segments that were
 * not unmounted.  Segments are OFFLINE and awaited.  Objects count as leased,
 * and space that was granted or freed lately rests, because readers and
 * writers of the former life are still about.
 */
#ifndef MASTER_RECOVER_H
#define MASTER_RECOVER_H

#include "journal/walk.h"
#include "master/core.h"

struct recovery;

/* core: empty, its clock is set, nobody listens to it yet.  -ENOMEM. */
int recovery_create(struct core *core, struct recovery **out);
/* jr_record_fn; arg is the recovery. */
int recovery_apply(const struct jr_frame *frame, void *arg, struct err *err);
/* After the last record.  Frees rec in either case.  -ENOMEM. */
int recovery_finish(struct recovery *rec, struct err *err);
void recovery_destroy(struct recovery *rec); /* NULL is fine */

#endif
