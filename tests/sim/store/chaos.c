/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes wrong, and the end of it.  The driver's: outside of all nodes.
 */
#include "world.h"

#define STEP_NS	 (20 * NS_PER_MS)
#define DOWN_NS	 (6 * NS_PER_S)	  /* at most */
#define STILL_NS (12 * NS_PER_S)  /* at most */
#define END_NS	 (240 * NS_PER_S) /* by then all is quiet */
#define AUDIT_NS (500 * NS_PER_MS)

static struct {
	bool was_alive, is_silent;
	uint64_t back_ns; /* starts again */
	/* Stands still; until 0: does not, and did last until went_on_ns */
	uint64_t stood_ns, until_ns, went_on_ns;
} nodes[NODES];

static struct cut {
	unsigned from, to;
	uint64_t until_ns;
} cuts[8];

/* --- deaths --- */

static void bury_client(struct client_node *c)
{
	for (unsigned key = 0; key < KEYS; key++)
		for (unsigned i = 0; i < c->removing[key]; i++)
			remove_died(key);
	*c = (struct client_node){.life = c->life + 1};
}

static void bury(unsigned node)
{
	unsigned client = node - NODE_CLIENT;

	note("node %u is dead", node);
	w.crashes++;
	if (node == NODE_MASTER)
		master_died(nodes[node].is_silent);
	if (node >= NODE_TARGET && node < NODE_CLIENT)
		medium_crash(w.at[node - NODE_TARGET]);
	if (node >= NODE_CLIENT && client < CLIENTS)
		bury_client(&w.clients[client]);
	nodes[node].was_alive = false;
	nodes[node].until_ns = nodes[node].went_on_ns = 0;
	nodes[node].back_ns = now_ns() + below(DOWN_NS);
}

/* Wiped, copied from another one, or never the pool's. */
static void put_another(unsigned target)
{
	struct medium *m = &w.foreign[target];
	uint64_t what = below(3);
	/* An empty one is a new one to who does not know its name. */
	bool is_wiped =
		what == 0 && w.plan.keep != KEEP_NOTHING && !w.plan.has_drains;

	/* The same name: only the superblock tells. */
	if (is_wiped || chance(0.5))
		m->id = w.home[target]->id;
	else
		medium_name(m, FOREIGN_ID + target);
	medium_fill(m, what == 1 ? w.home[(target + 1) % TARGETS] : NULL,
		    is_wiped ? 0 : 0x5a);
	w.at[target] = m;
	w.swaps++;
	note("target %u has another disk%s", target,
	     what == 1	? ", a copy"
	     : is_wiped ? ", an empty one"
			: "");
}

static void swap_disk(unsigned target)
{
	struct medium *m = w.home[target];
	uint64_t what = below(4);

	if (!w.plan.has_swaps || w.is_quiet)
		what = 3;
	if (what == 1)
		return; /* what is there stays */
	m->bytes = DISK_BYTES;
	w.at[target] = m;
	if (what == 0)
		put_another(target);
	if (what == 2) {
		m->bytes = chance(0.5) ? DISK_BYTES - MiB : DISK_BYTES + MiB;
		note("target %u has another size", target);
	}
}

static void watch_nodes(void)
{
	for (unsigned node = 1; node < NODES; node++) {
		if (io_sim_is_alive(w.sim, node)) {
			nodes[node].was_alive = true;
			continue;
		}
		if (nodes[node].was_alive)
			bury(node);
		if (!nodes[node].back_ns || nodes[node].back_ns > now_ns())
			continue;
		nodes[node].back_ns = 0;
		nodes[node].was_alive = true; /* however short it lives */
		if (node >= NODE_TARGET && node < NODE_CLIENT)
			swap_disk(node - NODE_TARGET);
		note("node %u starts again", node);
		node_start(node);
	}
}

static void crash_now(unsigned node)
{
	if (!io_sim_is_alive(w.sim, node))
		return;
	nodes[node].is_silent = chance(0.5);
	io_sim_kill(w.sim, node, nodes[node].is_silent);
	bury(node);
}

/* From now on each has the other's address. */
static void exchange_two(void)
{
	unsigned a = (unsigned)below(TARGETS);
	unsigned b = (a + 1 + (unsigned)below(TARGETS - 1)) % TARGETS;
	struct medium *m = w.home[a];

	crash_now(NODE_TARGET + a);
	crash_now(NODE_TARGET + b);
	if (w.plan.has_master_crashes && chance(0.3))
		crash_now(NODE_MASTER);
	w.home[a] = w.home[b];
	w.home[b] = m;
	w.at[a] = w.home[a];
	w.at[b] = w.home[b];
	w.exchanges++;
	note("the disks of targets %u and %u change places", a, b);
}

