/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of the machine: kernel interfaces, limits, memory, CPUs, clock,
 * modules, RDMA devices.  One thread; only reads.  Invariant: numbers come from
 * d->facts or from files under d->opts.root, never from elsewhere, so that a
 * test can set every one of them.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "deploy/doctor_check.h"

#define MEMLOCK_ENOUGH (8 * MiB) /* rings of 64 loops on old kernels */
#define FILES_MIN      256
#define FILES_ENOUGH   4096

/* Of this process: containers and systemd units often have one. */
static bool has_seccomp(struct doctor *d)
{
	char text[4096];
	const char *at;

	if (doctor_read(d, "/proc/self/status", text, sizeof(text)))
		return false;
	at = strstr(text, "\nSeccomp:");
	return at && strtoul(at + strlen("\nSeccomp:"), NULL, 10) != 0;
}

static void check_uring(struct doctor *d, const struct doctor_check *c)
{
	int ret = d->facts.uring_ret;
	uint64_t off = 0;

	doctor_read_number(d, "/proc/sys/kernel/io_uring_disabled", 0, &off);
	if (ret == 0) {
		doctor_add(d, c, DOCTOR_OK, "", "allowed, and used");
		return;
	}
	doctor_add(d, c, DOCTOR_WARN, "",
		   "not usable (%s%s); epoll is used, which costs more CPU",
		   strerror(-ret),
		   has_seccomp(d) ? ", a seccomp filter is in force" : "");
	if (off == 2)
		doctor_advise(d, "The sysctl kernel.io_uring_disabled is 2: "
				 "set it to 0 (sysctl -w "
				 "kernel.io_uring_disabled=0).");
	else if (off == 1)
		doctor_advise(d, "The sysctl kernel.io_uring_disabled is 1: "
				 "set it to 0, or put this user into the group "
				 "that kernel.io_uring_group names.");
	else if (ret == -ENOMEM)
		doctor_advise(d, "Locked memory is too little: raise ulimit -l "
				 "(LimitMEMLOCK= of a systemd unit).");
	else if (ret == -ENOSYS)
		doctor_advise(d, "The kernel has no io_uring: use 5.19 or "
				 "later.");
}

static void check_memlock(struct doctor *d, const struct doctor_check *c)
{
	uint64_t bytes = d->facts.memlock_bytes;

	if (bytes == RLIM_INFINITY)
		doctor_add(d, c, DOCTOR_OK, "", "unlimited");
	else
		doctor_add(d, c,
			   bytes >= MEMLOCK_ENOUGH ? DOCTOR_OK : DOCTOR_NOTE,
			   "", "%" PRIu64 " KiB", bytes / 1024);
}

static void check_files(struct doctor *d, const struct doctor_check *c)
{
	uint64_t n = d->facts.open_files;
	enum doctor_level level = n < FILES_MIN	     ? DOCTOR_FAIL
				  : n < FILES_ENOUGH ? DOCTOR_NOTE
						     : DOCTOR_OK;

	if (n == RLIM_INFINITY)
		doctor_add(d, c, DOCTOR_OK, "", "unlimited");
	else
		doctor_add(d, c, level, "",
			   "%" PRIu64 " (at most %" PRIu64 " can be set)", n,
			   d->facts.open_files_hard);
}

/* The number behind "name:" in the text of meminfo. */
static uint64_t memory_line(const char *text, const char *name)
{
	const char *at = strstr(text, name);
	uint64_t value = 0;
	struct str s;

	if (!at)
		return 0;
	at += strlen(name);
	at += strspn(at, ": \t");
	s = (struct str){at, strcspn(at, " \t\n")};
	return str_to_u64(s, &value) ? 0 : value;
}

