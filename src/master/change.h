/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests may change what the journal has to keep. */
#ifndef MASTER_CHANGE_H
#define MASTER_CHANGE_H

#include "rpc/server.h"

bool change_is_asked(const struct rpc_req *req);

#endif
