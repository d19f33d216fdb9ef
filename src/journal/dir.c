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

/* Without readdir(), which says that the directory cannot be read as it says
 * that there is no more. */
int jr_dir_each(int dir_fd, int (*fn)(const char *name, void *arg), void *arg)
{
	_Alignas(struct dirent64) char buf[4096];
	/* Of its own: the directory's descriptor stays as it is. */
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ssize_t n;
	int ret = 0;

	if (fd < 0)
		return -errno;
	while (ret >= 0 && (n = getdents64(fd, buf, sizeof(buf))) != 0) {
		const struct dirent64 *entry;

		if (n < 0)
			ret = -errno;
		for (ssize_t at = 0; ret >= 0 && at < n;
		     at += entry->d_reclen) {
			entry = (const struct dirent64 *)(buf + at);
			ret = fn(entry->d_name, arg);
		}
	}
	close(fd);
	return ret;
}

struct listing {
	struct jr_list *list;
	size_t cap;
};

static int add_name(const char *text, void *arg)
{
	struct listing *l = arg;
	struct jr_name name;

	return jr_name_parse(text, &name) ? add(l->list, &l->cap, &name) : 0;
}

int jr_dir_list(int dir_fd, struct jr_list *out, struct err *err)
{
	struct listing listing = {.list = out};
	int ret;

	*out = (struct jr_list){0};
	ret = jr_dir_each(dir_fd, add_name, &listing);
	if (ret < 0) {
		jr_list_fini(out);
		return err_set(err, ret, "cannot list the journal: %s",
			       strerror(-ret));
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

static int sweep_name(const char *name, void *arg)
{
	const int *dir_fd = arg;
	size_t n = strlen(name);

	if (strncmp(name, forms[JR_SNAPSHOT].prefix,
		    strlen(forms[JR_SNAPSHOT].prefix)) == 0 &&
	    n > 4 && strcmp(name + n - 4, ".tmp") == 0)
		unlinkat(*dir_fd, name, 0);
	return 0;
}

void jr_dir_sweep(int dir_fd)
{
	jr_dir_each(dir_fd, sweep_name, &dir_fd);
}

void jr_dir_prune(int dir_fd, uint64_t sequence)
{
	struct jr_list list;
	struct err err = {0};

	if (jr_dir_list(dir_fd, &list, &err) < 0)
		return;
	for (size_t i = 0; i < list.count; i++) {
		const struct jr_name *name = &list.names[i];

		if (name->kind == JR_LOG ? name->sequence <= sequence
					 : name->sequence < sequence)
			unlinkat(dir_fd, name->text, 0);
	}
	jr_list_fini(&list);
}
