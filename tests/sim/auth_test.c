/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's deadlines while a host authenticates, by the simulator's clock.
 * The host here is a slow one: it sends what it should, when it pleases.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "crypt/dhchap.h"
#include "io/sim.h"
#include "io/stream.h"
#include "nvme/auth.h"
#include "nvme/pdu.h"
#include "target/target.h"

#define NQN  "nqn.2024-01.org.example:auth"
#define HOST "nqn.2024-01.org.example:host"
#define T_ID 7

static struct {
	struct io_sim *sim;
	struct loop *loop;
	struct tgt *tgt;
	struct tgt_keys keys;
	struct addr addr;
	struct stream s;
	uint8_t rx[16384];
	size_t rx_len, mark;
	struct iovec in;
	bool is_up, is_down, is_closed, is_stopped;
	uint8_t msg[AUTH_MSG_MAX]; /* the last that came */
} w;

static void run_ms(uint64_t ms)
{
	uint64_t end = io_sim_now_ns(w.sim) + ms * NS_PER_MS;

	while (io_sim_now_ns(w.sim) < end)
		io_sim_step(w.sim, MIN(io_sim_now_ns(w.sim) + NS_PER_MS, end));
}

/* --- the host --- */

static void receive(void);

static void on_recv(struct stream *s, int res)
{
	w.is_down = res <= 0;
	if (w.is_down)
		return;
	w.rx_len += (size_t)res;
	receive();
}

static void receive(void)
{
	assert_true(w.rx_len < sizeof(w.rx));
	w.in = (struct iovec){w.rx + w.rx_len, sizeof(w.rx) - w.rx_len};
	stream_recv(&w.s, &w.in, 1, on_recv);
}

static void on_up(struct stream *s, int res)
{
	assert_int_equal(res, 0);
	w.is_up = true;
	receive();
}

static void on_sent(struct stream *s, int res)
{
}

static void on_closed(struct stream *s)
{
	w.is_closed = true;
}

/* What comes back is behind w.mark then. */
static void send_bytes(const void *p, size_t n)
{
	struct iovec iov = {(void *)(uintptr_t)p, n};

	w.mark = w.rx_len;
	if (!w.is_down)
		stream_send(&w.s, &iov, 1, on_sent);
	run_ms(5);
}

/* A command with its data in the capsule. */
static void command(struct nvme_sqe *sqe, const void *data, uint32_t len)
{
	static struct {
		struct pdu_cmd cmd;
		uint8_t data[4096];
	} pdu;

	memset(&pdu, 0, sizeof(pdu));
	pdu.cmd.ch.type = PDU_CAPSULE_CMD;
	pdu.cmd.sqe = *sqe;
	if (len)
		pdu.cmd.sqe.sgl = (struct nvme_sgl){
			.len = len, .type = NVME_SGL_DATA_OFFSET};
	pdu_finish(&pdu.cmd.ch, len, false, false, 0);
	memcpy(pdu.data, data ? data : "", len);
	send_bytes(&pdu, sizeof(pdu.cmd) + len);
}

static void connect_admin(void)
{
	struct nvme_connect_data data = {.cntlid = 0xffff};
	struct nvme_sqe sqe;
	struct pdu_ic ic;

	stream_init(&w.s, w.loop, NULL);
	stream_connect(&w.s, &w.addr, 1000, NULL, on_up);
	run_ms(5);
	assert_true(w.is_up);
	pdu_icreq(&ic, 0, 0, 0);
	send_bytes(&ic, sizeof(ic));
	memcpy(data.subnqn, NQN, sizeof(NQN));
	memcpy(data.hostnqn, HOST, sizeof(HOST));
	data.hostid[0] = 1;
	nvme_cmd_connect(&sqe, 0, 31, 0);
	command(&sqe, &data, sizeof(data));
	assert_false(w.is_down);
}

static void auth_send(const void *msg, size_t n)
{
	struct nvme_sqe sqe;

	nvme_cmd_auth(&sqe, true, (uint32_t)n);
	command(&sqe, msg, (uint32_t)n);
}

/* The message that the target has for us, in w.msg; its kind. */
static int auth_recv(void)
{
	struct nvme_sqe sqe;
	struct pdu_data pdu;
	uint16_t t_id;

	nvme_cmd_auth(&sqe, false, sizeof(w.msg));
	sqe.sgl = (struct nvme_sgl){.len = sizeof(w.msg),
				    .type = NVME_SGL_TRANSPORT};
	command(&sqe, NULL, 0);
	assert_true(w.rx_len >= w.mark + sizeof(pdu) + sizeof(w.msg));
	memcpy(&pdu, w.rx + w.mark, sizeof(pdu));
	assert_int_equal(pdu.ch.type, PDU_C2H_DATA);
	memcpy(w.msg, w.rx + w.mark + pdu.ch.pdo, sizeof(w.msg));
	return auth_peek(w.msg, sizeof(w.msg), &t_id);
}

