/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names to addresses without blocking a loop: getaddrinfo() runs in a
 * thread of its own, its answer comes back to the loop or is dropped when it
 * is late.  Numeric addresses never start a thread.
 */
#ifndef IO_RESOLVE_H
#define IO_RESOLVE_H

#include "base/err.h"
#include "io/loop.h"

struct resolve;
/* addr is NULL when ret is not 0. On the loop, never inside start. */
typedef void (*resolve_fn)(int ret, const struct addr *addr,
			   const struct err *err, void *arg);

struct resolve_req {
	const char *host; /* copied */
	uint16_t port;
	uint32_t timeout_ms;
	resolve_fn done;
	void *arg;
};
/* NULL when out of memory or threads; done is not called then. */
struct resolve *resolve_start(struct loop *loop, const struct resolve_req *req);
/* True: done will not be called any more.  False: the answer is on its way
 * and done comes as if nothing had been said. */
bool resolve_cancel(struct resolve *r);

#endif
