/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a journal says: bodies of records as structs and as bytes.  Pure
 * functions.  Texts and tables of a decoded record point into its body.
 *
 * Each record says the whole truth about what it names, so that replaying a
 * log over a snapshot that has some of it already ends in the same state.
 */
#ifndef JOURNAL_RECORD_H
#define JOURNAL_RECORD_H

#include "base/str.h"
#include "base/uuid.h"
#include "journal/frame.h"

#define JR_PATHS_MAX	8
#define JR_REPLICAS_MAX 16
#define JR_EXTENTS_MAX	64 /* of one replica */
#define JR_KEY_MAX	4096
#define JR_TEXT_MAX	1024
#define JR_CRCS_MAX	((size_t)2 << 20)

enum jr_type {
#define RECORD(NAME, number, text) JR_##NAME = (number),
#include "journal/tbl/records.h"
#undef RECORD
};
/* "object", or NULL. */
const char *jr_type_name(uint32_t type);

/* A segment as it is now; replaces what was known of that number. */
struct jr_segment {
	uint32_t no; /* how extents name it; never used twice */
	struct uuid id;
	uint32_t kind; /* 0 memory, 1 pool */
	bool is_draining;
	uint64_t base, size, ns_bytes;
	uint32_t block_bytes;
	uint64_t epoch;
	struct uuid client; /* owner of a memory segment */
	struct str identity, name, host_id;
	uint32_t path_count;
	struct str paths[JR_PATHS_MAX];
};

struct jr_extent {
	uint32_t segment;
	uint64_t off, len; /* as allocated */
	uint64_t bytes;	   /* of the object in it */
};

struct jr_replica {
	uint32_t kind, index;
	uint32_t extent_count;
	struct jr_extent extents[JR_EXTENTS_MAX];
};

/* A complete object; replaces what had its key.  As a grant: space that a
 * writer may be at, nothing but generation and replicas. */
struct jr_object {
	uint64_t generation;
	uint64_t size;
	uint32_t data_type;
	uint8_t wanted[2]; /* replicas in memory, in the pool */
	bool is_hard_pinned;
	/* Left when it was written, 0 = none.  Of a grant: how long somebody
	 * may still be at it. */
	uint64_t soft_pin_ms;
	struct str key;
	struct str crcs; /* 4 bytes each, little-endian */
	uint32_t replica_count;
	struct jr_replica replicas[JR_REPLICAS_MAX];
	/* What was sent twice may be written for so long, 0 = was not.  Behind
	 * the replicas, and left out when it is 0. */
	uint64_t late_ms;
};

/* Gone is the object of that key, if it has that generation, or one replica
 * of it. */
struct jr_gone {
	uint64_t generation;
	uint32_t index;	   /* of the replica */
	uint8_t wanted[2]; /* replicas from then on */
	struct str key;
};

/* The object of that key, if it has that generation, is of that group. */
struct jr_group {
	uint64_t generation;
	struct str key, group;
};

/* Writers of its last time may still be at it. */
struct jr_segment_gone {
	uint32_t no; /* 0: known by the others only */
	struct uuid id;
	struct str identity;
	uint64_t writers_ms; /* the last of them; left out when it is 0 */
};

/* Numbers below are used up, of allocations and of segments. */
struct jr_marks {
	uint64_t generation;
	uint32_t segment_no;
};

/* Where the check of all objects is. */
struct jr_scrub {
	uint64_t generation; /* checked up to here; 0 = none is under way */
	uint64_t due_ms;     /* when the next one begins, since 1970 */
};

/* Snapshots end with it. */
struct jr_end {
	uint64_t records; /* before it */
};

/* Appended to out (whose failed flag says it all). */
void jr_segment_encode(const struct jr_segment *r, struct strbuf *out);
void jr_object_encode(const struct jr_object *r, struct strbuf *out);
void jr_gone_encode(const struct jr_gone *r, struct strbuf *out);
void jr_group_encode(const struct jr_group *r, struct strbuf *out);
void jr_segment_gone_encode(const struct jr_segment_gone *r,
			    struct strbuf *out);
void jr_marks_encode(const struct jr_marks *r, struct strbuf *out);
void jr_scrub_encode(const struct jr_scrub *r, struct strbuf *out);
void jr_end_encode(const struct jr_end *r, struct strbuf *out);

/* false: a length or a value is out of range. */
bool jr_segment_decode(struct str body, struct jr_segment *out);
bool jr_object_decode(struct str body, struct jr_object *out);
/* Do the extents of each replica hold its bytes, no more and no less? */
bool jr_object_is_filled(const struct jr_object *r);
bool jr_gone_decode(struct str body, struct jr_gone *out);
bool jr_group_decode(struct str body, struct jr_group *out);
bool jr_segment_gone_decode(struct str body, struct jr_segment_gone *out);
bool jr_marks_decode(struct str body, struct jr_marks *out);
bool jr_scrub_decode(struct str body, struct jr_scrub *out);
bool jr_end_decode(struct str body, struct jr_end *out);

#endif
