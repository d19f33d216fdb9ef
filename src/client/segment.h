/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's own memory segment: a RAM namespace behind a target in this
 * process, on a shard of its own.
 */
#ifndef CLIENT_SEGMENT_H
#define CLIENT_SEGMENT_H

#include "base/uuid.h"
#include "client/conf.h"
#include "io/thread.h"
#include "nvme/endpoint.h"
#include "target/target.h"

struct segment {
	struct uuid id;
	void *mem; /* NULL when there is none */
	uint64_t bytes;
	struct shard shard;
	struct tgt *tgt;
	bool is_tls; /* a TLS key is set: connections need it */
	struct addr listen;
	char endpoint[ENDPOINT_TEXT_LEN];
};

void segment_nqn(const struct segment *seg, char out[NVME_NQN_LEN]);
/* Memory and target, nothing listens yet.  -errno with a sentence. */
int segment_open(struct segment *seg, const struct client_conf *conf,
		 struct err *err);
/* -EADDRINUSE: try another port.  -EADDRNOTAVAIL: not an address of ours. */
int segment_listen(struct segment *seg, struct addr *addr, struct err *err);
/* Connections are cut.  Zeroed and half-built are fine. */
void segment_close(struct segment *seg);

#endif
