/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the back end nvmet: what is in configfs there, what is wanted, and
 * the scripts between the two.
 */
#ifndef DEPLOY_NVMET_H
#define DEPLOY_NVMET_H

#include "base/uuid.h"
#include "deploy/deployment.h"

#define NVMET "/sys/kernel/config/nvmet"

struct known_ns {
	uint32_t nsid;
	bool is_enabled;
	bool is_in_script; /* is exported at a boot; known when it is to go */
	bool is_in_script_only;
	char path[256], uuid[UUID_TEXT_LEN];
};

enum key_state { /* of a host that the kernel knows */
	KEY_UNKNOWN,
	KEY_NONE,
	KEY_SAME,
	KEY_BEFORE, /* what its file holds until now */
	KEY_OTHER,
};

struct nvmet_facts {
	bool can_nvmet, has_subsystem, allows_any, has_unit;
	/* What a script has besides is added when it is to go. */
	struct known_ns ns[NODE_DISKS_MAX * 4];
	size_t ns_count;
	char listeners[NODE_ADDRS_MAX * 4][300]; /* "tcp ADDR PORT" linked */
	size_t listener_count;
	/* Ports, whatever is linked to them, and the in-capsule size of each.
	 */
	char ports[NODE_ADDRS_MAX * 4][300];
	long long inline_bytes[NODE_ADDRS_MAX * 4];
	size_t port_count;
	char hosts[NODE_HOSTS_MAX][NVME_NQN_LEN];
	size_t host_count;
	/* of node->allow: the kernel knows such a host already */
	bool is_known[NODE_HOSTS_MAX];
	enum key_state key[NODE_HOSTS_MAX][HOSTKEY_KINDS];
};

struct want_ns {
	uint32_t nsid;
	char path[256];
	uint64_t bytes; /* of a file to be made, 0 = must be there */
	bool is_new;
};

struct nvmet_want {
	const char *trtype; /* "tcp", "rdma" */
	struct want_ns ns[NODE_DISKS_MAX];
	size_t ns_count;
	bool is_complete;
};

/* Attributes of a host, by enum hostkey_kind. */
extern const char *const nvmet_key_names[HOSTKEY_KINDS];

bool nvmet_has_listener(const struct nvmet_facts *f, const struct nvmet_want *w,
			const char *addr, uint16_t port);
/* Index of such a port among facts, or -1. */
long nvmet_port(const struct nvmet_facts *f, const struct nvmet_want *w,
		const char *addr, uint16_t port);
bool nvmet_has_host(const struct nvmet_facts *f, const char *nqn);

/* Run now and at every boot: what is wanted, and what else the subsystem had
 * when it was looked at. */
void nvmet_script(const struct deployment *d, const struct nvmet_facts *f,
		  const struct nvmet_want *w, struct strbuf *out);
/* What the kernel there has; -ENOTSUP when it can have nothing. */
int nvmet_look_around(struct deployment *d, struct nvmet_facts *f,
		      struct err *err);
/* The unit that exports it at a boot, and the script that this runs. */
void nvmet_unit(const struct deployment *d, char unit[64], char file[128]);

/* --- away --- */
int nvmet_look_away(struct deployment *d, struct err *err);
/* Adds the namespaces of the script that is run at boots; how many it has. */
size_t nvmet_take_script(struct nvmet_facts *f, struct str script);
/* The disks that the node's text names; or all, and the subsystem.  file: what
 * is run at boots, which knows what was made. */
void nvmet_remove_some(const struct deployment *d, const struct nvmet_facts *f,
		       const char *file, struct strbuf *out);
void nvmet_remove_all(const struct deployment *d, const char *file,
		      struct strbuf *out);

/* Removes what was missing when we looked. */
void nvmet_undo(const struct deployment *d, const struct nvmet_facts *f,
		const struct nvmet_want *w, struct strbuf *out);

#endif
