/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces of shell scripts.  Pure.  Invariant: a quoted text is one word,
 * whatever it holds.
 */
#include "deploy/shell.h"

/* By the node's clock that nobody sets. */
const char shell_late[] =
	"up() { IFS=. read -r up _ </proc/uptime; echo $up; }\n"
	"late_at=$(($(up) + limit_s)); late() { [ $(up) -ge $late_at ]; }\n";

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
