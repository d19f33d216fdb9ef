/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe-oF target over TCP: subsystems with namespaces on block back ends
 * (struct bdev), a discovery subsystem, listeners, hosts.
 *
 * All calls are made on the control loop, or before it runs, and none blocks
 * but tgt_listen*() before it runs.  What takes time has a done(arg), which
 * runs on the control loop, never inside the call.  Everything may change while
 * hosts are connected: they are told (asynchronous events, discovery log).
 * Connections are spread over the shards given; what belongs to a connection is
 * touched by its shard only.
 *
 * Pointers to subsystems, listeners, hosts and controllers that the calls here
 * return stay valid until the loop turns.
 */
#ifndef TARGET_TARGET_H
#define TARGET_TARGET_H

#include "base/uuid.h"
#include "crypt/key.h"
#include "crypt/tlskey.h"
#include "io/loop.h"
#include "nvme/auth.h"
#include "nvme/endpoint.h"
#include "target/bdev.h"

#define TGT_SUBSYS_MAX	 1024 /* with the discovery subsystem */
#define TGT_NS_MAX	 1024 /* of a subsystem; also ANA groups */
#define TGT_LISTENER_MAX 16
#define TGT_REFERRAL_MAX 64

struct tgt;
struct tgt_subsys;
struct tgt_host;
struct tgt_ctrl;
struct tgt_conn;
struct tgt_shard;

typedef void (*tgt_done_fn)(void *arg);

/* --- the target --- */

struct tgt_opts {
	struct loop *loop;    /* control loop: listeners, admin state */
	struct loop **shards; /* for connections; count 0 = the control loop */
	unsigned shard_count;
	uint32_t max_transfer;	  /* MDTS in bytes, 0 = 1 MiB */
	uint32_t in_capsule;	  /* 0 = 128 KiB */
	uint32_t max_h2cdata;	  /* 0 = 1 MiB */
	uint16_t max_queues;	  /* I/O queues per controller, 0 = 64 */
	uint16_t queue_depth;	  /* 0 = 128 */
	uint32_t max_connections; /* 0 = 4096 */
	bool no_c2h_success;	  /* always send a response capsule */
	/* So much data in one send is not copied, where the kernel can; 0 = all
	 * is copied. */
	uint32_t zerocopy_bytes;
	uint64_t
		buffer_bytes; /* cap for data buffers of file I/O, 0 = 64 MiB */
};

int tgt_create(const struct tgt_opts *opts, struct tgt **out, struct err *err);
/* With the defaults filled in. */
const struct tgt_opts *tgt_opts_get(const struct tgt *tgt);
/* Other limits than those given to tgt_create(); loops and shards are kept.
 * -EBUSY once there is a listener or a connection, -EINVAL, -ENOMEM. */
int tgt_opts_set(struct tgt *tgt, const struct tgt_opts *opts, struct err *err);

struct tgt_stats {
	uint64_t connections, controllers, commands, errors;
	uint64_t reads, writes, bytes_read, bytes_written;
};
void tgt_stats_get(const struct tgt *tgt, struct tgt_stats *out);

/*
 * Takes leave of the hosts: no new connections, an empty discovery log, every
 * ANA group inaccessible, with the events that say so; then connections end
 * as soon as what is under way on them is answered.  done runs when none is
 * left, at the latest after ms.  tgt_stop() is to follow, and may be called
 * before, which ends it (done does not run then).
 */
void tgt_drain(struct tgt *tgt, uint32_t ms, tgt_done_fn done, void *arg);
/* Closes listeners and connections; done runs on the control loop when all is
 * quiet and back ends are closed; tgt is gone then. */
void tgt_stop(struct tgt *tgt, tgt_done_fn done, void *arg);

/* --- subsystems --- */

struct tgt_subsys_opts {
	const char *nqn;
	const char *serial; /* at most 20 characters; NULL = from the NQN */
	const char *model;  /* at most 40; NULL = ours */
	uint32_t max_namespaces;	 /* highest nsid; 0 = TGT_NS_MAX */
	uint16_t min_cntlid, max_cntlid; /* 0 = 1 and ffefh */
	bool is_host_list;     /* only hosts of tgt_host_add() may connect */
	bool is_listener_list; /* only through tgt_subsys_listen(); otherwise
				  through every listener */
	bool ana_reporting;
};
/* *opts with everything filled in, strings of the subsystem. */
struct tgt_subsys_info {
	struct tgt_subsys_opts opts;
	bool is_discovery;
	unsigned ns_count, ctrl_count;
};

/* -EEXIST, -EINVAL, -ENOSPC, -ENOMEM. */
int tgt_subsys_add(struct tgt *tgt, const struct tgt_subsys_opts *opts,
		   struct tgt_subsys **out, struct err *err);
