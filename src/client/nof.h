/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adding a namespace to the SSD pool and taking it out, for programs that know
 * where it is: what mooncake_ssd_register does with one --endpoint.
 */
#ifndef CLIENT_NOF_H
#define CLIENT_NOF_H

#include "base/err.h"
#include "nvme/endpoint.h"

/* Both block, for at most half a minute, and need no store.  master is
 * HOST:PORT; ep->traddr may be a name. */

/* 0, also when it is there already; -EINVAL for arguments, -EREMOTEIO when the
 * master refuses, other -errno; err is a sentence.  bytes: what the namespace
 * must have, 0 = any. */
int nof_register(const char *master, const struct endpoint *ep, uint64_t bytes,
		 struct err *err);
/* 0; -ENOENT when the master knows no such namespace. */
int nof_unregister(const char *master, const struct endpoint *ep,
		   struct err *err);

#endif
