/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes: connected namespaces, and I/O of whole objects on them.
 *
 * A set owns MC_NOF_WORKERS hidden shards.  Each volume has one controller per
 * path (on the first worker) and one queue pair per worker and path.  An
 * object's I/O is cut into chunks of MC_NOF_SUBMIT_CHUNK_BYTES that are spread
 * over the workers and over all live paths, under one process-wide limit of
 * MC_NOF_INFLIGHT_BYTES_LIMIT bytes.  A chunk whose path fails goes by another.
 * Any thread may submit; done is called on a worker's thread.
 */
#ifndef POOL_VOL_H
#define POOL_VOL_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "base/uuid.h"
#include "nvmf/nvmf.h"
#include "pool/identity.h"
#include "pool/owner.h"
#include "pool/superblock.h"

struct vol_set;
struct vol;

/* Which of the ways to a volume that are equally good takes the next chunk. */
enum vol_multipath {
	MULTIPATH_ROUND_ROBIN,
	MULTIPATH_QUEUE_DEPTH, /* where fewest bytes are in flight */
	MULTIPATH_FAILOVER,    /* the first one of the list that works */
};

struct vol_opts {
	uint32_t workers;	 /* MC_NOF_WORKERS, 4 or CPUs */
	uint64_t chunk_bytes;	 /* MC_NOF_SUBMIT_CHUNK_BYTES, 256 KiB */
	uint64_t inflight_bytes; /* MC_NOF_INFLIGHT_BYTES_LIMIT, 32 MiB */
	struct nvmf_opts nvmf;	 /* addr and subnqn are ignored */
	struct identity_files key_files; /* read again when refused */
	uint32_t spin_us;
	enum vol_multipath multipath; /* MC_NOF_MULTIPATH */
	/* MC_NVME_CTRL_LOSS_TMO, 600: a path that is away for so long is tried
	 * seldom, and I/O no longer waits for it. */
	uint32_t loss_timeout_s;
	/* MC_NOF_READ_WEIGHT, 1: bytes of reads for each byte of writes while
	 * both wait. */
	uint32_t read_weight;
	/* MC_STORE_NUMA_SOCKET_ID: CPUs of the workers, -1 = any */
	int numa_node;
	uint32_t debug_ms; /* MC_NOF_DEBUG: queue states are logged; 0 = no */
};
/* Defaults, then MC_NOF_* and MC_NVME_* (spec upstream-nof 4.1, 4.2), then
 * the stable host identity.  An invalid value is named and refused. */
int vol_opts_init(struct vol_opts *opts, struct err *err);
/* The same without the host identity: nvmf.host and keys stay zero. */
int vol_opts_read_env(struct vol_opts *opts, struct err *err);
/* That one variable alone: 0, -EINVAL with a sentence, -ENOENT when it is none
 * of vol_opts_read_env()'s. */
int vol_opts_check_var(const char *name, struct err *err);

int vol_set_create(const struct vol_opts *opts, struct vol_set **out,
		   struct err *err);
/* All I/O has ended, all references are given back.  Closes connections within
 * a deadline. */
void vol_set_destroy(struct vol_set *set);

struct vol_desc {
	struct uuid segment;
	bool is_nof; /* superblock with segment and epoch is required */
	uint64_t epoch;
	uint64_t key; /* of the owner, who may write; 0 = anybody (owner.h) */
	uint32_t block_bytes;
	const char *const *endpoints; /* text; all are used */
	unsigned endpoint_count;
};
/* The volume of that segment, opened in the background when new (or when its
 * epoch, key or endpoints changed).  Never blocks: I/O waits for the connection
 * until its own deadline.  -EINVAL for endpoints that can't be parsed. */
int vol_get(struct vol_set *set, const struct vol_desc *desc, struct vol **out,
	    struct err *err);
/* All I/O on it has ended.  What nobody gets for a while is closed, and later
 * forgotten: its paths are not told of any more then. */
void vol_put(struct vol *vol);
/* Queue pairs of one path to it, so workers that reach it by one of their own;
 * 0 when it is not connected. */
