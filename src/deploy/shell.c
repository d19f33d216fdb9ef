/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of shell scripts.  Pure. */
#include "deploy/shell.h"

/* By the node's clock that nobody sets. */
const char shell_late[] =
	"up() { IFS=. read -r up _ </proc/uptime; echo $up; }\n"
	"late_at=$(($(up) + limit_s)); late() { [ $(up) -ge $late_at ]; }\n";
