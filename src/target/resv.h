/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reservations of a namespace (Base 2.0 section 8.19): which hosts are
 * registered, who holds a reservation, and what follows for reads and writes.
 * A state machine of plain values, without I/O.
 *
 * Changes are made by one thread (the control loop).  Any thread may ask what
 * a host may do; the answer holds as long as resv_version() does not change,
 * so that shards keep it and ask once.
 */
#ifndef TARGET_RESV_H
#define TARGET_RESV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/def.h"

#define RESV_HOST_MAX	  64 /* registrants of a namespace */
#define RESV_HOSTID_LEN	  16
#define RESV_REPORT_HEAD  64
#define RESV_REPORT_ENTRY 64
#define RESV_REPORT_MAX	  (RESV_REPORT_HEAD + RESV_HOST_MAX * RESV_REPORT_ENTRY)

/* What a namespace says it can (RESCAP): types 1 to 6; where somebody keeps
 * them, also that they outlive the target. */
#define RESV_CAPABILITIES 0xfe
#define RESV_CAP_PERSIST  0x01

enum resv_type {
	RESV_NONE,
	RESV_WRITE_EXCL,
	RESV_EXCL,
	RESV_WRITE_EXCL_REG, /* registrants only */
	RESV_EXCL_REG,
	RESV_WRITE_EXCL_ALL, /* every registrant holds it */
	RESV_EXCL_ALL,
	RESV_TYPES
};

enum { /* actions, as on the wire */
	RESV_REGISTER = 0,
	RESV_UNREGISTER = 1,
	RESV_REPLACE = 2,
	RESV_ACQUIRE = 0,
	RESV_PREEMPT = 1,
	RESV_PREEMPT_ABORT = 2,
	RESV_RELEASE = 0,
	RESV_CLEAR = 1,
};

enum resv_event { /* as in the notification log page */
	RESV_EVENT_REGISTRATION_PREEMPTED = 1,
	RESV_EVENT_RELEASED = 2,
	RESV_EVENT_PREEMPTED = 3,
};

struct resv_host {
	uint8_t id[RESV_HOSTID_LEN];
	uint64_t key;
};

struct resv {
	pthread_mutex_t lock; /* of what follows, for readers of other threads
			       */
	uint32_t gen;	      /* wraps, on the wire */
	uint8_t type;
	uint8_t holder[RESV_HOSTID_LEN]; /* unless every registrant is */
	unsigned count;
	struct resv_host hosts[RESV_HOST_MAX];
	bool is_persistent; /* PTPL: outlives the target */
	/* 0: no reservation, everybody may do everything.  Otherwise never the
	 * same twice in this process. */
	_Atomic uint64_t version;
};

/* What outlives the target. */
struct resv_state {
	uint32_t gen;
	uint8_t type;
	uint8_t holder[RESV_HOSTID_LEN];
	unsigned count;
	struct resv_host hosts[RESV_HOST_MAX];
};

/* What a command says.  Keys are those of its data. */
struct resv_cmd {
	const uint8_t *hostid;
	uint8_t action; /* RREGA, RACQA, RRELA */
	uint8_t type;	/* RTYPE */
	bool is_key_ignored;
	uint8_t persist;  /* CPTPL */
	bool can_persist; /* somebody keeps it */
	uint64_t key, other_key;
};

/* Whom to tell what. */
struct resv_note {
	uint8_t hostid[RESV_HOSTID_LEN];
	enum resv_event event;
};
struct resv_notes {
	unsigned count;
	struct resv_note notes[2 * RESV_HOST_MAX];
};

void resv_init(struct resv *r);
/* Each returns an NVMe status; notes is set in any case. */
uint16_t resv_register(struct resv *r, const struct resv_cmd *cmd,
		       struct resv_notes *notes);
uint16_t resv_acquire(struct resv *r, const struct resv_cmd *cmd,
		      struct resv_notes *notes);
uint16_t resv_release(struct resv *r, const struct resv_cmd *cmd,
		      struct resv_notes *notes);
void resv_persist_set(struct resv *r, bool is_persistent);
/* false: it is not to outlive the target. */
bool resv_state_get(struct resv *r, struct resv_state *out);
/* As it was before the target ended.  -EINVAL: no such state is possible;
 * -EEXIST: hosts have registered meanwhile. */
int resv_state_set(struct resv *r, const struct resv_state *in);
/* Status data structure with 128-bit host ids; out holds RESV_REPORT_MAX. */
size_t resv_report(struct resv *r, uint8_t *out);

/* --- any thread --- */
static inline uint64_t resv_version(const struct resv *r)
{
	return atomic_load_explicit(&r->version, memory_order_acquire);
}
bool resv_is_persistent(struct resv *r);
struct resv_rights {
	uint64_t version;
	bool may_read, may_write;
};
/* What a host may do, of which version that is true. */
struct resv_rights resv_rights(struct resv *r, const uint8_t *hostid);

#endif
