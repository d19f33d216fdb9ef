/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe-oF target over TCP: subsystems with namespaces on block back ends
 * (struct bdev), a discovery subsystem, any number of listeners.
 *
 * Configuration calls are made before tgt_start or on the control loop.
 * Connections are spread over the shards given; what belongs to a connection
 * is touched by its shard only.
 */
#ifndef TARGET_TARGET_H
#define TARGET_TARGET_H

#include "base/uuid.h"
#include "crypt/key.h"
#include "io/loop.h"
#include "nvme/auth.h"
#include "nvme/endpoint.h"
#include "target/bdev.h"

struct tgt;
struct tgt_subsys;

struct tgt_opts {
	struct loop *loop;    /* control loop: listeners, admin state */
	struct loop **shards; /* for connections; count 0 = the control loop */
	unsigned shard_count;
	uint32_t max_transfer;	  /* MDTS in bytes, 0 = 1 MiB */
	uint32_t in_capsule;	  /* 0 = 16 KiB */
	uint32_t max_h2cdata;	  /* 0 = 1 MiB */
	uint16_t max_queues;	  /* I/O queues per controller, 0 = 64 */
	uint16_t queue_depth;	  /* 0 = 128 */
	uint32_t max_connections; /* 0 = 4096 */
	bool no_c2h_success;	  /* always send a response capsule */
	uint64_t
		buffer_bytes; /* cap for data buffers of file I/O, 0 = 64 MiB */
};

int tgt_create(const struct tgt_opts *opts, struct tgt **out, struct err *err);
/* serial NULL = derived from the NQN; any host may connect. -EEXIST, -EINVAL.
 */
int tgt_subsys_add(struct tgt *tgt, const char *nqn, const char *serial,
		   struct tgt_subsys **out, struct err *err);
struct tgt_ns_opts {
	uint32_t nsid;	  /* 0 = lowest free */
	struct uuid uuid; /* zero = derived from subsystem NQN and nsid; NGUID =
			     it */
};
/* The id that nsid 0 would get, 0 when none is left. */
uint32_t tgt_ns_next(struct tgt_subsys *ss);
/* The namespace owns bdev from now on.  Returns the nsid or -errno. */
int tgt_ns_add(struct tgt_subsys *ss, struct bdev *bdev,
	       const struct tgt_ns_opts *opts, struct err *err);
/* Every subsystem and the discovery service are reachable there.  addr gets
 * the real port. */
int tgt_listen(struct tgt *tgt, struct addr *addr, struct err *err);
/* The discovery service alone, e.g. on port 8009.  It names every listener
 * made by tgt_listen(); for a wildcard one, the address on which the asking
 * connection came in. */
int tgt_listen_discovery(struct tgt *tgt, struct addr *addr, struct err *err);
/*
 * Keys (DH-HMAC-CHAP).  A host that has keys must authenticate before anything
 * else, on each of its queues; ctrl (len 0 = none) is what the target proves
 * itself with when the host asks for that.  NULL as name stands for any that
 * has no entry of its own; the discovery service asks for no keys.  Set again,
 * the new keys count from the next authentication on, and who is connected
 * stays.  keys NULL takes an entry away.  -EINVAL without host key, -ENOENT,
 * -ENOMEM.
 */
struct tgt_keys {
	struct dhchap_key host, ctrl;
};
int tgt_keys_set(struct tgt *tgt, const char *subnqn, const char *hostnqn,
		 const struct tgt_keys *keys);
/* Takes away all entries that name the subsystem. */
void tgt_keys_drop(struct tgt *tgt, const char *subnqn);
/* Hashes and DH groups that hosts may use, in the order in which they are
 * picked; NULL or none = all that we know. */
int tgt_auth_set(struct tgt *tgt, const struct auth_ids *hashes,
		 const struct auth_ids *groups);

struct tgt_stats {
	uint64_t connections, controllers, commands, errors;
	uint64_t bytes_read, bytes_written;
};
void tgt_stats_get(const struct tgt *tgt, struct tgt_stats *out);
/* Closes listeners and connections; done runs on the control loop when all is
 * quiet and back ends are closed; tgt is gone then. */
void tgt_stop(struct tgt *tgt, void (*done)(void *arg), void *arg);

#endif
