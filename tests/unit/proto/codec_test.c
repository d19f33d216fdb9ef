/* SPDX-License-Identifier: Apache-2.0 */
/* Arena limits and reuse; frame headers; method tables. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "proto/codec.h"

static void test_arena(void **state)
{
	struct arena arena;
	uint8_t *first, *p;

	arena_init(&arena, 1 << 20);
	first = arena_alloc(&arena, 10);
	assert_non_null(first);
	for (int i = 0; i < 10; i++)
		assert_int_equal(first[i], 0);
	memset(first, 0xff, 10);
	for (size_t n = 1; n < 100000; n = n * 3 + 1) {
		p = arena_alloc(&arena, n);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		memset(p, 0xee, n);
	}
	assert_null(arena_alloc(&arena, 1 << 20));
	assert_null(arena_alloc(&arena, SIZE_MAX - 3));
	arena_reset(&arena);
	assert_ptr_equal(arena_alloc(&arena, 10), first); /* blocks are kept */
	assert_int_equal(first[0], 0);
	assert_non_null(arena_alloc(&arena, (1 << 20) - 16));
	assert_null(arena_alloc(&arena, 1));
	arena_fini(&arena);
}

static Mc__PutStartReq *read_put(struct arena *arena, const uint8_t *wire,
				 size_t len)
{
	return (Mc__PutStartReq *)codec_unpack(&mc__put_start_req__descriptor,
					       arena, wire, len);
}

static void test_unpack_is_limited(void **state)
{
	/* 4096 empty items: 8 KiB on the wire, far more in memory */
	uint8_t wire[8192];
	Mc__PutStartReq *req;
	struct arena arena;

	for (size_t i = 0; i < sizeof(wire); i += 2) {
		wire[i] = 2 << 3 | 2;
		wire[i + 1] = 0;
	}
	arena_init(&arena, 65536);
	assert_null(read_put(&arena, wire, sizeof(wire)));
	assert_true(arena.used <= 65536);
	arena_reset(&arena);
	arena.limit = 0;
	req = read_put(&arena, wire, sizeof(wire));
	assert_non_null(req);
	assert_int_equal(req->n_items, 4096);
	/* Without a detour through the library */
	for (size_t i = 1; i < req->n_items; i++)
		assert_ptr_equal(req->items[i], req->items[i - 1] + 1);
	arena_fini(&arena);
}

/* What the first attempt took does not count when the library has to read. */
static void test_odd_unpack_is_not_charged_twice(void **state)
{
	uint8_t wire[8192 + 2];
	struct arena arena;
	size_t need;

	for (size_t i = 0; i < sizeof(wire); i += 2) {
		wire[i] = 2 << 3 | 2;
		wire[i + 1] = 0;
	}
	wire[sizeof(wire) - 2] = 15 << 3; /* nobody knows that field */
	arena_init(&arena, 0);
	assert_non_null(arena_alloc(&arena, 100));
	assert_non_null(
		mc__put_start_req__unpack(&arena.pb, sizeof(wire), wire));
	need = arena.used;
	arena_fini(&arena);
	arena_init(&arena, need);
	assert_non_null(arena_alloc(&arena, 100));
	assert_non_null(read_put(&arena, wire, sizeof(wire)));
	assert_int_equal(arena.used, need);
	arena_fini(&arena);
	arena_init(&arena, need);
	assert_non_null(read_put(&arena, wire, sizeof(wire)));
	arena_fini(&arena);
}

