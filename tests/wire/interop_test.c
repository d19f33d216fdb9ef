/* SPDX-License-Identifier: Apache-2.0 */
/* Our initiator against our target: two readings of the specification. */
#include "t_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "nvmf/nvmf.h"

#define QUEUES	  4
#define IOS	  64
#define MAX_BYTES (3u << 20)

static struct t_target target;
static struct loop *loop;
static char path[64];

static struct {
	struct nvmf_ctrl *ctrl;
	struct nvmf_qp *qps[QUEUES];
	enum nvmf_state ctrl_state;
	unsigned qps_live, closed, ios_done;
	size_t ns_count;
	struct nvmf_ns_info ns[4];
	bool has_ns;
	struct nvmf_opts opts;
} host;

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
	if (state == NVMF_FAILED)
		print_error("%s\n", err->text);
	host.ctrl_state = state;
}

static void on_qp(struct nvmf_qp *qp, enum nvmf_state state,
		  const struct err *err, void *arg)
{
	if (state == NVMF_LIVE)
		host.qps_live++;
	else
		print_error("%s\n", err->text);
}

static void on_ns(int ret, const struct nvmf_ns_info *ns, size_t count,
		  void *arg)
{
	assert_int_equal(ret, 0);
	assert_true(count <= ARRAY_SIZE(host.ns));
	memcpy(host.ns, ns, count * sizeof(*ns));
	host.ns_count = count;
	host.has_ns = true;
}

static void on_closed(void *arg)
{
	host.closed++;
}

static void on_io(struct nvmf_io *io)
{
	assert_int_equal(io->sc, NVME_SC_OK);
	host.ios_done++;
}

static void host_connect(bool hdgst, bool ddgst)
{
	unsigned *state = (unsigned *)&host.ctrl_state;
	struct nvmf_qp_opts qo = {.opts = &host.opts};

	memset(&host, 0, sizeof(host));
	host.opts.addr = target.addr;
	host.opts.hdgst = hdgst;
	host.opts.ddgst = ddgst;
	host.opts.io_queues = QUEUES;
	snprintf(host.opts.subnqn, sizeof(host.opts.subnqn), "%s", T_WIRE_NQN);
	host_id_derive(STR("0123456789abcdef0123456789abcdef"),
		       &host.opts.host);
	assert_int_equal(
		nvmf_ctrl_open(loop, &host.opts, on_ctrl, NULL, &host.ctrl), 0);
	until(state, NVMF_LIVE);
	qo.info = *nvmf_ctrl_info(host.ctrl);
	assert_int_equal(qo.info.max_transfer, target.opts.max_transfer);
	assert_int_equal(qo.info.icd_bytes, 16384);
	assert_true(qo.info.has_write_cache);
	for (uint16_t i = 0; i < QUEUES; i++) {
		qo.qid = (uint16_t)(i + 1);
		assert_int_equal(
			nvmf_qp_open(loop, &qo, on_qp, NULL, &host.qps[i]), 0);
	}
	until(&host.qps_live, QUEUES);
}

static void host_close(void)
{
	for (int i = 0; i < QUEUES; i++)
		nvmf_qp_close(host.qps[i], on_closed, NULL);
	until(&host.closed, QUEUES);
	nvmf_ctrl_close(host.ctrl, on_closed, NULL);
	until(&host.closed, QUEUES + 1);
}

/* IOS commands of many lengths on all queues, written and read back. */
static void rw_all(uint32_t nsid, uint8_t *mem, enum nvmf_io_op op)
{
	static struct nvmf_io ios[IOS];
	static struct iovec iov[IOS][2];
	uint64_t slba = 0;
	uint8_t *p = mem;

	host.ios_done = 0;
	for (unsigned i = 0; i < IOS; i++) {
		uint32_t n = (1u + i % 9) * 4096;

		iov[i][0] = (struct iovec){p, 1000};
		iov[i][1] = (struct iovec){p + 1000, n - 1000};
		ios[i] = (struct nvmf_io){.done = on_io,
					  .op = op,
					  .nsid = nsid,
					  .lba_bytes = 4096,
					  .slba = slba,
					  .bytes = n,
					  .iov = iov[i],
					  .iovcnt = 2};
		p += n;
		slba += n / 4096;
		nvmf_io_submit(host.qps[i % QUEUES], &ios[i]);
	}
	until(&host.ios_done, IOS);
}

static void big_one(uint32_t nsid, uint8_t *mem, enum nvmf_io_op op)
{
	struct iovec iov = {mem, MAX_BYTES};
	struct nvmf_io io = {.done = on_io,
			     .op = op,
			     .nsid = nsid,
			     .lba_bytes = 4096,
			     .bytes = MAX_BYTES,
			     .iov = &iov,
			     .iovcnt = 1};

	host.ios_done = 0;
	nvmf_io_submit(host.qps[0], &io);
	until(&host.ios_done, 1);
}

static void initiator_and_target_agree(void **state)
{
	uint8_t *out = malloc(MAX_BYTES), *in = malloc(MAX_BYTES);

	for (unsigned d = 0; d < 4; d++) {
		host_connect(d & 1, d & 2);
		assert_int_equal(nvmf_ns_list(host.ctrl, on_ns, NULL), 0);
		while (!host.has_ns)
			loop_turn(loop, NS_PER_MS);
		assert_int_equal(host.ns_count, 2);
		assert_int_equal(host.ns[1].lba_bytes, 4096);
		assert_memory_equal(host.ns[0].nguid, host.ns[0].uuid, 16);
		for (uint32_t nsid = 1; nsid <= 2; nsid++) {
			for (uint32_t i = 0; i < MAX_BYTES; i++)
				out[i] = (uint8_t)(i * 31 + i / 4096 + d);
			memset(in, 0, MAX_BYTES);
			rw_all(nsid, out, NVMF_WRITE);
			rw_all(nsid, in, NVMF_READ);
			assert_memory_equal(in, out, IOS * 4096);
			big_one(nsid, out, NVMF_WRITE);
			big_one(nsid, in, NVMF_READ);
			assert_memory_equal(in, out, MAX_BYTES);
		}
		host_close();
	}
	free(out);
	free(in);
}

static int run_with(unsigned shards)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(initiator_and_target_agree),
	};
	/* so few buffers that commands have to wait for them */
	struct tgt_opts opts = {.buffer_bytes = 4096,
				.max_transfer = shards ? 64 << 10 : 1 << 20};
	struct bdev_file_opts fo = {.path = path, .create_size = 8 << 20};
	struct err err = {0};
	struct bdev *bdev;
	int failed;

	t_target_start(&target, &opts, shards);
	assert_int_equal(bdev_ram_create(NULL, 8 << 20, &bdev, &err), 0);
	t_target_add_ns(&target, bdev);
	assert_int_equal(bdev_file_create(&fo, &bdev, &err), 0);
	t_target_add_ns(&target, bdev);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	t_target_stop(&target);
	unlink(path);
	return failed;
}

int main(void)
{
	struct err err = {0};
	int failed;

	snprintf(path, sizeof(path), "/tmp/t_interop.%d.img", getpid());
	if (loop_create(&(struct loop_opts){0}, &loop, &err))
		return 1;
	failed = run_with(0) + run_with(2);
	loop_destroy(loop);
	return failed ? 1 : 0;
}
