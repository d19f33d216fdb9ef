/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cause a person can read, for set-up paths (options, files, connecting).
 * The first cause wins: later err_set() calls on the same struct are ignored,
 * so the deepest, most precise sentence survives.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/def.h"

struct err {
	int code; /* 0 or -errno */
	char text[256];
};

/* Returns code (negative errno), so that "return err_set(...)" works. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* More at the end of the sentence: what became of it since. */
void err_add(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
