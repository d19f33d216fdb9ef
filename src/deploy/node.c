/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts of --spdk_target_info.  Pure.  Invariant: what goes into a struct
 * node has been checked for what it is; it may still be quoted for a shell.
 */
#include "deploy/node.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nvme/pdu.h"

struct key {
	const char *name;
	/* One item: lists are cut at commas before. */
	int (*take)(struct node *node, struct str item, struct err *err);
	bool is_list;
};

static int bad(struct err *err, const char *key, struct str item,
	       const char *expected)
{
	return err_set(err, -EINVAL, "%s:" STR_FMT ": expected %s", key,
		       (int)MIN(item.n, (size_t)80), item.p ? item.p : "",
		       expected);
}

static int copy(char *to, size_t size, struct str from)
{
	if (!from.n || from.n >= size)
		return -EINVAL;
	memcpy(to, from.p, from.n);
	to[from.n] = '\0';
	return 0;
}

static bool has_only(struct str s, const char *more)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || (c && strchr(more, c))))
			return false;
	}
	return true;
}

bool node_is_socket(struct str path)
{
	return path.n && path.p[0] == '/' && has_only(path, "/._-+@");
}

static bool is_host(struct str s)
{
	return s.n && s.p[0] != '-' && has_only(s, ".:-_%");
}

static int take_ip(struct node *node, struct str item, struct err *err)
{
	if (item.n > 2 && item.p[0] == '[' && item.p[item.n - 1] == ']')
		item = (struct str){item.p + 1, item.n - 2};
	if (!is_host(item) || copy(node->host, sizeof(node->host), item))
		return bad(err, "ip", item, "an address or a host name");
	return 0;
}

static int take_path(struct node *node, struct str item, struct err *err)
{
	if (!item.n || item.p[0] != '/' ||
	    copy(node->path, sizeof(node->path), item))
		return bad(err, "path", item, "an absolute path");
	return 0;
}

/* It stands in scripts and in ssh's -L, which cuts at colons. */
static int take_rpc_socket(struct node *node, struct str item, struct err *err)
{
	if (!node_is_socket(item) ||
	    copy(node->rpc_socket, sizeof(node->rpc_socket), item))
		return bad(err, "rpc_socket", item,
			   "an absolute path of letters, digits and / . _ - "
			   "with at most 107 of them");
	return 0;
}

static bool is_hex(struct str s, size_t at, size_t n)
{
	for (size_t i = at; i < at + n; i++)
		if (!strchr("0123456789abcdefABCDEF", s.p[i]) || !s.p[i])
			return false;
	return true;
}

/* [DDDD:]BB:DD.F */
static int take_pci(struct node *node, struct str item, struct err *err)
{
	char full[16];
	struct str s;

	if (node->pci_count == NODE_DISKS_MAX)
		return bad(err, "pci", item, "at most 64 disks");
	snprintf(full, sizeof(full), "%s" STR_FMT, item.n == 7 ? "0000:" : "",
		 (int)MIN(item.n, (size_t)15), item.p);
	s = str_of(full);
	if (item.n > 12 || s.n != 12 || s.p[4] != ':' || s.p[7] != ':' ||
	    s.p[10] != '.' || !is_hex(s, 0, 4) || !is_hex(s, 5, 2) ||
	    !is_hex(s, 8, 2) || s.p[11] < '0' || s.p[11] > '7')
		return bad(err, "pci", item, "an address like 0000:81:00.0");
	for (char *c = full; *c; c++) /* as sysfs writes it */
		*c = *c >= 'A' && *c <= 'F' ? (char)(*c + 'a' - 'A') : *c;
	memcpy(node->pci[node->pci_count++], full, sizeof(full));
	return 0;
}

static int take_disk(struct node *node, struct str item, struct err *err)
{
	if (node->disk_count == NODE_DISKS_MAX)
		return bad(err, "disk", item, "at most 64 disks");
	if (!item.n || item.p[0] != '/' ||
	    copy(node->disk[node->disk_count], sizeof(node->disk[0]), item))
		return bad(err, "disk", item,
			   "/dev/…, /path/file or /path/file:SIZE");
	node->disk_count++;
	return 0;
}

static int take_backend(struct node *node, struct str item, struct err *err)
{
	for (int i = NODE_SPDK; i <= NODE_MOONCAKE; i++) {
		if (!str_eq_nocase(item, str_of(node_backend_text(i))))
			continue;
		node->backend = i;
		node->has_backend = true;
		return 0;
	}
	return bad(err, "backend", item, "spdk, nvmet or mooncake");
}

/* It becomes a name in configfs and a word of scripts there. */
static int check_nqn(const char *key, struct str item, struct err *err)
{
	int ret = nqn_check(item, err);

	if (ret == 0 && !has_only(item, ".:-_"))
		ret = bad(err, key, item,
			  "an NQN of letters, digits and . : - _");
	return ret;
}

