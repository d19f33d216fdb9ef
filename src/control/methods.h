/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of src/control: the tables of methods, one per file.  A new method
 * is a row in one of them; a new file is a table here and in control.c.
 */
#ifndef CONTROL_METHODS_H
#define CONTROL_METHODS_H

#include "control/control.h"
#include "control/jrpc.h"

extern const struct jrpc_table control_faults;	  /* faults.c */
extern const struct jrpc_table control_framework; /* framework.c */

#endif
