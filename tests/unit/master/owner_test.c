/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the master claims at targets, and when it is given back: a service, its
 * volumes and a target with reservations in one process.
 */
#include "vol_env.h"

#include <pthread.h>
#include <time.h>

#include "master/segment.h"
#include "master/service.h"
#include "master/watch.h"
#include "rpc/client.h"
#include "target/fault.h"

#define WAIT_NS (20 * NS_PER_S)

struct world {
	struct env env;
	struct shard meta; /* of the master: service and RPC */
	struct service *svc;
	struct rpc_server *server;
	struct rpc_sync *rs;
	struct addr addr;
	struct gate gate;
	uint64_t key; /* of its life; 0 = --nof_reservations=off */
	struct mounted {
		int status;
		char text[512];
	} mounted;
};

/* --- the master --- */

static void open_master(void *arg)
{
	struct world *w = arg;
	struct service_opts opts = {.cluster_id = "ours",
				    .owner_key = w->key,
				    .probe_interval_ns = 3600 * NS_PER_S,
				    .probe_timeout_ms = 5000};
	struct rpc_server_opts rpc = {.loop = w->meta.loop,
				      .handler = service_handle};
	struct err err = {0};

	core_opts_default(&opts.core);
	opts.core.generation = 1000;
	if (service_open(w->meta.loop, &opts, w->env.set, &w->svc, &err))
		fail_msg("%s", err.text);
	rpc.arg = w->svc;
	assert_int_equal(addr_parse("127.0.0.1", 0, &rpc.addr), 0);
	if (rpc_server_open(&rpc, &w->addr, &w->server, &err))
		fail_msg("%s", err.text);
}

static int setup_as(void **state, uint64_t key)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err err = {0};

	env_init(&w->env, 4096);
	env_set_start(&w->env, &(struct vol_opts){.workers = 1,
						  .chunk_bytes = 64 * KiB,
						  .inflight_bytes = 4 * MiB});
	w->key = key;
	if (shard_start(&w->meta, &(struct loop_opts){.name = "meta"}, &err))
		fail_msg("%s", err.text);
	shard_call(&w->meta, open_master, w);
	if (rpc_sync_open(&w->addr, 30000, &w->rs, &err))
		fail_msg("%s", err.text);
	*state = w;
	return 0;
}

static int setup_auto(void **state)
{
	return setup_as(state, owner_key_make("ours"));
}

static int setup_off(void **state)
{
	return setup_as(state, 0);
}

static void opened(void *arg)
{
	gate_open(&((struct world *)arg)->gate);
}

static void stop_service(void *arg)
{
	struct world *w = arg;

	service_stop(w->svc, opened, w);
}

static void stop_server(void *arg)
{
	struct world *w = arg;

	rpc_server_close(w->server, opened, w);
}

static void destroy_service(void *arg)
{
	service_destroy(((struct world *)arg)->svc);
}

static void master_stop(struct world *w)
{
	gate_init(&w->gate);
	shard_call(&w->meta, stop_service, w);
	if (!gate_wait_for(&w->gate, WAIT_NS))
		fail_msg("the service does not stop");
}

static void master_close(struct world *w)
{
	gate_init(&w->gate);
	shard_call(&w->meta, stop_server, w);
	gate_wait(&w->gate);
	rpc_sync_close(w->rs);
	shard_call(&w->meta, destroy_service, w);
	shard_stop(&w->meta);
}

static int teardown(void **state)
{
	struct world *w = *state;

	if (!w->svc->is_stopping)
		master_stop(w);
	master_close(w);
	env_fini(&w->env);
	free(w);
	return 0;
}

static int mount_with(struct world *w, struct rpc_sync *rs, bool is_forced)
{
	char path[ENDPOINT_TEXT_LEN], *paths[] = {path};
	Mc__Segment seg = MC__SEGMENT__INIT;
	Mc__MountReq req = MC__MOUNT_REQ__INIT;
	const ProtobufCMessage *msg = NULL;
	const Mc__MountRsp *rsp;
	struct err err = {0};

	env_endpoint(&w->env, 1, path);
	seg.kind = MC__KIND__NOF_SSD;
	seg.endpoints = paths;
	seg.n_endpoints = 1;
	req.segment = &seg;
	req.force = is_forced;
	w->mounted = (struct mounted){.status = -1};
	if (rpc_sync_call(rs, METHOD_MOUNT, &req.base, &msg, &err) < 0) {
		snprintf(w->mounted.text, sizeof(w->mounted.text), "%s",
			 err.text);
		return -1;
	}
	rsp = (const void *)msg;
	w->mounted.status = rsp->status;
	snprintf(w->mounted.text, sizeof(w->mounted.text), "%s",
		 rsp->error ? rsp->error : "");
	return rsp->status;
}

