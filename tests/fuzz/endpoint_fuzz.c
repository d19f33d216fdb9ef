/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person may type where an endpoint is asked for.  Promise: no memory
 * error, a sentence for what is refused, and what is taken is the same after
 * it was printed and read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hostport.h"
#include "nvme/endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, (uint32_t)size};
	struct endpoint ep, again;
	char out[ENDPOINT_TEXT_LEN];
	struct hostport hp;
	struct err err = {0};

	if (hostport_parse(text, 4420, &hp, &err) < 0)
		ASSERT(err.text[0]);
	err = (struct err){0};
	if (endpoint_parse(text, &ep, &err) < 0) {
		ASSERT(err.text[0]);
		return 0;
	}
	endpoint_format(&ep, out);
	ASSERT(endpoint_parse(str_of(out), &again, &err) == 0);
	ASSERT(strcmp(ep.traddr, again.traddr) == 0);
	ASSERT(strcmp(ep.subnqn, again.subnqn) == 0);
	ASSERT(ep.trsvcid == again.trsvcid && ep.trtype == again.trtype &&
	       ep.is_ipv6 == again.is_ipv6 && ep.nsid == again.nsid);
	return 0;
}
