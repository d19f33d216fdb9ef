/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Controllers: who is associated with which subsystem, keep-alive.  All
 * functions are the control loop's except where said.
 */
#ifndef TARGET_CTRL_H
#define TARGET_CTRL_H

#include "target/subsys.h"

/* Notices for the host, in the order in which they are sent; aer.c has their
 * numbers. */
enum aer_kind {
	AER_NS_CHANGED,
	AER_ANA_CHANGED,
	AER_DISC_CHANGED,
	AER_RESV,
	AER_KINDS
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
	struct list node;  /* ss->ctrls */
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
	struct resv_log resv_log;
	/* by nsid - 1, bits of the notification mask feature */
	_Atomic uint8_t resv_mask[TGT_NS_MAX];
	/* shard of the admin connection */
	uint32_t features[256]; /* by feature id, what Get Features answers */
	uint32_t temp_under;	/* the other temperature threshold */
	uint32_t aer_masked;	/* bits by aer_kind: until the page is read */
	/* set by the control loop, taken by that shard */
	_Atomic uint32_t aer_due;		   /* bits by aer_kind */
	_Atomic uint64_t changed[TGT_NS_MAX / 64]; /* by nsid - 1 */
};

/* The connection's Connect, checked as far as it can be without the registry:
 * sets conn->ctrl, or the status and result of the completion. */
void ctrl_attach(struct tgt_conn *conn);
/* The connection has closed; drops the controller with the last one. */
void ctrl_detach(struct tgt_conn *conn);
/* Ends its connections; what is under way may finish for ms. */
void ctrl_kill(struct tgt_ctrl *ctrl);
void ctrl_kill_within(struct tgt_ctrl *ctrl, uint32_t ms);
/* Did all its connections come in where the subsystem may be reached? */
bool ctrl_is_reachable(const struct tgt_ctrl *ctrl);
/* The host is to hear of it, if it wants to. */
void ctrl_notify(struct tgt_ctrl *ctrl, enum aer_kind kind);
/* Tells every controller of ss about a change in its namespace nsid, or in an
 * ANA state. */
void ctrl_announce_ns(struct tgt_subsys *ss, uint32_t nsid);
void ctrl_announce_ana(struct tgt_subsys *ss);
/* A reservation's change, for the log of every controller of that host. */
void ctrl_note_resv(struct tgt_subsys *ss, uint32_t nsid,
		    const struct resv_note *note);
/* Any thread: a keep-alive time-out as it is kept, in steps of 100 ms (KAS). */
static inline uint32_t ctrl_kato(uint32_t ms)
{
	return (MIN(ms, UINT32_MAX - 99) + 99) / 100 * 100;
}
/* Shard's thread: the host has been heard. */
static inline void ctrl_heard(struct tgt_ctrl *ctrl, uint64_t now)
{
	uint64_t last =
		atomic_load_explicit(&ctrl->last_ns, memory_order_relaxed);

	/* Coarse, so that queues on other cores don't fight for the line. */
	if (now > last && now - last > 5 * 1000 * 1000)
		atomic_store_explicit(&ctrl->last_ns, now,
				      memory_order_relaxed);
}

#endif
