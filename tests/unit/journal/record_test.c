/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of records: what goes in comes out, and what is out of range or cut
 * is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "journal/record.h"

static struct jr_segment segment(void)
{
	return (struct jr_segment){
		.no = 7,
		.id = {{1, 2, 3}},
		.kind = 1,
		.is_draining = true,
		.base = MiB,
		.size = GiB,
		.ns_bytes = GiB + MiB,
		.block_bytes = 512,
		.epoch = 3,
		.client = {{9}},
		.identity = STR("nguid:01"),
		.name = STR("a name"),
		.host_id = STR("host"),
		.path_count = 2,
		.paths = {STR("one"), STR("two")},
	};
}

/* Cut anywhere, or with one byte more, it is none. */
#define CHECK_CUTS(sb, decode, out)                                            \
	do {                                                                   \
		for (size_t n_ = 0; n_ < (sb).n; n_++)                         \
			assert_false(decode((struct str){(sb).p, n_}, (out))); \
		strbuf_addc(&(sb), 0);                                         \
		assert_false(decode(strbuf_str(&(sb)), (out)));                \
	} while (0)

static bool is_object(struct str body, void *out)
{
	return jr_object_decode(body, out);
}

static bool is_segment_gone(struct str body, void *out)
{
	return jr_segment_gone_decode(body, out);
}

/* 8 bytes at the end may be missing, but not in part, nor be zeros. */
static void check_more(struct strbuf *sb,
		       bool (*decode)(struct str body, void *out), void *out)
{
	size_t whole = sb->n - sizeof(uint64_t);

	assert_true(decode((struct str){sb->p, whole}, out));
	for (size_t n = whole + 1; n < sb->n; n++)
		assert_false(decode((struct str){sb->p, n}, out));
	memset(sb->p + whole, 0, sizeof(uint64_t));
	assert_false(decode(strbuf_str(sb), out));
}

static void test_segment(void **state)
{
	struct jr_segment in = segment(), out;
	struct strbuf sb = {0};

	jr_segment_encode(&in, &sb);
	assert_true(jr_segment_decode(strbuf_str(&sb), &out));
	assert_int_equal(out.no, 7);
	assert_true(uuid_eq(&out.id, &in.id) &&
		    uuid_eq(&out.client, &in.client));
	assert_true(out.is_draining && out.kind == 1);
	assert_int_equal(out.ns_bytes, in.ns_bytes);
	assert_int_equal(out.epoch, 3);
	assert_true(str_eq(out.identity, in.identity));
	assert_true(str_eq(out.name, in.name));
	assert_true(str_eq(out.host_id, in.host_id));
	assert_int_equal(out.path_count, 2);
	assert_true(str_eq(out.paths[1], STR("two")));
	CHECK_CUTS(sb, jr_segment_decode, &out);
	strbuf_fini(&sb);
}

static void test_bad_segment(void **state)
{
	struct jr_segment in = segment(), out;
	struct strbuf sb = {0};

	in.kind = 2;
	jr_segment_encode(&in, &sb);
	assert_false(jr_segment_decode(strbuf_str(&sb), &out));
	strbuf_reset(&sb);
	in = segment();
	in.name = (struct str){"a\0b", 3};
	jr_segment_encode(&in, &sb);
	assert_false(jr_segment_decode(strbuf_str(&sb), &out));
	strbuf_reset(&sb);
	in = segment();
	in.path_count = 0;
	jr_segment_encode(&in, &sb);
	assert_false(jr_segment_decode(strbuf_str(&sb), &out));
	strbuf_fini(&sb);
}

