/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machine of a mount, on the metadata shard; vol's workers do the
 * I/O and post the result.  Invariant: a disk is written to only after it was
 * found empty, ours, or its loss was asked for by force, and never while it is
 * mounted.
 */
#include "master/mount_nof.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "master/nof_judge.h"
#include "master/release.h"
#include "master/reply.h"
#include "master/watch.h"

#define MOUNT_NS	 (15 * NS_PER_S)
#define IO_TIMEOUT_MS	 5000
#define RETRY_NS	 (200 * NS_PER_MS)
#define ANSWER_MARGIN_NS (200 * NS_PER_MS)

enum mount_step {
	MOUNT_PROBING,
	MOUNT_WAITING, /* another mount writes to the same disk */
	MOUNT_LABELING,
};

/* In the request's arena, which lives until the answer. */
struct nof_mount {
	struct list node; /* service.mounts */
	struct service *svc;
	struct rpc_req *req;
	const Mc__MountReq *msg;
	enum mount_step step;
	struct mbox_msg mail;
	struct timer retry;
	struct vol_probe probe;
	struct vol_label label;
	struct nof_found found;
	unsigned path;	   /* being probed */
	uint64_t since_ns; /* when the first of them was */
	uint64_t deadline_ns;
};

/* Upstream tells a namespace that comes again from one that is new. */
static void count(struct nof_mount *m, size_t failed)
{
	struct stats *st = &m->svc->core->stats;

	stats_op(st, OP_MOUNT_NOF, 1, failed);
	if (nof_is_ours(&m->found))
		stats_op(st, OP_REMOUNT_NOF, 1, failed);
}

static void answer(struct nof_mount *m, struct segment *seg, bool already)
{
	Mc__MountRsp rsp = MC__MOUNT_RSP__INIT;

	list_del(&m->node);
	count(m, 0);
	if (seg->is_draining) {
		segment_set_draining(m->svc->core, seg, false);
		log_info("segment does not drain any more", "segment=\"%s\"",
			 seg->name);
		rsp.undrained = true;
	}
	rsp.segment = reply_segment(&m->req->arena, seg);
	rsp.already = already && !m->found.is_taken_over;
	rsp.taken_over = m->found.is_taken_over;
	service_reply(m->svc, m->req, 0, &rsp.base);
}

static void fail(struct nof_mount *m, enum mooncake_status st,
		 const struct err *err)
{
	Mc__MountRsp rsp = MC__MOUNT_RSP__INIT;
	char text[sizeof(err->text)];

	list_del(&m->node);
	snprintf(text, sizeof(text), "%s", err->text);
	log_warn("nof segment refused", "endpoint=\"%s\": %s",
		 m->found.paths[0], text);
	count(m, 1);
	rsp.status = st;
	rsp.error = text;
	service_reply(m->svc, m->req, 0, &rsp.base);
}

/* Milliseconds for the next I/O; 0 = none left. */
static uint32_t time_left(const struct nof_mount *m)
{
	uint64_t now_ns = m->svc->core->now_ns;

	if (m->svc->is_stopping || now_ns + ANSWER_MARGIN_NS >= m->deadline_ns)
		return 0;
	return (uint32_t)MIN(
		(m->deadline_ns - ANSWER_MARGIN_NS - now_ns) / NS_PER_MS + 1,
		(uint64_t)IO_TIMEOUT_MS);
}

static void fail_late(struct nof_mount *m)
{
	struct err err = {0};

	if (m->svc->is_stopping)
		err_set(&err, -ECANCELED, "the master is being stopped");
	else
		err_set(&err, -ETIMEDOUT,
			"no time left to look at %s; try again",
			m->found.paths[0]);
	fail(m, MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS, &err);
}

static void probe_done(struct vol_probe *probe)
{
	struct nof_mount *m = container_of(probe, struct nof_mount, probe);

	loop_post(m->svc->loop, &m->mail);
}

static void label_done(struct vol_label *label)
{
	struct nof_mount *m = container_of(label, struct nof_mount, label);

	loop_post(m->svc->loop, &m->mail);
}

