/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking a master for its pool.  Loading: the main thread, before others are
 * started; afterwards it is only read, by all of them.
 */
#include "deploy/registered.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/client.h"

static int add_segment(struct registered *reg, const Mc__Segment *seg,
		       struct err *err)
{
	struct endpoint *paths;

	if (seg->kind != MC__KIND__NOF_SSD || !seg->n_endpoints)
		return 0;
	paths = reallocarray(reg->paths, reg->count + seg->n_endpoints,
			     sizeof(*paths));
	if (!paths)
		return err_set(err, -ENOMEM, "out of memory");
	reg->paths = paths;
	for (size_t i = 0; i < seg->n_endpoints; i++) {
		int ret = endpoint_parse(str_of(seg->endpoints[i]),
					 &paths[reg->count], err);

		if (ret)
			return ret;
		reg->count++;
	}
	return 0;
}

int registered_load(const char *master, uint32_t timeout_ms,
		    struct registered *out, struct err *err)
{
	Mc__ListSegmentsReq req = MC__LIST_SEGMENTS_REQ__INIT;
	const Mc__ListSegmentsRsp *rsp;
	const ProtobufCMessage *msg;
	struct rpc_sync *rpc;
	int ret;

	*out = (struct registered){0};
	snprintf(out->master, sizeof(out->master), "%s", master);
	ret = rpc_sync_dial(master, timeout_ms, &rpc, err);
	if (ret)
		return ret;
	ret = rpc_sync_call(rpc, METHOD_LIST_SEGMENTS, &req.base, &msg, err);
	rsp = (const void *)msg;
	for (size_t i = 0; ret == 0 && i < rsp->n_segments; i++)
		ret = add_segment(out, rsp->segments[i], err);
	rpc_sync_close(rpc);
	if (ret)
		registered_fini(out);
	return ret;
}

void registered_fini(struct registered *reg)
{
	free(reg->paths);
	reg->paths = NULL;
	reg->count = 0;
}

/* An IPv4 address as IPv6 maps it; false: it is a name. */
static bool parse(const char *text, struct in6_addr *out)
{
	struct in_addr v4;
	char bare[256];

	/* Without a zone. */
	snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(text, "%"), text);
	if (inet_pton(AF_INET, bare, &v4) == 1) {
		*out = (struct in6_addr){.s6_addr = {[10] = 0xff, 0xff}};
		memcpy(&out->s6_addr[12], &v4, sizeof(v4));
		return true;
	}
	return inet_pton(AF_INET6, bare, out) == 1;
}

static bool is_any(const struct in6_addr *addr)
{
	static const struct in6_addr v4 = {.s6_addr = {[10] = 0xff, 0xff}};

	return IN6_IS_ADDR_UNSPECIFIED(addr) || !memcmp(addr, &v4, sizeof(v4));
}

/* A name may be that of any of them. */
static bool listens(const struct registered_ns *ns, const char *addr)
{
	struct in6_addr want, have;

	if (!parse(addr, &want))
		return true;
	for (size_t i = 0; i < ns->addr_count; i++)
		if (!parse(ns->addrs[i], &have) || is_any(&have) ||
		    !memcmp(&have, &want, sizeof(want)))
			return true;
	return !ns->addr_count;
}

bool registered_has(const struct registered *reg,
		    const struct registered_ns *ns)
{
	for (size_t i = 0; i < reg->count; i++) {
		const struct endpoint *ep = &reg->paths[i];

		if (ep->nsid == ns->nsid && !strcmp(ep->subnqn, ns->nqn) &&
		    listens(ns, ep->traddr))
			return true;
	}
	return false;
}
