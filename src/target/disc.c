/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery: the log page 70h and the referrals in it.  The page is asked for
 * on the shard of an admin connection and made on the control loop, which has
 * the registry.  Invariant: it names exactly what the asking host may connect
 * to, and the generation counter grows whenever that may have changed for
 * anybody.
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
	struct tgt_req *req;
	uint8_t *page;
	size_t len, cap; /* cap 0: count only */
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

static void put(struct disc_job *job, const struct ident_disc *entry)
{
	if (job->cap)
		ident_disc_entry(entry, job->page + job->len);
	job->len += ENTRY_BYTES;
	ASSERT(!job->cap || job->len <= job->cap);
}

static void put_subsys(struct disc_job *job, const struct tgt_subsys *ss,
		       const struct tgt_listener *tl)
{
	const struct addr *addr = &tl->l.local;
	char host[ADDR_TEXT_LEN];

	addr_format_host(addr_is_any(addr) ? &job->req->conn->local : addr,
			 host);
	put(job, &(struct ident_disc){
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

		put(job, &(struct ident_disc){
				 .nqn = ref->nqn[0] ? ref->nqn : NVME_DISC_NQN,
				 .traddr = ref->traddr,
				 .port = ref->port,
				 .is_ipv6 = ref->is_ipv6,
				 .is_referral = true,
				 .is_secure = ref->is_secure,
			 });
	}
}

static void put_all(struct disc_job *job)
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

static void on_made(struct mbox_msg *msg)
{
	struct disc_job *job = container_of(msg, struct disc_job, msg);
	struct tgt_req *req = job->req;
	struct tgt_conn *conn = req->conn;

	conn->busy_count--;
	req->state = REQ_SENDING;
	if (job->page) {
		aer_read(req, AER_DISC_CHANGED);
		log_page_send(req, job->page, job->len);
	} else {
		req_complete(req, NVME_SC_INTERNAL);
	}
	free(job->page);
	free(job);
	if (conn->state == CONN_LIVE)
		aer_check(conn);
	conn_check(conn);
}

static void on_make(struct mbox_msg *msg)
{
	struct disc_job *job = container_of(msg, struct disc_job, msg);
	const struct tgt_conn *conn = job->req->conn;

	put_all(job); /* to know the length */
	job->page = calloc(1, job->len);
	if (job->page) {
		job->cap = job->len;
		put_all(job);
		ident_disc_header(conn->tgt->genctr,
				  (job->len - IDENT_LOG_HEADER) / ENTRY_BYTES,
				  job->page);
	}
	job->msg.run = on_made;
	loop_post(conn->shard->loop, &job->msg);
}

void disc_start(struct tgt_req *req)
{
	struct tgt_conn *conn = req->conn;
	struct disc_job *job = calloc(1, sizeof(*job));

	if (!job) {
		req_complete(req, NVME_SC_INTERNAL);
		return;
	}
	job->req = req;
	req->state = REQ_BUSY;
	conn->busy_count++;
	job->msg.run = on_make;
	loop_post(conn->tgt->opts.loop, &job->msg);
}
