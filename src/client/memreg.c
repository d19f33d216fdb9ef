/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registered memory; any thread, under a lock.  Invariant: ranges are sorted by
 * start, then end, and each has at least one reference.
 */
#include "client/memreg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/memory.h"

#define PROBE_WHOLE ((uintptr_t)2 << 20)
#define PROBE_STEP  ((uintptr_t)1 << 20)

void memreg_init(struct memreg *b)
{
	*b = (struct memreg){0};
	pthread_rwlock_init(&b->lock, NULL);
}

void memreg_fini(struct memreg *b)
{
	pthread_rwlock_destroy(&b->lock);
	free(b->ranges);
}

/*
 * Whether the pages can be used, without changing them: the kernel is asked to
 * fault them in.  Of a big range every PROBE_STEP-th page stands for the rest;
 * a caller's mapping has no holes, a device pointer has no pages.
 */
static bool probe_pages(uintptr_t start, uintptr_t end, int advice)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t at = ALIGN_DOWN(start, page);

	if (end - start <= PROBE_WHOLE)
		return madvise((void *)at, end - at, advice) == 0;
	for (; at < end; at += PROBE_STEP)
		if (madvise((void *)at, page, advice) < 0)
			return false;
	at = ALIGN_DOWN(end - 1, page);
	return madvise((void *)at, page, advice) == 0;
}

static bool probe(const void *p, size_t n, bool is_write)
{
	uintptr_t start = (uintptr_t)p;
	int advice = is_write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;

	if (n == 0 || probe_pages(start, start + n, advice))
		return true;
	/* Kernels before 5.14, and mappings that can't be faulted in. */
	return mem_is_accessible(p, n, is_write);
}

/* First range that does not start before (start, end). */
static size_t memreg_find(const struct memreg *b, uintptr_t start,
			  uintptr_t end)
{
	size_t lo = 0, hi = b->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct mem_range *r = &b->ranges[mid];

		if (r->start < start || (r->start == start && r->end < end))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int memreg_insert(struct memreg *b, size_t at, struct mem_range range)
{
	if (b->count == b->cap) {
		size_t cap = MAX(b->cap * 2, (size_t)8);
		struct mem_range *p = reallocarray(b->ranges, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		b->ranges = p;
		b->cap = cap;
	}
	memmove(&b->ranges[at + 1], &b->ranges[at],
		(b->count - at) * sizeof(range));
	b->ranges[at] = range;
	b->count++;
	return 0;
}

int memreg_add(struct memreg *b, const void *p, size_t n)
{
	uintptr_t start = (uintptr_t)p, end;
	size_t at;
	int ret = 0;

	if (add_overflows(start, n, &end) || !p)
		return -EFAULT;
	if (n == 0)
		return 0;
	if (!probe(p, 1, true) || !probe((const char *)p + n - 1, 1, true))
		return -EFAULT;
	pthread_rwlock_wrlock(&b->lock);
	at = memreg_find(b, start, end);
	if (at < b->count && b->ranges[at].start == start &&
	    b->ranges[at].end == end)
		b->ranges[at].refs++;
	else
		ret = memreg_insert(b, at, (struct mem_range){start, end, 1});
	pthread_rwlock_unlock(&b->lock);
	return ret;
}

int memreg_del(struct memreg *b, const void *p)
{
	uintptr_t start = (uintptr_t)p;
	int ret = -ENOENT;
	size_t at;

	pthread_rwlock_wrlock(&b->lock);
	at = memreg_find(b, start, 0);
	if (at < b->count && b->ranges[at].start == start) {
		ret = 0;
		if (--b->ranges[at].refs == 0) {
			b->count--;
			memmove(&b->ranges[at], &b->ranges[at + 1],
				(b->count - at) * sizeof(*b->ranges));
		}
	}
	pthread_rwlock_unlock(&b->lock);
	return ret;
}

bool memreg_check(struct memreg *b, const void *p, size_t n, bool is_write)
{
	uintptr_t start = (uintptr_t)p, end;
	bool is_inside = false;
	size_t at;

	if (!p || add_overflows(start, n, &end))
		return false;
	pthread_rwlock_rdlock(&b->lock);
	/* Ranges overlap rarely, so the one just before nearly always is it;
	 * when it is not, the kernel is asked. */
	at = memreg_find(b, start, UINTPTR_MAX);
	for (size_t i = at; i > 0 && at - i < 4 && !is_inside; i--)
		is_inside = b->ranges[i - 1].end >= end;
	pthread_rwlock_unlock(&b->lock);
	return is_inside || probe(p, n, is_write);
}
