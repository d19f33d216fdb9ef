/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the caller registered.  TCP needs no registration; it saves the
 * check of every pointer.  Any thread.  Ranges may repeat and overlap.
 */
#ifndef CLIENT_BUFS_H
#define CLIENT_BUFS_H

#include <pthread.h>

#include "base/def.h"

struct buf_range {
	uintptr_t start, end;
	uint32_t refs;
};

struct bufs {
	pthread_rwlock_t lock;
	struct buf_range *ranges; /* by start, then end */
	size_t count, cap;
};

void bufs_init(struct bufs *b);
void bufs_fini(struct bufs *b);
/* -EFAULT: not this process' memory (a device pointer?); -ENOMEM.  Looks at
 * the first and the last page only. */
int bufs_add(struct bufs *b, const void *p, size_t n);
/* One registration that starts there; -ENOENT. */
int bufs_del(struct bufs *b, const void *p);
/* True when I/O on [p, p + n) can't fault. */
bool bufs_check(struct bufs *b, const void *p, size_t n, bool is_write);

#endif
