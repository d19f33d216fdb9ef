/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a failed ASSERT: one line on stderr, then abort() for the core.
 * Any thread; takes no locks and allocates nothing, as the heap may be broken.
 */
#include "base/def.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void assert_failed(const char *cond, const char *file, int line,
		   const char *func)
{
	char text[512];
	int n = snprintf(text, sizeof(text),
			 "%s:%d: %s: '%s' does not hold (a bug in Mooncake-C, "
			 "please report it)\n",
			 file, line, func, cond);

	if (n >= (int)sizeof(text)) {
		n = sizeof(text) - 1;
		text[n - 1] = '\n';
	}
	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		abort();
	abort();
}
