/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master's metadata: one shard, no locks, no clock and no I/O of its own.
 *
 * Whoever calls in sets core->now_ns first (core_enter), so that tests turn
 * the clock by hand.  Every change of state goes through few functions
 * (object.h, segment.h, put.h): that is where the journal listens (note.h).
 *
 *	object 1 ── n replica 1 ── n extent n ── 1 segment
 *
 * An object stays while it has a replica.  A replica that may be evicted stands
 * in one of the recency lists of its segment, or of its kind when it lies on
 * several.
 */
#ifndef MASTER_CORE_H
#define MASTER_CORE_H

#include "base/extent.h"
#include "base/hash.h"
#include "base/lru.h"
#include "base/rand.h"
#include "base/status.h"
#include "base/time.h"
#include "base/uuid.h"
#include "master/bins.h"
#include "master/stats.h"
#include "nvmf/nvmf.h"
#include "pool/owner.h"
#include "proto/frame.h"

#define OBJECT_BYTES_MAX (64 * GiB)
#define REPLICAS_MAX	 16 /* of one object, both kinds together */
#define EXTENTS_MAX	 64 /* of one replica */
#define SEGMENTS_MAX	 4096
#define SEGMENT_PATHS	 8 /* endpoints of one segment */
/* So many clients that can't reach a segment take it OFFLINE by their word. */
#define HEALTH_REPORTS 3
#define CLIENTS_MAX    65536
#define EXTENT_UNIT    4096
#define EXTENT_ALIGN   (64 * KiB) /* objects at least this large */
#define DATA_TYPE_MAX  UINT8_MAX
#define SPLIT_MIN      (1 * MiB) /* smaller objects are never split */
/* Nobody is at anything longer than that. */
#define TASK_NS_MAX (7 * 24 * 3600 * NS_PER_S)
/* Sums over all segments stay in 64 bits. */
#define SEGMENT_BYTES_MAX ((uint64_t)1 << 50)

enum kind {
	KIND_MEM,
	KIND_NOF,
	KIND_COUNT
};

enum strategy {
	STRATEGY_RANDOM,
	STRATEGY_FREE_RATIO_FIRST,
	STRATEGY_LOCAL_FIRST
};

struct core_opts {
	uint64_t lease_ns;
	uint64_t soft_pin_ns, soft_pin_max_ns;
	bool can_evict_soft_pinned;
	double high_watermark[KIND_COUNT];
	double evict_ratio[KIND_COUNT];
	uint64_t discard_ns; /* age of an unfinished put that gives way */
	uint64_t release_ns; /* age at which it is dropped unasked */
	uint64_t write_ns;   /* what a writer gets; below discard_ns */
	uint64_t margin_ns;  /* quarantine beyond the last legal access */
	uint64_t client_ttl_ns;
	/* Larger objects of the pool are cut into such pieces; 0 = never */
	uint64_t stripe_bytes;
	/* Tasks of clients, copy.h: bandwidth of all together */
	uint64_t copy_bytes_per_s, scrub_bytes_per_s;
	uint64_t scrub_interval_ns; /* from pass to pass; 0 = never */
	uint64_t lost_ns;	    /* OFFLINE for so long: copied again */
	enum strategy strategy;
	/* defaults of requests that do not ask; -1 = by what is mounted */
	int replica_num, nof_replica_num;
	uint32_t offline_failures; /* probes in a row */
	uint64_t seed; /* another one in each life */
	uint64_t generation; /* the first one; grows from life to life */
};
void core_opts_default(struct core_opts *opts);

/* Owned by segment lists of the core; see segment.h. */
enum segment_state {
	SEG_ONLINE,
	SEG_OFFLINE,	/* objects stay, nothing is handed out */
	SEG_UNMOUNTING, /* being emptied in slices */
};

/* What goes wrong with a pool segment, tbl/seg_errors.h. */
enum seg_error {
#define SEG_ERROR(NAME, word) SEG_ERROR_##NAME,
#include "master/tbl/seg_errors.h"
#undef SEG_ERROR
	SEG_ERROR_COUNT
};

/* One endpoint as probes saw it. */
struct seg_path {
	uint64_t ok_ns, failed_ns; /* the last of that outcome; 0 = none yet */
	uint64_t latency_ns;	   /* of the last good one */
};

/* Replicas that may be evicted, each list by last access; see evict.h. */
struct recency {
	struct lru idle, leased, soft;
	uint64_t soft_due_ns; /* no pin of soft ends before */
};

