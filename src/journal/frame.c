/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journal headers and records: structs to bytes and back.  Any thread.
 * Invariant: what a decode accepts came whole from its encode.
 */
#include "journal/frame.h"

#include <errno.h>
#include <string.h>

#include "base/crc.h"
#include "base/str.h"

static const char magics[][8] = {
	[JR_LOG] = {'M', 'C', 'J', 'R', 'N', 'L', 'O', 'G'},
	[JR_SNAPSHOT] = {'M', 'C', 'J', 'R', 'N', 'S', 'N', 'P'},
};

struct header_wire {
	char magic[8];
	uint32_t version;
	uint32_t bytes;
	uint64_t sequence;
	uint64_t created_s;
	uint32_t flags;
	uint32_t zero;
	char cluster_id[136];
	uint8_t zeros[76];
	uint32_t crc;
};
static_assert(sizeof(struct header_wire) == JR_HEADER_BYTES, "header");
static_assert(offsetof(struct header_wire, sequence) == 16, "sequence");
static_assert(offsetof(struct header_wire, flags) == 32, "flags");
static_assert(offsetof(struct header_wire, cluster_id) == 40, "cluster_id");
static_assert(offsetof(struct header_wire, crc) == 252, "crc");
static_assert(sizeof(((struct jr_header *)0)->cluster_id) <=
		      sizeof(((struct header_wire *)0)->cluster_id),
	      "cluster id fits");

struct frame_wire {
	uint32_t crc; /* of all that follows, the body included */
	uint32_t len;
	uint32_t sequence[2]; /* low, high: nothing here is padded */
	uint8_t type;
	uint8_t unsynced[3]; /* low to high */
};
static_assert(sizeof(struct frame_wire) == JR_FRAME_BYTES, "record");
static_assert(offsetof(struct frame_wire, sequence) == 8, "sequence");
static_assert(offsetof(struct frame_wire, type) == 16, "type");
static_assert(offsetof(struct frame_wire, unsynced) == 17, "unsynced");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian");

#define FIELD(of, name)                                                        \
	{                                                                      \
#name, offsetof(struct of, name),                              \
			sizeof(((struct of *)0)->name)                         \
	}
const struct jr_field jr_header_fields[] = {
	FIELD(header_wire, magic),     FIELD(header_wire, version),
	FIELD(header_wire, bytes),     FIELD(header_wire, sequence),
	FIELD(header_wire, created_s), FIELD(header_wire, flags),
	FIELD(header_wire, zero),      FIELD(header_wire, cluster_id),
	FIELD(header_wire, zeros),     FIELD(header_wire, crc),
};
const size_t jr_header_field_count = ARRAY_SIZE(jr_header_fields);
const struct jr_field jr_frame_fields[] = {
	FIELD(frame_wire, crc),	     FIELD(frame_wire, len),
	FIELD(frame_wire, sequence), FIELD(frame_wire, type),
	FIELD(frame_wire, unsynced),
};
const size_t jr_frame_field_count = ARRAY_SIZE(jr_frame_fields);

void jr_header_encode(const struct jr_header *h, uint8_t out[JR_HEADER_BYTES])
{
	struct header_wire w = {
		.version = JR_VERSION,
		.bytes = JR_HEADER_BYTES,
		.sequence = h->sequence,
		.created_s = h->created_s,
		.flags = h->flags,
	};

	memcpy(w.magic, magics[h->kind], sizeof(w.magic));
	memcpy(w.cluster_id, h->cluster_id,
	       strnlen(h->cluster_id, sizeof(h->cluster_id) - 1));
	w.crc = crc32c(0, &w, offsetof(struct header_wire, crc));
	memcpy(out, &w, sizeof(w));
}

int jr_header_decode(const uint8_t in[JR_HEADER_BYTES], struct jr_header *out,
		     struct err *err)
{
	struct header_wire w;
	enum jr_file kind = JR_LOG;

