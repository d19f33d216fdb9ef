/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing and reading of snapshot files.  Blocks; one thread at a time.
 * Invariant: a file under a snapshot's name is whole and on disk, because it
 * gets that name last.
 */
#include "journal/snap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "journal/record.h"

#define LEVEL	  1
#define CHUNK	  ((size_t)256 << 10)
#define INPUT_MAX ((size_t)JR_BODY_MAX + JR_FRAME_BYTES)

struct snap_writer {
	int dir_fd, fd;
	struct jr_name name;
	char tmp[JR_NAME_LEN + 4];
	ZSTD_CCtx *zstd;
	uint64_t bytes;
	uint8_t out[CHUNK];
};

static void writer_free(struct snap_writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	ZSTD_freeCCtx(w->zstd);
	free(w);
}

void snap_abort(struct snap_writer *w)
{
	if (!w)
		return;
	unlinkat(w->dir_fd, w->tmp, 0);
	writer_free(w);
}

static int write_all(struct snap_writer *w, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t ret = write(w->fd, p, n);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret <= 0)
			return ret < 0 ? -errno : -EIO;
		p += ret;
		n -= (size_t)ret;
		w->bytes += (uint64_t)ret;
	}
	return 0;
}

int snap_create(int dir_fd, const struct jr_header *header,
		struct snap_writer **out)
{
	struct snap_writer *w = calloc(1, sizeof(*w));
	uint8_t head[JR_HEADER_BYTES];
	int ret = -ENOMEM;

	if (!w)
		return -ENOMEM;
	w->dir_fd = dir_fd;
	jr_name_format(&w->name, JR_SNAPSHOT, header->sequence);
	snprintf(w->tmp, sizeof(w->tmp), "%s.tmp", w->name.text);
	w->fd = openat(dir_fd, w->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		       0600);
	if (w->fd < 0) {
		ret = -errno;
		goto fail;
	}
	w->zstd = ZSTD_createCCtx();
	if (!w->zstd)
		goto fail;
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
	jr_header_encode(header, head);
	ret = write_all(w, head, sizeof(head));
	if (ret < 0)
		goto fail;
	*out = w;
	return 0;
fail:
	snap_abort(w);
	return ret;
}

static int compress(struct snap_writer *w, ZSTD_inBuffer *in,
		    ZSTD_EndDirective how)
{
	size_t left;

	do {
		ZSTD_outBuffer out = {w->out, sizeof(w->out), 0};
		int ret;

		left = ZSTD_compressStream2(w->zstd, &out, in, how);
		if (ZSTD_isError(left))
			return -EIO;
		ret = write_all(w, w->out, out.pos);
		if (ret < 0)
			return ret;
	} while (in->pos < in->size || (how == ZSTD_e_end && left > 0));
	return 0;
}

int snap_add(struct snap_writer *w, const void *p, size_t n)
{
	ZSTD_inBuffer in = {p, n, 0};

	return compress(w, &in, ZSTD_e_continue);
}

int snap_finish(struct snap_writer *w, uint64_t *bytes)
{
	ZSTD_inBuffer none = {NULL, 0, 0};
	int ret = compress(w, &none, ZSTD_e_end);

	if (ret == 0 && fsync(w->fd) < 0)
		ret = -errno;
	if (ret == 0 &&
	    renameat(w->dir_fd, w->tmp, w->dir_fd, w->name.text) < 0)
		ret = -errno;
	if (ret == 0 && fsync(w->dir_fd) < 0)
		ret = -errno;
	*bytes = w->bytes;
	if (ret < 0)
		snap_abort(w);
	else
		writer_free(w);
	return ret;
}

/* --- reading --- */

int jr_unreadable(const char *name, int ret, struct err *err)
{
	return err_set(err, ret, "cannot read %s: %s%s", name, strerror(-ret),
		       ret == -EIO ? ". Copy what can be read (ddrescue) to "
				     "another disk, then 'mooncakectl journal "
				     "check' there"
				   : "");
}

