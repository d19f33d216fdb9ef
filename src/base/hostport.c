/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host and port as text.  Pure functions, any thread; what parse accepts,
 * format prints so that parse reads the same again.
 */
#include "base/hostport.h"

#include <errno.h>
#include <stdio.h>

/* Quoted in messages; an absurd length would push the advice out. */
#define QUOTE_MAX 80
#define QUOTE(s)  (int)MIN((s).n, (size_t)QUOTE_MAX), (s).p ? (s).p : ""

static int parse_port(struct str s, struct str text, uint16_t *port,
		      struct err *err)
{
	uint64_t v;

	if (str_to_u64(text, &v) || v > UINT16_MAX)
		return err_set(err, -EINVAL,
			       "'%.*s': the port '%.*s' is not a number from "
			       "0 to 65535",
			       QUOTE(s), QUOTE(text));
	*port = (uint16_t)v;
	return 0;
}

/* Cuts s into host and port text (p == NULL when there is none). */
static int split(struct str s, struct str *host, struct str *port,
		 struct err *err)
{
	struct str rest;

	*port = (struct str){NULL, 0};
	if (s.n && s.p[0] == '[') {
		*host = str_cut((struct str){s.p + 1, s.n - 1}, ']', &rest);
		if (!rest.p || !host->n || (rest.n && rest.p[0] != ':'))
			return err_set(err, -EINVAL,
				       "'%.*s': expected [IPv6 address]:PORT",
				       QUOTE(s));
		if (rest.n)
			*port = (struct str){rest.p + 1, rest.n - 1};
		return 0;
	}
	*host = str_cut(s, ':', &rest);
	if (!rest.p)
		return 0;
	if (rest.n && memchr(rest.p, ':', rest.n))
		*host = s; /* an IPv6 address without brackets has no port */
	else
		*port = rest;
	return 0;
}

static bool is_host_text(struct str host)
{
	for (size_t i = 0; i < host.n; i++)
		if (host.p[i] <= ' ' || host.p[i] == 0x7f ||
		    memchr("[]/@", host.p[i], 4))
			return false;
	return true;
}

int hostport_parse(struct str s, uint16_t default_port, struct hostport *out,
		   struct err *err)
{
	struct hostport hp = {.port = default_port};
	struct str host, port;
	int ret;

	if (!s.n)
		return err_set(err, -EINVAL,
			       "an address is empty; expected HOST:PORT");
	ret = split(s, &host, &port, err);
	if (ret)
		return ret;
	if (host.n >= HOST_TEXT_LEN)
		return err_set(err, -EINVAL,
			       "'%.*s...': a host name has at most %d bytes",
			       QUOTE(host), HOST_TEXT_LEN - 1);
	if (!is_host_text(host))
		return err_set(err, -EINVAL,
			       "'%.*s' is not a host name or address; expected "
			       "HOST:PORT without scheme, path or blanks",
			       QUOTE(s));
	if (port.p) {
		ret = parse_port(s, port, &hp.port, err);
		if (ret)
			return ret;
		hp.has_port = true;
	}
	if (host.n)
		memcpy(hp.host, host.p, host.n);
	*out = hp;
	return 0;
}

void hostport_format(const struct hostport *hp, char *out)
{
	bool is_v6 = strchr(hp->host, ':') != NULL;

	snprintf(out, HOST_TEXT_LEN + 8, is_v6 ? "[%s]:%u" : "%s:%u", hp->host,
		 (unsigned)hp->port);
}
