/* SPDX-License-Identifier: Apache-2.0 */
/* What hosts see when the target's objects come and go under them. */
#include "t_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "t_rand.h"
#include "t_slow.h"

#define SC(sc)	 ((sc)&NVME_SC_MASK)
#define NQN2	 "nqn.2026-11.io.mooncake:second"
#define NS_BYTES (1u << 20)
#define WAIT_NS	 (10 * NS_PER_S)

static struct t_target t;
static struct gate gate; /* opened by a done() */
static struct err err;

static void on_done(void *arg)
{
	gate_open(&gate);
}

/* Runs fn on the control loop; it must succeed. */
struct call {
	int (*fn)(void);
	int ret;
};

static void call_run(void *arg)
{
	struct call *c = arg;

	c->ret = c->fn();
}

static void control(int (*fn)(void))
{
	struct call c = {.fn = fn};

	shard_call(&t.control, call_run, &c);
	if (c.ret < 0)
		fail_msg("%s", err.text);
}

/* The same, and waits for its on_done(). */
static void control_wait(int (*fn)(void))
{
	gate_init(&gate);
	control(fn);
	assert_true(gate_wait_for(&gate, WAIT_NS));
}

/* --- namespaces --- */

static int add_slow(void)
{
	return tgt_ns_add(t.ss, t_slow_init(NS_BYTES),
			  &(struct tgt_ns_opts){.nsid = 7}, &err);
}

static int add_ram(void)
{
	struct bdev *bdev;

	if (bdev_ram_create(NULL, NS_BYTES, &bdev, &err))
		return -1;
	return tgt_ns_add(t.ss, bdev, &(struct tgt_ns_opts){.nsid = 7}, &err);
}

static int remove_ns(void)
{
	return tgt_ns_remove(t.ss, 7, on_done, NULL, &err);
}

static uint32_t next_event(struct t_wire *admin)
{
	union pdu_hdr hdr;

	tw_recv(admin, &hdr, NULL, 0);
	assert_int_equal(hdr.ch.type, PDU_CAPSULE_RESP);
	return hdr.resp.cqe.dw0;
}

static void ask_events(struct t_wire *admin, uint32_t config)
{
	struct nvme_sqe sqe;

	nvme_cmd_set_feature(&sqe, 0x0b, config);
	assert_int_equal(tw_admin(admin, &sqe, NULL, 0, NULL), NVME_SC_OK);
	sqe = (struct nvme_sqe){.opcode = NVME_ADM_AER,
				.flags = NVME_SQE_PSDT_SGL};
	tw_send_cmd(admin, &sqe, NULL, 0);
}

static void send_slow_write(struct t_wire *io, const void *data)
{
	struct nvme_sqe sqe;

	nvme_cmd_rw(&sqe, true, 7, 0, 1);
	tw_send_cmd(io, &sqe, data, 4096);
	while (!atomic_load(&t_slow.held))
		usleep(100);
}

/* The medium is given back after its last command, the id is free at once. */
static void test_ns_leaves_under_io(void **state)
{
	struct t_wire admin = {0}, io = {0}, io2 = {0};
	static uint8_t data[4096], got[4096];
	union pdu_hdr hdr;

	control(add_slow);
	tw_admin_queue(&admin, &t.addr);
	ask_events(&admin, 0x100);
	tw_io_queue(&io, &t.addr, &admin, 1);
	tw_io_queue(&io2, &t.addr, &admin, 2);
	send_slow_write(&io, data);
	gate_init(&gate);
	control(remove_ns);
	assert_int_equal(next_event(&admin), 0x00040002);
	assert_int_equal(SC(tw_read(&io2, 7, 0, got, 4096)), NVME_SC_BAD_NS);
	control(add_ram);
	assert_int_equal(tw_read(&io2, 7, 0, got, 4096), NVME_SC_OK);
	assert_false(gate_wait_for(&gate, 20 * NS_PER_MS));
	t_slow_let_go();
	tw_recv(&io, &hdr, NULL, 0);
	assert_int_equal(hdr.resp.cqe.status, 0);
	assert_true(gate_wait_for(&gate, WAIT_NS));
	assert_true(t_slow.is_destroyed);
	control_wait(remove_ns);
	tw_close(&io2);
	tw_close(&io);
	tw_close(&admin);
}

/* --- hosts --- */

static int only_listed(void)
{
	tgt_allow_any_host(t.ss, false);
	return 0;
}

static int anybody(void)
{
	tgt_allow_any_host(t.ss, true);
	return 0;
}

static int add_host(void)
{
	return tgt_host_add(
		t.ss, &(struct tgt_host_opts){.hostnqn = T_WIRE_HOSTNQN}, &err);
}