static void crash_some(void)
{
	unsigned node = 1 + (unsigned)below(NODE_OPERATOR - 1);

	if (node == NODE_MASTER && !w.plan.has_master_crashes)
		return;
	if (w.plan.has_master_crashes && chance(0.25))
		node = NODE_MASTER;
	if (!io_sim_is_alive(w.sim, node))
		return;
	nodes[node].is_silent = chance(0.5);
	if (node == NODE_MASTER && chance(0.5))
		files_die_in(1 + (unsigned)below(12), nodes[node].is_silent);
	else
		io_sim_kill_after(w.sim, node, 1 + (unsigned)below(40),
				  nodes[node].is_silent);
}

void power_fails_in(unsigned calls)
{
	nodes[NODE_MASTER].is_silent = true;
	files_die_in(calls, true);
}

/* --- those that stand still --- */

uint64_t master_stood_ns(void)
{
	const uint64_t went_on_ns = nodes[NODE_MASTER].went_on_ns;

	if (nodes[NODE_MASTER].until_ns ||
	    (went_on_ns && went_on_ns + SYNC_NS > now_ns()))
		return nodes[NODE_MASTER].stood_ns;
	return now_ns();
}

static void stop_some(void)
{
	unsigned node = 1 + (unsigned)below(NODE_OPERATOR - 1);

	if (!io_sim_is_alive(w.sim, node) || nodes[node].until_ns)
		return;
	nodes[node].stood_ns = now_ns();
	nodes[node].until_ns = now_ns() + 1 + below(STILL_NS);
	io_sim_stop(w.sim, node, true);
	note("node %u stands still", node);
	w.stops++;
}

static void go_on_due(void)
{
	for (unsigned node = 1; node < NODES; node++) {
		if (!nodes[node].until_ns ||
		    (!w.is_quiet && nodes[node].until_ns > now_ns()))
			continue;
		nodes[node].until_ns = 0;
		nodes[node].went_on_ns = now_ns();
		io_sim_stop(w.sim, node, false);
		note("node %u goes on", node);
	}
}

/* --- links --- */

static void mend(struct cut *cut)
{
	note("link %u to %u is back", cut->from, cut->to);
	io_sim_cut(w.sim, cut->from, cut->to, false);
	cut->until_ns = 0;
}

static void cut_one(unsigned from, unsigned to, uint64_t until_ns)
{
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++)
		if (cuts[i].until_ns && cuts[i].from == from &&
		    cuts[i].to == to)
			return;
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		if (cuts[i].until_ns)
			continue;
		cuts[i] = (struct cut){from, to, until_ns};
		io_sim_cut(w.sim, from, to, true);
		note("link %u to %u is cut", from, to);
		w.cuts++;
		return;
	}
}

static void cut_some(void)
{
	unsigned a = 1 + (unsigned)below(NODES - 1);
	unsigned b = 1 + (unsigned)below(NODES - 1);
	uint64_t until_ns = now_ns() + below(DOWN_NS);

	if (a == b)
		return;
	cut_one(a, b, until_ns);
	if (chance(0.5))
		cut_one(b, a, until_ns);
}

static void mend_due(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++)
		if (cuts[i].until_ns &&
		    (w.is_quiet || cuts[i].until_ns <= now_ns()))
			mend(&cuts[i]);
}

static void set_links(bool is_rough)
{
	struct io_sim_faults f = {
		.latency_min_ns = 20 * NS_PER_US,
		.latency_max_ns = 300 * NS_PER_US,
	};

	/* So uneven that one's removal and another's put overtake a read. */
	if (w.plan.is_hurried && !w.is_quiet)
		f.latency_max_ns = 20 * NS_PER_MS;
	if (is_rough) {
		f.max_segment = 32 * KiB;
		f.stall_rate = 0.002;
		f.stall_ns = 300 * NS_PER_MS;
		f.reset_rate = 0.0005;
		f.refuse_rate = 0.02;
	}
	io_sim_set_faults(w.sim, &f);
}

/* --- disks and clocks --- */

static void set_media(bool is_bad)
{
	for (unsigned i = 0; i < TARGETS; i++) {
		struct medium *m = &w.disks[i];

		m->flip = m->misdirect = m->lose = m->latent =
			is_bad ? 0.02 : 0;
		if (!is_bad)
			m->bad_bytes = 0;
	}
}