static void check_hugepages(struct doctor *d, const struct doctor_check *c)
{
	char text[8192];
	uint64_t total, free_pages, kib;
	bool is_wanted = false;
	int ret = doctor_read(d, "/proc/meminfo", text, sizeof(text));

	if (ret) {
		doctor_add(d, c, DOCTOR_NOTE, "", "not known: %s",
			   strerror(-ret));
		return;
	}
	total = memory_line(text, "HugePages_Total");
	free_pages = memory_line(text, "HugePages_Free");
	kib = memory_line(text, "Hugepagesize");
	/* What is no truth value the environment's check tells. */
	(void)str_to_bool(str_of(getenv("MC_STORE_USE_HUGEPAGE")), &is_wanted);
	is_wanted |= total > 0; /* who made some means to use them */
	doctor_add(d, c, is_wanted && !free_pages ? DOCTOR_NOTE : DOCTOR_OK, "",
		   "%" PRIu64 " of %" PRIu64 " free, %" PRIu64
		   " KiB each; never required",
		   free_pages, total, kib);
}

/* CPUs that a container's quota amounts to; 0 = no quota. */
static uint64_t quota_cpus(const struct doctor *d)
{
	uint64_t quota, period;
	const char *path = "/sys/fs/cgroup/cpu.max";

	if (doctor_read_number(d, path, 0, &quota) ||
	    doctor_read_number(d, path, 1, &period) || !period)
		return 0;
	return (quota + period - 1) / period;
}

static void check_cpus(struct doctor *d, const struct doctor_check *c)
{
	uint64_t quota = quota_cpus(d), cpus = d->facts.cpus;

	if (quota)
		cpus = MIN(cpus, quota);
	if (!d->has_vol)
		doctor_add(d, c, DOCTOR_NOTE, "",
			   "%" PRIu64 "; the number of workers is not known "
			   "while the environment is wrong",
			   cpus);
	else
		doctor_add(d, c,
			   d->vol.workers > cpus ? DOCTOR_WARN : DOCTOR_OK, "",
			   "%" PRIu64 " for %u workers of the pool%s", cpus,
			   d->vol.workers, quota ? " (cgroup quota)" : "");
}

static void check_clock(struct doctor *d, const struct doctor_check *c)
{
	int state = d->facts.clock_state;

	if (state < 0)
		doctor_add(d, c, DOCTOR_NOTE, "",
			   "whether it is synchronised can't be asked: %s",
			   strerror(-state));
	else
		doctor_add(d, c, state ? DOCTOR_OK : DOCTOR_NOTE, "",
			   state ? "synchronised" : "not synchronised");
}

/* --- modules --- */

/* Does the file name the module?  1, 0, or -errno when there is no file. */
static int names_module(struct doctor *d, const char *release, const char *list,
			const char *module)
{
	char path[512], name[64], *line = NULL;
	size_t size = 0;
	int found = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/lib/modules/%s/%s", d->opts.root,
		 release, list);
	snprintf(name, sizeof(name), "/%s.ko", module);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (!found && getline(&line, &size, file) >= 0) {
		line[strcspn(line, ":\n")] = '\0'; /* what it needs */
		found = strstr(line, name) != NULL;
	}
	free(line);
	fclose(file);
	return found;
}

/* Of the kernel that runs: 1 can be loaded or is built in, 0 not, -errno. */
static int has_module(struct doctor *d, const char *module)
{
	char release[128];
	int ret = doctor_read(d, "/proc/sys/kernel/osrelease", release,
			      sizeof(release));

	if (ret == 0)
		ret = names_module(d, release, "modules.dep", module);
	return ret ? ret : names_module(d, release, "modules.builtin", module);
}