static void negotiate(void)
{
	struct auth_negotiate msg = {.t_id = T_ID,
				     .hashes = {1, {DHCHAP_SHA256}},
				     .groups = {1, {DHCHAP_GROUP_NULL}}};
	uint8_t out[AUTH_MSG_MAX];

	auth_send(out, auth_negotiate_encode(&msg, out));
	assert_int_equal(auth_recv(), AUTH_CHALLENGE);
}

static void reply(void)
{
	struct dhchap_response in = {
		.key = &w.keys.host,
		.hash = DHCHAP_SHA256,
		.t_id = T_ID,
		.hostnqn = HOST,
		.subnqn = NQN,
	};
	uint8_t rval[DHCHAP_HASH_MAX], out[AUTH_MSG_MAX];
	struct auth_reply msg = {.t_id = T_ID, .hl = 32, .rval = rval};
	struct auth_challenge challenge;

	assert_int_equal(
		auth_challenge_decode(w.msg, sizeof(w.msg), &challenge), 0);
	in.challenge = challenge.cval;
	in.seqnum = challenge.seqnum;
	assert_int_equal(dhchap_respond(&in, rval), 0);
	auth_send(out, auth_reply_encode(&msg, out));
}

static void authenticate(void)
{
	negotiate();
	reply();
	assert_int_equal(auth_recv(), AUTH_SUCCESS1);
}

/* --- tests --- */

/* From now on it takes so long until the target hangs up. */
static void hangs_up_after_ms(uint64_t ms)
{
	run_ms(ms - 50);
	assert_false(w.is_down);
	run_ms(100);
	assert_true(w.is_down);
}

static void test_nothing_comes(void **state)
{
	connect_admin();
	hangs_up_after_ms(10000);
}

/* To begin again and again gives no more time. */
static void test_no_end(void **state)
{
	connect_admin();
	for (int i = 0; i < 3; i++) {
		negotiate();
		run_ms(3000 - 10);
	}
	hangs_up_after_ms(1000);
}

static void test_in_time(void **state)
{
	connect_admin();
	run_ms(9900);
	authenticate();
	run_ms(60000);
	assert_false(w.is_down);
}

/* A reply counts for ten seconds from its challenge on, also where nothing
 * else waits for it. */
static void test_late_reply(void **state)
{
	struct auth_failure failure;

	connect_admin();
	authenticate();
	run_ms(20000);
	negotiate();
	run_ms(9900);
	reply();
	assert_int_equal(auth_recv(), AUTH_SUCCESS1);
	negotiate();
	run_ms(10100);
	assert_false(w.is_down);
	reply();
	assert_int_equal(auth_recv(), AUTH_FAILURE1);
	auth_failure_decode(w.msg, sizeof(w.msg), &failure);
	assert_int_equal(failure.why, AUTH_WHY_MESSAGE);
	run_ms(1100);
	assert_true(w.is_down);
}

/* A host that has failed may ask for the reason, not for ever. */
static void test_reason_not_asked_for(void **state)
{
	connect_admin();
	authenticate();
	run_ms(60000);
	auth_send("rubbish", 7);
	hangs_up_after_ms(10000);
}

static int setup(void **state)
{
	struct loop_opts lo = {.backend = IO_BACKEND_SIM, .name = "auth"};
	struct tgt_subsys *ss;
	struct err err = {0};

	memset(&w, 0, sizeof(w));
	lo.sim = w.sim = io_sim_create(1);
	assert_int_equal(loop_create(&lo, &w.loop, &err), 0);
	assert_int_equal(
		tgt_create(&(struct tgt_opts){.loop = w.loop}, &w.tgt, &err),
		0);
	assert_int_equal(tgt_subsys_add(w.tgt,
					&(struct tgt_subsys_opts){.nqn = NQN},
					&ss, &err),
			 0);
	assert_int_equal(dhchap_key_make(DHCHAP_SHA256, 32, &w.keys.host), 0);
	assert_int_equal(tgt_keys_set(w.tgt, NULL, HOST, &w.keys), 0);
	assert_int_equal(addr_parse("127.0.0.1", 4420, &w.addr), 0);
	assert_int_equal(tgt_listen(w.tgt, &w.addr, &err), 0);
	return 0;
}

static void on_stopped(void *arg)
{
	w.is_stopped = true;
}

static int teardown(void **state)
{
	stream_close(&w.s, on_closed);
	run_ms(100);
	assert_true(w.is_closed);
	tgt_stop(w.tgt, on_stopped, NULL);
	run_ms(5000);
	assert_true(w.is_stopped);
	run_ms(10);
	loop_destroy(w.loop);
	io_sim_destroy(w.sim);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_comes),
		TEST(test_no_end),
		TEST(test_in_time),
		TEST(test_late_reply),
		TEST(test_reason_not_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
