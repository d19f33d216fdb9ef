/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses: numeric parsing never blocks, resolving does. */
#ifndef IO_ADDR_H
#define IO_ADDR_H

#include <sys/socket.h>

#include "base/hostport.h"

struct addr {
	struct sockaddr_storage ss;
	socklen_t len;
};

#define ADDR_TEXT_LEN 80 /* "[v6%scope]:port" with NUL */

/* Numeric IPv4/IPv6 only.  -EINVAL. */
int addr_parse(const char *host, uint16_t port, struct addr *out);
/* Numeric or name (getaddrinfo): blocks, so never on a loop's thread. */
int addr_resolve(const char *host, uint16_t port, struct addr *out,
		 struct err *err);
/* A Unix socket's file.  -EINVAL when empty, -ENAMETOOLONG. */
int addr_unix(const char *path, struct addr *out);
void addr_format(const struct addr *addr, char out[ADDR_TEXT_LEN]);
/* The host alone, without port or brackets. */
void addr_format_host(const struct addr *addr, char out[ADDR_TEXT_LEN]);
uint16_t addr_port(const struct addr *addr);
void addr_set_port(struct addr *addr, uint16_t port);
bool addr_is_any(const struct addr *addr);	/* 0.0.0.0 or :: */
bool addr_is_loopback(const struct addr *addr); /* 127.0.0.0/8 or ::1 */
bool addr_eq(const struct addr *a, const struct addr *b);

#endif