static int remove_host(void)
{
	return tgt_host_remove(t.ss, T_WIRE_HOSTNQN, &err);
}

static void test_hosts(void **state)
{
	struct t_wire w = {0}, io = {0};

	control(only_listed);
	tw_start(&w, &t.addr);
	assert_int_equal(SC(tw_connect(&w, T_WIRE_NQN, 0, 0xffff, NULL)),
			 NVME_SC_CONNECT_BAD_HOST);
	tw_close(&w);
	control(add_host);
	tw_admin_queue(&w, &t.addr);
	tw_io_queue(&io, &t.addr, &w, 1);
	control(remove_host);
	tw_expect_eof(&w);
	tw_expect_eof(&io);
	tw_close(&w);
	tw_close(&io);
	control(anybody);
	tw_admin_queue(&w, &t.addr);
	control(only_listed); /* and this one is not */
	tw_expect_eof(&w);
	tw_close(&w);
	control(anybody);
}

/* --- subsystems and listeners --- */

static struct tgt_subsys *second;
static struct addr far; /* a second listener */

static int add_second(void)
{
	struct tgt_subsys_opts o = {.nqn = NQN2,
				    .ana_reporting = true,
				    .is_listener_list = true,
				    .max_cntlid = 2};
	struct bdev *bdev;
	int ret = tgt_subsys_add(t.tgt, &o, &second, &err);

	if (!ret)
		ret = bdev_ram_create(NULL, NS_BYTES, &bdev, &err);
	return ret ? ret : tgt_ns_add(second, bdev, NULL, &err);
}

static int remove_second(void)
{
	return tgt_subsys_remove(second, on_done, NULL, &err);
}

static int listen_far(void)
{
	return tgt_listen(t.tgt, &far, &err);
}

static int unlisten_far(void)
{
	return tgt_listen_remove(t.tgt, &far, on_done, NULL, &err);
}

static int attach_far(void)
{
	return tgt_subsys_listen(second, &far, &err);
}

static int detach_far(void)
{
	return tgt_subsys_unlisten(second, &far, &err);
}

static int far_inaccessible(void)
{
	return tgt_subsys_ana_set(second, &far, 0, TGT_ANA_INACCESSIBLE, &err);
}

static int far_good(void)
{
	return tgt_subsys_ana_set(second, &far, 1, TGT_ANA_NON_OPTIMIZED, &err);
}

static uint16_t connect2(struct t_wire *w, const struct addr *addr,
			 uint16_t qid, uint16_t cntlid)
{
	tw_start(w, addr);
	return tw_connect(w, NQN2, qid, cntlid, NULL);
}

static void test_subsystem_leaves(void **state)
{
	struct t_wire a = {0}, b = {0}, c = {0}, other = {0};

	assert_int_equal(addr_parse("127.0.0.1", 0, &far), 0);
	control(listen_far);
	control(add_second);
	assert_int_equal(connect2(&a, &far, 0, 0xffff),
			 NVME_SC_CONNECT_BAD_PARAM); /* and no DNR */
	tw_close(&a);
	control(attach_far);
	assert_int_equal(connect2(&a, &t.addr, 0, 0xffff),
			 NVME_SC_CONNECT_BAD_PARAM);
	tw_close(&a);
	assert_int_equal(connect2(&a, &far, 0, 0xffff), NVME_SC_OK);
	assert_int_equal(connect2(&b, &far, 0, 0xffff), NVME_SC_OK);
	/* Ids 1 and 2 are all there are. */
	assert_int_equal(connect2(&c, &far, 0, 0xffff),
			 NVME_SC_CONNECT_CTRL_BUSY);
	tw_admin_queue(&other, &t.addr);
	control_wait(remove_second);
	tw_expect_eof(&a);
	tw_expect_eof(&b);
	tw_close(&a);
	tw_close(&b);
	tw_close(&c);
	control(add_second); /* the name is free */
	control_wait(remove_second);
	tw_enable(&other);
	tw_close(&other);
	control_wait(unlisten_far);
}

static uint64_t smart_reads(struct t_wire *admin)
{
	struct nvme_sqe sqe;
	uint64_t reads;

	nvme_cmd_get_log(&sqe, 2, 64, sizeof(reads));
	assert_int_equal(tw_admin(admin, &sqe, &reads, 8, NULL), 0);
	return reads;
}

static void test_totals_are_the_subsystems(void **state)
{
	struct t_wire admin = {0}, io = {0}, other = {0};
	static uint8_t got[4096];
	uint64_t before;

	control(listen_far);
	control(add_second);
	control(attach_far);
	assert_int_equal(connect2(&other, &far, 0, 0xffff), 0);
	tw_enable(&other);
	control(add_ram);
	tw_admin_queue(&admin, &t.addr);
	tw_io_queue(&io, &t.addr, &admin, 1);
	before = smart_reads(&admin);
	tw_read(&io, 7, 0, got, sizeof(got));
	control_wait(remove_ns);
	assert_int_equal(smart_reads(&admin), before + 1);
	assert_int_equal(smart_reads(&other), 0);
	tw_close(&other);
	tw_close(&io);
	tw_close(&admin);
	control_wait(remove_second);
	control_wait(unlisten_far);
}

