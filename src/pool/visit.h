/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a visit: a connection of its own to one namespace.  visit_open.c
 * connects, visit.c looks and ends; look.c reads what is asked for; claim.c
 * does what changes something there.
 */
#ifndef POOL_VISIT_H
#define POOL_VISIT_H

#include "nvmf/resv.h"
#include "pool/set.h"

struct visit {
	struct vol_set *set;
	struct vol_probe *probe; /* one of the three */
	struct vol_label *label;
	struct vol_release *release;
	struct timer timer;
	struct endpoint ep;
	struct nvmf_opts opts;
	struct resolve *resolve;
	struct nvmf_ctrl *ctrl;
	struct nvmf_qp *qp;
	struct nvmf_ns_info ns;
	struct nvmf_io io;
	struct iovec iov;
	void (*io_next)(struct visit *v);
	const char *step; /* for people: what it is doing */
	uint8_t *head, *tail;
	uint64_t head_bytes, tail_bytes;
	uint64_t start_ns;
	struct err err;
	int ret;
	bool is_closing, is_qp_closing, is_ctrl_closing;
	bool has_new_keys;	     /* read since it was begun */
	bool is_io, is_ns, is_smart; /* under way */
	bool may_lose;		     /* visit_io */
	/* look.c */
	unsigned range; /* of the probe */
	uint64_t range_at;
	/* claim.c */
	struct nvmf_resv resv;
	struct nvmf_resv_report report;
	unsigned next_host; /* of report, to be looked at */
	unsigned tries;
};

/* From the visit's steps: what comes next is next(), unless it fails. */
struct visit_io {
	const char *step;
	enum nvmf_io_op op;
	uint64_t off, bytes;
	void *buf;
	void (*next)(struct visit *v);
	bool may_lose; /* a medium error is next()'s to judge, in v->io.sc */
};
void visit_io(struct visit *v, const struct visit_io *r);
/* v->resv has op and keys; next() judges resv.sc itself. */
void visit_resv(struct visit *v, const char *step,
		void (*next)(struct visit *v));
/* The text is in v->err already, or is made of the step's name. */
void visit_fail(struct visit *v, int code, const char *why);
/* The visit has done what it was for, or failed. */
void visit_close(struct visit *v);

/* visit_open.c: goes there; key 0: as the host that we are; ms 0: a default. */
void visit_open(struct visit *v, const char *endpoint, uint64_t key,
		uint32_t ms);

/* visit.c: the queue pair is live. */
void visit_probe(struct visit *v);

/* look.c: the superblock has been read; the probe's ranges, then the end. */
void visit_look(struct visit *v);

/* claim.c: the queue pair is live. */
void visit_label(struct visit *v);
void visit_release(struct visit *v);
/* A label's I/O was refused for somebody's reservation. */
void visit_conflict(struct visit *v);

#endif
