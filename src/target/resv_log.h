/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reservation notifications of a controller (log page 80h).  The control loop
 * adds, the shard of the admin connection reads.
 */
#ifndef TARGET_RESV_LOG_H
#define TARGET_RESV_LOG_H

#include "target/resv.h"

#define RESV_LOG_PAGES 16
#define RESV_LOG_BYTES 64

struct resv_log {
	pthread_mutex_t lock;
	uint64_t count; /* ever; those that found no room included */
	unsigned first, len;
	struct {
		uint64_t count;
		uint32_t nsid;
		uint8_t event;
	} pages[RESV_LOG_PAGES];
};

void resv_log_init(struct resv_log *log);
/* When there is no room the oldest is lost, which its count shows. */
void resv_log_add(struct resv_log *log, uint32_t nsid, enum resv_event event);
/* The oldest page, which is then forgotten unless it is to be kept; all zeros
 * when there is none. */
void resv_log_read(struct resv_log *log, bool is_kept,
		   uint8_t out[RESV_LOG_BYTES]);
bool resv_log_has_any(struct resv_log *log);

#endif
