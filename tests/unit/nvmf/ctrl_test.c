/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's life: set-up, sentences of failure, keep-alive, closing. */
#include "world.h"

static void test_live(void **state)
{
	const struct nvmf_ctrl_info *info;

	w.opts.kato_ms = 4000;
	world_ctrl_open();
	world_until(&w.ctrl_live);
	info = nvmf_ctrl_info(w.ctrl);
	assert_int_equal(info->cntlid, FAKE_CNTLID);
	assert_int_equal(info->io_queues, 2);
	assert_int_equal(info->mqes, 128);
	assert_int_equal(info->max_transfer, 128 << 10);
	assert_int_equal(info->icd_bytes, 4096);
	assert_string_equal(info->serial, "SERIAL");
	assert_false(info->is_discovery);
	assert_int_equal(w.fake.cc, 0x460001);

	/* Every half KATO, for a minute of silence. */
	world_run_ms(60 * 1000);
	assert_in_range(w.fake.keep_alives, 28, 31);
	assert_int_equal(w.ctrl_failed, 0);
	assert_int_equal(w.fake.shutdowns, 0);
	nvmf_ctrl_close(w.ctrl, world_counted, &w.ctrl_closed);
	world_until(&w.ctrl_closed);
	w.ctrl = NULL;
	assert_int_equal(w.fake.shutdowns, 1);
}

/* One PDU of the largest command must not be too long for us. */
static void test_no_mdts(void **state)
{
	w.fake.id.mdts = 0;
	world_ctrl_open();
	world_until(&w.ctrl_live);
	assert_int_equal(nvmf_ctrl_info(w.ctrl)->max_transfer, 32 << 20);
}

static void test_enabled_before(void **state)
{
	w.fake.cc = 0x460001;
	world_ctrl_open();
	world_until(&w.ctrl_live);
	assert_int_equal(w.fake.cc, 0x460001);
}

static void expect_failure(int code, const char *word)
{
	world_ctrl_open();
	world_until(&w.ctrl_failed);
	assert_int_equal(w.ctrl_live, 0);
	if (w.err.code != code || !strstr(w.err.text, word))
		fail_msg("%d '%s' does not say '%s'", w.err.code, w.err.text,
			 word);
}

static void test_refused(void **state)
{
	addr_set_port(&w.opts.addr, 4421);
	expect_failure(-ECONNREFUSED, "127.0.0.1:4421: connection refused");
}

static uint16_t connect_sc;
static uint32_t connect_dw0;

static bool refuse_connect(struct fake_conn *c, const union pdu_hdr *hdr,
			   const uint8_t *data, uint32_t len)
{
	if (hdr->ch.type != PDU_CAPSULE_CMD)
		return false;
	fake_resp(c, hdr->cmd.sqe.cid, connect_sc, connect_dw0);
	return true;
}

