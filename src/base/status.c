/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and sentences of the store's answers, all from tbl/status.h.  Any
 * thread.  The list is short and asked on failures only: a linear search.
 */
#include "base/status.h"

#include <errno.h>

static const struct {
	enum mooncake_status code;
	int err;
	const char *name;
	const char *text;
} statuses[] = {
#define STATUS(name, code, err, text) {MOONCAKE_##name, err, #name, text},
#include "base/tbl/status.h"
#undef STATUS
};

/*
 * Where several answers share an errno, or none has it: what our own layers
 * mean by it.  Everything else is found in the table above.
 */
static const struct {
	int err;
	enum mooncake_status code;
} choices[] = {
	{EINVAL, MOONCAKE_INVALID_PARAMS},
	{EEXIST, MOONCAKE_OBJECT_ALREADY_EXISTS},
	{ENOENT, MOONCAKE_OBJECT_NOT_FOUND},
	{EBUSY, MOONCAKE_OBJECT_HAS_LEASE},
	{EIO, MOONCAKE_TRANSFER_FAIL},
	{EAGAIN, MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS},
	{ECANCELED, MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS},
	{ENOTSUP, MOONCAKE_NOT_SUPPORTED},
	{ERANGE, MOONCAKE_INVALID_PARAMS},
	{E2BIG, MOONCAKE_INVALID_PARAMS},
	{EACCES, MOONCAKE_RPC_FAIL}, /* by a firewall, as EPERM */
	{EPERM, MOONCAKE_RPC_FAIL},
	{EADDRNOTAVAIL, MOONCAKE_RPC_FAIL},
	{EMSGSIZE, MOONCAKE_BUFFER_OVERFLOW},
	{EPROTO, MOONCAKE_TRANSFER_FAIL},
	{ECONNRESET, MOONCAKE_RPC_FAIL},
	{ECONNABORTED, MOONCAKE_RPC_FAIL},
	{ENOTCONN, MOONCAKE_RPC_FAIL},
	{EPIPE, MOONCAKE_RPC_FAIL},
	{EHOSTUNREACH, MOONCAKE_RPC_FAIL},
	{ENETUNREACH, MOONCAKE_RPC_FAIL},
	{ETIMEDOUT, MOONCAKE_RPC_TIMEOUT},
};

const char *status_name(enum mooncake_status st)
{
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].code == st)
			return statuses[i].name;
	return "UNKNOWN";
}

const char *status_text(enum mooncake_status st)
{
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].code == st)
			return statuses[i].text;
	return "unknown status";
}

enum mooncake_status status_of_errno(int ret)
{
	if (ret >= 0)
		return MOONCAKE_OK;
	for (size_t i = 0; i < ARRAY_SIZE(choices); i++)
		if (choices[i].err == -ret)
			return choices[i].code;
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].err == -ret)
			return statuses[i].code;
	return MOONCAKE_INTERNAL_ERROR;
}
