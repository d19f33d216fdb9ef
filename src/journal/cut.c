/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done to the files of a journal before somebody goes on from them: the
 * torn tail is cut, void logs go, the rest gets to the disk.  Blocks; by
 * whoever holds the directory's lock.  Invariant: nothing that a reader counts
 * is given up, but by files_cut(), which is asked to; what goes is kept aside
 * (kept.h).
 */
#include "journal/cut.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "journal/dir.h"
#include "journal/files.h"
#include "journal/kept.h"

static int undo_torn(int dir_fd, const struct jr_report *report)
{
	int fd, ret = 0;

	fd = openat(dir_fd, report->torn.text, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)report->torn_at) < 0 || fsync(fd) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* What is void now would count behind a later log. */
static int drop_logs_from(int dir_fd, uint64_t sequence, struct jr_keep *keep,
			  bool has_to_keep)
{
	struct jr_list list;
	struct err err = {0};
	int ret = jr_dir_list(dir_fd, &list, &err);

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < list.count; i++) {
		const struct jr_name *log = &list.names[i];
		int kept;

		if (log->kind != JR_LOG || log->sequence < sequence)
			continue;
		kept = jr_keep(keep, log, 0);
		if (kept < 0 && has_to_keep)
			ret = kept;
		else if (kept < 0 && unlinkat(dir_fd, log->text, 0) < 0)
			ret = -errno;
	}
	jr_list_fini(&list);
	return ret;
}

static bool is_bare(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	uint8_t head[JR_HEADER_BYTES];
	ssize_t n = -1;

	if (fd >= 0) {
		n = read(fd, head, sizeof(head));
		close(fd);
	}
	return n >= 0 && jr_is_bare(head, (size_t)n);
}

static void drop_bare_logs(int dir_fd, const char *path)
{
	struct jr_list list;
	struct err err = {0};

	if (jr_dir_list(dir_fd, &list, &err) < 0)
		return;
	for (size_t i = 0; i < list.count; i++) {
		const char *name = list.names[i].text;

		if (list.names[i].kind != JR_LOG || !is_bare(dir_fd, name))
			continue;
		log_warn("a log without a header was removed",
			 "file=%s/%s (nothing in it counts)", path, name);
		unlinkat(dir_fd, name, 0);
	}
	jr_list_fini(&list);
}

/* A disk that has no room for it keeps no master from its start. */
static int cut_torn(struct jr_keep *keep, const char *path,
		    const struct jr_report *report)
{
	int kept = report->torn_bytes
			   ? jr_keep(keep, &report->torn, report->torn_at)
			   : 0;
	int ret = undo_torn(keep->dir_fd, report);

	if (ret == 0 && report->torn_bytes)
		log_warn("the journal's torn tail was cut",
			 "file=%s/%s at=%llu bytes=%llu kept=%s%s", path,
			 report->torn.text, (unsigned long long)report->torn_at,
			 (unsigned long long)report->torn_bytes,
			 kept < 0 ? "no, " : keep->name,
			 kept < 0 ? strerror(-kept) : "");
	return ret;
}

int jr_tidy(int dir_fd, const char *path, const struct jr_report *report,
	    struct err *err)
{
	struct jr_keep keep = {.dir_fd = dir_fd};
	int ret = report->torn.text[0] ? cut_torn(&keep, path, report) : 0;

	if (ret < 0)
		return err_set(err, ret,
			       "cannot cut the torn tail of %s/%s: %s", path,
			       report->torn.text, strerror(-ret));
	if (report->void_from)
		ret = drop_logs_from(dir_fd, report->void_from, &keep, false);
	if (ret < 0)
		return err_set(err, ret,
			       "cannot delete the void logs in %s: %s", path,
			       strerror(-ret));
	drop_bare_logs(dir_fd, path);
	return 0;
}

int jr_sync_logs(int dir_fd)
{
	struct jr_list list;
	struct err err = {0};
	int fd, ret = jr_dir_list(dir_fd, &list, &err);

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < list.count && ret == 0; i++) {
		if (list.names[i].kind != JR_LOG)
			continue;
		fd = openat(dir_fd, list.names[i].text, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fdatasync(fd) < 0)
			ret = -errno;
		if (fd >= 0)
			close(fd);
	}
	jr_list_fini(&list);
	return ret;
}

/* Whoever asked for it can make room, so nothing goes that can't be kept. */
static int cut_at(struct jr_keep *keep, struct jr_report *report,
		  struct err *err)
{
	int ret = jr_keep(keep, &report->fault, report->fault_at);

	report->torn = report->fault;
	report->torn_at = report->fault_at;
	if (ret == 0)
		ret = drop_logs_from(keep->dir_fd, report->fault.sequence + 1,
				     keep, true);
	if (ret == 0 && report->fault_at)
		ret = undo_torn(keep->dir_fd, report);
	if (ret == 0 && fsync(keep->dir_fd) < 0)
		ret = -errno;
	return ret < 0 ? err_set(err, ret, "cannot cut %s: %s",
				 report->fault.text, strerror(-ret))
		       : 0;
}

/* Headers are read before records, so the fault that is found first may not be
 * the first one.  Each cut leaves less. */
static int cut(int dir_fd, jr_read_fn read, struct jr_report *report,
	       struct err *err)
{
	struct jr_keep keep = {.dir_fd = dir_fd};
	struct jr_name fault = {0};
	uint64_t fault_at = 0;
	struct err why;
	int ret;

	for (;;) {
		why = (struct err){0};
		ret = read(dir_fd, report, &why);
		if (ret == 0 || !report->fault.text[0])
			break;
		fault = report->fault;
		fault_at = report->fault_at;
		ret = cut_at(&keep, report, err);
		if (ret < 0)
			return ret;
	}
	if (ret < 0)
		return err_set(err, ret, "%s", why.text);
	report->fault = fault;
	report->fault_at = fault_at;
	report->cut_no = keep.no;
	return fault.text[0] != 0;
}

int files_cut(const char *path, jr_read_fn read, struct jr_report *report,
	      struct err *err)
{
	int lock_fd, dir_fd = jr_dir_open(path, false, err);
	int ret = dir_fd;

	if (dir_fd < 0)
		return ret;
	lock_fd = ret = jr_dir_lock(dir_fd, path, err);
	if (lock_fd >= 0) {
		ret = cut(dir_fd, read, report, err);
		close(lock_fd);
	}
	close(dir_fd);
	return ret;
}
