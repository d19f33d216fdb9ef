/* SPDX-License-Identifier: Apache-2.0 */
/* Segments: what is mounted, by which paths, in which state. */
#ifndef MASTER_SEGMENT_H
#define MASTER_SEGMENT_H

#include "base/err.h"
#include "master/core.h"
#include "nvme/endpoint.h"

#define SEGMENT_TEXT_MAX 1024 /* bytes of a name, of a host */

struct segment_desc {
	struct uuid id;
	enum kind kind;
	const char *name;
	char *const *endpoints; /* canonical text */
	unsigned endpoint_count;
	uint64_t base, size; /* size is cut to whole units */
	uint64_t ns_bytes;
	uint32_t block_bytes;
	uint64_t epoch;
	const char *identity;
	const char *host_id; /* NULL = the host of the first endpoint */
	struct uuid client;
	uint32_t no; /* of a former life; 0 = a new one */
};

/* ONLINE at once.  -EINVAL, -ENOSPC (SEGMENTS_MAX), -ENOMEM with err. */
int segment_add(struct core *core, const struct segment_desc *desc,
		struct segment **out, struct err *err);
/* Mounted ones only, not those on their way out; NULL when absent. */
struct segment *segment_find(struct core *core, const struct uuid *id);
/* text: canonical endpoint. */
struct segment *segment_find_path(struct core *core, const char *text);
struct segment *segment_find_identity(struct core *core, const char *identity);
bool segment_has_path(const struct segment *seg, const char *text);
/* Another way to the same namespace; -ENOSPC when it has SEGMENT_PATHS. */
int segment_add_path(struct core *core, struct segment *seg, const char *text);
/* ONLINE or OFFLINE; message says why. */
void segment_set_state(struct core *core, struct segment *seg,
		       enum segment_state state, const char *message);
/* While it drains nothing new is put there; what is there can be read, and is
 * evicted no more.  Independent of ONLINE and OFFLINE. */
void segment_set_draining(struct core *core, struct segment *seg,
			  bool is_draining);
/* When the last lease and the last writer's time on it end; 0 = it is idle. */
uint64_t segment_busy_until(const struct core *core, const struct segment *seg);
const char *segment_kind_name(const struct segment *seg); /* "memory", "nof" */
/* For people: ONLINE, DRAINING, OFFLINE, UNMOUNTING. */
const char *segment_state_name(const struct segment *seg);
/* ep NULL: by id; its nsid 0: any namespace of the subsystem there. */
bool segment_matches(const struct segment *seg, const struct uuid *id,
		     const struct endpoint *ep);
/* nof: did this life write a superblock with that epoch, or, as long as it is
 * awaited, one that the journal knows of? */
bool segment_has_epoch(const struct segment *seg, uint64_t epoch);
/* Nothing is handed out any more; segments_reap() does the rest. */
void segment_start_unmount(struct core *core, struct segment *seg);
/* Drops up to budget replicas of segments on their way out, and the segments
 * that are empty; true when there is more to do. */
bool segments_reap(struct core *core, unsigned budget);
/* Writers of a namespace's last life may be at it until then. */
void segment_bury(struct core *core, const struct uuid *id, struct str identity,
		  uint64_t until_ns);
/* Until when; 0 = never. */
uint64_t segment_tomb(const struct core *core, const struct uuid *id,
		      const char *identity);

#endif
