/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be typed into a POSIX shell.  Pure. */
#ifndef BASE_SHELL_H
#define BASE_SHELL_H

#include "base/str.h"

/* Adds text as one word for a POSIX shell: 'it'\''s'. */
void shell_quote(struct strbuf *out, const char *text);

#endif
