/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets as text (DHHC-1, NVMeTLSkey-1), from a file that somebody wrote; and
 * the TLS identity that a stranger may send.  Promise: no memory error, a
 * sentence for what is refused and no secret left then, and what is taken is
 * the same after it was printed and read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "crypt/key.h"
#include "crypt/tlskey.h"
#include "nvme/endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_dhchap(struct str text)
{
	struct dhchap_key key, again, none = {0};
	char out[DHCHAP_KEY_TEXT_LEN];
	struct err err = {0};

	if (dhchap_key_parse(text, &key, &err) < 0) {
		ASSERT(err.text[0]);
		ASSERT(memcmp(&key, &none, sizeof(key)) == 0);
		return;
	}
	ASSERT(key.len == 32 || key.len == 48 || key.len == 64);
	dhchap_key_format(&key, out);
	ASSERT(dhchap_key_parse(str_of(out), &again, &err) == 0);
	ASSERT(memcmp(&key, &again, sizeof(key)) == 0);
}

static void try_tls(struct str text)
{
	struct tls_key key, again, none = {0};
	char out[TLS_KEY_TEXT_LEN];
	struct tls_psk psk;
	struct err err = {0};

	if (tls_key_parse(text, &key, &err) < 0) {
		ASSERT(err.text[0]);
		ASSERT(memcmp(&key, &none, sizeof(key)) == 0);
		return;
	}
	ASSERT(key.len == 32 || key.len == 48);
	tls_key_format(&key, out);
	ASSERT(tls_key_parse(str_of(out), &again, &err) == 0);
	ASSERT(memcmp(&key, &again, sizeof(key)) == 0);
	ASSERT(tls_psk_derive(&key, TLS_FORM_V1, "nqn.a:host", "nqn.a:sub",
			      &psk) == 0);
	ASSERT(psk.len == (psk.hash == TLS_SHA384 ? 48 : 32));
}

static void try_identity(struct str text)
{
	char host[NVME_NQN_LEN], subsys[NVME_NQN_LEN];

	if (tls_identity_names(text, host, subsys, sizeof(host)))
		return;
	ASSERT(host[0] && strlen(host) < sizeof(host));
	ASSERT(subsys[0] && strlen(subsys) < sizeof(subsys));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, (uint32_t)size};

	try_dhchap(text);
	try_tls(text);
	try_identity(text);
	return 0;
}
