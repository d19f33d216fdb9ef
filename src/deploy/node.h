/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An SSD node as the operator describes it: one text per node,
 * "ip:10.0.0.7 path:/opt/spdk pci:0000:81:00.0,0000:82:00.0", as upstream's
 * tools take it, with more keys for what those could not say.
 */
#ifndef DEPLOY_NODE_H
#define DEPLOY_NODE_H

#include "nvme/endpoint.h"

#define NODE_DISKS_MAX 64
#define NODE_ADDRS_MAX 8
#define NODE_HOSTS_MAX 64
#define NODE_SPDK_NQN  "nqn.2016-06.io.spdk:cnode1"

enum node_backend {
	NODE_SPDK,     /* nvmf_tgt of an SPDK checkout at path: */
	NODE_NVMET,    /* the Linux kernel's target */
	NODE_MOONCAKE, /* mooncake_nof_target */
};

/* Key files of this machine. */
struct node_keys {
	struct {
		char host[NVME_NQN_LEN]; /* "" = every host of allow: */
		char file[256];
	} items[NODE_HOSTS_MAX];
	size_t count;
};

struct node {
	char host[256]; /* ip: for ssh, and the data address unless addr: */
	char path[256]; /* of the SPDK checkout, or "" */
	enum node_backend backend;
	bool has_backend;	      /* said, not guessed */
	char pci[NODE_DISKS_MAX][16]; /* "0000:81:00.0" */
	size_t pci_count;
	char disk[NODE_DISKS_MAX][256]; /* paths; "PATH:SIZE" makes a file */
	size_t disk_count;
	char rpc_socket[108];	/* of the target that is meant */
	char nqn[NVME_NQN_LEN]; /* "" = derived from the node */
	char serial[21];
	char addr[NODE_ADDRS_MAX][256]; /* data addresses */
	size_t addr_count;
	uint16_t trsvcid;			  /* of the data addresses */
	char allow[NODE_HOSTS_MAX][NVME_NQN_LEN]; /* host NQNs; none = any */
	size_t allow_count;
	struct node_keys key, ctrl_key; /* DH-HMAC-CHAP of those hosts */
	uint32_t nsid;			/* ns:, for unregistering; 0 = all */
};

/* A disk: "PATH", or "PATH:SIZE" for a file that is made when there is none;
 * bytes (0 without SIZE) is a multiple of unit.  -EINVAL. */
int node_split_disk(const char *text, uint64_t unit, char path[256],
		    uint64_t *bytes, struct err *err);
/* Is one of its disks at that path? */
bool node_names_disk(const struct node *node, uint64_t unit, const char *path);

/*
 * Keys: ip (required), path, pci, disk, backend (spdk, nvmet, mooncake), nqn,
 * serial, addr, port, allow, key, ctrl_key, ns, rpc_socket.  Lists are comma
 * separated; a word without a key continues the list or path before it. -EINVAL
 * names word and reason.
 */
int node_parse(struct str text, struct node *out, struct err *err);
/* May it stand for an RPC socket, in scripts too? */
bool node_is_socket(struct str path);
/* Is it one of those that allow: names? */
bool node_allows(const struct node *node, const char *hostnqn);
/* The file with the host's key, or NULL. */
const char *node_key_file(const struct node_keys *all, const char *hostnqn);
const char *node_backend_text(enum node_backend backend);

#endif
