/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Visit: a connection of its own for one look at a namespace (vol_probe), for
 * writing its superblock (vol_label) or giving it back (vol_release).
 *
 * Control thread.  Invariant: the request's done is called once, when queue
 * pair and controller are closed and nothing points to the visit any more.
 * The first cause of a failure is the one that is told; visit_close() may be
 * called again from whatever the closing still completes.
 */
#include "pool/visit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"

static void visit_finish(struct visit *v)
{
	struct vol_set *set = v->set;
	struct vol_probe *probe = v->probe;
	struct vol_label *label = v->label;
	struct vol_release *release = v->release;
	struct err err = v->err;
	int ret = v->ret;

	free(v->head);
	free(v->tail);
	secret_clear(&v->opts, sizeof(v->opts));
	free(v);
	set->visits--;
	if (probe) {
		probe->ret = ret;
		probe->err = err;
		probe->done(probe);
	} else if (label) {
		label->ret = ret;
		label->err = err;
		label->done(label);
	} else {
		release->ret = ret;
		release->err = err;
		release->done(release);
	}
	set_maybe_closed(set);
}

static void qp_closed(void *arg)
{
	struct visit *v = arg;

	v->qp = NULL;
	visit_close(v);
}

static void ctrl_closed(void *arg)
{
	struct visit *v = arg;

	v->ctrl = NULL;
	visit_close(v);
}

void visit_close(struct visit *v)
{
	v->is_closing = true;
	timer_cancel(set_loop(v->set), &v->timer);
	if (v->resolve) {
		if (!resolve_cancel(v->resolve))
			return; /* visit_resolved() comes */
		v->resolve = NULL;
	}
	if (v->qp) {
		if (!v->is_qp_closing) {
			v->is_qp_closing = true;
			nvmf_qp_close(v->qp, qp_closed, v);
		}
		return;
	}
	if (v->ctrl) {
		if (!v->is_ctrl_closing) {
			v->is_ctrl_closing = true;
			nvmf_ctrl_close(v->ctrl, ctrl_closed, v);
		}
		return;
	}
	if (!v->is_io && !v->is_ns && !v->is_smart)
		visit_finish(v);
}

void visit_fail(struct visit *v, int code, const char *why)
{
	if (v->is_closing)
		return;
	if (v->is_smart) { /* nice to have */
		visit_close(v);
		return;
	}
	err_set(&v->err, code, "%s: %s", v->step, why);
	v->ret = code;
	visit_close(v);
}

/* --- I/O --- */

static void visit_io_done(struct nvmf_io *io)
{
	struct visit *v = container_of(io, struct visit, io);

	v->is_io = false;
	if (v->is_closing)
		visit_close(v);
	else if (io->sc == NVME_SC_OK ||
		 (v->may_lose && nvme_sc_errno(io->sc) == -ENODATA))
		v->io_next(v);
	else if (v->label && (io->sc & NVME_SC_MASK) == NVME_SC_RESV_CONFLICT)
		visit_conflict(v);
	else
		visit_fail(v, nvme_sc_errno(io->sc), nvme_sc_text(io->sc));
}

void visit_io(struct visit *v, const struct visit_io *r)
{
	v->step = r->step;
	v->io_next = r->next;
	v->may_lose = r->may_lose;
	v->iov = (struct iovec){r->buf, r->bytes};
	v->io = (struct nvmf_io){
		.done = visit_io_done,
		.op = r->op,
		.nsid = v->ns.nsid,
		.lba_bytes = v->ns.lba_bytes,
		.slba = r->off / v->ns.lba_bytes,
		.bytes = r->bytes,
		.iov = &v->iov,
		.iovcnt = r->bytes ? 1 : 0,
	};
	v->is_io = true;
	nvmf_io_submit(v->qp, &v->io);
}

static void visit_resv_done(struct nvmf_resv *resv)
{
	struct visit *v = container_of(resv, struct visit, resv);

	v->is_io = false;
	if (v->is_closing)
		visit_close(v);
	else
		v->io_next(v);
}

void visit_resv(struct visit *v, const char *step,
		void (*next)(struct visit *v))
{
	v->step = step;
	v->io_next = next;
	v->resv.done = visit_resv_done;
	v->resv.nsid = v->ns.nsid;
	v->is_io = true;
	nvmf_resv_submit(v->qp, &v->resv);
}

/* --- probe --- */

static void probe_smart_done(int ret, const struct nvmf_smart *smart, void *arg)
{
	struct visit *v = arg;

	v->is_smart = false;
	if (ret == 0) {
		v->probe->has_smart = true;
		v->probe->smart = *smart;
	}
	visit_close(v);
}

static void probe_smart(struct visit *v)
{
	v->is_smart = v->probe->want_smart && v->ret == 0 &&
		      nvmf_smart_get(v->ctrl, probe_smart_done, v) == 0;
	if (!v->is_smart)
		visit_close(v);
}

