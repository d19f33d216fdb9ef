/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log as a file may hold it: header, records, and the bodies of records as
 * they are and with their checksums made right.  Promise: no memory error; what
 * is decoded encodes to the same again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "journal/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct jr_object object;

static void check_same(const struct strbuf *sb, struct str body)
{
	ASSERT(sb->n == body.n && memcmp(sb->p, body.p, body.n) == 0);
}

static void decode_segment(struct str body, struct strbuf *sb)
{
	struct jr_segment r;

	if (!jr_segment_decode(body, &r))
		return;
	ASSERT(r.path_count > 0 && r.path_count <= JR_PATHS_MAX);
	jr_segment_encode(&r, sb);
	check_same(sb, body);
}

static void decode_segment_gone(struct str body, struct strbuf *sb)
{
	struct jr_segment_gone r;

	if (!jr_segment_gone_decode(body, &r))
		return;
	jr_segment_gone_encode(&r, sb);
	check_same(sb, body);
}

/* Bytes of an object that once said who put it are not read any more. */
#define WRITER_AT    8
#define WRITER_BYTES 16

static void decode_object(struct str body, struct strbuf *sb)
{
	if (!jr_object_decode(body, &object))
		return;
	ASSERT(object.replica_count <= JR_REPLICAS_MAX);
	jr_object_encode(&object, sb);
	ASSERT(sb->n > WRITER_AT + WRITER_BYTES);
	memcpy(sb->p + WRITER_AT, body.p + WRITER_AT, WRITER_BYTES);
	check_same(sb, body);
}

static void decode_gone(struct str body, struct strbuf *sb)
{
	struct jr_gone r;

	if (!jr_gone_decode(body, &r))
		return;
	jr_gone_encode(&r, sb);
	check_same(sb, body);
}

static void decode_group(struct str body, struct strbuf *sb)
{
	struct jr_group r;

	if (!jr_group_decode(body, &r))
		return;
	jr_group_encode(&r, sb);
	check_same(sb, body);
}

static void decode_numbers(struct str body, struct strbuf *sb)
{
	struct jr_marks marks;
	struct jr_scrub scrub;
	struct jr_end end;

	if (jr_marks_decode(body, &marks)) {
		jr_marks_encode(&marks, sb);
		check_same(sb, body);
		strbuf_reset(sb);
	}
	if (jr_scrub_decode(body, &scrub)) {
		jr_scrub_encode(&scrub, sb);
		check_same(sb, body);
		strbuf_reset(sb);
	}
	if (jr_end_decode(body, &end)) {
		jr_end_encode(&end, sb);
		check_same(sb, body);
	}
}

static void decode_body(struct str body)
{
	static void (*const decode[])(struct str body, struct strbuf * sb) = {
		decode_segment, decode_segment_gone, decode_object,
		decode_gone,	decode_group,	     decode_numbers,
	};
	struct strbuf sb = {0};

	for (size_t i = 0; i < ARRAY_SIZE(decode); i++) {
		strbuf_reset(&sb);
		decode[i](body, &sb);
	}
	strbuf_fini(&sb);
}

/* As jr_walk() does with a log. */
static void walk(const uint8_t *data, size_t size)
{
	uint64_t at = 0, sequence = 1;
	struct jr_frame frame;

	while (at < size) {
		int64_t n =
			jr_frame_decode(data + at, size - at, sequence, &frame);

		if (n < 0) {
			jr_was_synced(data + at, size - at, sequence);
			return;
		}
		ASSERT(n >= JR_FRAME_BYTES && (uint64_t)n <= size - at);
		decode_body((struct str){(const char *)frame.body, frame.len});
		at += (uint64_t)n;
		sequence++;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t head[JR_HEADER_BYTES] = {0}, again[JR_HEADER_BYTES];
	struct jr_header h;
	struct err err = {0};

	memcpy(head, data, MIN(size, sizeof(head)));
	if (jr_header_decode(head, &h, &err) == 0) {
		jr_header_encode(&h, again);
		ASSERT(memchr(h.cluster_id, 0, sizeof(h.cluster_id)));
	}
	walk(data, size);
	if (size > sizeof(head))
		walk(data + sizeof(head), size - sizeof(head));
	decode_body((struct str){(const char *)data, size});
	return 0;
}
