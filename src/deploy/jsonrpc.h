/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON-RPC call over a Unix socket, for tools: blocks, with a deadline. */
#ifndef DEPLOY_JSONRPC_H
#define DEPLOY_JSONRPC_H

#include <jansson.h>

#include "base/err.h"

/* The same with whole texts: the request, and the answer, which is the caller's
 * and may be an error.  -ENOENT, -ECONNREFUSED: nobody listens there;
 * -ECONNRESET: closed before the answer's end. */
int jsonrpc_ask(const char *path, const char *request, uint32_t timeout_ms,
		json_t **answer, struct err *err);

/* params (may be NULL) is taken over; *result is the caller's.  -errno with a
 * sentence; the sentence of an error answer is the server's. */
int jsonrpc_call(const char *path, const char *method, json_t *params,
		 uint32_t timeout_ms, json_t **result, struct err *err);

#endif
