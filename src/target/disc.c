/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery: the log page 70h and the referrals in it.  The page is asked for
 * on the shard of an admin connection; the piece of it that was asked for is
 * made on the control loop, which has the registry, and nothing else of it.
 * Invariant: it names exactly what the asking host may connect to; all of a
 * piece is of one generation; and the generation counter grows whenever any
 * page may have changed, so that a host that reads the header before and after
 * knows whether its pieces belong together.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/conn.h"
#include "target/ident.h"

#define ENTRY_BYTES 1024

/* From the shard to the control loop and back. */
struct disc_job {
	struct mbox_msg msg;
	struct tgt_req *req; /* its data: the piece */
	uint64_t off, end;   /* of the piece in the page */
	uint64_t len;	     /* of the page, so far */
};

void disc_changed(struct tgt *tgt)
{
	struct tgt_subsys *disc = tgt->subsys[0];
	struct tgt_ctrl *ctrl;

	tgt->genctr++;
	list_for_each (ctrl, &disc->ctrls, node)
		ctrl_notify(ctrl, AER_DISC_CHANGED);
}

/* --- referrals --- */

static bool referral_eq(const struct tgt_referral *a,
			const struct tgt_referral *b)
{
	return !strcmp(a->traddr, b->traddr) && a->port == b->port &&
	       !strcmp(a->nqn, b->nqn);
}

static unsigned referral_find(const struct tgt *tgt,
			      const struct tgt_referral *ref)
{
	unsigned i = 0;

	while (i < tgt->referral_count && !referral_eq(&tgt->referrals[i], ref))
		i++;
	return i;
}

int tgt_referral_add(struct tgt *tgt, const struct tgt_referral *ref,
		     struct err *err)
{
	if (referral_find(tgt, ref) < tgt->referral_count)
		return err_set(err, -EEXIST,
			       "%s port %u is referred to already", ref->traddr,
			       ref->port);
	if (tgt->referral_count == TGT_REFERRAL_MAX)
		return err_set(err, -ENOSPC, "more than %d referrals",
			       TGT_REFERRAL_MAX);
	tgt->referrals[tgt->referral_count++] = *ref;
	disc_changed(tgt);
	return 0;
}

int tgt_referral_remove(struct tgt *tgt, const struct tgt_referral *ref,
			struct err *err)
{
	unsigned i = referral_find(tgt, ref);

	if (i == tgt->referral_count)
		return err_set(err, -ENOENT, "no referral to %s port %u",
			       ref->traddr, ref->port);
	tgt->referral_count--;
	memmove(&tgt->referrals[i], &tgt->referrals[i + 1],
		(tgt->referral_count - i) * sizeof(tgt->referrals[0]));
	disc_changed(tgt);
	return 0;
}

const struct tgt_referral *tgt_referral_at(const struct tgt *tgt,
					   unsigned index)
{
	return index < tgt->referral_count ? &tgt->referrals[index] : NULL;
}

/* --- the page, control loop --- */

/* What of the next n bytes lies in the piece goes there. */
static void put(struct disc_job *job, const uint8_t *bytes, size_t n)
{
	uint64_t from = MAX(job->off, job->len);
	uint64_t to = MIN(job->end, job->len + n);

	if (from < to)
		memcpy(job->req->data + (from - job->off),
		       bytes + (from - job->len), to - from);
	job->len += n;
}

/* The next entry is not in the piece: it only counts. */
static bool is_elsewhere(struct disc_job *job)
{
	if (job->len < job->end && job->len + ENTRY_BYTES > job->off)
		return false;
	job->len += ENTRY_BYTES;
	return true;
}

static void put_entry(struct disc_job *job, const struct ident_disc *entry)
{
	uint8_t raw[ENTRY_BYTES];

	ident_disc_entry(entry, raw);
	put(job, raw, sizeof(raw));
}

