/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transport ids and NQNs as text.  Pure functions, any thread.  Invariant: an
 * endpoint that endpoint_parse() returned formats to text that parses to the
 * same endpoint.
 */
#include "nvme/endpoint.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base/uuid.h"
#include "nvme/pdu.h"

#define NQN_UUID_PREFIX "nqn.2014-08.org.nvmexpress:uuid:"

static int bad_value(struct err *err, const char *key, struct str value,
		     const char *hint)
{
	return err_set(err, -EINVAL, "endpoint: %s:" STR_FMT " %s", key,
		       (int)MIN(value.n, (size_t)80), value.p ? value.p : "",
		       hint);
}

static int copy_text(char *out, size_t size, struct str value)
{
	if (!value.n || value.n >= size)
		return -EINVAL;
	memcpy(out, value.p, value.n);
	out[value.n] = '\0';
	return 0;
}

static int set_traddr(struct endpoint *ep, struct str value, struct err *err)
{
	struct str host = value;

	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = (struct str){host.p + 1, host.n - 2};
	if (copy_text(ep->traddr, sizeof(ep->traddr), host))
		return bad_value(err, "traddr", value,
				 "must be an address or a name of 1 to 255 "
				 "characters");
	for (size_t i = 0; i < host.n; i++)
		if (!isgraph((unsigned char)host.p[i]))
			return bad_value(err, "traddr", value,
					 "is not an address or a name");
	return 0;
}

static int set_trsvcid(struct endpoint *ep, struct str value, struct err *err)
{
	uint64_t port;

	if (str_to_u64(value, &port) || port < 1 || port > 65535)
		return bad_value(err, "trsvcid", value,
				 "must be a port from 1 to 65535");
	ep->trsvcid = (uint16_t)port;
	return 0;
}

static int set_subnqn(struct endpoint *ep, struct str value, struct err *err)
{
	int ret = nqn_check(value, err);

	if (ret)
		return ret;
	return copy_text(ep->subnqn, sizeof(ep->subnqn), value);
}

static int set_trtype(struct endpoint *ep, struct str value, struct err *err)
{
	if (str_eq_nocase(value, STR("TCP")))
		ep->trtype = NVME_TRTYPE_TCP;
	else if (str_eq_nocase(value, STR("RDMA")))
		ep->trtype = NVME_TRTYPE_RDMA;
	else
		return bad_value(err, "trtype", value, "must be TCP or RDMA");
	return 0;
}

static int set_adrfam(struct endpoint *ep, struct str value, struct err *err)
{
	if (str_eq_nocase(value, STR("IPv4")))
		ep->is_ipv6 = false;
	else if (str_eq_nocase(value, STR("IPv6")))
		ep->is_ipv6 = true;
	else
		return bad_value(err, "adrfam", value, "must be IPv4 or IPv6");
	return 0;
}

static int set_ns(struct endpoint *ep, struct str value, struct err *err)
{
	uint64_t nsid;

	if (str_to_u64(value, &nsid) || nsid < 1 || nsid >= UINT32_MAX)
		return bad_value(err, "ns", value,
				 "must be a namespace id from 1 to 4294967294");
	ep->nsid = (uint32_t)nsid;
	return 0;
}

enum {
	KEY_TRADDR,
	KEY_TRSVCID,
	KEY_SUBNQN,
	KEY_TRTYPE,
	KEY_ADRFAM,
	KEY_NS,
	KEY_COUNT
};

static const struct {
	const char *name;
	int (*set)(struct endpoint *ep, struct str value, struct err *err);
} keys[KEY_COUNT] = {
	[KEY_TRADDR] = {"traddr", set_traddr},
	[KEY_TRSVCID] = {"trsvcid", set_trsvcid},
	[KEY_SUBNQN] = {"subnqn", set_subnqn},
	[KEY_TRTYPE] = {"trtype", set_trtype},
	[KEY_ADRFAM] = {"adrfam", set_adrfam},
	[KEY_NS] = {"ns", set_ns},
};

static int parse_token(struct str token, struct endpoint *ep, unsigned *seen,
		       struct err *err)
{
	struct str value;
	struct str key = str_cut(token, ':', &value);

	for (unsigned i = 0; i < KEY_COUNT; i++) {
		if (!str_eq_nocase(key, str_of(keys[i].name)))
			continue;
		if (*seen & 1u << i)
			return bad_value(err, keys[i].name, value,
					 "is given a second time");
		*seen |= 1u << i;
		return keys[i].set(ep, value, err);
	}
	return err_set(err, -EINVAL,
		       "endpoint: unknown key '" STR_FMT
		       "' (known: traddr trsvcid subnqn trtype adrfam ns)",
		       (int)MIN(key.n, (size_t)40), key.p ? key.p : "");
}

static int check_family(struct endpoint *ep, bool has_adrfam, struct err *err)
{
	uint8_t bytes[16];
	bool is_v4 = inet_pton(AF_INET, ep->traddr, bytes) == 1;
	bool is_v6 = strchr(ep->traddr, ':') != NULL;

	if (!has_adrfam)
		ep->is_ipv6 = is_v6;
	if ((is_v4 && ep->is_ipv6) || (is_v6 && !ep->is_ipv6))
		return bad_value(err, "traddr", str_of(ep->traddr),
				 "does not belong to the given adrfam");
	return 0;
}

