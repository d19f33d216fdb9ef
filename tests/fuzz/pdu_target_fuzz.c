/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host may send to our target.  First byte: bits 1:0 how far the
 * connection has come (0 TCP, 1 ICReq, 2 admin queue, 3 I/O queue), bits 7:2
 * how the bytes are cut (0 = not).  The rest is sent then.  Namespace 1 is
 * mapped memory, 2 goes through data buffers.  Promise: no memory error, and
 * the target always stops.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "io/sim.h"
#include "io/stream.h"
#include "nvme/pdu.h"
#include "target/target.h"

#define NQN	 "nqn.2026-11.io.mooncake:fuzz"
#define NS_BYTES 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct host {
	struct stream s;
	struct iovec in;
	uint8_t scratch[8192];
	bool is_open, is_closed;
};

/* A back end without mapped memory, on top of one with. */
struct unmapped {
	struct bdev bdev;
	struct bdev *ram;
};

static struct {
	struct io_sim *sim;
	struct loop *loop;
	struct tgt *tgt;
	struct addr addr;
	struct host admin, io;
	bool is_stopped;
} f;

static void unmapped_submit(struct bdev *bdev, struct loop *loop,
			    struct bdev_io *io)
{
	struct unmapped *u = container_of(bdev, struct unmapped, bdev);

	u->ram->ops->submit(u->ram, loop, io);
}

static void *unmapped_map(struct bdev *bdev, uint64_t off, uint64_t bytes)
{
	return NULL;
}

static void unmapped_destroy(struct bdev *bdev)
{
	struct unmapped *u = container_of(bdev, struct unmapped, bdev);

	u->ram->ops->destroy(u->ram);
	free(u);
}

static const struct bdev_ops unmapped_ops = {
	.kind = "unmapped",
	.submit = unmapped_submit,
	.map = unmapped_map,
	.destroy = unmapped_destroy,
};

static void steps(unsigned ms)
{
	while (ms--)
		io_sim_step(f.sim, io_sim_now_ns(f.sim) + NS_PER_MS);
}

static void on_closed(struct stream *s)
{
	((struct host *)s->arg)->is_closed = true;
}

static void host_recv(struct host *h);

static void on_recv(struct stream *s, int res)
{
	if (res <= 0)
		stream_close(s, on_closed);
	else
		host_recv(s->arg);
}

static void host_recv(struct host *h)
{
	h->in = (struct iovec){h->scratch, sizeof(h->scratch)};
	if (stream_is_open(&h->s))
		stream_recv(&h->s, &h->in, 1, on_recv);
}

static void on_connect(struct stream *s, int res)
{
	ASSERT(res == 0);
	host_recv(s->arg);
}

static void on_sent(struct stream *s, int res)
{
}

static void host_open(struct host *h)
{
	stream_init(&h->s, f.loop, h);
	h->is_open = true;
	stream_connect(&h->s, &f.addr, 1000, NULL, on_connect);
	steps(5);
}

static void host_send(struct host *h, const void *p, size_t n)
{
	struct iovec iov = {(void *)(uintptr_t)p, n};

	if (!stream_is_open(&h->s) || n == 0)
		return;
	stream_send(&h->s, &iov, 1, on_sent);
	steps(20);
}

static void host_hello(struct host *h)
{
	struct pdu_ic ic;

	pdu_icreq(&ic, 0, 0, 0);
	host_send(h, &ic, sizeof(ic));
}

static void host_connect(struct host *h, uint16_t qid, uint16_t cntlid)
{
	struct {
		struct pdu_cmd cmd;
		struct nvme_connect_data data;
	} pdu = {.cmd.ch.type = PDU_CAPSULE_CMD, .data.cntlid = cntlid};

	nvme_cmd_connect(&pdu.cmd.sqe, qid, 15, 0);
	pdu.cmd.sqe.sgl = (struct nvme_sgl){.len = sizeof(pdu.data),
					    .type = NVME_SGL_DATA_OFFSET};
	pdu_finish(&pdu.cmd.ch, sizeof(pdu.data), false, false, 0);
	memcpy(pdu.data.subnqn, NQN, sizeof(NQN));
	memcpy(pdu.data.hostnqn, NQN, sizeof(NQN));
	host_send(h, &pdu, sizeof(pdu));
}

