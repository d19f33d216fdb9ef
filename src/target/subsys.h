/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's own objects: subsystems, namespaces, listeners, hosts, shards.
 *
 * Everything here is changed on the control loop.  Shards read without locks
 * what is marked so, and reach it only from a connection: conn->tl, and
 * conn->ctrl->ss, which stay while the connection does.  A namespace that was
 * taken out is freed when a message has been through all shards, which waits
 * on each until the commands there have let go of it (tgt_ns_hold()).
 */
#ifndef TARGET_SUBSYS_H
#define TARGET_SUBSYS_H

#include <stdatomic.h>

#include "base/log.h"
#include "io/listener.h"
#include "target/bufs.h"
#include "target/errlog.h"
#include "target/fault_rule.h"
#include "target/resv_log.h"
#include "target/target.h"

#define TGT_SERIAL_LEN 21
#define TGT_MODEL_LEN  41

/* Added up by one shard's thread, read by any. */
struct tgt_counters {
	_Atomic uint64_t commands, errors, reads, writes;
	_Atomic uint64_t bytes_read, bytes_written;
};

/* What one shard has to do with a namespace; a cache line of its own. */
struct tgt_ns_use {
	_Alignas(64) struct tgt_counters counters;
	unsigned busy;	 /* commands that hold it */
	bool is_awaited; /* the removal goes on when busy is 0 */
};

struct tgt_ns {
	/* constant */
	struct tgt_subsys *ss;
	struct bdev *bdev; /* owned */
	uint32_t nsid, anagrpid;
	uint8_t lba_shift;
	bool is_mapped; /* the medium is memory */
	struct uuid uuid, nguid;
	uint8_t eui64[8];
	struct resv resv; /* has rules of its own */
	/* a shard has seen another size: to the control loop */
	struct mbox_msg size_msg;
	atomic_bool is_size_noted;
	/* control loop */
	void (*release)(struct bdev *bdev, void *arg);
	void *release_arg;
	tgt_done_fn removed;
	void *removed_arg;
	struct tgt_counters kept; /* is in ss->gone */
	/* its removal, on whichever shard that has come to */
	struct mbox_msg msg;
	unsigned at_shard;
	struct timer timer;
	struct tgt_ns_use use[]; /* by shard */
};

struct tgt_host {
	struct list node; /* ss->hosts */
	char nqn[NVME_NQN_LEN];
};

struct tgt_tls;

struct tgt_listener {
	struct listener l;
	struct tgt *tgt;
	unsigned id;	   /* index in tgt->listeners */
	bool is_discovery; /* nothing but the discovery service */
	bool is_tls;
	/* control loop */
	unsigned conn_count; /* came through it and are still there */
	bool is_closing;     /* its socket */
	bool is_closed;
	tgt_done_fn removed;
	void *removed_arg;
};

/* One byte per listener and ANA group: an enum tgt_ana. */
struct tgt_ana_table {
	_Atomic uint8_t state[TGT_LISTENER_MAX][TGT_NS_MAX];
};

struct tgt_subsys {
	/* constant */
	struct tgt *tgt;
	bool is_discovery;
	char nqn[NVME_NQN_LEN];
	char serial[TGT_SERIAL_LEN], model[TGT_MODEL_LEN];
	uint32_t max_ns;
	uint16_t min_cntlid, max_cntlid;
	struct tgt_ana_table *ana; /* NULL: not reported, all optimized */
	/* shards read */
	atomic_bool has_write_cache;
	_Atomic uint64_t ana_changes;
	struct tgt_counters gone; /* of namespaces that were taken out */
	_Atomic(struct tgt_ns *) ns[TGT_NS_MAX]; /* by nsid - 1 */
	/* control loop */
	struct list ctrls; /* tgt_ctrl.node */
	struct list hosts; /* tgt_host.node */
	unsigned ctrl_count;
	uint16_t next_cntlid;
	bool is_host_list, is_listener_list;
	uint32_t listeners;  /* attached, bits by listener id */
	unsigned ns_leaving; /* removals under way */
	bool is_leaving;     /* no longer in tgt->subsys */
	tgt_done_fn removed;
	void *removed_arg;
	struct loop_task removed_task;
};

struct tgt_shard {
	struct tgt *tgt;
	struct loop *loop;
	unsigned index;
	/* shard */
	struct bufs bufs;
	struct list conns; /* tgt_conn.shard_node */
	/* lines that hosts can cause */
	struct log_rate connect_rate, pdu_rate, io_rate;
	/* control loop */
	unsigned conn_count;
	/* shard writes, any reads */
	struct tgt_counters counters;
};

