/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error information of a controller (log page 01h): the last commands that
 * failed.  Any thread: queues of a controller live on several shards.
 */
#ifndef TARGET_ERRLOG_H
#define TARGET_ERRLOG_H

#include <pthread.h>

#include "base/def.h"

#define ERRLOG_ENTRIES 64 /* 4 KiB */
#define ERRLOG_BYTES   64

struct errlog_entry {
	uint16_t sqid, cid;
	uint16_t sc; /* without the phase bit */
	uint64_t lba;
	uint32_t nsid;
};

struct errlog {
	pthread_mutex_t lock;
	uint64_t count; /* ever */
	uint64_t media_count;
	struct errlog_entry ring[ERRLOG_ENTRIES]; /* count % size is next */
};

/* There is no fini: it owns nothing. */
void errlog_init(struct errlog *log);
void errlog_add(struct errlog *log, const struct errlog_entry *entry);
/* Newest first; out holds ERRLOG_ENTRIES * ERRLOG_BYTES and is cleared. */
void errlog_read(struct errlog *log, uint8_t *out);
void errlog_counts(struct errlog *log, uint64_t *all, uint64_t *media);

#endif
