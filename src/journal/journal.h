/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal: records that outlive the process, and snapshots that make the
 * records before them unnecessary.
 *
 * It belongs to the loop it was opened for.  What may block for long (syncing,
 * packing, deleting) is done elsewhere, and the loop hears of it by event.
 *
 * The table of functions is the seam at which another kind of journal, one
 * that is kept on several machines, fits in; files.h has the one over files.
 */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include "journal/record.h"
#include "journal/walk.h"

struct journal;

/* From the loop.  ret: 0 or -errno. */
struct journal_events {
	/* What was written when sync() was called is durable, or the journal
	 * has failed. */
	void (*synced)(int ret, void *arg);
	/* What snap_push() was called for is written. */
	void (*snap_pushed)(int ret, void *arg);
	/* The snapshot counts, or there is none. */
	void (*snap_ended)(int ret, void *arg);
	void *arg;
};

struct journal_ops {
	/* First: every record there is, in order; then it can be appended to.
	 * May block. */
	int (*recover)(struct journal *j, jr_record_fn fn, void *arg,
		       struct jr_report *report, struct err *err);
	/* Never fails here (nor for a body that could not be built: the next
	 * commit says so); a journal that has failed drops it. */
	void (*append)(struct journal *j, enum jr_type type,
		       const struct strbuf *body);
	/* Everything appended is written, so that it outlives the process, or
	 * none of it and the journal has failed: -errno. */
	int (*commit)(struct journal *j);
	void (*sync)(struct journal *j); /* one at a time */
	/*
	 * A snapshot of the state as it is now or will be while it is written:
	 * records from now on are replayed over it.  -errno: not begun.  Also
	 * what makes a failed journal work again, once the snapshot counts.
	 */
	int (*snap_begin)(struct journal *j);
	void (*snap_add)(struct journal *j, enum jr_type type,
			 const struct strbuf *body);
	void (*snap_push)(struct journal *j); /* one at a time */
	void (*snap_end)(struct journal *j);  /* after the last push */
	/* No event; no push may be under way. */
	void (*snap_abort)(struct journal *j);
	/* Commits, syncs (when told to sync at all) and frees; nothing may be
	 * under way.  Blocks. */
	void (*close)(struct journal *j);
};

struct journal {
	const struct journal_ops *ops;
	struct journal_events events;
	bool is_failed;
	unsigned busy;		 /* events to come */
	bool has_news;		 /* appended, not committed */
	uint64_t next;		 /* sequence of the next record */
	uint64_t written;	 /* of the first one that is not written */
	uint64_t records, bytes; /* written in this life */
	uint64_t syncs;
	uint64_t log_bytes; /* behind the last snapshot */
	uint64_t snapshot_bytes;
};

#endif
