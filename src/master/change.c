/* SPDX-License-Identifier: Apache-2.0 */
/* What a request may change, by its method; pure. */
#include "master/change.h"

static const bool changes[] = {
	[METHOD_MOUNT] = true,		 [METHOD_UNMOUNT] = true,
	[METHOD_PUT_START] = true,	 [METHOD_PUT_END] = true,
	[METHOD_PUT_REVOKE] = true,	 [METHOD_REMOVE] = true,
	[METHOD_REMOVE_BY_REGEX] = true, [METHOD_REMOVE_ALL] = true,
	[METHOD_DRAIN] = true,		 [METHOD_TASKS] = true,
};

/* Memory that is mounted again is as the journal has it, or is not taken. */
static bool is_welcome(const struct rpc_req *req)
{
	const Mc__MountReq *msg = (const Mc__MountReq *)req->body;

	return req->method == METHOD_MOUNT && msg->again && msg->segment &&
	       msg->segment->kind == MC__KIND__MEMORY;
}

bool change_is_asked(const struct rpc_req *req)
{
	return req->method < ARRAY_SIZE(changes) && changes[req->method] &&
	       !is_welcome(req);
}
