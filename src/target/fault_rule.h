/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of fault.h: rules, and the question "what is to happen to this
 * command?".  Shards ask only while a rule is active; the answer is a plan that
 * is copied into the request, so that no rule is used outside the lock.
 */
#ifndef TARGET_FAULT_RULE_H
#define TARGET_FAULT_RULE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/rand.h"
#include "io/loop.h"
#include "nvme/cmd.h"
#include "nvme/endpoint.h"
#include "target/bdev.h"
#include "target/fault.h"

enum fault_kind {
	FAULT_ERROR,	  /* answered with a status */
	FAULT_DELAY,	  /* answered late */
	FAULT_RATE,	  /* answered as slowly as the limit says */
	FAULT_CORRUPT,	  /* one bit is wrong, below all digests */
	FAULT_TORN,	  /* only the first blocks reach the medium */
	FAULT_MISDIRECT,  /* the write lands elsewhere */
	FAULT_DROP,	  /* done, but never answered */
	FAULT_DISCONNECT, /* the connection ends */
	FAULT_STALL,	  /* the connection reads or sends nothing */
	FAULT_REFUSE,	  /* Connect is refused */
	FAULT_HDGST,	  /* wrong header digest */
	FAULT_DDGST,	  /* wrong data digest */
	FAULT_DUP,	  /* answered twice */
	FAULT_WRONGCID,	  /* answered with a command id that is not its own */
	FAULT_BADRANGE,	  /* C2HData beyond what was asked for */
	FAULT_KINDS
};
#define FAULT_BIT(kind) (1u << (kind))
/* The command's bytes must not be those of the medium. */
#define FAULT_BOUNCE                                                           \
	(FAULT_BIT(FAULT_CORRUPT) | FAULT_BIT(FAULT_TORN) |                    \
	 FAULT_BIT(FAULT_MISDIRECT))
#define FAULT_HOLD (FAULT_BIT(FAULT_DELAY) | FAULT_BIT(FAULT_RATE))

enum { /* what a command is, a bit each */
	FAULT_OP_READ = 1,
	FAULT_OP_WRITE = 2,
	FAULT_OP_FLUSH = 4,
	FAULT_OP_OTHER = 8, /* of an I/O queue */
	FAULT_OP_ADMIN = 16,
	FAULT_OP_CONNECT = 32,
	FAULT_OP_IO = 15,
	FAULT_OP_ALL = 63,
};

enum { /* of a stall */
	FAULT_RX = 1,
	FAULT_TX = 2
};

struct fault_rule {
	/* constant */
	uint32_t id;
	char *text; /* owned */
	enum fault_kind kind;
	uint32_t ops;				    /* FAULT_OP_* */
	uint32_t nsid;				    /* 0 = any */
	uint32_t qid;				    /* UINT32_MAX = any */
	char nqn[NVME_NQN_LEN], host[NVME_NQN_LEN]; /* "" = any */
	uint64_t lba_first, lba_last;
	bool has_lba;
	double p; /* 0 = not asked for */
	uint64_t every, after, after_bytes, count, for_ms;
	uint64_t seed;
	bool has_seed;
	uint64_t sc; /* 0 = what suits the command */
	uint64_t delay_ns, p50_ns, p99_ns;
	uint64_t bytes_per_s, iops;
	uint64_t blocks; /* torn: that many are written */
	uint64_t shift;	 /* misdirect: so many blocks further */
	uint32_t sides;	 /* stall */
	bool is_rst;
	/* under the set's lock */
	struct rng rng;
	uint64_t expires_ns; /* 0 = never */
	uint64_t next_ns;    /* rate: when the next answer may leave */
	uint64_t seen, seen_bytes, injected;
	bool is_told; /* the log knows that it is over */
};

/* What a rule is compared with. */
struct fault_look {
	const char *nqn, *host;
	uint32_t nsid;
	uint32_t qid;
	uint32_t op; /* one FAULT_OP_* */
	uint64_t slba, blocks, bytes;
	bool hdgst, ddgst;
	uint64_t now_ns;
};

struct fault_plan {
	uint32_t acts;	   /* FAULT_BITs; 0 = none, the rest is then unset */
	uint32_t hold_id;  /* rule that holds up the answer */
	uint64_t until_ns; /* how long */
	uint32_t stall_id; /* rule that stalls the connection */
	uint64_t stall_ns; /* 0 = until the rule is cleared */
	uint64_t random;
	uint16_t sc;   /* error, refuse; torn: 0 = success */
	uint8_t sides; /* stall */
	uint8_t want;  /* what is held up */
	bool is_rst, is_held;
	void (*bdev_done)(struct bdev_io *io);
	uint64_t blocks; /* torn */
	uint64_t shift;	 /* misdirect */
};

struct fault_set {
	atomic_uint active; /* rules that may still hit; 0: nobody looks */
	pthread_mutex_t lock;
	struct fault_rule *rules[TGT_FAULT_MAX]; /* owned, by age */
	unsigned count;
	uint32_t next_id;
	struct timer timer; /* control loop: end of rules, reminder */
	uint64_t remind_ns;
};

/* --- fault_text.c --- */
/* A rule with all defaults filled in, text and seed too. */
int fault_parse(const char *text, struct fault_rule *out, struct err *err);
const char *fault_kind_name(enum fault_kind kind);

/* --- fault.c --- */
void fault_set_init(struct fault_set *fs);
void fault_set_fini(struct fault_set *fs); /* takes zeroed */
/* The target stops: no more timer. */
void fault_set_stop(struct fault_set *fs, struct loop *loop);
/* Any thread. */
void fault_look(struct fault_set *fs, const struct fault_look *look,
		struct fault_plan *plan);
bool fault_is_set(struct fault_set *fs, uint32_t id, uint64_t now_ns);

static inline bool fault_is_on(const struct fault_set *fs)
{
	return unlikely(
		atomic_load_explicit(&fs->active, memory_order_relaxed) != 0);
}

#endif
