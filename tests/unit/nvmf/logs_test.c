/* SPDX-License-Identifier: Apache-2.0 */
/* Asynchronous events and log pages. */
#include "world.h"

static bool mute(struct fake_conn *c, const union pdu_hdr *hdr,
		 const uint8_t *data, uint32_t len)
{
	return true;
}

/* --- events --- */

static struct {
	int count;
	enum nvmf_event_kind kind[8];
	uint32_t nsids[8];
	size_t nsid_count;
	char text[128];
	bool closes;
} ev;

static void on_event(struct nvmf_ctrl *ctrl, const struct nvmf_event *e,
		     void *arg)
{
	assert_ptr_equal(ctrl, w.ctrl);
	ev.kind[ev.count++ % 8] = e->kind;
	ev.nsid_count = e->nsid_count;
	for (size_t i = 0; i < MIN(e->nsid_count, (size_t)8); i++)
		ev.nsids[i] = e->nsids[i];
	snprintf(ev.text, sizeof(ev.text), "%s", e->text);
	if (ev.closes)
		nvmf_ctrl_close(TAKE(w.ctrl), world_counted, &w.ctrl_closed);
}

static struct {
	struct fake_conn *conn;
	uint16_t cid, sc;
	unsigned waiting, reads;
	unsigned lie_at; /* this read tells of 20 ANA groups */
	uint8_t lid;
	uint8_t page[8192] __attribute__((aligned(8)));
	uint32_t aec;
	bool is_log_fake; /* the fake's own log pages */
} a;

/* Keeps the event request, serves any log page from a.page. */
static bool admin_hook(struct fake_conn *c, const union pdu_hdr *hdr,
		       const uint8_t *data, uint32_t len)
{
	const struct nvme_sqe *sqe = &hdr->cmd.sqe;
	uint32_t bytes = (sqe->cdw10 >> 16) * 4 + 4;

	if (hdr->ch.type != PDU_CAPSULE_CMD || c->qid)
		return false;
	switch (sqe->opcode) {
	case NVME_ADM_AER:
		a.conn = c;
		a.cid = sqe->cid;
		a.waiting++;
		if (a.sc)
			fake_resp(c, sqe->cid, a.sc, 0);
		return true;
	case NVME_ADM_SET_FEATURES:
		if ((sqe->cdw10 & 0xff) == NVME_FEAT_FID_ASYNC_EVENT)
			a.aec = sqe->cdw11;
		return false;
	case NVME_ADM_GET_LOG:
		if (a.is_log_fake)
			return false;
		a.lid = (uint8_t)sqe->cdw10;
		a.reads++;
		if (a.lie_at)
			a.page[8] = a.reads == a.lie_at ? 20 : 2;
		assert_true(sqe->cdw12 + bytes <= sizeof(a.page));
		fake_data(c, sqe->cid, a.page + sqe->cdw12, bytes);
		return true;
	default:
		return false;
	}
}

static void start_admin(void)
{
	memset(&ev, 0, sizeof(ev));
	memset(&a, 0, sizeof(a));
	w.fake.hook = admin_hook;
	w.fake.id.oaes = 0xb00;
	w.fake.id.cmic = 8;
	w.fake.id.nanagrpid = 4;
	w.opts.on_event = on_event;
	world_ctrl_open();
	world_until(&w.ctrl_live);
	world_run_ms(5);
	assert_int_equal(a.waiting, 1);
}

static void send_event(uint8_t type, uint8_t info, uint8_t lid)
{
	fake_resp(a.conn, a.cid, NVME_SC_OK,
		  type | (uint32_t)info << 8 | (uint32_t)lid << 16);
	world_run_ms(10);
}

static void test_events(void **state)
{
	static const struct {
		uint8_t type, info, lid;
		enum nvmf_event_kind kind;
		unsigned reads;
		const char *word;
	} cases[] = {
		{2, 0, 4, NVMF_EVENT_NS_CHANGED, 1, "namespace"},
		{2, 3, 12, NVMF_EVENT_ANA_CHANGED, 0, "ANA"},
		{2, 1, 3, NVMF_EVENT_FIRMWARE, 1, "firmware"},
		{1, 2, 2, NVMF_EVENT_SMART, 1, "spare"},
		{0, 3, 1, NVMF_EVENT_ERROR, 1, "persistent"},
		{7, 9, 0, NVMF_EVENT_OTHER, 0, "don't know"},
		{2, 0xf0, 0x70, NVMF_EVENT_DISCOVERY_CHANGED, 0, "discovery"},
	};

	start_admin();
	assert_int_equal(a.aec, 0xb1f);
	((uint32_t *)a.page)[0] = 3;
	((uint32_t *)a.page)[1] = 17;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		a.reads = 0;
		ev.nsid_count = 0;
		send_event(cases[i].type, cases[i].info, cases[i].lid);
		assert_int_equal(ev.count, i + 1);
		assert_int_equal(ev.kind[i], cases[i].kind);
		assert_int_equal(a.reads, cases[i].reads);
		assert_non_null(strstr(ev.text, cases[i].word));
		assert_int_equal(a.waiting, i + 2); /* asked for again */
		assert_int_equal(ev.nsid_count, i ? 0 : 2);
	}
	assert_int_equal(ev.nsids[1], 17);
}

