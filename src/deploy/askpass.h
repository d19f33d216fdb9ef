/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom the password is for.  ssh asks this program for passwords, and so do
 * those that it starts to reach jump hosts: only the node's own question is
 * answered.
 */
#ifndef DEPLOY_ASKPASS_H
#define DEPLOY_ASKPASS_H

#include <sys/types.h>

#include "base/str.h"

#define ASKPASS_ENV	"MOONCAKE_ASKPASS"     /* file with the password */
#define ASKPASS_WHO_ENV "MOONCAKE_ASKPASS_FOR" /* of askpass_who_format() */
#define ASKPASS_WHO_LEN 400
#define ASKPASS_MAX	1024		       /* bytes of a password */
#define ASKPASS_SAYS	"the password is for " /* a refusal begins so */

struct askpass_who {
	char user[64];	/* "" = any */
	char host[256]; /* as ssh names it in its question */
};

/* From what "ssh -G" prints; what it lacks stays as it is. */
void askpass_who_parse(struct str text, struct askpass_who *who);
/* One text for the environment, and back. */
void askpass_who_format(const struct askpass_who *who,
			char out[ASKPASS_WHO_LEN]);
void askpass_who_read(const char *text, struct askpass_who *who);

/* Does that ssh tell whose questions it passes on?  version is what "ssh -V"
 * prints; name gets its first word. */
#define ASKPASS_SSH_LEN 40
bool askpass_is_told(struct str version, char name[ASKPASS_SSH_LEN]);

/* Is the question one for that user's password on that host? */
bool askpass_is_for(const struct askpass_who *who, const char *question);

#endif
