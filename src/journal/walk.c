/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading of a journal's files in order.  Blocks; any thread.  Invariant: fn
 * sees records of rising sequences without a gap, all of them after those of
 * the snapshot.
 */
#include "journal/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

/* What to do about a log, and everything behind it. */
#define GIVE_UP                                                                \
	". Restore the directory from a copy, or give up from there on: "      \
	"'mooncakectl journal cut'"

#define READ_BYTES ((size_t)1 << 20)

struct log {
	struct jr_name name;
	struct jr_header header;
	bool has_header, has_records;
};

struct walk {
	int dir_fd;
	const char *cluster_id;
	jr_record_fn fn;
	void *arg;
	struct jr_report *report;
	struct log *logs;
	size_t log_count;
	struct jr_name snapshot;
};

/* --- headers --- */

/* A file of which nothing can be read. */
static int bad_file(const struct walk *w, const struct jr_name *name,
		    const char *what, struct err *err)
{
	if (name->kind == JR_LOG)
		w->report->fault = *name;
	return err_set(err, -EBADMSG, "%s: %s%s", name->text, what,
		       name->kind == JR_LOG ? GIVE_UP : SNAP_GIVE_UP);
}

/* The one that is asked for, or else that of the first file. */
static int check_cluster(const struct walk *w, const struct jr_name *name,
			 const char *id, struct err *err)
{
	char *first = w->report->cluster_id, what[96];

	if (first[0] && strcmp(id, first) != 0) {
		snprintf(what, sizeof(what),
			 "it is of cluster '%.20s', those before of '%.20s'",
			 id, first);
		return bad_file(w, name, what, err);
	}
	if (w->cluster_id && strcmp(id, w->cluster_id) != 0)
		return err_set(err, -EINVAL,
			       "%s belongs to cluster '%.40s', this is "
			       "'%.40s': give its --cluster_id or another "
			       "--journal_dir",
			       name->text, id, w->cluster_id);
	snprintf(first, sizeof(w->report->cluster_id), "%s", id);
	return 0;
}

static int check_header(const struct walk *w, const struct jr_name *name,
			const struct jr_header *h, struct err *err)
{
	struct jr_name real;
	char what[96];

	jr_name_format(&real, h->kind, h->sequence);
	if (strcmp(real.text, name->text) != 0) {
		snprintf(what, sizeof(what), "by its header it is %s",
			 real.text);
		return bad_file(w, name, what, err);
	}
	return check_cluster(w, name, h->cluster_id, err);
}

/* Before it is mapped: a block that can't be read would end the process without
 * a word. */
static int read_through(int fd)
{
	uint8_t *buf = malloc(READ_BYTES);
	off_t at = 0;
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	do {
		n = pread(fd, buf, READ_BYTES, at);
		at += MAX(n, (ssize_t)0);
	} while (n > 0 || (n < 0 && errno == EINTR));
	n = n < 0 ? -errno : 0;
	free(buf);
	return (int)n;
}

/* The descriptor behind the header, or -errno; -ENODATA: no header yet. */
static int open_file(const struct walk *w, const struct jr_name *name,
		     struct jr_header *h, struct err *err)
{
	uint8_t head[JR_HEADER_BYTES];
	struct err why = {0};
	int fd, ret;
	ssize_t n;

	fd = openat(w->dir_fd, name->text, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "cannot open %s: %s", name->text,
			       strerror(errno));
	n = read(fd, head, sizeof(head));
	if (n < 0)
		ret = jr_unreadable(name->text, -errno, err);
	else if (jr_is_bare(head, (size_t)n))
		ret = -ENODATA;
	else if (jr_header_decode(head, h, &why) == -EBADMSG)
		ret = bad_file(w, name, why.text, err);
	else if (why.code)
		ret = err_set(err, why.code, "%s: %s", name->text, why.text);
	else
		ret = check_header(w, name, h, err);
	if (ret == 0)
		return fd;
	close(fd);
	return ret;
}

/* All of it, {NULL, 0} when it is empty. */
static int map_file(const struct walk *w, const struct jr_name *name,
		    struct str *out, struct err *err)
{
	int fd = openat(w->dir_fd, name->text, O_RDONLY | O_CLOEXEC);
	int ret = fd < 0 ? -errno : 0;
	struct stat st = {0};
	void *p = NULL;

	if (ret == 0 && fstat(fd, &st) < 0)
		ret = -errno;
	if (ret == 0)
		ret = read_through(fd);
	if (ret == 0 && st.st_size > 0)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd,
			 0);
	if (p == MAP_FAILED)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	if (ret < 0)
		return jr_unreadable(name->text, ret, err);
	*out = (struct str){p, (size_t)st.st_size};
	if (p)
		madvise(p, out->n, MADV_SEQUENTIAL);
	return 0;
}

static void unmap_file(struct str file)
{
	if (file.n)
		munmap((void *)(uintptr_t)file.p, file.n);
}

/* No header, but is that all? */
static int check_bare(struct walk *w, const struct jr_name *name,
		      struct err *err)
{
	struct jr_frame frame;
	bool has_records;
	struct str file;
	int ret = map_file(w, name, &file, err);

