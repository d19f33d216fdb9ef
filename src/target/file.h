/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File back end, inside: file.c opens, file_io.c does the I/O.
 */
#ifndef TARGET_FILE_H
#define TARGET_FILE_H

#include "target/bdev.h"

struct file {
	struct bdev bdev;
	int fd;	       /* through the page cache; carries the lock */
	int direct_fd; /* O_DIRECT, or -1 */
	uint32_t mem_align, off_align;
	bool is_device;
	atomic_int zero_way; /* the first that has not been refused */
};

void file_submit(struct bdev *bdev, struct loop *loop, struct bdev_io *io);

#endif
