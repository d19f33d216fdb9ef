/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading of a journal's files in order.  Blocks; any thread.  Invariant: fn
 * sees records of rising sequences without a gap, all of them after those of
 * the snapshot.
 */
#include "journal/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

#define LOOK "; see 'mooncakectl journal check'"

struct log {
	struct jr_name name;
	struct jr_header header;
	bool has_header;
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

static int check_header(const struct walk *w, const struct jr_name *name,
			const struct jr_header *h, struct err *err)
{
	if (h->kind != name->kind || h->sequence != name->sequence)
		return err_set(err, -EBADMSG,
			       "%s is another file by its header" LOOK,
			       name->text);
	if (w->cluster_id && strcmp(h->cluster_id, w->cluster_id) != 0)
		return err_set(err, -EINVAL,
			       "%s belongs to cluster '%s', this is '%s': give "
			       "its --cluster_id or another --journal_dir",
			       name->text, h->cluster_id, w->cluster_id);
	return 0;
}

/* A file whose header never reached the disk is short, or zeros. */
static bool is_unwritten(const uint8_t *head, ssize_t n)
{
	for (ssize_t i = 0; n == JR_HEADER_BYTES && i < n; i++)
		if (head[i])
			return false;
	return true;
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
		ret = err_set(err, -errno, "cannot read %s: %s", name->text,
			      strerror(errno));
	else if (is_unwritten(head, n))
		ret = -ENODATA;
	else if (jr_header_decode(head, h, &why) < 0)
		ret = err_set(err, why.code, "%s: %s" LOOK, name->text,
			      why.text);
	else
		ret = check_header(w, name, h, err);
	if (ret == 0)
		return fd;
	close(fd);
	return ret;
}

static int read_log_header(struct walk *w, struct log *log, struct err *err)
{
	int fd = open_file(w, &log->name, &log->header, err);

	log->has_header = fd >= 0;
	if (fd >= 0)
		close(fd);
	return fd == -ENODATA ? 0 : MIN(fd, 0);
}

/* May the log end anywhere?  The last one may, and one of which nothing was on
 * disk yet when the next began. */
static bool is_open_ended(const struct walk *w, const struct log *log)
{
	const struct log *next = log + 1;

	if (next == w->logs + w->log_count)
		return true;
	return next->has_header ? next->header.flags & JR_EARLY
				: is_open_ended(w, next);
}

/* A log's making may have been cut off: then nothing was ever in it. */
static int check_headers(const struct walk *w, struct err *err)
{
	for (size_t i = 0; i < w->log_count; i++)
		if (!w->logs[i].has_header && !is_open_ended(w, &w->logs[i]))
			return err_set(err, -EBADMSG, "%s has no header" LOOK,
				       w->logs[i].name.text);
	return 0;
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
	for (size_t i = 0; ret == 0 && i < w->log_count; i++)
		ret = read_log_header(w, &w->logs[i], err);
	return ret == 0 ? check_headers(w, err) : ret;
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
		return err_set(err, -EBADMSG, "%s has no header" LOOK,
			       w->snapshot.text);
	if (fd < 0)
		return fd;
	w->report->snapshot = h.sequence;
	ret = snap_read(fd, w->snapshot.text, w->fn, w->arg,
			&w->report->snapshot_records, err);
	close(fd);
	return ret;
}

/* --- the logs --- */

/* Logs that go on after a failure are void without their snapshot. */
static void drop_void(struct walk *w)
{
	for (size_t i = 0; i < w->log_count; i++) {
		const struct log *log = &w->logs[i];

		if (!log->has_header || !(log->header.flags & JR_FRESH) ||
		    log->name.sequence <= w->report->snapshot + 1)
			continue;
		w->report->void_from = log->name.sequence;
		w->log_count = i;
	}
}

/* The end of all that is read. */
static int torn(struct walk *w, const struct log *log, uint64_t at,
		uint64_t bytes)
{
	if (log + 1 < w->logs + w->log_count)
		w->report->void_from = log[1].name.sequence;
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
		       "%s: the record at byte %llu %s, and there are whole "
		       "ones behind it; nothing was changed. Restore the "
		       "directory from a copy, or give up what is behind with "
		       "'mooncakectl journal cut'",
		       log->name.text, (unsigned long long)at,
		       why == -ERANGE ? "is out of order" : "is damaged");
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

		if (n < 0 &&
		    (!is_open_ended(w, log) || n == -ERANGE ||
		     jr_has_record_behind(p + at, file.n - at, sequence)))
			return damaged(w, log, at, n, err);
		if (n < 0) {
			torn(w, log, at, file.n - at);
			break;
		}
		if (sequence > w->report->snapshot) {
			w->report->log_records++;
			ret = w->fn(&frame, w->arg, err);
		}
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
	struct stat st;
	void *p = MAP_FAILED;
	int fd, ret;

	fd = openat(w->dir_fd, log->name.text, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd,
			 0);
	ret = -errno;
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED)
		return err_set(err, ret ? ret : -EIO, "cannot read %s: %s",
			       log->name.text, strerror(-ret));
	madvise(p, (size_t)st.st_size, MADV_SEQUENTIAL);
	w->report->logs++;
	ret = read_records(w, log, (struct str){p, (size_t)st.st_size}, err);
	munmap(p, (size_t)st.st_size);
	return ret;
}

/* log is the first one behind it. */
static int gap(const struct walk *w, const struct log *log, struct err *err)
{
	uint64_t from = w->report->next, to = log->name.sequence - 1;

	w->report->fault = log->name;
	return err_set(err, -EBADMSG,
		       "records %llu to %llu are missing: a file of the "
		       "journal is gone. Restore the directory from a copy, or "
		       "give up what is behind with 'mooncakectl journal cut'",
		       (unsigned long long)from, (unsigned long long)to);
}

static int read_logs(struct walk *w, struct err *err)
{
	struct jr_report *report = w->report;

	report->next = report->snapshot + 1;
	for (size_t i = 0; i < w->log_count; i++) {
		const struct log *log = &w->logs[i];
		bool is_last = i + 1 == w->log_count;
		int ret;

		/* All of it is in the snapshot. */
		if (!is_last &&
		    w->logs[i + 1].name.sequence <= report->snapshot + 1)
			continue;
		if (log->name.sequence > report->next)
			return gap(w, log, err);
		if (!log->has_header)
			return torn(w, log, 0, 0);
		ret = read_log(w, log, err);
		if (ret < 0)
			return ret;
		if (is_last || report->next == w->logs[i + 1].name.sequence)
			continue;
		if (!is_open_ended(w, log))
			return gap(w, &w->logs[i + 1], err);
		/* Torn between two records, or in one. */
		report->void_from = w->logs[i + 1].name.sequence;
		break;
	}
	/* The last log may end before the snapshot. */
	report->next = MAX(report->next, report->snapshot + 1);
	return 0;
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
	if (ret == 0)
		ret = read_snapshot(&w, err);
	if (ret == 0) {
		drop_void(&w);
		ret = read_logs(&w, err);
	}
	free(w.logs);
	return ret;
}
