/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of the network's settings on this host.  One thread; sends nothing.
 * Invariant: a setting that can't be read (another kernel, a container) is a
 * note, never a fault.
 */
#include <errno.h>
#include <inttypes.h>

#include "deploy/doctor_check.h"

#define EPHEMERAL_ENOUGH 8192

/* Settings that are one number with a least value. */
static const struct setting {
	const char *name, *path;
	unsigned index; /* which number of the file */
	uint64_t least;
	enum doctor_level level; /* when it is less */
	const char *why;
} settings[] = {
	{"net.core.somaxconn", "/proc/sys/net/core/somaxconn", 0, 1024,
	 DOCTOR_NOTE,
	 "Many clients that connect at once to a master or target here would "
	 "have to try again"},
	{"net.core.optmem_max", "/proc/sys/net/core/optmem_max", 0, 20480,
	 DOCTOR_NOTE, "Sockets get little room for options"},
	{"net.core.rmem_max", "/proc/sys/net/core/rmem_max", 0, 212992,
	 DOCTOR_NOTE, "Programs that ask for larger buffers don't get them"},
	{"net.core.wmem_max", "/proc/sys/net/core/wmem_max", 0, 212992,
	 DOCTOR_NOTE, "Programs that ask for larger buffers don't get them"},
	{"net.ipv4.tcp_rmem (largest)", "/proc/sys/net/ipv4/tcp_rmem", 2,
	 4194304, DOCTOR_NOTE,
	 "TCP's own tuning stops there, which limits one connection over a "
	 "fast or long way"},
	{"net.ipv4.tcp_wmem (largest)", "/proc/sys/net/ipv4/tcp_wmem", 2,
	 4194304, DOCTOR_NOTE,
	 "TCP's own tuning stops there, which limits one connection over a "
	 "fast or long way"},
};

static void check_buffers(struct doctor *d, const struct doctor_check *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const struct setting *s = &settings[i];
		uint64_t value;
		int ret = doctor_read_number(d, s->path, s->index, &value);

		if (ret) {
			doctor_add(d, c, DOCTOR_NOTE, s->name,
				   "can't be read: %s", strerror(-ret));
			doctor_advise(d,
				      "In a container: look at %s on the "
				      "host.",
				      s->path);
			continue;
		}
		doctor_add(d, c, value < s->least ? s->level : DOCTOR_OK,
			   s->name, "%" PRIu64, value);
		if (value < s->least)
			doctor_advise(d,
				      "%s: give %" PRIu64 " or more (sysctl "
				      "-w, and a file in /etc/sysctl.d).",
				      s->why, s->least);
	}
}

/* --- ports for connections of ours --- */

/* Does "8080,50000-50100" hold port? */
static bool list_has(const char *text, uint64_t port)
{
	struct str rest = str_of(text);

	while (rest.p && rest.n) {
		struct str last, item = str_cut(rest, ',', &rest);
		struct str first = str_cut(item, '-', &last);
		uint64_t lo, hi;

		if (str_to_u64(str_trim(first), &lo))
			continue;
		hi = lo;
		if (last.p && str_to_u64(str_trim(last), &hi))
			continue;
		if (port >= lo && port <= hi)
			return true;
	}
	return false;
}

static void check_ephemeral(struct doctor *d, const struct doctor_check *c)
{
	const char *path = "/proc/sys/net/ipv4/ip_local_port_range";
	char reserved[1024];
	uint64_t lo, hi;

	if (doctor_read_number(d, path, 0, &lo) ||
	    doctor_read_number(d, path, 1, &hi) || hi < lo) {
		doctor_add(d, c, DOCTOR_NOTE, "", "can't be read");
		return;
	}
	if (doctor_read(d, "/proc/sys/net/ipv4/ip_local_reserved_ports",
			reserved, sizeof(reserved)))
		reserved[0] = '\0';
	doctor_add(d, c,
		   hi - lo + 1 < EPHEMERAL_ENOUGH ? DOCTOR_WARN : DOCTOR_OK, "",
		   "%" PRIu64 " to %" PRIu64, lo, hi);
	if (DOCTOR_RPC_PORT < lo || DOCTOR_RPC_PORT > hi ||
	    list_has(reserved, DOCTOR_RPC_PORT))
		return;
	doctor_add(d, c, DOCTOR_NOTE, "",
		   "the master's port %d lies in the range, so any program's "
		   "connection may hold it when a master starts here",
		   DOCTOR_RPC_PORT);
	doctor_advise(d,
		      "Where a master runs: sysctl -w "
		      "net.ipv4.ip_local_reserved_ports=%s%s%d.",
		      reserved, *reserved ? "," : "", DOCTOR_RPC_PORT);
}

static void check_congestion(struct doctor *d, const struct doctor_check *c)
{
	static const char *const good[] = {"cubic", "bbr", "dctcp"};
	char name[64];
	bool is_good = false;
	int ret = doctor_read(d, "/proc/sys/net/ipv4/tcp_congestion_control",
			      name, sizeof(name));

	if (ret) {
		doctor_add(d, c, DOCTOR_NOTE, "", "can't be read: %s",
			   strerror(-ret));
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		is_good |= strcmp(name, good[i]) == 0;
	doctor_add(d, c, is_good ? DOCTOR_OK : DOCTOR_NOTE, "", "%s", name);
}

const struct doctor_check doctor_net_checks[] = {
	{"socket limits", "/proc/sys/net", DOCTOR_NOTE, NULL, check_buffers},
	{"local ports", "net.ipv4.ip_local_port_range", DOCTOR_WARN,
	 "Each connection to one target takes one: give more (sysctl -w "
	 "net.ipv4.ip_local_port_range='32768 60999').",
	 check_ephemeral},
	{"congestion", "net.ipv4.tcp_congestion_control", DOCTOR_NOTE,
	 "cubic, bbr or dctcp is usual in a data centre.", check_congestion},
	{0},
};
