/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Unix socket of a host, here: a second ssh child that forwards it, and
 * nothing else that the user's configuration has.  It ends when we do, however
 * that is.  Needs a server that allows it and a user who may connect to the
 * socket there.
 */
#ifndef DEPLOY_FORWARD_H
#define DEPLOY_FORWARD_H

#include "deploy/remote.h"

struct forward;

/*
 * The socket there becomes one in a folder that only we may enter.  0 once
 * connections are taken; whether they reach the other end the first one tells.
 * -errno: there is no way.
 */
int forward_open(const struct remote_opts *opts, const char *there,
		 struct forward **out);
/* NULL is fine. */
void forward_close(struct forward *f);
const char *forward_path(const struct forward *f);  /* of the socket here */
const char *forward_there(const struct forward *f); /* of that there */
/* After a connection that was closed without a word: did ssh refuse to carry
 * it?  Then nobody there has got what was sent. */
bool forward_has_refused(struct forward *f);

#endif
