/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the caller registered.  TCP needs no registration; it saves the
 * check of every pointer.  Any thread.  Ranges may repeat and overlap.
 */
#ifndef CLIENT_MEMREG_H
#define CLIENT_MEMREG_H

#include <pthread.h>

#include "base/def.h"

struct mem_range {
	uintptr_t start, end;
	uint32_t refs;
};

struct memreg {
	pthread_rwlock_t lock;
	struct mem_range *ranges; /* by start, then end */
	size_t count, cap;
};

void memreg_init(struct memreg *b);
void memreg_fini(struct memreg *b);
/* -EFAULT: not this process' memory (a device pointer?); -ENOMEM.  Looks at
 * the first and the last page only. */
int memreg_add(struct memreg *b, const void *p, size_t n);
/* One registration that starts there; -ENOENT. */
int memreg_del(struct memreg *b, const void *p);
/* True when I/O on [p, p + n) can't fault. */
bool memreg_check(struct memreg *b, const void *p, size_t n, bool is_write);

#endif
