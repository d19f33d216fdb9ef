/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata server: the small key/value store over HTTP in which transfer
 * engines publish how to reach them.
 *
 *	GET, PUT, DELETE /metadata?key=K        GET /health
 *
 * Everything is in memory.  A key that names "rpc_meta" belongs to who wrote it
 * first: the same bytes again are fine, other bytes are refused.
 */
#ifndef WEB_METADATA_H
#define WEB_METADATA_H

#include "io/loop.h"

#define METADATA_KEY_MAX   4096		  /* bytes; longer: 413 */
#define METADATA_VALUE_MAX (4u << 20)	  /* bytes; longer: 413 */
#define METADATA_BYTES_MAX (256ull << 20) /* keys and values; more: 507 */

struct metadata_server;

/* bound (may be NULL) gets the address with its real port. */
int metadata_server_open(struct loop *loop, const struct addr *addr,
			 struct addr *bound, struct metadata_server **out,
			 struct err *err);
/* As http_close(): not inside a callback of the loop.  NULL is fine. */
void metadata_server_close(struct metadata_server *ms);
/* As http_close_async(). */
void metadata_server_close_async(struct metadata_server *ms,
				 void (*done)(void *arg), void *arg);

#endif