/* NULL when there is none, or when it is being removed. */
struct tgt_subsys *tgt_subsys_find(struct tgt *tgt, const char *nqn);
/* prev NULL: the first one, which is the discovery subsystem. */
struct tgt_subsys *tgt_subsys_next(struct tgt *tgt,
				   const struct tgt_subsys *prev);
void tgt_subsys_info_get(const struct tgt_subsys *ss,
			 struct tgt_subsys_info *out);
/* Disconnects its controllers, waits for their I/O, releases its namespaces;
 * ss is gone when done runs.  Its NQN is free at once.  Not the discovery
 * subsystem (asserted).  -EALREADY. */
int tgt_subsys_remove(struct tgt_subsys *ss, tgt_done_fn done, void *arg,
		      struct err *err);

/* --- namespaces --- */

struct tgt_ns_opts {
	uint32_t nsid;	   /* 0 = lowest free */
	struct uuid uuid;  /* zero = derived from subsystem NQN and nsid */
	struct uuid nguid; /* zero = the UUID */
	uint8_t eui64[8];  /* zero = none is reported */
	uint32_t anagrpid; /* 0 = the nsid */
	/* Gives the back end back when the namespace has gone; NULL: it is
	 * destroyed. */
	void (*release)(struct bdev *bdev, void *arg);
	void *release_arg;
};
struct tgt_ns_info {
	struct tgt_ns_opts opts; /* with everything filled in */
	const struct bdev *bdev; /* its size may change, see there */
	struct tgt_stats stats;	 /* no connections, no controllers */
};

/* The id that nsid 0 would get, 0 when none is left. */
uint32_t tgt_ns_next(struct tgt_subsys *ss);
/* The namespace owns bdev from now on.  Returns the nsid or -errno: -EEXIST,
 * -ENOSPC, -EINVAL, -ENOMEM. */
int tgt_ns_add(struct tgt_subsys *ss, struct bdev *bdev,
	       const struct tgt_ns_opts *opts, struct err *err);
/* From now on new commands are answered Invalid Namespace and the nsid may be
 * given to another; done runs when the last command in flight has ended and
 * the back end was released.  -ENOENT. */
int tgt_ns_remove(struct tgt_subsys *ss, uint32_t nsid, tgt_done_fn done,
		  void *arg, struct err *err);
/* bdev->size has changed: tells the hosts. */
void tgt_ns_resized(struct tgt_subsys *ss, uint32_t nsid);
/* The lowest nsid in use above after, 0 when there is none. */
uint32_t tgt_ns_after(const struct tgt_subsys *ss, uint32_t after);
bool tgt_ns_info_get(const struct tgt_subsys *ss, uint32_t nsid,
		     struct tgt_ns_info *out);

/* --- reservations that outlive the target --- */

struct resv_state; /* resv.h */

/* One thing to be made durable; its owner's, until done has run (on the control
 * loop, with 0 or -errno). */
struct tgt_save {
	struct list node;
	void (*done)(struct tgt_save *save, int ret);
};
/* From now on hosts may ask for that (PTPL).  keep makes what
 * tgt_ns_resv_get() says of all namespaces durable, then calls done. */
void tgt_keeper_set(struct tgt *tgt,
		    void (*keep)(void *arg, struct tgt_save *save), void *arg);
/* false: there is no such namespace, or nothing to be kept of it. */
bool tgt_ns_resv_get(const struct tgt_subsys *ss, uint32_t nsid,
		     struct resv_state *out);
/* Before hosts connect.  -ENOENT; -EINVAL and -EEXIST of resv_state_set(). */
int tgt_ns_resv_set(struct tgt_subsys *ss, uint32_t nsid,
		    const struct resv_state *in);

/* --- listeners --- */

enum tgt_ana { /* as on the wire, Base 2.0 figure 219 */
	TGT_ANA_OPTIMIZED = 1,
	TGT_ANA_NON_OPTIMIZED = 2,
	TGT_ANA_INACCESSIBLE = 3,
	TGT_ANA_CHANGE = 15,
};
struct tgt_listener_info {
	struct addr addr; /* with the real port */
	bool is_discovery, is_tls;
	unsigned connections;
};

/* Discovery, and all subsystems without a listener list of their own, are
 * reachable there.  addr gets the real port.  -EEXIST: it listens there
 * already; other errors as listener_open(). */
int tgt_listen(struct tgt *tgt, struct addr *addr, struct err *err);
/* The discovery service alone, e.g. on port 8009.  It names every listener
 * made by tgt_listen(); for a wildcard one, the address on which the asking
 * connection came in. */
int tgt_listen_discovery(struct tgt *tgt, struct addr *addr, struct err *err);
/* Either of these, where connections begin with a TLS handshake; only hosts
 * with a key of tgt_tls_key_set() get in.  -EOPNOTSUPP: not in this build. */
int tgt_listen_tls(struct tgt *tgt, struct addr *addr, bool is_discovery,
		   struct err *err);