struct segment {
	struct list node; /* core.segments or core.dying */
	struct uuid id;
	uint32_t no; /* its name in the journal, never used again */
	/* Known from a former life of the master, and not seen in this one:
	 * OFFLINE until its node mounts it or its superblock was adopted. */
	bool is_awaited;
	enum kind kind;
	enum segment_state state;
	char *name;
	bool is_draining; /* read as ever, but nothing new is put there */
	char *endpoints[SEGMENT_PATHS];
	unsigned endpoint_count;
	uint64_t base, size;
	uint32_t unit;	   /* extents are multiples of it */
	uint64_t ns_bytes; /* nof: of the whole namespace */
	uint32_t block_bytes;
	uint64_t epoch; /* nof: of this life, as its superblock has to say */
	/* nof, awaited: the last that the journal knew of */
	uint64_t known_epoch;
	/* nof: of the owner as whom clients write; 0: as themselves */
	uint64_t key;
	/* nof: of this life, and its target may have it registered; 0 = no */
	uint64_t claimed;
	struct vol_owner owner; /* who may write, as its target said last */
	char identity[80];
	char *host_id;
	struct uuid client; /* owner of a memory segment */
	char message[256];
	uint64_t added_ns;
	uint64_t offline_ns; /* since then, while OFFLINE */
	/* for placing apart: address, address and port, NQN */
	uint64_t host_hash, target_hash, subsys_hash;

	struct ext_alloc *space;
	struct list extents; /* struct extent.seg_node */
	uint64_t quarantined;
	uint64_t replicas;	/* that have an extent here */
	struct recency recency; /* of replicas that are here alone */
	uint64_t mark;		/* scratch of place.c: not for this object */
	uint64_t reply_mark;	/* scratch of reply.c */
	uint32_t reply_index;

	/* health, health.c */
	uint32_t failures; /* probes in a row */
	/* clients that reported it since the last good probe; more than there
	 * is room for are not counted */
	uint32_t reports;
	struct uuid reporters[HEALTH_REPORTS];
	bool is_disputed;    /* that probe was good in spite of reports */
	uint64_t ok_ns;	     /* last good probe */
	uint64_t latency_ns; /* of it */
	struct seg_path paths[SEGMENT_PATHS];
	unsigned last_path; /* that answered last */
	uint64_t errors[SEG_ERROR_COUNT];
	uint64_t smart_ns;	 /* when smart was read; 0 = never */
	struct nvmf_smart smart; /* of its controller */
	struct watch *watch;	 /* owned by watch.c */
	struct doubts *doubts;	 /* owned by doubt.c */

	/* use */
	uint64_t hits, hit_bytes;  /* gets that are sent here first */
	uint64_t leased_until_ns;  /* end of the last lease on what is here */
	uint64_t unfinished;	   /* extents of puts under way */
	uint64_t written_until_ns; /* by when all who ever wrote have to stop */

	uint64_t writers_until_ns;   /* UNMOUNTING: last writer's deadline */
	uint64_t dropped;	     /* objects that went with it */
	uint64_t moved, moved_bytes; /* replicas, since it drains */
	void *waiter;		     /* who waits for its end, server side */
};

/*
 * What there are millions of.  docs/master.md, "What it costs", says where the
 * bytes of an object go: what only a few need at a time is in pieces of its
 * own.
 */
struct extent {
	struct segment *seg;
	struct list seg_node;
	uint64_t off;	/* on the segment */
	uint64_t bytes; /* of the object, unpadded: extent_range() */
	uint32_t node;	/* handle in seg->space */
	uint32_t at;	/* replica.extents[at] */
};

enum replica_state {
	REPLICA_PROCESSING,
	REPLICA_COMPLETE
};

/* In which recency list a replica stands, evict.h. */
enum turn {
	TURN_NONE,
	TURN_IDLE,
	TURN_LEASED,
	TURN_SOFT
};

struct replica {
	struct replica *next; /* object.replicas */
	struct object *obj;
	struct list lru_node;
	enum kind kind : 8;
	enum replica_state state : 8;
	enum turn turn : 8;
	uint8_t extent_count;
	uint32_t index;
	struct extent extents[];
};

/*
 * Somebody writes to an object, or may still: the put until it ends, a copy, a
 * writer that may be late.  Settled objects have none of it.
 */
struct writing {
	struct list node; /* core.unfinished, in order of start; core.late */
	struct object *obj;
	/* A put of a key whose object nobody can read at the moment: that one
	 * keeps the key (it may come back) until the new one is complete. */
	struct object *successor, *former;
	struct uuid client; /* who puts */
	uint64_t request;   /* by which request, 0 = not told */
	uint64_t started_ns;
	uint64_t deadline_ns; /* of whoever fills PROCESSING replicas */
	uint64_t late_ns;     /* what was sent twice may come until then */
};

