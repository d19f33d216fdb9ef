/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, listing and lock of a journal's directory.  Any thread; blocks.
 * Invariant: a file is known by its name alone; what else lies there stays
 * untouched, but for unfinished snapshots of our own.
 */
#include "journal/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

#define DIGITS 16

static const struct {
	const char *prefix, *suffix;
} forms[] = {
	[JR_LOG] = {"journal-", ".log"},
	[JR_SNAPSHOT] = {"snapshot-", ".zst"},
};

void jr_name_format(struct jr_name *name, enum jr_file kind, uint64_t sequence)
{
	name->kind = kind;
	name->sequence = sequence;
	snprintf(name->text, sizeof(name->text), "%s%016llx%s",
		 forms[kind].prefix, (unsigned long long)sequence,
		 forms[kind].suffix);
}

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool jr_name_parse(const char *text, struct jr_name *out)
{
	for (enum jr_file kind = JR_LOG; kind <= JR_SNAPSHOT; kind++) {
		size_t prefix = strlen(forms[kind].prefix);
		uint64_t sequence = 0;
		bool is_hex = true;

		if (strncmp(text, forms[kind].prefix, prefix) != 0 ||
		    strlen(text) != prefix + DIGITS + 4 ||
		    strcmp(text + prefix + DIGITS, forms[kind].suffix) != 0)
			continue;
		for (size_t i = 0; i < DIGITS; i++) {
			int digit = hex_of(text[prefix + i]);

			is_hex = is_hex && digit >= 0;
			sequence = sequence << 4 | (uint64_t)(digit & 15);
		}
		if (is_hex)
			jr_name_format(out, kind, sequence);
		return is_hex;
	}
	return false;
}

static int compare(const void *a, const void *b)
{
	const struct jr_name *left = a, *right = b;

	if (left->kind != right->kind)
		return left->kind < right->kind ? -1 : 1;
	return (left->sequence > right->sequence) -
	       (left->sequence < right->sequence);
}

static int add(struct jr_list *list, size_t *cap, const struct jr_name *name)
{
	if (list->count == *cap) {
		size_t more = *cap ? *cap * 2 : 16;
		struct jr_name *names =
			realloc(list->names, more * sizeof(*names));

		if (!names)
			return -ENOMEM;
		list->names = names;
		*cap = more;
	}
	list->names[list->count++] = *name;
	return 0;
}

/* A stream of its own: the directory's descriptor stays as it is. */
static DIR *open_stream(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);

	if (!stream && fd >= 0)
		close(fd);
	return stream;
}

int jr_dir_list(int dir_fd, struct jr_list *out, struct err *err)
{
	DIR *stream = open_stream(dir_fd);
	struct dirent *entry;
	struct jr_name name;
	size_t cap = 0;
	int ret = 0;

	*out = (struct jr_list){0};
	if (!stream)
		return err_set(err, -errno, "cannot list the journal: %s",
			       strerror(errno));
	while (ret == 0 && (entry = readdir(stream)))
		if (jr_name_parse(entry->d_name, &name))
			ret = add(out, &cap, &name);
	closedir(stream);
	if (ret < 0) {
		jr_list_fini(out);
		return err_set(err, ret, "out of memory");
	}
	if (out->count)
		qsort(out->names, out->count, sizeof(*out->names), compare);
	return 0;
}

void jr_list_fini(struct jr_list *list)
{
	free(list->names);
	*list = (struct jr_list){0};
}

int jr_dir_open(const char *path, bool can_make, struct err *err)
{
	int fd;

	if (can_make && mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "cannot make the directory %s: %s",
			       path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "cannot open the directory %s: %s",
			       path, strerror(errno));
	return fd;
}

static int lock_busy(int fd, const char *path, struct err *err)
{
	char pid[24] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[n > 0 ? n : 0] = '\0';
	pid[strcspn(pid, "\n")] = '\0';
	return err_set(err, -EBUSY,
		       "another master (process %s) has the journal %s; two "
		       "must not share one",
		       pid[0] ? pid : "unknown", path);
}

int jr_dir_lock(int dir_fd, const char *path, struct err *err)
{
	int fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char pid[24];
	int ret;

	if (fd < 0)
		return err_set(err, -errno, "cannot open %s/lock: %s", path,
			       strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		ret = errno == EWOULDBLOCK
			      ? lock_busy(fd, path, err)
			      : err_set(err, -errno, "cannot lock %s: %s", path,
					strerror(errno));
		close(fd);
		return ret;
	}
	snprintf(pid, sizeof(pid), "%d\n", getpid());
	/* For the sentence above only; a full disk keeps nobody out. */
	if (ftruncate(fd, 0) == 0 &&
	    pwrite(fd, pid, strlen(pid), 0) != (ssize_t)strlen(pid))
		ret = ftruncate(fd, 0);
	return fd;
}

void jr_dir_sweep(int dir_fd)
{
	DIR *stream = open_stream(dir_fd);
	struct dirent *entry;

	if (!stream)
		return;
	while ((entry = readdir(stream))) {
		size_t n = strlen(entry->d_name);

		if (strncmp(entry->d_name, forms[JR_SNAPSHOT].prefix,
			    strlen(forms[JR_SNAPSHOT].prefix)) == 0 &&
		    n > 4 && strcmp(entry->d_name + n - 4, ".tmp") == 0)
			unlinkat(dir_fd, entry->d_name, 0);
	}
	closedir(stream);
}
