/* SPDX-License-Identifier: Apache-2.0 */
/* What may be mounted, what is refused, what is written. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "master/health.h"
#include "master/nof_judge.h"
#include "t_core.h"

static char path_a[] = "traddr:10.0.0.1 subnqn:nqn.2024-01.t:a ns:1";
static char path_b[] = "traddr:10.0.0.2 subnqn:nqn.2024-01.t:a ns:1";
static char path_c[] = "traddr:10.0.0.2 subnqn:nqn.2024-01.t:other ns:7";

static struct vol_probe probe_of(uint8_t id, enum label_kind label)
{
	struct vol_probe probe = {.label = label};

	probe.ns.size_lba = 16 * 1024;
	probe.ns.lba_bytes = 4096;
	probe.ns.uuid[0] = id;
	snprintf(probe.label_text, sizeof(probe.label_text), "a cat");
	return probe;
}

static struct nof_found found_at(char *path, const struct vol_probe *probe)
{
	struct nof_found found;
	struct err err = {0};

	assert_int_equal(nof_found_init(&found, "ours", &path, 1, &err), 0);
	assert_int_equal(nof_found_path(&found, 0, probe, &err), 0);
	return found;
}

static int judge(struct core *core, struct nof_found *found, bool is_forced,
		 struct segment **seg, char *text)
{
	struct err err = {0};
	int st = nof_judge(core, found, is_forced, seg, &err);

	memcpy(text, err.text, sizeof(err.text));
	return st;
}

/* As if the superblock had been written. */
static struct vol_probe labelled(const struct nof_found *found, uint8_t id)
{
	struct vol_probe probe = probe_of(id, LABEL_OURS);

	probe.sb = found->sb;
	return probe;
}

/* Smaller blocks, but as many bytes. */
static struct vol_probe reformatted(const struct nof_found *found, uint8_t id)
{
	struct vol_probe probe = labelled(found, id);

	probe.ns.size_lba *= 8;
	probe.ns.lba_bytes = 512;
	return probe;
}

static void test_empty_then_again(void **state)
{
	struct core *core = t_core(NULL);
	struct vol_probe probe = probe_of(1, LABEL_EMPTY);
	struct nof_found found = found_at(path_a, &probe), again;
	struct segment *seg, *other;
	struct err err = {0};
	char text[256];

	assert_int_equal(judge(core, &found, false, &seg, text), 0);
	assert_null(seg);
	assert_int_equal(found.sb.epoch, 1);
	assert_string_equal(found.sb.cluster_id, "ours");
	assert_int_equal(nof_add_segment(core, &found, &seg, &err), 0);
	assert_int_equal(seg->base + seg->size, 64 * MiB);
	/* The same again, and by another address. */
	probe = labelled(&found, 1);
	again = found_at(path_a, &probe);
	assert_int_equal(judge(core, &again, true, &other, text), 0);
	assert_ptr_equal(other, seg);
	again = found_at(path_b, &probe);
	assert_int_equal(judge(core, &again, false, &other, text), 0);
	assert_ptr_equal(other, seg);
	assert_int_equal(seg->endpoint_count, 2);
	/* And under another name. */
	again = found_at(path_c, &probe);
	assert_int_equal(judge(core, &again, false, &other, text), 0);
	assert_ptr_equal(other, seg);
	assert_int_equal(seg->endpoint_count, 3);
	/* It grew. */
	probe.ns.size_lba *= 2;
	again = found_at(path_a, &probe);
	assert_int_equal(judge(core, &again, true, &other, text), -102);
	assert_non_null(strstr(text, "has 134217728 now"));
	/* It was reformatted. */
	probe = reformatted(&found, 1);
	again = found_at(path_a, &probe);
	assert_int_equal(judge(core, &again, true, &other, text), -102);
	assert_non_null(strstr(text, "with blocks of 4096 bytes, they have "
				     "512 now"));
	/* Somebody wiped it: never written to while it is mounted. */
	probe = probe_of(1, LABEL_EMPTY);
	again = found_at(path_b, &probe);
	assert_int_equal(judge(core, &again, true, &other, text), -102);
	/* A copy of the disk. */
	probe = labelled(&found, 2);
	again = found_at(path_b, &probe);
	assert_int_equal(judge(core, &again, true, &other, text), -102);
	core_destroy(core);
}

