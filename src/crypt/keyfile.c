/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of secrets.  Any thread that may wait for a disk.  Invariant: all
 * checks are made on the descriptor that is read, so the file can't be
 * exchanged in between.
 */
#include "crypt/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypt/key.h"

static int check(const char *path, int fd, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st))
		return err_set(err, -errno, "key file '%.120s': %s", path,
			       strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL,
			       "key file '%.120s' is not a regular file", path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return err_set(err, -EPERM,
			       "key file '%.120s' belongs to user %u: it must "
			       "belong to the user of this program or to root",
			       path, (unsigned)st.st_uid);
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return err_set(err, -EPERM,
			       "key file '%.120s' has mode %04o, so others may "
			       "reach it: chmod 600 it",
			       path, (unsigned)st.st_mode & 07777);
	if (st.st_size >= KEYFILE_MAX)
		return err_set(err, -EFBIG,
			       "key file '%.120s' has %lld bytes: a file with "
			       "one key is smaller than %d",
			       path, (long long)st.st_size, KEYFILE_MAX);
	return 0;
}

static int read_all(int fd, char buf[KEYFILE_MAX], size_t *len)
{
	ssize_t n;

	*len = 0;
	while (*len < KEYFILE_MAX) {
		n = read(fd, buf + *len, KEYFILE_MAX - *len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		*len += (size_t)n;
	}
	return -EFBIG; /* it has grown since it was checked */
}

int keyfile_read(const char *path, char buf[KEYFILE_MAX], struct str *out,
		 struct err *err)
{
	/* Not blocking: a FIFO must not hold us up before it is refused. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t len;
	int ret;

	if (fd < 0)
		return err_set(err, -errno,
			       "key file '%.120s' can't be opened: %s", path,
			       strerror(errno));
	ret = check(path, fd, err);
	if (ret == 0) {
		ret = read_all(fd, buf, &len);
		if (ret)
			err_set(err, ret, "key file '%.120s': %s", path,
				strerror(-ret));
	}
	close(fd);
	if (ret) {
		secret_clear(buf, KEYFILE_MAX);
		return ret;
	}
	*out = str_trim((struct str){buf, len});
	if (!out->n)
		return err_set(err, -EINVAL, "key file '%.120s' is empty",
			       path);
	return 0;
}

static int write_all(int fd, struct str text)
{
	while (text.n) {
		ssize_t n = write(fd, text.p, text.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text.p += n;
		text.n -= (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

int keyfile_create(const char *path, struct str text, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int ret;

	if (fd < 0 && errno == EEXIST)
		return err_set(err, -EEXIST,
			       "'%.120s' exists already: a key is never "
			       "overwritten, give another name or remove it",
			       path);
	if (fd < 0)
		return err_set(err, -errno, "'%.120s' can't be created: %s",
			       path, strerror(errno));
	ret = write_all(fd, text);
	close(fd);
	if (ret) {
		unlink(path);
		err_set(err, ret, "'%.120s' can't be written: %s", path,
			strerror(-ret));
	}
	return ret;
}
