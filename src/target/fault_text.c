/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fault rule as people write it: KEY=VALUE[,KEY=VALUE], the one parser of it.
 * No thread of its own.  Invariant: what comes out of fault_parse() is complete
 * and makes sense, whatever the text was.
 */
#include "target/fault_rule.h"

#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "base/time.h"

#define ANY_KIND  (FAULT_BIT(FAULT_KINDS) - 1)
#define B(kind)	  FAULT_BIT(FAULT_##kind)
#define TEXT_MAX  1024
#define MAX_DELAY 3600000.0 /* ms */

/* What each kind is for, and for which commands when nothing is said. */
static const struct kind {
	const char *name;
	uint32_t can, def; /* FAULT_OP_* */
} kinds[FAULT_KINDS] = {
	[FAULT_ERROR] = {"error", FAULT_OP_IO | FAULT_OP_ADMIN, FAULT_OP_IO},
	[FAULT_DELAY] = {"delay", FAULT_OP_ALL, FAULT_OP_IO},
	[FAULT_RATE] = {"rate", FAULT_OP_IO, FAULT_OP_IO},
	[FAULT_CORRUPT] = {"corrupt", FAULT_OP_READ | FAULT_OP_WRITE,
			   FAULT_OP_READ},
	[FAULT_TORN] = {"torn", FAULT_OP_WRITE, FAULT_OP_WRITE},
	[FAULT_MISDIRECT] = {"misdirect", FAULT_OP_WRITE, FAULT_OP_WRITE},
	[FAULT_DROP] = {"drop", FAULT_OP_ALL, FAULT_OP_IO},
	[FAULT_DISCONNECT] = {"disconnect", FAULT_OP_ALL, FAULT_OP_IO},
	[FAULT_STALL] = {"stall", FAULT_OP_IO | FAULT_OP_ADMIN, FAULT_OP_IO},
	[FAULT_REFUSE] = {"refuse", FAULT_OP_CONNECT, FAULT_OP_CONNECT},
	[FAULT_HDGST] = {"hdgst", FAULT_OP_IO | FAULT_OP_ADMIN, FAULT_OP_IO},
	[FAULT_DDGST] = {"ddgst", FAULT_OP_READ, FAULT_OP_READ},
	[FAULT_DUP] = {"dup", FAULT_OP_IO | FAULT_OP_ADMIN, FAULT_OP_IO},
	[FAULT_WRONGCID] = {"wrongcid", FAULT_OP_IO | FAULT_OP_ADMIN,
			    FAULT_OP_IO},
	[FAULT_BADRANGE] = {"badrange", FAULT_OP_READ, FAULT_OP_READ},
};

const char *fault_kind_name(enum fault_kind kind)
{
	return kinds[kind].name;
}

struct word {
	const char *name;
	uint32_t value;
};

static const struct word ops[] = {
	{"read", FAULT_OP_READ},
	{"write", FAULT_OP_WRITE},
	{"flush", FAULT_OP_FLUSH},
	{"other", FAULT_OP_OTHER},
	{"admin", FAULT_OP_ADMIN},
	{"connect", FAULT_OP_CONNECT},
	{"io", FAULT_OP_IO},
	{"all", FAULT_OP_ALL},
	{NULL, 0},
};

static const struct word sides[] = {
	{"rx", FAULT_RX},
	{"tx", FAULT_TX},
	{"both", FAULT_RX | FAULT_TX},
	{NULL, 0},
};

static const struct word hows[] = {{"fin", 0}, {"rst", 1}, {NULL, 0}};

enum value_type {
	V_U32,
	V_U64,
	V_SIZE,
	V_MS,	/* to ns */
	V_TIME, /* to ms: 30, 30s, 500ms, 5m; a plain number is seconds */
	V_PART, /* 0 < p <= 1 */
	V_NQN,
	V_STATUS,
	V_LBA,
	V_WORD32, /* of a list */
	V_BOOLWORD,
};