unsigned vol_queue_pairs(const struct vol *vol);
/* This process serves the segment itself: I/O becomes a memcpy. */
int vol_attach_memory(struct vol_set *set, const struct uuid *segment,
		      void *mem, uint64_t size);
/* No I/O may be under way on it. */
void vol_detach_memory(struct vol_set *set, const struct uuid *segment);
/* The same while I/O is under way, which fails: when done is called, on a
 * worker, nothing touches the memory any more. */
struct vol_detach {
	void (*done)(struct vol_detach *detach);
	/* private */
	struct mbox_msg msg;
	struct vol_set *set;
	unsigned passed; /* workers */
};
void vol_detach_memory_start(struct vol_set *set, const struct uuid *segment,
			     struct vol_detach *detach);

struct vol_extent {
	struct vol *vol;
	uint64_t off; /* byte on the namespace, a multiple of its block */
	uint64_t len; /* bytes of the object; the last one may be ragged */
};

/*
 * One replica of one object, all of it.  Buffers: any alignment, any pieces.
 * Write: the tail of the last block is padded with zeros; crcs (if not NULL)
 * receives the CRC-32C of each CRC_BLOCK of the object.  Read: when crcs is
 * not NULL the bytes are verified against it before done reports success.
 */
struct vol_io {
	void (*done)(struct vol_io *io);
	bool is_write;
	const struct vol_extent *extents; /* in object order */
	unsigned extent_count;
	const struct iovec *iov; /* covers bytes exactly */
	unsigned iovcnt;
	uint64_t bytes;
	/* Who asks: callers get fair turns, I/Os of one caller are served in
	 * order.  0 = a caller of its own. */
	uint64_t flow;
	/* Monotonic.  What is not on the wire by then is given up; what is, is
	 * awaited, at most for nvmf.command_timeout_ms: the memory must be the
	 * caller's again when done is called. */
	uint64_t deadline_ns;
	uint32_t *crcs;
	/* result: 0; -ECANCELED; -EILSEQ checksum mismatch; -ETIMEDOUT;
	 * -EHOSTUNREACH not connected; -ESTALE superblock does not match, or
	 * the target knows of another owner and refuses to write; other
	 * -errno of the NVMe status.  failed_extent tells which. */
	int ret;
	unsigned failed_extent;
	/* A write of which something was sent again after its connection was
	 * lost: what was sent first may still be executed, later. */
	bool is_resent;
	/* private */
	struct vol_job *job;
};
/* -ENOMEM when it can't even be queued (done is not called then). */
int vol_submit(struct vol_set *set, struct vol_io *io);
/*
 * A request: what is not on the wire is not sent any more, what is comes back
 * soon: reads at once, writes are aborted (nvmf_io_cancel).  done still comes
 * (or has come: io's memory has to be there, whatever it is used for), with
 * -ECANCELED unless something else was faster.  Waits a turn of the workers'
 * loops, so it is not for their threads.
 */
void vol_cancel(struct vol_set *set, const struct vol_io *io);

/* --- for the master: looking at a namespace before it is a volume --- */
/* Can it be read?  Nobody looks at the bytes. */
struct vol_range {
	uint64_t off, bytes; /* of the namespace, whole blocks */
	/* result: 0; -ENODATA: the medium has lost some of it; -ECANCELED: it
	 * did not come to that */
	int ret;
};
struct vol_probe {
	void (*done)(struct vol_probe *probe); /* on a worker's thread */
	char endpoint[ENDPOINT_TEXT_LEN];      /* with ns */
	uint32_t timeout_ms;
	bool sb_only; /* health check: identity and superblock, no labels */
	/* The controller's SMART log, too.  A controller that has none does not
	 * make the probe fail. */
	bool want_smart;
	/* Who holds the namespace; OURS is who has that key. */
	bool want_owner;
	uint64_t key;
	/* Read after the superblock, one after the other; then neither SMART
	 * log nor owner.  timeout_ms (not 0) is for each LABEL_HEAD_BYTES. */
	struct vol_range *ranges;
	unsigned range_count;
	atomic_bool has_enough; /* any thread: the rest is not wanted */
	/* result */
	int ret;
	struct err err;
	struct vol_owner owner;
	struct nvmf_ns_info ns;
	enum label_kind label;
	char label_text[128];
	struct superblock sb; /* when LABEL_OURS */
	uint64_t latency_ns;  /* of the superblock's read */
	bool has_smart;
	struct nvmf_smart smart;
	/* private */
	struct mbox_msg msg;
	struct vol_set *set;
	void *priv;
};
void vol_probe_submit(struct vol_set *set, struct vol_probe *probe);

