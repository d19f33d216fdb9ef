/* SPDX-License-Identifier: Apache-2.0 */
/* Reservations: our initiator against our target, two hosts. */
#include "t_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "nvmf/resv.h"

#define TYPE	 NVME_RESERVATION_RTYPE_WE
#define CONFLICT (NVME_SC_RESV_CONFLICT | NVME_SC_DNR)

static struct t_target target;
static struct loop *loop;

struct host {
	struct nvmf_ctrl *ctrl;
	struct nvmf_qp *qp;
	struct nvmf_opts opts;
	struct nvmf_resv resv;
	struct nvmf_ns_info ns;
	unsigned live, done, closed;
	uint64_t key;
	uint16_t sc;
};

static struct host a, b;

static void until(const unsigned *value, unsigned want)
{
	uint64_t end = time_mono_ns() + 10 * NS_PER_S;

	while (*value != want && time_mono_ns() < end)
		loop_turn(loop, 20 * NS_PER_MS);
	assert_int_equal(*value, want);
}

static void on_ctrl(struct nvmf_ctrl *ctrl, enum nvmf_state state,
		    const struct err *err, void *arg)
{
	assert_int_equal(state, NVMF_LIVE);
	((struct host *)arg)->live++;
}

static void on_qp(struct nvmf_qp *qp, enum nvmf_state state,
		  const struct err *err, void *arg)
{
	assert_int_equal(state, NVMF_LIVE);
	((struct host *)arg)->live++;
}

static void on_ns(int ret, const struct nvmf_ns_info *ns, size_t count,
		  void *arg)
{
	struct host *h = arg;

	assert_int_equal(ret, 0);
	h->ns = *ns;
	h->live++;
}

static void on_closed(void *arg)
{
	((struct host *)arg)->closed++;
}

static void host_connect(struct host *h, const char *machine, uint64_t key)
{
	struct nvmf_qp_opts qo = {.qid = 1, .opts = &h->opts};

	*h = (struct host){.key = key};
	h->opts.addr = target.addr;
	h->opts.io_queues = 1;
	snprintf(h->opts.subnqn, sizeof(h->opts.subnqn), "%s", T_WIRE_NQN);
	host_id_derive(str_of(machine), &h->opts.host);
	assert_int_equal(nvmf_ctrl_open(loop, &h->opts, on_ctrl, h, &h->ctrl),
			 0);
	until(&h->live, 1);
	qo.info = *nvmf_ctrl_info(h->ctrl);
	qo.ctrl = h->ctrl;
	assert_true(qo.info.has_reservations);
	assert_int_equal(nvmf_qp_open(loop, &qo, on_qp, h, &h->qp), 0);
	until(&h->live, 2);
	assert_int_equal(nvmf_ns_get(h->ctrl, 1, on_ns, h), 0);
	until(&h->live, 3);
	assert_true(h->ns.reservations & NVME_NS_RESCAP_WE);
}

static void host_close(struct host *h)
{
	nvmf_qp_close(h->qp, on_closed, h);
	until(&h->closed, 1);
	nvmf_ctrl_close(h->ctrl, on_closed, h);
	until(&h->closed, 2);
}

static void on_resv(struct nvmf_resv *resv)
{
	container_of(resv, struct host, resv)->done++;
}

static uint16_t resv(struct host *h, enum nvmf_resv_op op, uint64_t other)
{
	h->done = 0;
	h->resv = (struct nvmf_resv){
		.done = on_resv,
		.op = op,
		.nsid = 1,
		.type = TYPE,
		.key = h->key,
		.other_key = other,
	};
	nvmf_resv_submit(h->qp, &h->resv);
	until(&h->done, 1);
	return h->resv.sc;
}

struct rw {
	struct nvmf_io io;
	struct host *host;
};

static void on_io(struct nvmf_io *io)
{
	struct rw *rw = container_of(io, struct rw, io);

	rw->host->sc = io->sc;
	rw->host->done++;
}

static uint16_t rw(struct host *h, enum nvmf_io_op op)
{
	static uint8_t buf[4096];
	struct iovec iov = {buf, sizeof(buf)};
	struct rw r = {.host = h,
		       .io = {.done = on_io,
			      .op = op,
			      .nsid = 1,
			      .lba_bytes = h->ns.lba_bytes,
			      .bytes = sizeof(buf),
			      .iov = &iov,
			      .iovcnt = 1}};

	h->done = 0;
	nvmf_io_submit(h->qp, &r.io);
	until(&h->done, 1);
	return h->sc;
}

