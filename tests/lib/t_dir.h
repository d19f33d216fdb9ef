/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of a test's own, removed with what is in it. */
#ifndef T_DIR_H
#define T_DIR_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

struct t_dir {
	char path[64];
	int fd;
};

static inline void t_dir_open(struct t_dir *d)
{
	snprintf(d->path, sizeof(d->path), "%s/mooncake-test-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	ASSERT(mkdtemp(d->path));
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT(d->fd >= 0);
}

static inline void t_dir_empty(struct t_dir *d)
{
	DIR *stream = opendir(d->path);
	struct dirent *entry;

	ASSERT(stream);
	while ((entry = readdir(stream)))
		if (entry->d_name[0] != '.')
			unlinkat(d->fd, entry->d_name, 0);
	closedir(stream);
}

static inline void t_dir_close(struct t_dir *d)
{
	t_dir_empty(d);
	close(d->fd);
	ASSERT(rmdir(d->path) == 0);
}

static inline void t_dir_write(struct t_dir *d, const char *name, const void *p,
			       size_t n)
{
	int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ASSERT(fd >= 0 && write(fd, p, n) == (ssize_t)n);
	close(fd);
}

/* malloc'ed. */
static inline uint8_t *t_dir_read(struct t_dir *d, const char *name, size_t *n)
{
	int fd = openat(d->fd, name, O_RDONLY);
	struct stat st;
	uint8_t *p;

	ASSERT(fd >= 0 && fstat(fd, &st) == 0);
	*n = (size_t)st.st_size;
	p = malloc(*n + 1);
	ASSERT(p && read(fd, p, *n) == (ssize_t)*n);
	close(fd);
	return p;
}

#endif
