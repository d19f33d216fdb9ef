/* SPDX-License-Identifier: Apache-2.0 */
/* Base64, RFC 4648 section 4. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/str.h"

/* Lines of 76 characters when is_wrapped. */
void base64_encode(struct strbuf *out, const void *p, size_t n,
		   bool is_wrapped);
/* Appends the bytes; blanks and line ends are skipped.  -EINVAL for anything
 * else and for wrong padding; what was appended by then stays. */
int base64_decode(struct strbuf *out, struct str text);

#endif