	if (ret < 0)
		return ret;
	/* The first one stands in the same sector. */
	has_records = file.n > JR_HEADER_BYTES &&
		      jr_frame_decode((const uint8_t *)file.p + JR_HEADER_BYTES,
				      file.n - JR_HEADER_BYTES, name->sequence,
				      &frame) > 0;
	has_records = has_records || jr_was_synced((const uint8_t *)file.p,
						   file.n, name->sequence);
	unmap_file(file);
	if (!has_records)
		return 0;
	return bad_file(w, name,
			"zeros instead of a header, and whole records behind "
			"them",
			err);
}

static int read_log_header(struct walk *w, struct log *log, struct err *err)
{
	int fd = open_file(w, &log->name, &log->header, err);
	struct stat st;

	log->has_header = fd >= 0;
	if (fd < 0)
		return fd == -ENODATA ? check_bare(w, &log->name, err) : fd;
	log->has_records = fstat(fd, &st) < 0 || st.st_size > JR_HEADER_BYTES;
	close(fd);
	return 0;
}

/* May the log end anywhere?  As long as no later one says that it was on disk
 * before. */
static bool is_open_ended(const struct walk *w, const struct log *log)
{
	if (log->header.flags & JR_CLOSED)
		return false;
	for (log++; log < w->logs + w->log_count; log++)
		if (log->has_header && !(log->header.flags & JR_EARLY))
			return false;
	return true;
}

/* Those of which all is in the snapshot are not looked at, whatever they look
 * like: who deleted them had no reason to get them to the disk. */
static void skip_old(struct walk *w)
{
	size_t old = 0;

	while (w->report->has_snapshot && old + 1 < w->log_count &&
	       w->logs[old + 1].name.sequence <= w->snapshot.sequence + 1)
		old++;
	w->log_count -= old;
	memmove(w->logs, w->logs + old, w->log_count * sizeof(*w->logs));
}

static int list_files(struct walk *w, struct err *err)
{
	struct jr_list list;
	int ret = jr_dir_list(w->dir_fd, &list, err);

	if (ret < 0)
		return ret;
	w->logs = calloc(list.count + 1, sizeof(*w->logs));
	if (!w->logs)
		ret = err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; ret == 0 && i < list.count; i++) {
		if (list.names[i].kind == JR_LOG)
			w->logs[w->log_count++].name = list.names[i];
		else
			w->snapshot = list.names[i]; /* the newest is last */
	}
	w->report->has_snapshot = ret == 0 && list.count > w->log_count;
	jr_list_fini(&list);
	if (ret == 0)
		skip_old(w);
	return ret;
}

/* --- the snapshot --- */

static int read_snapshot(struct walk *w, struct err *err)
{
	struct jr_header h;
	int fd, ret;

	if (!w->report->has_snapshot)
		return 0;
	fd = open_file(w, &w->snapshot, &h, err);
	if (fd == -ENODATA)
		return bad_file(w, &w->snapshot, "it has no header", err);
	if (fd < 0)
		return fd;
	w->report->snapshot = h.sequence;
	ret = snap_read(fd, w->snapshot.text, w->fn, w->arg,
			&w->report->snapshot_records, err);
	close(fd);
	return ret;
}

/* --- the logs --- */

/* Logs that go on after a failure are void without their snapshot, where there
 * is what came before: with nothing, the snapshot was there and is gone. */
static void drop_void(struct walk *w)
{
	for (size_t i = 1; i < w->log_count; i++) {
		const struct log *log = &w->logs[i];

		if (!log->has_header || !(log->header.flags & JR_FRESH) ||
		    log->name.sequence <= w->report->snapshot + 1)
			continue;
		w->report->void_from = log->name.sequence;
		w->log_count = i;
	}
}

/* log is the first one behind an end that is lost. */
static void void_behind(struct walk *w, const struct log *log)
{
	w->report->void_from = log->name.sequence;
	w->report->is_end_lost = true;
}

/* The end of all that is read. */
static int torn(struct walk *w, const struct log *log, uint64_t at,
		uint64_t bytes)
{
	if (log + 1 < w->logs + w->log_count)
		void_behind(w, &log[1]);
	w->report->torn = log->name;
	w->report->torn_at = at;
	w->report->torn_bytes = bytes;
	return 0;
}

static int damaged(struct walk *w, const struct log *log, uint64_t at,
		   int64_t why, struct err *err)
{
	w->report->fault = log->name;
	w->report->fault_at = at;
	return err_set(err, -EBADMSG,
		       "%s: the record at byte %llu %s, and %s" GIVE_UP,
		       log->name.text, (unsigned long long)at,
		       why == -ERANGE ? "is out of order" : "is damaged",
		       log->header.flags & JR_CLOSED
			       ? "the log was ended in order"
			       : "there are whole ones behind it");
}

/* Who takes the records can't take this one, though it is whole. */
static void refused(struct walk *w, const struct log *log, uint64_t at,
		    struct err *err)
{
	w->report->fault = log->name;
	w->report->fault_at = at;
	err_add(err, ". Keep a copy and report this bug; to give up from "
		     "there on: 'mooncakectl journal cut'");
}