struct tgt {
	struct tgt_opts opts; /* with defaults filled in */
	struct tgt_shard *shards;
	unsigned shard_count;
	uint64_t start_ns;
	struct fault_set faults;
	/* control loop */
	struct tgt_keyring *keyring; /* NULL: no keys; owned (keys.h) */
	struct tgt_tls *tls; /* keys of TLS, never NULL; owned (tls.h) */
	/* lines that hosts can cause */
	struct log_rate accept_rate, host_rate, auth_rate, resv_rate;
	struct tgt_subsys *subsys[TGT_SUBSYS_MAX]; /* [0]: discovery */
	struct tgt_listener *listeners[TGT_LISTENER_MAX];
	struct tgt_referral referrals[TGT_REFERRAL_MAX];
	unsigned referral_count;
	uint64_t genctr; /* of the discovery log */
	struct list conns;
	unsigned conn_count, ctrl_count;
	unsigned pending; /* removals under way */
	struct timer drain_timer;
	uint64_t drain_end_ns;
	tgt_done_fn drain_done, stop_done;
	void *drain_arg, *stop_arg;
	struct loop_task stop_task;
	bool is_draining, is_stopping;
	/* who keeps reservations */
	void (*keep)(void *arg, struct tgt_save *save);
	void *keep_arg;
	/* any thread */
	atomic_bool has_keeper;
	atomic_uint stat_conns, stat_ctrls;
};

/* Shards. NULL when there is none. */
struct tgt_ns *tgt_ns_find(const struct tgt_subsys *ss, uint32_t nsid);
/* A command uses ns, and no longer. */
static inline void tgt_ns_hold(struct tgt_ns *ns, const struct tgt_shard *shard)
{
	ns->use[shard->index].busy++;
}
void tgt_ns_drop(struct tgt_ns *ns, const struct tgt_shard *shard);
/* Looks at the medium again; true when its size has changed, of which hosts
 * are then told. */
bool tgt_ns_refresh(struct tgt_ns *ns);
/* State of an ANA group as seen through that listener. */
static inline enum tgt_ana tgt_ana_at(const struct tgt_subsys *ss,
				      const struct tgt_listener *tl,
				      uint32_t anagrpid)
{
	if (!ss->ana)
		return TGT_ANA_OPTIMIZED;
	return (enum tgt_ana)atomic_load_explicit(
		&ss->ana->state[tl->id][anagrpid - 1], memory_order_relaxed);
}

/* Any thread: totals of all shards. */
void tgt_counters_sum(const struct tgt *tgt, struct tgt_counters *out);
void tgt_ns_counters_sum(const struct tgt_ns *ns, struct tgt_counters *out);
/* Shards, control loop: of its namespaces, with those that have gone. */
void subsys_counters_sum(const struct tgt_subsys *ss, struct tgt_counters *out);

/* --- control loop --- */
/* Goes on with a drain or a stop when something has ended. */
void tgt_stop_check(struct tgt *tgt);
struct tgt_subsys *subsys_new(struct tgt *tgt, unsigned slot,
			      const struct tgt_subsys_opts *opts);
void subsys_free(struct tgt_subsys *ss);
/* Goes on with its removal when a controller or a namespace has gone. */
void subsys_check(struct tgt_subsys *ss);
void host_free(struct tgt_host *host); /* takes it off the list */
void ns_free(struct tgt_ns *ns);       /* releases the back end */
void subsys_ana_all(struct tgt_subsys *ss, enum tgt_ana state);
void listener_shut(struct tgt_listener *tl); /* closes its socket */
void listener_check(struct tgt_listener *tl);
bool subsys_is_reachable(const struct tgt_subsys *ss,
			 const struct tgt_listener *tl);
bool subsys_allows(const struct tgt_subsys *ss, const char *hostnqn);
/* What the discovery log says has changed. */
void disc_changed(struct tgt *tgt);

static inline void counters_add(struct tgt_counters *sum,
				const struct tgt_counters *c)
{
	sum->commands += c->commands;
	sum->errors += c->errors;
	sum->reads += c->reads;
	sum->writes += c->writes;
	sum->bytes_read += c->bytes_read;
	sum->bytes_written += c->bytes_written;
}

static inline void tgt_count(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer: no locked instruction needed. */
	atomic_store_explicit(
		counter,
		atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

#endif
