/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole store in one thread: master, targets on simulated disks, clients, an
 * operator, and what goes wrong.  One world per process: main.c makes a process
 * per seed, so that what the dead leave behind goes with it.
 */
#ifndef TESTS_SIM_STORE_WORLD_H
#define TESTS_SIM_STORE_WORLD_H

#include <stdio.h>

#include "base/list.h"
#include "base/rand.h"
#include "base/time.h"
#include "base/uuid.h"
#include "io/sim.h"
#include "mooncake/store.h"
#include "nvme/endpoint.h"
#include "target/bdev.h"

enum { /* nodes */
	NODE_MASTER = 1,
	NODE_TARGET = 2,
	TARGETS = 3,
	NODE_CLIENT = NODE_TARGET + TARGETS,
	CLIENTS = 3,
	NODE_OPERATOR = NODE_CLIENT + CLIENTS,
	NODES,
};

#define NODE_RIVAL NODES /* no fault is its */

#define KEYS	    16
#define VALUE_MAX   ((size_t)400 * KiB)
#define DISK_BYTES  (16 * MiB) /* the least a pool takes */
#define FOREIGN_ID  101	       /* of disks that are not the pool's */
#define MEM_BYTES   (6 * MiB)
#define CLIENT_JOBS 2 /* threads per client that put and get */
#define LEASE_NS    NS_PER_S
#define STRIPE	    (128 * KiB) /* with has_stripes */

/* The master's journal. */
enum keep {
	KEEP_NOTHING, /* has none */
	KEEP_SOME,    /* on disk now and then */
	KEEP_ALL,     /* on disk before a change is answered */
	KEEP_WRITTEN, /* never synced */
};
#define SYNC_NS	     (200 * NS_PER_MS) /* with KEEP_SOME */
#define SYNC_SLOW_NS (200 * NS_PER_MS) /* one takes at most, with has_turns */

/* A second master. */
enum rival {
	RIVAL_NONE,
	RIVAL_OTHER, /* of another cluster */
	RIVAL_SAME,  /* of the same one, by mistake */
	RIVAL_COPY,  /* the same, with a copy of its journal */
};

/* What the seed brings. */
struct plan {
	uint64_t seed;
	enum keep keep;
	enum rival rival;
	bool has_owner;	  /* namespaces are reserved at their targets */
	unsigned seconds; /* of trouble */
	bool is_calm;	  /* there is none */
	bool is_hurried;
	unsigned keys;
	uint64_t pause_ns; /* of clients, at most */
	bool has_links;	   /* cuts, resets, stalls */
	bool has_crashes;
	bool has_master_crashes;
	bool has_tasks;	      /* clients copy and check */
	bool has_drains;      /* namespaces are emptied and come back */
	bool has_file_errors; /* calls of the journal fail */
	bool has_media;	      /* silent corruption, latent errors */
	bool has_swaps;	      /* another disk in the place */
	bool has_slow;	      /* disks that take their time */
	bool has_hedges;      /* and two replicas of everything */
	bool has_exchanges;   /* two disks change places */
	bool has_turns;	      /* syncs take time, and the power fails then */
	bool has_clock;	      /* the wall clock jumps */
	bool has_stops;	      /* processes stand still */
	bool has_stripes;     /* large objects lie on several disks */
};

/* --- disk.c --- */
struct medium {
	uint8_t *mem;
	struct uuid id;
	uint64_t bytes;
	bool is_foreign; /* must never be written */
	uint64_t foreign_writes;
	struct list pending; /* struct disk_io */
	uint64_t slow_until_ns;
	/* chances per write or read */
	double flip, misdirect, lose, latent;
	uint64_t bad_off, bad_bytes; /* does not read until written */
	uint64_t corruptions;
};
void medium_init(struct medium *m, uint64_t id, bool is_foreign);
void medium_name(struct medium *m, uint64_t id);
/* With a copy of that one, or (NULL) with nothing but such bytes in front. */
void medium_fill(struct medium *m, const struct medium *copy, uint8_t byte);
/* The disk's half of a target; destroyed by it. */
struct bdev *medium_attach(struct medium *m);
/* The power of its target is gone: what was under way is done, undone or
 * torn. */
void medium_crash(struct medium *m);

/* --- files.c: the journal's directory --- */
void files_begin(const char *path);
const char *files_path(void);
/* The master dies at the call after so many; 0: not any more. */
void files_die_in(unsigned calls, bool is_silent);
/* When a sync first failed in this life; 0 = none did. */
uint64_t files_unsynced_ns(void);
bool files_are_dying(void);
void files_fail(double rate); /* in this life of the master's */
/* As by cp, of what there is now. */
void files_copy(const char *to);
/* Its process is gone. */
void files_crash(bool is_power_cut);

