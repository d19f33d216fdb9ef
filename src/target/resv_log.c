/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reservation notifications, a ring.  Two threads, under its lock.  Invariant:
 * pages leave in the order in which they came.
 */
#include "target/resv_log.h"

#include <string.h>

#include "nvme/cmd.h"

void resv_log_init(struct resv_log *log)
{
	memset(log, 0, sizeof(*log));
	pthread_mutex_init(&log->lock, NULL);
}

static void drop_first(struct resv_log *log)
{
	log->first = (log->first + 1) % RESV_LOG_PAGES;
	log->len--;
}

void resv_log_add(struct resv_log *log, uint32_t nsid, enum resv_event event)
{
	unsigned at;

	pthread_mutex_lock(&log->lock);
	if (log->len == RESV_LOG_PAGES)
		drop_first(log);
	at = (log->first + log->len++) % RESV_LOG_PAGES;
	log->pages[at].count = ++log->count;
	log->pages[at].nsid = nsid;
	log->pages[at].event = (uint8_t)event;
	pthread_mutex_unlock(&log->lock);
}

void resv_log_read(struct resv_log *log, bool is_kept,
		   uint8_t out[RESV_LOG_BYTES])
{
	struct nvme_resv_notification_log page = {0};

	static_assert(sizeof(page) == RESV_LOG_BYTES, "log page");
	pthread_mutex_lock(&log->lock);
	if (log->len) {
		page.lpc = log->pages[log->first].count;
		page.rnlpt = log->pages[log->first].event;
		page.nalp = (uint8_t)(log->len - 1);
		page.nsid = log->pages[log->first].nsid;
		if (!is_kept)
			drop_first(log);
	}
	pthread_mutex_unlock(&log->lock);
	memcpy(out, &page, sizeof(page));
}

bool resv_log_has_any(struct resv_log *log)
{
	bool has_any;

	pthread_mutex_lock(&log->lock);
	has_any = log->len > 0;
	pthread_mutex_unlock(&log->lock);
	return has_any;
}
