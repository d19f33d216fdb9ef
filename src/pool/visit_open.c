/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A visit's way to its namespace: name, controller, identity, queue pair; then
 * what it came for.
 *
 * Control thread.  Invariant: once is_closing is set nothing is begun any more.
 */
#include "pool/visit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"

#define TIMEOUT_MS 5000 /* where the request says nothing */

static void visit_timeout(struct timer *timer)
{
	struct visit *v = container_of(timer, struct visit, timer);
	char why[256];

	snprintf(why, sizeof(why),
		 "no answer in time from %.100s:%u: is the target running and "
		 "reachable?",
		 v->ep.traddr, v->ep.trsvcid);
	visit_fail(v, -ETIMEDOUT, why);
}

static int take_buffers(struct visit *v)
{
	uint64_t size = v->ns.size_lba * v->ns.lba_bytes;
	void *head, *tail;

	v->head_bytes = MIN((uint64_t)LABEL_HEAD_BYTES, size);
	v->tail_bytes = MIN((uint64_t)LABEL_TAIL_BYTES, size);
	if (posix_memalign(&head, SB_BYTES, v->head_bytes))
		return -ENOMEM;
	v->head = head;
	if (posix_memalign(&tail, SB_BYTES, v->tail_bytes))
		return -ENOMEM;
	v->tail = tail;
	return 0;
}

static void visit_qp_state(struct nvmf_qp *qp, enum nvmf_state state,
			   const struct err *err, void *arg)
{
	struct visit *v = arg;

	if (v->is_closing)
		return;
	if (state != NVMF_LIVE)
		visit_fail(v, err->code ? err->code : -ENOTCONN, err->text);
	else if (v->probe)
		visit_probe(v);
	else if (v->label)
		visit_label(v);
	else
		visit_release(v);
}

/* What this program can't use is refused here, in words. */
static bool check_ns(struct visit *v)
{
	const struct nvmf_ns_info *ns = &v->ns;
	uint64_t size;
	char why[256];

	if (ns->metadata_bytes)
		snprintf(why, sizeof(why),
			 "namespace %u has %u bytes of metadata per block: "
			 "format it without metadata",
			 ns->nsid, ns->metadata_bytes);
	else if (ns->lba_bytes < 512 || ns->lba_bytes > BLOCK_MAX ||
		 !IS_POW2(ns->lba_bytes))
		snprintf(why, sizeof(why),
			 "namespace %u has blocks of %u bytes: 512 to %u are "
			 "supported",
			 ns->nsid, ns->lba_bytes, BLOCK_MAX);
	else if (mul_overflows(ns->size_lba, (uint64_t)ns->lba_bytes, &size) ||
		 size < LABEL_HEAD_BYTES)
		snprintf(why, sizeof(why),
			 "namespace %u has %llu blocks: too small or too large",
			 ns->nsid, (unsigned long long)ns->size_lba);
	else
		return true;
	visit_fail(v, -ENOTSUP, why);
	return false;
}

static void visit_ns_listed(int ret, const struct nvmf_ns_info *ns,
			    size_t count, void *arg)
{
	struct visit *v = arg;
	struct strbuf why = {0};

	v->is_ns = false;
	if (v->is_closing) {
		visit_close(v);
		return;
	}
	strbuf_addf(&why, "namespace %u does not exist in subsystem '%.100s'",
		    v->ep.nsid, v->ep.subnqn);
	for (size_t i = 0; !ret && i < MIN(count, (size_t)8); i++)
		strbuf_addf(&why, "%s%u", i ? ", " : " (it has: ", ns[i].nsid);
	if (!ret && count)
		strbuf_adds(&why, count > 8 ? ", …)" : ")");
	if (!why.failed)
		err_set(&v->err, -ENODEV, "%s", why.p);
	visit_fail(v, -ENODEV, "the namespace does not exist");
	strbuf_fini(&why);
}

static void visit_ns_done(int ret, const struct nvmf_ns_info *ns, size_t count,
			  void *arg)
{
	struct visit *v = arg;
	struct nvmf_qp_opts opts = {.qid = 1, .opts = &v->opts};

	v->is_ns = false;
	if (v->is_closing) {
		visit_close(v);
		return;
	}
	if (ret == -ENODEV || (!ret && count != 1)) {
		v->is_ns = !nvmf_ns_list(v->ctrl, visit_ns_listed, v);
		if (!v->is_ns)
			visit_fail(v, -ENODEV, "the namespace does not exist");
		return;
	}
	if (ret) {
		visit_fail(v, ret, strerror(-ret));
		return;
	}
	v->ns = *ns;
	if (v->probe)
		v->probe->ns = *ns;
	if (!check_ns(v))
		return;
	v->step = "open an I/O queue";
	opts.info = *nvmf_ctrl_info(v->ctrl);
	opts.ctrl = v->ctrl;
	if (take_buffers(v) ||
	    nvmf_qp_open(set_loop(v->set), &opts, visit_qp_state, v, &v->qp)) {
		v->qp = NULL;
		visit_fail(v, -ENOMEM, "out of memory");
	}
}