static void put_subsys(struct disc_job *job, const struct tgt_subsys *ss,
		       const struct tgt_listener *tl)
{
	const struct addr *addr = &tl->l.local;
	char host[ADDR_TEXT_LEN];

	if (is_elsewhere(job))
		return;
	addr_format_host(addr_is_any(addr) ? &job->req->conn->local : addr,
			 host);
	put_entry(job, &(struct ident_disc){
			       .nqn = ss->nqn,
			       .traddr = host,
			       .port = addr_port(addr),
			       .port_id = (uint16_t)tl->id,
			       .is_ipv6 = strchr(host, ':') != NULL,
			       .is_secure = tl->is_tls,
		       });
}

static void put_referrals(struct disc_job *job)
{
	const struct tgt *tgt = job->req->conn->tgt;

	for (unsigned i = 0; i < tgt->referral_count; i++) {
		const struct tgt_referral *ref = &tgt->referrals[i];

		if (is_elsewhere(job))
			continue;
		put_entry(job,
			  &(struct ident_disc){
				  .nqn = ref->nqn[0] ? ref->nqn : NVME_DISC_NQN,
				  .traddr = ref->traddr,
				  .port = ref->port,
				  .is_ipv6 = ref->is_ipv6,
				  .is_referral = true,
				  .is_secure = ref->is_secure,
			  });
	}
}

static void put_entries(struct disc_job *job)
{
	const struct tgt_conn *conn = job->req->conn;
	struct tgt *tgt = conn->tgt;
	struct tgt_subsys *ss = tgt->subsys[0];

	job->len = IDENT_LOG_HEADER;
	if (tgt->is_draining || tgt->is_stopping)
		return;
	while ((ss = tgt_subsys_next(tgt, ss))) {
		if (!subsys_allows(ss, conn->ctrl->hostnqn))
			continue;
		for (unsigned i = 0; i < TGT_LISTENER_MAX; i++) {
			const struct tgt_listener *tl = tgt->listeners[i];

			if (tl && !tl->is_closing &&
			    subsys_is_reachable(ss, tl))
				put_subsys(job, ss, tl);
		}
	}
	put_referrals(job);
}

/* When it is known how many there are. */
static void put_header(struct disc_job *job)
{
	uint64_t count = (job->len - IDENT_LOG_HEADER) / ENTRY_BYTES;
	uint64_t page_len = job->len;
	uint8_t raw[IDENT_LOG_HEADER];

	ident_disc_header(job->req->conn->tgt->genctr, count, raw);
	job->len = 0;
	put(job, raw, sizeof(raw));
	job->len = page_len;
}

static void on_made(struct mbox_msg *msg)
{
	struct disc_job *job = container_of(msg, struct disc_job, msg);
	struct tgt_req *req = job->req;
	struct tgt_conn *conn = req->conn;

	conn->busy_count--;
	req->state = REQ_SENDING;
	aer_read(req, AER_DISC_CHANGED);
	if (job->off > job->len)
		req_complete(req, NVME_SC_BAD_FIELD | NVME_SC_DNR);
	else
		req_complete_data(req);
	free(job);
	if (conn->state == CONN_LIVE)
		aer_check(conn);
	conn_check(conn);
}

static void on_make(struct mbox_msg *msg)
{
	struct disc_job *job = container_of(msg, struct disc_job, msg);

	put_entries(job);
	put_header(job);
	job->msg.run = on_made;
	loop_post(job->req->conn->shard->loop, &job->msg);
}

void disc_start(struct tgt_req *req, uint64_t off, uint32_t len)
{
	struct tgt_conn *conn = req->conn;
	struct disc_job *job;

	if (!admin_data(req, len))
		return;
	job = malloc(sizeof(*job));
	if (!job) {
		req_complete(req, NVME_SC_INTERNAL);
		return;
	}
	/* An offset near the end of the numbers has no end. */
	*job = (struct disc_job){
		.msg.run = on_make,
		.req = req,
		.off = off,
		.end = off > UINT64_MAX - len ? UINT64_MAX : off + len,
	};
	req->state = REQ_BUSY;
	conn->busy_count++;
	loop_post(conn->tgt->opts.loop, &job->msg);
}
