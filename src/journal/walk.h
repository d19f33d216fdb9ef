/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a journal: the newest snapshot, then every record behind it, in
 * order.  Changes nothing; blocks; any thread.
 *
 * What a crash may leave is read: a last log whose last record is not whole.
 * What it can't leave is refused: a damaged record with whole ones behind it,
 * a missing file, a file of a newer version or another cluster.
 */
#ifndef JOURNAL_WALK_H
#define JOURNAL_WALK_H

#include "journal/snap.h"

struct jr_report {
	char cluster_id[129]; /* of the files; "" = there are none */
	bool has_snapshot;
	uint64_t snapshot; /* sequence that it contains */
	uint64_t snapshot_records;
	uint64_t log_records; /* behind the snapshot */
	uint64_t log_bytes;   /* of the logs that were read */
	unsigned logs;
	uint64_t next; /* sequence of the record after the last */
	/* The torn tail of a log; bytes 0 = none. */
	struct jr_name torn;
	uint64_t torn_at, torn_bytes;
	/* Logs without a header, in which nothing can have been, and the last
	 * of them. */
	unsigned bare_logs;
	struct jr_name bare;
	/* Logs from this sequence on are void: they stand behind one whose end
	 * is lost, or else wait for a snapshot that never came to be; 0 =
	 * none. */
	uint64_t void_from;
	bool is_end_lost;
	/* Why it was refused: from this byte of that log on nothing can be
	 * read (0: not the file at all), or no text. */
	struct jr_name fault;
	uint64_t fault_at;
	/* By files_cut(): what was cut off is in "cut-N-*" (kept.h). */
	unsigned cut_no;
};

/* cluster_id NULL: any, but the same in all files.  err's sentence says what to
 * do. */
int jr_walk(int dir_fd, const char *cluster_id, jr_record_fn fn, void *arg,
	    struct jr_report *report, struct err *err);

#endif
