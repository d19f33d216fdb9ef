/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handle of the C API: creation, setup, close.  Any thread.
 *
 * Invariant: the client is replaced only while is_changing is set and running
 * is 0, so a call that got it from store_enter() can use it without a lock.
 */
#include "client/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/flag.h"
#include "base/log.h"

/* --- who may --- */

struct store *store_of(mooncake_store_t handle)
{
	struct store *store = handle;

	return store && store->magic == STORE_MAGIC ? store : NULL;
}

struct client *store_enter(struct store *store)
{
	struct client *c = NULL;

	/* Before the lock: a forked child may have inherited it taken. */
	if (store->pid != getpid())
		return NULL;
	pthread_mutex_lock(&store->lock);
	if (!store->is_changing && store->client) {
		c = store->client;
		store->running++;
	}
	pthread_mutex_unlock(&store->lock);
	return c;
}

void store_leave(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	if (--store->running == 0)
		pthread_cond_broadcast(&store->idle);
	pthread_mutex_unlock(&store->lock);
}

static void store_wait_for_change(struct store *store)
{
	while (store->is_changing)
		pthread_cond_wait(&store->idle, &store->lock);
}

/* Waits for other calls to end. */
static void store_begin_close(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	store_wait_for_change(store);
	store->is_changing = true;
	while (store->running > 0)
		pthread_cond_wait(&store->idle, &store->lock);
	pthread_mutex_unlock(&store->lock);
}

/* A store that is set up is refused at once: were it to wait for the calls
 * under way, all new ones would fail meanwhile. */
static int store_begin_setup(struct store *store, struct err *err)
{
	pthread_mutex_lock(&store->lock);
	store_wait_for_change(store);
	if (store->client) {
		err_set(err, -EALREADY,
			"this store is set up already as %s: close it first",
			store->client->name);
		store->setup_err = *err;
	} else {
		ASSERT(store->running == 0);
		store->is_changing = true;
	}
	pthread_mutex_unlock(&store->lock);
	return err->code;
}

static void store_end_change(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	store->is_changing = false;
	pthread_cond_broadcast(&store->idle);
	pthread_mutex_unlock(&store->lock);
}

/* --- create and destroy --- */

/* Inside somebody else's process we are quiet, unless the environment or the
 * program (which then has named its log) says otherwise. */
static void store_init_log(void)
{
	const char *text = getenv("MC_LOG_LEVEL");
	enum log_level level = LOG_WARN;

	if (log_is_named())
		return;
	log_set_name("mooncake_store");
	if (text && *text && log_level_parse(text, &level) < 0)
		level = LOG_WARN;
	log_level_max = level;
}

mooncake_store_t mooncake_store_create(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return NULL;
	pthread_once(&once, store_init_log);
	store->magic = STORE_MAGIC;
	store->pid = getpid();
	pthread_mutex_init(&store->lock, NULL);
	pthread_cond_init(&store->idle, NULL);
	return store;
}

int mooncake_store_close(mooncake_store_t handle)
{
	struct store *store = store_of(handle);

	if (!store)
		return -1;
	if (store->pid != getpid())
		return MOONCAKE_INVALID_PARAMS;
	store_begin_close(store);
	client_close(TAKE(store->client));
	store_end_change(store);
	return 0;
}

void mooncake_store_destroy(mooncake_store_t handle)
{
	struct store *store = store_of(handle);

	if (!store)
		return;
	mooncake_store_close(store);
	store->magic = 0;
	/* A forked child can't tell what state they are in. */
	if (store->pid == getpid()) {
		pthread_cond_destroy(&store->idle);
		pthread_mutex_destroy(&store->lock);
	}
	free(store);
}

/* --- setup --- */

static enum mooncake_status store_open(struct store *store,
				       const char *const *names,
				       const char *const *values, size_t count,
				       struct err *err)
{
	enum mooncake_status st = MOONCAKE_INVALID_PARAMS;
	struct client_conf conf;

	if (store_begin_setup(store, err))
		return st;
	if (conf_parse(names, values, count, &conf, err) == 0)
		st = client_open(&conf, &store->client, err);
	store->setup_err = *err;
	store_end_change(store);
	return st;
}

int mooncake_store_setup_config(mooncake_store_t handle,
				const char *const *names,
				const char *const *values, size_t count)
{
	struct store *store = store_of(handle);
	enum mooncake_status st;
	struct err err = {0};

	if (!store || (count && (!names || !values)))
		return -1;
	if (store->pid != getpid())
		return MOONCAKE_INVALID_PARAMS;
	st = store_open(store, names, values, count, &err);
	/* Loud: callers are known to ignore the return code. */
	if (st != MOONCAKE_OK)
		log_err("setup failed", "status=%d error=\"%s\"", st, err.text);
	return st;
}

int mooncake_store_setup(mooncake_store_t store, const char *local_hostname,
			 const char *metadata_server,
			 uint64_t global_segment_size,
			 uint64_t local_buffer_size, const char *protocol,
			 const char *device_name,
			 const char *master_server_addr)
{
	static const char *const names[] = {
		"local_hostname",     "metadata_server", "global_segment_size",
		"local_buffer_size",  "protocol",	 "rdma_devices",
		"master_server_addr",
	};
	char segment[24], buffer[24];
	const char *values[] = {
		local_hostname, metadata_server,    segment, buffer, protocol,
		device_name,	master_server_addr,
	};

	static_assert(ARRAY_SIZE(names) == ARRAY_SIZE(values), "pairs");
	if (!local_hostname || !metadata_server)
		return -1;
	snprintf(segment, sizeof(segment), "%llu",
		 (unsigned long long)global_segment_size);
	snprintf(buffer, sizeof(buffer), "%llu",
		 (unsigned long long)local_buffer_size);
	return mooncake_store_setup_config(store, names, values,
					   ARRAY_SIZE(names));
}

int mooncake_store_init_all(mooncake_store_t store, const char *protocol,
			    const char *device_name,
			    uint64_t mount_segment_size)
{
	return mooncake_store_setup(store, "localhost:12345", "127.0.0.1:2379",
				    mount_segment_size, (uint64_t)1 << 30,
				    protocol, device_name, NULL);
}

const char *mooncake_store_setup_error(mooncake_store_t handle)
{
	const struct store *store = store_of(handle);

	return store ? store->setup_err.text : "";
}

/* --- about the client --- */

int mooncake_store_get_hostname(mooncake_store_t handle, char *buf,
				size_t buf_len)
{
	struct store *store = store_of(handle);
	struct client *c;
	int ret = -1;

	if (!store || !buf || buf_len == 0)
		return -1;
	c = store_enter(store);
	if (!c)
		return MOONCAKE_INVALID_PARAMS;
	if (strlen(c->name) < buf_len) {
		memcpy(buf, c->name, strlen(c->name) + 1);
		ret = 0;
	}
	store_leave(store);
	return ret;
}

const char *mooncake_store_strerror(int code)
{
	return status_text((enum mooncake_status)code);
}

const char *mooncake_store_version(void)
{
	return mooncake_version;
}
