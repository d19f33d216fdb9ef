/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of the network's settings on this host, and of the way to each peer of
 * the cluster.  One thread; sends nothing.  Invariant: a setting that can't be
 * read (another kernel, a container) is a note, never a fault.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "deploy/doctor_check.h"

#define EPHEMERAL_ENOUGH 8192
#define IP_BYTES_MAX	 ((uint64_t)65535)

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

/* --- the way to a peer --- */

struct way {
	uint64_t path_mtu, if_mtu;
	char interface[64];
	char local[ADDR_TEXT_LEN];
};

/* A datagram socket is connected without a packet. */
static int ask_route(const struct addr *to, struct addr *local, uint64_t *mtu)
{
	bool is_v6 = to->ss.ss_family == AF_INET6;
	int fd = socket(to->ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(int);
	int value = 0, ret = 0;

	if (fd < 0)
		return -errno;
	*local = (struct addr){.len = sizeof(local->ss)};
	if (connect(fd, (const struct sockaddr *)&to->ss, to->len) ||
	    getsockname(fd, (struct sockaddr *)&local->ss, &local->len) ||
	    getsockopt(fd, is_v6 ? IPPROTO_IPV6 : IPPROTO_IP,
		       is_v6 ? IPV6_MTU : IP_MTU, &value, &len))
		ret = -errno;
	*mtu = (uint64_t)value;
	close(fd);
	return ret;
}

static void find_interface(const struct addr *local, char *out, size_t size)
{
	struct ifaddrs *list, *it;
	char want[ADDR_TEXT_LEN], have[ADDR_TEXT_LEN];

	out[0] = '\0';
	addr_format_host(local, want);
	if (getifaddrs(&list))
		return;
	for (it = list; it; it = it->ifa_next) {
		struct addr addr = {0};

		if (!it->ifa_addr || (it->ifa_addr->sa_family != AF_INET &&
				      it->ifa_addr->sa_family != AF_INET6))
			continue;
		addr.len = it->ifa_addr->sa_family == AF_INET
				   ? sizeof(struct sockaddr_in)
				   : sizeof(struct sockaddr_in6);
		memcpy(&addr.ss, it->ifa_addr, addr.len);
		addr_format_host(&addr, have);
		if (strcmp(want, have) == 0) {
			snprintf(out, size, "%s", it->ifa_name);
			break;
		}
	}
	freeifaddrs(list);
}

static int find_way(struct doctor *d, const struct addr *to, struct way *out)
{
	char path[128];
	struct addr local;
	int ret = ask_route(to, &local, &out->path_mtu);

	if (ret)
		return ret;
	addr_format_host(&local, out->local);
	find_interface(&local, out->interface, sizeof(out->interface));
	snprintf(path, sizeof(path), "/sys/class/net/%s/mtu", out->interface);
	if (!out->interface[0] || doctor_read_number(d, path, 0, &out->if_mtu))
		out->if_mtu = 0;
	out->if_mtu = MIN(out->if_mtu, IP_BYTES_MAX); /* loopback has more */
	return 0;
}

static void add_way(struct doctor *d, const struct doctor_check *c,
		    const struct doctor_peer *peer, struct way *way)
{
	const char *name = way->interface[0] ? way->interface : "?";

	if (way->if_mtu && way->path_mtu < way->if_mtu) {
		doctor_add(d, c, DOCTOR_WARN, peer->name,
			   "path MTU %" PRIu64 ", but %s has %" PRIu64
			   ": something on the way takes less",
			   way->path_mtu, name, way->if_mtu);
		doctor_advise(d,
			      "Give %s and every switch and peer on the way "
			      "the same MTU; a mixture costs time and, where "
			      "ICMP is filtered, connections that hang.",
			      name);
	} else if (way->path_mtu <= 1500) {
		doctor_add(d, c, DOCTOR_NOTE, peer->name,
			   "MTU %" PRIu64 " by %s (%s)", way->path_mtu, name,
			   way->local);
		doctor_advise(d, "Frames of 9000 bytes cost less CPU, where "
				 "every switch and peer on the way has them.");
	} else {
		doctor_add(d, c, DOCTOR_OK, peer->name,
			   "MTU %" PRIu64 " by %s (%s)", way->path_mtu, name,
			   way->local);
	}
}

/* One way leads to all ports of a host. */
static bool is_repeated(const struct doctor *d, size_t index)
{
	char host[2][ADDR_TEXT_LEN];

	addr_format_host(&d->peers[index].addr, host[0]);
	for (size_t i = 0; i < index; i++) {
		addr_format_host(&d->peers[i].addr, host[1]);
		if (strcmp(host[0], host[1]) == 0)
			return true;
	}
	return false;
}

static void check_mtu(struct doctor *d, const struct doctor_check *c)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (size_t i = 0; i < d->peer_count; i++) {
		struct way way = {0};
		int ret;

		if (is_repeated(d, i))
			continue;
		ret = find_way(d, &d->peers[i].addr, &way);
		if (ret) {
			doctor_add(d, c, DOCTOR_FAIL, d->peers[i].name,
				   "no route: %s", strerror(-ret));
			doctor_advise(d, "Look at 'ip route get' of that "
					 "address.");
			continue;
		}
		add_way(d, c, &d->peers[i], &way);
		if (addr_is_loopback(&d->peers[i].addr))
			continue;
		least = MIN(least, way.path_mtu);
		most = MAX(most, way.path_mtu);
	}
	if (!d->peer_count)
		doctor_add(d, c, DOCTOR_OK, "",
			   "no peer was named (--master, --endpoint, "
			   "--discover)");
	if (most > least)
		doctor_add(d, c, DOCTOR_NOTE, "",
			   "peers differ: %" PRIu64 " to %" PRIu64 " bytes",
			   least, most);
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

const struct doctor_check doctor_path_checks[] = {
	{"MTU", "IP_MTU of a socket to each peer, /sys/class/net", DOCTOR_FAIL,
	 "Is that what was meant? One MTU for the whole storage network is "
	 "easier to keep right.",
	 check_mtu},
	{0},
};
