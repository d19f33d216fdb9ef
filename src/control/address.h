/* SPDX-License-Identifier: Apache-2.0 */
/* Transport addresses as SPDK's methods have them: {trtype, adrfam, traddr,
 * trsvcid}.  Numeric hosts only, so nothing here ever waits. */
#ifndef CONTROL_ADDRESS_H
#define CONTROL_ADDRESS_H

#include "control/params.h"
#include "io/addr.h"

struct address_args {
	const char *trtype, *adrfam, *traddr, *trsvcid;
};
extern const struct param address_params[4];
/* A row of a parameter table; member: a struct address_args at offset 0. */
#define ADDRESS_PARAM(name_)                                                   \
	{                                                                      \
		name_, PARAM_OBJECT, .is_required = true,                      \
				     .sub = address_params,                    \
				     .sub_count = ARRAY_SIZE(address_params)   \
	}

/* 0, or -EINVAL with a sentence: not TCP, no IP address, no port. */
int address_parse(const struct address_args *args, struct addr *out,
		  struct err *err);
json_t *address_json(const struct addr *addr);

#endif
