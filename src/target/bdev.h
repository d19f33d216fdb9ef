/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block back end: what a namespace stands on.  A table of few functions;
 * implementations are ram.c and file.c, and filters that wrap another bdev.
 */
#ifndef TARGET_BDEV_H
#define TARGET_BDEV_H

#include "io/loop.h"

struct bdev;

enum bdev_op {
	BDEV_READ,
	BDEV_WRITE,
	BDEV_FLUSH
};

/* Owner: the caller until submit, the back end until done. */
struct bdev_io {
	void (*done)(struct bdev_io *io); /* on the loop given to submit */
	enum bdev_op op;
	uint64_t off, bytes; /* inside the device, multiples of the block */
	struct iovec *iov;   /* covers bytes; any alignment */
	unsigned iovcnt;
	int ret; /* 0 or -errno */
	/* private to the back end */
	struct loop *loop;
	struct io_op op_io;
	struct loop_task task;
	uint64_t done_bytes;
	void *bounce;
};

struct bdev_ops {
	const char *kind; /* "ram", "file" */
	void (*submit)(struct bdev *bdev, struct loop *loop,
		       struct bdev_io *io);
	/* Memory that IS the medium for [off, off + bytes), or NULL: lets the
	 * connection send and receive without a buffer in between. */
	void *(*map)(struct bdev *bdev, uint64_t off, uint64_t bytes);
	void (*destroy)(struct bdev *bdev);
};

struct bdev {
	const struct bdev_ops *ops;
	uint64_t size;	/* bytes, a multiple of block */
	uint32_t block; /* 512 or 4096 */
	char name[256]; /* for people: path or "ram:1g" */
};

/* Own memory (mem NULL) or the caller's; size a multiple of 4 KiB. */
int bdev_ram_create(void *mem, uint64_t size, struct bdev **out,
		    struct err *err);
struct bdev_file_opts {
	const char *path;
	uint64_t create_size; /* > 0: create the file when absent */
	uint32_t block;	      /* 0 = 4096, or the device's own */
	bool no_direct;	      /* don't try O_DIRECT */
};
/* Regular file or block device; says which of O_DIRECT/buffered it got. */
int bdev_file_create(const struct bdev_file_opts *opts, struct bdev **out,
		     struct err *err);
/* "ram:1g", "/path/disk.img", "/path/disk.img:10g" (create), "/dev/…". */
int bdev_from_spec(const char *spec, struct bdev **out, struct err *err);

#endif