static void test_listener_leaves(void **state)
{
	struct t_wire near = {0}, away = {0};

	control(listen_far);
	tw_admin_queue(&near, &t.addr);
	tw_admin_queue(&away, &far);
	control_wait(unlisten_far);
	tw_expect_eof(&away);
	tw_close(&away);
	control(listen_far); /* the same port */
	tw_admin_queue(&away, &far);
	tw_close(&away);
	tw_enable(&near);
	tw_close(&near);
	control_wait(unlisten_far);
}

/* --- ANA --- */

static void test_ana(void **state)
{
	struct t_wire admin = {0}, io = {0};
	static uint8_t got[4096];

	control(listen_far);
	control(add_second);
	control(attach_far);
	assert_int_equal(connect2(&admin, &far, 0, 0xffff), NVME_SC_OK);
	tw_enable(&admin);
	ask_events(&admin, 0x800);
	assert_int_equal(connect2(&io, &far, 1, admin.cntlid), NVME_SC_OK);
	assert_int_equal(tw_read(&io, 1, 0, got, 4096), NVME_SC_OK);
	control(far_inaccessible);
	assert_int_equal(next_event(&admin), 0x000c0302);
	assert_int_equal(tw_read(&io, 1, 0, got, 4096),
			 NVME_SC_ANA_INACCESSIBLE); /* and no DNR */
	control(far_good);
	assert_int_equal(tw_read(&io, 1, 0, got, 4096), NVME_SC_OK);
	control(detach_far);
	tw_expect_eof(&io);
	tw_expect_eof(&admin);
	tw_close(&io);
	tw_close(&admin);
	control_wait(remove_second);
	control_wait(unlisten_far);
}

/* --- discovery --- */

static uint64_t disc_log(struct t_wire *disc, uint64_t *genctr)
{
	static uint64_t page[4096 / 8];
	struct nvme_sqe sqe;

	nvme_cmd_get_log(&sqe, 0x70, 0, sizeof(page));
	assert_int_equal(tw_admin(disc, &sqe, page, sizeof(page), NULL),
			 NVME_SC_OK);
	*genctr = page[0];
	return page[1];
}

static const struct tgt_referral elsewhere = {.traddr = "192.0.2.1",
					      .port = 8009};

static int refer(void)
{
	return tgt_referral_add(t.tgt, &elsewhere, &err);
}

static int unrefer(void)
{
	return tgt_referral_remove(t.tgt, &elsewhere, &err);
}

static void test_discovery(void **state)
{
	static const struct {
		int (*fn)(void);
		uint64_t entries;
	} steps[] = {
		{only_listed, 0}, {add_host, 1},   {listen_far, 2},
		{add_second, 2},  {attach_far, 3}, {refer, 4},
		{unrefer, 3},	  {detach_far, 2}, {remove_host, 0},
		{anybody, 2},
	};
	struct t_wire disc = {0};
	uint64_t before, after;

	tw_start(&disc, &t.disc_addr);
	assert_int_equal(tw_connect(&disc, NVME_DISC_NQN, 0, 0xffff, NULL), 0);
	tw_enable(&disc);
	assert_int_equal(disc_log(&disc, &before), 1);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		ask_events(&disc, 1u << 31);
		control(steps[i].fn);
		assert_int_equal(next_event(&disc), 0x0070f002);
		assert_int_equal(disc_log(&disc, &after), steps[i].entries);
		assert_true(after > before);
		before = after;
	}
	tw_close(&disc);
	control_wait(remove_second);
	control_wait(unlisten_far);
}

/* --- everything at once --- */

#define CHURN_NS    4
#define CHURN_CONNS 4
#define CHURN_IOS   2000

static struct {
	struct rng rng;
	struct timer timer;
	bool is_over;
	unsigned changes, pending;
} churn;

static void churn_done(void *arg)
{
	churn.pending--;
}

