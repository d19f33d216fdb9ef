/* SPDX-License-Identifier: Apache-2.0 */
/* Segments: adding, finding, states, going away in slices, tombs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "t_core.h"

static unsigned gone;

static void on_gone(struct segment *seg, void *arg)
{
	gone++;
	assert_int_equal(seg->dropped, *(uint64_t *)arg);
}

static void test_find(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = t_segment(core, KIND_NOF, 3, 16 * MiB);
	struct uuid other = {{1, 2, 3}};

	assert_ptr_equal(segment_find(core, &seg->id), seg);
	assert_null(segment_find(core, &other));
	assert_ptr_equal(segment_find_path(core, seg->endpoints[0]), seg);
	assert_ptr_equal(segment_find_identity(core, "nof3"), seg);
	assert_null(segment_find_identity(core, "none"));
	assert_null(segment_find_identity(core, ""));
	for (unsigned i = 1; i < SEGMENT_PATHS; i++)
		assert_int_equal(segment_add_path(core, seg, "x"), 0);
	assert_int_equal(segment_add_path(core, seg, "x"), -28);
	core_destroy(core);
}

static void test_bad(void **state)
{
	struct core *core = t_core(NULL);
	char text[] = "traddr:1.2.3.4 subnqn:nqn.2024-01.t:x ns:1";
	char *paths[] = {text};
	struct segment_desc desc = {.name = "x",
				    .endpoints = paths,
				    .endpoint_count = 1,
				    .base = 100,
				    .size = MiB};
	struct segment *seg;
	struct err err = {0};

	assert_true(segment_add(core, &desc, &seg, &err) < 0);
	desc.base = 0;
	desc.size = 4095;
	assert_true(segment_add(core, &desc, &seg, &err) < 0);
	desc.size = 8191; /* cut to whole units */
	assert_int_equal(segment_add(core, &desc, &seg, &err), 0);
	assert_int_equal(seg->size, 4096);
	assert_string_equal(seg->host_id, "1.2.3.4");
	core_destroy(core);
}

static void test_unmount_in_slices(void **state)
{
	struct core *core = t_core(NULL);
	struct segment *seg = t_segment(core, KIND_MEM, 0, 16 * MiB);
	uint64_t dropped = 9;
	char key[16];

	core->on_gone = on_gone;
	core->on_gone_arg = &dropped;
	for (unsigned i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		/* The first one has another replica. */
		if (i == 1)
			segment_set_state(core, core->online[KIND_NOF][0],
					  SEG_OFFLINE, "");
		if (i == 0)
			t_segment(core, KIND_NOF, 0, 16 * MiB);
		assert_int_equal(t_put(core, key, 100, 1, i == 0), 0);
	}
	assert_true(t_exist(core, "k3"));
	segment_start_unmount(core, seg);
	assert_false(t_exist(core, "k3"));
	gone = 0;
	assert_true(segments_reap(core, 4));
	assert_int_equal(core->objects.count, 7);
	assert_int_equal(gone, 0);
	assert_false(segments_reap(core, 100));
	assert_int_equal(gone, 1);
	assert_int_equal(core->objects.count, 1);
	core->on_gone = NULL;
	core_destroy(core);
}

static void expect_tomb(enum kind kind)
{
	const char *identity = kind == KIND_NOF ? "nof0" : "";
	unsigned mem = kind == KIND_MEM, nof = kind == KIND_NOF;
	struct core *core = t_core(NULL);
	struct segment *seg = t_segment(core, kind, 0, 16 * MiB);
	struct uuid id = seg->id, none = {{0}};
	uint64_t until;

	assert_int_equal(t_put(core, "a", 100, mem, nof), 0);
	assert_int_equal(t_start(core, "b", 100, mem, nof), 0);
	until = core->now_ns + core->opts.discard_ns;
	segment_start_unmount(core, seg);
	assert_false(segments_reap(core, 100));
	assert_int_equal(segment_tomb(core, &id, ""), until);
	assert_int_equal(segment_tomb(core, &none, identity),
			 *identity ? until : 0);
	assert_int_equal(segment_tomb(core, &none, "none"), 0);
	core_enter(core, until);
	assert_int_equal(segment_tomb(core, &id, ""), 0);
	/* Readers alone leave none. */
	seg = t_segment(core, kind, 0, 16 * MiB);
	assert_int_equal(t_put(core, "a", 100, mem, nof), 0);
	assert_true(t_exist(core, "a"));
	segment_start_unmount(core, seg);
	assert_false(segments_reap(core, 100));
	assert_int_equal(segment_tomb(core, &id, ""), 0);
	core_destroy(core);
}

/* What a put has elsewhere rests until it would have given way. */
static void test_other_stripes_rest(void **state)
{
	struct core_opts opts;
	struct core *core;
	struct segment *one, *two;
	uint64_t at_ns;

	core_opts_default(&opts);
	opts.seed = 1;
	opts.stripe_bytes = MiB;
	core = t_core(&opts);
	one = t_segment(core, KIND_NOF, 0, 16 * MiB);
	two = t_segment(core, KIND_NOF, 1, 16 * MiB);
	at_ns = core->now_ns + opts.discard_ns;
	assert_int_equal(t_start(core, "a", 4 * MiB, 0, 1), 0);
	t_pass(core, opts.write_ns + opts.margin_ns);
	segment_start_unmount(core, one);
	assert_false(segments_reap(core, 100));
	assert_null(obj_find(core, STR("a")));
	assert_int_equal(two->quarantined, 2 * MiB);
	core_enter(core, at_ns - 1);
	assert_int_equal(quarantine_release(core), 0);
	core_enter(core, at_ns);
	assert_int_equal(quarantine_release(core), 2);
	core_destroy(core);
}

static void test_tomb(void **state)
{
	expect_tomb(KIND_NOF);
	expect_tomb(KIND_MEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_unmount_in_slices),
		cmocka_unit_test(test_other_stripes_rest),
		cmocka_unit_test(test_tomb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