static void test_object(void **state)
{
	struct jr_object *in = calloc(1, sizeof(*in));
	struct jr_object *out = calloc(1, sizeof(*out));
	struct strbuf sb = {0};

	*in = (struct jr_object){
		.generation = 99,
		.size = 300,
		.data_type = 4,
		.is_hard_pinned = true,
		.soft_pin_ms = 1234,
		.key = {"a\0key", 5},
		.crcs = STR("abcd"),
		.replica_count = 2,
	};
	in->replicas[0] =
		(struct jr_replica){.kind = 0, .index = 0, .extent_count = 1};
	in->replicas[0].extents[0] = (struct jr_extent){1, 4096, 8192, 300};
	in->replicas[1] =
		(struct jr_replica){.kind = 1, .index = 5, .extent_count = 2};
	in->replicas[1].extents[1] = (struct jr_extent){2, 0, 4096, 100};
	jr_object_encode(in, &sb);
	assert_true(jr_object_decode(strbuf_str(&sb), out));
	assert_int_equal(out->generation, 99);
	assert_int_equal(out->size, 300);
	assert_int_equal(out->soft_pin_ms, 1234);
	assert_true(out->is_hard_pinned);
	assert_true(str_eq(out->key, in->key) && str_eq(out->crcs, in->crcs));
	assert_int_equal(out->replica_count, 2);
	assert_int_equal(out->replicas[0].extents[0].len, 8192);
	assert_int_equal(out->replicas[1].index, 5);
	assert_int_equal(out->replicas[1].extents[1].bytes, 100);
	assert_int_equal(out->late_ms, 0);
	CHECK_CUTS(sb, jr_object_decode, out);
	strbuf_reset(&sb);
	in->late_ms = 5678;
	jr_object_encode(in, &sb);
	assert_true(jr_object_decode(strbuf_str(&sb), out));
	assert_int_equal(out->late_ms, 5678);
	check_more(&sb, is_object, out);
	strbuf_fini(&sb);
	free(in);
	free(out);
}

static void test_small_ones(void **state)
{
	struct jr_segment_gone seg = {0};
	struct jr_gone gone = {0};
	struct jr_group group = {0};
	struct jr_marks marks = {0};
	struct jr_scrub scrub = {0};
	struct jr_end end = {0};
	struct strbuf sb = {0};

	jr_gone_encode(&(struct jr_gone){3, 1, {2, 1}, STR("key")}, &sb);
	assert_true(jr_gone_decode(strbuf_str(&sb), &gone));
	assert_int_equal(gone.generation, 3);
	assert_int_equal(gone.index, 1);
	assert_int_equal(gone.wanted[0], 2);
	assert_true(str_eq(gone.key, STR("key")));
	CHECK_CUTS(sb, jr_gone_decode, &gone);
	strbuf_reset(&sb);
	jr_group_encode(&(struct jr_group){4, STR("key"), STR("page 1")}, &sb);
	assert_true(jr_group_decode(strbuf_str(&sb), &group));
	assert_int_equal(group.generation, 4);
	assert_true(str_eq(group.key, STR("key")));
	assert_true(str_eq(group.group, STR("page 1")));
	CHECK_CUTS(sb, jr_group_decode, &group);
	strbuf_reset(&sb);
	jr_segment_gone_encode(
		&(struct jr_segment_gone){8, {{1}}, STR("uuid:1"), 0}, &sb);
	assert_true(jr_segment_gone_decode(strbuf_str(&sb), &seg));
	assert_int_equal(seg.no, 8);
	assert_int_equal(seg.id.b[0], 1);
	assert_true(str_eq(seg.identity, STR("uuid:1")));
	assert_int_equal(seg.writers_ms, 0);
	CHECK_CUTS(sb, jr_segment_gone_decode, &seg);
	strbuf_reset(&sb);
	jr_segment_gone_encode(
		&(struct jr_segment_gone){8, {{1}}, STR("uuid:1"), 90}, &sb);
	assert_true(jr_segment_gone_decode(strbuf_str(&sb), &seg));
	assert_int_equal(seg.writers_ms, 90);
	check_more(&sb, is_segment_gone, &seg);
	strbuf_reset(&sb);
	jr_marks_encode(&(struct jr_marks){77, 5}, &sb);
	assert_true(jr_marks_decode(strbuf_str(&sb), &marks));
	assert_int_equal(marks.generation, 77);
	assert_int_equal(marks.segment_no, 5);
	CHECK_CUTS(sb, jr_marks_decode, &marks);
	strbuf_reset(&sb);
	jr_scrub_encode(&(struct jr_scrub){77, 5000}, &sb);
	assert_true(jr_scrub_decode(strbuf_str(&sb), &scrub));
	assert_int_equal(scrub.generation, 77);
	assert_int_equal(scrub.due_ms, 5000);
	CHECK_CUTS(sb, jr_scrub_decode, &scrub);
	strbuf_reset(&sb);
	jr_end_encode(&(struct jr_end){1000}, &sb);
	assert_true(jr_end_decode(strbuf_str(&sb), &end));
	assert_int_equal(end.records, 1000);
	CHECK_CUTS(sb, jr_end_decode, &end);
	strbuf_fini(&sb);
	assert_string_equal(jr_type_name(JR_OBJECT), "object");
	assert_null(jr_type_name(0));
	assert_null(jr_type_name(1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segment),
		cmocka_unit_test(test_bad_segment),
		cmocka_unit_test(test_object),
		cmocka_unit_test(test_small_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