/* The journal is older than the disk: it was cut, or comes from a copy. */
static void test_fenced_by_its_own_past(void **state)
{
	struct core *core = t_core(NULL);
	struct vol_probe probe = probe_of(1, LABEL_EMPTY);
	struct nof_found found = found_at(path_a, &probe);
	struct segment *seg, *other;
	struct superblock sb;
	struct err err = {0};
	char text[256];

	assert_int_equal(judge(core, &found, false, &seg, text), 0);
	assert_int_equal(nof_add_segment(core, &found, &seg, &err), 0);
	segment_set_state(core, seg, SEG_OFFLINE, "");
	seg->is_awaited = true;
	seg->known_epoch = 1;
	seg->epoch = 2;
	probe = labelled(&found, 1);
	probe.sb.epoch = 4;
	health_probed(core, seg, &probe);
	assert_non_null(strstr(seg->message, "fenced"));
	assert_non_null(strstr(seg->message, "mooncake_ssd_register --force"));
	assert_false(health_is_awaited(seg, &probe, &sb));
	found = found_at(path_a, &probe);
	assert_int_equal(judge(core, &found, false, &other, text), -102);
	assert_non_null(strstr(text, "fenced"));
	assert_non_null(strstr(text, "--force"));
	assert_int_equal(seg->epoch, 2);
	assert_false(found.is_taken_over);
	assert_int_equal(judge(core, &found, true, &other, text), 0);
	assert_ptr_equal(other, seg);
	assert_true(found.is_taken_over);
	assert_true(health_is_awaited(seg, &probe, &sb));
	assert_true(sb.epoch > 4);
	/* Another master, while this one has it: not by this way. */
	seg->is_awaited = false;
	probe.sb.epoch++;
	found = found_at(path_a, &probe);
	assert_int_equal(judge(core, &found, true, &other, text), 0);
	assert_false(found.is_taken_over);
	assert_int_equal(seg->epoch, sb.epoch);
	core_destroy(core);
}

static void test_refused_unless_forced(void **state)
{
	struct core *core = t_core(NULL);
	struct vol_probe probe = probe_of(1, LABEL_FOREIGN);
	struct nof_found found = found_at(path_a, &probe);
	struct segment *seg;
	char text[256];

	assert_int_equal(judge(core, &found, false, &seg, text), -600);
	assert_non_null(strstr(text, "holds a cat; --force"));
	assert_int_equal(judge(core, &found, true, &seg, text), 0);
	/* Another cluster's. */
	probe = labelled(&found, 1);
	snprintf(probe.sb.cluster_id, sizeof(probe.sb.cluster_id), "theirs");
	found = found_at(path_a, &probe);
	assert_int_equal(judge(core, &found, false, &seg, text), -600);
	assert_non_null(strstr(text, "'theirs'"));
	assert_int_equal(judge(core, &found, true, &seg, text), 0);
	assert_string_equal(found.sb.cluster_id, "ours");
	assert_false(uuid_eq(&found.sb.segment, &probe.sb.segment));
	/* Ours, from an earlier life. */
	probe = labelled(&found, 1);
	found = found_at(path_a, &probe);
	assert_int_equal(judge(core, &found, false, &seg, text), 0);
	assert_true(found.sb.epoch > 1);
	assert_true(uuid_eq(&found.sb.segment, &probe.sb.segment));
	assert_non_null(strstr(found.note, "earlier lives"));
	/* Ours, but reformatted. */
	probe = reformatted(&found, 1);
	found = found_at(path_a, &probe);
	assert_int_equal(judge(core, &found, false, &seg, text), -600);
	assert_non_null(strstr(text, "had blocks of 4096 bytes when it was "
				     "registered, they have 512 now"));
	assert_int_equal(judge(core, &found, true, &seg, text), 0);
	assert_int_equal(found.sb.block_bytes, 512);
	assert_int_equal(found.sb.epoch, 1);
	/* Ours, but on another disk. */
	probe = labelled(&found, 1);
	probe.ns.uuid[0] = 5;
	found = found_at(path_a, &probe);
	assert_int_equal(judge(core, &found, false, &seg, text), -600);
	core_destroy(core);
}