static void host_enable(struct host *h)
{
	struct pdu_cmd pdu = {.ch.type = PDU_CAPSULE_CMD};

	nvme_cmd_prop_set(&pdu.sqe, NVME_PROP_CC, false, 0x460001);
	pdu_finish(&pdu.ch, 0, false, false, 0);
	host_send(h, &pdu, sizeof(pdu));
}

static void add_namespaces(struct tgt_subsys *ss)
{
	struct unmapped *u = calloc(1, sizeof(*u));
	struct bdev *ram;
	struct err err = {0};

	ASSERT(u && !bdev_ram_create(NULL, NS_BYTES, &ram, &err));
	ASSERT(tgt_ns_add(ss, ram, NULL, &err) == 1);
	ASSERT(!bdev_ram_create(NULL, NS_BYTES, &u->ram, &err));
	u->bdev = *u->ram;
	u->bdev.ops = &unmapped_ops;
	ASSERT(tgt_ns_add(ss, &u->bdev, NULL, &err) == 2);
}

static void start(uint8_t mode)
{
	struct loop_opts lo = {.backend = IO_BACKEND_SIM, .name = "fuzz"};
	struct io_sim_faults faults = {.max_segment = mode >> 2};
	struct tgt_opts opts = {.max_transfer = 16384,
				.in_capsule = 4096,
				.max_h2cdata = 4096,
				.buffer_bytes = 4096,
				.queue_depth = 16};
	struct tgt_subsys *ss;
	struct err err = {0};

	lo.sim = f.sim = io_sim_create(1);
	io_sim_set_faults(f.sim, &faults);
	ASSERT(!loop_create(&lo, &f.loop, &err));
	opts.loop = f.loop;
	ASSERT(!tgt_create(&opts, &f.tgt, &err));
	ASSERT(!tgt_subsys_add(f.tgt, &(struct tgt_subsys_opts){.nqn = NQN},
			       &ss, &err));
	add_namespaces(ss);
	ASSERT(!addr_parse("127.0.0.1", 4420, &f.addr));
	ASSERT(!tgt_listen(f.tgt, &f.addr, &err));
}

/* Brings the connection to where the bytes are to be sent. */
static struct host *advance(unsigned phase)
{
	host_open(&f.admin);
	if (phase >= 1)
		host_hello(&f.admin);
	if (phase < 2)
		return &f.admin;
	host_connect(&f.admin, 0, 0xffff);
	host_enable(&f.admin);
	if (phase == 2)
		return &f.admin;
	host_open(&f.io);
	host_hello(&f.io);
	host_connect(&f.io, 1, 1);
	return &f.io;
}

static void on_stopped(void *arg)
{
	f.is_stopped = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct host *h;

	/* Refused bytes are no news here. */
	log_level_max = LOG_ERROR;
	if (size < 2)
		return 0;
	memset(&f, 0, sizeof(f));
	start(data[0]);
	h = advance(data[0] & 3);
	host_send(h, data + 1, size - 1);
	steps(20);
	tgt_stop(f.tgt, on_stopped, NULL);
	for (int i = 0; i < 5000 && !f.is_stopped; i++)
		steps(1);
	ASSERT(f.is_stopped);
	stream_close(&f.admin.s, on_closed);
	if (f.io.is_open)
		stream_close(&f.io.s, on_closed);
	for (int i = 0; i < 100 && !(f.admin.is_closed &&
				     (f.io.is_closed || !f.io.is_open));
	     i++)
		steps(1);
	steps(5);
	loop_destroy(f.loop);
	io_sim_destroy(f.sim);
	return 0;
}
