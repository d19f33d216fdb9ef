/* SPDX-License-Identifier: Apache-2.0 */
/* One log's file. */
#include "journal/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/dir.h"

int jr_log_write(int fd, const void *p, size_t n, uint64_t at)
{
	const char *from = p;

	while (n > 0) {
		ssize_t ret = pwrite(fd, from, n, (off_t)at);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret <= 0)
			return ret < 0 ? -errno : -EIO;
		from += ret;
		at += (uint64_t)ret;
		n -= (size_t)ret;
	}
	return 0;
}

int jr_log_mark(int fd, const struct jr_header *h)
{
	uint8_t head[JR_HEADER_BYTES];

	jr_header_encode(h, head);
	return jr_log_write(fd, head, sizeof(head), 0);
}

/* One that nothing was in yet may lie there.  It is emptied: records may get to
 * the disk before the new header does, and the old one may say that the log was
 * ended in order. */
static int open_empty(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct stat st;
	int ret;

	if (fd < 0)
		return -errno;
	ret = fstat(fd, &st) < 0 ? -errno : fd;
	if (ret >= 0 && st.st_size > JR_HEADER_BYTES)
		ret = -EEXIST;
	if (ret >= 0 && st.st_size > 0 && ftruncate(fd, 0) < 0)
		ret = -errno;
	if (ret < 0)
		close(fd);
	return ret;
}

int jr_log_create(int dir_fd, const struct jr_header *h, int *fd)
{
	struct jr_name name;
	int ret;

	jr_name_format(&name, JR_LOG, h->sequence);
	*fd = ret = open_empty(dir_fd, name.text);
	if (ret < 0)
		return ret;
	ret = jr_log_mark(*fd, h);
	if (ret == 0)
		return 0;
	close(*fd);
	unlinkat(dir_fd, name.text, 0);
	return ret;
}
