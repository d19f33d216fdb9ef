/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One namespace in or out.  The caller's thread, any.  Invariant: what is sent
 * names one namespace by a numeric address.
 */
#include "client/nof.h"

#include <errno.h>

#include "base/status.h"
#include "rpc/client.h"

#define CALL_MS 15000 /* the master looks at the namespace meanwhile */

static int format(const struct endpoint *ep, char out[ENDPOINT_TEXT_LEN],
		  struct err *err)
{
	struct endpoint numeric = *ep;
	char text[ADDR_TEXT_LEN];
	struct addr addr;
	int ret = nqn_check(str_of(ep->subnqn), err);

	if (ret < 0)
		return ret;
	if (!ep->nsid || ep->nsid == UINT32_MAX)
		return err_set(err, -EINVAL, "%u is no namespace id", ep->nsid);
	ret = addr_resolve(ep->traddr, ep->trsvcid, &addr, err);
	if (ret < 0)
		return ret;
	addr_format_host(&addr, text);
	memcpy(numeric.traddr, text, sizeof(text));
	numeric.is_ipv6 = addr.ss.ss_family == AF_INET6;
	endpoint_format(&numeric, out);
	return 0;
}

static int refused(int32_t status, const char *sentence, struct err *err)
{
	if (status == MOONCAKE_OK)
		return 0;
	if (sentence && *sentence)
		return err_set(err, -EREMOTEIO, "%s", sentence);
	return err_set(err, -EREMOTEIO, "%s (%d)",
		       status_text((enum mooncake_status)status), status);
}

static int mount(struct rpc_sync *rs, char *endpoint, uint64_t bytes,
		 struct err *err)
{
	Mc__MountReq req = MC__MOUNT_REQ__INIT;
	Mc__Segment segment = MC__SEGMENT__INIT;
	const ProtobufCMessage *msg;
	const Mc__MountRsp *rsp;
	int ret;

	segment.kind = MC__KIND__NOF_SSD;
	segment.n_endpoints = 1;
	segment.endpoints = &endpoint;
	segment.size = bytes;
	req.segment = &segment;
	ret = rpc_sync_call(rs, METHOD_MOUNT, &req.base, &msg, err);
	if (ret < 0)
		return ret;
	rsp = (const void *)msg;
	return refused(rsp->status, rsp->error, err);
}

static int unmount(struct rpc_sync *rs, char *endpoint, struct err *err)
{
	Mc__UnmountReq req = MC__UNMOUNT_REQ__INIT;
	const ProtobufCMessage *msg;
	const Mc__UnmountRsp *rsp;
	int ret;

	req.endpoint = endpoint;
	ret = rpc_sync_call(rs, METHOD_UNMOUNT, &req.base, &msg, err);
	if (ret < 0)
		return ret;
	rsp = (const void *)msg;
	if (rsp->status == MOONCAKE_SEGMENT_NOT_FOUND ||
	    (rsp->status == MOONCAKE_OK && !rsp->n_segments))
		return err_set(err, -ENOENT,
			       "the master knows no namespace at %s", endpoint);
	return refused(rsp->status, rsp->error, err);
}

int nof_register(const char *master, const struct endpoint *ep, uint64_t bytes,
		 struct err *err)
{
	char text[ENDPOINT_TEXT_LEN];
	struct rpc_sync *rs = NULL;
	int ret = format(ep, text, err);

	if (ret == 0)
		ret = rpc_sync_dial(master, CALL_MS, &rs, err);
	if (ret == 0)
		ret = mount(rs, text, bytes, err);
	rpc_sync_close(rs);
	return ret;
}

int nof_unregister(const char *master, const struct endpoint *ep,
		   struct err *err)
{
	char text[ENDPOINT_TEXT_LEN];
	struct rpc_sync *rs = NULL;
	int ret = format(ep, text, err);

	if (ret == 0)
		ret = rpc_sync_dial(master, CALL_MS, &rs, err);
	if (ret == 0)
		ret = unmount(rs, text, err);
	rpc_sync_close(rs);
	return ret;
}
