/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounting a pool namespace: probe all its paths, judge what the disk holds,
 * write the superblock, go ONLINE, answer.
 */
#ifndef MASTER_MOUNT_NOF_H
#define MASTER_MOUNT_NOF_H

#include "master/service.h"

/* Answers req when the segment is ONLINE or it is known why not. */
void nof_mount_start(struct service *svc, struct rpc_req *req);
/* The service stops: what waits is answered now, what is with vol when it
 * comes back. */
void nof_mounts_abort(struct service *svc);

#endif
