/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Setup's text pairs and the environment into one struct.  Runs in the thread
 * that calls setup.  Invariant: what conf_parse() accepted is in range; nobody
 * checks it again.
 */
#include "client/conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/def.h"

enum key {
	KEY_LOCAL_HOSTNAME,
	KEY_METADATA_SERVER,
	KEY_SEGMENT_SIZE,
	KEY_BUFFER_SIZE,
	KEY_PROTOCOL,
	KEY_DEVICES,
	KEY_MASTER,
	KEY_REPLICA_NUM,
	KEY_NOF_REPLICA_NUM,
	KEY_NOF_POOL,
	KEY_COUNT,
};

static const struct {
	const char *text;
	enum key key;
	bool is_canonical;
} keys[] = {
#define KEY(text, key, is_canonical) {text, KEY_##key, is_canonical},
#include "client/tbl/keys.h"
#undef KEY
};

#define MASTER_PORT	    50051
#define SEGMENT_DEFAULT	    "16mb"
#define BUFFER_MAX	    ((uint64_t)1 << 40)
#define SEGMENT_MAX	    ((uint64_t)1 << 46)
#define CONNECT_TIMEOUT_MS  3000
#define RPC_TIMEOUT_MS	    5000
#define TRANSFER_TIMEOUT_MS 60000
#define PUT_WAIT_MS	    100

/* --- text pairs --- */

enum rank {
	RANK_ALIAS,
	RANK_CANONICAL,
	RANK_PREFIXED,
	RANK_COUNT
};

/* KEY_COUNT for a name that we don't know. */
static enum key key_find(const char *name, enum rank *rank)
{
	struct str s = str_of(name);
	bool is_prefixed = str_has_prefix(s, STR("mooncake_"));

	if (is_prefixed)
		s = (struct str){s.p + 9, s.n - 9};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!str_eq(s, str_of(keys[i].text)))
			continue;
		*rank = keys[i].is_canonical ? RANK_CANONICAL : RANK_ALIAS;
		if (is_prefixed)
			*rank = RANK_PREFIXED;
		return keys[i].key;
	}
	return KEY_COUNT;
}

static void pairs_sort(const char *const *names, const char *const *values,
		       size_t count, const char *out[KEY_COUNT])
{
	for (int rank = 0; rank < RANK_COUNT; rank++)
		for (size_t i = 0; i < count; i++) {
			enum rank found = RANK_COUNT;
			enum key key = KEY_COUNT;

			if (names[i] && values[i])
				key = key_find(names[i], &found);
			if (key != KEY_COUNT && (int)found == rank)
				out[key] = values[i];
		}
}

/* --- values --- */

static int parse_size(const char *name, const char *text, uint64_t max,
		      uint64_t *out, struct err *err)
{
	if (str_to_size(str_of(text), out) < 0)
		return err_set(err, -EINVAL,
			       "%s is \"%s\": give a number of bytes, or one "
			       "with a unit as in 16777216, 512mb, 4gb",
			       name, text);
	if (*out > 0 && *out < 1024)
		return err_set(err, -EINVAL,
			       "%s is \"%s\": give 0 or at least 1024 bytes",
			       name, text);
	if (*out > max)
		return err_set(err, -EINVAL,
			       "%s is \"%s\": at most %llu bytes are possible",
			       name, text, (unsigned long long)max);
	return 0;
}

static int parse_count(const char *name, const char *text, int64_t *out,
		       struct err *err)
{
	if (str_to_i64(str_of(text), out) < 0 || *out < 0 ||
	    *out > POLICY_REPLICAS_MAX)
		return err_set(err, -EINVAL,
			       "%s is \"%s\": give a number from 0 to %d", name,
			       text, POLICY_REPLICAS_MAX);
	return 0;
}

static int parse_local(const char *text, struct client_conf *out,
		       struct err *err)
{
	if (!text || !*text)
		return err_set(err, -EINVAL,
			       "local_hostname is missing: give this host's "
			       "name or address, with or without a port");
	return hostport_parse(str_of(text), 0, &out->local, err);
}