static void test_connect_refused(void **state)
{
	static const struct {
		uint16_t sc;
		uint32_t dw0;
		int code;
		const char *word;
	} cases[] = {
		{NVME_SC_CONNECT_BAD_PARAM, 0x10100, -EINVAL,
		 "no such subsystem or host not allowed (invalid parameters, "
		 "SUBNQN)"},
		{NVME_SC_CONNECT_BAD_PARAM, 0x10200, -EINVAL, "HOSTNQN"},
		{NVME_SC_CONNECT_BAD_PARAM, 0x0002c, -EINVAL, "SQSIZE"},
		{NVME_SC_CONNECT_BAD_PARAM, 0x10003, -EINVAL, "no field"},
		{NVME_SC_CONNECT_BAD_HOST, 0, -EACCES, "not on its list"},
		{NVME_SC_CONNECT_CTRL_BUSY, 0, -EBUSY, "no room"},
		{NVME_SC_DNR | NVME_SC_INTERNAL, 0, -EIO, "status 006h"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		connect_sc = cases[i].sc;
		connect_dw0 = cases[i].dw0;
		w.fake.hook = refuse_connect;
		expect_failure(cases[i].code, cases[i].word);
		assert_non_null(strstr(w.err.text, FAKE_NQN));
		if (cases[i].code == -EINVAL || cases[i].code == -EACCES)
			assert_non_null(strstr(w.err.text, w.opts.host.nqn));
		world_reset();
	}
}

static uint8_t silent_type, silent_opcode;

static bool be_silent(struct fake_conn *c, const union pdu_hdr *hdr,
		      const uint8_t *data, uint32_t len)
{
	return hdr->ch.type == silent_type &&
	       (silent_type != PDU_CAPSULE_CMD ||
		hdr->cmd.sqe.opcode == silent_opcode);
}

static void test_silence(void **state)
{
	static const struct {
		uint8_t type, opcode;
		const char *word;
	} cases[] = {
		{PDU_ICREQ, 0, "no ICResp within 3000 ms"},
		{PDU_CAPSULE_CMD, NVME_OP_FABRICS, "Connect"},
		{PDU_CAPSULE_CMD, NVME_ADM_IDENTIFY, "Identify Controller"},
		{PDU_CAPSULE_CMD, NVME_ADM_SET_FEATURES, "asking for events"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t start_ms = io_sim_now_ns(w.sim) / NS_PER_MS;

		silent_type = cases[i].type;
		silent_opcode = cases[i].opcode;
		w.fake.hook = be_silent;
		expect_failure(-ETIMEDOUT, cases[i].word);
		assert_in_range(io_sim_now_ns(w.sim) / NS_PER_MS - start_ms,
				2990, 5010);
		world_reset();
	}
}

static void test_keep_alive_lost(void **state)
{
	w.opts.kato_ms = 1000;
	world_ctrl_open();
	world_until(&w.ctrl_live);
	silent_type = PDU_CAPSULE_CMD;
	silent_opcode = NVME_ADM_KEEP_ALIVE;
	w.fake.hook = be_silent;
	world_run_ms(1100);
	assert_int_equal(w.ctrl_failed, 1);
	assert_int_equal(w.err.code, -ETIMEDOUT);
}

static bool never_ready(struct fake_conn *c, const union pdu_hdr *hdr,
			const uint8_t *data, uint32_t len)
{
	const struct nvme_sqe *sqe = &hdr->cmd.sqe;

	if (hdr->ch.type != PDU_CAPSULE_CMD || sqe->opcode != NVME_OP_FABRICS ||
	    (sqe->nsid & 0xff) != NVME_FCTYPE_PROP_GET ||
	    sqe->cdw11 != NVME_PROP_CSTS)
		return false;
	fake_resp(c, sqe->cid, NVME_SC_OK, 0);
	return true;
}

static void test_never_ready(void **state)
{
	uint64_t start_ms = io_sim_now_ns(w.sim) / NS_PER_MS;

	w.fake.hook = never_ready;
	expect_failure(-ETIMEDOUT, "waiting until it is ready");
	/* CAP.TO says 15 s. */
	assert_in_range(io_sim_now_ns(w.sim) / NS_PER_MS - start_ms, 15000,
			15500);
}

static void test_bad_identify(void **state)
{
	w.fake.id.ioccsz = 3;
	expect_failure(-EPROTO, "IOCCSZ");
	world_reset();
	w.fake.id.sqes = 0x77;
	expect_failure(-EOPNOTSUPP, "queue entry sizes");
}

static void close_inside(struct nvmf_ctrl *ctrl, enum nvmf_state state,
			 const struct err *err, void *arg)
{
	nvmf_ctrl_close(ctrl, world_counted, arg);
}

static void test_close_inside_state(void **state)
{
	int closed = 0;

	assert_int_equal(
		nvmf_ctrl_open(w.loop, &w.opts, close_inside, &closed, &w.ctrl),
		0);
	world_until(&closed);
	addr_set_port(&w.opts.addr, 1);
	closed = 0;
	assert_int_equal(
		nvmf_ctrl_open(w.loop, &w.opts, close_inside, &closed, &w.ctrl),
		0);
	world_until(&closed);
	w.ctrl = NULL;
	assert_int_equal(closed, 1);
}

/* Closing after every PDU of the set-up, and before the first. */
static void test_close_any_time(void **state)
{
	for (unsigned n = 0; n < 14; n++) {
		world_ctrl_open();
		while (w.fake.pdus_sent < n && !w.ctrl_live)
			io_sim_step(w.sim, io_sim_now_ns(w.sim) + NS_PER_S);
		world_reset(); /* closes, asserts that done came once */
	}
}

/* --- namespaces --- */

static int listed, list_ret;
static size_t list_count;
static struct nvmf_ns_info first, last;

static void list_done(int ret, const struct nvmf_ns_info *ns, size_t count,
		      void *arg)
{
	listed++;
	list_ret = ret;
	list_count = count;
	if (count) {
		first = ns[0];
		last = ns[count - 1];
	}
}

static void list_ns(uint32_t nsid)
{
	listed = 0;
	if (nsid)
		nvmf_ns_get(w.ctrl, nsid, list_done, NULL);
	else
		nvmf_ns_list(w.ctrl, list_done, NULL);
	world_until(&listed);
	assert_int_equal(listed, 1);
}

static void test_namespaces(void **state)
{
	world_ctrl_open();
	world_until(&w.ctrl_live);
	w.fake.nn = 1030; /* more than one page of ids */
	list_ns(0);
	assert_int_equal(list_ret, 0);
	assert_int_equal(list_count, 1030);
	assert_int_equal(first.nsid, 1);
	assert_int_equal(last.nsid, 1030);
	assert_int_equal(last.size_lba, FAKE_BLOCKS);
	assert_int_equal(last.lba_bytes, FAKE_LBA);
	assert_int_equal(last.uuid[1], 0xbb);
	w.fake.nn = 0;
	list_ns(0);
	assert_int_equal(list_ret, 0);
	assert_int_equal(list_count, 0);
	list_ns(7);
	assert_int_equal(list_ret, -ENODEV);
	w.fake.nn = 7;
	list_ns(7);
	assert_int_equal(list_ret, 0);
	assert_int_equal(list_count, 1);
	assert_int_equal(first.nsid, 7);
}

/* No list is no UUID; one that could not be told now is no answer. */
static void test_no_descriptors(void **state)
{
	static const struct {
		uint16_t sc;
		bool is_absent;
	} cases[] = {
		{NVME_SC_BAD_FIELD, true},
		{NVME_SC_BAD_OPCODE, true},
		{NVME_SC_INTERNAL | NVME_SC_DNR, true},
		{NVME_SC_INTERNAL, false},
		{NVME_SC_NS_NOT_READY, false},
	};
	static const uint8_t zero[16];

	world_ctrl_open();
	world_until(&w.ctrl_live);
	w.fake.nn = 1;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		w.fake.descs_sc = cases[i].sc;
		list_ns(1);
		assert_int_equal(list_ret == 0, cases[i].is_absent);
		if (list_ret == 0)
			assert_memory_equal(first.uuid, zero, 16);
		list_ns(1);
		assert_int_equal(list_ret, 0);
		assert_memory_not_equal(first.uuid, zero, 16);
	}
}

static void test_bad_namespace(void **state)
{
	static const struct nvme_id_ns bad[] = {
		{.nsze = 100, .lbaf[0].ds = 8},	 /* 256 bytes */
		{.nsze = 100, .lbaf[0].ds = 17}, /* 128 KiB */
		{.nsze = 100, .lbaf[0].ds = 255},
		{.nsze = 100, .flbas = 1, .lbaf[1].ds = 9}, /* one format */
		{.nsze = UINT64_MAX, .lbaf[0].ds = 12},
	};

	world_ctrl_open();
	world_until(&w.ctrl_live);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		w.fake.ns = bad[i];
		list_ns(1);
		assert_int_equal(list_ret, -EPROTO);
		list_ns(0);
		assert_int_equal(list_ret, 0);
		assert_int_equal(list_count, 0);
	}
	w.fake.ns = (struct nvme_id_ns){
		.nsze = 5, .nlbaf = 1, .flbas = 1, .lbaf[1] = {8, 12}};
	list_ns(1);
	assert_int_equal(list_ret, 0);
	assert_int_equal(first.lba_bytes, 4096);
	assert_int_equal(first.metadata_bytes, 8);
}

