/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that hold one secret as a line of text.  What others can read is no
 * secret: such a file is refused rather than used.
 */
#ifndef CRYPT_KEYFILE_H
#define CRYPT_KEYFILE_H

#include "base/err.h"
#include "base/str.h"

#define KEYFILE_MAX 1024 /* bytes */

/*
 * Reads the one line of the file without the blanks around it into buf (which
 * the caller clears after a success), *out shows it.  -errno with a sentence:
 * no such file, not a regular file, not ours or root's, permissions too wide,
 * too large, empty. Blocks on the disk: set-up paths only.
 */
int keyfile_read(const char *path, char buf[KEYFILE_MAX], struct str *out,
		 struct err *err);
/* Creates a file that only its owner can read, never overwriting one. */
int keyfile_create(const char *path, struct str text, struct err *err);

#endif
