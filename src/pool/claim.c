/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claim: what a visit changes: who holds the namespace, and its superblock.
 *
 * Control thread.  Register, preempt whom the claim allows to be preempted,
 * acquire, then write; each of them again is harmless, so a claim that was
 * interrupted is made once more from its beginning.  Invariant: nothing is
 * written with a claim while the target says that somebody else holds the
 * namespace, and may_hold is true as long as the key may be registered.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "pool/visit.h"

#define TRIES_MAX 3 /* others may be at it at the same time */

/* --- the superblock --- */

static uint16_t sc_of(const struct visit *v)
{
	return v->resv.sc & NVME_SC_MASK;
}

/* A conflict: it was not registered. */
static bool is_given_back(struct visit *v)
{
	uint16_t sc = sc_of(v);

	if (sc == NVME_SC_OK || sc == NVME_SC_RESV_CONFLICT)
		return true;
	visit_fail(v, nvme_sc_errno(sc), nvme_sc_text(sc));
	return false;
}

static void give_back(struct visit *v, uint64_t key,
		      void (*next)(struct visit *v))
{
	v->resv.op = NVMF_RESV_UNREGISTER;
	v->resv.key = key;
	v->resv.other_key = 0;
	visit_resv(v, "give the namespace back", next);
}

static void label_given_back(struct visit *v)
{
	if (!is_given_back(v))
		return;
	v->label->may_hold = false;
	v->label->owner = (struct vol_owner){.hold = HOLD_FREE};
	visit_close(v);
}

static void label_read_done(struct visit *v)
{
	if (memcmp(v->head, v->tail, v->io.bytes)) {
		visit_fail(v, -EIO,
			   "what was written does not come back: the medium is "
			   "broken or somebody else writes to it");
		return;
	}
	if (v->label->is_for_once && v->label->may_hold)
		give_back(v, v->label->key, label_given_back);
	else
		visit_close(v);
}

static void label_flush_done(struct visit *v)
{
	visit_io(v, &(struct visit_io){
			    .step = "read the superblock back",
			    .op = NVMF_READ,
			    .bytes = MAX(v->ns.lba_bytes, (uint32_t)SB_BYTES),
			    .buf = v->tail,
			    .next = label_read_done,
		    });
}

static void label_write_done(struct visit *v)
{
	visit_io(v, &(struct visit_io){
			    .step = "flush",
			    .op = NVMF_FLUSH,
			    .next = label_flush_done,
		    });
}

static void write_superblock(struct visit *v)
{
	uint64_t sb_bytes = MAX(v->ns.lba_bytes, (uint32_t)SB_BYTES);

	memset(v->head, 0, sb_bytes);
	sb_encode(&v->label->sb, v->head);
	visit_io(v, &(struct visit_io){
			    .step = "write the superblock",
			    .op = NVMF_WRITE,
			    .bytes = sb_bytes,
			    .buf = v->head,
			    .next = label_write_done,
		    });
}

/* --- who holds it --- */

/* It has the commands, but not this one, or no room: as without them. */
static bool is_unable(uint16_t sc)
{
	return sc == NVME_SC_BAD_OPCODE || sc == NVME_SC_BAD_FIELD ||
	       sc == NVME_SC_CAP_EXCEEDED || sc == NVME_SC_BAD_HOSTID_FORMAT;
}

/* True when the step was done; else the visit goes on, or ends, elsewhere. */
static bool step_is_done(struct visit *v)
{
	uint16_t sc = sc_of(v);

	if (sc == NVME_SC_OK)
		return true;
	if (is_unable(sc)) {
		log_warn("reservations do not work there: the superblock alone "
			 "tells who owns it",
			 "endpoint=\"%s\" step=\"%s\" status=\"%s\"",
			 v->label->endpoint, v->step, nvme_sc_text(sc));
		write_superblock(v);
	} else {
		visit_fail(v, nvme_sc_errno(sc), nvme_sc_text(sc));
	}
	return false;
}

static bool may_take_from(const struct visit *v, uint64_t key)
{
	switch (v->label->claim) {
	case CLAIM_ALL:
		return true;
	case CLAIM_CLUSTER:
		return owner_key_is_alike(key, v->label->key);
	default:
		return false;
	}
}

static void claim_ask(struct visit *v);

static void refuse(struct visit *v)
{
	char text[OWNER_TEXT_LEN], why[256];

	if (v->label->owner.hold != HOLD_OTHER) {
		visit_fail(v, -EBUSY,
			   "the target refused it for a reservation that is "
			   "over by now: try again");
		return;
	}
	owner_text(&v->label->owner, text);
	snprintf(why, sizeof(why),
		 "the namespace is reserved by another owner, %s: one cluster "
		 "alone may write to it",
		 text);
	visit_fail(v, -EBUSY, why);
}

static void acquired(struct visit *v)
{
	if (sc_of(v) == NVME_SC_RESV_CONFLICT) {
		if (++v->tries < TRIES_MAX)
			claim_ask(v);
		else
			visit_conflict(v);
	} else if (step_is_done(v)) {
		v->label->owner = (struct vol_owner){
			.hold = HOLD_OURS,
			.key = v->label->key,
			.is_persistent = v->resv.is_persistent,
		};
		memcpy(v->label->owner.host, v->opts.host.id,
		       sizeof(v->label->owner.host));
		write_superblock(v);
	}
}

