/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subsystems, namespaces, listeners, hosts and disks come and go by JSON-RPC in
 * random order, sensible or not, while hosts connect, read and write.
 *
 *	prop_control [calls]
 *
 * Promise: each call does what a simple model says, or is refused where that
 * has no such thing; the target describes itself as the model does; once hosts
 * rest, one gets in exactly where the model lets it, and reads exactly the
 * namespaces that are there; and in the end nothing is left.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "churn_host.h"
#include "control/control.h"
#include "io/thread.h"
#include "t_rand.h"

#define SUBSYSTEMS 4
#define DISKS	   6 /* odd ones are null */
#define PORTS	   3
#define HOSTS	   4
#define SHARDS	   2
#define ROUND	   25 /* calls, then it is looked at */
#define STEPS	   20 /* of hosts, between two calls */
#define WAIT_NS	   (100 * NS_PER_S)
#define NO_DISK	   (-1)

struct subsys {
	bool is_there, allows_all;
	bool hosts[HOSTS], ports[PORTS];
	int disks[CHURN_NSIDS + 1]; /* by nsid */
};

static struct {
	struct subsys subsys[SUBSYSTEMS];
	bool disks[DISKS];
} model;

static struct {
	struct rng rng;
	struct loop *loop;
	struct shard shards[SHARDS], hosts_shard;
	struct loop *shard_loops[SHARDS];
	struct tgt *tgt;
	struct control ctl;
	struct churn_place place;
	char subnqns[SUBSYSTEMS][NVME_NQN_LEN], hostnqns[HOSTS][NVME_NQN_LEN];
	struct addr addrs[PORTS];
	struct churn_host hosts[HOSTS];
	unsigned calls, refused, tries, let_in;
} w;

static unsigned below(unsigned n)
{
	return (unsigned)rng_below(&w.rng, n);
}

/* --- calls --- */

struct answer {
	json_t *json;
	bool is_done;
};

static void on_answer(struct jrpc_call *call, json_t *answer, void *arg)
{
	struct answer *a = arg;

	a->json = answer;
	a->is_done = true;
}

static void turn_until(bool (*is_true)(void *arg), void *arg)
{
	uint64_t end = time_mono_ns() + WAIT_NS;

	while (!is_true(arg)) {
		ASSERT(time_mono_ns() < end);
		loop_turn(w.loop, NS_PER_MS);
	}
}

static bool is_answered(void *arg)
{
	return ((struct answer *)arg)->is_done;
}

/* Takes params over; the answer is the caller's. */
static json_t *call(const char *method, json_t *params)
{
	struct answer a = {0};
	json_t *request = json_pack("{s:i, s:s, s:o*}", "id", 1, "method",
				    method, "params", params);

	ASSERT(request);
	jrpc_run(&w.ctl.rpc, request, on_answer, &a);
	turn_until(is_answered, &a);
	json_decref(request);
	ASSERT(a.json);
	return a.json;
}

static void expect(bool is_right, const char *method, json_t *params)
{
	char *said = json_dumps(params, JSON_COMPACT);
	json_t *got = call(method, params);
	bool is_ok = json_object_get(got, "result") != NULL;

	w.calls++;
	w.refused += !is_ok;
	if (is_ok != is_right) {
		fprintf(stderr, "call %u: %s %s: ", w.calls, method, said);
		json_dumpf(got, stderr, JSON_COMPACT);
		fprintf(stderr, ", expected %s\n", is_right ? "ok" : "error");
		abort();
	}
	free(said);
	json_decref(got);
}

static json_t *at_port(unsigned subsys, unsigned port)
{
	char host[ADDR_TEXT_LEN], text[8];

	addr_format_host(&w.addrs[port], host);
	snprintf(text, sizeof(text), "%u", addr_port(&w.addrs[port]));
	return json_pack("{s:s, s:{s:s, s:s, s:s}}", "nqn", w.subnqns[subsys],
			 "listen_address", "trtype", "TCP", "traddr", host,
			 "trsvcid", text);
}

static const char *disk_name(unsigned disk)
{
	static char name[16];

	snprintf(name, sizeof(name), "Disk%u", disk);
	return name;
}

/* --- what may happen; each is told the model's opinion --- */

static bool is_used(int disk)
{
	for (unsigned s = 0; s < SUBSYSTEMS; s++) {
		for (unsigned n = 1; n <= CHURN_NSIDS; n++) {
			if (model.subsys[s].is_there &&
			    model.subsys[s].disks[n] == disk)
				return true;
		}
	}
	return false;
}

static void clear(struct subsys *ss)
{
	memset(ss, 0, sizeof(*ss));
	for (unsigned n = 0; n <= CHURN_NSIDS; n++)
		ss->disks[n] = NO_DISK;
}

