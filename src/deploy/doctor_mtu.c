/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to each peer of the cluster: the MTU of route and interface, and
 * whether packets of that size arrive.  One thread.  Invariant: what is sent is
 * a datagram to a port where nobody listens, as traceroute does; only a peer
 * that answers a small one is judged by what becomes of a large one.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/time.h"
#include "deploy/doctor_check.h"

#define IP_BYTES_MAX ((uint64_t)65535)
#define PROBE_PORT   33434 /* traceroute's */
#define PROBE_SMALL  64	   /* bytes with headers, which fit everywhere */
#define PROBE_MS     1000  /* at most, for an answer */

/* What became of the packets that were sent. */
enum fate {
	FATE_UNKNOWN, /* no answer, not even to a small one */
	FATE_ARRIVED,
	FATE_TOO_BIG, /* a router said so */
	FATE_LOST,    /* a small one arrives, a large one does not */
};

struct way {
	const struct doctor_peer *peer;
	uint64_t path_mtu, if_mtu;
	char interface[IF_NAMESIZE];
	char local[ADDR_TEXT_LEN];
	int fd; /* of probes; -1 = none is out */
	enum fate fate;
};

/* --- routes --- */

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

/* Not by /sys, which may be that of another network; 0 = not known. */
static uint64_t interface_mtu(const char *name)
{
	struct ifreq req = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t mtu = 0;

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (fd >= 0 && ioctl(fd, SIOCGIFMTU, &req) == 0 && req.ifr_mtu > 0)
		mtu = (uint64_t)req.ifr_mtu;
	if (fd >= 0)
		close(fd);
	return MIN(mtu, IP_BYTES_MAX); /* loopback has more */
}

