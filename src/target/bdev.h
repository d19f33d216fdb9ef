/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block back end: what a namespace stands on.  A table of few functions;
 * implementations are ram.c, file.c and null.c, and filters that wrap another
 * bdev.
 */
#ifndef TARGET_BDEV_H
#define TARGET_BDEV_H

#include <stdatomic.h>

#include "io/loop.h"

struct bdev;

enum bdev_op {
	BDEV_READ,
	BDEV_WRITE,
	BDEV_FLUSH,
	BDEV_ZERO,  /* the range reads as zeros afterwards */
	BDEV_UNMAP, /* the range is not needed any more; see unmap_zeroes */
};

/* Owner: the caller until submit, the back end until done. */
struct bdev_io {
	void (*done)(struct bdev_io *io); /* on the loop given to submit */
	enum bdev_op op;
	uint64_t off, bytes; /* inside the device, multiples of the block */
	/* Read and write: covers bytes; any alignment.  The back end may
	 * change the iovecs. */
	struct iovec *iov;
	unsigned iovcnt;
	int ret; /* 0 or -errno */
	/* private to the back end */
	struct loop *loop;
	struct io_op op_io;
	struct loop_task task;
	struct iovec zeros;
	uint64_t done_bytes;
	void *owner;
	int way; /* of several ways to do it */
};

struct bdev_ops {
	const char *kind; /* "ram", "file", "null" */
	void (*submit)(struct bdev *bdev, struct loop *loop,
		       struct bdev_io *io);
	/* Memory that IS the medium for [off, off + bytes), or NULL: lets the
	 * connection send and receive without a buffer in between. */
	void *(*map)(struct bdev *bdev, uint64_t off, uint64_t bytes);
	void (*destroy)(struct bdev *bdev);
	/* Looks at the medium again; true when bdev->size has changed.  May be
	 * NULL.  Any thread; does not wait. */
	bool (*refresh)(struct bdev *bdev);
	/* Bytes that the medium really takes, UINT64_MAX = all.  May be NULL.
	 * Any thread; does not wait. */
	uint64_t (*used)(struct bdev *bdev);
};

struct bdev {
	const struct bdev_ops *ops;
	_Atomic uint64_t size; /* bytes, a multiple of block */
	uint32_t block;	       /* 512 or 4096 */
	/* Preferred granularity and alignment in bytes, 0 = none known: of
	 * writes, the best length of writes, of unmaps. */
	uint32_t write_unit, write_best, unmap_unit;
	bool is_readonly;
	bool can_unmap;	   /* BDEV_UNMAP gives space back */
	bool unmap_zeroes; /* and the range reads as zeros then */
	char name[256];	   /* for people: path or "ram:1g" */
};

/* Own memory (mem NULL) or the caller's; size a multiple of 4 KiB. */
int bdev_ram_create(void *mem, uint64_t size, struct bdev **out,
		    struct err *err);
/* Reads zeros and forgets writes, for benchmarks.  block 0 = 4096. */
int bdev_null_create(uint64_t size, uint32_t block, struct bdev **out,
		     struct err *err);
struct bdev_file_opts {
	const char *path;
	uint64_t create_size; /* > 0: create the file when absent */
	uint32_t block;	      /* 0 = 4096, or the device's own */
	bool no_direct;	      /* don't try O_DIRECT */
	bool is_readonly;     /* also set by a medium that can't be written */
};
/* Regular file or block device; says which of O_DIRECT/buffered it got. */
int bdev_file_create(const struct bdev_file_opts *opts, struct bdev **out,
		     struct err *err);
/* "ram:1g", "null:1g", "/path/disk.img", "/path/disk.img:10g" (create),
 * "/dev/…". */
int bdev_from_spec(const char *spec, struct bdev **out, struct err *err);

#endif