static int take_nqn(struct node *node, struct str item, struct err *err)
{
	int ret = check_nqn("nqn", item, err);

	return ret ? ret : copy(node->nqn, sizeof(node->nqn), item);
}

static int take_serial(struct node *node, struct str item, struct err *err)
{
	if (!has_only(item, "-_.") ||
	    copy(node->serial, sizeof(node->serial), item))
		return bad(err, "serial", item,
			   "at most 20 letters and digits");
	return 0;
}

static int take_addr(struct node *node, struct str item, struct err *err)
{
	if (item.n > 2 && item.p[0] == '[' && item.p[item.n - 1] == ']')
		item = (struct str){item.p + 1, item.n - 2};
	if (node->addr_count == NODE_ADDRS_MAX)
		return bad(err, "addr", item, "at most 8 addresses");
	if (!is_host(item) ||
	    copy(node->addr[node->addr_count], sizeof(node->addr[0]), item))
		return bad(err, "addr", item, "an address or a host name");
	node->addr_count++;
	return 0;
}

static int take_port(struct node *node, struct str item, struct err *err)
{
	uint64_t n;

	if (str_to_u64(item, &n) || !n || n > UINT16_MAX)
		return bad(err, "port", item, "a port number");
	node->trsvcid = (uint16_t)n;
	return 0;
}

static int take_allow(struct node *node, struct str item, struct err *err)
{
	int ret = check_nqn("allow", item, err);

	if (ret)
		return ret;
	if (node->allow_count == NODE_HOSTS_MAX)
		return bad(err, "allow", item, "at most 64 hosts");
	return copy(node->allow[node->allow_count++], sizeof(node->allow[0]),
		    item);
}

/* FILE, or HOSTNQN=FILE for one host. */
static int add_key(struct node_keys *to, const char *key, struct str item,
		   struct err *err)
{
	struct str file, host = str_cut(item, '=', &file);
	int ret = 0;

	if (to->count == NODE_HOSTS_MAX)
		return bad(err, key, item, "at most 64 keys");
	if (!file.p || !str_has_prefix(host, STR("nqn."))) {
		file = item;
		host = (struct str){0};
	}
	if (host.n)
		ret = check_nqn(key, host, err);
	if (ret)
		return ret;
	snprintf(to->items[to->count].host, NVME_NQN_LEN, STR_FMT,
		 STR_ARG(host));
	if (copy(to->items[to->count].file, 256, file))
		return bad(err, key, item, "FILE or HOSTNQN=FILE");
	to->count++;
	return 0;
}

static int take_key(struct node *node, struct str item, struct err *err)
{
	return add_key(&node->key, "key", item, err);
}

static int take_ctrl_key(struct node *node, struct str item, struct err *err)
{
	return add_key(&node->ctrl_key, "ctrl_key", item, err);
}

static int take_ns(struct node *node, struct str item, struct err *err)
{
	uint64_t n;

	if (str_to_u64(item, &n) || !n || n >= UINT32_MAX)
		return bad(err, "ns", item, "a namespace id");
	node->nsid = (uint32_t)n;
	return 0;
}

static const struct key keys[] = {
	{"ip", take_ip, false},
	{"path", take_path, false},
	{"pci", take_pci, true},
	{"disk", take_disk, true},
	{"backend", take_backend, false},
	{"nqn", take_nqn, false},
	{"serial", take_serial, false},
	{"addr", take_addr, true},
	{"port", take_port, false},
	{"allow", take_allow, true},
	{"key", take_key, true},
	{"ctrl_key", take_ctrl_key, true},
	{"ns", take_ns, false},
	{"rpc_socket", take_rpc_socket, false},
};

const char *node_backend_text(enum node_backend backend)
{
	static const char *const texts[] = {"spdk", "nvmet", "mooncake"};

	return texts[backend];
}

static const struct key *find_key(struct str name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (str_eq(name, str_of(keys[i].name)))
			return &keys[i];
	return NULL;
}

static int take_value(struct node *node, const struct key *key,
		      struct str value, struct err *err)
{
	struct str rest = value;
	int ret = 0;

	if (!key->is_list)
		return key->take(node, value, err);
	while (ret == 0 && rest.n) {
		struct str item = str_trim(str_cut(rest, ',', &rest));

		if (item.n) /* "a, b" and a comma at the end */
			ret = key->take(node, item, err);
	}
	return ret;
}

/* A word without a key goes on with the value before it. */
static int go_on(struct node *node, const struct key *key, struct str word,
		 struct err *err)
{
	size_t n;

