/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the master claims at targets, and giving it back.
 *
 * A release is what is still to happen to a namespace that is none of ours any
 * more.  As long as there is one nobody else here claims that namespace: it
 * would be given back as well.
 */
#ifndef MASTER_RELEASE_H
#define MASTER_RELEASE_H

#include "master/nof_judge.h"
#include "master/service.h"

struct release;

/* As whom the superblock is written: as the owner of this life, or where the
 * master has none, but found somebody there, for the writing alone. */
void claim_set(const struct service *svc, const struct vol_owner *found,
	       enum vol_claim claim, struct vol_label *label);

/* The segment is being forgotten.  NULL: nothing can be there, or there is no
 * memory, which was logged. */
struct release *release_segment(struct service *svc, const struct segment *seg);
/* As soon as nobody can be writing there any more.  label: one that was under
 * way until now, or NULL.  r NULL is fine. */
void release_begin(struct release *r, const struct vol_label *label);
/* What a label that was in vain has claimed. */
void release_label(struct service *svc, const struct nof_found *found,
		   const struct vol_label *label);
/* When the last release of that namespace goes on; 0 = there is
 * none. */
uint64_t release_until(const struct service *svc,
		       const struct nof_found *found);
/* Those that still wait for their time are not made any more. */
void releases_stop(struct service *svc);

#endif
