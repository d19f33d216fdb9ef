/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who owns a namespace, as its target knows it: NVMe reservations.
 *
 * A key is of a cluster and of one life of its master.  Who has it connects
 * with a host id made of it, so to a target all clients of that life are one
 * host: what the master registers holds for all of them, however many there
 * are, and once the key was preempted none of that life writes any more, be it
 * bytes that wait in a socket of a target that was stopped.
 */
#ifndef POOL_OWNER_H
#define POOL_OWNER_H

#include "nvmf/resv.h"

/* Only the holder writes; whoever else registers gains nothing by it. */
#define OWNER_TYPE NVME_RESERVATION_RTYPE_WE

enum vol_hold {
	HOLD_NONE, /* the target has no reservations, or was not asked */
	HOLD_FREE, /* nobody holds one: everybody may write */
	HOLD_OURS, /* those with the key that was asked for, nobody else */
	HOLD_OTHER,
};

struct vol_owner {
	enum vol_hold hold;
	uint64_t key;	    /* of who holds it; 0 = it is not told */
	uint8_t host[16];   /* its host id */
	bool is_persistent; /* outlives a restart of the target */
};

enum vol_claim {
	CLAIM_NONE,    /* writes as the host that it is */
	CLAIM_FREE,    /* takes what nobody holds, or holds it already */
	CLAIM_CLUSTER, /* also from another life of the same cluster */
	CLAIM_ALL,     /* from anybody */
};

/* For a new life; never 0. */
uint64_t owner_key_make(const char *cluster_id);
bool owner_key_is_of(uint64_t key, const char *cluster_id);
/* Both of one cluster. */
bool owner_key_is_alike(uint64_t a, uint64_t b);
/* What a report says to who has key. */
void owner_judge(const struct nvmf_resv_report *report, uint64_t key,
		 struct vol_owner *out);
/* For people: "none", "free", "ours, key …", "key …, host …". */
#define OWNER_TEXT_LEN 80
void owner_text(const struct vol_owner *owner, char out[OWNER_TEXT_LEN]);
/* Can namespaces like this one be held? */
bool owner_can_hold(const struct nvmf_ctrl_info *ctrl,
		    const struct nvmf_ns_info *ns);

#endif
