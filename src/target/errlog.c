/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of a controller's last errors.  Any thread.  Invariant: the entry
 * with error count n lies at n - 1 modulo the size of the ring.
 */
#include "target/errlog.h"

#include <string.h>

#include "nvme/cmd.h"

static_assert(sizeof(struct nvme_error_log_page) == ERRLOG_BYTES, "entry");

void errlog_init(struct errlog *log)
{
	memset(log, 0, sizeof(*log));
	pthread_mutex_init(&log->lock, NULL);
}

void errlog_add(struct errlog *log, const struct errlog_entry *entry)
{
	bool is_media = (entry->sc & 0x700) == 0x200;

	pthread_mutex_lock(&log->lock);
	log->ring[log->count % ERRLOG_ENTRIES] = *entry;
	log->count++;
	log->media_count += is_media;
	pthread_mutex_unlock(&log->lock);
}

static void put_entry(const struct errlog_entry *e, uint64_t count,
		      uint8_t *out)
{
	struct nvme_error_log_page page = {
		.error_count = count,
		.sqid = e->sqid,
		.cmdid = e->cid,
		.status_field = (uint16_t)(e->sc << 1),
		.parm_error_location = 0xffff, /* not told */
		.lba = e->lba,
		.nsid = e->nsid,
	};

	memcpy(out, &page, sizeof(page));
}

void errlog_read(struct errlog *log, uint8_t *out)
{
	uint64_t n;

	memset(out, 0, ERRLOG_ENTRIES * ERRLOG_BYTES);
	pthread_mutex_lock(&log->lock);
	n = log->count;
	for (unsigned i = 0; i < ERRLOG_ENTRIES && n; i++, n--)
		put_entry(&log->ring[(n - 1) % ERRLOG_ENTRIES], n,
			  out + i * ERRLOG_BYTES);
	pthread_mutex_unlock(&log->lock);
}

void errlog_counts(struct errlog *log, uint64_t *all, uint64_t *media)
{
	pthread_mutex_lock(&log->lock);
	*all = log->count;
	*media = log->media_count;
	pthread_mutex_unlock(&log->lock);
}
