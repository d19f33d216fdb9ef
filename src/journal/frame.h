/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal's files as bytes (docs/on-disk.md): a header of 256 bytes, then
 * records one behind the other.  Pure functions.
 *
 * Every record carries its sequence and a checksum over both, so that what was
 * cut, left out or put in is seen.
 */
#ifndef JOURNAL_FRAME_H
#define JOURNAL_FRAME_H

#include "base/err.h"

#define JR_VERSION	1
#define JR_HEADER_BYTES 256
#define JR_FRAME_BYTES	20
#define JR_BODY_MAX	(4u << 20)
/* A log that goes on after a failure: without its snapshot it is void. */
#define JR_FRESH 1u
/* A log that was begun while the end of the one before was not yet on disk:
 * when that is cut short, this and later ones are behind the torn tail. */
#define JR_EARLY 2u
/* A log that was ended in order: all of it was on disk. */
#define JR_CLOSED 4u

enum jr_file {
	JR_LOG,
	JR_SNAPSHOT
};

struct jr_header {
	enum jr_file kind;
	uint32_t flags;
	/* of a log's first record; of the last one that a snapshot contains */
	uint64_t sequence;
	uint64_t created_s; /* wall clock, for people */
	char cluster_id[129];
};

void jr_header_encode(const struct jr_header *h, uint8_t out[JR_HEADER_BYTES]);
/* -EBADMSG: not a header, or damaged; -EPROTONOSUPPORT: newer version. */
int jr_header_decode(const uint8_t in[JR_HEADER_BYTES], struct jr_header *out,
		     struct err *err);

/* The beginning of a file whose header never reached the disk: short, or
 * zeros. */
bool jr_is_bare(const uint8_t *head, size_t n);

/* Of jr_frame.unsynced: so many or more. */
#define JR_UNSYNCED_MAX 0xffffffu

struct jr_frame {
	uint8_t type; /* enum jr_type, record.h; checked by who knows it */
	/* How many of the records before it may not have been on disk when it
	 * was appended.  More than JR_UNSYNCED_MAX are that. */
	uint64_t unsynced;
	uint64_t sequence;
	const uint8_t *body;
	uint32_t len;
};

/* The 20 bytes that stand before the body. */
void jr_frame_encode(const struct jr_frame *frame, uint8_t out[JR_FRAME_BYTES]);
/* Bytes that the record takes, -EAGAIN when it goes on beyond n, -EBADMSG when
 * its checksum or length is wrong, -ERANGE when it has another sequence. */
int64_t jr_frame_decode(const uint8_t *p, uint64_t n, uint64_t sequence,
			struct jr_frame *out);
/* Is there a whole record anywhere in p that was appended when the one of that
 * sequence had been on disk? */
bool jr_was_synced(const uint8_t *p, uint64_t n, uint64_t sequence);

/* Where each field stands; the tables in docs/on-disk.md are compared. */
struct jr_field {
	const char *name;
	size_t off, bytes;
};
extern const struct jr_field jr_header_fields[], jr_frame_fields[];
extern const size_t jr_header_field_count, jr_frame_field_count;

#endif