/* The next one of the report that has to go. */
static bool next_other(struct visit *v, uint64_t *key)
{
	const struct nvmf_resv_report *r = &v->report;

	while (v->next_host < r->count) {
		const struct nvmf_resv_host *host = &r->hosts[v->next_host++];

		*key = host->key;
		/* Who has no part in it can't write anyway. */
		if (*key != v->label->key && may_take_from(v, *key) &&
		    (host->is_holder ||
		     owner_key_is_alike(*key, v->label->key)))
			return true;
	}
	return false;
}

static bool is_held_by_all(const struct nvmf_resv_report *r)
{
	return r->type == NVME_RESERVATION_RTYPE_WEAR ||
	       r->type == NVME_RESERVATION_RTYPE_EAAR;
}

static void expel(struct visit *v);

static void expelled(struct visit *v)
{
	/* Gone by now, or it had the key of one before. */
	if (sc_of(v) == NVME_SC_RESV_CONFLICT || step_is_done(v))
		expel(v);
}

static void expel(struct visit *v)
{
	uint64_t other = 0;

	v->resv.type = OWNER_TYPE;
	if (!next_other(v, &other)) {
		v->resv.op = NVMF_RESV_ACQUIRE;
		v->resv.other_key = 0;
		visit_resv(v, "reserve the namespace", acquired);
		return;
	}
	if (is_held_by_all(&v->report)) {
		other = 0; /* all others at once, by its definition */
		v->next_host = v->report.count;
	}
	v->resv.op = NVMF_RESV_PREEMPT;
	v->resv.other_key = other;
	visit_resv(v, "take the namespace over", expelled);
}

static void registered(struct visit *v)
{
	uint16_t sc = sc_of(v);

	/* After anything else it may have been done: a lost connection. */
	if (sc == NVME_SC_RESV_CONFLICT || is_unable(sc))
		v->label->may_hold = false;
	if (step_is_done(v))
		expel(v);
}

static void asked(struct visit *v)
{
	struct vol_owner *owner = &v->label->owner;

	if (!step_is_done(v))
		return;
	v->report = v->resv.report;
	v->next_host = 0;
	owner_judge(&v->report, v->label->key, owner);
	if (owner->hold == HOLD_OTHER && !may_take_from(v, owner->key)) {
		refuse(v);
		return;
	}
	v->resv.op = NVMF_RESV_REGISTER;
	v->resv.key = v->label->key;
	v->resv.is_persistent = v->ns.reservations & NVME_NS_RESCAP_PTPL;
	v->label->may_hold = true;
	visit_resv(v, "register as an owner", registered);
}

static void ask(struct visit *v, void (*next)(struct visit *v))
{
	v->resv.op = NVMF_RESV_REPORT;
	visit_resv(v, "ask who holds the namespace", next);
}

static void claim_ask(struct visit *v)
{
	ask(v, asked);
}

/* There is no claim, or it was lost meanwhile: to whom? */
static void conflict_asked(struct visit *v)
{
	v->label->owner = (struct vol_owner){0};
	if (sc_of(v) == NVME_SC_OK)
		owner_judge(&v->resv.report, v->label->key, &v->label->owner);
	refuse(v);
}

void visit_conflict(struct visit *v)
{
	ask(v, conflict_asked);
}

static void label_begin(struct visit *v)
{
	if (v->label->claim && owner_can_hold(nvmf_ctrl_info(v->ctrl), &v->ns))
		claim_ask(v);
	else
		write_superblock(v);
}

static void label_seen(struct visit *v)
{
	struct superblock sb = {0};
	struct err err = {0};

	if (sb_decode(v->head, &sb, &err) == 0 &&
	    uuid_eq(&sb.segment, &v->label->sb.segment) &&
	    sb.epoch == v->label->seen_epoch) {
		label_begin(v);
		return;
	}
	if (!err.code)
		err_set(&err, -ESTALE,
			"it has epoch %llu, it had %llu: another master has "
			"written it meanwhile",
			(unsigned long long)sb.epoch,
			(unsigned long long)v->label->seen_epoch);
	visit_fail(v, -ESTALE, err.text);
}

/* Between the look that was judged and this one others may have come; between
 * this one and the write there is nothing that waits. */
void visit_label(struct visit *v)
{
	if (!v->label->seen_epoch) {
		label_begin(v);
		return;
	}
	visit_io(v, &(struct visit_io){
			    .step = "look at the superblock again",
			    .op = NVMF_READ,
			    .bytes = MAX(v->ns.lba_bytes, (uint32_t)SB_BYTES),
			    .buf = v->head,
			    .next = label_seen,
		    });
}

static void released(struct visit *v)
{
	if (is_given_back(v))
		visit_close(v);
}

void visit_release(struct visit *v)
{
	if (owner_can_hold(nvmf_ctrl_info(v->ctrl), &v->ns))
		give_back(v, v->release->key, released);
	else
		visit_close(v);
}