/* All records of one log; p is the file. */
static int read_records(struct walk *w, const struct log *log, struct str file,
			struct err *err)
{
	const uint8_t *p = (const uint8_t *)file.p;
	uint64_t at = JR_HEADER_BYTES, sequence = log->name.sequence;
	struct jr_frame frame;

	while (at < file.n) {
		int64_t n =
			jr_frame_decode(p + at, file.n - at, sequence, &frame);
		int ret = 0;

		if (n < 0 && (!is_open_ended(w, log) || n == -ERANGE ||
			      jr_was_synced(p + at, file.n - at, sequence)))
			return damaged(w, log, at, n, err);
		if (n < 0) {
			torn(w, log, at, file.n - at);
			break;
		}
		if (sequence > w->report->snapshot) {
			w->report->log_records++;
			ret = w->fn(&frame, w->arg, err);
		}
		if (ret == -EBADMSG)
			refused(w, log, at, err);
		if (ret < 0)
			return ret;
		sequence++;
		at += (uint64_t)n;
	}
	w->report->next = sequence;
	w->report->log_bytes += at;
	return 0;
}

static int read_log(struct walk *w, const struct log *log, struct err *err)
{
	struct str file;
	int ret = map_file(w, &log->name, &file, err);

	if (ret < 0)
		return ret;
	w->report->logs++;
	ret = read_records(w, log, file, err);
	unmap_file(file);
	return ret;
}

/* log is the first one behind it. */
static int gap(const struct walk *w, const struct log *log, struct err *err)
{
	uint64_t from = w->report->next, to = log->name.sequence - 1;
	const struct jr_name *bare = &w->report->bare;
	bool was_bare = w->report->bare_logs && bare->sequence >= from;

	w->report->fault = log->name;
	return err_set(err, -EBADMSG,
		       "records %llu to %llu are missing: %s %s" GIVE_UP,
		       (unsigned long long)from, (unsigned long long)to,
		       was_bare ? bare->text : "a file of the journal",
		       was_bare ? "has no header" : "is gone or was cut short");
}

static int twice(const struct walk *w, const struct log *log, struct err *err)
{
	w->report->fault = log->name;
	return err_set(err, -EBADMSG,
		       "record %llu is in %s and in the log before it" GIVE_UP,
		       (unsigned long long)log->name.sequence, log->name.text);
}

/*
 * Does the log follow those before it?  1: so it does, 0: nothing is in it, or
 * -errno.  A log that could not be begun leaves a file without a header, or one
 * without a record, and records go on in the log before it.
 */
static int follows(struct walk *w, const struct log *log, bool is_first,
		   struct err *err)
{
	struct jr_report *report = w->report;
	uint64_t at = log->name.sequence;

	if (at > report->next && is_first)
		return gap(w, log, err);
	if (!log->has_header) {
		report->bare = log->name;
		report->bare_logs++;
		return 0;
	}
	if (at == report->next || is_first)
		return 1;
	if (at < report->next)
		return log->has_records ? twice(w, log, err) : 0;
	if (!is_open_ended(w, log - 1))
		return gap(w, log, err);
	void_behind(w, log);
	return 0;
}

static int read_logs(struct walk *w, struct err *err)
{
	struct jr_report *report = w->report;
	int ret = 0;

	report->next = report->snapshot + 1;
	for (size_t i = 0; ret >= 0 && i < w->log_count; i++) {
		ret = follows(w, &w->logs[i], i == 0, err);
		if (ret > 0)
			ret = read_log(w, &w->logs[i], err);
		/* The rest is void. */
		if (report->torn.text[0] ||
		    report->void_from == w->logs[i].name.sequence)
			break;
	}
	/* The last log may end before the snapshot. */
	report->next = MAX(report->next, report->snapshot + 1);
	return ret;
}

/* The log behind that many can't be read at all.  What is before it is what is
 * left to who gives up the rest, so fn sees it. */
static void read_before_fault(struct walk *w, size_t count)
{
	const struct jr_name fault = w->report->fault;
	struct err why = {0};

	w->log_count = count;
	drop_void(w);
	read_logs(w, &why);
	w->report->fault = fault;
	w->report->fault_at = 0;
}

int jr_walk(int dir_fd, const char *cluster_id, jr_record_fn fn, void *arg,
	    struct jr_report *report, struct err *err)
{
	struct walk w = {
		.dir_fd = dir_fd,
		.cluster_id = cluster_id,
		.fn = fn,
		.arg = arg,
		.report = report,
	};
	int ret;

	*report = (struct jr_report){0};
	ret = list_files(&w, err);
	/* First: nobody should cut logs for the sake of a snapshot that can't
	 * be read. */
	if (ret == 0)
		ret = read_snapshot(&w, err);
	for (size_t i = 0; ret == 0 && i < w.log_count; i++) {
		ret = read_log_header(&w, &w.logs[i], err);
		if (ret < 0 && report->fault.text[0])
			read_before_fault(&w, i);
	}
	if (ret == 0) {
		drop_void(&w);
		ret = read_logs(&w, err);
	}
	free(w.logs);
	return ret;
}