struct snap_reader {
	int fd;
	const char *name;
	ZSTD_DCtx *zstd;
	ZSTD_inBuffer in;
	uint8_t *packed; /* CHUNK */
	uint8_t *plain;	 /* INPUT_MAX and a chunk */
	size_t head, tail;
	size_t hint; /* 0 when the zstd frame has ended */
	uint64_t records;
	bool has_end, is_eof;
};

static int fail(const struct snap_reader *r, struct err *err, const char *what)
{
	return err_set(err, -EBADMSG, "%s: %s" SNAP_GIVE_UP, r->name, what);
}

/* More plain bytes behind tail; none at the end of the file. */
static int fill(struct snap_reader *r, struct err *err)
{
	size_t cap = INPUT_MAX + CHUNK;
	ZSTD_outBuffer out;

	memmove(r->plain, r->plain + r->head, r->tail - r->head);
	r->tail -= r->head;
	r->head = 0;
	if (r->in.pos == r->in.size) {
		ssize_t n = read(r->fd, r->packed, CHUNK);

		if (n < 0)
			return jr_unreadable(r->name, -errno, err);
		r->is_eof = n == 0;
		r->in = (ZSTD_inBuffer){r->packed, (size_t)n, 0};
		if (n == 0)
			return 0;
	}
	if (r->hint == 0)
		return fail(r, err, "it goes on behind its end");
	out = (ZSTD_outBuffer){r->plain + r->tail, cap - r->tail, 0};
	r->hint = ZSTD_decompressStream(r->zstd, &out, &r->in);
	if (ZSTD_getErrorCode(r->hint) == ZSTD_error_memory_allocation)
		return err_set(err, -ENOMEM, "out of memory");
	if (ZSTD_isError(r->hint))
		return fail(r, err, ZSTD_getErrorName(r->hint));
	r->tail += out.pos;
	return 0;
}

static int take_record(struct snap_reader *r, const struct jr_frame *frame,
		       jr_record_fn fn, void *arg, struct err *err)
{
	struct str body = {(const char *)frame->body, frame->len};
	struct jr_end end;

	if (r->has_end)
		return fail(r, err, "it has records behind its end");
	if (frame->type != JR_END) {
		int ret = fn(frame, arg, err);

		r->records++;
		if (ret == -EBADMSG)
			err_add(err, ". Keep a copy and report this bug; then "
				     "begin an empty directory and register "
				     "the namespaces again");
		return ret;
	}
	if (!jr_end_decode(body, &end) || end.records != r->records)
		return fail(r, err, "it does not have the records it counts");
	r->has_end = true;
	return 0;
}

static int read_all(struct snap_reader *r, jr_record_fn fn, void *arg,
		    struct err *err)
{
	int ret = 0;

	while (ret == 0 && !(r->is_eof && r->head == r->tail)) {
		struct jr_frame frame;
		int64_t n =
			jr_frame_decode(r->plain + r->head, r->tail - r->head,
					r->records, &frame);

		if (n == -EAGAIN && r->is_eof)
			return fail(r, err,
				    "it ends in the middle of a record");
		if (n == -EAGAIN) {
			ret = fill(r, err);
			continue;
		}
		if (n < 0)
			return fail(r, err, "it has a damaged record");
		ret = take_record(r, &frame, fn, arg, err);
		r->head += (size_t)n;
	}
	if (ret == 0 && (!r->has_end || r->hint != 0))
		return fail(r, err, "it is cut short");
	return ret;
}

int snap_read(int fd, const char *name, jr_record_fn fn, void *arg,
	      uint64_t *records, struct err *err)
{
	struct snap_reader r = {.fd = fd, .name = name, .hint = 1};
	int ret;

	r.zstd = ZSTD_createDCtx();
	r.packed = malloc(CHUNK);
	r.plain = malloc(INPUT_MAX + CHUNK);
	if (r.zstd && r.packed && r.plain)
		ret = read_all(&r, fn, arg, err);
	else
		ret = err_set(err, -ENOMEM, "out of memory");
	*records = r.records;
	ZSTD_freeDCtx(r.zstd);
	free(r.packed);
	free(r.plain);
	return ret;
}