static void must_mount(struct world *w, bool is_forced)
{
	if (mount_with(w, w->rs, is_forced))
		fail_msg("not mounted: %s", w->mounted.text);
}

static void must_refuse(struct world *w, const char *a, const char *b)
{
	assert_int_not_equal(mount_with(w, w->rs, false), 0);
	print_message("%s\n", w->mounted.text);
	if (!strstr(w->mounted.text, a) || !strstr(w->mounted.text, b))
		fail_msg("'%s' or '%s' is not in it", a, b);
}

static void unmount(struct world *w)
{
	Mc__UnmountReq req = MC__UNMOUNT_REQ__INIT;
	const ProtobufCMessage *msg = NULL;
	char path[ENDPOINT_TEXT_LEN];
	struct err err = {0};

	env_endpoint(&w->env, 1, path);
	req.endpoint = path;
	if (rpc_sync_call(w->rs, METHOD_UNMOUNT, &req.base, &msg, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(((const Mc__UnmountRsp *)(const void *)msg)->status,
			 0);
}

/* --- waiting --- */

static void pause_a_moment(void)
{
	nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
}

struct look {
	struct world *w;
	bool is_quiet;
	uint64_t hits;
};

static void look_service(void *arg)
{
	struct look *look = arg;

	look->is_quiet = !look->w->svc->vol_ops &&
			 list_is_empty(&look->w->svc->releases) &&
			 list_is_empty(&look->w->svc->core->dying);
}

/* Nothing that the master has begun is under way at the target. */
static void quiesce(struct world *w)
{
	uint64_t until = time_mono_ns() + WAIT_NS;
	struct look look = {.w = w};

	for (;;) {
		shard_call(&w->meta, look_service, &look);
		if (look.is_quiet)
			return;
		if (time_mono_ns() > until)
			fail_msg("the master does not come to rest");
		pause_a_moment();
	}
}

/* --- the target --- */

static void add_hits(const struct tgt_fault_info *info, void *arg)
{
	((struct look *)arg)->hits += info->injected;
}

static void look_faults(void *arg)
{
	struct look *look = arg;

	tgt_fault_list(look->w->env.tgt, add_hits, look);
}

static void await_hit(struct world *w)
{
	uint64_t until = time_mono_ns() + WAIT_NS;
	struct look look = {.w = w};

	while (!look.hits) {
		if (time_mono_ns() > until)
			fail_msg("the command has not come");
		pause_a_moment();
		shard_call(&w->env.shard, look_faults, &look);
	}
}

struct rule {
	struct world *w;
	const char *text;
};

static void do_rule(void *arg)
{
	struct rule *rule = arg;
	struct err err = {0};
	uint32_t id;

	tgt_fault_clear(rule->w->env.tgt, 0);
	if (rule->text &&
	    tgt_fault_set(rule->w->env.tgt, rule->text, &id, &err))
		fail_msg("%s", err.text);
}

/* Instead of the one before; NULL = none. */
static void set_rule(struct world *w, const char *text)
{
	shard_call(&w->env.shard, do_rule, &(struct rule){w, text});
}

struct call {
	struct vol_probe probe;
	struct vol_label label;
	struct vol_release release;
	struct gate gate;
};

static struct call call;

static void probe_done(struct vol_probe *probe)
{
	gate_open(&container_of(probe, struct call, probe)->gate);
}

static void label_done(struct vol_label *label)
{
	gate_open(&container_of(label, struct call, label)->gate);
}

static void release_done(struct vol_release *release)
{
	gate_open(&container_of(release, struct call, release)->gate);
}

static void await(void)
{
	if (!gate_wait_for(&call.gate, WAIT_NS))
		fail_msg("a visit has not ended");
}

/* What key's owner is told; call.probe has the rest. */
static enum vol_hold hold_of(struct world *w, uint64_t key)
{
	call = (struct call){.probe = {.done = probe_done,
				       .timeout_ms = 10000,
				       .sb_only = true,
				       .want_owner = true,
				       .key = key}};
	env_endpoint(&w->env, 1, call.probe.endpoint);
	gate_init(&call.gate);
	vol_probe_submit(w->env.set, &call.probe);
	await();
	assert_int_equal(call.probe.ret, 0);
	return call.probe.owner.hold;
}

/* Somebody else's master, or a life of before. */
static void claim(struct world *w, uint64_t key, const char *cluster_id)
{
	call = (struct call){.label = {.done = label_done,
				       .timeout_ms = 10000,
				       .claim = CLAIM_ALL,
				       .key = key,
				       .sb = {.segment = w->env.segments[0],
					      .ns_bytes = NS_BYTES,
					      .block_bytes = w->env.block,
					      .epoch = 7}}};
	env_endpoint(&w->env, 1, call.label.endpoint);
	snprintf(call.label.sb.cluster_id, sizeof(call.label.sb.cluster_id),
		 "%s", cluster_id);
	gate_init(&call.gate);
	vol_label_submit(w->env.set, &call.label);
	await();
	assert_int_equal(call.label.ret, 0);
}

/* As if the target had been restarted: nobody holds it any more. */
static void forget(struct world *w, uint64_t key)
{
	call = (struct call){.release = {.done = release_done,
					 .timeout_ms = 10000,
					 .key = key}};
	env_endpoint(&w->env, 1, call.release.endpoint);
	gate_init(&call.gate);
	vol_release_submit(w->env.set, &call.release);
	await();
	assert_int_equal(call.release.ret, 0);
	assert_int_equal(hold_of(w, key), HOLD_FREE);
}

static void wipe(struct world *w)
{
	env_sync(&w->env);
	memset(w->env.mem[0], 0, MiB);
	env_sync(&w->env);
}

/* --- force, without reservations of our own --- */

static void force_takes_over_without_a_key(void **state)
{
	struct world *w = *state;
	uint64_t theirs = owner_key_make("theirs");
	char key[32];

	snprintf(key, sizeof(key), "key %016llx", (unsigned long long)theirs);
	claim(w, theirs, "theirs");
	must_refuse(w, "belongs to cluster 'theirs'", key);
	must_refuse(w, "--force takes it over", key);
	wipe(w);
	must_refuse(w, "--force takes it over", key);
	assert_int_equal(hold_of(w, theirs), HOLD_OURS);
	must_mount(w, true);
	assert_int_equal(hold_of(w, theirs), HOLD_FREE);
	assert_string_equal(call.probe.sb.cluster_id, "ours");
	assert_int_equal(call.probe.sb.epoch, 1);
	unmount(w);
	quiesce(w);
}

/* What a life with --nof_reservations=auto has left needs no force. */
static void former_life_is_deposed_without_a_key(void **state)
{
	struct world *w = *state;
	uint64_t was = owner_key_make("ours");

	claim(w, was, "ours");
	wipe(w);
	must_mount(w, false);
	assert_int_equal(hold_of(w, was), HOLD_FREE);
}

/* --- a mount that is in vain --- */

static const char *const write_faults[] = {
	"kind=error,op=write,status=0x4280,count=1",
	"kind=error,op=flush,status=0x4006,count=1",
	"kind=corrupt,op=write,count=1",
	"kind=disconnect,op=write,how=rst,count=1",
};

static void failed_mount_lets_go(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(write_faults); i++) {
		wipe(w);
		set_rule(w, write_faults[i]);
		must_refuse(w, "cannot write the superblock", "");
		quiesce(w);
		assert_int_equal(hold_of(w, w->key), HOLD_FREE);
	}
	wipe(w);
	set_rule(w, NULL);
	must_mount(w, false);
	assert_int_equal(hold_of(w, w->key), HOLD_OURS);
}

/* The former owner is deposed by then, but nobody is locked out. */
static void failed_force_lets_go(void **state)
{
	struct world *w = *state;
	uint64_t theirs = owner_key_make("theirs");

	claim(w, theirs, "theirs");
	set_rule(w, write_faults[0]);
	assert_int_not_equal(mount_with(w, w->rs, true), 0);
	quiesce(w);
	assert_int_equal(hold_of(w, theirs), HOLD_FREE);
}

static void *mount_main(void *arg)
{
	struct world *w = arg;

	mount_with(w, w->rs, false);
	return NULL;
}

static void stopped_mount_lets_go(void **state)
{
	struct world *w = *state;
	pthread_t thread;

	set_rule(w, "kind=delay,op=write,ms=300,count=1");
	assert_int_equal(pthread_create(&thread, NULL, mount_main, w), 0);
	await_hit(w);
	master_stop(w);
	pthread_join(thread, NULL);
	assert_int_not_equal(w->mounted.status, 0);
	assert_int_equal(hold_of(w, w->key), HOLD_FREE);
}

/* --- unregistered and registered again --- */

static void release_comes_before_the_next_claim(void **state)
{
	struct world *w = *state;

	must_mount(w, false);
	/* Of the release, which begins with the unmount. */
	set_rule(w, "kind=delay,op=admin,ms=400,count=1");
	unmount(w);
	must_mount(w, false);
	quiesce(w);
	assert_int_equal(hold_of(w, w->key), HOLD_OURS);
	assert_true(call.probe.sb.epoch > 1);
	unmount(w);
	quiesce(w);
	assert_int_equal(hold_of(w, w->key), HOLD_FREE);
}

static void set_writers(void *arg)
{
	struct core *core = service_enter(((struct world *)arg)->svc);

	list_first(&core->segments, struct segment, node)->writers_until_ns =
		core->now_ns + 3600 * NS_PER_S;
}

static void nobody_claims_what_may_be_written_to(void **state)
{
	struct world *w = *state;

	must_mount(w, false);
	shard_call(&w->meta, set_writers, w);
	unmount(w);
	must_refuse(w, "try again in", "");
	assert_int_equal(hold_of(w, w->key), HOLD_OURS);
}

static void start_unmount(void *arg)
{
	struct core *core = service_enter(((struct world *)arg)->svc);

	segment_start_unmount(
		core, list_first(&core->segments, struct segment, node));
}

static void reap(void *arg)
{
	service_reap(((struct world *)arg)->svc);
}

/* Its objects go in slices: until the last one has gone it is not to be had. */
static void claim_waits_for_the_dying(void **state)
{
	struct world *w = *state;
	struct rpc_sync *rs = NULL;
	struct err err = {0};

	must_mount(w, false);
	shard_call(&w->meta, start_unmount, w);
	if (rpc_sync_open(&w->addr, 600, &rs, &err))
		fail_msg("%s", err.text);
	assert_int_not_equal(mount_with(w, rs, false), 0);
	rpc_sync_close(rs);
	shard_call(&w->meta, reap, w);
	must_mount(w, false);
	quiesce(w);
	assert_int_equal(hold_of(w, w->key), HOLD_OURS);
}

/* --- a label of the watch is under way --- */

static void look_now(void *arg)
{
	struct core *core = service_enter(((struct world *)arg)->svc);

	watch_now(list_first(&core->segments, struct segment, node));
}

/* The target has forgotten, and the watch is about to claim it again: its
 * label's first command is answered late. */
static void begin_label(struct world *w)
{
	must_mount(w, false);
	forget(w, w->key);
	set_rule(w, "kind=delay,op=other,after=1,ms=400,count=1");
	shard_call(&w->meta, look_now, w);
	await_hit(w);
}

static void late_label_leaves_nothing(void **state)
{
	struct world *w = *state;

	begin_label(w);
	unmount(w);
	quiesce(w);
	assert_int_equal(hold_of(w, w->key), HOLD_FREE);
}

static void late_label_does_not_hit_the_next_claim(void **state)
{
	struct world *w = *state;

	begin_label(w);
	unmount(w);
	must_mount(w, false);
	quiesce(w);
	assert_int_equal(hold_of(w, w->key), HOLD_OURS);
	assert_true(call.probe.sb.epoch > 1);
}

#define AUTO(fn) cmocka_unit_test_setup_teardown(fn, setup_auto, teardown)
#define OFF(fn)	 cmocka_unit_test_setup_teardown(fn, setup_off, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OFF(force_takes_over_without_a_key),
		OFF(former_life_is_deposed_without_a_key),
		AUTO(failed_mount_lets_go),
		OFF(failed_force_lets_go),
		AUTO(stopped_mount_lets_go),
		AUTO(release_comes_before_the_next_claim),
		AUTO(nobody_claims_what_may_be_written_to),
		AUTO(claim_waits_for_the_dying),
		AUTO(late_label_leaves_nothing),
		AUTO(late_label_does_not_hit_the_next_claim),
	};

	log_level_max = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
