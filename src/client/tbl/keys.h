/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KEY(text, what it sets, is canonical) - no guard.  Of several spellings the
 * canonical one wins over the others, and "mooncake_<text>" over all.
 */
KEY("local_hostname", LOCAL_HOSTNAME, true)
KEY("metadata_server", METADATA_SERVER, true)
KEY("global_segment_size", SEGMENT_SIZE, true)
KEY("local_buffer_size", BUFFER_SIZE, true)
KEY("protocol", PROTOCOL, true)
KEY("rdma_devices", DEVICES, true)
KEY("device_name", DEVICES, false)
KEY("master_server_addr", MASTER, true)
KEY("master_server_address", MASTER, false)
KEY("replica_num", REPLICA_NUM, true)
KEY("memory_replica_num", REPLICA_NUM, false)
KEY("nof_replica_num", NOF_REPLICA_NUM, true)
KEY("enable_mooncake_nof_pool", NOF_POOL, true)
KEY("enable_nof_pool", NOF_POOL, false)
