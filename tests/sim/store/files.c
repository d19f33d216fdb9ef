/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of the master's journal: real files in a temporary folder.  The
 * calls that change them are wrapped (-Wl,--wrap), so that the master can die
 * before, in or after any of them, they can fail, and a power cut takes what
 * was not synced.
 *
 * Invariant: what is on disk for sure is the first synced bytes of each file
 * under the names that it had before ops[]; once is_dying is set nothing
 * changes any more.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "world.h"

#define FDS	 32
#define FILES	 128
#define OPS	 256
#define NAME_LEN 64
#define SECTOR	 512 /* gets to the disk whole */

struct file {
	char name[NAME_LEN]; /* "" = no file */
	off_t synced;
};

enum op_kind {
	OP_CREATE,
	OP_RENAME,
	OP_UNLINK,
};

/* A change of names that is not synced. */
struct op {
	enum op_kind kind;
	struct file *file;
	struct file *over; /* had the name before a rename, or NULL */
	char from[NAME_LEN];
};

static struct {
	char path[256]; /* "" = no world yet */
	int dir_fd;	/* the master's; -1 = none */
	struct {
		int fd;
		struct file *file; /* NULL: the directory */
	} fds[FDS];
	struct file files[FILES];
	struct op ops[OPS];
	unsigned op_count, trash;
	unsigned die_in;
	bool is_silent, is_dying;
	double error_rate;
	uint64_t unsynced_ns; /* when a sync first failed; 0 = none did */
} dir = {.dir_fd = -1};

int __real_open64(const char *path, int flags, ...);
int __real_openat64(int at, const char *name, int flags, ...);
ssize_t __real_pwrite64(int fd, const void *p, size_t n, off_t off);
ssize_t __real_write(int fd, const void *p, size_t n);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_ftruncate64(int fd, off_t n);
int __real_renameat(int at, const char *name, int to_at, const char *to);
int __real_unlinkat(int at, const char *name, int flags);
int __real_close(int fd);

int __wrap_open64(const char *path, int flags, ...);
int __wrap_openat64(int at, const char *name, int flags, ...);
ssize_t __wrap_pwrite64(int fd, const void *p, size_t n, off_t off);
ssize_t __wrap_write(int fd, const void *p, size_t n);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_ftruncate64(int fd, off_t n);
int __wrap_renameat(int at, const char *name, int to_at, const char *to);
int __wrap_unlinkat(int at, const char *name, int flags);
int __wrap_close(int fd);

/* --- what is where --- */

static int slot_of(int fd)
{
	for (int i = 0; i < FDS; i++)
		if (dir.fds[i].fd == fd)
			return i;
	return -1;
}

static bool is_ours(int fd)
{
	return fd > 0 && slot_of(fd) >= 0;
}

static struct file *file_of(int fd)
{
	return dir.fds[slot_of(fd)].file;
}

static void track(int fd, struct file *file)
{
	int slot = slot_of(0);

	CHECK(slot >= 0);
	dir.fds[slot].fd = fd;
	dir.fds[slot].file = file;
}

/* name "": an unused one. */
static struct file *file_named(const char *name)
{
	for (size_t i = 0; i < FILES; i++)
		if (strcmp(dir.files[i].name, name) == 0)
			return &dir.files[i];
	return NULL;
}

static void file_rename(struct file *file, const char *name)
{
	CHECK(__real_renameat(dir.dir_fd, file->name, dir.dir_fd, name) == 0);
	snprintf(file->name, NAME_LEN, "%s", name);
}

/* Nobody's, but not gone. */
static void file_trash(struct file *file)
{
	char name[NAME_LEN];

	snprintf(name, sizeof(name), "trash-%u", dir.trash++);
	file_rename(file, name);
}

static void file_remove(struct file *file)
{
	__real_unlinkat(dir.dir_fd, file->name, 0);
	*file = (struct file){0};
}

/* The first n changes of names are on disk. */
static void ops_done(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (dir.ops[i].kind == OP_UNLINK)
			file_remove(dir.ops[i].file);
		if (dir.ops[i].over)
			file_remove(dir.ops[i].over);
	}
	memmove(dir.ops, dir.ops + n, (dir.op_count - n) * sizeof(dir.ops[0]));
	dir.op_count -= n;
}

static void ops_undo(void)
{
	while (dir.op_count > 0) {
		const struct op *op = &dir.ops[--dir.op_count];
		char name[NAME_LEN];

		snprintf(name, sizeof(name), "%s", op->file->name);
		if (op->kind == OP_CREATE)
			file_remove(op->file);
		else
			file_rename(op->file, op->from);
		if (op->over)
			file_rename(op->over, name);
	}
}

static void add_op(enum op_kind kind, struct file *file, struct file *over,
		   const char *from)
{
	struct op *op = &dir.ops[dir.op_count++];

	CHECK(dir.op_count < OPS);
	op->kind = kind;
	op->file = file;
	op->over = over;
	snprintf(op->from, NAME_LEN, "%s", from);
	if (w.plan.keep == KEEP_WRITTEN)
		ops_done(dir.op_count);
}

/* --- faults --- */

