/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a secret still somewhere in this process?  What is looked for is kept
 * with every bit turned over, so that the test itself is no hit.
 */
#ifndef T_MEMORY_H
#define T_MEMORY_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/rand.h"
#include "base/str.h"

#define T_PART_BYTES	((size_t)1 << 20)
#define T_MAPS_BYTES	((size_t)1 << 20)
#define T_MAPPING_BYTES ((size_t)1 << 30) /* larger: a sanitizer's tables */

struct t_pattern {
	uint8_t turned[128];
	size_t n;
};

/* The last bytes: allocators write over the first ones of what is freed. */
static inline void t_pattern_set(struct t_pattern *p, const void *secret,
				 size_t n, size_t last)
{
	const uint8_t *from = (const uint8_t *)secret + n - last;

	ASSERT(last <= n && last <= sizeof(p->turned));
	for (p->n = 0; p->n < last; p->n++)
		p->turned[p->n] = from[p->n] ^ 0xff;
}

/* Printable, and never whole in memory: written byte by byte. */
static inline void t_pattern_make(struct t_pattern *p, size_t n)
{
	ASSERT(n <= sizeof(p->turned));
	rand_fill_os(p->turned, n);
	for (p->n = 0; p->n < n; p->n++)
		p->turned[p->n] = (uint8_t) ~('a' + p->turned[p->n] % 26);
}

static inline void t_pattern_write(const struct t_pattern *p, int fd)
{
	for (size_t i = 0; i < p->n; i++) {
		uint8_t one = p->turned[i] ^ 0xff;

		ASSERT(write(fd, &one, 1) == 1);
	}
}

static inline size_t t_count_in(const uint8_t *mem, size_t bytes,
				const uint8_t *turned, size_t n)
{
	const uint8_t *at = mem, *end = mem + bytes - n + 1;
	size_t found = 0, k;

	while (at < end &&
	       (at = memchr(at, turned[0] ^ 0xff, (size_t)(end - at)))) {
		for (k = 1; k < n && (at[k] ^ turned[k]) == 0xff; k++)
			;
		found += k == n;
		at++;
	}
	return found;
}

/* Copies of the pattern's last bytes in one mapping. */
static inline size_t t_count_at(int fd, uint64_t from, uint64_t to,
				uint8_t *part, const struct t_pattern *p,
				size_t last)
{
	const uint8_t *turned = p->turned + p->n - last;
	size_t found = 0;

	while (from + last <= to) {
		size_t want = (size_t)MIN(to - from, (uint64_t)T_PART_BYTES);
		ssize_t n = pread(fd, part, want, (off_t)from);

		if (n < (ssize_t)last)
			break;
		found += t_count_in(part, (size_t)n, turned, last);
		from += (uint64_t)n - (last - 1);
	}
	return found;
}

/* In everything that this process may write to, its stack with it. */
static inline size_t t_memory_count(const struct t_pattern *p, size_t last)
{
	uint8_t *own =
		mmap(NULL, T_PART_BYTES + T_MAPS_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	char *text = (char *)own + T_PART_BYTES;
	uint64_t from, to, ours = (uint64_t)(uintptr_t)own;
	struct str rest = {text, 0};
	size_t found = 0;
	ssize_t n;

	ASSERT(own != MAP_FAILED && mem >= 0 && maps >= 0 && last <= p->n);
	while ((n = read(maps, text + rest.n, T_MAPS_BYTES - 1 - rest.n)) > 0)
		rest.n += (uint32_t)n;
	while (rest.n) {
		struct str line = str_cut(rest, '\n', &rest);
		char perms[8];

		if (sscanf(line.p, "%lx-%lx %7s", &from, &to, perms) != 3 ||
		    perms[0] != 'r' || perms[1] != 'w' ||
		    to - from > T_MAPPING_BYTES)
			continue;
		/* Our own buffer may lie in one mapping with others. */
		if (ours >= from && ours < to) {
			found += t_count_at(mem, from, ours, own, p, last);
			from = ours + T_PART_BYTES + T_MAPS_BYTES;
		}
		found += t_count_at(mem, from, to, own, p, last);
	}
	close(maps);
	close(mem);
	munmap(own, T_PART_BYTES + T_MAPS_BYTES);
	return found;
}

#endif