static int parse_master(const char *text, struct client_conf *out,
			struct err *err)
{
	const char *scheme = strstr(text, "://");

	if (scheme)
		return err_set(err, -EINVAL,
			       "master_server_addr is \"%s\": finding the "
			       "master through %.*s is not supported, give "
			       "its host:port",
			       text, (int)(scheme - text), text);
	if (hostport_parse(str_of(text), MASTER_PORT, &out->master, err) < 0)
		return -EINVAL;
	if (!*out->master.host || out->master.port == 0)
		return err_set(err, -EINVAL,
			       "master_server_addr is \"%s\": give host:port",
			       text);
	return 0;
}

static int parse_protocol(const char *text, struct client_conf *out,
			  struct err *err)
{
	struct str s = str_of(text);

	out->is_rdma_asked = str_eq_nocase(s, STR("rdma"));
	if (out->is_rdma_asked || s.n == 0 || str_eq_nocase(s, STR("tcp")))
		return 0;
	return err_set(err, -EINVAL,
		       "protocol is \"%s\": give tcp (or rdma, for which TCP "
		       "is used)",
		       text);
}

static int parse_policy(const char *const v[KEY_COUNT], struct policy *out,
			struct err *err)
{
	bool has_pool = false;

	*out = POLICY_NONE;
	if (v[KEY_REPLICA_NUM] && parse_count("replica_num", v[KEY_REPLICA_NUM],
					      &out->memory, err) < 0)
		return -EINVAL;
	if (v[KEY_NOF_REPLICA_NUM] &&
	    parse_count("nof_replica_num", v[KEY_NOF_REPLICA_NUM], &out->nof,
			err) < 0)
		return -EINVAL;
	if (v[KEY_NOF_POOL] &&
	    str_to_bool(str_of(v[KEY_NOF_POOL]), &has_pool) < 0)
		return err_set(err, -EINVAL,
			       "enable_mooncake_nof_pool is \"%s\": give true "
			       "or false",
			       v[KEY_NOF_POOL]);
	if (has_pool && out->nof < 0)
		out->nof = 1;
	if (has_pool && out->memory < 0)
		out->memory = 0;
	if (out->memory == 0 && out->nof == 0)
		return err_set(err, -EINVAL,
			       "replica_num and nof_replica_num are both 0: "
			       "nothing could be stored");
	return 0;
}

/* --- environment --- */

static int env_u32(const char *name, uint32_t min, uint32_t def, uint32_t *out,
		   struct err *err)
{
	const char *text = getenv(name);
	uint64_t value;

	*out = def;
	if (!text || !*text)
		return 0;
	if (str_to_u64(str_of(text), &value) < 0 || value < min ||
	    value > INT32_MAX)
		return err_set(err, -EINVAL,
			       "%s is \"%s\": give a number from %u on", name,
			       text, min);
	*out = (uint32_t)value;
	return 0;
}

static int env_policy(struct policy *out, struct err *err)
{
	const char *memory = getenv("MOONCAKE_REPLICA_NUM");
	const char *nof = getenv("MOONCAKE_NOF_REPLICA_NUM");

	*out = POLICY_NONE;
	if (memory && *memory &&
	    parse_count("MOONCAKE_REPLICA_NUM", memory, &out->memory, err) < 0)
		return -EINVAL;
	if (nof && *nof &&
	    parse_count("MOONCAKE_NOF_REPLICA_NUM", nof, &out->nof, err) < 0)
		return -EINVAL;
	if (out->memory == 0 && out->nof == 0)
		return err_set(err, -EINVAL,
			       "MOONCAKE_REPLICA_NUM and "
			       "MOONCAKE_NOF_REPLICA_NUM are both 0: nothing "
			       "could be stored");
	return 0;
}

