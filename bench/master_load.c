/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load on a master over one connection: a memory segment that has no memory is
 * mounted, objects are put there in batches, removed and put again (the master
 * then has its memory already), read in random order in batches, and then asked
 * for one by one, as fast as it goes and at half that rate.
 * One line of JSON per phase; latencies at half rate count from when a call
 * was due, so that a master which stands still is not asked less.
 */
#include "rpc/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/flag.h"
#include "base/rand.h"
#include "base/time.h"
#include "base/uuid.h"
#include "meter.h"

#define KEY_BYTES  64
#define DEPTH_MAX  64
#define BATCH_MAX  1024
#define CRCS_MAX   8
#define TIMEOUT_MS 30000
#define PING_NS	   NS_PER_S
#define WARM_UP_NS (50 * NS_PER_MS)

enum phase {
	PHASE_PUT,
	PHASE_REMOVE,
	PHASE_AGAIN,
	PHASE_GET,
	PHASE_SINGLE,
	PHASE_PACED,
	PHASE_END
};
static const char *const phase_names[] = {
	"put", NULL, "again", "get", "single", "paced",
};

static struct config {
	uint64_t port, peer, keys, batch, depth, bytes, ms, spin_us;
} config;

/* One call under way after another. */
struct slot {
	struct rpc_call call;
	bool is_busy;
	uint64_t begun_ns;
	size_t count;
	char keys[BATCH_MAX][KEY_BYTES + 1];
	ProtobufCBinaryData names[BATCH_MAX];
	Mc__PutItem puts[BATCH_MAX], *put_list[BATCH_MAX];
	Mc__PutEndItem ends[BATCH_MAX], *end_list[BATCH_MAX];
	Mc__PutStartReq put;
	Mc__PutEndReq end;
	Mc__GetReq get;
};

static struct {
	struct loop *loop;
	struct rpc_client *rpc;
	struct slot *slots;
	struct uuid client, segment;
	struct rpc_call mount, ping, remove;
	Mc__PingReq ping_req;
	ProtobufCBinaryData ping_segment;
	struct timer ping_timer, pace;
	bool is_pinging, is_counting;
	enum phase phase;
	unsigned busy;
	uint64_t next, end_ns, due_ns, gap_ns;
	struct rng rng;
	struct meter meter;
	uint8_t crcs[CRCS_MAX * sizeof(uint32_t)];
} m;

static _Noreturn void die(const char *what, int number)
{
	fprintf(stderr, "master_load: %s (%d)\n", what, number);
	exit(1);
}

static ProtobufCBinaryData bytes_of(void *p, size_t n)
{
	return (ProtobufCBinaryData){.data = p, .len = n};
}

static ProtobufCBinaryData client_id(void)
{
	return bytes_of(m.client.b, sizeof(m.client.b));
}

static void name_key(struct slot *slot, size_t i, uint64_t number)
{
	snprintf(slot->keys[i], sizeof(slot->keys[i]), "bench/%058" PRIu64,
		 number);
	slot->names[i] = bytes_of(slot->keys[i], KEY_BYTES);
}

/* --- phases --- */

static void slot_start(struct slot *slot);
static void pace_fire(struct timer *timer);
static void remove_all(void);

static void count(struct slot *slot)
{
	uint64_t now = time_mono_ns();

	if (m.is_counting) {
		hist_add(&m.meter.latency_ns, now - slot->begun_ns);
		m.meter.bytes += slot->count;
	}
}

static bool is_putting(void)
{
	return m.phase == PHASE_PUT || m.phase == PHASE_AGAIN;
}

static void phase_begin(void)
{
	m.next = 0;
	m.is_counting = is_putting();
	m.end_ns = time_mono_ns() + WARM_UP_NS;
	meter_start(&m.meter);
	if (m.phase == PHASE_REMOVE) {
		remove_all();
		return;
	}
	if (m.phase == PHASE_PACED) {
		m.due_ns = time_mono_ns();
		pace_fire(&m.pace);
		return;
	}
	for (unsigned i = 0; i < config.depth; i++)
		slot_start(&m.slots[i]);
}