static int find_way(struct way *out)
{
	struct addr local;
	int ret = ask_route(&out->peer->addr, &local, &out->path_mtu);

	if (ret)
		return ret;
	addr_format_host(&local, out->local);
	find_interface(&local, out->interface, sizeof(out->interface));
	out->if_mtu = interface_mtu(out->interface);
	return 0;
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

/* --- do packets arrive? --- */

/* Never cut into pieces, whatever is known of the way. */
static int open_probe(const struct addr *peer)
{
	bool is_v6 = peer->ss.ss_family == AF_INET6;
	int mode = is_v6 ? IPV6_PMTUDISC_PROBE : IP_PMTUDISC_PROBE;
	struct addr to = *peer;
	int fd = socket(peer->ss.ss_family,
			SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	addr_set_port(&to, PROBE_PORT);
	if (setsockopt(fd, is_v6 ? IPPROTO_IPV6 : IPPROTO_IP,
		       is_v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &mode,
		       sizeof(mode)) ||
	    connect(fd, (const struct sockaddr *)&to.ss, to.len)) {
		close(fd);
		return -errno;
	}
	return fd;
}

static bool send_probe(const struct way *way, uint64_t bytes)
{
	static const uint8_t zeros[IP_BYTES_MAX];
	uint64_t heads = way->peer->addr.ss.ss_family == AF_INET6 ? 48 : 28;

	return send(way->fd, zeros, bytes - heads, 0) >= 0;
}

/* 0 = nothing yet; else what came back. */
static int take_answer(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) ? 0 : error;
}

/* Gives a fate to those in fds (fd -1 = not asked) that answer in time. */
static void gather(struct way *ways, struct pollfd *fds, size_t count,
		   uint32_t timeout_ms)
{
	uint64_t end = time_mono_ns() + timeout_ms * NS_PER_MS, now;
	size_t left = 0;

	for (size_t i = 0; i < count; i++)
		left += fds[i].fd >= 0;
	while (left && (now = time_mono_ns()) < end) {
		if (poll(fds, count, (int)((end - now) / NS_PER_MS) + 1) < 0 &&
		    errno != EINTR)
			return;
		for (size_t i = 0; i < count; i++) {
			int error = fds[i].fd < 0 || !fds[i].revents
					    ? 0
					    : take_answer(fds[i].fd);

			if (!error)
				continue;
			ways[i].fate = error == ECONNREFUSED ? FATE_ARRIVED
				       : error == EMSGSIZE   ? FATE_TOO_BIG
							     : FATE_UNKNOWN;
			fds[i].fd = -1;
			left--;
		}
	}
}

/* Small ones to all, then large ones to who has answered. */
static void probe_all(struct doctor *d, struct way *ways, size_t count,
		      struct pollfd *fds)
{
	uint32_t timeout_ms = MIN(d->opts.timeout_ms, (uint32_t)PROBE_MS);

	for (size_t i = 0; i < count; i++) {
		ways[i].fd = addr_is_loopback(&ways[i].peer->addr)
				     ? -1
				     : open_probe(&ways[i].peer->addr);
		fds[i] = (struct pollfd){.fd = -1};
		if (ways[i].fd >= 0 && send_probe(&ways[i], PROBE_SMALL))
			fds[i].fd = ways[i].fd;
	}
	gather(ways, fds, count, timeout_ms);
	for (size_t i = 0; i < count; i++) {
		bool is_there = ways[i].fate == FATE_ARRIVED;

		fds[i].fd = -1;
		ways[i].fate = FATE_UNKNOWN;
		if (!is_there || ways[i].if_mtu <= PROBE_SMALL ||
		    !send_probe(&ways[i], ways[i].if_mtu))
			continue;
		ways[i].fate = FATE_LOST;
		fds[i].fd = ways[i].fd;
	}
	gather(ways, fds, count, timeout_ms);
	for (size_t i = 0; i < count; i++) {
		if (ways[i].fd >= 0)
			close(ways[i].fd);
		if (ways[i].fate == FATE_TOO_BIG) /* the route has learned */
			(void)find_way(&ways[i]);
	}
}

/* --- findings --- */

#define SAME_MTU "Give %s and every switch and peer on the way the same MTU"

static void add_way(struct doctor *d, const struct doctor_check *c,
		    const struct way *way)
{
	const char *name = way->interface[0] ? way->interface : "?";
	const char *to = way->peer->name;

	if (way->fate == FATE_LOST) {
		doctor_add(d, c, DOCTOR_FAIL, to,
			   "packets of %" PRIu64 " bytes (the MTU of %s) get "
			   "lost on the way, small ones arrive",
			   way->if_mtu, name);
		doctor_advise(d,
			      SAME_MTU ": connections come up and then hang at "
				       "the first large transfer.",
			      name);
	} else if (way->if_mtu && way->path_mtu < way->if_mtu) {
		doctor_add(d, c, DOCTOR_WARN, to,
			   "path MTU %" PRIu64 ", but %s has %" PRIu64
			   ": something on the way takes less",
			   way->path_mtu, name, way->if_mtu);
		doctor_advise(d,
			      SAME_MTU "; a mixture costs time and, where ICMP "
				       "is filtered, connections that hang.",
			      name);
	} else {
		bool is_small = way->path_mtu <= 1500;

		doctor_add(d, c, is_small ? DOCTOR_NOTE : DOCTOR_OK, to,
			   "MTU %" PRIu64 " by %s (%s)%s", way->path_mtu, name,
			   way->local,
			   way->fate == FATE_ARRIVED ? ", tried" : "");
		if (is_small)
			doctor_advise(d, "Frames of 9000 bytes cost less CPU, "
					 "where every switch and peer on the "
					 "way has them.");
	}
}

/* Those that have a route; returns how many. */
static size_t find_ways(struct doctor *d, const struct doctor_check *c,
			struct way *ways)
{
	size_t count = 0;

	for (size_t i = 0; i < d->peer_count; i++) {
		struct way *way = &ways[count];
		int ret;

		if (is_repeated(d, i))
			continue;
		*way = (struct way){.peer = &d->peers[i], .fd = -1};
		ret = find_way(way);
		if (ret == 0) {
			count++;
			continue;
		}
		doctor_add(d, c, DOCTOR_FAIL, way->peer->name, "no route: %s",
			   strerror(-ret));
		doctor_advise(d, "Look at 'ip route get' of that address.");
	}
	return count;
}

static void add_ways(struct doctor *d, const struct doctor_check *c,
		     const struct way *ways, size_t count)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (size_t i = 0; i < count; i++) {
		add_way(d, c, &ways[i]);
		if (addr_is_loopback(&ways[i].peer->addr))
			continue;
		least = MIN(least, ways[i].path_mtu);
		most = MAX(most, ways[i].path_mtu);
	}
	if (most > least)
		doctor_add(d, c, DOCTOR_NOTE, "",
			   "peers differ: %" PRIu64 " to %" PRIu64 " bytes",
			   least, most);
}

static void check_mtu(struct doctor *d, const struct doctor_check *c)
{
	struct way *ways = calloc(d->peer_count + 1, sizeof(*ways));
	struct pollfd *fds = calloc(d->peer_count + 1, sizeof(*fds));
	size_t count;

	if (!ways || !fds) {
		d->is_out_of_memory = true;
	} else {
		count = find_ways(d, c, ways);
		probe_all(d, ways, count, fds);
		add_ways(d, c, ways, count);
	}
	free(ways);
	free(fds);
	if (!d->peer_count)
		doctor_add(d, c, DOCTOR_OK, "",
			   "no peer was named (--master, --endpoint, "
			   "--discover)");
}

const struct doctor_check doctor_path_checks[] = {
	{"MTU", "IP_MTU of a socket to each peer, its interface, datagrams",
	 DOCTOR_FAIL,
	 "Is that what was meant? One MTU for the whole storage network is "
	 "easier to keep right.",
	 check_mtu},
	{0},
};
