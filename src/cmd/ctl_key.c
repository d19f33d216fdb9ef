/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl gen-dhchap-key: a secret into a file.  One thread.  Invariant: a
 * secret goes to stdout only when "--output -" says so.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/ctl.h"
#include "crypt/dhchap.h"
#include "crypt/keyfile.h"

static int choose(const struct ctl_config *c, unsigned *hash, size_t *len,
		  struct err *err)
{
	int id = DHCHAP_HASH_NONE;

	if (strcmp(c->hash, "none") != 0)
		id = dhchap_hash_parse(str_of(c->hash));
	if (id < 0)
		return err_set(err, -EINVAL,
			       "--hash=%.40s: none, sha256, sha384 and sha512 "
			       "are known",
			       c->hash);
	*hash = (unsigned)id;
	*len = (size_t)c->length;
	if (!*len)
		*len = id ? dhchap_hash_len(*hash) : 32;
	if (*len != 32 && *len != 48 && *len != 64)
		return err_set(err, -EINVAL,
			       "--length=%zu: a key has 32, 48 or 64 bytes",
			       *len);
	return 0;
}

static int put_key(struct ctl *ctl, const struct dhchap_key *key,
		   struct err *err)
{
	const char *path = ctl->config.output;
	char text[DHCHAP_KEY_TEXT_LEN];
	int ret = 0;

	dhchap_key_format(key, text);
	text[strlen(text) + 1] = '\0';
	text[strlen(text)] = '\n';
	if (strcmp(path, "-") == 0) {
		fputs(text, stdout);
	} else {
		ret = keyfile_create(path, str_of(text), err);
		if (ret == 0)
			strbuf_addf(&ctl->out,
				    "%s: a new key, readable by you alone\n",
				    path);
	}
	secret_clear(text, sizeof(text));
	return ret;
}

static int run_key(struct ctl *ctl, struct err *err)
{
	struct dhchap_key key;
	unsigned hash = 0;
	size_t len = 0;
	int ret;

	if (!ctl->config.output[0])
		return err_set(err, -EINVAL,
			       "where to? give --output FILE (or - for "
			       "standard output)");
	ret = choose(&ctl->config, &hash, &len, err);
	if (ret)
		return ret;
	ret = dhchap_key_make(hash, len, &key);
	if (ret)
		err_set(err, ret, "this machine gives no random numbers");
	else
		ret = put_key(ctl, &key, err);
	secret_clear(&key, sizeof(key));
	return ret;
}

#define OFF(field) offsetof(struct ctl_config, field)
static const struct flag flags[] = {
	{.name = "output",
	 .alias = "o",
	 .type = FLAG_STR,
	 .off = OFF(output),
	 .arg = "FILE",
	 .group = "Options",
	 .help = "The file to make, with mode 0600; one that exists is never "
		 "overwritten. - writes to standard output."},
	{.name = "hash",
	 .type = FLAG_STR,
	 .off = OFF(hash),
	 .def = "sha256",
	 .arg = "NAME",
	 .help = "Hash by which the key is bound to the NQN of who uses it: "
		 "none, sha256, sha384, sha512."},
	{.name = "length",
	 .type = FLAG_UINT,
	 .off = OFF(length),
	 .arg = "BYTES",
	 .help = "32, 48 or 64. Default: as many as the hash has, 32 without "
		 "one."},
};

const struct ctl_command ctl_key = {
	.prog =
		{
			.name = CTL_NAME " gen-dhchap-key",
			.summary = "makes a key for DH-HMAC-CHAP",
			.usage = "--output FILE [options]",
			.details = "For MC_NVME_DHCHAP_KEY_FILE of hosts, "
				   "--dhchap_key of mooncake_nof_target, and "
				   "anything else that takes keys of the form "
				   "DHHC-1:…: (Linux, SPDK).",
			.examples = "  " CTL_NAME " gen-dhchap-key "
				    "--output /etc/mooncake/host.key\n",
			.flags = flags,
			.flag_count = ARRAY_SIZE(flags),
		},
	.run = run_key,
	.is_without_master = true,
};