	if (key && key->is_list)
		return take_value(node, key, word, err);
	n = strlen(node->path);
	if (key && key->take == take_path &&
	    n + word.n + 2 <= sizeof(node->path)) {
		snprintf(node->path + n, sizeof(node->path) - n, " " STR_FMT,
			 STR_ARG(word));
		return 0;
	}
	return err_set(
		err, -EINVAL,
		"'" STR_FMT "' is no key:value; keys are ip, path, pci, "
		"disk, backend, nqn, serial, addr, port, allow, key, ctrl_key, "
		"ns, rpc_socket",
		(int)MIN(word.n, (size_t)80), word.p);
}

const char *node_key_file(const struct node_keys *all, const char *hostnqn)
{
	const char *found = NULL;

	for (size_t i = 0; i < all->count; i++) {
		const char *host = all->items[i].host;

		if (!strcmp(host, hostnqn))
			return all->items[i].file;
		if (!host[0])
			found = all->items[i].file;
	}
	return found;
}

bool node_allows(const struct node *node, const char *hostnqn)
{
	for (size_t i = 0; i < node->allow_count; i++)
		if (!strcmp(node->allow[i], hostnqn))
			return true;
	return false;
}

/* A key that no host has would leave a target open that is meant to be closed.
 */
static int check_keys(const struct node *node, struct err *err)
{
	const struct node_keys *both[] = {&node->key, &node->ctrl_key};

	for (size_t k = 0; k < ARRAY_SIZE(both); k++)
		for (size_t i = 0; i < both[k]->count; i++) {
			const char *host = both[k]->items[i].host;

			if (!node->allow_count ||
			    (host[0] && !node_allows(node, host)))
				return err_set(err, -EINVAL,
					       "%s: a key is for hosts that "
					       "allow: names; it lacks %.200s",
					       node->host,
					       host[0] ? host : "them");
		}
	for (size_t i = 0; i < node->allow_count; i++)
		if (node_key_file(&node->ctrl_key, node->allow[i]) &&
		    !node_key_file(&node->key, node->allow[i]))
			return err_set(err, -EINVAL,
				       "%s: ctrl_key: without key: for %.200s: "
				       "only a host that proves itself can "
				       "ask the target to",
				       node->host, node->allow[i]);
	return 0;
}

static int check(struct node *node, struct str text, struct err *err)
{
	if (!node->host[0])
		return err_set(err, -EINVAL, "ip: is missing in '" STR_FMT "'",
			       (int)MIN(text.n, (size_t)100), text.p);
	if (!node->trsvcid)
		node->trsvcid = PDU_DEFAULT_PORT;
	if (!node->addr_count)
		memcpy(node->addr[node->addr_count++], node->host,
		       sizeof(node->host));
	if (!node->has_backend)
		node->backend = node->path[0] ? NODE_SPDK : NODE_MOONCAKE;
	if (node->backend == NODE_SPDK && node->disk_count)
		return err_set(err, -EINVAL,
			       "disk: is for backend:nvmet and "
			       "backend:mooncake; SPDK takes disks by pci:");
	if (node->backend == NODE_NVMET && node->path[0])
		return err_set(err, -EINVAL,
			       "path: is for backend:spdk and "
			       "backend:mooncake");
	if (node->backend == NODE_NVMET && node->rpc_socket[0])
		return err_set(err, -EINVAL,
			       "rpc_socket: is for backend:spdk and "
			       "backend:mooncake");
	return check_keys(node, err);
}

int node_split_disk(const char *text, uint64_t unit, char path[256],
		    uint64_t *bytes, struct err *err)
{
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : strlen(text);

	*bytes = 0;
	if (colon &&
	    (str_to_size(str_of(colon + 1), bytes) || *bytes % unit || !*bytes))
		return err_set(err, -EINVAL,
			       "disk:%.100s: '%.40s' is no size like 100g",
			       text, colon + 1);
	snprintf(path, 256, "%.*s", (int)n, text);
	return 0;
}

bool node_names_disk(const struct node *node, uint64_t unit, const char *path)
{
	for (size_t i = 0; i < node->disk_count; i++) {
		struct err ignored = {0};
		char named[256];
		uint64_t bytes;

		if (!node_split_disk(node->disk[i], unit, named, &bytes,
				     &ignored) &&
		    !strcmp(named, path))
			return true;
	}
	return false;
}

int node_parse(struct str text, struct node *out, struct err *err)
{
	const struct key *key = NULL;
	struct str rest = str_trim(text);
	int ret = 0;

	*out = (struct node){0};
	while (ret == 0 && rest.n) {
		struct str word = str_cut(rest, ' ', &rest), value;
		struct str name = str_cut(word, ':', &value);
		const struct key *found = value.p ? find_key(name) : NULL;

		if (!word.n)
			continue;
		if (found) {
			key = found;
			ret = take_value(out, key, value, err);
		} else {
			ret = go_on(out, key, word, err);
		}
	}
	return ret ? ret : check(out, text, err);
}