static void create_subsys(unsigned s, struct subsys *ss)
{
	bool allows_all = below(4);

	expect(!ss->is_there, "nvmf_create_subsystem",
	       json_pack("{s:s, s:b}", "nqn", w.subnqns[s], "allow_any_host",
			 allows_all));
	if (ss->is_there)
		return;
	clear(ss);
	ss->is_there = true;
	ss->allows_all = allows_all;
}

static void delete_subsys(unsigned s, struct subsys *ss)
{
	if (below(4)) /* not too often */
		return;
	expect(ss->is_there, "nvmf_delete_subsystem",
	       json_pack("{s:s}", "nqn", w.subnqns[s]));
	clear(ss);
}

static void add_ns(unsigned s, struct subsys *ss)
{
	unsigned nsid = 1 + below(CHURN_NSIDS);
	unsigned disk = 2 * below(DISKS / 2) + (nsid >= CHURN_NULL);
	bool is_right =
		ss->is_there && ss->disks[nsid] == NO_DISK && model.disks[disk];

	if (is_used((int)disk))
		return;
	expect(is_right, "nvmf_subsystem_add_ns",
	       json_pack("{s:s, s:{s:s, s:i}}", "nqn", w.subnqns[s],
			 "namespace", "bdev_name", disk_name(disk), "nsid",
			 (int)nsid));
	if (is_right)
		ss->disks[nsid] = (int)disk;
}

static void remove_ns(unsigned s, struct subsys *ss)
{
	unsigned nsid = 1 + below(CHURN_NSIDS);

	expect(ss->is_there && ss->disks[nsid] != NO_DISK,
	       "nvmf_subsystem_remove_ns",
	       json_pack("{s:s, s:i}", "nqn", w.subnqns[s], "nsid", (int)nsid));
	ss->disks[nsid] = NO_DISK;
}

static void add_listener(unsigned s, struct subsys *ss)
{
	unsigned port = below(PORTS);

	expect(ss->is_there && !ss->ports[port], "nvmf_subsystem_add_listener",
	       at_port(s, port));
	ss->ports[port] = ss->is_there;
}

static void remove_listener(unsigned s, struct subsys *ss)
{
	unsigned port = below(PORTS);

	expect(ss->is_there && ss->ports[port],
	       "nvmf_subsystem_remove_listener", at_port(s, port));
	ss->ports[port] = false;
}

static json_t *with_host(unsigned s, unsigned host)
{
	return json_pack("{s:s, s:s}", "nqn", w.subnqns[s], "host",
			 w.hostnqns[host]);
}

static void add_host(unsigned s, struct subsys *ss)
{
	unsigned host = below(HOSTS);

	expect(ss->is_there && !ss->hosts[host], "nvmf_subsystem_add_host",
	       with_host(s, host));
	ss->hosts[host] = ss->is_there;
}

static void remove_host(unsigned s, struct subsys *ss)
{
	unsigned host = below(HOSTS);

	expect(ss->is_there && ss->hosts[host], "nvmf_subsystem_remove_host",
	       with_host(s, host));
	ss->hosts[host] = false;
}

static void allow_any(unsigned s, struct subsys *ss)
{
	bool allows_all = below(4);

	expect(ss->is_there, "nvmf_subsystem_allow_any_host",
	       json_pack("{s:s, s:b}", "nqn", w.subnqns[s], "allow_any_host",
			 allows_all));
	ss->allows_all = ss->is_there && allows_all;
}

static void create_disk(unsigned s, struct subsys *ss)
{
	unsigned disk = below(DISKS);

	expect(!model.disks[disk],
	       disk % 2 ? "bdev_null_create" : "bdev_malloc_create",
	       json_pack("{s:s, s:i, s:i}", "name", disk_name(disk),
			 "num_blocks", 64, "block_size", CHURN_BLOCK));
	model.disks[disk] = true;
}

/* Namespaces on it go as well. */
static void delete_disk(unsigned s, struct subsys *ss)
{
	unsigned disk = below(DISKS);

	if (below(2))
		return;
	expect(model.disks[disk],
	       disk % 2 ? "bdev_null_delete" : "bdev_malloc_delete",
	       json_pack("{s:s}", "name", disk_name(disk)));
	model.disks[disk] = false;
	for (unsigned i = 0; i < SUBSYSTEMS; i++) {
		for (unsigned n = 1; n <= CHURN_NSIDS; n++) {
			if (model.subsys[i].disks[n] == (int)disk)
				model.subsys[i].disks[n] = NO_DISK;
		}
	}
}

static void random_call(void)
{
	static void (*const deeds[])(unsigned s, struct subsys *ss) = {
		create_subsys, create_subsys,	delete_subsys, add_ns,
		add_ns,	       remove_ns,	add_listener,  add_listener,
		add_listener,  remove_listener, add_host,      add_host,
		remove_host,   allow_any,	create_disk,   create_disk,
		delete_disk,
	};
	unsigned s = below(SUBSYSTEMS);

	deeds[below(ARRAY_SIZE(deeds))](s, &model.subsys[s]);
}

