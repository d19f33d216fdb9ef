/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the doctor: what checks are made of. */
#ifndef DEPLOY_DOCTOR_CHECK_H
#define DEPLOY_DOCTOR_CHECK_H

#include "base/hostport.h"
#include "deploy/doctor.h"
#include "deploy/look.h"
#include "pool/vol.h"
#include "rpc/client.h"

/* Ports of a default installation. */
#define DOCTOR_RPC_PORT	   50051
#define DOCTOR_ADMIN_PORT  9003
#define DOCTOR_REST_PORT   8080
#define DOCTOR_TARGET_PORT 4420
#define DOCTOR_DISC_PORT   8009

struct doctor_check {
	const char *name;
	const char *looks_at; /* for people: files, calls, questions */
	enum doctor_level worst;
	const char *advice; /* when a finding has none of its own */
	void (*run)(struct doctor *d, const struct doctor_check *check);
};

/* Where cluster traffic goes to. */
struct doctor_peer {
	char name[ADDR_TEXT_LEN]; /* numeric host:port */
	char host[HOST_TEXT_LEN]; /* as it was given */
	struct addr addr;
};

/* A segment that the master knows; struct look's owner. */
struct doctor_segment {
	struct uuid id;
	char name[ENDPOINT_TEXT_LEN];
	uint64_t epoch;
	bool is_nof;
	char fenced[256]; /* what the master says of it if it is; "" = not */
};

struct doctor {
	struct doctor_opts opts;
	struct doctor_facts facts;
	struct loop *loop;   /* turned by questions */
	struct vol_opts vol; /* what a client here would use */
	bool has_vol;	     /* the environment is valid */
	bool has_identity;   /* and so are host identity and keys */
	struct doctor_finding *findings;
	size_t count, cap;
	bool is_out_of_memory;
	/* the cluster; empty until its checks have run */
	struct rpc_sync *master;
	char cluster_id[129];
	struct doctor_segment *segments; /* the master's */
	size_t segment_count;
	struct doctor_peer *peers;
	size_t peer_count;
	struct look *looks; /* one per path to a namespace */
	size_t look_count;
};

/* Tables of checks; each ends with a NULL name. */
extern const struct doctor_check doctor_host_checks[], doctor_setup_checks[],
	doctor_net_checks[], doctor_port_checks[], doctor_master_checks[],
	doctor_target_checks[], doctor_path_checks[];

/* A finding of the check, with its advice unless level is OK. */
void doctor_add(struct doctor *d, const struct doctor_check *check,
		enum doctor_level level, const char *subject, const char *fmt,
		...) PRINTF_LIKE(5, 6);
/* Advice for the finding that was added last. */
void doctor_advise(struct doctor *d, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Text of ROOT/path without blanks around it, cut to size - 1; 0 or -errno. */
int doctor_read(const struct doctor *d, const char *path, char *buf,
		size_t size);
/* The number at the index'th place (from 0) of ROOT/path. */
int doctor_read_number(const struct doctor *d, const char *path, unsigned index,
		       uint64_t *out);
bool doctor_has_path(const struct doctor *d, const char *path);

/* Name or number into an address, within the deadline. */
int doctor_resolve(struct doctor *d, const struct hostport *hp,
		   struct addr *out, struct err *err);
/* Remembers it once. */
void doctor_add_peer(struct doctor *d, const char *host,
		     const struct addr *addr);

/* One more path to a namespace; ep gets a numeric address. Known ones are left
 * out.  -errno with a sentence when its name has no address. */
int doctor_add_look(struct doctor *d, struct endpoint *ep,
		    const struct doctor_segment *owner, struct err *err);

/* --- doctor_http.c --- */
/* Is anybody listening?  0 or -errno. */
int doctor_connect(const struct addr *addr, uint32_t timeout_ms);
struct doctor_page {
	int status;
	int64_t date_s;	 /* of the answer's Date, since 1970; -1 = none */
	char body[4096]; /* its beginning, with NUL */
};
/* GET without any proxy, timeout_ms for all of it. */
int doctor_get(const struct addr *addr, const char *path, uint32_t timeout_ms,
	       struct doctor_page *out, struct err *err);

/* Advice for the finding that was added last, of a fenced namespace of which
 * the master says this; "" = nothing yet. */
void doctor_advise_fenced(struct doctor *d, const char *says);

/* --- for tests of single checks --- */
const struct doctor_check *doctor_find_check(const char *name);
/* Does the port of this host have what it is meant for? */
enum doctor_port {
	DOCTOR_PORT_MASTER,
	DOCTOR_PORT_ADMIN,
	DOCTOR_PORT_REST,
	DOCTOR_PORT_TARGET,
};
void doctor_judge_port(struct doctor *d, const struct doctor_check *check,
		       uint16_t port, enum doctor_port kind);
/* Says what is wrong with the segment and returns true when it is. */
bool doctor_judge_segment(struct doctor *d, const struct doctor_check *check,
			  const Mc__Segment *seg);
/* What a namespace holds; owner = the segment it should be of, or NULL. */
void doctor_judge_superblock(struct doctor *d, const struct doctor_check *check,
			     const char *name, const struct vol_probe *probe,
			     const struct doctor_segment *owner);
/* Does no_proxy keep this host from the proxy? */
bool doctor_is_direct(const char *no_proxy, const char *host);
/* --- doctor_limits.c: what is worth saying of a target that answered, and of
 * one namespace of it --- */
void doctor_judge_target(struct doctor *d, const struct look *look);
void doctor_judge_namespace(struct doctor *d, const struct look *look);

#endif
