/* SPDX-License-Identifier: Apache-2.0 */
/* Headers and records as bytes: every bit counts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "journal/frame.h"

static const char *doc_path;

static struct jr_header header(void)
{
	return (struct jr_header){
		.kind = JR_SNAPSHOT,
		.flags = JR_FRESH,
		.sequence = 0x1122334455667788,
		.created_s = 1700000000,
		.cluster_id = "a-cluster",
	};
}

static void test_header(void **state)
{
	struct jr_header in = header(), out;
	uint8_t bytes[JR_HEADER_BYTES];
	struct err err = {0};

	jr_header_encode(&in, bytes);
	assert_memory_equal(bytes, "MCJRNSNP\1\0\0\0\0\1\0\0", 16);
	assert_int_equal(jr_header_decode(bytes, &out, &err), 0);
	assert_int_equal(out.kind, JR_SNAPSHOT);
	assert_int_equal(out.flags, JR_FRESH);
	assert_int_equal(out.sequence, in.sequence);
	assert_int_equal(out.created_s, in.created_s);
	assert_string_equal(out.cluster_id, "a-cluster");
}

static void test_header_every_bit(void **state)
{
	struct jr_header in = header(), out;
	uint8_t bytes[JR_HEADER_BYTES];

	jr_header_encode(&in, bytes);
	for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
		struct err err = {0};

		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(jr_header_decode(bytes, &out, &err) < 0);
		assert_true(err.text[0]);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void test_record_every_bit(void **state)
{
	uint8_t bytes[JR_FRAME_BYTES + 5] = {0};
	struct jr_frame in = {.type = 4,
			      .sequence = 7,
			      .body = bytes + JR_FRAME_BYTES,
			      .len = 5};
	struct jr_frame out;

	memcpy(bytes + JR_FRAME_BYTES, "hello", 5);
	jr_frame_encode(&in, bytes);
	assert_int_equal(jr_frame_decode(bytes, sizeof(bytes), 7, &out), 25);
	assert_int_equal(out.type, 4);
	assert_int_equal(out.len, 5);
	assert_memory_equal(out.body, "hello", 5);
	assert_int_equal(jr_frame_decode(bytes, sizeof(bytes), 8, &out),
			 -ERANGE);
	for (size_t n = 0; n < sizeof(bytes); n++)
		assert_int_equal(jr_frame_decode(bytes, n, 7, &out), -EAGAIN);
	for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(jr_frame_decode(bytes, sizeof(bytes), 7, &out) < 0);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void test_was_synced(void **state)
{
	uint8_t bytes[100] = {0};
	struct jr_frame in = {
		.type = 1, .sequence = 9, .body = bytes, .len = 0};

	assert_false(jr_was_synced(bytes, sizeof(bytes), 7));
	jr_frame_encode(&in, bytes + 33);
	assert_true(jr_was_synced(bytes, sizeof(bytes), 7));
	assert_true(jr_was_synced(bytes, sizeof(bytes), 8));
	/* Itself is not behind itself, nor is one of long ago or far away. */
	assert_false(jr_was_synced(bytes, sizeof(bytes), 9));
	assert_false(jr_was_synced(bytes, sizeof(bytes), 10));
	assert_false(jr_was_synced(bytes, sizeof(bytes), 1));
	bytes[34] ^= 1;
	assert_false(jr_was_synced(bytes, sizeof(bytes), 7));
	/* It vouches for what was on disk before it. */
	in.unsynced = 2;
	jr_frame_encode(&in, bytes + 33);
	for (uint64_t sequence = 5; sequence < 12; sequence++)
		assert_int_equal(jr_was_synced(bytes, sizeof(bytes), sequence),
				 sequence <= 6);
	in.unsynced = (uint64_t)JR_UNSYNCED_MAX + 7;
	jr_frame_encode(&in, bytes + 33);
	assert_false(jr_was_synced(bytes, sizeof(bytes), 6));
	assert_true(jr_frame_decode(bytes + 33, sizeof(bytes) - 33, 9, &in) >
		    0);
	assert_int_equal(in.unsynced, JR_UNSYNCED_MAX);
}

static void test_document(void **state)
{
	FILE *f = fopen(doc_path, "r");
	size_t n = jr_header_field_count + jr_frame_field_count, seen = 0;
	bool is_here = false;
	char line[1024], name[64];
	unsigned long off, bytes;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		const struct jr_field *field = jr_header_fields + seen;

		is_here |= strstr(line, "in a journal's directory") != NULL;
		if (!is_here || sscanf(line, "| %63s | %lu | %lu |", name, &off,
				       &bytes) != 3)
			continue;
		assert_true(seen < n);
		if (seen >= jr_header_field_count)
			field = jr_frame_fields + seen - jr_header_field_count;
		assert_string_equal(name, field->name);
		assert_int_equal(off, field->off);
		assert_int_equal(bytes, field->bytes);
		seen++;
	}
	fclose(f);
	assert_int_equal(seen, n);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_header_every_bit),
		cmocka_unit_test(test_record_every_bit),
		cmocka_unit_test(test_was_synced),
		cmocka_unit_test(test_document),
	};

	doc_path = argv[1];

	return cmocka_run_group_tests(tests, NULL, NULL);
}