/* Writes a superblock (and reads it back).  With a claim the namespace is
 * reserved for key before; -EBUSY: for somebody else it is.  A target without
 * reservations, or one that can't after all, does not stop it. */
struct vol_label {
	void (*done)(struct vol_label *label);
	char endpoint[ENDPOINT_TEXT_LEN];
	uint32_t timeout_ms;
	struct superblock sb;
	/* Nothing is claimed or written, -ESTALE, where the superblock by now
	 * is of another segment or epoch; 0 = it may be anything. */
	uint64_t seen_epoch;
	enum vol_claim claim;
	uint64_t key;
	/* The claim is for the writing alone: it is given back behind it. */
	bool is_for_once;
	/* result */
	int ret;
	struct err err;
	struct vol_owner owner; /* after it; with -EBUSY who has it */
	/* The target may have key registered, whatever ret is: to be given
	 * back, unless it is to be kept. */
	bool may_hold;
	/* private */
	struct mbox_msg msg;
	struct vol_set *set;
	void *priv;
};
void vol_label_submit(struct vol_set *set, struct vol_label *label);

/* Gives back what key holds; nothing to give back is fine. */
struct vol_release {
	void (*done)(struct vol_release *release);
	char endpoint[ENDPOINT_TEXT_LEN];
	uint32_t timeout_ms;
	uint64_t key;
	/* result */
	int ret;
	struct err err;
	/* private */
	struct mbox_msg msg;
	struct vol_set *set;
	void *priv;
};
void vol_release_submit(struct vol_set *set, struct vol_release *release);

/* "uuid:…" if there is one, else nguid, else eui, else "none". */
void vol_identity(const struct nvmf_ns_info *ns, char out[80]);

struct vol_stats {
	uint64_t reads, writes, read_bytes, write_bytes;
	uint64_t local_reads, local_writes;
	uint64_t errors, checksum_errors, timeouts, fenced;
	uint64_t volumes_connected;
	uint64_t inflight_high; /* most bytes that were ever in flight */
};
void vol_stats_get(struct vol_set *set, struct vol_stats *out);

/* A path: one subsystem at one address, shared by its volumes. */
enum vol_path_error {
	VOL_PATH_LOST,	  /* connection, or aborted with its queue */
	VOL_PATH_TIMEOUT, /* command deadline */
	VOL_PATH_ANA,
	VOL_PATH_REFUSED, /* somebody else has it reserved */
	VOL_PATH_OTHER,	  /* any other status */
	VOL_PATH_ERRORS,
};
struct vol_path_stats {
	char name[ENDPOINT_TEXT_LEN];
	const char *state; /* "live", "connecting", "away", "idle" */
	unsigned queues;   /* of the last connection */
	uint64_t inflight; /* bytes */
	/* chunks: reads, writes */
	uint64_t ops[2], bytes[2], p50_us[2], p99_us[2];
	uint64_t errors[VOL_PATH_ERRORS];
	uint64_t retries; /* chunks that went on to another attempt */
	uint64_t lost;	  /* live connections that were lost */
	bool is_degraded; /* many of them, lately: others are preferred */
};
/* At most max of them in out; returns how many there are. */
size_t vol_paths_get(struct vol_set *set, struct vol_path_stats *out,
		     size_t max);
/* Ways of the volume that take I/O now. */
unsigned vol_ways_ready(const struct vol *vol);

#endif
