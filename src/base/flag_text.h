/* SPDX-License-Identifier: Apache-2.0 */
/* What the option table says to people; for flag.c only. */
#ifndef BASE_FLAG_TEXT_H
#define BASE_FLAG_TEXT_H

#include "base/flag.h"

/* "a whole number from 1 to 65535" */
void flag_add_expected(const struct flag *flag, struct strbuf *out);
/* -ENOENT with the nearest known name in the sentence. */
int flag_unknown(const struct flag_prog *prog, struct str name,
		 const char *where, struct err *err);
/* Both print to stdout and return FLAG_DONE, or -ENOMEM. */
int flag_print_help(const struct flag_prog *prog);
int flag_print_version(const struct flag_prog *prog);

#endif
