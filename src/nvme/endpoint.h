/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transport ids as text, in upstream's spelling:
 *
 *	traddr:<ip or name> trsvcid:<port> subnqn:<nqn> trtype:<TCP|RDMA>
 *	adrfam:<IPv4|IPv6> ns:<nsid>
 *
 * Order does not matter; the value runs to the next blank, so an NQN may
 * contain "ns:".  Missing: trsvcid 4420 (8009 for discovery), trtype TCP,
 * adrfam from the address, ns 0 = none given.
 */
#ifndef NVME_ENDPOINT_H
#define NVME_ENDPOINT_H

#include "base/err.h"
#include "base/str.h"

#define NVME_NQN_LEN	  224 /* with NUL, Base 2.0 section 4.7 */
#define ENDPOINT_TEXT_LEN 640

enum nvme_trtype {
	NVME_TRTYPE_TCP = 3,
	NVME_TRTYPE_RDMA = 1
};

struct endpoint {
	char traddr[256];
	uint16_t trsvcid;
	char subnqn[NVME_NQN_LEN];
	enum nvme_trtype trtype;
	bool is_ipv6;
	uint32_t nsid;
};

/* -EINVAL with a sentence naming the key and the value. */
int endpoint_parse(struct str text, struct endpoint *out, struct err *err);
/* Canonical form, upstream's order, single blanks. */
void endpoint_format(const struct endpoint *ep, char out[ENDPOINT_TEXT_LEN]);
/* "nqn.yyyy-mm.reverse.domain[:…]" or "nqn.2014-08.org.nvmexpress:uuid:…". */
int nqn_check(struct str nqn, struct err *err);
/* What any name must be to stand in a log and in JSON: UTF-8, not empty, no
 * control characters. */
bool nqn_is_text(const char *name);

/*
 * Host identity, stable on a machine: derived from machine_id (text of
 * /etc/machine-id, read by the caller; empty: random), or the id alone, from an
 * NQN that was given: it must not share its id with others.
 */
struct host_id {
	char nqn[NVME_NQN_LEN];
	uint8_t id[16];
};
void host_id_derive(struct str machine_id, struct host_id *out);
void host_id_of_nqn(const char *nqn, struct host_id *out);
/* The host id of all who act for the owner with that reservation key. */
void host_id_of_key(uint64_t key, uint8_t out[16]);

#endif