/* The process dies at this call. */
static bool dies(void)
{
	if (dir.is_dying || !dir.die_in || --dir.die_in)
		return false;
	dir.is_dying = true;
	note("the master dies at a call of its journal");
	io_sim_doom(w.sim, NODE_MASTER, dir.is_silent);
	return true;
}

/* The call has no effect; else it has. */
static bool is_void(void)
{
	return dir.is_dying || (dies() && chance(0.5));
}

/* Any error is as good as another. */
static int refuse(void)
{
	return __real_close(-1);
}

static bool fails(void)
{
	if (!chance(dir.error_rate))
		return false;
	note("a call of the journal fails");
	return true;
}

/* --- the calls --- */

int __wrap_open64(const char *path, int flags, ...)
{
	va_list ap;
	int fd;

	va_start(ap, flags);
	fd = __real_open64(path, flags,
			   flags & O_CREAT ? va_arg(ap, unsigned) : 0);
	va_end(ap);
	if (fd >= 0 && dir.path[0] && strcmp(path, dir.path) == 0) {
		track(fd, NULL);
		dir.dir_fd = fd;
	}
	return fd;
}

static int file_open(const char *name, int flags, unsigned mode)
{
	struct file *file = file_named(name);
	int fd;

	if ((flags & O_CREAT) && is_void())
		return refuse();
	fd = __real_openat64(dir.dir_fd, name, flags, mode);
	if (fd < 0)
		return fd;
	if (!file) {
		file = file_named("");
		CHECK(file);
		snprintf(file->name, NAME_LEN, "%s", name);
		file->synced = 0;
		add_op(OP_CREATE, file, NULL, "");
	}
	track(fd, file);
	if (flags & O_TRUNC)
		file->synced = 0;
	if ((flags & O_CREAT) && strncmp(name, "journal", 7) == 0 &&
	    w.plan.has_turns && master_core() && !w.is_quiet && chance(0.6))
		power_fails_in(1 + (unsigned)below(4));
	return fd;
}

int __wrap_openat64(int at, const char *name, int flags, ...)
{
	unsigned mode;
	va_list ap;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, unsigned) : 0;
	va_end(ap);
	if (is_ours(at) && strcmp(name, ".") != 0)
		return file_open(name, flags, mode);
	return __real_openat64(at, name, flags, mode);
}

/* How much of it gets there.  What is written over within a sector is so as a
 * whole. */
static size_t part_of(int fd, size_t n, off_t off)
{
	struct stat st;

	CHECK(fstat(fd, &st) == 0);
	if (off + (off_t)n <= st.st_size &&
	    off / SECTOR == (off + (off_t)n - 1) / SECTOR)
		return chance(0.5) ? n : 0;
	return below(n + 1);
}

static ssize_t file_write(int fd, const void *p, size_t n, off_t off)
{
	if (dir.is_dying)
		return (ssize_t)n;
	if (dies()) {
		ssize_t part = (ssize_t)part_of(fd, n, off);

		return __real_pwrite64(fd, p, (size_t)part, off) == part
			       ? (ssize_t)n
			       : -1;
	}
	if (fails()) {
		ssize_t part = __real_pwrite64(fd, p, part_of(fd, n, off), off);

		return part > 0 && chance(0.5) ? part : refuse();
	}
	return __real_pwrite64(fd, p, n, off);
}

ssize_t __wrap_pwrite64(int fd, const void *p, size_t n, off_t off)
{
	return is_ours(fd) ? file_write(fd, p, n, off)
			   : __real_pwrite64(fd, p, n, off);
}

ssize_t __wrap_write(int fd, const void *p, size_t n)
{
	ssize_t done;
	off_t at;

	if (!is_ours(fd))
		return __real_write(fd, p, n);
	at = lseek(fd, 0, SEEK_CUR);
	done = file_write(fd, p, n, at);
	if (done > 0)
		lseek(fd, at + done, SEEK_SET);
	return done;
}

static int file_sync(int fd)
{
	struct stat st;

	/* The world goes on. */
	if (w.plan.has_turns && chance(0.5))
		io_sim_sleep(below(SYNC_SLOW_NS));
	if (is_void())
		return 0;
	if (fails()) {
		if (!dir.unsynced_ns)
			dir.unsynced_ns = now_ns();
		return refuse();
	}
	if (fd == dir.dir_fd) {
		ops_done(dir.op_count);
		return 0;
	}
	CHECK(fstat(fd, &st) == 0);
	file_of(fd)->synced = st.st_size;
	return 0;
}

int __wrap_fsync(int fd)
{
	return is_ours(fd) ? file_sync(fd) : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
	return is_ours(fd) ? file_sync(fd) : __real_fdatasync(fd);
}

int __wrap_ftruncate64(int fd, off_t n)
{
	struct file *file;

	if (!is_ours(fd))
		return __real_ftruncate64(fd, n);
	if (is_void())
		return 0;
	file = file_of(fd);
	file->synced = MIN(file->synced, n);
	return __real_ftruncate64(fd, n);
}

