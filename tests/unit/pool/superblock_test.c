/* SPDX-License-Identifier: Apache-2.0 */
/* Superblock: round trip, every kind of damage, and docs/on-disk.md (its path
 * is the first argument) against the code. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/crc.h"
#include "pool/superblock.h"

#define EPOCH_AT       64
#define EPOCH_AGAIN_AT 4080

static const char *doc_path;

static struct superblock sample(void)
{
	struct superblock sb = {
		.ns_bytes = 10 * GiB,
		.block_bytes = 4096,
		.epoch = 0x1122334455667788,
		.created_s = 1760000000,
	};

	uuid_make(&sb.segment);
	uuid_make(&sb.cluster);
	snprintf(sb.cluster_id, sizeof(sb.cluster_id), "cluster-1");
	snprintf(sb.identity, sizeof(sb.identity), "uuid:%032d", 7);
	return sb;
}

static void seal(uint8_t b[SB_BYTES])
{
	uint32_t crc = crc32c(0, b, SB_BYTES - 4);

	memcpy(b + SB_BYTES - 4, &crc, 4);
}

static void test_round_trip(void **state)
{
	struct superblock in = sample(), out;
	uint8_t b[SB_BYTES];
	struct err err = {0};

	sb_encode(&in, b);
	assert_true(sb_is_ours(b));
	assert_int_equal(sb_decode(b, &out, &err), 0);
	assert_true(uuid_eq(&in.segment, &out.segment));
	assert_true(uuid_eq(&in.cluster, &out.cluster));
	assert_string_equal(in.cluster_id, out.cluster_id);
	assert_string_equal(in.identity, out.identity);
	assert_int_equal(in.ns_bytes, out.ns_bytes);
	assert_int_equal(in.block_bytes, out.block_bytes);
	assert_int_equal(in.epoch, out.epoch);
	assert_int_equal(in.created_s, out.created_s);
}

static void test_longest_texts(void **state)
{
	struct superblock in = sample(), out;
	uint8_t b[SB_BYTES];
	struct err err = {0};

	/* Texts without an end in the struct are cut, not overrun. */
	memset(in.cluster_id, 'c', sizeof(in.cluster_id));
	memset(in.identity, 'i', sizeof(in.identity));
	sb_encode(&in, b);
	assert_int_equal(sb_decode(b, &out, &err), 0);
	assert_int_equal(strlen(out.cluster_id), 128);
	assert_int_equal(strlen(out.identity), 79);
}

static void test_each_bit_counts(void **state)
{
	struct superblock in = sample(), out;
	uint8_t b[SB_BYTES];
	int ret;

	sb_encode(&in, b);
	for (size_t i = 0; i < SB_BYTES; i++) {
		struct err err = {0};

		b[i] ^= (uint8_t)(1 << i % 8);
		ret = sb_decode(b, &out, &err);
		if (i >= EPOCH_AT && i < EPOCH_AT + 8) {
			assert_int_equal(ret, 0); /* torn, see below */
			assert_int_equal(out.epoch, in.epoch);
		} else {
			assert_int_equal(ret, i < 8 ? -ENOENT : -EBADMSG);
			assert_int_equal(err.code, ret);
		}
		b[i] ^= (uint8_t)(1 << i % 8);
	}
}

/* Damage that carries a right CRC. */
static int decode_with(size_t off, const void *bytes, size_t n)
{
	struct superblock in = sample(), out;
	uint8_t b[SB_BYTES];
	struct err err = {0};
	int ret;

	sb_encode(&in, b);
	memcpy(b + off, bytes, n);
	seal(b);
	ret = sb_decode(b, &out, &err);
	assert_int_equal(ret, err.code);
	return ret;
}

/* A power failure in the middle of an adoption: the first sector of one, the
 * last of the other. */
static void test_torn(void **state)
{
	static const int64_t steps[] = {-1, 1, -8, 8, -9, 9, -(1 << 20),
					1 << 20};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct superblock old = sample(), new = old, out;
		uint8_t a[SB_BYTES], b[SB_BYTES];
		struct err err = {0};

		new.epoch += (uint64_t)steps[i];
		sb_encode(&old, a);
		sb_encode(&new, b);
		memcpy(a, b, 512);
		assert_int_equal(sb_decode(a, &out, &err), 0);
		assert_int_equal(out.epoch, old.epoch);
		/* Another field is no matter of epochs. */
		a[72] ^= 1;
		assert_int_equal(sb_decode(a, &out, &err), -EBADMSG);
	}
}

/* Programs that wrote the epoch once left zeros in the other place. */
static void test_epoch_once(void **state)
{
	struct superblock in = sample(), out;
	uint8_t b[SB_BYTES];
	struct err err = {0};

	sb_encode(&in, b);
	memset(b + EPOCH_AGAIN_AT, 0, 8);
	seal(b);
	assert_int_equal(sb_decode(b, &out, &err), 0);
	assert_int_equal(out.epoch, in.epoch);
}

static void test_fields(void **state)
{
	uint8_t ones[136];

	memset(ones, 1, sizeof(ones));
	assert_int_equal(decode_with(8, "\2\0\0\0", 4), -EPROTONOSUPPORT);
	assert_int_equal(decode_with(12, "\0\0\0\0", 4), -EBADMSG);
	assert_int_equal(decode_with(56, "\0\0\0\0", 4), -EBADMSG);
	assert_int_equal(decode_with(56, "\0\3\0\0", 4), -EBADMSG);
	assert_int_equal(decode_with(48, "\0\0\0\0\0\0\0\0", 8), -EBADMSG);
	assert_int_equal(decode_with(48, "\1\0\0\1\0\0\0\0", 8), -EBADMSG);
	assert_int_equal(decode_with(60, "\1", 1), -EBADMSG);
	assert_int_equal(decode_with(80, "\1", 1), -EBADMSG);
	assert_int_equal(decode_with(88, ones, 80), -EBADMSG);
	assert_int_equal(decode_with(168, ones, 136), -EBADMSG);
	assert_int_equal(decode_with(EPOCH_AT, ones, 8), -EBADMSG);
}

static void test_document(void **state)
{
	FILE *f = fopen(doc_path, "r");
	size_t seen = 0, next = 0;
	char line[512], name[64];
	unsigned long off, bytes;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, "in a journal's directory"))
			break; /* its tables are journal/frame's */
		if (sscanf(line, "| %63s | %lu | %lu |", name, &off, &bytes) !=
		    3)
			continue;
		assert_true(seen < sb_field_count);
		assert_string_equal(name, sb_fields[seen].name);
		assert_int_equal(off, sb_fields[seen].off);
		assert_int_equal(bytes, sb_fields[seen].bytes);
		assert_int_equal(off, next);
		next = off + bytes;
		seen++;
	}
	fclose(f);
	assert_int_equal(seen, sb_field_count);
	assert_int_equal(next, SB_BYTES);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_longest_texts),
		cmocka_unit_test(test_each_bit_counts),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_epoch_once),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_document),
	};

	if (argc < 2)
		return 1;
	doc_path = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