/* --- check.c --- */
struct version {
	uint64_t start_ns, end_ns; /* of the put; end 0 = not known */
	/* If it ever was there, it was by then; 0 = not known. */
	uint64_t known_ns;
	uint64_t stored_ns; /* it was there by then; 0 = not known */
	int result;
};
struct removal {
	uint64_t start_ns, end_ns;
};
struct history {
	struct version *v; /* by version */
	uint32_t count, cap;
	struct removal *removed; /* that were acknowledged */
	uint32_t removed_count, removed_cap;
	/* A put was acknowledged, and nothing may have taken it away since. */
	bool is_held;
	uint64_t held_ns;
	uint64_t generation;	/* the master's, of what is held; 0 = unknown */
	unsigned removing;	/* removals under way */
	uint64_t removed_by_ns; /* the last one is over */
};
/* Whose objects are in the pool alone: a client's death takes none. */
bool is_pool_key(unsigned key);
/* Bytes that a put of the key has begun to write. */
bool was_put(unsigned key, const uint8_t *p, int64_t n);
/* One that has the namespaces, too. */
bool has_successor(void);
size_t value_size(unsigned key, uint32_t version);
void value_fill(unsigned key, uint32_t version, uint8_t *p);
uint32_t put_begins(unsigned key);
/* is_others: perhaps it was not stored, because another one was. */
void put_ended(unsigned key, uint32_t version, int result, bool is_others);
/* Judges what a get that began at start_ns returned. */
void get_ended(unsigned key, const uint8_t *p, int64_t n, uint64_t start_ns);
void remove_begins(unsigned key);
void remove_ended(unsigned key, uint64_t start_ns, int result);
/* The client died in it. */
void remove_died(unsigned key);
/* The master forgot what happened since then. */
void history_cut(uint64_t since_ns);
/* What is stored: disks lie, or extents are handed out that a master has
 * forgotten. */
bool may_be_damaged(void);
/* What was acknowledged must be there. */
bool must_be_held(unsigned key);
/* So many replicas were, since the last time. */
void history_evicted(uint64_t evicted);

struct core;

/* --- audit.c --- */
/* What this life of the master's has counted: has it made room in the pool, was
 * anything damaged that it has? */
void audit_counts(const struct core *core);
/* Of what the master has of the key in the pool, if it is of that size (0 =
 * any); 0 = nothing. */
uint64_t audit_generation(unsigned key, uint64_t size);
/* The master's books: no extent twice, sums agree. */
void audit_master(void);
/* The master has died and started again, with nothing lost: now and before. */
void audit_recovered(struct core *now, const struct core *before);
/* What was acknowledged is known.  false: it need not be, or nobody can say. */
bool audit_key(unsigned key);
void audit_held(void);
/* All is removed and has rested. */
void audit_empty(void);
/* Can every replica of the key be read where it lies, by what the master
 * says? */
bool audit_is_held(unsigned key);

/* --- node.c --- */
void node_start(unsigned node);
struct client_node {
	mooncake_store_t store; /* NULL: not set up */
	unsigned calls;		/* under way */
	unsigned life;
	unsigned removing[KEYS];
	uint64_t gets[CLIENT_JOBS + 1]; /* when those under way began; 0 = none;
					 * the last words are one more */
	uint64_t checksum_misses;	/* seen so far */
};
struct core *master_core(void); /* NULL when it is down */
void master_died(bool is_power_cut);
#define TARGET_PORT 4420
void nqn_of(unsigned target, char out[64]);

/* --- operator.c --- */
void operator_main(void *arg);
void endpoint_of(unsigned target, struct endpoint *ep);

/* --- rival.c --- */
void rival_start(void);
void rival_stop(void);

/* --- jobs.c --- */
void client_jobs_start(unsigned client);
/* A put and a get that must succeed, and the last look at everything. */
void client_last_words(unsigned client);
/* Where disks are slow some reads are begun twice. */
void client_hedges(void);

/* --- chaos.c --- */
void chaos_run(void);
/* The master's, at its journal's call after so many. */
void power_fails_in(unsigned calls);
/* Since then the master may have done nothing: it stands still, or has until
 * just now. */
uint64_t master_stood_ns(void);
void chaos_end(void);

struct world {
	struct plan plan;
	struct io_sim *sim;
	struct rng rng; /* of faults and of what clients do */
	struct medium disks[TARGETS], foreign[TARGETS];
	struct medium *at[TARGETS];   /* what the target serves */
	struct medium *home[TARGETS]; /* what it should */
	struct client_node clients[CLIENTS];
	struct history keys[KEYS];
	uint64_t evicted_ns; /* when room in the pool was last seen made */
	uint64_t cut_ns; /* when the power last took what was acknowledged */
	bool is_quiet;	 /* faults are over: clients come to an end */
	FILE *journal;	 /* of faults and operations */
	uint64_t puts, put_ok, gets, hits, misses, errors, removes;
	uint64_t held; /* gets of what had to be there */
	uint64_t crashes, cuts, stops, swaps, exchanges;
	uint64_t hedged, hedges_won; /* of the clients that live at the end */
	uint64_t rival_puts, rival_gets, rival_known;
	uint64_t drained, copies, checks, striped;
	uint64_t master_lives, recoveries, lossy;
};
extern struct world w;

/* Into the journal, which is shown when the seed fails. */
void note(const char *fmt, ...) PRINTF_LIKE(1, 2);
_Noreturn void fail(const char *fmt, ...) PRINTF_LIKE(1, 2);
#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond))                                                   \
			fail("%s:%d: %s", __FILE__, __LINE__, #cond);          \
	} while (0)
uint64_t now_ns(void);
uint64_t below(uint64_t bound);
bool chance(double rate);

#endif
