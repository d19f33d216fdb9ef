/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mooncake store, C API: a superset of the ABI that Mooncake's own
 * libmooncake_store.so exports, so that its Go and Rust bindings work.
 *
 * Model.  A store object is a client of one master.  Keys are NUL-terminated
 * text of 1..4096 bytes; a value is 1 byte or more and never changes while
 * it is there.  Values lie in memory segments of store nodes and on a pool of
 * NVMe-oF namespaces; a get verifies every byte against checksums kept by the
 * master, and what does not verify is a miss.
 *
 * Threads.  All calls on a handle may be made from any thread at any time,
 * also concurrently with each other; close and destroy wait for the others.
 * When a call has returned, nothing touches the caller's memory any more.
 *
 * Return codes.  0 (or a count) on success, else Mooncake's negative numbers,
 * see mooncake_store_strerror(); -600 before setup and after close.  -1 for a
 * NULL handle or a NULL argument that must not be.
 */
#ifndef MOONCAKE_STORE_H
#define MOONCAKE_STORE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOONCAKE_API __attribute__((visibility("default")))

typedef void *mooncake_store_t;

/* --- the ABI of upstream's store_c.h --- */

typedef struct mooncake_replicate_config {
	size_t replica_num; /* memory replicas */
	int with_soft_pin;
	int with_hard_pin;
	const char **preferred_segments;
	size_t preferred_segments_count;
} mooncake_replicate_config_t;

MOONCAKE_API mooncake_store_t mooncake_store_create(void);
MOONCAKE_API void mooncake_store_destroy(mooncake_store_t store);
/* protocol NULL = "tcp"; master_server_addr NULL = "127.0.0.1:50051". */
MOONCAKE_API int mooncake_store_setup(mooncake_store_t store,
				      const char *local_hostname,
				      const char *metadata_server,
				      uint64_t global_segment_size,
				      uint64_t local_buffer_size,
				      const char *protocol,
				      const char *device_name,
				      const char *master_server_addr);
MOONCAKE_API int mooncake_store_init_all(mooncake_store_t store,
					 const char *protocol,
					 const char *device_name,
					 uint64_t mount_segment_size);
/* 0 healthy, 1 not set up, 2 master unreachable. */
MOONCAKE_API int mooncake_store_health_check(mooncake_store_t store);
/*
 * An existing key is success: the old value stays.  A key that somebody else is
 * writing is asked for again, for MC_STORE_PUT_WAIT_MS (100), and put here if
 * the other put fails meanwhile, which takes what any put takes; after that
 * time it is success as well, although it is stored only if the other one ends
 * well.  Of a batch all such
 * keys together are waited for, once, when the others are stored.
 */
MOONCAKE_API int mooncake_store_put(mooncake_store_t store, const char *key,
				    const void *value, size_t size,
				    const mooncake_replicate_config_t *config);
MOONCAKE_API int
mooncake_store_put_from(mooncake_store_t store, const char *key, void *buffer,
			size_t size, const mooncake_replicate_config_t *config);
MOONCAKE_API int mooncake_store_batch_put_from(
	mooncake_store_t store, const char **keys, void **buffers,
	const size_t *sizes, size_t count,
	const mooncake_replicate_config_t *config, int *results_out);
/* Bytes of the object, or negative: -704 not there, -600 buffer too small. */
MOONCAKE_API int64_t mooncake_store_get_into(mooncake_store_t store,
					     const char *key, void *buffer,
					     size_t size);
MOONCAKE_API int mooncake_store_batch_get_into(mooncake_store_t store,
					       const char **keys,
					       void **buffers,
					       const size_t *sizes,
					       size_t count,
					       int64_t *results_out);
/* 1, 0 or negative. */
MOONCAKE_API int mooncake_store_is_exist(mooncake_store_t store,
					 const char *key);
MOONCAKE_API int mooncake_store_batch_is_exist(mooncake_store_t store,
					       const char **keys, size_t count,
					       int *results_out);
MOONCAKE_API int64_t mooncake_store_get_size(mooncake_store_t store,
					     const char *key);
MOONCAKE_API int mooncake_store_get_hostname(mooncake_store_t store,
					     char *buf, size_t buf_len);
MOONCAKE_API int mooncake_store_remove(mooncake_store_t store,
				       const char *key, int force);
/* Number removed, or negative. */
MOONCAKE_API int64_t mooncake_store_remove_by_regex(mooncake_store_t store,
						    const char *regex,
						    int force);
MOONCAKE_API int64_t mooncake_store_remove_all(mooncake_store_t store,
					       int force);
MOONCAKE_API int mooncake_store_register_buffer(mooncake_store_t store,
						void *buffer, size_t size);
MOONCAKE_API int mooncake_store_unregister_buffer(mooncake_store_t store,
						  void *buffer);

/* --- more than upstream's --- */

/* Text of a code, static storage. */
MOONCAKE_API const char *mooncake_store_strerror(int code);
/* Why the last setup on this handle failed; "" when it did not.  Valid until
 * the next setup. */
