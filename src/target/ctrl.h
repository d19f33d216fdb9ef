/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Controllers: who is associated with which subsystem, keep-alive.  All
 * functions are the control loop's except where said.
 */
#ifndef TARGET_CTRL_H
#define TARGET_CTRL_H

#include "target/subsys.h"

/* The connection's Connect, checked as far as it can be without the registry:
 * sets conn->ctrl, or the status and result of the completion. */
void ctrl_attach(struct tgt_conn *conn);
/* The connection has closed; drops the controller with the last one. */
void ctrl_detach(struct tgt_conn *conn);
/* Tells every controller of ss about a change in its namespace nsid. */
void ctrl_announce(struct tgt_subsys *ss, uint32_t nsid);
/* Shard's thread: the host has been heard. */
static inline void ctrl_heard(struct tgt_ctrl *ctrl, uint64_t now)
{
	uint64_t last =
		atomic_load_explicit(&ctrl->last_ns, memory_order_relaxed);

	/* Coarse, so that queues on other cores don't fight for the line. */
	if (now > last && now - last > 5 * 1000 * 1000)
		atomic_store_explicit(&ctrl->last_ns, now,
				      memory_order_relaxed);
}

#endif
