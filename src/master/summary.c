/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one-line summary that operators and scripts of upstream read, on the
 * metadata shard.  Invariant: its parts, their order and their words are
 * upstream's; what this master has not got reads 0.
 */
#include <stdio.h>

#include "master/core.h"

static void add_usage(struct strbuf *out, const char *what, uint64_t used,
		      uint64_t capacity)
{
	strbuf_addf(out, "%s: ", what);
	strbuf_add_size(out, used);
	strbuf_adds(out, " / ");
	strbuf_add_size(out, capacity);
	strbuf_addf(out, " (%.1f%%)",
		    capacity ? 100.0 * (double)used / (double)capacity : 0.0);
}

struct window {
	const struct stats *now, *before;
	double seconds;
};

static double rate(const struct window *w, uint64_t now, uint64_t before)
{
	return w->seconds > 0 ? (double)(now - before) / w->seconds : 0.0;
}

/* What upstream has, in its order; NONE where this master has no such call. */
#define NONE OP_COUNT
struct word {
	const char *text;
	enum op_kind op;
};

static const struct word singles[] = {
	{"PutStart", OP_PUT_START},
	{"PutEnd", OP_PUT_END},
	{"PutRevoke", OP_PUT_REVOKE},
	{"Get", OP_GET},
	{"Exist", OP_EXIST},
	{"Del", OP_REMOVE},
	{"DelAll", OP_REMOVE_ALL},
	{"Ping", OP_PING},
	{"CopyStart", NONE},
	{"CopyEnd", NONE},
	{"CopyRevoke", NONE},
	{"MoveStart", NONE},
	{"MoveEnd", NONE},
	{"MoveRevoke", NONE},
	{"EvictDiskReplica", NONE},
};

static const struct word batches[] = {
	{"PutStart", OP_PUT_START},
	{"PutEnd", OP_PUT_END},
	{"PutRevoke", OP_PUT_REVOKE},
	{"Get", OP_GET},
	{"ExistKey", OP_EXIST},
	{"QueryIp", NONE},
	{"Clear", NONE},
};

/* Neither items nor partial successes. */
static const char *const tasks[] = {
	"CreateMoveTask", "CreateCopyTask",	"QueryTask",
	"FetchTasks",	  "MarkTaskToComplete",
};

static void add_single(const struct window *w, const struct word *word,
		       struct strbuf *out)
{
	double total = 0, failed = 0;

	if (word->op != NONE) {
		const struct op_stats *a = &w->now->ops[word->op];
		const struct op_stats *b = &w->before->ops[word->op];

		total = rate(w, a->requests, b->requests);
		failed = rate(w, a->failures, b->failures);
	}
	strbuf_addf(out, "%s=%.2f/%.2f", word->text, total - failed, total);
}

static void add_batch(const struct window *w, const struct word *word,
		      struct strbuf *out)
{
	static const struct op_stats zero;
	bool has = word->op != NONE;
	const struct op_stats *a = has ? &w->now->ops[word->op] : &zero;
	const struct op_stats *b = has ? &w->before->ops[word->op] : &zero;
	double total = rate(w, a->batches, b->batches);
	double bad = rate(w, a->batch_failures, b->batch_failures);
	double part = rate(w, a->batch_partial, b->batch_partial);
	double items = rate(w, a->items, b->items);
	double bad_items = rate(w, a->failed_items, b->failed_items);

	strbuf_addf(out, "%s:(Req=%.2f/%.2f/%.2f, Item=%.2f/%.2f)", word->text,
		    total - bad - part, part, total, items - bad_items, items);
}

static void add_requests(const struct window *w, struct strbuf *out)
{
	strbuf_adds(out, " | Requests (Success/Total per sec): ");
	for (size_t i = 0; i < ARRAY_SIZE(singles); i++) {
		strbuf_adds(out, i ? ", " : "");
		add_single(w, &singles[i], out);
	}
	strbuf_adds(out, " | Batch Requests (per sec, Req=Success/"
			 "PartialSuccess/Total, Item=Success/Total): ");
	for (size_t i = 0; i < ARRAY_SIZE(batches); i++) {
		add_batch(w, &batches[i], out);
		strbuf_adds(out, ", ");
	}
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
		strbuf_addf(out, "%s%s:(Req=0.00/0.00)", i ? ", " : "",
			    tasks[i]);
}

struct evictions {
	uint64_t good, tries, keys, bytes;
};

static void add_evictions(struct strbuf *out, const char *what,
			  const struct evictions *e, const char *more)
{
	strbuf_addf(
		out,
		" | %s: Success/Attempts=%llu/%llu, %skeys=%llu, size=", what,
		(unsigned long long)e->good, (unsigned long long)e->tries, more,
		(unsigned long long)e->keys);
	strbuf_add_size(out, e->bytes);
}

static void add_all_evictions(const struct stats *st, struct strbuf *out)
{
	struct evictions mem = {st->evictions_mem, st->evict_tries_mem,
				st->evicted_keys_mem, st->evicted_bytes_mem};
	struct evictions nof = {st->evictions_nof, st->evict_tries_nof,
				st->evicted_keys_nof, st->evicted_bytes_nof};
	struct evictions all = {mem.good + nof.good, mem.tries + nof.tries,
				mem.keys + nof.keys, mem.bytes + nof.bytes};
	char fails[80];

	snprintf(fails, sizeof(fails), "AllocFail=%llu, PartialAlloc=%llu, ",
		 (unsigned long long)st->alloc_failures,
		 (unsigned long long)st->partial_allocs);
	add_evictions(out, "Eviction", &all, fails);
	add_evictions(out, "Mem Eviction", &mem, "");
	add_evictions(out, "NoF Eviction", &nof, "");
}

void stats_summary(struct core *core, const struct stats *before,
		   double seconds, struct strbuf *out)
{
	const struct stats *st = &core->stats;
	struct window w = {st, before, seconds};
	struct stats_usage u;

	stats_usage(core, &u);
	add_usage(out, "Mem Storage", u.used[KIND_MEM], u.capacity[KIND_MEM]);
	add_usage(out, " | NVMe-oF SSD", u.used[KIND_NOF],
		  u.capacity[KIND_NOF]);
	add_usage(out, " | SSD Storage", 0, 0);
	strbuf_addf(out, " | Keys: %zu (soft-pinned: %zu) | Clients: %zu",
		    core->objects.count, core->soft_pinned,
		    core->clients.count);
	add_requests(&w, out);
	add_all_evictions(st, out);
	strbuf_addf(out, " | Discard: Released/Total=%llu/%llu, StagingSize=",
		    (unsigned long long)st->released,
		    (unsigned long long)(st->released + st->discarded));
	strbuf_add_size(out, u.quarantined);
	strbuf_addf(out,
		    " | Promotion: in_flight=0, admitted=0, completed=0, "
		    "failed=0, cancelled=0, expired=0, bytes=0 B, "
		    "rejected(freq/wm/cap)=0/0/0 | Snapshots: Success=%llu, "
		    "Fail=%llu",
		    (unsigned long long)st->snapshots_ok,
		    (unsigned long long)st->snapshots_failed);
}
