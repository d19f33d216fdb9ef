/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host identity.  Pure functions, any thread.  Invariant: the same machine-id
 * text gives the same NQN and host id in every process, without telling the
 * machine id itself.
 */
#include "nvme/endpoint.h"

#include <stdio.h>

#include "base/hash.h"
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

void host_id_derive(struct str machine_id, struct host_id *out)
{
	struct str text = str_trim(machine_id);
	char hex[UUID_TEXT_LEN];
	struct uuid uuid;

	*out = (struct host_id){0};
	if (text.n)
		hash_to_uuid("machine", text, &uuid);
	else
		uuid_make(&uuid);
	memcpy(out->id, uuid.b, sizeof(out->id));
	uuid_format_hex(&uuid, hex);
	snprintf(out->nqn, sizeof(out->nqn),
		 "nqn.2014-08.org.nvmexpress:uuid:%s", hex);
}

void host_id_of_nqn(const char *nqn, struct host_id *out)
{
	struct uuid uuid;

	*out = (struct host_id){0};
	snprintf(out->nqn, sizeof(out->nqn), "%s", nqn);
	hash_to_uuid("hostnqn", str_of(nqn), &uuid);
	memcpy(out->id, uuid.b, sizeof(out->id));
}

void host_id_of_key(uint64_t key, uint8_t out[16])
{
	char text[17];
	struct uuid uuid;

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)key);
	hash_to_uuid("owner", str_of(text), &uuid);
	memcpy(out, uuid.b, sizeof(uuid.b));
}
