/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps what is cut off a journal.  Invariant: jr_keep() returns 0 when all of
 * it is on disk; else there is no file of it.
 */
#include "journal/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"
#include "journal/logfile.h"

#define PREFIX	   "cut-"
#define COPY_BYTES ((size_t)256 << 10)

/* 0: it is none of these files. */
static unsigned number_of(const char *name)
{
	size_t n = strlen(PREFIX);

	return strncmp(name, PREFIX, n) == 0
		       ? (unsigned)strtoul(name + n, NULL, 10)
		       : 0;
}

static int see_last(const char *name, void *arg)
{
	unsigned *last = arg;

	*last = MAX(*last, number_of(name));
	return 0;
}

static int drop_former(const char *name, void *arg)
{
	const struct jr_keep *keep = arg;
	unsigned no = number_of(name);

	if (no && no + JR_CUTS_KEPT <= keep->no)
		unlinkat(keep->dir_fd, name, 0);
	return 0;
}

static int begin(struct jr_keep *keep)
{
	unsigned last = 0;
	int ret = jr_dir_each(keep->dir_fd, see_last, &last);

	if (ret < 0)
		return ret;
	keep->no = last + 1;
	jr_dir_each(keep->dir_fd, drop_former, keep);
	return 0;
}

static int copy_from(int from, uint64_t at, int to)
{
	uint8_t *buf = malloc(COPY_BYTES);
	uint64_t done = 0;
	int ret = buf ? 0 : -ENOMEM;

	while (ret == 0) {
		ssize_t n = pread(from, buf, COPY_BYTES, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			ret = n < 0 ? -errno : 0;
			break;
		}
		ret = jr_log_write(to, buf, (size_t)n, done);
		done += (uint64_t)n;
	}
	free(buf);
	return ret == 0 && fsync(to) < 0 ? -errno : ret;
}

static int copy_tail(const struct jr_keep *keep, const char *log, uint64_t at)
{
	int from = openat(keep->dir_fd, log, O_RDONLY | O_CLOEXEC), to, ret;

	if (from < 0)
		return -errno;
	to = ret = openat(keep->dir_fd, keep->name,
			  O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (to < 0) {
		ret = -errno;
	} else {
		ret = copy_from(from, at, to);
		close(to);
		if (ret < 0)
			unlinkat(keep->dir_fd, keep->name, 0);
	}
	close(from);
	return ret;
}

int jr_keep(struct jr_keep *keep, const struct jr_name *log, uint64_t at)
{
	int ret = keep->no ? 0 : begin(keep);

	if (ret < 0)
		return ret;
	snprintf(keep->name, sizeof(keep->name), PREFIX "%u-%s-%llu", keep->no,
		 log->text, (unsigned long long)at);
	if (at)
		return copy_tail(keep, log->text, at);
	return renameat(keep->dir_fd, log->text, keep->dir_fd, keep->name) < 0
		       ? -errno
		       : 0;
}