#define KEY(field) offsetof(struct fault_rule, field)
static const struct key {
	const char *name;
	enum value_type type;
	size_t off;
	uint32_t kinds; /* that take it */
	uint64_t min;
	const struct word *words;
} keys[] = {
	{"op", V_WORD32, KEY(ops), ANY_KIND, 0, ops},
	{"nsid", V_U32, KEY(nsid), ANY_KIND & ~B(REFUSE), 1, NULL},
	{"qid", V_U32, KEY(qid), ANY_KIND, 0, NULL},
	{"nqn", V_NQN, KEY(nqn), ANY_KIND, 0, NULL},
	{"host", V_NQN, KEY(host), ANY_KIND, 0, NULL},
	{"lba", V_LBA, KEY(lba_first), ANY_KIND & ~B(REFUSE), 0, NULL},
	{"p", V_PART, KEY(p), ANY_KIND, 0, NULL},
	{"every", V_U64, KEY(every), ANY_KIND, 1, NULL},
	{"after", V_U64, KEY(after), ANY_KIND, 0, NULL},
	{"after_bytes", V_SIZE, KEY(after_bytes), ANY_KIND, 0, NULL},
	{"count", V_U64, KEY(count), ANY_KIND, 1, NULL},
	{"for", V_TIME, KEY(for_ms), ANY_KIND, 1, NULL},
	{"seed", V_U64, KEY(seed), ANY_KIND, 0, NULL},
	{"status", V_STATUS, KEY(sc), B(ERROR) | B(TORN) | B(REFUSE), 1, NULL},
	{"ms", V_MS, KEY(delay_ns), B(DELAY) | B(STALL), 0, NULL},
	{"p50", V_MS, KEY(p50_ns), B(DELAY), 0, NULL},
	{"p99", V_MS, KEY(p99_ns), B(DELAY), 0, NULL},
	{"bytes_per_s", V_SIZE, KEY(bytes_per_s), B(RATE), 1, NULL},
	{"iops", V_U64, KEY(iops), B(RATE), 1, NULL},
	{"blocks", V_U64, KEY(blocks), B(TORN), 0, NULL},
	{"shift", V_U64, KEY(shift), B(MISDIRECT), 1, NULL},
	{"side", V_WORD32, KEY(sides), B(STALL), 0, sides},
	{"how", V_BOOLWORD, KEY(is_rst), B(DISCONNECT) | B(REFUSE), 0, hows},
};

static int word_find(const struct word *words, struct str s, uint32_t *out)
{
	for (; words->name; words++) {
		if (str_eq(str_of(words->name), s)) {
			*out = words->value;
			return 0;
		}
	}
	return -EINVAL;
}

/* Decimal, or hexadecimal behind 0x. */
static int parse_status(struct str s, uint64_t *out)
{
	uint64_t v = 0;

	if (!str_has_prefix(s, STR("0x")))
		return str_to_u64(s, out);
	if (s.n < 3 || s.n > 6)
		return -EINVAL;
	for (size_t i = 2; i < s.n; i++) {
		const char *digits = "0123456789abcdef0123456789ABCDEF";
		const char *at = memchr(digits, s.p[i], strlen(digits));

		if (!at)
			return -EINVAL;
		v = v << 4 | (uint64_t)((at - digits) % 16);
	}
	*out = v;
	return 0;
}

static int parse_ms(struct str s, uint64_t *out)
{
	double ms;
	int ret = str_to_double(s, &ms);

	if (ret)
		return ret;
	if (!(ms > 0 && ms <= MAX_DELAY))
		return -ERANGE;
	*out = (uint64_t)(ms * (double)NS_PER_MS);
	return 0;
}

static int parse_time(struct str s, uint64_t *out)
{
	uint64_t v;

	if (str_to_u64(s, &v))
		return str_to_ms(s, out);
	return mul_overflows(v, (uint64_t)1000, out) ? -ERANGE : 0;
}

static int parse_lba(struct str s, struct fault_rule *rule)
{
	struct str last, first = str_cut(s, '-', &last);
	int ret = str_to_u64(first, &rule->lba_first);

	rule->lba_last = rule->lba_first;
	if (!ret && last.p)
		ret = str_to_u64(last, &rule->lba_last);
	rule->has_lba = true;
	return ret ? ret : rule->lba_last < rule->lba_first ? -EINVAL : 0;
}

static int parse_part(struct str s, double *out)
{
	int ret = str_to_double(s, out);

	return ret ? ret : *out > 0 && *out <= 1 ? 0 : -ERANGE;
}

static int parse_nqn(struct str s, char *out)
{
	if (!s.n || s.n >= NVME_NQN_LEN)
		return -EINVAL;
	snprintf(out, NVME_NQN_LEN, STR_FMT, STR_ARG(s));
	return 0;
}

static int parse_number(const struct key *key, struct str s, void *at)
{
	uint64_t v;
	int ret = key->type == V_SIZE	  ? str_to_size(s, &v)
		  : key->type == V_MS	  ? parse_ms(s, &v)
		  : key->type == V_TIME	  ? parse_time(s, &v)
		  : key->type == V_STATUS ? parse_status(s, &v)
					  : str_to_u64(s, &v);

	if (ret)
		return ret;
	if (v < key->min || (key->type == V_U32 && v > UINT32_MAX - 1) ||
	    (key->type == V_STATUS && v > 0x7fff))
		return -ERANGE;
	if (key->type == V_U32)
		*(uint32_t *)at = (uint32_t)v;
	else
		*(uint64_t *)at = v;
	return 0;
}

static int parse_value(const struct key *key, struct str s,
		       struct fault_rule *rule)
{
	void *at = (char *)rule + key->off;
	uint32_t word = 0;
	int ret;

	switch (key->type) {
	case V_PART:
		return parse_part(s, at);
	case V_NQN:
		return parse_nqn(s, at);
	case V_LBA:
		return parse_lba(s, rule);
	case V_WORD32:
		return word_find(key->words, s, at);
	case V_BOOLWORD:
		ret = word_find(key->words, s, &word);
		*(bool *)at = word;
		return ret;
	default:
		return parse_number(key, s, at);
	}
}

