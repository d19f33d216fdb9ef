/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords from where they may come from. */
#ifndef DEPLOY_SECRET_H
#define DEPLOY_SECRET_H

#include "base/err.h"

struct secret_source {
	const char *text; /* from the command line: warned about */
	const char *file; /* regular, ours, readable by nobody else */
	bool is_asked;	  /* on the terminal, without echo */
};

/* *out is NULL when no source was given.  -EINVAL for several of them, for a
 * file that others can read, for an empty password; -ENOTTY. */
int secret_read(const struct secret_source *source, const char *prompt,
		char **out, struct err *err);
/* Overwrites it first. */
void secret_free(char *secret);

#endif