int __wrap_renameat(int at, const char *name, int to_at, const char *to)
{
	struct file *file = file_named(name), *over = file_named(to);

	if (!is_ours(at))
		return __real_renameat(at, name, to_at, to);
	if (is_void())
		return 0;
	if (fails())
		return refuse();
	CHECK(file);
	if (over)
		file_trash(over);
	file_rename(file, to);
	add_op(OP_RENAME, file, over, name);
	return 0;
}

int __wrap_unlinkat(int at, const char *name, int flags)
{
	struct file *file = file_named(name);

	if (!is_ours(at))
		return __real_unlinkat(at, name, flags);
	if (is_void())
		return 0;
	if (!file)
		return __real_unlinkat(at, name, flags);
	file_trash(file);
	add_op(OP_UNLINK, file, NULL, name);
	return 0;
}

int __wrap_close(int fd)
{
	if (is_ours(fd))
		dir.fds[slot_of(fd)].fd = 0;
	if (fd == dir.dir_fd)
		dir.dir_fd = -1;
	return __real_close(fd);
}

/* --- public --- */

void files_begin(const char *path)
{
	CHECK(snprintf(dir.path, sizeof(dir.path), "%s", path) <
	      (int)sizeof(dir.path));
}

const char *files_path(void)
{
	return dir.path;
}

void files_die_in(unsigned calls, bool is_silent)
{
	dir.die_in = calls;
	dir.is_silent = is_silent;
}

void files_fail(double rate)
{
	dir.error_rate = rate;
}

uint64_t files_unsynced_ns(void)
{
	return dir.unsynced_ns;
}

bool files_are_dying(void)
{
	return dir.is_dying;
}

static void copy_file(const char *name, int to_fd)
{
	int fd = __real_openat64(dir.dir_fd, name, O_RDONLY | O_CLOEXEC);
	int to = __real_openat64(to_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC,
				 0600);
	char buf[4096];
	ssize_t n;

	CHECK(fd >= 0 && to >= 0);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		CHECK(__real_write(to, buf, (size_t)n) == n);
	CHECK(n == 0);
	__real_close(fd);
	__real_close(to);
}

void files_copy(const char *to)
{
	int fd;

	CHECK(dir.dir_fd >= 0 && mkdir(to, 0700) == 0);
	fd = __real_open64(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(fd >= 0);
	for (size_t i = 0; i < FILES; i++)
		if (dir.files[i].name[0] &&
		    strncmp(dir.files[i].name, "trash", 5) != 0)
			copy_file(dir.files[i].name, fd);
	__real_close(fd);
}

/* The disk takes sectors as it likes: some behind the zeros came before. */
static void keep_some(int fd, const uint8_t *tail, off_t from, off_t to)
{
	struct rng rng;

	/* Not the world's: what it draws after this is the same either way. */
	rng_seed(&rng, w.plan.seed ^ (uint64_t)from ^ (uint64_t)to << 32);
	for (off_t next, at = from; at < to; at = next) {
		next = MIN(at / SECTOR * SECTOR + SECTOR, to);
		if (rng_below(&rng, 4) == 0)
			CHECK(__real_pwrite64(fd, tail + (at - from),
					      (size_t)(next - at),
					      at) == next - at);
	}
}

/* As far as it was written, with holes of zeros. */
static void leave_holes(int fd, off_t from, off_t to)
{
	uint8_t *tail = malloc((size_t)(to - from));

	CHECK(tail && pread(fd, tail, (size_t)(to - from), from) == to - from);
	CHECK(__real_ftruncate64(fd, from) == 0);
	CHECK(__real_ftruncate64(fd, to) == 0);
	keep_some(fd, tail, from, to);
	free(tail);
}

/* Of what was written since the last sync a part is there, or zeros. */
static void tear(struct file *file)
{
	int fd = __real_openat64(dir.dir_fd, file->name, O_RDWR | O_CLOEXEC);
	struct stat st;
	off_t cut;

	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	cut = file->synced +
	      (off_t)below((uint64_t)(st.st_size - file->synced) + 1);
	if (cut < st.st_size) {
		bool has_zeros = chance(0.3);

		if (has_zeros)
			cut = MAX(cut / SECTOR * SECTOR, file->synced);
		note("%s is cut from %lld to %lld%s", file->name,
		     (long long)st.st_size, (long long)cut,
		     has_zeros ? ", then holes" : "");
		if (has_zeros)
			leave_holes(fd, cut, st.st_size);
		else
			CHECK(__real_ftruncate64(fd, cut) == 0);
		if (!has_zeros)
			st.st_size = cut;
	}
	file->synced = st.st_size;
	__real_close(fd);
}

void files_crash(bool is_power_cut)
{
	if (dir.dir_fd >= 0 && is_power_cut) {
		ops_done((unsigned)below(dir.op_count + 1));
		ops_undo();
		for (size_t i = 0; i < FILES; i++)
			if (dir.files[i].name[0])
				tear(&dir.files[i]);
	}
	for (size_t i = 0; i < FDS; i++)
		if (dir.fds[i].fd)
			__wrap_close(dir.fds[i].fd);
	dir.is_dying = false;
	dir.die_in = 0;
	dir.error_rate = 0;
	dir.unsynced_ns = 0;
}
