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
	/* segment_renew() */
	struct mbox_msg renew;
	void (*renewed)(struct segment *seg, int ret);
};

void segment_nqn(const struct segment *seg, char out[NVME_NQN_LEN]);
/* Memory and target, nothing listens yet.  -errno with a sentence. */
int segment_open(struct segment *seg, const struct client_conf *conf,
		 struct err *err);
/* -EADDRINUSE: try another port.  -EADDRNOTAVAIL: not an address of ours. */
int segment_listen(struct segment *seg, struct addr *addr, struct err *err);
/*
 * The same memory under another id, NQN and endpoint: whoever is connected is
 * cut off, and when done is called, on the segment's shard, nothing that was
 * sent to the former NQN is written any more.  -errno: served under no id; to
 * be tried again.  Any thread; id and endpoint are nobody else's until then.
 */
void segment_renew(struct segment *seg,
		   void (*done)(struct segment *seg, int ret));
/* Connections are cut.  Zeroed and half-built are fine. */
void segment_close(struct segment *seg);

#endif
