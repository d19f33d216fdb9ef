/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl gen-dhchap-key, gen-tls-key: a secret into a file.  One thread.
 * Invariant: a secret goes to stdout only when "--output -" says so.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/ctl.h"
#include "crypt/dhchap.h"
#include "crypt/keyfile.h"
#include "crypt/tlskey.h"

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

/* text has room for one more character. */
static int put_key(struct ctl *ctl, char *text, struct err *err)
{
	const char *path = ctl->config.output;
	size_t n = strlen(text);
	int ret = 0;

	text[n] = '\n';
	text[n + 1] = '\0';
	if (strcmp(path, "-") == 0) {
		fputs(text, stdout);
	} else {
		ret = keyfile_create(path, str_of(text), err);
		if (ret == 0)
			strbuf_addf(&ctl->out,
				    "%s: a new key, readable by you alone\n",
				    path);
	}
	return ret;
}

static int check_output(const struct ctl *ctl, struct err *err)
{
	if (ctl->config.output[0])
		return 0;
	return err_set(err, -EINVAL,
		       "where to? give --output FILE (or - for standard "
		       "output)");
}

static int run_key(struct ctl *ctl, struct err *err)
{
	char text[DHCHAP_KEY_TEXT_LEN + 1];
	struct dhchap_key key;
	unsigned hash = 0;
	size_t len = 0;
	int ret = check_output(ctl, err);

	if (!ret)
		ret = choose(&ctl->config, &hash, &len, err);
	if (ret)
		return ret;
	ret = dhchap_key_make(hash, len, &key);
	if (ret)
		return err_set(err, ret,
			       "this machine gives no random numbers");
	dhchap_key_format(&key, text);
	ret = put_key(ctl, text, err);
	secret_clear(&key, sizeof(key));
	secret_clear(text, sizeof(text));
	return ret;
}

static int run_tls_key(struct ctl *ctl, struct err *err)
{
	bool is_384 = strcmp(ctl->config.hash, "sha384") == 0;
	char text[TLS_KEY_TEXT_LEN + 1];
	struct tls_key key;
	int ret = check_output(ctl, err);

	if (!ret && !is_384 && strcmp(ctl->config.hash, "sha256") != 0)
		ret = err_set(err, -EINVAL,
			      "--hash=%.40s: sha256 and sha384 are known",
			      ctl->config.hash);
	if (ret)
		return ret;
	ret = tls_key_make(is_384 ? TLS_SHA384 : TLS_SHA256, &key);
	if (ret)
		return err_set(err, ret,
			       "this machine gives no random numbers");
	tls_key_format(&key, text);
	ret = put_key(ctl, text, err);
	secret_clear(&key, sizeof(key));
	secret_clear(text, sizeof(text));
	return ret;
}

#define OFF(field) offsetof(struct ctl_config, field)
#define OUTPUT_FLAG                                                            \
	{                                                                      \
		.name = "output", .alias = "o", .type = FLAG_STR,              \
		.off = OFF(output), .arg = "FILE", .group = "Options",         \
		.help = "The file to make, with mode 0600; one that exists "   \
			"is never "                                            \
			"overwritten. - writes to standard output."            \
	}
static const struct flag flags[] = {
	OUTPUT_FLAG,
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

static const struct flag tls_flags[] = {
	OUTPUT_FLAG,
	{.name = "hash",
	 .type = FLAG_STR,
	 .off = OFF(hash),
	 .def = "sha256",
	 .arg = "NAME",
	 .help = "sha256 (a key of 32 bytes, AES-128) or sha384 (48 bytes, "
		 "AES-256)."},
};

const struct ctl_command ctl_tls_key = {
	.prog =
		{
			.name = CTL_NAME " gen-tls-key",
			.summary = "makes a key for NVMe/TCP over TLS",
			.usage = "--output FILE [options]",
			.details = "For MC_NVME_TLS_KEY_FILE of hosts, "
				   "--tls_key of mooncake_nof_target, and "
				   "anything else that takes keys of the form "
				   "NVMeTLSkey-1:…: (Linux, SPDK).",
			.examples = "  " CTL_NAME " gen-tls-key "
				    "--output /etc/mooncake/tls.key\n",
			.flags = tls_flags,
			.flag_count = ARRAY_SIZE(tls_flags),
		},
	.run = run_tls_key,
	.is_without_master = true,
};
