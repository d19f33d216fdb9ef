/* SPDX-License-Identifier: Apache-2.0 */
/* The discovery log of a target with many subsystems, read in pieces. */
#include "t_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "t_rand.h"

#define MANY  1000u
#define ENTRY 1024u

static struct t_target t;
static struct t_wire disc;
static unsigned next_id;

static void add_subsys(void *arg)
{
	char nqn[64];
	struct tgt_subsys_opts opts = {.nqn = nqn};
	struct tgt_subsys *ss;
	struct err err = {0};

	snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.mooncake:many-%u",
		 next_id++);
	if (tgt_subsys_add(t.tgt, &opts, &ss, &err))
		fail_msg("%s", err.text);
}

static uint16_t read_at(uint64_t off, void *buf, uint32_t len)
{
	struct nvme_sqe sqe;

	nvme_cmd_get_log(&sqe, 0x70, off, len);
	return tw_admin(&disc, &sqe, buf, len, NULL) & NVME_SC_MASK;
}

static struct nvmf_discovery_log read_header(void)
{
	struct nvmf_discovery_log head;

	assert_int_equal(read_at(0, &head, sizeof(head)), NVME_SC_OK);
	return head;
}

static void open_disc(void)
{
	disc = (struct t_wire){0};
	tw_start(&disc, &t.disc_addr);
	assert_int_equal(tw_connect(&disc, NVME_DISC_NQN, 0, 0xffff, NULL), 0);
	tw_enable(&disc);
}

static int setup(void **state)
{
	t_target_start(&t, NULL, 1);
	for (unsigned i = 0; i < MANY; i++)
		shard_call(&t.control, add_subsys, NULL);
	open_disc();
	return 0;
}

static int teardown(void **state)
{
	tw_close(&disc);
	t_target_stop(&t);
	return 0;
}

static const char *nqn_of(const uint8_t *entry)
{
	return (const char *)entry + 256;
}

/* However it is cut, it is the same page. */
static void test_pieces(void **state)
{
	uint64_t len = (MANY + 2) * ENTRY; /* header and T_WIRE_NQN */
	uint8_t *whole = malloc(len), *piece = malloc(len);
	struct rng rng = t_rng(0);

	assert_int_equal(read_header().numrec, MANY + 1);
	assert_int_equal(read_at(0, whole, (uint32_t)len), NVME_SC_OK);
	assert_string_equal(nqn_of(whole + ENTRY), T_WIRE_NQN);
	for (unsigned i = 0; i < MANY; i++) {
		char want[64];

		snprintf(want, sizeof(want), "nqn.2026-11.io.mooncake:many-%u",
			 i);
		assert_string_equal(nqn_of(whole + (i + 2) * ENTRY), want);
	}
	for (unsigned i = 0; i < 50; i++) {
		uint64_t off = rng_below(&rng, len / 4) * 4;
		uint32_t n = 4 + (uint32_t)rng_below(&rng, 5000) * 4;
		uint64_t have = MIN(n, len - off);

		memset(piece, 0xaa, n);
		assert_int_equal(read_at(off, piece, n), NVME_SC_OK);
		assert_memory_equal(piece, whole + off, have);
		for (uint64_t k = have; k < n; k++)
			assert_int_equal(piece[k], 0);
	}
	free(whole);
	free(piece);
}

static void test_ends(void **state)
{
	uint64_t len = (MANY + 2) * ENTRY;
	uint8_t buf[8];

	assert_int_equal(read_at(len, buf, 8), NVME_SC_OK);
	assert_int_equal(buf[0], 0);
	assert_int_equal(read_at(len + 4, buf, 8), NVME_SC_BAD_FIELD);
	assert_int_equal(read_at(UINT64_MAX - 3, buf, 8), NVME_SC_BAD_FIELD);
}

/* A host that reads entries of two generations can tell. */
static void test_change_between_pieces(void **state)
{
	struct nvmf_discovery_log before = read_header(), after;
	uint8_t entry[ENTRY];

	assert_int_equal(read_at(ENTRY, entry, ENTRY), NVME_SC_OK);
	shard_call(&t.control, add_subsys, NULL);
	assert_int_equal(read_at((before.numrec + 1) * ENTRY, entry, ENTRY),
			 NVME_SC_OK);
	assert_string_equal(nqn_of(entry), "nqn.2026-11.io.mooncake:many-1000");
	after = read_header();
	assert_true(after.genctr > before.genctr);
	assert_int_equal(after.numrec, before.numrec + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_change_between_pieces),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
