/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Big mappings and the validation of foreign pointers; any thread.  Invariant:
 * mem_unmap() with the bytes given to mem_map() unmaps exactly that mapping.
 */
#include "io/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_BYTES (2 * MiB)

static uint64_t page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* 0 when bytes is too large to be rounded up. */
static uint64_t round_up(uint64_t bytes)
{
	uint64_t page = page_bytes();

	if (bytes == 0)
		return page;
	return bytes > INT64_MAX - HUGE_BYTES ? 0 : ALIGN_UP(bytes, page);
}

static int map_some(uint64_t bytes, int flags, void **out)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	*out = p;
	return 0;
}

/* Aligned, so that the kernel can put huge pages under all of it. */
static int map_aligned(uint64_t bytes, void **out)
{
	uintptr_t start, first;
	void *p = NULL;
	int ret = map_some(bytes + HUGE_BYTES, 0, &p);

	if (ret < 0)
		return ret;
	start = (uintptr_t)p;
	first = ALIGN_UP(start, (uintptr_t)HUGE_BYTES);
	if (first > start)
		munmap(p, first - start);
	if (start + HUGE_BYTES > first)
		munmap((void *)(first + bytes), start + HUGE_BYTES - first);
	/* A wish; kernels without transparent huge pages refuse it. */
	(void)madvise((void *)first, bytes, MADV_HUGEPAGE);
	*out = (void *)first;
	return 0;
}

int mem_map(uint64_t bytes, bool want_huge, void **out)
{
	uint64_t len = round_up(bytes);

	*out = NULL;
	if (len == 0)
		return -ENOMEM;
	if (want_huge && IS_ALIGNED(len, HUGE_BYTES) &&
	    map_some(len, MAP_HUGETLB | MAP_HUGE_2MB, out) == 0)
		return 0;
	if (want_huge && len >= HUGE_BYTES)
		return map_aligned(len, out);
	return map_some(len, 0, out);
}

void mem_unmap(void *p, uint64_t bytes)
{
	if (p)
		ASSERT(munmap(p, round_up(bytes)) == 0);
}

/* --- is this memory? --- */

struct want {
	uintptr_t next; /* covered up to here */
	uintptr_t end;
	bool is_write;
	bool is_refused;
};

/* "start-end rwxp …"; lines come in order of address. */
static void want_line(struct want *want, const char *line)
{
	unsigned long start, end;
	char r, w;

	if (sscanf(line, "%lx-%lx %c%c", &start, &end, &r, &w) != 4)
		return;
	if (end <= want->next || want->next >= want->end || want->is_refused)
		return;
	if (start > want->next || r != 'r' || (want->is_write && w != 'w'))
		want->is_refused = true;
	else
		want->next = end;
}

bool mem_is_accessible(const void *p, size_t n, bool is_write)
{
	struct want want = {.next = (uintptr_t)p, .is_write = is_write};
	char line[512];
	FILE *maps;

	if (n == 0)
		return true;
	if (!p || add_overflows(want.next, n, &want.end))
		return false;
	maps = fopen("/proc/self/maps", "re");
	if (!maps)
		return false;
	/* Names may be longer than the line; their rest parses as nothing. */
	while (!want.is_refused && want.next < want.end &&
	       fgets(line, sizeof(line), maps))
		want_line(&want, line);
	fclose(maps);
	return !want.is_refused && want.next >= want.end;
}
