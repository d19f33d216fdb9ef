/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON-RPC calls to a target's Unix socket on another host.  ssh forwards the
 * socket; where it may not (sshd forbids it, or the socket is root's and the
 * user is not) the shell session carries them, by what that host has: python3,
 * socat, nc, or rpc.py of an SPDK tree.
 */
#ifndef DEPLOY_RELAY_H
#define DEPLOY_RELAY_H

#include <jansson.h>

#include "deploy/remote.h"

struct relay {
	struct remote *remote;
	char socket[108]; /* path there, /var/tmp/spdk.sock */
	const char *tree; /* SPDK's there, NULL or "" = none */
	uint32_t timeout_ms;
};

/*
 * params may be NULL; it is not taken over.  0 with the result (the caller's);
 * -ENOENT nobody listens on the socket; -ENOSYS the target knows no such
 * method; -EREMOTEIO it answered with another error; -EPROTO its answer is
 * none; other -errno of the session.  err names host, method and cause.
 */
int relay_call(struct relay *relay, const char *method, const json_t *params,
	       json_t **result, struct err *err);
/* The same for what answers with an array. */
int relay_list(struct relay *relay, const char *method, json_t **result,
	       struct err *err);
/* The first item of such an array whose key says text, or NULL. */
json_t *relay_find(const json_t *list, const char *key, const char *text);

#endif