static void test_useless(void **state)
{
	struct vol_probe probe = probe_of(1, LABEL_EMPTY);
	char *paths[] = {path_a, path_b};
	char no_ns[] = "traddr:10.0.0.1 subnqn:nqn.2024-01.t:a";
	char *none[] = {no_ns};
	struct nof_found found;
	struct err err = {0};

	assert_int_equal(nof_found_init(&found, "c", none, 1, &err), -22);
	err = (struct err){0};
	assert_int_equal(nof_found_init(&found, "c", none, 0, &err), -22);
	err = (struct err){0};
	assert_int_equal(nof_found_init(&found, "c", paths, 2, &err), 0);
	assert_int_equal(nof_found_path(&found, 0, &probe, &err), 0);
	probe.ns.uuid[0] = 2; /* the second path leads elsewhere */
	assert_int_equal(nof_found_path(&found, 1, &probe, &err), -600);
	err = (struct err){0};
	probe.ns.uuid[0] = 1;
	probe.ns.size_lba *= 8; /* other blocks on the second one */
	probe.ns.lba_bytes = 512;
	assert_int_equal(nof_found_path(&found, 1, &probe, &err), -600);
	err = (struct err){0};
	probe.ns.metadata_bytes = 8;
	assert_int_equal(nof_found_path(&found, 0, &probe, &err), -600);
	err = (struct err){0};
	probe = probe_of(1, LABEL_EMPTY);
	probe.ns.size_lba = 100;
	assert_int_equal(nof_found_path(&found, 0, &probe, &err), -600);
	err = (struct err){0};
	probe.ns.size_lba = UINT64_MAX;
	assert_int_equal(nof_found_path(&found, 0, &probe, &err), -600);
	err = (struct err){0};
	probe.ret = -ETIMEDOUT;
	assert_int_equal(nof_found_path(&found, 0, &probe, &err), -800);
}

/* Mounts that meet: what one found is of before the other was done. */
static void test_outdated(void **state)
{
	struct core *core = t_core(NULL);
	struct vol_probe probe = probe_of(1, LABEL_EMPTY);
	struct vol_probe nameless = probe_of(0, LABEL_EMPTY);
	struct nof_found a = found_at(path_a, &probe), b, none;
	struct segment *seg;
	struct err err = {0};
	uint64_t since_ns;
	char text[256];

	since_ns = core->now_ns;
	assert_false(nof_is_outdated(core, &a, since_ns));
	t_pass(core, NS_PER_MS);
	assert_int_equal(judge(core, &a, false, &seg, text), 0);
	assert_int_equal(nof_add_segment(core, &a, &seg, &err), 0);
	/* The same by another address, another one, the same address. */
	b = found_at(path_b, &probe);
	assert_true(nof_is_outdated(core, &b, since_ns));
	none = found_at(path_b, &nameless);
	assert_false(nof_is_outdated(core, &none, since_ns));
	assert_true(nof_is_outdated(core, &a, since_ns));
	t_pass(core, NS_PER_MS);
	assert_false(nof_is_outdated(core, &b, core->now_ns));
	core_destroy(core);
}