static int env_parse(struct client_conf *out, struct err *err)
{
	const char *huge = getenv("MC_STORE_USE_HUGEPAGE");
	const struct {
		const char *name;
		uint32_t min, def;
		uint32_t *to;
	} numbers[] = {
		{"MC_RPC_CONNECT_TIMEOUT_MS", 1, CONNECT_TIMEOUT_MS,
		 &out->connect_timeout_ms},
		{"MC_RPC_TIMEOUT_MS", 1, RPC_TIMEOUT_MS, &out->rpc_timeout_ms},
		{"MC_STORE_TRANSFER_TIMEOUT_MS", 1, TRANSFER_TIMEOUT_MS,
		 &out->transfer_timeout_ms},
		{"MC_STORE_GET_TIMEOUT_MS", 0, 0, &out->get_timeout_ms},
		{"MC_STORE_PUT_WAIT_MS", 0, PUT_WAIT_MS, &out->put_wait_ms},
		{"MC_STORE_HEDGE", 0, 1, &out->hedge},
		{"MC_STORE_TASKS", 0, 1, &out->tasks},
		{"MC_STORE_CLIENT_MIN_PORT", 1, 12300, &out->port_min},
		{"MC_STORE_CLIENT_MAX_PORT", 1, 14300, &out->port_max},
		{"MC_STORE_CLIENT_SETUP_RETRIES", 1, 20, &out->port_tries},
	};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (env_u32(numbers[i].name, numbers[i].min, numbers[i].def,
			    numbers[i].to, err) < 0)
			return -EINVAL;
	if (out->port_max > 65535 || out->port_min > out->port_max)
		return err_set(err, -EINVAL,
			       "MC_STORE_CLIENT_MIN_PORT..MAX_PORT is %u..%u: "
			       "no such range of ports",
			       out->port_min, out->port_max);
	/* As upstream has it: set at all means on. */
	out->want_huge = huge && *huge && strcmp(huge, "0") != 0;
	return env_policy(&out->env, err);
}

/* --- public --- */

int conf_parse(const char *const *names, const char *const *values,
	       size_t count, struct client_conf *out, struct err *err)
{
	const char *v[KEY_COUNT] = {
		[KEY_SEGMENT_SIZE] = SEGMENT_DEFAULT,
		[KEY_BUFFER_SIZE] = SEGMENT_DEFAULT,
		[KEY_PROTOCOL] = "tcp",
		[KEY_MASTER] = "127.0.0.1",
	};

	*out = (struct client_conf){0};
	pairs_sort(names, values, count, v);
	if (!v[KEY_METADATA_SERVER])
		return err_set(err, -EINVAL,
			       "metadata_server is missing: any text will do, "
			       "e.g. P2PHANDSHAKE");
	if (parse_local(v[KEY_LOCAL_HOSTNAME], out, err) < 0 ||
	    parse_size("global_segment_size", v[KEY_SEGMENT_SIZE], SEGMENT_MAX,
		       &out->segment_bytes, err) < 0 ||
	    parse_size("local_buffer_size", v[KEY_BUFFER_SIZE], BUFFER_MAX,
		       &out->buffer_bytes, err) < 0 ||
	    parse_protocol(v[KEY_PROTOCOL], out, err) < 0 ||
	    parse_master(v[KEY_MASTER], out, err) < 0 ||
	    parse_policy(v, &out->setup, err) < 0)
		return -EINVAL;
	out->segment_bytes = ALIGN_DOWN(out->segment_bytes, (uint64_t)4096);
	return env_parse(out, err);
}

int policy_resolve(const struct client_conf *conf, struct policy wish,
		   struct policy *out)
{
	bool is_default = wish.memory == 1 && wish.nof <= 0;

	if (wish.memory > POLICY_REPLICAS_MAX || wish.nof > POLICY_REPLICAS_MAX)
		return -EINVAL;
	*out = wish;
	if (is_default || (wish.memory < 0 && wish.nof < 0))
		*out = conf->setup;
	if (out->memory < 0 && out->nof < 0)
		*out = conf->env;
	return out->memory == 0 && out->nof == 0 ? -EINVAL : 0;
}