static void test_many_changed(void **state)
{
	start_admin();
	memset(a.page, 0xff, 4);
	send_event(2, 0, 4);
	assert_int_equal(ev.count, 1);
	assert_int_equal(ev.nsid_count, 0);
}

/* A target that refuses a request for events is asked again, not in a loop. */
static void test_event_refused(void **state)
{
	start_admin();
	a.sc = NVME_SC_INTERNAL;
	send_event(2, 3, 12);
	assert_int_equal(a.waiting, 2);
	world_run_ms(3500);
	assert_in_range(a.waiting, 4, 6);
	a.sc = 0;
	world_run_ms(1500);
	send_event(2, 3, 12);
	assert_int_equal(ev.count, 2);
	assert_int_equal(w.ctrl_failed, 0);
}

static void test_close_in_event(void **state)
{
	start_admin();
	ev.closes = true;
	send_event(2, 0, 4);
	world_until(&w.ctrl_closed);
	assert_int_equal(ev.count, 1);
}

/* --- log pages --- */

static int called, got_ret;
static struct nvmf_smart smart;

static void smart_done(int ret, const struct nvmf_smart *s, void *arg)
{
	called++;
	got_ret = ret;
	if (!ret)
		smart = *s;
}

static void test_smart(void **state)
{
	struct nvme_smart_log *log = (void *)a.page;

	start_admin();
	called = 0;
	log->critical_warning = 4;
	log->temperature[0] = 0x2c;
	log->temperature[1] = 1;
	log->data_units_written[0] = 2;
	log->host_reads[8] = 1;
	log->media_errors[0] = 9;
	assert_int_equal(nvmf_smart_get(w.ctrl, smart_done, NULL), 0);
	world_until(&called);
	assert_int_equal(got_ret, 0);
	assert_int_equal(a.lid, 2);
	assert_int_equal(smart.critical_warning, 4);
	assert_int_equal(smart.temperature_k, 300);
	assert_int_equal(smart.written_bytes, 1024000);
	assert_true(smart.reads == UINT64_MAX);
	assert_int_equal(smart.media_errors, 9);
	w.fake.hook = mute;
	called = 0;
	assert_int_equal(nvmf_smart_get(w.ctrl, smart_done, NULL), 0);
	world_until(&called);
	assert_int_equal(got_ret, -ENOTCONN);
	assert_int_equal(w.ctrl_failed, 1);
}

static void ana_done(int ret, const struct nvmf_ana_group *g, size_t count,
		     void *arg)
{
	called++;
	got_ret = ret;
	if (ret)
		return;
	assert_int_equal(count, 2);
	assert_int_equal(g[0].id, 1);
	assert_int_equal(g[0].state, NVME_ANA_STATE_OPTIMIZED);
	assert_int_equal(g[0].nsid_count, 1);
	assert_int_equal(g[0].nsids[0], 5);
	assert_int_equal(g[1].id, 2);
	assert_int_equal(g[1].state, NVME_ANA_STATE_INACCESSIBLE);
	assert_int_equal(g[1].nsid_count, 0);
}

static void test_ana(void **state)
{
	uint32_t *p = (void *)a.page;

	start_admin();
	p[0] = 8;	      /* change count */
	p[2] = 2;	      /* groups */
	p[4] = 1, p[5] = 1;   /* group 1 with one namespace */
	p[8] = 1;	      /* optimized */
	p[12] = 5;	      /* its id */
	p[13] = 2, p[17] = 3; /* group 2, inaccessible */
	called = 0;
	assert_int_equal(nvmf_ana_get(w.ctrl, ana_done, NULL), 0);
	world_until(&called);
	assert_int_equal(got_ret, 0);
	/* Another number of groups in the last look, under the same count. */
	called = 0;
	a.lie_at = a.reads + 3;
	assert_int_equal(nvmf_ana_get(w.ctrl, ana_done, NULL), 0);
	world_until(&called);
	assert_int_equal(got_ret, 0);
	assert_int_equal(a.reads, a.lie_at + 3);
	a.lie_at = 0;
	p[5] = 1000; /* more ids than the page could hold */
	called = 0;
	assert_int_equal(nvmf_ana_get(w.ctrl, ana_done, NULL), 0);
	world_until(&called);
	assert_int_equal(got_ret, -EPROTO);
}

