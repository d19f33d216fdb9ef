/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs of a NUMA node, as the kernel tells them.
 *
 * Any thread.  Invariant: what is handed out has at least one CPU.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "pool/set.h"

#define CPULIST_MAX 4096

static int read_text(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, out, size - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	out[n] = 0;
	return 0;
}

static int add_range(struct str range, cpu_set_t *out)
{
	const char *dash = memchr(range.p, '-', range.n);
	size_t n = dash ? (size_t)(dash - range.p) : range.n;
	uint64_t first, last;

	if (str_to_u64((struct str){range.p, n}, &first))
		return -EINVAL;
	last = first;
	if (dash && str_to_u64((struct str){dash + 1, range.n - n - 1}, &last))
		return -EINVAL;
	for (; first <= last && first < CPU_SETSIZE; first++)
		CPU_SET(first, out);
	return 0;
}

/* "0-3,8,10-11" */
static int parse_list(struct str list, cpu_set_t *out)
{
	int ret = 0;

	CPU_ZERO(out);
	while (list.n && !ret) {
		const char *comma = memchr(list.p, ',', list.n);
		size_t n = comma ? (size_t)(comma - list.p) : list.n;

		ret = add_range((struct str){list.p, n}, out);
		n = MIN(n + 1, list.n);
		list = (struct str){list.p + n, list.n - n};
	}
	return ret;
}

int numa_cpus(int node, cpu_set_t *out, struct err *err)
{
	char path[64], text[CPULIST_MAX];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist",
		 node);
	if (read_text(path, text, sizeof(text)) ||
	    parse_list(str_trim(str_of(text)), out) || !CPU_COUNT(out))
		return err_set(err, -EINVAL,
			       "MC_STORE_NUMA_SOCKET_ID=%d: this machine has "
			       "no such NUMA node with CPUs (%s)",
			       node, path);
	return 0;
}
