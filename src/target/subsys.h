/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's own objects: subsystems, namespaces, controllers, shards.
 *
 * Everything here is changed on the control loop only.  Shards read it without
 * locks: subsystems, namespaces and listeners are published once, by an atomic
 * store, and never change or go before the target does.
 */
#ifndef TARGET_SUBSYS_H
#define TARGET_SUBSYS_H

#include <stdatomic.h>

#include "base/log.h"
#include "io/listener.h"
#include "target/bufs.h"
#include "target/errlog.h"
#include "target/fault_rule.h"
#include "target/target.h"

#define TGT_SUBSYS_MAX	 64
#define TGT_NS_MAX	 256
#define TGT_LISTENER_MAX 16

struct tgt_conn;

struct tgt_ns {
	struct bdev *bdev; /* owned */
	uint32_t nsid;
	uint8_t lba_shift;
	bool is_mapped; /* the medium is memory */
	struct uuid uuid;
};

struct tgt_subsys {
	struct tgt *tgt;
	bool is_discovery;
	atomic_bool has_write_cache;
	char nqn[NVME_NQN_LEN];
	char serial[21];
	_Atomic(struct tgt_ns *) ns[TGT_NS_MAX]; /* by nsid - 1 */
};

struct tgt_listener {
	struct listener l;
	struct tgt *tgt;
	bool is_discovery; /* nothing but the discovery service */
};

/* Added up by the shard's thread, read by any. */
struct tgt_counters {
	_Atomic uint64_t commands, errors, reads, writes;
	_Atomic uint64_t bytes_read, bytes_written;
};

struct tgt_shard {
	struct tgt *tgt;
	struct loop *loop;
	struct bufs bufs;
	struct tgt_counters counters;
};

/*
 * A controller: made by the Connect of an admin queue, gone when the last of
 * its connections is.
 */
struct tgt_ctrl {
	/* constant */
	struct tgt *tgt;
	struct tgt_subsys *ss;
	uint16_t cntlid;
	uint8_t hostid[16];
	char hostnqn[256];
	/* control loop */
	struct list node;  /* tgt->ctrls */
	struct list conns; /* tgt_conn.ctrl_node */
	struct tgt_conn *admin;
	struct timer ka_timer;
	bool is_dead; /* its connections are being closed */
	/* any of its connections */
	_Atomic uint32_t cc, csts;
	_Atomic uint32_t kato_ms;
	_Atomic uint64_t last_ns; /* when the host was last heard */
	atomic_bool wce;	  /* volatile write cache feature */
	struct errlog errors;
	/* shard of the admin connection */
	uint32_t features[256]; /* by feature id, what Get Features answers */
	uint32_t temp_under;	/* the other temperature threshold */
	bool is_aen_masked;	/* until the changed list is read */
	/* set by the control loop, taken by that shard; by nsid - 1 */
	_Atomic uint64_t changed[TGT_NS_MAX / 64];
};

struct tgt {
	struct tgt_opts opts; /* with defaults filled in */
	struct tgt_shard *shards;
	unsigned shard_count, next_shard;
	uint64_t start_ns;
	struct tgt_subsys *subsys[TGT_SUBSYS_MAX]; /* [0]: discovery */
	atomic_uint subsys_count;
	struct tgt_listener *listeners[TGT_LISTENER_MAX];
	atomic_uint listener_count;
	_Atomic uint64_t genctr; /* of the discovery log */
	struct fault_set faults;
	/* control loop */
	struct tgt_keyring *keyring; /* NULL: no keys; owned (keys.h) */
	struct log_rate auth_rate;   /* of lines about failures */
	struct list ctrls, conns;
	unsigned conn_count;
	uint16_t next_cntlid;
	unsigned listeners_open;
	void (*stop_done)(void *arg);
	void *stop_arg;
	struct loop_task stop_task;
	bool is_stopping;
	atomic_uint stat_conns, stat_ctrls;
};

/* Any thread; NULL when there is none. */
struct tgt_subsys *tgt_subsys_find(struct tgt *tgt, const char *nqn);
struct tgt_ns *tgt_ns_find(struct tgt_subsys *ss, uint32_t nsid);
/* Totals of all shards. */
void tgt_counters_sum(const struct tgt *tgt, struct tgt_counters *out);
/* Control loop: continues a stop when the last connection has gone. */
void tgt_stop_check(struct tgt *tgt);

static inline void tgt_count(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer: no locked instruction needed. */
	atomic_store_explicit(
		counter,
		atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

#endif