/* --- it is looked at --- */

static const json_t *find_entry(const json_t *list, const char *key,
				const char *value)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *entry = json_array_get(list, i);
		const char *text =
			json_string_value(json_object_get(entry, key));

		if (text && !strcmp(text, value))
			return entry;
	}
	return NULL;
}

static unsigned count(const bool *flags, unsigned n)
{
	unsigned set = 0;

	for (unsigned i = 0; i < n; i++)
		set += flags[i];
	return set;
}

static void compare_namespaces(const struct subsys *ss, const json_t *list)
{
	size_t there = 0;

	for (unsigned n = 1; n <= CHURN_NSIDS; n++)
		there += ss->disks[n] != NO_DISK;
	ASSERT(json_array_size(list) == there);
	for (size_t i = 0; i < there; i++) {
		const json_t *ns = json_array_get(list, i);
		json_int_t nsid =
			json_integer_value(json_object_get(ns, "nsid"));

		ASSERT(nsid >= 1 && nsid <= CHURN_NSIDS);
		ASSERT(ss->disks[nsid] != NO_DISK);
		ASSERT(!strcmp(
			json_string_value(json_object_get(ns, "bdev_name")),
			disk_name((unsigned)ss->disks[nsid])));
	}
}

static void compare(unsigned s, const json_t *list)
{
	const struct subsys *ss = &model.subsys[s];
	const json_t *got = find_entry(list, "nqn", w.subnqns[s]), *hosts;

	ASSERT((got != NULL) == ss->is_there);
	if (!got)
		return;
	ASSERT(json_is_true(json_object_get(got, "allow_any_host")) ==
	       ss->allows_all);
	hosts = json_object_get(got, "hosts");
	ASSERT(json_array_size(hosts) == count(ss->hosts, HOSTS));
	for (unsigned h = 0; h < HOSTS; h++)
		ASSERT((find_entry(hosts, "nqn", w.hostnqns[h]) != NULL) ==
		       ss->hosts[h]);
	ASSERT(json_array_size(json_object_get(got, "listen_addresses")) ==
	       count(ss->ports, PORTS));
	compare_namespaces(ss, json_object_get(got, "namespaces"));
}

static void compare_all(void)
{
	json_t *got = call("nvmf_get_subsystems", NULL);
	const json_t *list = json_object_get(got, "result");
	size_t there = 1; /* discovery */

	for (unsigned s = 0; s < SUBSYSTEMS; s++) {
		there += model.subsys[s].is_there;
		compare(s, list);
	}
	ASSERT(json_array_size(list) == there);
	json_decref(got);
}

/* --- hosts --- */

static bool is_idle(void *arg)
{
	return atomic_load(&((struct churn_host *)arg)->is_idle);
}

static unsigned steps(void)
{
	unsigned sum = 0;

	for (unsigned h = 0; h < HOSTS; h++)
		sum += atomic_load(&w.hosts[h].steps);
	return sum;
}

static bool are_ahead(void *arg)
{
	return steps() - *(unsigned *)arg >= STEPS;
}

/* Hosts do something meanwhile. */
static void let_live(void)
{
	unsigned before = steps();

	turn_until(are_ahead, &before);
}

static void live_run(void *arg)
{
	for (unsigned h = 0; h < HOSTS; h++)
		churn_host_live(&w.hosts[h]);
}

static void rest_run(void *arg)
{
	for (unsigned h = 0; h < HOSTS; h++)
		churn_host_rest(&w.hosts[h]);
}

static void rest(void)
{
	shard_call(&w.hosts_shard, rest_run, NULL);
	for (unsigned h = 0; h < HOSTS; h++)
		turn_until(is_idle, &w.hosts[h]);
}

struct
try {
	unsigned host, subsys, port;
};

static void try_run(void *arg)
{
	const struct try *t = arg;

	churn_host_try(&w.hosts[t->host], t->subsys, t->port);
}

static void try_one(void)
{
	struct try t = {below(HOSTS), below(SUBSYSTEMS), below(PORTS)};
	const struct churn_host *h = &w.hosts[t.host];
	const struct subsys *ss = &model.subsys[t.subsys];
	bool is_right = ss->is_there && ss->ports[t.port] &&
			(ss->allows_all || ss->hosts[t.host]);

	shard_call(&w.hosts_shard, try_run, &t);
	turn_until(is_idle, &w.hosts[t.host]);
	w.tries++;
	w.let_in += h->was_live;
	if (h->was_live != is_right) {
		fprintf(stderr, "host %u, subsystem %u, port %u: %s\n", t.host,
			t.subsys, t.port, is_right ? "refused" : "let in");
		abort();
	}
	for (unsigned n = 1; is_right && n <= CHURN_NSIDS; n++)
		ASSERT((h->nsids >> n & 1) == (ss->disks[n] != NO_DISK));
}