MOONCAKE_API const char *mooncake_store_setup_error(mooncake_store_t store);
MOONCAKE_API const char *mooncake_store_version(void);

/*
 * Setup from text pairs, as the Python binding's setup(dict): local_hostname,
 * metadata_server, global_segment_size, local_buffer_size ("4gb"), protocol,
 * rdma_devices (or device_name), master_server_addr (or
 * master_server_address), replica_num, nof_replica_num,
 * enable_mooncake_nof_pool, …  Unknown keys are ignored.
 */
MOONCAKE_API int mooncake_store_setup_config(mooncake_store_t store,
					     const char *const *names,
					     const char *const *values,
					     size_t count);
/* Ends the client, drops its memory segment; may be set up again.  0. */
MOONCAKE_API int mooncake_store_close(mooncake_store_t store);

enum mooncake_data_type {
	MOONCAKE_DATA_UNKNOWN = 0,
	MOONCAKE_DATA_KVCACHE,
	MOONCAKE_DATA_TENSOR,
	MOONCAKE_DATA_WEIGHT,
	MOONCAKE_DATA_SAMPLE,
	MOONCAKE_DATA_ACTIVATION,
	MOONCAKE_DATA_GRADIENT,
	MOONCAKE_DATA_OPTIMIZER_STATE,
	MOONCAKE_DATA_METADATA,
	MOONCAKE_DATA_GENERAL,
};

/* Start from MOONCAKE_PUT_OPTS_INIT: nothing asked for, the policy decides
 * (setup keys, then environment, then the master's). */
typedef struct mooncake_put_opts {
	int64_t replica_num;	 /* memory replicas; -1 = not asked for */
	int64_t nof_replica_num; /* on the pool; -1 = not asked for */
	int with_soft_pin;
	int64_t soft_pin_ttl_ms; /* 0 = the master's default */
	int with_hard_pin;
	int prefer_alloc_in_same_node;
	int data_type;
	const char *const *preferred_segments;
	size_t preferred_segments_count;
	const char *const *preferred_nof_segments;
	size_t preferred_nof_segments_count;
	/* None, or one per key (not NULL): objects of one group are kept by a
	 * read of any of them, and evicted together. */
	const char *const *group_ids;
	size_t group_ids_count;
} mooncake_put_opts_t;
#define MOONCAKE_PUT_OPTS_INIT { .replica_num = -1, .nof_replica_num = -1 }

/* A value in pieces: it is their concatenation. */
typedef struct mooncake_pieces {
	void *const *ptrs;
	const size_t *sizes;
	size_t count;
} mooncake_pieces_t;

/* opts may be NULL.  results_out[i]: 0 or negative.  Returns 0 or -1. */
MOONCAKE_API int mooncake_store_batch_put_pieces(
	mooncake_store_t store, const char *const *keys,
	const mooncake_pieces_t *values, size_t count,
	const mooncake_put_opts_t *opts, int *results_out);
/* results_out[i]: bytes of the object (the pieces may be longer), or
 * negative; -600 when they are too small. */
MOONCAKE_API int mooncake_store_batch_get_pieces(
	mooncake_store_t store, const char *const *keys,
	const mooncake_pieces_t *values, size_t count, int64_t *results_out);

/* A copy that the library allocates. */
typedef struct mooncake_buffer {
	void *ptr;
	size_t size;
	int status; /* 0, or why ptr is NULL */
} mooncake_buffer_t;
MOONCAKE_API int mooncake_store_batch_get_buffer(mooncake_store_t store,
						 const char *const *keys,
						 size_t count,
						 mooncake_buffer_t *out);
MOONCAKE_API void mooncake_buffer_free(mooncake_buffer_t *buffer);

MOONCAKE_API int mooncake_store_batch_remove(mooncake_store_t store,
					     const char *const *keys,
					     size_t count, int force,
					     int *results_out);

/* Where an object lies. */
typedef struct mooncake_replica {
	int kind; /* 0 memory, 3 nof ssd */
	int status; /* upstream ReplicaStatus: 3 = complete */
	uint64_t size, offset;
	char endpoint[320]; /* of the first extent: segment name */
} mooncake_replica_t;
/* Fills at most max; returns how many there are, or negative. */
MOONCAKE_API int64_t mooncake_store_get_replicas(mooncake_store_t store,
						 const char *key,
						 mooncake_replica_t *out,
						 size_t max);

/* Host memory for transfers, page aligned; what get_alloc_func_addr() and
 * get_free_func_addr() of the Python package give out. */
MOONCAKE_API void *mooncake_host_alloc(size_t size);
MOONCAKE_API void mooncake_host_free(void *ptr);

/* Counters of this client in Prometheus text; returns the length, copies at
 * most len - 1 bytes and a NUL. */
MOONCAKE_API size_t mooncake_store_metrics(mooncake_store_t store, char *buf,
					   size_t len);

#ifdef __cplusplus
}
#endif

#endif