static void slow_one(void)
{
	struct medium *m = w.at[below(TARGETS)];

	m->slow_until_ns = now_ns() + below(4 * NS_PER_S);
	note("disk %d is slow", (int)m->id.b[0]);
}

static void step_clock(void)
{
	int64_t ns = (int64_t)below(7200 * NS_PER_S) - 3600 * 1000000000LL;

	note("the wall clock jumps by %lld s", (long long)(ns / 1000000000));
	io_sim_step_wall(w.sim, ns);
}

/* --- the course of it --- */

static void trouble(void)
{
	if (w.plan.has_links && chance(0.02))
		cut_some();
	if (w.plan.has_crashes && chance(0.02))
		crash_some();
	if (w.plan.has_exchanges && chance(0.003))
		exchange_two();
	if (w.plan.has_stops && chance(0.01))
		stop_some();
	if (w.plan.has_slow && chance(0.01))
		slow_one();
	if (w.plan.has_clock && chance(0.005))
		step_clock();
	/* A start that can't write is refused, which is no news. */
	if (w.plan.has_file_errors)
		files_fail(master_core() && chance(0.1) ? 0.3 : 0);
}

/* Lets ns pass; what has to be seen to is. */
static void pass(uint64_t ns)
{
	uint64_t limit_ns = now_ns() + ns;

	while (io_sim_step(w.sim, limit_ns))
		watch_nodes();
	watch_nodes();
	go_on_due();
	mend_due();
}

void chaos_run(void)
{
	uint64_t end_ns, audit_ns = 0;

	for (unsigned node = 1; node < NODES; node++)
		node_start(node);
	pass(3 * NS_PER_S);
	set_links(w.plan.has_links);
	set_media(w.plan.has_media);
	rival_start();
	end_ns = now_ns() + w.plan.seconds * NS_PER_S;
	while (now_ns() < end_ns) {
		trouble();
		pass(STEP_NS);
		if (now_ns() < audit_ns)
			continue;
		audit_ns = now_ns() + AUDIT_NS;
		audit_master();
	}
}

/* --- the end of it --- */

/* What is not done or not there yet; "" when all is. */
static const char *missing(void)
{
	static char text[80];

	for (unsigned node = 1; node < NODES; node++) {
		snprintf(text, sizeof(text), "node %u is dead", node);
		if (!io_sim_is_alive(w.sim, node))
			return text;
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		snprintf(text, sizeof(text), "client %u: %s, %u calls", i,
			 w.clients[i].store ? "is there" : "no store",
			 w.clients[i].calls);
		if (!w.clients[i].store || w.clients[i].calls)
			return text;
	}
	return "";
}

static void until_idle(const char *what)
{
	uint64_t limit_ns = now_ns() + END_NS;

	do {
		if (now_ns() > limit_ns)
			fail("%s: not quiet after %llu s: %s", what,
			     (unsigned long long)(END_NS / NS_PER_S),
			     missing());
		pass(100 * NS_PER_MS);
	} while (*missing());
}

void chaos_end(void)
{
	note("the faults are over");
	w.is_quiet = true;
	rival_stop();
	set_links(false);
	set_media(false);
	/* Nobody dies any more but who is at it already. */
	for (unsigned node = 1; node < NODES; node++)
		if (node != NODE_MASTER || !files_are_dying())
			io_sim_kill_after(w.sim, node, 0, false);
	files_die_in(0, false);
	files_fail(0);
	for (unsigned i = 0; i < TARGETS; i++)
		w.disks[i].slow_until_ns = w.foreign[i].slow_until_ns = 0;
	for (unsigned i = 0; i < TARGETS; i++)
		if ((w.at[i]->is_foreign || w.at[i]->bytes != DISK_BYTES) &&
		    io_sim_is_alive(w.sim, NODE_TARGET + i))
			io_sim_kill(w.sim, NODE_TARGET + i, false);
	until_idle("jobs");
	pass(10 * NS_PER_S);
	audit_master();
	audit_held();
	for (unsigned i = 0; i < CLIENTS; i++)
		client_last_words(i);
	until_idle("last words");
	pass(40 * NS_PER_S);
	audit_master();
	client_hedges();
	audit_empty();
	for (unsigned i = 0; i < TARGETS; i++)
		if (w.foreign[i].foreign_writes)
			fail("the foreign disk of target %u was written to", i);
}
