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

/* Each writes at p, where there is room, and returns what is behind it: there
 * are millions of records, of a dozen fields each. */
static char *put_bytes(char *p, const void *from, size_t n)
{
	if (n)
		memcpy(p, from, n);
	return p + n;
}

static char *put8(char *p, uint8_t v)
{
	*p = (char)v;
	return p + 1;
}

static char *put32(char *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static char *put64(char *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

/* At the end of a body, where older journals have nothing. */
static char *put_more64(char *p, uint64_t v)
{
	return v ? put64(p, v) : p;
}

static size_t more_bytes(uint64_t v)
{
	return v ? sizeof(v) : 0;
}

static char *put_text(char *p, struct str s)
{
	return put_bytes(put32(p, (uint32_t)s.n), s.p, s.n);
}

static char *put_uuid(char *p, const struct uuid *u)
{
	memcpy(p, u->b, sizeof(u->b));
	return p + sizeof(u->b);
}

static size_t text_bytes(struct str s)
{
	return sizeof(uint32_t) + s.n;
}

#define SEGMENT_BYTES 78
#define OBJECT_BYTES  51
#define REPLICA_BYTES 9
#define EXTENT_BYTES  28
#define GONE_BYTES    14

void jr_segment_encode(const struct jr_segment *r, struct strbuf *out)
{
	size_t n = SEGMENT_BYTES + text_bytes(r->identity) +
		   text_bytes(r->name) + text_bytes(r->host_id);
	char *p;

	for (uint32_t i = 0; i < r->path_count; i++)
		n += text_bytes(r->paths[i]);
	p = strbuf_extend(out, n);
	if (!p)
		return;
	p = put32(p, r->no);
	p = put_uuid(p, &r->id);
	p = put8(p, (uint8_t)r->kind);
	p = put8(p, r->is_draining);
	p = put64(p, r->base);
	p = put64(p, r->size);
	p = put64(p, r->ns_bytes);
	p = put32(p, r->block_bytes);
	p = put64(p, r->epoch);
	p = put_uuid(p, &r->client);
	p = put_text(p, r->identity);
	p = put_text(p, r->name);
	p = put_text(p, r->host_id);
	p = put32(p, r->path_count);
	for (uint32_t i = 0; i < r->path_count; i++)
		p = put_text(p, r->paths[i]);
	ASSERT(p == out->p + out->n);
}

static char *put_replica(char *p, const struct jr_replica *rep)
{
	p = put8(p, (uint8_t)rep->kind);
	p = put32(p, rep->index);
	p = put32(p, rep->extent_count);
	for (uint32_t i = 0; i < rep->extent_count; i++) {
		p = put32(p, rep->extents[i].segment);
		p = put64(p, rep->extents[i].off);
		p = put64(p, rep->extents[i].len);
		p = put64(p, rep->extents[i].bytes);
	}
	return p;
}

void jr_object_encode(const struct jr_object *r, struct strbuf *out)
{
	size_t n = OBJECT_BYTES + text_bytes(r->key) + text_bytes(r->crcs) +
		   more_bytes(r->late_ms);
	char *p;

	for (uint32_t i = 0; i < r->replica_count; i++)
		n += REPLICA_BYTES + r->replicas[i].extent_count * EXTENT_BYTES;
	p = strbuf_extend(out, n);
	if (!p)
		return;
	p = put64(p, r->generation);
	p = put_uuid(p, &(struct uuid){{0}}); /* once who put it */
	p = put64(p, r->size);
	p = put32(p, r->data_type);
	p = put8(p, r->wanted[0]);
	p = put8(p, r->wanted[1]);
	p = put8(p, r->is_hard_pinned);
	p = put64(p, r->soft_pin_ms);
	p = put_text(p, r->key);
	p = put_text(p, r->crcs);
	p = put32(p, r->replica_count);
	for (uint32_t i = 0; i < r->replica_count; i++)
		p = put_replica(p, &r->replicas[i]);
	p = put_more64(p, r->late_ms);
	ASSERT(p == out->p + out->n);
}

void jr_gone_encode(const struct jr_gone *r, struct strbuf *out)
{
	char *p = strbuf_extend(out, GONE_BYTES + text_bytes(r->key));

	if (!p)
		return;
	p = put64(p, r->generation);
	p = put32(p, r->index);
	p = put8(p, r->wanted[0]);
	p = put8(p, r->wanted[1]);
	p = put_text(p, r->key);
	ASSERT(p == out->p + out->n);
}

void jr_group_encode(const struct jr_group *r, struct strbuf *out)
{
	char *p =
		strbuf_extend(out, sizeof(r->generation) + text_bytes(r->key) +
					   text_bytes(r->group));

	if (!p)
		return;
	p = put64(p, r->generation);
	p = put_text(p, r->key);
	p = put_text(p, r->group);
	ASSERT(p == out->p + out->n);
}

void jr_segment_gone_encode(const struct jr_segment_gone *r, struct strbuf *out)
{
	char *p = strbuf_extend(out, sizeof(r->no) + sizeof(r->id.b) +
					     text_bytes(r->identity) +
					     more_bytes(r->writers_ms));

	if (!p)
		return;
	p = put32(p, r->no);
	p = put_uuid(p, &r->id);
	p = put_text(p, r->identity);
	p = put_more64(p, r->writers_ms);
	ASSERT(p == out->p + out->n);
}

void jr_marks_encode(const struct jr_marks *r, struct strbuf *out)
{
	char *p = strbuf_extend(out,
				sizeof(r->generation) + sizeof(r->segment_no));

	if (!p)
		return;
	p = put64(p, r->generation);
	p = put32(p, r->segment_no);
	ASSERT(p == out->p + out->n);
}

void jr_scrub_encode(const struct jr_scrub *r, struct strbuf *out)
{
	char *p = strbuf_extend(out, sizeof(r->generation) + sizeof(r->due_ms));

	if (!p)
		return;
	p = put64(p, r->generation);
	p = put64(p, r->due_ms);
	ASSERT(p == out->p + out->n);
}

void jr_end_encode(const struct jr_end *r, struct strbuf *out)
{
	strbuf_add(out, &r->records, sizeof(r->records));
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
	struct uuid writer;

	out->generation = get64(&rd);
	get_into(&rd, writer.b, sizeof(writer.b));
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

bool jr_group_decode(struct str body, struct jr_group *out)
{
	struct reader rd = {body, false};

	out->generation = get64(&rd);
	out->key = get_text(&rd, JR_KEY_MAX);
	out->group = get_text(&rd, JR_KEY_MAX);
	return is_done(&rd) && out->group.n > 0;
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

bool jr_scrub_decode(struct str body, struct jr_scrub *out)
{
	struct reader rd = {body, false};

	out->generation = get64(&rd);
	out->due_ms = get64(&rd);
	return is_done(&rd);
}

bool jr_end_decode(struct str body, struct jr_end *out)
{
	struct reader rd = {body, false};

	out->records = get64(&rd);
	return is_done(&rd);
}

bool jr_object_is_filled(const struct jr_object *r)
{
	for (unsigned i = 0; i < r->replica_count; i++) {
		const struct jr_replica *rep = &r->replicas[i];
		uint64_t sum = 0;

		for (unsigned k = 0; k < rep->extent_count; k++)
			if (rep->extents[k].bytes > rep->extents[k].len ||
			    add_overflows(sum, rep->extents[k].bytes, &sum))
				return false;
		if (sum != r->size)
			return false;
	}
	return true;
}
