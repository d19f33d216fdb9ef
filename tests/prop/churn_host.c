/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host that comes and goes; its loop's thread.  Invariant: it is idle when it
 * has neither controller nor queue pair and its timer is not set.
 */
#include "churn_host.h"

#include <stdio.h>
#include <string.h>

#include "base/time.h"

#define PATIENCE_MS 60000 /* no deadline decides anything here */

static void begin(struct churn_host *h);

static void come_again(struct timer *timer)
{
	begin(container_of(timer, struct churn_host, retry));
}

static void ctrl_closed(void *arg)
{
	struct churn_host *h = arg;

	h->is_leaving = false;
	atomic_fetch_add(&h->steps, 1);
	if (h->is_living)
		timer_set(h->loop, &h->retry,
			  (1 + rng_below(&h->rng, 5)) * NS_PER_MS);
	else
		atomic_store(&h->is_idle, true);
}

static void qp_closed(void *arg)
{
	struct churn_host *h = arg;

	ASSERT(!h->is_busy);
	nvmf_ctrl_close(TAKE(h->ctrl), ctrl_closed, h);
}

static void leave(struct churn_host *h)
{
	if (h->is_leaving)
		return;
	h->is_leaving = true;
	if (h->qp)
		nvmf_qp_close(TAKE(h->qp), qp_closed, h);
	else
		qp_closed(h);
}

static void submit(struct churn_host *h, uint32_t nsid)
{
	uint64_t blocks = 1 + rng_below(&h->rng, 4);

	h->iov = (struct iovec){h->buf, blocks * CHURN_BLOCK};
	h->io.nsid = nsid;
	h->io.op = NVMF_READ;
	if (h->is_living && nsid >= CHURN_NULL && rng_below(&h->rng, 2))
		h->io.op = NVMF_WRITE;
	h->io.slba = rng_below(&h->rng, 16);
	h->io.bytes = h->iov.iov_len;
	h->io.iov = &h->iov;
	h->io.iovcnt = 1;
	h->io.lba_bytes = CHURN_BLOCK;
	h->is_busy = true;
	nvmf_io_submit(h->qp, &h->io);
}

static void io_done(struct nvmf_io *io)
{
	struct churn_host *h = container_of(io, struct churn_host, io);

	ASSERT(h->is_busy);
	h->is_busy = false;
	atomic_fetch_add(&h->steps, 1);
	if (io->sc == NVME_SC_OK && h->is_living)
		h->reads++;
	else if (io->sc == NVME_SC_OK)
		h->nsids |= 1u << io->nsid;
	if (h->is_leaving)
		return;
	if (h->is_living && rng_below(&h->rng, 100))
		submit(h, 1 + (uint32_t)rng_below(&h->rng, CHURN_NSIDS));
	else if (!h->is_living && io->nsid < CHURN_NSIDS)
		submit(h, io->nsid + 1);
	else
		leave(h);
}

static void on_qp(struct nvmf_qp *qp, enum nvmf_state state,
		  const struct err *err, void *arg)
{
	struct churn_host *h = arg;

	if (state != NVMF_LIVE || h->is_leaving) {
		leave(h);
		return;
	}
	h->was_live = true;
	h->lives++;
	submit(h, 1);
}

static void on_ctrl(struct nvmf_ctrl *ctrl, enum nvmf_state state,
		    const struct err *err, void *arg)
{
	struct churn_host *h = arg;
	struct nvmf_qp_opts opts = {.qid = 1, .opts = &h->opts, .ctrl = ctrl};

	if (state != NVMF_LIVE || h->is_leaving) {
		leave(h);
		return;
	}
	opts.info = *nvmf_ctrl_info(ctrl);
	ASSERT(nvmf_qp_open(h->loop, &opts, on_qp, h, &h->qp) == 0);
}

static void connect_to(struct churn_host *h, unsigned subsys, unsigned addr)
{
	h->opts.addr = h->place->addrs[addr];
	snprintf(h->opts.subnqn, sizeof(h->opts.subnqn), "%s",
		 h->place->subnqns[subsys]);
	ASSERT(nvmf_ctrl_open(h->loop, &h->opts, on_ctrl, h, &h->ctrl) == 0);
}

static void begin(struct churn_host *h)
{
	connect_to(h, (unsigned)rng_below(&h->rng, h->place->subsys_count),
		   (unsigned)rng_below(&h->rng, h->place->addr_count));
}

void churn_host_init(struct churn_host *h, struct loop *loop,
		     const struct churn_place *place, const char *nqn,
		     uint64_t seed)
{
	memset(h, 0, sizeof(*h));
	h->loop = loop;
	h->place = place;
	rng_seed(&h->rng, seed);
	h->retry.fire = come_again;
	h->io.done = io_done;
	host_id_derive(str_of(nqn), &h->opts.host);
	snprintf(h->opts.host.nqn, sizeof(h->opts.host.nqn), "%s", nqn);
	h->opts.kato_ms = PATIENCE_MS;
	h->opts.connect_timeout_ms = h->opts.admin_timeout_ms = PATIENCE_MS;
	h->opts.command_timeout_ms = PATIENCE_MS;
	atomic_store(&h->is_idle, true);
}

void churn_host_live(struct churn_host *h)
{
	ASSERT(atomic_load(&h->is_idle));
	atomic_store(&h->is_idle, false);
	h->is_living = true;
	begin(h);
}

void churn_host_rest(struct churn_host *h)
{
	if (!h->is_living)
		return;
	h->is_living = false;
	if (h->ctrl)
		leave(h);
	else if (!h->is_leaving) {
		timer_cancel(h->loop, &h->retry);
		atomic_store(&h->is_idle, true);
	}
}

void churn_host_try(struct churn_host *h, unsigned subsys, unsigned addr)
{
	ASSERT(atomic_load(&h->is_idle));
	atomic_store(&h->is_idle, false);
	h->was_live = false;
	h->nsids = 0;
	connect_to(h, subsys, addr);
}