static void churn_fire(struct timer *timer)
{
	uint32_t nsid = 1 + (uint32_t)rng_below(&churn.rng, CHURN_NS);
	struct tgt_ns_info info;
	struct bdev *bdev;

	if (churn.is_over) {
		if (churn.pending)
			timer_set(t.control.loop, timer, NS_PER_MS);
		else
			gate_open(&gate);
		return;
	}
	churn.changes++;
	if (tgt_ns_info_get(t.ss, nsid, &info)) {
		churn.pending++;
		ASSERT(!tgt_ns_remove(t.ss, nsid, churn_done, NULL, &err));
	} else {
		ASSERT(!bdev_ram_create(NULL, CHURN_CONNS * 32768, &bdev,
					&err));
		ASSERT(tgt_ns_add(t.ss, bdev,
				  &(struct tgt_ns_opts){.nsid = nsid},
				  &err) > 0);
	}
	timer_set(t.control.loop, timer, rng_below(&churn.rng, 400000));
}

static int churn_start(void)
{
	churn.timer.fire = churn_fire;
	timer_set(t.control.loop, &churn.timer, 0);
	return 0;
}

static int churn_stop(void)
{
	churn.is_over = true;
	return 0;
}

/* A command finds a whole namespace or none.  Each connection has blocks of
 * its own, since writes to the same ones race as on a disk. */
static void test_churn(void **state)
{
	struct t_wire admin = {0}, io[CHURN_CONNS] = {0};
	static uint8_t buf[32768];
	struct rng rng;
	unsigned good = 0;

	churn.is_over = false;
	rng_seed(&churn.rng, t_seed());
	rng_seed(&rng, t_seed() + 1);
	tw_admin_queue(&admin, &t.addr);
	for (uint16_t i = 0; i < CHURN_CONNS; i++)
		tw_io_queue(&io[i], &t.addr, &admin, (uint16_t)(i + 1));
	control(churn_start);
	for (unsigned i = 0; i < CHURN_IOS; i++) {
		uint64_t at = rng_below(&rng, CHURN_CONNS);
		struct t_wire *w = &io[at];
		uint32_t nsid = 1 + (uint32_t)rng_below(&rng, CHURN_NS);
		uint32_t len = 4096u << rng_below(&rng, 4);
		bool is_write = rng_below(&rng, 2);
		uint16_t sc = is_write ? tw_write(w, nsid, at * 8, buf, len,
						  len <= 16384)
				       : tw_read(w, nsid, at * 8, buf, len);

		good += sc == NVME_SC_OK;
		if (sc && SC(sc) != NVME_SC_BAD_NS)
			fail_msg("I/O %u: status %03xh", i, sc);
	}
	gate_init(&gate);
	control(churn_stop);
	assert_true(gate_wait_for(&gate, WAIT_NS));
	print_message("%u of %d went well, %u changes\n", good, CHURN_IOS,
		      churn.changes);
	assert_true(good && churn.changes);
	for (unsigned i = 0; i < CHURN_CONNS; i++)
		tw_close(&io[i]);
	tw_close(&admin);
}

/* --- the end --- */

static int drain(void)
{
	tgt_drain(t.tgt, 400, on_done, NULL);
	return 0;
}

static void test_drain(void **state)
{
	struct t_wire plain = {0}, admin = {0}, io = {0}, pio = {0};
	static uint8_t data[4096];
	union pdu_hdr hdr;

	control(listen_far);
	control(add_second);
	control(attach_far);
	control(add_slow);
	tw_admin_queue(&plain, &t.addr);
	tw_io_queue(&pio, &t.addr, &plain, 1);
	assert_int_equal(connect2(&admin, &far, 0, 0xffff), NVME_SC_OK);
	tw_enable(&admin);
	ask_events(&admin, 0x800);
	assert_int_equal(connect2(&io, &far, 1, admin.cntlid), NVME_SC_OK);
	send_slow_write(&pio, data);
	gate_init(&gate);
	control(drain);
	assert_int_equal(next_event(&admin), 0x000c0302);
	assert_int_equal(tw_read(&io, 1, 0, data, 4096),
			 NVME_SC_ANA_INACCESSIBLE);
	tw_expect_eof(&plain); /* idle, and knows no ANA */
	t_slow_let_go();
	tw_recv(&pio, &hdr, NULL, 0); /* what was under way is answered */
	assert_int_equal(hdr.resp.cqe.status, 0);
	tw_expect_eof(&pio);
	tw_expect_eof(&io);
	tw_expect_eof(&admin);
	assert_true(gate_wait_for(&gate, WAIT_NS));
	tw_close(&plain);
	tw_close(&pio);
	tw_close(&io);
	tw_close(&admin);
}

static int setup(void **state)
{
	t_target_start(&t, NULL, 2);
	return 0;
}

static int teardown(void **state)
{
	t_target_stop(&t);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ns_leaves_under_io),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_subsystem_leaves),
		cmocka_unit_test(test_totals_are_the_subsystems),
		cmocka_unit_test(test_listener_leaves),
		cmocka_unit_test(test_ana),
		cmocka_unit_test(test_discovery),
		cmocka_unit_test(test_churn),
		cmocka_unit_test(test_drain),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
