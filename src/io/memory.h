/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Big memory: anonymous mappings, on hugepages when asked and available (never
 * required), not touched before use; and validation of foreign pointers.
 */
#ifndef IO_MEMORY_H
#define IO_MEMORY_H

#include "base/def.h"

/* Page aligned, zero on first touch; bytes is rounded up to a page.  -ENOMEM.
 */
int mem_map(uint64_t bytes, bool want_huge, void **out);
void mem_unmap(void *p, uint64_t bytes);
/* True when [p, p + n) is mapped and readable (and writable) host memory;
 * costs a system call per call, so callers cache. */
bool mem_is_accessible(const void *p, size_t n, bool is_write);

#endif
