/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of journal records.  Any thread.  Invariant: a decoded record has
 * every count and length within the limits of record.h, whatever the bytes
 * were; numbers that name something else are checked by who knows it.
 */
#include "journal/record.h"

static_assert(JR_KEY_MAX + JR_CRCS_MAX +
			      JR_REPLICAS_MAX * (JR_EXTENTS_MAX * 28 + 12) +
			      128 <=
		      JR_BODY_MAX,
	      "the largest object fits");

const char *jr_type_name(uint32_t type)
{
	static const char *const names[] = {
#define RECORD(NAME, number, text) [number] = (text),
#include "journal/tbl/records.h"
#undef RECORD
	};

	return type < ARRAY_SIZE(names) ? names[type] : NULL;
}

/* --- writing --- */

static void put8(struct strbuf *out, uint8_t v)
{
	strbuf_add(out, &v, sizeof(v));
}

static void put32(struct strbuf *out, uint32_t v)
{
	strbuf_add(out, &v, sizeof(v));
}

static void put64(struct strbuf *out, uint64_t v)
{
	strbuf_add(out, &v, sizeof(v));
}

/* At the end of a body, where older journals have nothing. */
static void put_more64(struct strbuf *out, uint64_t v)
{
	if (v)
		put64(out, v);
}

static void put_text(struct strbuf *out, struct str s)
{
	put32(out, (uint32_t)s.n);
	strbuf_add(out, s.p, s.n);
}

static void put_uuid(struct strbuf *out, const struct uuid *u)
{
	strbuf_add(out, u->b, sizeof(u->b));
}

void jr_segment_encode(const struct jr_segment *r, struct strbuf *out)
{
	put32(out, r->no);
	put_uuid(out, &r->id);
	put8(out, (uint8_t)r->kind);
	put8(out, r->is_draining);
	put64(out, r->base);
	put64(out, r->size);
	put64(out, r->ns_bytes);
	put32(out, r->block_bytes);
	put64(out, r->epoch);
	put_uuid(out, &r->client);
	put_text(out, r->identity);
	put_text(out, r->name);
	put_text(out, r->host_id);
	put32(out, r->path_count);
	for (uint32_t i = 0; i < r->path_count; i++)
		put_text(out, r->paths[i]);
}

static void put_replica(struct strbuf *out, const struct jr_replica *rep)
{
	put8(out, (uint8_t)rep->kind);
	put32(out, rep->index);
	put32(out, rep->extent_count);
	for (uint32_t i = 0; i < rep->extent_count; i++) {
		put32(out, rep->extents[i].segment);
		put64(out, rep->extents[i].off);
		put64(out, rep->extents[i].len);
		put64(out, rep->extents[i].bytes);
	}
}

void jr_object_encode(const struct jr_object *r, struct strbuf *out)
{
	put64(out, r->generation);
	put_uuid(out, &r->client);
	put64(out, r->size);
	put32(out, r->data_type);
	put8(out, r->wanted[0]);
	put8(out, r->wanted[1]);
	put8(out, r->is_hard_pinned);
	put64(out, r->soft_pin_ms);
	put_text(out, r->key);
	put_text(out, r->crcs);
	put32(out, r->replica_count);
	for (uint32_t i = 0; i < r->replica_count; i++)
		put_replica(out, &r->replicas[i]);
	put_more64(out, r->late_ms);
}

void jr_gone_encode(const struct jr_gone *r, struct strbuf *out)
{
	put64(out, r->generation);
	put32(out, r->index);
	put8(out, r->wanted[0]);
	put8(out, r->wanted[1]);
	put_text(out, r->key);
}

void jr_segment_gone_encode(const struct jr_segment_gone *r, struct strbuf *out)
{
	put32(out, r->no);
	put_uuid(out, &r->id);
	put_text(out, r->identity);
	put_more64(out, r->writers_ms);
}

void jr_marks_encode(const struct jr_marks *r, struct strbuf *out)
{
	put64(out, r->generation);
	put32(out, r->segment_no);
}

void jr_end_encode(const struct jr_end *r, struct strbuf *out)
{
	put64(out, r->records);
}

/* --- reading --- */

struct reader {
	struct str left;
	bool failed; /* everything read from then on is zero */
};

static const void *get_bytes(struct reader *rd, size_t n)
{
	const char *p = rd->left.p;

	if (rd->failed || n > rd->left.n) {
		rd->failed = true;
		return NULL;
	}
	rd->left.p += n;
	rd->left.n -= n;
	return p;
}

static void get_into(struct reader *rd, void *out, size_t n)
{
	const void *p = get_bytes(rd, n);

	memset(out, 0, n);
	if (p)
		memcpy(out, p, n);
}

static uint8_t get8(struct reader *rd)
{
	uint8_t v;

	get_into(rd, &v, sizeof(v));
	return v;
}

static bool get_bool(struct reader *rd)
{
	uint8_t v = get8(rd);

	rd->failed = rd->failed || v > 1;
	return v == 1;
}