static void probe_next(struct nof_mount *m)
{
	uint32_t timeout_ms = time_left(m);

	m->step = MOUNT_PROBING;
	if (m->path == 0)
		m->since_ns = m->svc->core->now_ns;
	if (!timeout_ms) {
		fail_late(m);
		return;
	}
	m->probe = (struct vol_probe){
		.done = probe_done,
		.timeout_ms = timeout_ms,
		.want_smart = true,
		.want_owner = true,
		.key = m->svc->opts.owner_key,
	};
	snprintf(m->probe.endpoint, sizeof(m->probe.endpoint), "%s",
		 m->found.paths[m->path]);
	m->svc->vol_ops++;
	vol_probe_submit(m->svc->vols, &m->probe);
}

static void label_submit(struct nof_mount *m)
{
	uint32_t timeout_ms = time_left(m);

	if (!timeout_ms) {
		fail_late(m);
		return;
	}
	m->step = MOUNT_LABELING;
	m->label = (struct vol_label){
		.done = label_done,
		.timeout_ms = timeout_ms,
		.sb = m->found.sb,
	};
	claim_set(m->svc, &m->found.owner,
		  m->msg->force ? CLAIM_ALL : CLAIM_CLUSTER, &m->label);
	snprintf(m->label.endpoint, sizeof(m->label.endpoint), "%s",
		 m->found.paths[0]);
	m->svc->vol_ops++;
	vol_label_submit(m->svc->vols, &m->label);
}

/* Somebody else labels the same namespace right now, or what may be it; or it
 * is not given back yet: what is claimed before that would go with it. */
static bool is_contended(const struct nof_mount *m)
{
	const struct core *core = m->svc->core;
	uint64_t until_ns = release_until(m->svc, &m->found);
	struct nof_mount *other;

	if ((until_ns && until_ns <= core->now_ns) ||
	    nof_is_going(core, &m->found))
		return true;
	list_for_each (other, &m->svc->mounts, node)
		if (other != m && other->step == MOUNT_LABELING &&
		    nof_may_be_same(&other->found, &m->found))
			return true;
	return false;
}

/* What was found is not true any more, or soon won't be: another mount has
 * labelled the namespace meanwhile, or is about to.  Its outcome is awaited
 * within the deadline, for a judgement over the past would call the disk
 * wiped, or label it a second time. */
static bool look_again(struct nof_mount *m)
{
	if (is_contended(m)) {
		m->step = MOUNT_WAITING;
		timer_set(m->svc->loop, &m->retry, RETRY_NS);
		return true;
	}
	if (!nof_is_outdated(m->svc->core, &m->found, m->since_ns))
		return false;
	m->path = 0;
	probe_next(m);
	return true;
}

static bool has_wanted_size(const struct nof_mount *m, struct err *err)
{
	uint64_t want = m->msg->segment->size;

	if (!want || want == m->found.ns_bytes)
		return true;
	err_set(err, -EINVAL, "%s has %llu bytes, not %llu as was said",
		m->found.paths[0], (unsigned long long)m->found.ns_bytes,
		(unsigned long long)want);
	return false;
}

static void decide(struct nof_mount *m)
{
	struct service *svc = m->svc;
	struct segment *seg = NULL;
	struct err err = {0};
	enum mooncake_status st;

	if (!has_wanted_size(m, &err)) {
		fail(m, MOONCAKE_INVALID_PARAMS, &err);
		return;
	}
	m->found.until_ns = release_until(svc, &m->found);
	st = nof_judge(svc->core, &m->found, m->msg->force, &seg, &err);
	if (st != MOONCAKE_OK) {
		fail(m, st, &err);
		return;
	}
	if (seg) {
		watch_now(seg);
		answer(m, seg, true);
		return;
	}
	label_submit(m);
}

static void probed(struct nof_mount *m)
{
	struct err err = {0};
	enum mooncake_status st =
		nof_found_path(&m->found, m->path, &m->probe, &err);

	if (st != MOONCAKE_OK && m->path == 0) {
		fail(m, st, &err);
	} else if (st == MOONCAKE_OK && ++m->path < m->found.path_count) {
		probe_next(m);
	} else if (look_again(m)) {
		return;
	} else if (st != MOONCAKE_OK) {
		fail(m, st, &err);
	} else {
		decide(m);
	}
}