/* --- discovery --- */

static int discovered, disc_ret;
static size_t disc_count;
static struct nvmf_disc_entry disc_last;

static void disc_done(int ret, const struct nvmf_disc_entry *entries,
		      size_t count, void *arg)
{
	discovered++;
	disc_ret = ret;
	disc_count = count;
	if (count)
		disc_last = entries[count - 1];
}

static void discover(void)
{
	discovered = 0;
	assert_int_equal(nvmf_discover(w.ctrl, disc_done, NULL), 0);
	world_until(&discovered);
	assert_int_equal(discovered, 1);
}

static void test_discovery(void **state)
{
	w.fake.id.cntrltype = 2;
	w.fake.id.ioccsz = 0;
	snprintf(w.opts.subnqn, sizeof(w.opts.subnqn), "%s", NVME_DISC_NQN);
	world_ctrl_open();
	world_until(&w.ctrl_live);
	assert_true(nvmf_ctrl_info(w.ctrl)->is_discovery);
	discover();
	assert_int_equal(disc_ret, 0);
	assert_int_equal(disc_count, 0);
	w.fake.numrec = 100;
	w.fake.genctr_moves = 2;
	discover();
	assert_int_equal(disc_ret, 0);
	assert_int_equal(disc_count, 100);
	assert_string_equal(disc_last.ep.traddr, "10.0.0.100");
	assert_string_equal(disc_last.ep.subnqn, FAKE_NQN "99");
	assert_int_equal(disc_last.ep.trsvcid, 4420);
	assert_int_equal(disc_last.subtype, 2);
	/* No text that could be taken for another key, or for a terminal. */
	w.fake.traddr = "10.0.0.1 ns:2";
	discover();
	assert_int_equal(disc_count, 0);
	w.fake.traddr = "10.0.0.1\x1b[2J";
	discover();
	assert_int_equal(disc_count, 0);
	w.fake.genctr_moves = 1000;
	discover();
	assert_int_equal(disc_ret, -EAGAIN);
	w.fake.numrec = 1u << 20;
	discover();
	assert_int_equal(disc_ret, -E2BIG);
}

#define TEST(fn)                                                               \
	cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_live),
		TEST(test_no_mdts),
		TEST(test_enabled_before),
		TEST(test_refused),
		TEST(test_connect_refused),
		TEST(test_silence),
		TEST(test_keep_alive_lost),
		TEST(test_never_ready),
		TEST(test_bad_identify),
		TEST(test_close_inside_state),
		TEST(test_close_any_time),
		TEST(test_namespaces),
		TEST(test_no_descriptors),
		TEST(test_bad_namespace),
		TEST(test_discovery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