static int parse_kind(struct str s, struct fault_rule *rule, struct err *err)
{
	char all[200] = "";
	size_t n = 0;

	for (unsigned i = 0; i < FAULT_KINDS; i++) {
		if (str_eq(s, str_of(kinds[i].name))) {
			rule->kind = (enum fault_kind)i;
			return 0;
		}
		n += (size_t)snprintf(all + n, sizeof(all) - n, " %s",
				      kinds[i].name);
		ASSERT(n < sizeof(all));
	}
	return err_set(err, -EINVAL, "fault kind '" STR_FMT "': one of%s",
		       STR_ARG(s), all);
}

static int parse_pair(struct str pair, struct fault_rule *rule, uint64_t *had,
		      struct err *err)
{
	struct str value, name = str_cut(pair, '=', &value);

	if (str_eq(name, STR("kind")))
		return 0; /* the first look has it */
	if (str_eq(pair, STR("once"))) {
		name = STR("count");
		value = STR("1");
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!str_eq(name, str_of(keys[i].name)))
			continue;
		if (*had >> i & 1)
			return err_set(err, -EINVAL,
				       "fault: '%s' is there twice",
				       keys[i].name);
		*had |= (uint64_t)1 << i;
		rule->has_seed |= keys[i].off == KEY(seed);
		if (!(keys[i].kinds & FAULT_BIT(rule->kind)))
			return err_set(err, -EINVAL,
				       "fault: '%s' means nothing for kind=%s",
				       keys[i].name, kinds[rule->kind].name);
		if (parse_value(&keys[i], value, rule))
			return err_set(err, -EINVAL,
				       "fault: '" STR_FMT
				       "' is no value for '%s'",
				       STR_ARG(value), keys[i].name);
		return 0;
	}
	return err_set(err, -EINVAL, "fault: unknown key '" STR_FMT "'",
		       STR_ARG(name));
}

/* What must be there, and what must not be there together. */
static int check(const struct fault_rule *r, struct err *err)
{
	const struct kind *kind = &kinds[r->kind];
	bool has_dist = r->p50_ns || r->p99_ns;

	if (!(r->ops & kind->can))
		return err_set(err, -EINVAL,
			       "fault: kind=%s can't happen to that op",
			       kind->name);
	if (r->kind == FAULT_DELAY && !r->delay_ns == !has_dist)
		return err_set(err, -EINVAL,
			       "fault: kind=delay takes ms=, or p50= and p99=");
	if (has_dist && (!r->p50_ns || r->p99_ns < r->p50_ns))
		return err_set(err, -EINVAL,
			       "fault: p50= and p99= go together, and p99 is"
			       " not less than p50");
	if (r->kind == FAULT_RATE && !r->bytes_per_s && !r->iops)
		return err_set(err, -EINVAL,
			       "fault: kind=rate takes bytes_per_s=, iops= or"
			       " both");
	if (r->p > 0 && r->every)
		return err_set(err, -EINVAL, "fault: p= or every=, not both");
	return 0;
}

/* It goes into the log as it is. */
static bool is_plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < ' ' || s.p[i] > '~' || s.p[i] == '"')
			return false;
	}
	return true;
}

static int find_kind(struct str text, struct fault_rule *out, struct err *err)
{
	struct str rest = text;

	while (rest.n) {
		struct str pair = str_trim(str_cut(rest, ',', &rest));

		if (str_has_prefix(pair, STR("kind=")))
			return parse_kind((struct str){pair.p + 5, pair.n - 5},
					  out, err);
	}
	return err_set(err, -EINVAL,
		       "fault '" STR_FMT "': kind= is missing, e.g."
		       " kind=delay,op=read,nsid=1,ms=50,every=100",
		       STR_ARG(text));
}

int fault_parse(const char *text, struct fault_rule *out, struct err *err)
{
	struct str all = str_trim(str_of(text)), rest = all;
	uint64_t had = 0;
	int ret;

	*out = (struct fault_rule){.qid = UINT32_MAX};
	if (all.n > TEXT_MAX || !is_plain(all))
		return err_set(err, -EINVAL,
			       "fault: longer than %d bytes, or not plain text",
			       TEXT_MAX);
	ret = find_kind(all, out, err);
	while (!ret && rest.n) {
		struct str pair = str_trim(str_cut(rest, ',', &rest));

		ret = parse_pair(pair, out, &had, err);
	}
	if (ret)
		return ret;
	if (!out->ops)
		out->ops = kinds[out->kind].def;
	if (!out->sides)
		out->sides = FAULT_RX | FAULT_TX;
	if (out->kind == FAULT_MISDIRECT && !out->shift)
		out->shift = 1;
	ret = check(out, err);
	out->ops &= kinds[out->kind].can;
	return ret;
}
