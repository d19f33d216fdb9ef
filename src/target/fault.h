/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault filters: rules that make a target behave like a broken one, for
 * operators' drills and for tests.  A rule says which commands it is for (op,
 * nsid, nqn, host, qid, lba), when (every, p, after, after_bytes, count, for)
 * and what happens (kind and its values):
 *
 *	kind=delay,op=read,nsid=1,ms=50,every=100
 *
 * What a rule does depends on its seed and on the order of the commands it is
 * for, on nothing else.  Calls are made on the control loop or before it runs.
 * No rule exists unless somebody has set one, and the log says so every minute.
 */
#ifndef TARGET_FAULT_H
#define TARGET_FAULT_H

#include "base/err.h"

struct tgt;

#define TGT_FAULT_MAX 32

/* 0 and the id of the rule, or -EINVAL with a sentence, -ENOSPC, -ENOMEM. */
int tgt_fault_set(struct tgt *tgt, const char *text, uint32_t *id,
		  struct err *err);
/* id 0: all.  How many were cleared; what they held up goes on. */
unsigned tgt_fault_clear(struct tgt *tgt, uint32_t id);

struct tgt_fault_info {
	uint32_t id;
	const char *text; /* as it was set */
	uint64_t seed;
	uint64_t seen;	   /* commands the rule is for */
	uint64_t injected; /* those it hit */
	uint64_t left_ms;  /* until it ends by itself, 0 = no such end */
	bool is_active;	   /* false: count or time is used up */
};
typedef void (*tgt_fault_fn)(const struct tgt_fault_info *info, void *arg);
/* In the order in which they were set. */
void tgt_fault_list(struct tgt *tgt, tgt_fault_fn fn, void *arg);

#endif
