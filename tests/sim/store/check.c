/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients may see.  A value says which put wrote it; a get returns the
 * whole value of a put that had begun, that was not removed before, and that no
 * newer one has taken the place of; or it misses.
 *
 * A put that stored something begins where its key has nothing that can be
 * read, and what is there goes for good when it ends.  From then on nothing is
 * seen any more that was over before it began, whatever became of it itself:
 * read by nobody, evicted, removed without an answer.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "world.h"

/* --- values --- */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return x ^ x >> 33;
}

size_t value_size(unsigned key, uint32_t version)
{
	uint64_t h = mix(w.plan.seed + key * 1000003ULL + version);
	uint64_t seldom = w.plan.has_stripes ? 1 : 7;
	size_t max = h & seldom ? 24 * KiB : VALUE_MAX;

	return 16 + (size_t)((h >> 8) % (max - 16));
}

static uint64_t word_at(unsigned key, uint32_t version, size_t at)
{
	uint64_t id = (uint64_t)key << 32 | version;

	return at == 0 ? id : (id + at) * 0x9e3779b97f4a7c15ULL;
}

void value_fill(unsigned key, uint32_t version, uint8_t *p)
{
	size_t n = value_size(key, version), at;
	uint64_t word;

	for (at = 0; at < n; at += sizeof(word)) {
		word = word_at(key, version, at);
		memcpy(p + at, &word, MIN(sizeof(word), n - at));
	}
}

static bool value_is(unsigned key, uint32_t version, const uint8_t *p, size_t n)
{
	uint64_t word;

	if (n != value_size(key, version))
		return false;
	for (size_t at = 0; at < n; at += sizeof(word)) {
		word = word_at(key, version, at);
		if (memcmp(p + at, &word, MIN(sizeof(word), n - at)) != 0)
			return false;
	}
	return true;
}

/* --- history --- */

static void *grow(void *p, uint32_t count, uint32_t *cap, size_t size)
{
	if (count < *cap)
		return p;
	*cap = MAX(*cap * 2, 16u);
	p = reallocarray(p, *cap, size);
	CHECK(p);
	return p;
}

bool is_pool_key(unsigned key)
{
	return key % 2 == 0;
}

uint32_t put_begins(unsigned key)
{
	struct history *h = &w.keys[key];

	h->v = grow(h->v, h->count, &h->cap, sizeof(*h->v));
	h->v[h->count] = (struct version){.start_ns = now_ns()};
	w.puts++;
	return h->count++;
}

/* What was done may be what the power took, and its answer on the way. */
static bool was_cut(uint64_t start_ns)
{
	return w.cut_ns && start_ns <= w.cut_ns;
}

/* It did not find another one.  What was evicted since it began may have been
 * it, if the master has nothing like it. */
static void put_stored(unsigned key, uint32_t version)
{
	struct history *h = &w.keys[key];
	struct version *v = &h->v[version];

	if (was_cut(v->start_ns))
		return;
	if (!v->stored_ns)
		v->stored_ns = now_ns();
	if (h->removing || h->removed_by_ns >= v->start_ns)
		return;
	if (master_core())
		audit_counts(master_core());
	h->generation = audit_generation(key, value_size(key, version));
	h->is_held = h->generation || w.evicted_ns <= v->start_ns;
	h->held_ns = now_ns();
}

void put_ended(unsigned key, uint32_t version, int result, bool is_others)
{
	struct version *v = &w.keys[key].v[version];

	v->end_ns = now_ns();
	v->result = result;
	if (result == 0 && !v->known_ns)
		v->known_ns = v->end_ns;
	w.put_ok += result == 0;
	if (result == 0 && !is_others)
		put_stored(key, version);
	note("put key=%u version=%u began=%llu result=%d%s", key, version,
	     (unsigned long long)v->start_ns, result,
	     is_others ? " (or another's)" : "");
}