static void phase_end(void)
{
	double seconds = (double)(time_mono_ns() - m.meter.start_ns) / 1e9;

	m.meter.phase = phase_names[m.phase];
	if (m.meter.phase)
		meter_print(&m.meter);
	if (m.phase == PHASE_SINGLE)
		m.gap_ns = (uint64_t)(2e9 * seconds / (double)m.meter.bytes);
	if ((m.phase = (enum phase)(m.phase + 1)) == PHASE_END) {
		loop_stop(m.loop);
		return;
	}
	phase_begin();
}

/* After the warming up a phase counts for its time. */
static bool is_over(void)
{
	if (is_putting())
		return m.next >= config.keys;
	if (time_mono_ns() < m.end_ns)
		return false;
	if (m.is_counting)
		return true;
	meter_start(&m.meter);
	m.is_counting = true;
	m.end_ns = m.meter.start_ns + config.ms * NS_PER_MS;
	return false;
}

static void slot_next(struct slot *slot)
{
	rpc_call_fini(&slot->call);
	slot->is_busy = false;
	m.busy--;
	if (m.phase != PHASE_PACED && !is_over())
		slot_start(slot);
	else if (!m.busy && is_over())
		phase_end();
}

/* --- calls --- */

static void submit(struct slot *slot, uint16_t method,
		   const ProtobufCMessage *req, void (*done)(struct rpc_call *))
{
	slot->call = (struct rpc_call){.done = done,
				       .method = method,
				       .req = req,
				       .timeout_ms = TIMEOUT_MS};
	rpc_call_submit(m.rpc, &slot->call);
}

static void put_ended(struct rpc_call *call)
{
	struct slot *slot = container_of(call, struct slot, call);
	const Mc__StatusRsp *rsp = (const Mc__StatusRsp *)call->rsp;

	if (call->ret)
		die("PutEnd failed", call->ret);
	for (size_t i = 0; i < slot->count; i++)
		if (rsp->n_status != slot->count || rsp->status[i])
			die("PutEnd was refused", rsp->status[i]);
	count(slot);
	slot_next(slot);
}

static void put_started(struct rpc_call *call)
{
	struct slot *slot = container_of(call, struct slot, call);
	const Mc__PutStartRsp *rsp = (const Mc__PutStartRsp *)call->rsp;
	size_t blocks = (config.bytes + CRC_BLOCK - 1) / CRC_BLOCK;

	if (call->ret || rsp->n_grants != slot->count)
		die("PutStart failed", call->ret);
	for (size_t i = 0; i < slot->count; i++) {
		Mc__PutEndItem *end = &slot->ends[i];

		if (rsp->grants[i]->status)
			die("PutStart was refused", rsp->grants[i]->status);
		mc__put_end_item__init(end);
		end->key = slot->names[i];
		end->generation = rsp->grants[i]->generation;
		end->crcs = bytes_of(m.crcs, blocks * sizeof(uint32_t));
		slot->end_list[i] = end;
	}
	mc__put_end_req__init(&slot->end);
	slot->end.client_id = client_id();
	slot->end.n_items = slot->count;
	slot->end.items = slot->end_list;
	rpc_call_fini(call);
	submit(slot, METHOD_PUT_END, &slot->end.base, put_ended);
}

static void put_start(struct slot *slot)
{
	slot->count = MIN(config.batch, config.keys - m.next);
	for (size_t i = 0; i < slot->count; i++) {
		name_key(slot, i, m.next++);
		mc__put_item__init(&slot->puts[i]);
		slot->puts[i].key = slot->names[i];
		slot->puts[i].size = config.bytes;
		slot->put_list[i] = &slot->puts[i];
	}
	mc__put_start_req__init(&slot->put);
	slot->put.client_id = client_id();
	slot->put.n_items = slot->count;
	slot->put.items = slot->put_list;
	submit(slot, METHOD_PUT_START, &slot->put.base, put_started);
}