struct object {
	struct hnode hnode;
	struct list all_node;	  /* core.all, in order of creation */
	struct replica *replicas; /* memory first */
	struct writing *writing;  /* NULL once that is over */
	uint64_t generation;
	uint64_t size;
	uint64_t used_ns;     /* last access */
	uint64_t soft_pin_ns; /* until then; 0 = none */
	/* Room for one replica of one extent: most objects need no other */
	_Alignas(uint64_t) char own[sizeof(struct replica) +
				    sizeof(struct extent)];
	uint16_t key_len;
	uint8_t data_type;
	uint8_t replica_count;
	uint8_t wanted[KIND_COUNT]; /* replicas, once complete */
	bool is_complete : 1;
	bool is_flexible : 1; /* one of two sides is enough */
	bool is_hard_pinned : 1;
	bool was_leased : 1;
	bool is_grouped : 1; /* group.h */
	uint32_t crcs[];     /* one per CRC_BLOCK; the key follows */
};

#define obj_for_each_replica(rep, obj)                                         \
	for (rep = (obj)->replicas; rep; rep = rep->next)

static inline uint32_t obj_crc_count(uint64_t size)
{
	ASSERT(size <= OBJECT_BYTES_MAX);
	return (uint32_t)((size + CRC_BLOCK - 1) / CRC_BLOCK);
}

static inline struct str obj_key(const struct object *obj)
{
	const uint32_t *end = obj->crcs + obj_crc_count(obj->size);

	return (struct str){(const char *)end, obj->key_len};
}

static inline struct ext extent_range(const struct extent *ext)
{
	return (struct ext){
		.off = ext->off,
		.len = ALIGN_UP(ext->bytes, (uint64_t)ext->seg->unit),
		.node = ext->node,
	};
}

static inline struct replica *extent_replica(struct extent *ext)
{
	return container_of(ext - ext->at, struct replica, extents);
}

struct resting {
	uint64_t release_ns;
	bool is_written; /* a put may still write to it */
	struct segment *seg;
	struct ext ext;
};

/* Min-heap by release_ns; see quarantine.h. */
struct quarantine {
	struct resting *heap;
	size_t count, cap;
	size_t live; /* extents in use: each has a place reserved */
	/* How often an extent came here or became free, ever. */
	uint64_t freed;
};

/* A namespace that was unmounted while somebody could still write to it. */
struct tomb {
	struct uuid segment;
	char identity[80];
	uint64_t until_ns;
};
#define TOMBS_MAX SEGMENTS_MAX /* each may go at the same time */

struct core {
	struct core_opts opts;
	uint64_t now_ns;
	uint64_t generation; /* last one given */
	struct bins bins;
	struct htab objects;
	struct list all, unfinished;
	struct list late;   /* settled but for late_ns, by it; struct writing */
	size_t soft_pinned; /* complete objects; an expired pin counts until
			     * the object is read again or goes */
	struct htab groups, members; /* group.h */
	struct list scans;	     /* struct scan, scan.h */
	struct list segments, dying;
	/* Called before a segment's memory goes; may be NULL. */
	void (*on_gone)(struct segment *seg, void *arg);
	void *on_gone_arg;
	unsigned segment_count;
	struct segment *online[KIND_COUNT][SEGMENTS_MAX];
	unsigned online_count[KIND_COUNT];
	struct copier *copier;		   /* copy.h */
	struct recency spread[KIND_COUNT]; /* of replicas on several segments */
	/* Of the background round under way, evict.h; 0 = none */
	uint64_t sweep_ns[KIND_COUNT];
	struct htab clients;
	struct list client_list; /* by deadline */
	struct quarantine quarantine;
	struct tomb tombs[TOMBS_MAX];
	unsigned tomb_next;
	struct rng rng;
	/* What the epochs of this life are above those that it goes on from.
	 * Another life that goes on from the same ones has another step: so an
	 * epoch is the name of one life to all who look at the superblock,
	 * masters and clients. */
	uint64_t epoch_step;
	uint64_t mark;
	struct stats stats;
	uint32_t segment_no; /* last one given */
	struct notes *notes; /* note.h; NULL: nobody listens */
	bool is_replaying;   /* extents are not taken yet, recover.c */
};

int core_create(const struct core_opts *opts, struct core **out);
void core_destroy(struct core *core); /* NULL is fine */
static inline void core_enter(struct core *core, uint64_t now_ns)
{
	if (now_ns > core->now_ns)
		core->now_ns = now_ns;
}

#endif