/* --- namespaces and discovery --- */

static struct nvmf_ns_info ns;

static void ns_done(int ret, const struct nvmf_ns_info *found, size_t count,
		    void *arg)
{
	called++;
	assert_int_equal(ret, 0);
	assert_int_equal(count, 1);
	ns = *found;
}

static void test_namespace_hints(void **state)
{
	called = 0;
	w.fake.id.cmic = 8;
	w.fake.ns.anagrpid = 7;
	w.fake.ns.noiob = 256;
	w.fake.ns.npwg = 7;
	w.fake.ns.npwa = 3;
	w.fake.ns.nows = 15;
	w.fake.ns.nsfeat = 1 << 4;
	w.fake.ns.nmic = 1;
	w.fake.ns.nsattr = 1;
	world_ctrl_open();
	world_until(&w.ctrl_live);
	assert_int_equal(nvmf_ns_get(w.ctrl, 1, ns_done, NULL), 0);
	world_until(&called);
	assert_int_equal(ns.ana_group, 7);
	assert_int_equal(ns.opt_boundary_lba, 256);
	assert_int_equal(ns.write_granularity_lba, 8);
	assert_int_equal(ns.write_align_lba, 4);
	assert_int_equal(ns.opt_write_lba, 16);
	assert_true(ns.is_shared && ns.is_write_protected);
	assert_true(ns.is_not_ready); /* the fake's NSTAT is 0 */
	w.fake.ns.nsfeat = 0;
	called = 0;
	assert_int_equal(nvmf_ns_get(w.ctrl, 1, ns_done, NULL), 0);
	world_until(&called);
	assert_int_equal(ns.write_granularity_lba, 0);
}

static size_t entries;

static void disc_done(int ret, const struct nvmf_disc_entry *e, size_t count,
		      void *arg)
{
	called++;
	assert_int_equal(ret, 0);
	entries = count;
}

/* It stays connected by keep-alive, and tells when to read again. */
static void test_persistent_discovery(void **state)
{
	memset(&ev, 0, sizeof(ev));
	memset(&a, 0, sizeof(a));
	a.is_log_fake = true;
	w.fake.hook = admin_hook;
	w.fake.id.oaes = 1u << 31;
	w.fake.id.cntrltype = 2;
	w.fake.numrec = 2;
	snprintf(w.opts.subnqn, sizeof(w.opts.subnqn), "%s", NVME_DISC_NQN);
	w.opts.on_event = on_event;
	world_ctrl_open();
	world_until(&w.ctrl_live);
	assert_int_equal(a.aec, 1u << 31);
	world_run_ms(60000);
	assert_true(w.fake.keep_alives >= 20);
	w.fake.numrec = 3;
	send_event(2, 0xf0, 0x70);
	assert_int_equal(ev.count, 1);
	assert_int_equal(ev.kind[0], NVMF_EVENT_DISCOVERY_CHANGED);
	called = 0;
	assert_int_equal(nvmf_discover(w.ctrl, disc_done, NULL), 0);
	world_until(&called);
	assert_int_equal(entries, 3);
	assert_int_equal(w.ctrl_failed, 0);
}

static void test_info_differs(void **state)
{
	struct nvmf_ctrl_info old = {.io_queues = 4, .mqes = 128};
	struct nvmf_ctrl_info now = old;
	struct err text;

	assert_false(nvmf_ctrl_info_differs(&old, &now, &text));
	assert_string_equal(text.text, "");
	now.io_queues = 1;
	snprintf(now.firmware, sizeof(now.firmware), "2.0");
	assert_true(nvmf_ctrl_info_differs(&old, &now, &text));
	assert_string_equal(text.text,
			    "I/O queues 1, was 4; firmware '2.0', was ''");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_events),		 T(test_many_changed),
		T(test_event_refused),	 T(test_close_in_event),
		T(test_smart),		 T(test_ana),
		T(test_namespace_hints), T(test_persistent_discovery),
		T(test_info_differs),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