int endpoint_parse(struct str text, struct endpoint *out, struct err *err)
{
	struct endpoint ep = {.trtype = NVME_TRTYPE_TCP};
	unsigned seen = 0;
	size_t pos = 0;
	int ret;

	while (pos < text.n) {
		size_t start = pos;

		while (pos < text.n && !isspace((unsigned char)text.p[pos]))
			pos++;
		if (pos > start) {
			ret = parse_token(
				(struct str){text.p + start, pos - start}, &ep,
				&seen, err);
			if (ret)
				return ret;
		}
		pos++;
	}
	if (!(seen & 1u << KEY_TRADDR))
		return err_set(err, -EINVAL,
			       "endpoint: traddr:<address> is missing");
	if (!(seen & 1u << KEY_SUBNQN))
		return err_set(err, -EINVAL,
			       "endpoint: subnqn:<nqn> is missing");
	if (!(seen & 1u << KEY_TRSVCID))
		ep.trsvcid = strcmp(ep.subnqn, NVME_DISC_NQN) ? PDU_DEFAULT_PORT
							      : PDU_DISC_PORT;
	ret = check_family(&ep, seen & 1u << KEY_ADRFAM, err);
	if (!ret)
		*out = ep;
	return ret;
}

void endpoint_format(const struct endpoint *ep, char out[ENDPOINT_TEXT_LEN])
{
	int n = snprintf(out, ENDPOINT_TEXT_LEN,
			 "traddr:%s trsvcid:%u subnqn:%s trtype:%s adrfam:%s",
			 ep->traddr, ep->trsvcid, ep->subnqn,
			 ep->trtype == NVME_TRTYPE_RDMA ? "RDMA" : "TCP",
			 ep->is_ipv6 ? "IPv6" : "IPv4");

	ASSERT(n > 0 && n < ENDPOINT_TEXT_LEN - 16);
	if (ep->nsid)
		snprintf(out + n, (size_t)(ENDPOINT_TEXT_LEN - n), " ns:%u",
			 ep->nsid);
}

static bool is_digits(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isdigit((unsigned char)p[i]))
			return false;
	return true;
}

/* "yyyy-mm." behind "nqn." and at least one character of a domain. */
static bool has_date(struct str nqn)
{
	int month;

	if (nqn.n < 13 || !is_digits(nqn.p + 4, 4) || nqn.p[8] != '-' ||
	    !is_digits(nqn.p + 9, 2) || nqn.p[11] != '.')
		return false;
	month = (nqn.p[9] - '0') * 10 + (nqn.p[10] - '0');
	return month >= 1 && month <= 12;
}

int nqn_check(struct str nqn, struct err *err)
{
	struct str prefix = STR(NQN_UUID_PREFIX);
	int shown = (int)MIN(nqn.n, (size_t)80);
	struct uuid uuid;

	if (!nqn.n)
		return err_set(err, -EINVAL, "the NQN is empty");
	if (nqn.n >= NVME_NQN_LEN)
		return err_set(err, -EINVAL,
			       "NQN '%.*s…' has %zu bytes, at most %d allowed",
			       shown, nqn.p, nqn.n, NVME_NQN_LEN - 1);
	for (size_t i = 0; i < nqn.n; i++) {
		unsigned char c = (unsigned char)nqn.p[i];

		if (c <= ' ' || c == 0x7f)
			return err_set(err, -EINVAL,
				       "NQN '%.*s' has a blank or control "
				       "character at byte %zu",
				       (int)i, nqn.p, i);
	}
	if (!str_has_prefix(nqn, STR("nqn.")) || !has_date(nqn))
		return err_set(err, -EINVAL,
			       "'%.*s' is not an NQN "
			       "(nqn.yyyy-mm.reverse.domain:name)",
			       shown, nqn.p);
	if (str_has_prefix(nqn, prefix) &&
	    (nqn.n != prefix.n + 36 ||
	     uuid_parse((struct str){nqn.p + prefix.n, nqn.n - prefix.n},
			&uuid)))
		return err_set(err, -EINVAL,
			       "NQN '%.*s' must end in a UUID "
			       "(8-4-4-4-12 hex digits)",
			       shown, nqn.p);
	return 0;
}

/* Bytes of the character that p begins with, 0 when it is none to show.  The
 * end of the text is no byte that continues one. */
static unsigned char_len(const uint8_t *p)
{
	static const uint32_t least[] = {0, 0x20, 0x80, 0x800, 0x10000};
	unsigned n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
	uint32_t c = n == 1 ? *p : *p & (0x7fu >> n);

	if (*p >= 0xf8 || (*p >= 0x80 && *p < 0xc0))
		return 0;
	for (unsigned i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || c == 0x7f ||
	    (c >= 0xd800 && c < 0xe000)) /* surrogates */
		return 0;
	return n;
}

bool nqn_is_text(const char *name)
{
	const uint8_t *p = (const uint8_t *)name;
	unsigned n;

	while (*p && (n = char_len(p)))
		p += n;
	return !*p && *name;
}