/* No new connections there, and those that came through it are closed; done
 * runs when the socket is closed, so that the address is free.  -ENOENT. */
int tgt_listen_remove(struct tgt *tgt, const struct addr *addr,
		      tgt_done_fn done, void *arg, struct err *err);
/* index counts from 0 to the first false. */
bool tgt_listener_at(const struct tgt *tgt, unsigned index,
		     struct tgt_listener_info *out);

/* For subsystems with is_listener_list: reachable at that listener, or not any
 * more, when controllers connected through it are disconnected.  -ENOENT: no
 * listener there, or not attached; -EEXIST. */
int tgt_subsys_listen(struct tgt_subsys *ss, const struct addr *addr,
		      struct err *err);
int tgt_subsys_unlisten(struct tgt_subsys *ss, const struct addr *addr,
			struct err *err);
/* The listeners through which ss is reachable, index as above. */
bool tgt_subsys_listener_at(const struct tgt_subsys *ss, unsigned index,
			    struct tgt_listener_info *out);
/* ANA group 0: all of them.  Needs ana_reporting.  Hosts get the event, and
 * I/O through that listener is answered accordingly.  -ENOENT, -EINVAL. */
int tgt_subsys_ana_set(struct tgt_subsys *ss, const struct addr *addr,
		       uint32_t anagrpid, enum tgt_ana state, struct err *err);
enum tgt_ana tgt_subsys_ana_get(const struct tgt_subsys *ss,
				const struct addr *addr, uint32_t anagrpid);

struct tgt_referral {
	char traddr[256];
	uint16_t port;
	bool is_ipv6, is_secure;
	char nqn[NVME_NQN_LEN]; /* empty = the well-known discovery NQN */
};
/* Further discovery services that ours names.  -EEXIST, -ENOSPC; -ENOENT. */
int tgt_referral_add(struct tgt *tgt, const struct tgt_referral *ref,
		     struct err *err);
int tgt_referral_remove(struct tgt *tgt, const struct tgt_referral *ref,
			struct err *err);
const struct tgt_referral *tgt_referral_at(const struct tgt *tgt,
					   unsigned index);

/* --- hosts --- */

struct tgt_host_opts {
	const char *hostnqn;
};
/* -EEXIST, -EINVAL, -ENOMEM. */
int tgt_host_add(struct tgt_subsys *ss, const struct tgt_host_opts *opts,
		 struct err *err);
/* Its controllers are disconnected, and keys set for it in this subsystem go.
 * -ENOENT. */
int tgt_host_remove(struct tgt_subsys *ss, const char *hostnqn,
		    struct err *err);
/* false: hosts that are not listed are disconnected. */
void tgt_allow_any_host(struct tgt_subsys *ss, bool is_allowed);
struct tgt_host *tgt_host_find(const struct tgt_subsys *ss,
			       const char *hostnqn);
struct tgt_host *tgt_host_next(const struct tgt_subsys *ss,
			       const struct tgt_host *prev);
const char *tgt_host_nqn(const struct tgt_host *host);

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

/*
 * Keys of TLS, by the same rules; they count on listeners with TLS, and there
 * for the discovery service as well.  What a host says in its Connect must be
 * the names that its key was derived for.  key NULL takes an entry away.
 * -ENOENT, -ENOMEM.
 */
int tgt_tls_key_set(struct tgt *tgt, const char *subnqn, const char *hostnqn,
		    const struct tls_key *key);
/* Takes away all entries that name the subsystem. */
void tgt_tls_keys_drop(struct tgt *tgt, const char *subnqn);

/* --- who is connected --- */

struct tgt_ctrl_info {
	uint16_t cntlid;
	const char *hostnqn;
	uint8_t hostid[16];
	uint32_t kato_ms;
	unsigned io_queues;
};
enum tgt_auth_state {
	TGT_AUTH_NONE, /* never tried */
	TGT_AUTH_UNDERWAY,
	TGT_AUTH_DONE,
	TGT_AUTH_FAILED,
};
struct tgt_qpair_info {
	uint16_t qid, cntlid, depth; /* entries */
	struct addr peer;	     /* the host's end */
	struct addr local;	     /* ours */
	struct addr listen; /* of the listener, which may be a wildcard */
	const char *hostnqn;
	enum tgt_auth_state auth;
	const char *hash, *group; /* that were picked, NULL = none */
};
struct tgt_ctrl *tgt_ctrl_next(const struct tgt_subsys *ss,
			       const struct tgt_ctrl *prev);
void tgt_ctrl_info_get(const struct tgt_ctrl *ctrl, struct tgt_ctrl_info *out);
struct tgt_conn *tgt_qpair_next(const struct tgt_ctrl *ctrl,
				const struct tgt_conn *prev);
void tgt_qpair_info_get(const struct tgt_conn *conn,
			struct tgt_qpair_info *out);

#endif