/* Only the size tells nameless ones apart. */
static void test_nameless(void **state)
{
	struct core *core = t_core(NULL);
	struct vol_probe probe = probe_of(0, LABEL_EMPTY);
	struct nof_found a = found_at(path_a, &probe), b;
	struct vol_probe named = probe_of(1, LABEL_EMPTY);
	struct segment *seg;
	struct err err = {0};
	char text[256];

	b = found_at(path_b, &probe);
	assert_true(nof_may_be_same(&a, &b));
	assert_int_equal(judge(core, &a, false, &seg, text), 0);
	assert_int_equal(nof_add_segment(core, &a, &seg, &err), 0);
	assert_true(nof_is_outdated(core, &b, core->now_ns));
	b = found_at(path_b, &named);
	assert_false(nof_may_be_same(&a, &b));
	probe.ns.size_lba *= 2;
	b = found_at(path_b, &probe);
	assert_false(nof_may_be_same(&a, &b));
	assert_false(nof_is_outdated(core, &b, core->now_ns));
	core_destroy(core);
}

/* Nothing is on the disk, but its target knows of somebody. */
static void test_reserved(void **state)
{
	struct core *core = t_core(NULL);
	struct vol_probe probe = probe_of(1, LABEL_EMPTY);
	struct nof_found found;
	struct segment *seg;
	char text[256];

	probe.owner = (struct vol_owner){.hold = HOLD_OTHER,
					 .key = owner_key_make("theirs")};
	found = found_at(path_a, &probe);
	assert_int_equal(judge(core, &found, false, &seg, text), -600);
	assert_non_null(strstr(text, "is reserved at its target for another"));
	assert_int_equal(judge(core, &found, true, &seg, text), 0);
	/* Both are told, and what to do. */
	probe.label = LABEL_FOREIGN;
	found = found_at(path_a, &probe);
	assert_int_equal(judge(core, &found, false, &seg, text), -600);
	assert_non_null(strstr(text, "holds a cat and is reserved at its"));
	assert_non_null(strstr(text, "; --force"));
	/* Another life of this cluster. */
	probe.label = LABEL_EMPTY;
	probe.owner.key = owner_key_make("ours");
	found = found_at(path_a, &probe);
	assert_int_equal(judge(core, &found, false, &seg, text), 0);
	core_destroy(core);
}

/* A segment on its way out, and what a claim must wait for. */
static void test_going(void **state)
{
	struct core *core = t_core(NULL);
	struct vol_probe probe = probe_of(1, LABEL_EMPTY);
	struct nof_found found = found_at(path_a, &probe), names;
	struct segment *seg;
	struct err err = {0};
	char text[256];

	assert_int_equal(judge(core, &found, false, &seg, text), 0);
	assert_int_equal(nof_add_segment(core, &found, &seg, &err), 0);
	assert_false(nof_is_going(core, &found));
	nof_found_of(seg, &names);
	segment_start_unmount(core, seg);
	assert_true(nof_is_going(core, &found));
	/* By identity, by superblock, by path, each alone. */
	found = found_at(path_b, &probe);
	assert_true(nof_is_going(core, &found));
	probe = labelled(&names, 2);
	found = found_at(path_b, &probe);
	assert_true(nof_is_same(&names, &found));
	probe = probe_of(2, LABEL_EMPTY);
	found = found_at(path_a, &probe);
	assert_true(nof_is_same(&names, &found));
	found = found_at(path_b, &probe);
	assert_false(nof_is_going(core, &found));
	/* Somebody may be writing there until then. */
	found.until_ns = core->now_ns + 3 * NS_PER_S;
	assert_int_equal(judge(core, &found, true, &seg, text),
			 MOONCAKE_UNAVAILABLE_IN_CURRENT_STATUS);
	assert_non_null(strstr(text, "try again in 4 s"));
	t_pass(core, 3 * NS_PER_S);
	assert_int_equal(judge(core, &found, true, &seg, text), 0);
	core_destroy(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_then_again),
		cmocka_unit_test(test_fenced_by_its_own_past),
		cmocka_unit_test(test_refused_unless_forced),
		cmocka_unit_test(test_useless),
		cmocka_unit_test(test_outdated),
		cmocka_unit_test(test_nameless),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_going),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