static void got(struct rpc_call *call)
{
	struct slot *slot = container_of(call, struct slot, call);
	const Mc__GetRsp *rsp = (const Mc__GetRsp *)call->rsp;

	if (call->ret || rsp->n_objects != slot->count)
		die("Get failed", call->ret);
	for (size_t i = 0; i < slot->count; i++)
		if (rsp->objects[i]->status)
			die("an object is missing", rsp->objects[i]->status);
	count(slot);
	slot_next(slot);
}

static void get_start(struct slot *slot)
{
	slot->count = m.phase == PHASE_GET ? config.batch : 1;
	for (size_t i = 0; i < slot->count; i++)
		name_key(slot, i, rng_below(&m.rng, config.keys));
	mc__get_req__init(&slot->get);
	slot->get.client_id = client_id();
	slot->get.n_keys = slot->count;
	slot->get.keys = slot->names;
	submit(slot, METHOD_GET, &slot->get.base, got);
}

static void removed(struct rpc_call *call)
{
	const Mc__CountRsp *rsp = (const Mc__CountRsp *)call->rsp;

	if (call->ret || rsp->count != config.keys)
		die("the objects can't be removed", call->ret);
	rpc_call_fini(call);
	phase_end();
}

static void remove_all(void)
{
	static Mc__RemoveAllReq req;

	mc__remove_all_req__init(&req);
	req.force = true;
	m.remove = (struct rpc_call){.done = removed,
				     .method = METHOD_REMOVE_ALL,
				     .req = &req.base,
				     .timeout_ms = TIMEOUT_MS};
	rpc_call_submit(m.rpc, &m.remove);
}

static void slot_start(struct slot *slot)
{
	m.busy++;
	slot->is_busy = true;
	slot->begun_ns = time_mono_ns();
	if (is_putting())
		put_start(slot);
	else
		get_start(slot);
}

/* What is due is sent, or waits with its clock running for a free slot. */
static void pace_fire(struct timer *timer)
{
	uint64_t now = time_mono_ns();

	for (unsigned i = 0; i < DEPTH_MAX && m.due_ns <= now; i++) {
		if (m.slots[i].is_busy)
			continue;
		slot_start(&m.slots[i]);
		m.slots[i].begun_ns = m.due_ns;
		m.due_ns += m.gap_ns;
	}
	if (!is_over())
		timer_set_at(m.loop, timer, m.due_ns);
	else if (!m.busy)
		phase_end();
}

/* --- being a client --- */

static void pinged(struct rpc_call *call)
{
	const Mc__PingRsp *rsp = (const Mc__PingRsp *)call->rsp;

	if (call->ret || rsp->n_unknown_segments)
		die("the master forgot the segment", call->ret);
	rpc_call_fini(call);
	m.is_pinging = false;
}

static void ping(struct timer *timer)
{
	timer_set(m.loop, timer, PING_NS);
	if (m.is_pinging)
		return;
	m.is_pinging = true;
	mc__ping_req__init(&m.ping_req);
	m.ping_segment = bytes_of(m.segment.b, sizeof(m.segment.b));
	m.ping_req.client_id = client_id();
	m.ping_req.n_segment_ids = 1;
	m.ping_req.segment_ids = &m.ping_segment;
	m.ping = (struct rpc_call){.done = pinged,
				   .method = METHOD_PING,
				   .req = &m.ping_req.base,
				   .timeout_ms = TIMEOUT_MS};
	rpc_call_submit(m.rpc, &m.ping);
}

static void mounted(struct rpc_call *call)
{
	const Mc__MountRsp *rsp = (const Mc__MountRsp *)call->rsp;

	if (call->ret || rsp->status)
		die(call->ret ? "no master" : rsp->error,
		    call->ret ? call->ret : rsp->status);
	rpc_call_fini(call);
	ping(&m.ping_timer);
	phase_begin();
}