/* By then every message of a call that has ended has come, or never will. */
#define STRAY_NS (30 * NS_PER_S)

void remove_begins(unsigned key)
{
	w.keys[key].is_held = false;
	w.keys[key].removing++;
}

void remove_died(unsigned key)
{
	struct history *h = &w.keys[key];

	CHECK(h->removing > 0);
	h->removing--;
	h->is_held = false;
	h->removed_by_ns = now_ns() + STRAY_NS;
}

/* It may be that nothing more is heard of it. */
static bool is_answered(int result)
{
	enum mooncake_status st = result;

	return st == MOONCAKE_OK || st == MOONCAKE_OBJECT_NOT_FOUND ||
	       st == MOONCAKE_OBJECT_HAS_LEASE ||
	       st == MOONCAKE_REPLICA_IS_NOT_READY;
}

void history_cut(uint64_t since_ns)
{
	w.cut_ns = now_ns();
	for (unsigned key = 0; key < KEYS; key++) {
		struct history *h = &w.keys[key];
		uint32_t kept = 0;

		for (uint32_t i = 0; i < h->removed_count; i++)
			if (h->removed[i].end_ns < since_ns)
				h->removed[kept++] = h->removed[i];
		h->removed_count = kept;
		for (uint32_t i = 0; i < h->count; i++)
			if (!h->v[i].end_ns || h->v[i].end_ns >= since_ns ||
			    h->v[i].stored_ns >= since_ns)
				h->v[i].stored_ns = 0;
		if (h->held_ns >= since_ns)
			h->is_held = false;
	}
}

bool may_be_damaged(void)
{
	const struct plan *p = &w.plan;

	return p->has_media || has_successor() ||
	       (w.lossy && p->keep != KEEP_ALL) ||
	       (p->has_master_crashes && p->keep == KEEP_NOTHING);
}

bool must_be_held(unsigned key)
{
	const struct history *h = &w.keys[key];

	return h->is_held && is_pool_key(key) && !h->removing &&
	       (w.plan.keep != KEEP_NOTHING || !w.plan.has_master_crashes) &&
	       !w.plan.has_media && !has_successor();
}

void history_evicted(uint64_t evicted)
{
	const bool is_known = master_core() != NULL;
	unsigned gone = 0;

	w.evicted_ns = now_ns();
	for (unsigned key = 0; key < KEYS; key++) {
		struct history *h = &w.keys[key];

		if (h->generation && audit_generation(key, 0) == h->generation)
			continue;
		gone += is_known && must_be_held(key) &&
			!audit_generation(key, 0);
		h->is_held = false;
	}
	if (gone > evicted)
		fail("%u keys whose puts were acknowledged are gone, and %llu "
		     "were evicted",
		     gone, (unsigned long long)evicted);
}

void remove_ended(unsigned key, uint64_t start_ns, int result)
{
	struct history *h = &w.keys[key];

	if (is_answered(result)) {
		h->removing--;
		h->is_held = false;
		h->removed_by_ns = MAX(h->removed_by_ns, now_ns());
	} else {
		remove_died(key);
	}
	w.removes++;
	note("remove key=%u began=%llu result=%d", key,
	     (unsigned long long)start_ns, result);
	if (result != 0 || was_cut(start_ns))
		return;
	h->removed = grow(h->removed, h->removed_count, &h->removed_cap,
			  sizeof(*h->removed));
	h->removed[h->removed_count++] = (struct removal){start_ns, now_ns()};
}

/* After any other error it may be there: the answer was lost, not the put. */
static bool was_refused(int result)
{
	enum mooncake_status st = result;

	return st == MOONCAKE_NO_AVAILABLE_HANDLE ||
	       st == MOONCAKE_INVALID_KEY || st == MOONCAKE_INVALID_PARAMS;
}

