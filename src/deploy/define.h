/* SPDX-License-Identifier: Apache-2.0 */
/* -D key=value of upstream's tools, typed and checked. */
#ifndef DEPLOY_DEFINE_H
#define DEPLOY_DEFINE_H

#include "base/flag.h"
#include "deploy/nslist.h"

/*
 * Overrides nqn, nsid, traddr, trsvcid of all namespaces in the list.  base and
 * size are compared with what is there: the pool takes whole namespaces.
 * metadata_server is known and has no meaning here.  -EINVAL.
 */
int define_apply(const struct flag_list *defines, struct nslist *list,
		 struct err *err);
/* The value of the last "key=value" with that key, or NULL. */
const char *define_find(const struct flag_list *defines, const char *key);
/* "-Dkey=value" becomes "-D=key=value", as the option table reads it.  The new
 * array and its texts are one block: free() it.  NULL when out of memory. */
char **define_split_args(int argc, char **argv);

#endif