	memcpy(&w, in, sizeof(w));
	if (memcmp(w.magic, magics[JR_SNAPSHOT], sizeof(w.magic)) == 0)
		kind = JR_SNAPSHOT;
	else if (memcmp(w.magic, magics[JR_LOG], sizeof(w.magic)) != 0)
		return err_set(err, -EBADMSG, "this is no journal file");
	if (w.crc != crc32c(0, &w, offsetof(struct header_wire, crc)))
		return err_set(err, -EBADMSG, "its header is damaged");
	if (w.version != JR_VERSION)
		return err_set(err, -EPROTONOSUPPORT,
			       "it has format version %u, this program knows "
			       "%u: use a newer program",
			       w.version, JR_VERSION);
	if (w.bytes != JR_HEADER_BYTES ||
	    (w.flags & ~(JR_FRESH | JR_EARLY | JR_CLOSED)) || w.zero ||
	    !memchr(w.cluster_id, 0, sizeof(out->cluster_id)) ||
	    w.sequence == UINT64_MAX)
		return err_set(err, -EBADMSG, "its header makes no sense");
	*out = (struct jr_header){
		.kind = kind,
		.flags = w.flags,
		.sequence = w.sequence,
		.created_s = w.created_s,
	};
	memcpy(out->cluster_id, w.cluster_id, strlen(w.cluster_id));
	return 0;
}

bool jr_is_bare(const uint8_t *head, size_t n)
{
	for (size_t i = 0; n >= JR_HEADER_BYTES && i < JR_HEADER_BYTES; i++)
		if (head[i])
			return false;
	return true;
}

void jr_frame_encode(const struct jr_frame *frame, uint8_t out[JR_FRAME_BYTES])
{
	uint32_t unsynced = (uint32_t)MIN(frame->unsynced, JR_UNSYNCED_MAX);
	struct frame_wire w = {
		.len = frame->len,
		.sequence = {(uint32_t)frame->sequence,
			     (uint32_t)(frame->sequence >> 32)},
		.type = frame->type,
		.unsynced = {(uint8_t)unsynced, (uint8_t)(unsynced >> 8),
			     (uint8_t)(unsynced >> 16)},
	};

	ASSERT(frame->len <= JR_BODY_MAX);
	w.crc = crc32c(0, &w.len, sizeof(w) - sizeof(w.crc));
	w.crc = crc32c(w.crc, frame->body, frame->len);
	memcpy(out, &w, sizeof(w));
}

static uint64_t sequence_of(const struct frame_wire *w)
{
	return (uint64_t)w->sequence[1] << 32 | w->sequence[0];
}

static uint32_t unsynced_of(const struct frame_wire *w)
{
	return w->unsynced[0] | (uint32_t)w->unsynced[1] << 8 |
	       (uint32_t)w->unsynced[2] << 16;
}

static bool is_whole(const uint8_t *p, const struct frame_wire *w)
{
	size_t skip = sizeof(w->crc);

	return crc32c(0, p + skip, JR_FRAME_BYTES - skip + w->len) == w->crc;
}

int64_t jr_frame_decode(const uint8_t *p, uint64_t n, uint64_t sequence,
			struct jr_frame *out)
{
	struct frame_wire w;

	if (n < JR_FRAME_BYTES)
		return -EAGAIN;
	memcpy(&w, p, sizeof(w));
	if (w.len > JR_BODY_MAX)
		return -EBADMSG;
	if (w.len > n - JR_FRAME_BYTES)
		return -EAGAIN;
	if (!is_whole(p, &w))
		return -EBADMSG;
	if (sequence_of(&w) != sequence)
		return -ERANGE;
	*out = (struct jr_frame){
		.type = w.type,
		.unsynced = unsynced_of(&w),
		.sequence = sequence,
		.body = p + JR_FRAME_BYTES,
		.len = w.len,
	};
	return JR_FRAME_BYTES + (int64_t)w.len;
}

/* Does it say that the record so far before it was on disk? */
static bool vouches(const struct frame_wire *w, uint64_t ahead)
{
	uint32_t unsynced = unsynced_of(w);

	return unsynced < JR_UNSYNCED_MAX && ahead > unsynced;
}

bool jr_was_synced(const uint8_t *p, uint64_t n, uint64_t sequence)
{
	struct frame_wire w;

	for (uint64_t at = 0; at + JR_FRAME_BYTES <= n; at++) {
		uint64_t ahead;

		memcpy(&w, p + at, sizeof(w));
		/* Cheap looks first: no more records than fit may be between,
		 * and the checksum is worth computing only then. */
		ahead = sequence_of(&w) - sequence;
		if (w.len > JR_BODY_MAX || w.len > n - at - JR_FRAME_BYTES ||
		    ahead == 0 || ahead > n / JR_FRAME_BYTES)
			continue;
		if (vouches(&w, ahead) && is_whole(p + at, &w))
			return true;
	}
	return false;
}