/* The put had ended, or its object was there. */
static uint64_t over_ns(const struct version *v)
{
	if (!v->end_ns || !v->known_ns)
		return MAX(v->end_ns, v->known_ns);
	return MIN(v->end_ns, v->known_ns);
}

/* Had another one taken its place before the get began? */
static void judge_age(unsigned key, uint32_t version, uint64_t start_ns)
{
	const struct history *h = &w.keys[key];
	uint64_t old_ns = over_ns(&h->v[version]);

	for (uint32_t i = 0; old_ns && i < h->count; i++)
		if (h->v[i].stored_ns && h->v[i].stored_ns < start_ns &&
		    old_ns < h->v[i].start_ns)
			fail("key %u: version %u after version %u, which had "
			     "taken its place at %llu, for a get at %llu",
			     key, version, i,
			     (unsigned long long)h->v[i].stored_ns,
			     (unsigned long long)start_ns);
}

static void judge(unsigned key, uint32_t version, uint64_t start_ns)
{
	struct history *h = &w.keys[key];
	struct version *v = &h->v[version];

	if (v->end_ns && v->end_ns < start_ns && was_refused(v->result))
		fail("key %u: version %u was refused (%d) at %llu and is there "
		     "for a get at %llu",
		     key, version, v->result, (unsigned long long)v->end_ns,
		     (unsigned long long)start_ns);
	for (uint32_t i = 0; i < h->removed_count; i++)
		if (v->known_ns && v->known_ns < h->removed[i].start_ns &&
		    h->removed[i].end_ns < start_ns)
			fail("key %u: version %u was removed at %llu and is "
			     "back for a get at %llu",
			     key, version,
			     (unsigned long long)h->removed[i].end_ns,
			     (unsigned long long)start_ns);
	judge_age(key, version, start_ns);
	if (!v->known_ns || now_ns() < v->known_ns)
		v->known_ns = now_ns();
	if (!v->stored_ns && !was_cut(start_ns))
		v->stored_ns = now_ns();
}

/* Where nothing goes wrong nothing is missing. */
static void miss(unsigned key, uint64_t start_ns, int64_t n)
{
	const struct history *h = &w.keys[key];
	const struct core *core = master_core();

	if (!w.plan.is_calm || !core || !h->is_held || !is_pool_key(key) ||
	    h->held_ns >= start_ns)
		return;
	audit_counts(core);
	if (w.evicted_ns < start_ns && h->is_held)
		fail("key %u: nothing for a get at %llu (%lld), though it was "
		     "stored at %llu",
		     key, (unsigned long long)start_ns, (long long)n,
		     (unsigned long long)h->held_ns);
}

bool was_put(unsigned key, const uint8_t *p, int64_t n)
{
	uint64_t id;

	if (n < (int64_t)sizeof(id))
		return false;
	memcpy(&id, p, sizeof(id));
	return id >> 32 == key && (uint32_t)id < w.keys[key].count &&
	       value_is(key, (uint32_t)id, p, (size_t)n);
}

void get_ended(unsigned key, const uint8_t *p, int64_t n, uint64_t start_ns)
{
	uint64_t id;
	uint32_t version;

	w.gets++;
	w.held += audit_key(key);
	if (n < 0) {
		if (n == -704)
			w.misses++;
		else
			w.errors++;
		note("get key=%u began=%llu result=%lld", key,
		     (unsigned long long)start_ns, (long long)n);
		miss(key, start_ns, n);
		return;
	}
	w.hits++;
	if (n < 16)
		fail("key %u: %lld bytes were never put", key, (long long)n);
	memcpy(&id, p, sizeof(id));
	version = (uint32_t)id;
	note("get key=%u began=%llu version=%u", key,
	     (unsigned long long)start_ns, version);
	if (!was_put(key, p, n))
		fail("key %u: wrong bytes (they begin with key %u version %u, "
		     "%lld bytes)",
		     key, (unsigned)(id >> 32), version, (long long)n);
	judge(key, version, start_ns);
}