/* A target that can't say is one that has none. */
static void probe_owner_done(struct visit *v)
{
	if (v->resv.sc == NVME_SC_OK)
		owner_judge(&v->resv.report, v->probe->key, &v->probe->owner);
	probe_smart(v);
}

static void probe_end(struct visit *v)
{
	if (!v->probe->want_owner || v->ret ||
	    !owner_can_hold(nvmf_ctrl_info(v->ctrl), &v->ns)) {
		probe_smart(v);
		return;
	}
	v->resv.op = NVMF_RESV_REPORT;
	visit_resv(v, "ask who holds the namespace", probe_owner_done);
}

static void probe_judge(struct visit *v, uint64_t head_bytes)
{
	struct vol_probe *p = v->probe;

	p->label = label_judge(v->head, head_bytes, v->tail, v->tail_bytes,
			       p->label_text);
	if (p->label == LABEL_OURS && sb_decode(v->head, &p->sb, &v->err)) {
		v->ret = v->err.code;
		p->label = LABEL_FOREIGN;
	}
	if (p->range_count)
		visit_look(v);
	else
		probe_end(v);
}

static void probe_tail_done(struct visit *v)
{
	probe_judge(v, v->head_bytes);
}

static void probe_head_done(struct visit *v)
{
	uint64_t size = v->ns.size_lba * v->ns.lba_bytes;

	visit_io(v, &(struct visit_io){
			    .step = "read the end of the namespace",
			    .op = NVMF_READ,
			    .off = size - v->tail_bytes,
			    .bytes = v->tail_bytes,
			    .buf = v->tail,
			    .next = probe_tail_done,
		    });
}

static void probe_sb_done(struct visit *v)
{
	v->probe->latency_ns = time_mono_ns() - v->start_ns;
	if (v->probe->sb_only) {
		v->tail_bytes = 0;
		probe_judge(v, SB_BYTES);
		return;
	}
	visit_io(v, &(struct visit_io){
			    .step = "read the beginning of the namespace",
			    .op = NVMF_READ,
			    .bytes = v->head_bytes,
			    .buf = v->head,
			    .next = probe_head_done,
		    });
}

void visit_probe(struct visit *v)
{
	uint64_t sb_bytes = MAX(v->ns.lba_bytes, (uint32_t)SB_BYTES);

	v->start_ns = time_mono_ns();
	visit_io(v, &(struct visit_io){
			    .step = "read the superblock",
			    .op = NVMF_READ,
			    .bytes = sb_bytes,
			    .buf = v->head,
			    .next = probe_sb_done,
		    });
}

/* --- requests --- */

static void probe_run(struct mbox_msg *msg)
{
	struct vol_probe *probe = container_of(msg, struct vol_probe, msg);
	struct visit *v = calloc(1, sizeof(*v));

	probe->priv = v;
	if (v) {
		v->set = probe->set;
		v->probe = probe;
		visit_open(v, probe->endpoint, 0, probe->timeout_ms);
		return;
	}
	probe->ret = err_set(&probe->err, -ENOMEM, "out of memory");
	probe->done(probe);
}

static void label_run(struct mbox_msg *msg)
{
	struct vol_label *label = container_of(msg, struct vol_label, msg);
	struct visit *v = calloc(1, sizeof(*v));

	label->priv = v;
	if (v) {
		v->set = label->set;
		v->label = label;
		visit_open(v, label->endpoint, label->claim ? label->key : 0,
			   label->timeout_ms);
		return;
	}
	label->ret = err_set(&label->err, -ENOMEM, "out of memory");
	label->done(label);
}

static void release_run(struct mbox_msg *msg)
{
	struct vol_release *release =
		container_of(msg, struct vol_release, msg);
	struct visit *v = calloc(1, sizeof(*v));

	release->priv = v;
	if (v) {
		v->set = release->set;
		v->release = release;
		visit_open(v, release->endpoint, release->key,
			   release->timeout_ms);
		return;
	}
	release->ret = err_set(&release->err, -ENOMEM, "out of memory");
	release->done(release);
}

void vol_probe_submit(struct vol_set *set, struct vol_probe *probe)
{
	probe->set = set;
	probe->ret = 0;
	probe->has_smart = false;
	probe->owner = (struct vol_owner){0};
	probe->err = (struct err){0};
	for (unsigned i = 0; i < probe->range_count; i++)
		probe->ranges[i].ret = -ECANCELED;
	probe->msg.run = probe_run;
	loop_post(set_loop(set), &probe->msg);
}

void vol_label_submit(struct vol_set *set, struct vol_label *label)
{
	label->set = set;
	label->ret = 0;
	label->err = (struct err){0};
	label->owner = (struct vol_owner){0};
	label->may_hold = false;
	label->msg.run = label_run;
	loop_post(set_loop(set), &label->msg);
}

void vol_release_submit(struct vol_set *set, struct vol_release *release)
{
	release->set = set;
	release->ret = 0;
	release->err = (struct err){0};
	release->msg.run = release_run;
	loop_post(set_loop(set), &release->msg);
}