static void visit_connect(struct visit *v);

static void ctrl_closed_for_keys(void *arg)
{
	struct visit *v = arg;

	v->ctrl = NULL;
	v->is_ctrl_closing = false;
	if (v->is_closing)
		visit_close(v);
	else
		visit_connect(v);
}

/* Who looks seldom has old keys when they change: that is no failure. */
static bool visit_with_new_keys(struct visit *v)
{
	const struct nvmf_opts *now = &v->set->opts.nvmf;

	if (v->has_new_keys || !set_keys_again(v->set))
		return false;
	v->has_new_keys = true;
	v->opts.dhchap_key = now->dhchap_key;
	v->opts.dhchap_ctrl_key = now->dhchap_ctrl_key;
	v->opts.tls_key = now->tls_key;
	v->is_ctrl_closing = true;
	nvmf_ctrl_close(v->ctrl, ctrl_closed_for_keys, v);
	return true;
}

static void visit_ctrl_state(struct nvmf_ctrl *ctrl, enum nvmf_state state,
			     const struct err *err, void *arg)
{
	struct visit *v = arg;

	if (v->is_closing || v->is_ctrl_closing)
		return;
	if (state != NVMF_LIVE) {
		if (err->code == -EACCES && visit_with_new_keys(v))
			return;
		v->err = *err; /* names the address itself */
		visit_fail(v, err->code ? err->code : -ENOTCONN, err->text);
		return;
	}
	v->step = "identify the namespace";
	v->is_ns = !nvmf_ns_get(ctrl, v->ep.nsid, visit_ns_done, v);
	if (!v->is_ns)
		visit_fail(v, -ENOMEM, "out of memory");
}

static void visit_connect(struct visit *v)
{
	int ret;

	v->step = "connect";
	ret = nvmf_ctrl_open(set_loop(v->set), &v->opts, visit_ctrl_state, v,
			     &v->ctrl);
	if (ret) {
		v->ctrl = NULL;
		visit_fail(v, ret, "out of memory");
	}
}

static void visit_resolved(int ret, const struct addr *addr,
			   const struct err *err, void *arg)
{
	struct visit *v = arg;

	v->resolve = NULL;
	if (v->is_closing) {
		visit_close(v);
		return;
	}
	if (ret) {
		v->err = *err;
		visit_fail(v, ret, err->text);
		return;
	}
	v->opts.addr = *addr;
	visit_connect(v);
}

static int visit_parse(struct visit *v, const char *text)
{
	struct str s = {text, strnlen(text, ENDPOINT_TEXT_LEN)};
	int ret = endpoint_parse(s, &v->ep, &v->err);

	if (ret)
		return ret;
	if (!v->ep.nsid)
		return err_set(&v->err, -EINVAL,
			       "endpoint '%.200s': ns:<number> is missing",
			       text);
	if (v->ep.trtype != NVME_TRTYPE_TCP)
		return err_set(&v->err, -EINVAL,
			       "endpoint '%.200s': only trtype:TCP is "
			       "supported here",
			       text);
	return 0;
}

void visit_open(struct visit *v, const char *endpoint, uint64_t key,
		uint32_t ms)
{
	v->set->visits++;
	v->timer.fire = visit_timeout;
	ms = ms ? ms : TIMEOUT_MS;
	v->step = "endpoint";
	v->ret = visit_parse(v, endpoint);
	if (v->ret) {
		visit_close(v);
		return;
	}
	v->opts = v->set->opts.nvmf;
	memcpy(v->opts.subnqn, v->ep.subnqn, sizeof(v->opts.subnqn));
	if (key)
		host_id_of_key(key, v->opts.host.id);
	v->opts.io_queues = 1;
	v->opts.kato_ms = NVMF_KATO_OFF;
	timer_set(set_loop(v->set), &v->timer, ms * NS_PER_MS);
	v->step = "resolve the name";
	v->resolve =
		resolve_start(set_loop(v->set), &(struct resolve_req){
							.host = v->ep.traddr,
							.port = v->ep.trsvcid,
							.timeout_ms = ms,
							.done = visit_resolved,
							.arg = v,
						});
	if (!v->resolve)
		visit_fail(v, -ENOMEM, "out of memory or threads");
}