static uint32_t get32(struct reader *rd)
{
	uint32_t v;

	get_into(rd, &v, sizeof(v));
	return v;
}

static uint64_t get64(struct reader *rd)
{
	uint64_t v;

	get_into(rd, &v, sizeof(v));
	return v;
}

/* One body has one meaning, and one meaning one body. */
static uint64_t get_more64(struct reader *rd)
{
	uint64_t v;

	if (rd->failed || !rd->left.n)
		return 0;
	v = get64(rd);
	rd->failed = rd->failed || !v;
	return v;
}

/* At most max, 0 when it is more. */
static uint32_t get_count(struct reader *rd, uint32_t max)
{
	uint32_t v = get32(rd);

	if (v <= max)
		return v;
	rd->failed = true;
	return 0;
}

static struct str get_text(struct reader *rd, size_t max)
{
	uint32_t n = get_count(rd, (uint32_t)max);
	const char *p = get_bytes(rd, n);

	return p ? (struct str){p, n} : (struct str){"", 0};
}

/* A text that becomes a C string: no NUL in it. */
static struct str get_word(struct reader *rd, size_t max)
{
	struct str s = get_text(rd, max);

	rd->failed = rd->failed || memchr(s.p, 0, s.n);
	return s;
}

static bool is_done(const struct reader *rd)
{
	return !rd->failed && rd->left.n == 0;
}

bool jr_segment_decode(struct str body, struct jr_segment *out)
{
	struct reader rd = {body, false};

	out->no = get32(&rd);
	get_into(&rd, out->id.b, sizeof(out->id.b));
	out->kind = get8(&rd);
	out->is_draining = get_bool(&rd);
	out->base = get64(&rd);
	out->size = get64(&rd);
	out->ns_bytes = get64(&rd);
	out->block_bytes = get32(&rd);
	out->epoch = get64(&rd);
	get_into(&rd, out->client.b, sizeof(out->client.b));
	out->identity = get_word(&rd, JR_TEXT_MAX);
	out->name = get_word(&rd, JR_TEXT_MAX);
	out->host_id = get_word(&rd, JR_TEXT_MAX);
	out->path_count = get_count(&rd, JR_PATHS_MAX);
	for (uint32_t i = 0; i < out->path_count; i++)
		out->paths[i] = get_word(&rd, JR_TEXT_MAX);
	return is_done(&rd) && out->path_count > 0 && out->kind <= 1;
}

static bool get_replica(struct reader *rd, struct jr_replica *rep)
{
	rep->kind = get8(rd);
	rep->index = get32(rd);
	rep->extent_count = get_count(rd, JR_EXTENTS_MAX);
	for (uint32_t i = 0; i < rep->extent_count; i++) {
		struct jr_extent *ext = &rep->extents[i];

		ext->segment = get32(rd);
		ext->off = get64(rd);
		ext->len = get64(rd);
		ext->bytes = get64(rd);
	}
	return !rd->failed && rep->extent_count > 0 && rep->kind <= 1;
}

bool jr_object_decode(struct str body, struct jr_object *out)
{
	struct reader rd = {body, false};

	out->generation = get64(&rd);
	get_into(&rd, out->client.b, sizeof(out->client.b));
	out->size = get64(&rd);
	out->data_type = get32(&rd);
	out->wanted[0] = get8(&rd);
	out->wanted[1] = get8(&rd);
	out->is_hard_pinned = get_bool(&rd);
	out->soft_pin_ms = get64(&rd);
	out->key = get_text(&rd, JR_KEY_MAX);
	out->crcs = get_text(&rd, JR_CRCS_MAX);
	out->replica_count = get_count(&rd, JR_REPLICAS_MAX);
	for (uint32_t i = 0; i < out->replica_count; i++)
		if (!get_replica(&rd, &out->replicas[i]))
			return false;
	out->late_ms = get_more64(&rd);
	return is_done(&rd);
}

bool jr_gone_decode(struct str body, struct jr_gone *out)
{
	struct reader rd = {body, false};

	out->generation = get64(&rd);
	out->index = get32(&rd);
	out->wanted[0] = get8(&rd);
	out->wanted[1] = get8(&rd);
	out->key = get_text(&rd, JR_KEY_MAX);
	return is_done(&rd);
}

bool jr_segment_gone_decode(struct str body, struct jr_segment_gone *out)
{
	struct reader rd = {body, false};

	out->no = get32(&rd);
	get_into(&rd, out->id.b, sizeof(out->id.b));
	out->identity = get_word(&rd, JR_TEXT_MAX);
	out->writers_ms = get_more64(&rd);
	return is_done(&rd);
}

bool jr_marks_decode(struct str body, struct jr_marks *out)
{
	struct reader rd = {body, false};

	out->generation = get64(&rd);
	out->segment_no = get32(&rd);
	return is_done(&rd);
}

bool jr_end_decode(struct str body, struct jr_end *out)
{
	struct reader rd = {body, false};

	out->records = get64(&rd);
	return is_done(&rd);
}
