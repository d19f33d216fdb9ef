/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host identity.  Any thread, but reads the environment: call it before other
 * threads change that.  Invariant: the same machine-id text gives the same NQN
 * and host id in every process, without telling the machine id itself.
 */
#include "nvme/endpoint.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/uuid.h"

static void hash_to_uuid(const char *salt, struct str text, struct uuid *out)
{
	char buf[NVME_NQN_LEN + 64];
	struct str cut = {text.p, MIN(text.n, (size_t)NVME_NQN_LEN)};
	uint64_t half;
	int n;

	for (int i = 0; i < 2; i++) {
		n = snprintf(buf, sizeof(buf), "%s/%d/" STR_FMT, salt, i,
			     STR_ARG(cut));
		half = hash_bytes(buf, MIN((size_t)n, sizeof(buf) - 1));
		memcpy(out->b + 8 * i, &half, sizeof(half));
	}
	/* RFC 9562: version 8 (custom), variant 1. */
	out->b[6] = (uint8_t)((out->b[6] & 0x0f) | 0x80);
	out->b[8] = (uint8_t)((out->b[8] & 0x3f) | 0x80);
}

static bool env_nqn(struct host_id *out)
{
	struct str text = str_of(getenv("MC_NVME_HOSTNQN"));
	struct err err = {0};

	if (!text.n)
		return false;
	if (nqn_check(text, &err)) {
		log_warn("MC_NVME_HOSTNQN ignored", "reason=\"%s\"", err.text);
		return false;
	}
	memcpy(out->nqn, text.p, text.n);
	return true;
}

static bool env_id(struct uuid *out)
{
	struct str text = str_of(getenv("MC_NVME_HOSTID"));

	if (!text.n)
		return false;
	if (uuid_parse(text, out) || uuid_is_zero(out)) {
		log_warn("MC_NVME_HOSTID ignored",
			 "value=\"" STR_FMT "\" reason=\"not a UUID\"",
			 (int)MIN(text.n, (size_t)80), text.p);
		return false;
	}
	return true;
}

void host_id_derive(struct str machine_id, struct host_id *out)
{
	struct str text = str_trim(machine_id);
	char hex[UUID_TEXT_LEN];
	struct uuid uuid;
	bool has_nqn;

	*out = (struct host_id){0};
	has_nqn = env_nqn(out);
	if (!env_id(&uuid)) {
		/* A host NQN of its own must not share its id with others. */
		if (has_nqn)
			hash_to_uuid("hostnqn", str_of(out->nqn), &uuid);
		else if (text.n)
			hash_to_uuid("machine", text, &uuid);
		else
			uuid_make(&uuid);
	}
	memcpy(out->id, uuid.b, sizeof(out->id));
	if (has_nqn)
		return;
	uuid_format_hex(&uuid, hex);
	snprintf(out->nqn, sizeof(out->nqn),
		 "nqn.2014-08.org.nvmexpress:uuid:%s", hex);
}
