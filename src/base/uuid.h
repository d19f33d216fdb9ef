/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identifiers.  A UUID is 16 bytes in network order; Mooncake prints it as
 * "<dec>-<dec>" of its two big-endian halves, NVMe as 8-4-4-4-12 hex.
 */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include "base/str.h"

struct uuid {
	uint8_t b[16];
};

#define UUID_TEXT_LEN 48 /* either form with its NUL */

void uuid_make(struct uuid *u); /* random, version 4 */
bool uuid_eq(const struct uuid *a, const struct uuid *b);
bool uuid_is_zero(const struct uuid *u);
void uuid_format_hex(const struct uuid *u, char out[UUID_TEXT_LEN]);
void uuid_format_dec(const struct uuid *u, char out[UUID_TEXT_LEN]);
/* Takes both forms (and 32 hex digits without dashes); -EINVAL. */
int uuid_parse(struct str s, struct uuid *out);

#endif
