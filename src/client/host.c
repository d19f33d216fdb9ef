/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and ports.  Runs in the thread that calls setup.
 *
 * Invariant: the port in the name is ours alone: the segment listens on it, or
 * port_fd is bound to it (unless the caller named the port and has no segment).
 */
#include "client/host.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rand.h"

/* The address of ours that packets to the master leave from. */
static int route_addr(const struct addr *master, struct addr *out)
{
	int fd = socket(master->ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret = 0;

	if (fd < 0)
		return -errno;
	*out = (struct addr){.len = sizeof(out->ss)};
	if (connect(fd, (const struct sockaddr *)&master->ss, master->len) ||
	    getsockname(fd, (struct sockaddr *)&out->ss, &out->len))
		ret = -errno;
	close(fd);
	return ret;
}

static bool is_loopback(const struct addr *addr)
{
	char host[ADDR_TEXT_LEN];

	addr_format_host(addr, host);
	return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

static int reserve_port(uint16_t port, int *fd)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
	};
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (s < 0)
		return -errno;
	if (bind(s, (struct sockaddr *)&sin, sizeof(sin)) < 0) {
		int ret = -errno;

		close(s);
		return ret;
	}
	*fd = s;
	return 0;
}

/* *bind_addr becomes the wildcard when the name is not one of our interfaces'
 * (behind a NAT, say). */
static int try_port(struct client *c, struct addr *bind_addr, uint16_t port,
		    struct err *err)
{
	struct err first = {0};
	int ret;

	if (!c->segment.mem)
		return reserve_port(port, &c->port_fd);
	addr_set_port(bind_addr, port);
	ret = segment_listen(&c->segment, bind_addr, &first);
	if (ret == -EADDRNOTAVAIL) {
		addr_parse(bind_addr->ss.ss_family == AF_INET6 ? "::"
							       : "0.0.0.0",
			   port, bind_addr);
		first = (struct err){0};
		ret = segment_listen(&c->segment, bind_addr, &first);
	}
	if (ret < 0)
		err_set(err, ret, "%s", first.text);
	return ret;
}

static int choose_port(struct client *c, struct addr *bind_addr, uint16_t *out,
		       struct err *err)
{
	const struct client_conf *conf = &c->conf;
	uint32_t span = conf->port_max - conf->port_min + 1;
	int ret = -EADDRINUSE;
	struct rng rng;
	uint64_t seed;

	if (conf->local.has_port) {
		*out = conf->local.port;
		return c->segment.mem ? try_port(c, bind_addr, *out, err) : 0;
	}
	rand_fill_os(&seed, sizeof(seed));
	rng_seed(&rng, seed);
	for (uint32_t i = 0; i < conf->port_tries && ret == -EADDRINUSE; i++) {
		struct err one = {0};

		*out = (uint16_t)(conf->port_min + rng_below(&rng, span));
		ret = try_port(c, bind_addr, *out, &one);
		if (ret < 0 && ret != -EADDRINUSE)
			err_set(err, ret, "no port for the client: %s",
				one.code ? one.text : strerror(-ret));
	}
	if (ret == -EADDRINUSE)
		err_set(err, ret,
			"%u ports tried in %u..%u and all were in use: widen "
			"MC_STORE_CLIENT_MIN_PORT and _MAX_PORT",
			conf->port_tries, conf->port_min, conf->port_max);
	return ret;
}

static void set_endpoint(struct client *c, const struct addr *at, uint16_t port)
{
	struct endpoint ep = {
		.trsvcid = port,
		.trtype = NVME_TRTYPE_TCP,
		.is_ipv6 = at->ss.ss_family == AF_INET6,
		.nsid = 1,
	};
	char host[ADDR_TEXT_LEN];

	addr_format_host(at, host);
	snprintf(ep.traddr, sizeof(ep.traddr), "%s", host);
	segment_nqn(&c->segment, ep.subnqn);
	endpoint_format(&ep, c->segment.endpoint);
	if (is_loopback(at) && !is_loopback(&c->master))
		log_warn("other hosts can't reach this client's segment",
			 "local_hostname=%s address=%s: give a name or address "
			 "that they can reach",
			 c->conf.local.host, host);
}

int host_settle(struct client *c, struct err *err)
{
	struct addr local = {0}, advertised;
	struct hostport name = c->conf.local;
	char text[ADDR_TEXT_LEN];
	bool is_any =
		addr_parse(name.host, 0, &local) == 0 && addr_is_any(&local);
	int ret;

	if (c->segment.mem && !is_any &&
	    addr_resolve(name.host, 0, &local, err) < 0)
		return err->code;
	advertised = local;
	if (is_any) {
		ret = route_addr(&c->master, &advertised);
		if (ret < 0)
			return err_set(err, ret,
				       "local_hostname is %s and there is no "
				       "route to the master: %s",
				       name.host, strerror(-ret));
		addr_format_host(&advertised, text);
		snprintf(name.host, sizeof(name.host), "%s", text);
	}
	ret = choose_port(c, &local, &name.port, err);
	if (ret < 0)
		return ret;
	name.has_port = true;
	hostport_format(&name, c->name);
	snprintf(c->host, sizeof(c->host), "%s", name.host);
	if (c->segment.mem)
		set_endpoint(c, &advertised, name.port);
	return 0;
}
