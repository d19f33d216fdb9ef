/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of owners, and what a target's report means.  Pure functions but for a
 * new key's randomness; any thread.  Invariant: no key is 0, and the upper half
 * of a key is a function of the cluster's id alone.
 */
#include "pool/owner.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/rand.h"
#include "base/uuid.h"

#define CLUSTER_MASK 0xffffffff00000000u

static uint64_t cluster_half(const char *cluster_id)
{
	return hash_str(str_of(cluster_id)) & CLUSTER_MASK;
}

uint64_t owner_key_make(const char *cluster_id)
{
	uint32_t life = 0;

	while (!life)
		rand_fill_os(&life, sizeof(life));
	return cluster_half(cluster_id) | life;
}

bool owner_key_is_of(uint64_t key, const char *cluster_id)
{
	return key && (key & CLUSTER_MASK) == cluster_half(cluster_id);
}

bool owner_key_is_alike(uint64_t a, uint64_t b)
{
	return (a & CLUSTER_MASK) == (b & CLUSTER_MASK);
}

void owner_judge(const struct nvmf_resv_report *report, uint64_t key,
		 struct vol_owner *out)
{
	*out = (struct vol_owner){.hold = HOLD_FREE,
				  .is_persistent = report->is_persistent};
	if (!report->type)
		return;
	out->hold = HOLD_OTHER;
	for (unsigned i = 0; i < report->count; i++) {
		const struct nvmf_resv_host *host = &report->hosts[i];

		if (!host->is_holder)
			continue;
		memcpy(out->host, host->id, sizeof(out->host));
		out->key = host->key;
		if (key && host->key == key && report->type == OWNER_TYPE)
			out->hold = HOLD_OURS;
		return;
	}
}

void owner_text(const struct vol_owner *owner, char out[OWNER_TEXT_LEN])
{
	char host[UUID_TEXT_LEN];
	struct uuid uuid;

	if (owner->hold == HOLD_NONE || owner->hold == HOLD_FREE) {
		snprintf(out, OWNER_TEXT_LEN, "%s",
			 owner->hold == HOLD_FREE ? "free" : "none");
		return;
	}
	if (owner->hold == HOLD_OURS) {
		snprintf(out, OWNER_TEXT_LEN, "ours, key %016llx%s",
			 (unsigned long long)owner->key,
			 owner->is_persistent ? ", persistent" : "");
		return;
	}
	memcpy(uuid.b, owner->host, sizeof(uuid.b));
	uuid_format_hex(&uuid, host);
	snprintf(out, OWNER_TEXT_LEN, "key %016llx, host %s",
		 (unsigned long long)owner->key, host);
}

bool owner_can_hold(const struct nvmf_ctrl_info *ctrl,
		    const struct nvmf_ns_info *ns)
{
	return ctrl->has_reservations && (ns->reservations & NVME_NS_RESCAP_WE);
}