static const struct nvmf_resv_report *report(struct host *h)
{
	assert_int_equal(resv(h, NVMF_RESV_REPORT, 0), NVME_SC_OK);
	return &h->resv.report;
}

static void holder_alone_writes(void **state)
{
	const struct nvmf_resv_report *r = report(&b);

	assert_int_equal(r->count, 0);
	assert_int_equal(r->type, 0);
	assert_int_equal(resv(&a, NVMF_RESV_ACQUIRE, 0), CONFLICT);
	assert_int_equal(resv(&a, NVMF_RESV_REGISTER, 0), NVME_SC_OK);
	assert_int_equal(resv(&a, NVMF_RESV_REGISTER, 0), NVME_SC_OK);
	assert_int_equal(resv(&a, NVMF_RESV_ACQUIRE, 0), NVME_SC_OK);
	assert_int_equal(resv(&a, NVMF_RESV_ACQUIRE, 0), NVME_SC_OK);
	assert_int_equal(rw(&a, NVMF_WRITE), NVME_SC_OK);
	assert_int_equal(rw(&b, NVMF_WRITE), CONFLICT);
	assert_int_equal(rw(&b, NVMF_READ), NVME_SC_OK);
	assert_int_equal(resv(&b, NVMF_RESV_REGISTER, 0), NVME_SC_OK);
	assert_int_equal(resv(&b, NVMF_RESV_ACQUIRE, 0), CONFLICT);
	assert_int_equal(rw(&b, NVMF_WRITE), CONFLICT);
	r = report(&b);
	assert_int_equal(r->count, 2);
	assert_int_equal(r->type, TYPE);
	for (unsigned i = 0; i < 2; i++) {
		const struct host *h = r->hosts[i].key == a.key ? &a : &b;

		assert_int_equal(r->hosts[i].key, h->key);
		assert_memory_equal(r->hosts[i].id, h->opts.host.id, 16);
		assert_int_equal(r->hosts[i].is_holder, h == &a);
	}
}

static void preempted_writes_no_more(void **state)
{
	assert_int_equal(resv(&b, NVMF_RESV_PREEMPT, a.key), NVME_SC_OK);
	assert_int_equal(rw(&b, NVMF_WRITE), NVME_SC_OK);
	assert_int_equal(rw(&a, NVMF_WRITE), CONFLICT);
	assert_int_equal(report(&b)->count, 1);
	assert_int_equal(resv(&a, NVMF_RESV_UNREGISTER, 0), CONFLICT);
	assert_int_equal(resv(&b, NVMF_RESV_UNREGISTER, 0), NVME_SC_OK);
	assert_int_equal(rw(&a, NVMF_WRITE), NVME_SC_OK);
	assert_int_equal(report(&a)->count, 0);
}

/* Without anybody who keeps it the target refuses, rather than to lie. */
static void persistence_is_refused_where_nobody_keeps_it(void **state)
{
	assert_false(a.ns.reservations & NVME_NS_RESCAP_PTPL);
	a.done = 0;
	a.resv = (struct nvmf_resv){.done = on_resv,
				    .op = NVMF_RESV_REGISTER,
				    .nsid = 1,
				    .is_persistent = true,
				    .key = a.key};
	nvmf_resv_submit(a.qp, &a.resv);
	until(&a.done, 1);
	assert_int_equal(a.resv.sc, NVME_SC_BAD_FIELD | NVME_SC_DNR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holder_alone_writes),
		cmocka_unit_test(preempted_writes_no_more),
		cmocka_unit_test(persistence_is_refused_where_nobody_keeps_it),
	};
	struct err err = {0};
	struct bdev *bdev;
	int failed;

	if (loop_create(&(struct loop_opts){0}, &loop, &err))
		return 1;
	t_target_start(&target, NULL, 2);
	assert_int_equal(bdev_ram_create(NULL, 1 << 20, &bdev, &err), 0);
	t_target_add_ns(&target, bdev);
	host_connect(&a, "machine a", 0xa);
	host_connect(&b, "machine b", 0xb);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	host_close(&a);
	host_close(&b);
	t_target_stop(&target);
	loop_destroy(loop);
	return failed ? 1 : 0;
}
