/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Media errors that clients report, and what the master does before it believes
 * them: one look at a time, however many reports there are.  A master with a
 * pool namespace, both in this process.
 */
#include "vol_env.h"

#include <unistd.h>

#include "master/doubt.h"
#include "rpc/client.h"
#include "t_master.h"
#include "target/fault.h"

#define KEYS  100
#define FLOOD 1000

struct world {
	struct env env;
	struct t_master *master;
	struct rpc_sync *rs;
	/* of k0, k1, … */
	char names[KEYS][8];
	uint64_t generations[KEYS];
	uint64_t lba[KEYS];
	struct uuid segment;
	/* do_rule() */
	char rule[96];
	uint32_t rule_id;
	uint64_t hits;
};

static const void *call(struct world *w, uint16_t method, const void *req)
{
	const ProtobufCMessage *rsp = NULL;
	struct err err = {0};

	if (rpc_sync_call(w->rs, method, req, &rsp, &err) < 0)
		fail_msg("%s: %s", method_name(method), err.text);
	return rsp;
}

static void mount(struct world *w)
{
	char text[ENDPOINT_TEXT_LEN], *endpoints[] = {text};
	Mc__Segment seg = MC__SEGMENT__INIT;
	Mc__MountReq req = MC__MOUNT_REQ__INIT;
	const Mc__MountRsp *rsp;

	env_endpoint(&w->env, 1, text);
	seg.kind = MC__KIND__NOF_SSD;
	seg.n_endpoints = 1;
	seg.endpoints = endpoints;
	req.segment = &seg;
	rsp = call(w, METHOD_MOUNT, &req);
	if (rsp->status)
		fail_msg("%d %s", rsp->status, rsp->error);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err err = {0};
	struct addr addr;

	env_init(&w->env, 4096);
	w->master = t_master_start(0);
	addr_parse("127.0.0.1", t_master_port(w->master), &addr);
	if (rpc_sync_open(&addr, 20000, &w->rs, &err))
		fail_msg("%s", err.text);
	mount(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	rpc_sync_close(w->rs);
	t_master_stop(w->master);
	env_fini(&w->env);
	free(w);
	return 0;
}

static ProtobufCBinaryData key_of(struct world *w, unsigned i)
{
	snprintf(w->names[i], sizeof(w->names[i]), "k%u", i);
	return (ProtobufCBinaryData){strlen(w->names[i]),
				     (uint8_t *)w->names[i]};
}

/* One block each; nobody writes them, nobody here reads them.  Puts of keys
 * [0, ended) come to their end. */
static void put_some(struct world *w, unsigned count, unsigned ended)
{
	static uint8_t client[16] = {1}, crc[4];
	Mc__PutStartReq req = MC__PUT_START_REQ__INIT;
	Mc__PutEndReq end = MC__PUT_END_REQ__INIT;
	Mc__PutItem items[KEYS], *item_list[KEYS];
	Mc__PutEndItem ends[KEYS], *end_list[KEYS];
	const Mc__PutStartRsp *rsp;

	req.client_id = end.client_id = (ProtobufCBinaryData){16, client};
	req.items = item_list;
	end.items = end_list;
	req.n_items = count;
	end.n_items = ended;
	for (unsigned i = 0; i < count; i++) {
		mc__put_item__init(&items[i]);
		item_list[i] = &items[i];
		items[i].key = key_of(w, i);
		items[i].size = 4096;
	}
	rsp = call(w, METHOD_PUT_START, &req);
	memcpy(w->segment.b, rsp->segments[0]->id.data, sizeof(w->segment.b));
	for (unsigned i = 0; i < count; i++) {
		const Mc__PutGrant *grant = rsp->grants[i];

		assert_int_equal(grant->status, 0);
		w->generations[i] = grant->generation;
		w->lba[i] = grant->replicas[0]->extents[0]->offset / 4096;
		mc__put_end_item__init(&ends[i]);
		end_list[i] = &ends[i];
		ends[i].key = key_of(w, i);
		ends[i].generation = grant->generation;
		ends[i].crcs = (ProtobufCBinaryData){4, crc};
	}
	call(w, METHOD_PUT_END, &end);
}

static void put(struct world *w, unsigned count)
{
	put_some(w, count, count);
}

/* Keys [first, first + count), each so many times, in one message. */
static const Mc__StatusRsp *report(struct world *w, unsigned first,
				   unsigned count, unsigned times)
{
	static Mc__ReportItem items[FLOOD], *list[FLOOD];
	Mc__ReportReq req = MC__REPORT_REQ__INIT;

	assert_true(count * times <= FLOOD);
	req.items = list;
	for (unsigned i = 0; i < count * times; i++) {
		unsigned k = first + i % count;
		Mc__ReportItem *item = &items[i];

		mc__report_item__init(item);
		item->problem = MC__PROBLEM__PROBLEM_MEDIA;
		item->key = key_of(w, k);
		item->generation = w->generations[k];
		item->segment_id = (ProtobufCBinaryData){sizeof(w->segment.b),
							 w->segment.b};
		list[req.n_items++] = item;
	}
	return call(w, METHOD_REPORT, &req);
}

static int status_of(struct world *w, unsigned i)
{
	Mc__GetReq req = MC__GET_REQ__INIT;
	ProtobufCBinaryData key = key_of(w, i);

	req.keys = &key;
	req.n_keys = 1;
	return ((const Mc__GetRsp *)call(w, METHOD_GET, &req))
		->objects[0]
		->status;
}

/* --- what the target sees --- */

static void do_rule(void *arg)
{
	struct world *w = arg;
	struct err err = {0};

	if (tgt_fault_set(w->env.tgt, w->rule, &w->rule_id, &err))
		fail_msg("%s", err.text);
}

/* For reads of that key's block; returns the rule's id. */
static uint32_t set_rule(struct world *w, const char *what, unsigned i)
{
	snprintf(w->rule, sizeof(w->rule), "%s,op=read,lba=%llu-%llu", what,
		 (unsigned long long)w->lba[i], (unsigned long long)w->lba[i]);
	shard_call(&w->env.shard, do_rule, w);
	return w->rule_id;
}

static void add_hits(const struct tgt_fault_info *info, void *arg)
{
	struct world *w = arg;

	if (info->id == w->rule_id)
		w->hits = info->injected;
}

static void do_list(void *arg)
{
	tgt_fault_list(((struct world *)arg)->env.tgt, add_hits, arg);
}

static uint64_t hits(struct world *w, uint32_t rule_id)
{
	w->rule_id = rule_id;
	shard_call(&w->env.shard, do_list, w);
	return w->hits;
}

static void until_hits(struct world *w, uint32_t rule_id, uint64_t n)
{
	uint64_t limit_ns = time_mono_ns() + 60 * NS_PER_S;

	while (hits(w, rule_id) < n) {
		assert_true(time_mono_ns() < limit_ns);
		usleep(5000);
	}
}

/* --- */

static void test_one_look_for_all(void **state)
{
	struct world *w = *state;
	uint32_t one, two;

	put(w, 5);
	/* Neither the oldest nor the youngest: only looks at themselves read
	 * them. */
	one = set_rule(w, "kind=delay,ms=1", 1);
	two = set_rule(w, "kind=delay,ms=1", 2);
	for (unsigned round = 1; round <= 2; round++) {
		const Mc__StatusRsp *rsp = report(w, 1, 1, FLOOD);

		for (unsigned i = 0; i < FLOOD; i++)
			assert_int_equal(rsp->status[i], 0);
		until_hits(w, one, round);
		/* What is noted later is looked at later. */
		report(w, 2, 1, 1);
		until_hits(w, two, round);
		assert_int_equal(hits(w, one), round);
	}
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(status_of(w, i), 0);
}

static void test_lost(void **state)
{
	struct world *w = *state;
	uint64_t limit_ns = time_mono_ns() + 60 * NS_PER_S;

	put(w, 3);
	set_rule(w, "kind=error", 1);
	assert_int_equal(report(w, 0, 3, 1)->status[1], 0);
	while (status_of(w, 1) == 0) {
		assert_true(time_mono_ns() < limit_ns);
		usleep(5000);
	}
	assert_int_equal(status_of(w, 1), MOONCAKE_OBJECT_NOT_FOUND);
	assert_int_equal(status_of(w, 0), 0);
	assert_int_equal(status_of(w, 2), 0);
	assert_int_equal(report(w, 1, 1, 1)->status[0],
			 MOONCAKE_OBJECT_NOT_FOUND);
}

/* A fault may end in the middle of a look: once is not lost. */
static void test_lost_once(void **state)
{
	struct world *w = *state;
	uint32_t one, two;

	put(w, 5);
	one = set_rule(w, "kind=delay,ms=1", 1);
	two = set_rule(w, "kind=delay,ms=1", 2);
	set_rule(w, "kind=error,once", 1);
	report(w, 1, 1, 1);
	until_hits(w, one, 2);
	report(w, 2, 1, 1);
	until_hits(w, two, 1);
	assert_int_equal(hits(w, one), 2);
	assert_int_equal(status_of(w, 1), 0);
}

/* What nobody has written can be read though the medium is away: it says
 * nothing for what was. */
static void test_unwritten_is_no_witness(void **state)
{
	struct world *w = *state;
	uint32_t one, two;

	put_some(w, 6, 4);
	one = set_rule(w, "kind=delay,ms=1", 1);
	two = set_rule(w, "kind=delay,ms=1", 2);
	set_rule(w, "kind=error", 0);
	set_rule(w, "kind=error", 1);
	set_rule(w, "kind=error", 3);
	report(w, 1, 1, 1);
	report(w, 2, 1, 1);
	/* Only its own look reads it, after those at the first. */
	until_hits(w, two, 1);
	assert_int_equal(hits(w, one), 1);
	assert_int_equal(status_of(w, 1), 0);
}

/* Only so many are noted; and the master ends with a look under way and others
 * to come. */
static void test_bound(void **state)
{
	struct world *w = *state;
	const Mc__StatusRsp *rsp;
	uint32_t first;

	put(w, KEYS);
	first = set_rule(w, "kind=delay,ms=500", 0);
	rsp = report(w, 0, KEYS, 1);
	for (unsigned i = 0; i < KEYS; i++)
		assert_int_equal(
			rsp->status[i],
			i < DOUBTS_MAX
				? 0
				: MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS);
	until_hits(w, first, 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_look_for_all),
		TEST(test_lost),
		TEST(test_lost_once),
		TEST(test_unwritten_is_no_witness),
		TEST(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
