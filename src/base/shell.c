/* SPDX-License-Identifier: Apache-2.0 */
/* Words for a shell.  Pure.  Invariant: a quoted text is one word, whatever it
 * holds. */
#include "base/shell.h"

void shell_quote(struct strbuf *out, const char *text)
{
	strbuf_addc(out, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			strbuf_adds(out, "'\\''");
		else
			strbuf_addc(out, *text);
	}
	strbuf_addc(out, '\'');
}
