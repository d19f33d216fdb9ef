/* SPDX-License-Identifier: Apache-2.0 */
/* What scripts for a POSIX shell are made of.  Pure. */
#ifndef DEPLOY_SHELL_H
#define DEPLOY_SHELL_H

#include "base/shell.h"

/* What a script that waits begins with: "late" is true when it has run for
 * $limit_s seconds. */
extern const char shell_late[];

#endif