static void check_modules(struct doctor *d, const struct doctor_check *c)
{
	static const struct {
		const char *path, *name, *what;
	} modules[] = {
		{"/sys/module/nvme_tcp", "nvme-tcp",
		 "only needed to mount pool disks as kernel devices"},
		{"/sys/module/nvmet_tcp", "nvmet-tcp",
		 "only needed where this host is an SSD node with "
		 "backend:nvmet"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		const char *name = modules[i].name;
		bool is_loaded = doctor_has_path(d, modules[i].path);
		int has = is_loaded ? 1 : has_module(d, name);

		/* In a container nothing is known of the host's modules. */
		doctor_add(d, c, has ? DOCTOR_OK : DOCTOR_NOTE, name, "%s, %s",
			   is_loaded ? "loaded"
			   : has     ? "not loaded"
				     : "not there for this kernel",
			   modules[i].what);
		if (has && !is_loaded)
			doctor_advise(d,
				      "If so: modprobe %s (as root), and "
				      "name it in /etc/modules-load.d.",
				      name);
	}
}

/* --- RDMA --- */

#define RDMA_FOLDER "/sys/class/infiniband"
#define GIDS_MAX    256

static unsigned count_gids(struct doctor *d, const char *device)
{
	char path[512], text[64];
	unsigned count = 0;

	for (unsigned i = 0; i < GIDS_MAX; i++) {
		snprintf(path, sizeof(path), RDMA_FOLDER "/%s/ports/1/gids/%u",
			 device, i);
		if (doctor_read(d, path, text, sizeof(text)))
			break;
		count += strspn(text, "0:") != strlen(text);
	}
	return count;
}

static void add_device(struct doctor *d, const struct doctor_check *c,
		       const char *device)
{
	char path[512], state[64];
	unsigned gids = count_gids(d, device);

	snprintf(path, sizeof(path), RDMA_FOLDER "/%s/ports/1/state", device);
	if (doctor_read(d, path, state, sizeof(state)))
		snprintf(state, sizeof(state), "state not known");
	doctor_add(d, c, DOCTOR_NOTE, device,
		   "port 1 is '%s', %u GIDs; not used, as this build speaks "
		   "NVMe/TCP only",
		   state, gids);
	if (!strstr(state, "ACTIVE") || !gids)
		doctor_advise(d,
			      "Nothing to do for Mooncake, which uses TCP. For "
			      "other programs: bring the link up (ip link, "
			      "ibstat) and give its interface an address, from "
			      "which the GID is made.");
}

static void check_rdma(struct doctor *d, const struct doctor_check *c)
{
	char full[512];
	struct dirent *entry;
	unsigned count = 0;
	DIR *dir;

	snprintf(full, sizeof(full), "%s" RDMA_FOLDER, d->opts.root);
	dir = opendir(full);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		add_device(d, c, entry->d_name);
		count++;
	}
	if (dir)
		closedir(dir);
	if (!count)
		doctor_add(d, c, DOCTOR_OK, "", "no devices; TCP is used");
}

const struct doctor_check doctor_host_checks[] = {
	{"io_uring", "sysctl kernel.io_uring_disabled, an attempt to use it",
	 DOCTOR_WARN,
	 "Allow the system calls io_uring_setup, io_uring_enter and "
	 "io_uring_register in the container's seccomp profile, or accept "
	 "epoll.",
	 check_uring},
	{"memlock", "ulimit -l", DOCTOR_NOTE,
	 "Kernels before 5.12 charge io_uring's rings to it: set ulimit -l "
	 "8192 there (LimitMEMLOCK=8M of a systemd unit).",
	 check_memlock},
	{"open files", "ulimit -n", DOCTOR_FAIL,
	 "A client needs one per worker and path to a disk, a master one per "
	 "client, a target one per client and worker: set ulimit -n 65536 "
	 "(LimitNOFILE=65536 of a systemd unit) on busy nodes.",
	 check_files},
	{"hugepages", "/proc/meminfo", DOCTOR_NOTE,
	 "There are none, or others use them all: with "
	 "MC_STORE_USE_HUGEPAGE=1 a segment takes ordinary pages instead; "
	 "vm.nr_hugepages makes more.",
	 check_hugepages},
	{"CPUs", "sched_getaffinity(), /sys/fs/cgroup/cpu.max, MC_NOF_WORKERS",
	 DOCTOR_WARN,
	 "More workers than CPUs only wake each other: set MC_NOF_WORKERS to "
	 "the number of CPUs or less, or leave it unset.",
	 check_cpus},
	{"clock", "adjtimex()", DOCTOR_NOTE,
	 "Nothing of Mooncake depends on it, but times in logs do: run "
	 "chronyd or systemd-timesyncd.",
	 check_clock},
	{"kernel modules", "/sys/module, /lib/modules", DOCTOR_NOTE,
	 "If so: install the kernel package that has them (Ubuntu: "
	 "linux-modules-extra; Debian: the one without -cloud), or use "
	 "backend:mooncake.",
	 check_modules},
	{"RDMA", RDMA_FOLDER, DOCTOR_NOTE,
	 "Nothing to do: TCP runs over the same ports.", check_rdma},
	{0},
};
