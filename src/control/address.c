/* SPDX-License-Identifier: Apache-2.0 */
/* Transport addresses in JSON; any thread.  Invariant: what address_json()
 * writes, address_parse() reads. */
#include "control/address.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "base/str.h"

const struct param address_params[4] = {
	{"trtype", PARAM_STR, offsetof(struct address_args, trtype), true},
	{"adrfam", PARAM_STR, offsetof(struct address_args, adrfam)},
	{"traddr", PARAM_STR, offsetof(struct address_args, traddr), true},
	{"trsvcid", PARAM_STR, offsetof(struct address_args, trsvcid)},
};

static const char *family_name(const struct addr *addr)
{
	return addr->ss.ss_family == AF_INET6 ? "IPv6" : "IPv4";
}

int address_parse(const struct address_args *args, struct addr *out,
		  struct err *err)
{
	uint64_t port = 0;

	if (strcasecmp(args->trtype, "TCP") != 0)
		return err_set(err, -EINVAL, "trtype '%.20s': only TCP is here",
			       args->trtype);
	if (!args->trsvcid || str_to_u64(str_of(args->trsvcid), &port) ||
	    port > UINT16_MAX)
		return err_set(err, -EINVAL, "trsvcid '%.20s' is no port",
			       args->trsvcid ? args->trsvcid : "");
	if (addr_parse(args->traddr, (uint16_t)port, out))
		return err_set(err, -EINVAL, "traddr '%.60s' is no IP address",
			       args->traddr);
	if (args->adrfam && strcasecmp(args->adrfam, family_name(out)) != 0)
		return err_set(err, -EINVAL,
			       "adrfam '%.20s' and traddr '%.60s'"
			       " don't fit",
			       args->adrfam, args->traddr);
	return 0;
}

json_t *address_json(const struct addr *addr)
{
	char host[ADDR_TEXT_LEN], port[8];

	addr_format_host(addr, host);
	snprintf(port, sizeof(port), "%u", addr_port(addr));
	return json_pack("{s:s, s:s, s:s, s:s}", "trtype", "TCP", "adrfam",
			 family_name(addr), "traddr", host, "trsvcid", port);
}
