/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "host:port", "[v6]:port", bare "host" as text.  No resolving here (io/addr).
 */
#ifndef BASE_HOSTPORT_H
#define BASE_HOSTPORT_H

#include "base/err.h"
#include "base/str.h"

#define HOST_TEXT_LEN 256

struct hostport {
	char host[HOST_TEXT_LEN]; /* without brackets; "" when absent */
	uint16_t port;
	bool has_port;
};

/* default_port is used when s has none (0 = leave 0).  -EINVAL + err. */
int hostport_parse(struct str s, uint16_t default_port, struct hostport *out,
		   struct err *err);
/* "host:port", with brackets around an IPv6 literal; out holds
 * HOST_TEXT_LEN + 8 bytes. */
void hostport_format(const struct hostport *hp, char *out);

#endif
