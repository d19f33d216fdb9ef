/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preempt and Abort (Base 2.0 section 8.19.7): waits until no command of the
 * hosts that were preempted touches the medium.
 */
#ifndef TARGET_RESV_FENCE_H
#define TARGET_RESV_FENCE_H

#include "target/conn.h"

struct resv_fence;

/* For req, which holds the namespace; NULL: no memory. */
struct resv_fence *resv_fence_create(struct tgt_req *req);
void resv_fence_destroy(struct resv_fence *f); /* NULL is fine */
/* Control loop, once.  Takes f over; done runs with req->msg on the shard of
 * req when all is quiet or, req->sc saying so, a device did not answer. */
void resv_fence_start(struct resv_fence *f, const struct resv_notes *notes,
		      void (*done)(struct mbox_msg *msg));

#endif
