/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was found behind the endpoints of a namespace, and what to do about it.
 * Decisions only: no I/O, no waiting.
 */
#ifndef MASTER_NOF_JUDGE_H
#define MASTER_NOF_JUDGE_H

#include "master/segment.h"
#include "pool/vol.h"

#define NOF_BYTES_MIN (16 * MiB)

struct nof_found {
	const char *cluster_id;			      /* ours */
	char paths[SEGMENT_PATHS][ENDPOINT_TEXT_LEN]; /* canonical */
	unsigned path_count;
	/* of the first path */
	uint64_t ns_bytes;
	uint32_t block_bytes;
	char identity[80];
	enum label_kind label;
	char label_text[128];
	struct superblock sb; /* found; after nof_judge(): to be written */
	char note[160];	      /* for the segment's message */
	uint64_t latency_ns[SEGMENT_PATHS];
	struct vol_owner owner; /* found; in nof_add_segment(): of now */
	uint64_t key;		/* as whom clients are to write */
	uint64_t until_ns;	/* not to be claimed before; 0 = now */
	bool is_taken_over; /* by force, from what its journal did not see */
	bool has_smart;
	struct nvmf_smart smart; /* of the last path that told it */
};

/* Endpoints as given; -EINVAL with a sentence. */
int nof_found_init(struct nof_found *found, const char *cluster_id,
		   char *const *endpoints, size_t count, struct err *err);
/* The names of a mounted one: paths, identity, segment. */
void nof_found_of(const struct segment *seg, struct nof_found *out);
/* The probe of one path has ended. */
enum mooncake_status nof_found_path(struct nof_found *found, unsigned path,
				    const struct vol_probe *probe,
				    struct err *err);
/* It carries a superblock of this cluster. */
bool nof_is_ours(const struct nof_found *found);
/* Its target has it reserved for somebody who is not of this cluster. */
bool nof_is_others(const struct nof_found *found);
/* By a path, an identity or a superblock that both have. */
bool nof_is_same(const struct nof_found *a, const struct nof_found *b);
/* It, or what may be it, is still being unmounted. */
bool nof_is_going(const struct core *core, const struct nof_found *found);
/* Two nameless namespaces of one size may be the same one, too. */
bool nof_may_be_same(const struct nof_found *a, const struct nof_found *b);
/* It was mounted since then: what was found is of before, or half of it is. */
bool nof_is_outdated(const struct core *core, const struct nof_found *found,
		     uint64_t since_ns);
/*
 * All paths were probed.  OK with *mounted: it is mounted already (paths it
 * did not have were added).  OK without: found->sb is to be written, then
 * nof_add_segment().  Else a sentence.
 */
enum mooncake_status nof_judge(struct core *core, struct nof_found *found,
			       bool is_forced, struct segment **mounted,
			       struct err *err);
int nof_add_segment(struct core *core, const struct nof_found *found,
		    struct segment **out, struct err *err);

#endif