static void mount_segment(void)
{
	static char endpoint[] =

		"trtype:tcp adrfam:ipv4 traddr:127.0.0.1 trsvcid:1 "
		"subnqn:nqn.2024-01.org.example:x ns:1";
	static char *endpoints[] = {endpoint};
	static char name[] = "bench:1", host[] = "bench";
	Mc__MountReq req;
	Mc__Segment s;

	mc__segment__init(&s);
	s.id = bytes_of(m.segment.b, sizeof(m.segment.b));
	s.name = name;
	s.host_id = host;
	s.kind = MC__KIND__MEMORY;
	s.endpoints = endpoints;
	s.n_endpoints = 1;
	/* Below any watermark of eviction. */
	s.size = ALIGN_UP(config.bytes, 64 * KiB) * config.keys * 2;
	s.block_size = 4096;
	s.client_id = client_id();
	mc__mount_req__init(&req);
	req.client_id = client_id();
	req.segment = &s;
	m.mount = (struct rpc_call){.done = mounted,
				    .method = METHOD_MOUNT,
				    .req = &req.base,
				    .timeout_ms = TIMEOUT_MS};
	rpc_call_submit(m.rpc, &m.mount);
}

#define OFF(field) offsetof(struct config, field)
static const struct flag flags[] = {
	{.name = "port",
	 .type = FLAG_UINT,
	 .off = OFF(port),
	 .max = 65535,
	 .attrs = FLAG_REQUIRED},
	{.name = "peer",
	 .type = FLAG_UINT,
	 .off = OFF(peer),
	 .arg = "PID",
	 .help = "Whose CPU time is the master's."},
	{.name = "keys",
	 .type = FLAG_UINT,
	 .off = OFF(keys),
	 .def = "1000000",
	 .min = 1,
	 .max = 100000000},
	{.name = "batch",
	 .type = FLAG_UINT,
	 .off = OFF(batch),
	 .def = "128",
	 .min = 1,
	 .max = BATCH_MAX},
	{.name = "depth",
	 .type = FLAG_UINT,
	 .off = OFF(depth),
	 .def = "4",
	 .min = 1,
	 .max = DEPTH_MAX,
	 .help = "Calls under way."},
	{.name = "bytes",
	 .type = FLAG_SIZE,
	 .off = OFF(bytes),
	 .def = "1m",
	 .min = 1,
	 .max = CRCS_MAX * (uint64_t)CRC_BLOCK,
	 .help = "Size of an object; nothing of it is written anywhere."},
	{.name = "time", .type = FLAG_MS, .off = OFF(ms), .def = "1s"},
	{.name = "spin_us", .type = FLAG_UINT, .off = OFF(spin_us)},
};

static const struct flag_prog prog = {
	.name = "master_load",
	.summary = "puts, gets and single gets against a master",
	.usage = "--port=PORT [options]",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

int main(int argc, char **argv)
{
	struct rpc_client_opts ro = {.version = "bench"};
	struct loop_opts lo = {.name = "load"};
	struct err err = {0};
	struct flag_set fs;
	int status;

	if (flag_main(&fs, &prog, &config, argc, argv, &status))
		return status;
	lo.spin_us = (uint32_t)config.spin_us;
	m.slots = calloc(DEPTH_MAX, sizeof(*m.slots));
	m.pace.fire = pace_fire;
	m.ping_timer.fire = ping;
	m.meter.peer = (int)config.peer;
	rng_seed(&m.rng, 1);
	uuid_make(&m.client);
	uuid_make(&m.segment);
	ASSERT(!addr_parse("127.0.0.1", (uint16_t)config.port, &ro.addr));
	if (!m.slots || loop_create(&lo, &m.loop, &err) ||
	    rpc_client_create(m.loop, &ro, &m.rpc))
		die("out of memory", 0);
	mount_segment();
	loop_run(m.loop);
	exit(0); /* a ping may be under way */
}