static void test_pack_is_limited(void **state)
{
	ProtobufCBinaryData crcs = {.len = FRAME_BODY_MAX - 16};
	Mc__PutEndItem item = MC__PUT_END_ITEM__INIT, *items[] = {&item};
	Mc__PutEndReq req = MC__PUT_END_REQ__INIT;
	struct arena arena;
	uint8_t *out;
	size_t len;

	crcs.data = calloc(1, crcs.len + 16);
	assert_non_null(crcs.data);
	req.n_items = 1;
	req.items = items;
	item.crcs = crcs;
	arena_init(&arena, 0);
	assert_int_equal(codec_pack(&arena, &req.base, 32, &out, &len), 0);
	assert_int_equal(len, 32 + crcs.len + 10); /* two tags, two lengths */
	item.crcs.len += 6;
	assert_int_equal(codec_pack(&arena, &req.base, 32, &out, &len), 0);
	assert_int_equal(len, 32 + FRAME_BODY_MAX);
	item.crcs.len++;
	assert_int_equal(codec_pack(&arena, &req.base, 32, &out, &len),
			 -EMSGSIZE);
	item.crcs.len = FRAME_BODY_MAX;
	assert_int_equal(codec_pack(&arena, &req.base, 32, &out, &len),
			 -EMSGSIZE);
	arena_fini(&arena);
	arena_init(&arena, 65536);
	assert_int_equal(codec_pack(&arena, &req.base, 32, &out, &len),
			 -ENOMEM);
	arena_fini(&arena);
	free(crcs.data);
}

static void test_methods(void **state)
{
	assert_string_equal(method_name(METHOD_PUT_START), "PUT_START");
	assert_null(method_name(0));
	assert_null(method_name(999));
	assert_ptr_equal(codec_request(METHOD_GET), &mc__get_req__descriptor);
	assert_ptr_equal(codec_response(METHOD_PUT_END),
			 &mc__status_rsp__descriptor);
	assert_null(codec_request(0));
	assert_null(codec_response(65535));
}

/* What a newer release says besides is skipped, whatever its wire type. */
static void test_f25_unknown_fields(void **state)
{
	static const char wire[] = "\x0a\x01"
				   "c"		      /* client_id */
				   "\xc0\x3e\x96\x01" /* 1000: 150 */
				   "\x12\x03"
				   "key" /* keys */
				   "\xc1\x3e"
				   "12345678" /* 1000: fixed64 */
				   "\xc2\x3e\x02"
				   "xy" /* 1000: bytes */
				   "\xc5\x3e"
				   "1234"      /* 1000: fixed32 */
				   "\x18\x01"; /* no_lease */
	struct arena arena;
	const Mc__GetReq *req;

	arena_init(&arena, 65536);
	req = (const Mc__GetReq *)codec_unpack(codec_request(METHOD_GET),
					       &arena, (const uint8_t *)wire,
					       sizeof(wire) - 1);
	assert_non_null(req);
	assert_int_equal(req->n_keys, 1);
	assert_int_equal(req->keys[0].len, 3);
	assert_memory_equal(req->keys[0].data, "key", 3);
	assert_true(req->no_lease);
	arena_fini(&arena);
}

static void test_frames(void **state)
{
	const struct frame good = {
		.magic = FRAME_MAGIC,
		.version = PROTO_VERSION,
		.type = FRAME_REQUEST,
	};
	struct frame frame = good;
	struct err err = {0};

	assert_int_equal(frame_check(&frame, &err), 0);
	frame.magic = 0x20544547; /* "GET " */
	assert_int_equal(frame_check(&frame, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "0x20544547"));
	frame = good;
	frame.version = PROTO_VERSION + 1;
	assert_int_equal(frame_check(&frame, NULL), -EPROTONOSUPPORT);
	frame = good;
	frame.type = 3;
	assert_int_equal(frame_check(&frame, NULL), -EBADMSG);
	frame = good;
	frame.body_len = FRAME_BODY_MAX;
	assert_int_equal(frame_check(&frame, NULL), 0);
	frame.body_len++;
	assert_int_equal(frame_check(&frame, NULL), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_unpack_is_limited),
		cmocka_unit_test(test_odd_unpack_is_not_charged_twice),
		cmocka_unit_test(test_pack_is_limited),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_f25_unknown_fields),
		cmocka_unit_test(test_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
