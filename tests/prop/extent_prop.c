/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extent allocator against a map with one owner per unit.  Every answer is
 * checked: what is taken was free, what is refused could not have been had,
 * and now and then the whole list of ranges.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/extent.h"
#include "t_rand.h"

#define UNITS_MAX 4096
#define LIVE_MAX  2048
#define ROUNDS	  12
#define STEPS	  8000

struct model {
	struct ext_alloc *ea;
	uint64_t base, unit;
	uint32_t units;
	uint8_t is_used[UNITS_MAX];
	struct ext live[LIVE_MAX];
	size_t live_count;
};

/* Is there a free aligned run of so many units? */
static bool could_fit(const struct model *m, uint64_t count, uint64_t align)
{
	uint64_t run = 0;

	for (uint32_t i = m->units; i > 0; i--) {
		run = m->is_used[i - 1] ? 0 : run + 1;
		if (run >= count &&
		    IS_ALIGNED(m->base + (i - 1) * m->unit, align))
			return true;
	}
	return false;
}

static bool is_range_free(const struct model *m, uint64_t first, uint64_t count)
{
	for (uint64_t i = first; i < first + count; i++)
		if (m->is_used[i])
			return false;
	return true;
}

static void mark(struct model *m, const struct ext *ext, uint8_t used)
{
	uint64_t first = (ext->off - m->base) / m->unit;

	for (uint64_t i = first; i < first + ext->len / m->unit; i++) {
		ASSERT(m->is_used[i] == !used);
		m->is_used[i] = used;
	}
}

static void remember(struct model *m, const struct ext *ext)
{
	mark(m, ext, 1);
	m->live[m->live_count++] = *ext;
}

static uint64_t pick_units(const struct model *m, struct rng *rng)
{
	switch (rng_below(rng, 8)) {
	case 0:
		return 1 + rng_below(rng, m->units + 1);
	case 1:
		return 1 + rng_below(rng, 300);
	case 2:
		return 33; /* many of one size above the exact bins */
	default:
		return 1 + rng_below(rng, 12);
	}
}

static void step_take(struct model *m, struct rng *rng)
{
	uint64_t units = pick_units(m, rng), align = 0;
	uint64_t len = units * m->unit - rng_below(rng, m->unit);
	struct ext ext;
	int ret;

	if (rng_below(rng, 4) == 0)
		align = m->unit << rng_below(rng, 9);
	ret = ext_take(m->ea, len, align, &ext);
	if (ret) {
		ASSERT(ret == -ENOSPC);
		ASSERT(!could_fit(m, units, align ? align : m->unit));
		return;
	}
	ASSERT(ext.len == units * m->unit);
	ASSERT(align == 0 || IS_ALIGNED(ext.off, align));
	remember(m, &ext);
}

static void step_take_at(struct model *m, struct rng *rng)
{
	uint64_t first = rng_below(rng, m->units);
	uint64_t count =
		1 + rng_below(rng, MIN(m->units - first, (uint64_t)20));
	uint64_t off = m->base + first * m->unit;
	struct ext ext;
	int ret = ext_take_at(m->ea, off, count * m->unit, &ext);

	ASSERT(ret == (is_range_free(m, first, count) ? 0 : -EBUSY));
	if (ret)
		return;
	ASSERT(ext.off == off && ext.len == count * m->unit);
	remember(m, &ext);
}

static void step_give(struct model *m, struct rng *rng)
{
	size_t i;

	if (!m->live_count)
		return;
	i = rng_below(rng, m->live_count);
	mark(m, &m->live[i], 0);
	ext_give(m->ea, &m->live[i]);
	m->live[i] = m->live[--m->live_count];
}

/* The list must tile the segment and agree with the map everywhere. */
static void check_all(const struct model *m)
{
	uint64_t at = m->base, used_bytes = 0, largest = 0;
	bool used, was_free = false;
	uint32_t node = UINT32_MAX;
	struct ext ext;

	while (ext_next(m->ea, &node, &ext, &used)) {
		ASSERT(ext.off == at && ext.len >= m->unit);
		for (; at < ext.off + ext.len; at += m->unit)
			ASSERT(m->is_used[(at - m->base) / m->unit] == used);
		ASSERT(used || !was_free); /* else they were to be merged */
		was_free = !used;
		if (used)
			used_bytes += ext.len;
		else
			largest = MAX(largest, ext.len);
	}
	ASSERT(at == m->base + m->units * m->unit);
	ASSERT(ext_used(m->ea) == used_bytes);
	ASSERT(ext_largest_free(m->ea) == largest);
}

static void run_round(struct model *m, struct rng *rng)
{
	uint64_t give = 30 + rng_below(rng, 40), at_share;
	int ret;

	*m = (struct model){
		.unit = (uint64_t)1 << rng_below(rng, 13),
		.units = 1 + (uint32_t)rng_below(rng, UNITS_MAX),
	};
	m->base = m->unit * rng_below(rng, 1000);
	ret = ext_create(m->base, m->units * m->unit, m->unit, &m->ea);
	ASSERT(ret == 0);
	for (int i = 0; i < STEPS; i++) {
		/* Phases: a restore takes places, later work takes any. */
		at_share = i / 500 % 3 == 0 ? 100 : i / 500 % 3 == 1 ? 0 : 30;
		if (m->live_count == LIVE_MAX || rng_below(rng, 100) < give)
			step_give(m, rng);
		else if (rng_below(rng, 100) < at_share)
			step_take_at(m, rng);
		else
			step_take(m, rng);
		if (i % 250 == 0)
			check_all(m);
	}
	while (m->live_count)
		step_give(m, rng);
	check_all(m);
	ASSERT(ext_largest_free(m->ea) == m->units * m->unit);
	ext_destroy(m->ea);
}

int main(void)
{
	struct model *m = malloc(sizeof(*m));
	struct rng rng = t_rng(0);

	ASSERT(m);
	for (int round = 0; round < ROUNDS; round++)
		run_round(m, &rng);
	free(m);
	return 0;
}