/* --- beginning and end --- */

static void start(void)
{
	struct tgt_opts opts = {.shards = w.shard_loops, .shard_count = SHARDS};
	struct err err = {0};

	log_level_max = LOG_ERROR;
	ASSERT(!loop_create(&(struct loop_opts){.name = "control"}, &w.loop,
			    &err));
	for (unsigned i = 0; i < SHARDS; i++) {
		ASSERT(!shard_start(&w.shards[i],
				    &(struct loop_opts){.name = "target"},
				    &err));
		w.shard_loops[i] = w.shards[i].loop;
	}
	ASSERT(!shard_start(&w.hosts_shard,
			    &(struct loop_opts){.name = "hosts"}, &err));
	opts.loop = w.loop;
	ASSERT(!tgt_create(&opts, &w.tgt, &err));
	control_init(&w.ctl, w.loop, w.tgt);
	expect(true, "nvmf_create_transport",
	       json_pack("{s:s}", "trtype", "TCP"));
}

/* Addresses of this process alone: nobody else's connections get the ports that
 * are free for a while. */
static void name_all(void)
{
	unsigned pid = (unsigned)getpid();
	struct tgt_listener_info info;
	char text[32];

	for (unsigned s = 0; s < SUBSYSTEMS; s++)
		snprintf(w.subnqns[s], NVME_NQN_LEN,
			 "nqn.2026-11.io.mooncake:s%u", s);
	for (unsigned h = 0; h < HOSTS; h++)
		snprintf(w.hostnqns[h], NVME_NQN_LEN,
			 "nqn.2026-11.io.mooncake:h%u", h);
	for (unsigned s = 0; s < SUBSYSTEMS; s++)
		clear(&model.subsys[s]);
	create_subsys(0, &model.subsys[0]);
	for (unsigned p = 0; p < PORTS; p++) {
		snprintf(text, sizeof(text), "127.%u.%u.%u", 1 + pid % 250,
			 pid / 250 % 250, p + 1);
		ASSERT(!addr_parse(text, 0, &w.addrs[p]));
		expect(true, "nvmf_subsystem_add_listener", at_port(0, p));
		for (unsigned i = 0; tgt_listener_at(w.tgt, i, &info); i++)
			w.addrs[p] = info.addr;
		model.subsys[0].ports[p] = true;
	}
	w.place = (struct churn_place){.subsys_count = SUBSYSTEMS,
				       .addr_count = PORTS,
				       .subnqns = w.subnqns,
				       .addrs = w.addrs};
	for (unsigned h = 0; h < HOSTS; h++)
		churn_host_init(&w.hosts[h], w.hosts_shard.loop, &w.place,
				w.hostnqns[h], t_seed() + h);
}

static bool is_empty(void *arg)
{
	struct tgt_stats st;

	tgt_stats_get(w.tgt, &st);
	return st.controllers == 0 && st.connections == 0;
}

static void on_stopped(void *arg)
{
	((struct answer *)arg)->is_done = true;
}

static void end(void)
{
	struct answer stopped = {0};

	for (unsigned s = 0; s < SUBSYSTEMS; s++) {
		if (model.subsys[s].is_there)
			expect(true, "nvmf_delete_subsystem",
			       json_pack("{s:s}", "nqn", w.subnqns[s]));
		clear(&model.subsys[s]);
	}
	compare_all();
	turn_until(is_empty, NULL);
	shard_stop(&w.hosts_shard);
	tgt_stop(w.tgt, on_stopped, &stopped);
	turn_until(is_answered, &stopped);
	control_fini(&w.ctl);
	for (unsigned i = 0; i < SHARDS; i++)
		shard_stop(&w.shards[i]);
	loop_destroy(w.loop);
}

int main(int argc, char **argv)
{
	unsigned calls = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 250;
	uint64_t lives = 0, ios = 0;

	w.rng = t_rng(0);
	start();
	name_all();
	while (w.calls < calls) {
		shard_call(&w.hosts_shard, live_run, NULL);
		for (unsigned i = 0; i < ROUND; i++) {
			random_call();
			let_live();
		}
		compare_all();
		rest();
		for (unsigned i = 0; i < 5; i++)
			try_one();
	}
	end();
	for (unsigned h = 0; h < HOSTS; h++) {
		lives += w.hosts[h].lives;
		ios += w.hosts[h].reads;
	}
	printf("%u calls, %u refused; %u tries, %u let in; %llu connections, "
	       "%llu reads and writes\n",
	       w.calls, w.refused, w.tries, w.let_in, (unsigned long long)lives,
	       (unsigned long long)ios);
	return 0;
}