static void label_failed(struct nof_mount *m)
{
	struct err err = {0};

	if (m->label.ret == -EBUSY && !m->msg->force)
		err_set(&err, -EBUSY, "%s; --force takes it over",
			m->label.err.text);
	else
		err_set(&err, m->label.ret,
			"cannot write the superblock of %s: %s",
			m->found.paths[0], m->label.err.text);
	release_label(m->svc, &m->found, &m->label);
	fail(m, MOONCAKE_TRANSFER_FAIL, &err);
}

static void labeled(struct nof_mount *m)
{
	struct service *svc = m->svc;
	struct segment *seg;
	struct err err = {0};

	if (m->label.ret < 0) {
		label_failed(m);
		return;
	}
	m->found.owner = m->label.owner;
	m->found.key = m->label.owner.hold == HOLD_OURS ? m->label.key : 0;
	if (nof_add_segment(svc->core, &m->found, &seg, &err) < 0) {
		release_label(svc, &m->found, &m->label);
		fail(m, MOONCAKE_INTERNAL_ERROR, &err);
		return;
	}
	seg->claimed = m->label.may_hold ? m->label.key : 0;
	if (watch_start(svc, seg) < 0) {
		segment_start_unmount(svc->core, seg);
		service_reap(svc);
		err_set(&err, -ENOMEM, "out of memory");
		fail(m, MOONCAKE_INTERNAL_ERROR, &err);
		return;
	}
	log_info("nof segment mounted",
		 "segment=\"%s\" bytes=%llu epoch=%llu identity=%s %s",
		 seg->name, (unsigned long long)seg->size,
		 (unsigned long long)seg->epoch, seg->identity, seg->message);
	answer(m, seg, false);
}

static void mail_run(struct mbox_msg *msg)
{
	struct nof_mount *m = container_of(msg, struct nof_mount, mail);
	struct service *svc = m->svc;

	service_enter(svc);
	if (svc->is_stopping && m->step == MOUNT_LABELING)
		release_label(svc, &m->found, &m->label);
	if (svc->is_stopping)
		fail_late(m);
	else if (m->step == MOUNT_PROBING)
		probed(m);
	else
		labeled(m);
	service_vol_op_done(svc);
}

static void retry_fire(struct timer *timer)
{
	struct nof_mount *m = container_of(timer, struct nof_mount, retry);

	service_enter(m->svc);
	m->path = 0;
	probe_next(m);
}

void nof_mount_start(struct service *svc, struct rpc_req *req)
{
	struct nof_mount *m = arena_alloc(&req->arena, sizeof(*m));
	struct err err = {0};

	if (!m) {
		service_refuse(req, MOONCAKE_INTERNAL_ERROR);
		return;
	}
	m->svc = svc;
	m->req = req;
	m->msg = (const Mc__MountReq *)req->body;
	m->mail.run = mail_run;
	m->retry.fire = retry_fire;
	m->deadline_ns = MIN(svc->core->now_ns + MOUNT_NS, req->deadline_ns);
	list_add_tail(&svc->mounts, &m->node);
	if (!svc->vols) {
		err_set(&err, -ENOTSUP, "this master has no NVMe-oF pool");
		fail(m, MOONCAKE_UNAVAILABLE_IN_CURRENT_MODE, &err);
		return;
	}
	if (nof_found_init(&m->found, svc->opts.cluster_id,
			   m->msg->segment->endpoints,
			   m->msg->segment->n_endpoints, &err) < 0) {
		fail(m, MOONCAKE_INVALID_PARAMS, &err);
		return;
	}
	probe_next(m);
}

void nof_mounts_abort(struct service *svc)
{
	struct nof_mount *m, *tmp;

	list_for_each_safe (m, tmp, &svc->mounts, node) {
		if (m->step != MOUNT_WAITING)
			continue;
		timer_cancel(svc->loop, &m->retry);
		fail_late(m);
	}
}
