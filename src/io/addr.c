/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses; any thread.  Invariant: len fits the family in ss. */
#include "io/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static const struct sockaddr_in *addr_in(const struct addr *addr)
{
	return (const struct sockaddr_in *)&addr->ss;
}

static const struct sockaddr_in6 *addr_in6(const struct addr *addr)
{
	return (const struct sockaddr_in6 *)&addr->ss;
}

static int addr_lookup(const char *host, uint16_t port, int flags,
		       struct addr *out)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = flags,
	};
	struct addrinfo *list = NULL;
	int ret;

	memset(out, 0, sizeof(*out));
	ret = getaddrinfo(host, NULL, &hints, &list);
	if (ret != 0)
		return ret;
	ASSERT(list->ai_addrlen <= sizeof(out->ss));
	memcpy(&out->ss, list->ai_addr, list->ai_addrlen);
	out->len = list->ai_addrlen;
	freeaddrinfo(list);
	addr_set_port(out, port);
	return 0;
}

int addr_parse(const char *host, uint16_t port, struct addr *out)
{
	/* getaddrinfo() would take "1" and "0x7f.1" too. */
	struct in_addr v4;

	if (!host[0] ||
	    (!strchr(host, ':') && inet_pton(AF_INET, host, &v4) != 1))
		return -EINVAL;
	if (addr_lookup(host, port, AI_NUMERICHOST, out) != 0)
		return -EINVAL;
	return 0;
}

int addr_resolve(const char *host, uint16_t port, struct addr *out,
		 struct err *err)
{
	int ret;

	if (!host[0])
		return err_set(err, -EINVAL, "the host name is empty");
	if (addr_parse(host, port, out) == 0)
		return 0;
	ret = addr_lookup(host, port, AI_ADDRCONFIG, out);
	/* Hosts with nothing but loopback have no "configured" family. */
	if (ret != 0 && ret != EAI_AGAIN)
		ret = addr_lookup(host, port, 0, out);
	if (ret == 0)
		return 0;
	return err_set(err, ret == EAI_AGAIN ? -EAGAIN : -ENOENT,
		       "cannot resolve host \"%s\": %s", host,
		       gai_strerror(ret));
}

int addr_unix(const char *path, struct addr *out)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&out->ss;
	size_t n = strlen(path);

	memset(out, 0, sizeof(*out));
	if (n == 0)
		return -EINVAL;
	if (n >= sizeof(un->sun_path))
		return -ENAMETOOLONG;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, n);
	out->len = sizeof(*un);
	return 0;
}

void addr_format_host(const struct addr *addr, char out[ADDR_TEXT_LEN])
{
	int ret = getnameinfo((const struct sockaddr *)&addr->ss, addr->len,
			      out, ADDR_TEXT_LEN, NULL, 0, NI_NUMERICHOST);

	if (ret != 0)
		snprintf(out, ADDR_TEXT_LEN, "?");
}

void addr_format(const struct addr *addr, char out[ADDR_TEXT_LEN])
{
	char host[ADDR_TEXT_LEN];
	bool is_v6 = addr->ss.ss_family == AF_INET6;

	addr_format_host(addr, host);
	host[ADDR_TEXT_LEN - 9] = 0; /* leaves room for "[]:65535" */
	snprintf(out, ADDR_TEXT_LEN, is_v6 ? "[%s]:%u" : "%s:%u", host,
		 addr_port(addr));
}

uint16_t addr_port(const struct addr *addr)
{
	switch (addr->ss.ss_family) {
	case AF_INET:
		return ntohs(addr_in(addr)->sin_port);
	case AF_INET6:
		return ntohs(addr_in6(addr)->sin6_port);
	default:
		return 0;
	}
}

void addr_set_port(struct addr *addr, uint16_t port)
{
	if (addr->ss.ss_family == AF_INET)
		((struct sockaddr_in *)&addr->ss)->sin_port = htons(port);
	else if (addr->ss.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&addr->ss)->sin6_port = htons(port);
}

bool addr_is_any(const struct addr *addr)
{
	if (addr->ss.ss_family == AF_INET)
		return addr_in(addr)->sin_addr.s_addr == htonl(INADDR_ANY);
	if (addr->ss.ss_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&addr_in6(addr)->sin6_addr);
	return false;
}

bool addr_is_loopback(const struct addr *addr)
{
	if (addr->ss.ss_family == AF_INET)
		return ntohl(addr_in(addr)->sin_addr.s_addr) >> 24 ==
		       IN_LOOPBACKNET;
	if (addr->ss.ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&addr_in6(addr)->sin6_addr);
	return false;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	if (a->ss.ss_family != b->ss.ss_family || addr_port(a) != addr_port(b))
		return false;
	if (a->ss.ss_family == AF_INET)
		return addr_in(a)->sin_addr.s_addr ==
		       addr_in(b)->sin_addr.s_addr;
	if (a->ss.ss_family == AF_INET6)
		return memcmp(&addr_in6(a)->sin6_addr, &addr_in6(b)->sin6_addr,
			      sizeof(struct in6_addr)) == 0 &&
		       addr_in6(a)->sin6_scope_id == addr_in6(b)->sin6_scope_id;
	return a->len == b->len && memcmp(&a->ss, &b->ss, a->len) == 0;
}
