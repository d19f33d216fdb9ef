/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of how clients on this host are set up: identity, keys, environment,
 * configuration file, proxies.  One thread; only reads.  Invariant: values are
 * judged by the parsers that clients use, never by rules of our own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/conf.h"
#include "deploy/doctor_check.h"
#include "io/tls.h"
#include "node/config.h"
#include "pool/identity.h"

static void etc_of(const struct doctor *d, char out[256])
{
	snprintf(out, 256, "%.240s/etc", d->opts.root);
}

static const char *env_either(const char *first, const char *second)
{
	const char *value = getenv(first);

	if ((!value || !*value) && second)
		value = getenv(second);
	return value && *value ? value : NULL;
}

/* --- identity --- */

static bool is_hex32(const char *text)
{
	return strlen(text) == 32 &&
	       strspn(text, "0123456789abcdefABCDEF") == 32;
}

static void check_machine_id(struct doctor *d, const struct doctor_check *c)
{
	char text[128];
	int ret = doctor_read(d, "/etc/machine-id", text, sizeof(text));

	if (ret) {
		doctor_add(d, c, DOCTOR_WARN, "", "not there: %s",
			   strerror(-ret));
	} else if (!text[0]) {
		doctor_add(d, c, DOCTOR_WARN, "", "empty");
	} else if (!is_hex32(text) || strspn(text, "0") == 32) {
		doctor_add(d, c, DOCTOR_WARN, "",
			   "'%.40s' is none: machines with the same image "
			   "take each other for one host",
			   text);
	} else {
		doctor_add(d, c, DOCTOR_OK, "", "set");
	}
}

static void check_identity(struct doctor *d, const struct doctor_check *c)
{
	struct identity_source source;
	struct uuid id;
	struct host_id host;
	struct err err = {0};
	char etc[256], text[UUID_TEXT_LEN];
	const char *derived;

	etc_of(d, etc);
	if (identity_read_host(etc, &host, &source, &err)) {
		doctor_add(d, c, DOCTOR_FAIL, "", "%s", err.text);
		return;
	}
	memcpy(id.b, host.id, sizeof(id.b));
	uuid_format_hex(&id, text);
	derived = source.has_machine_id ? "derived from /etc/machine-id"
					: "random, new in every process";
	doctor_add(d, c,
		   source.nqn[0] || source.has_machine_id ? DOCTOR_OK
							  : DOCTOR_WARN,
		   "host NQN", "%s (%s%s)", host.nqn,
		   source.nqn[0] ? "from " : derived, source.nqn);
	doctor_add(d, c, DOCTOR_OK, "host id", "%s (%s%s)", text,
		   source.id[0]	   ? "from "
		   : source.nqn[0] ? "derived from the NQN"
				   : derived,
		   source.id);
}

static void check_keys(struct doctor *d, const struct doctor_check *c)
{
	struct nvmf_opts opts = {0};
	struct err err = {0};

	if (identity_read_dhchap(&opts, &err))
		doctor_add(d, c, DOCTOR_FAIL, "", "%s", err.text);
	else if (opts.dhchap_key.len)
		doctor_add(d, c, DOCTOR_OK, "", "%s",
			   opts.dhchap_ctrl_key.len
				   ? "readable; host and target authenticate"
				   : "readable; the host authenticates");
	else
		doctor_add(d, c, DOCTOR_OK, "", "none: no authentication");
	secret_clear(&opts, sizeof(opts));
}

static void check_tls(struct doctor *d, const struct doctor_check *c)
{
	static const char *const names[] = {
		[TLS_HASH_NONE] = "not bound to a host NQN",
		[TLS_SHA256] = "SHA-256",
		[TLS_SHA384] = "SHA-384",
	};
	const char *file = env_either("MC_NVME_TLS_KEY_FILE", NULL);
	const char *form = env_either("MC_NVME_TLS_IDENTITY", NULL);
	struct nvmf_opts opts = {0};
	struct err err = {0};

	if (identity_read_tls(&opts, &err)) {
		doctor_add(d, c, DOCTOR_FAIL, "", "%s", err.text);
	} else if (opts.tls_key.len) {
		doctor_add(d, c, DOCTOR_OK, "",
			   "every connection is encrypted: key of %u bytes, "
			   "%s, derived as %s",
			   opts.tls_key.len, names[opts.tls_key.hash],
			   tls_form_name(opts.tls_form));
	} else if (file || form) {
		doctor_add(d, c, DOCTOR_NOTE, "",
			   "%s is set, but connections are not encrypted",
			   file ? "MC_NVME_TLS_KEY_FILE"
				: "MC_NVME_TLS_IDENTITY");
		doctor_advise(d, "%s",
			      file ? "MC_NVME_TLS=0 turns it off: unset it if "
				     "TLS is meant."
				   : "It is of use with MC_NVME_TLS_KEY_FILE "
				     "only: set that, or unset this one.");
	} else {
		doctor_add(d, c, DOCTOR_OK, "", "not used%s",
			   stream_tls_is_built()
				   ? ""
				   : "; this build has none (meson "
				     "-Dtls=enabled)");
	}
	secret_clear(&opts, sizeof(opts));
}

/* --- environment --- */

static bool is_pool_name(const char *name)
{
	return strncmp(name, "MC_NOF_", 7) == 0 ||
	       strncmp(name, "MC_NVME_", 8) == 0 ||
	       strcmp(name, "MC_STORE_NUMA_SOCKET_ID") == 0;
}

/* Returns how many findings it made. */
static unsigned judge_var(struct doctor *d, const struct doctor_check *c,
			  const char *name)
{
	struct err err = {0};
	int ret;

	if (!is_pool_name(name) || identity_has_var(name))
		return 0;
	ret = vol_opts_check_var(name, &err);
	if (ret == 0)
		return 0;
	if (ret != -ENOENT) {
		doctor_add(d, c, DOCTOR_FAIL, name, "%s", err.text);
		return 1;
	}
	doctor_add(d, c, DOCTOR_WARN, name, "unknown, so without effect");
	doctor_advise(d, "Correct its name (docs/nvmf.md lists them) or unset "
			 "it.");
	return 1;
}

static void check_environment(struct doctor *d, const struct doctor_check *c)
{
	static const char *const names[] = {"metadata_server",
					    "local_hostname"};
	static const char *const values[] = {"P2PHANDSHAKE", "localhost"};
	struct client_conf conf;
	struct err err = {0};
	unsigned found = 0;

	for (char **var = environ; *var; var++) {
		char name[128];
		size_t n = strcspn(*var, "=");

		if (n >= sizeof(name))
			continue;
		memcpy(name, *var, n);
		name[n] = '\0';
		found += judge_var(d, c, name);
	}
	if (conf_parse(names, values, ARRAY_SIZE(names), &conf, &err)) {
		doctor_add(d, c, DOCTOR_FAIL, "", "%s", err.text);
		found++;
	}
	if (!found)
		doctor_add(d, c, DOCTOR_OK, "", "all variables are valid");
}

/* --- configuration file --- */

static void check_config(struct doctor *d, const struct doctor_check *c)
{
	static const struct flag_list no_defines;
	struct node_config config;
	struct node_pairs pairs;
	struct client_conf conf;
	struct err err = {0};
	struct stat st;
	int ret;

	if (!*d->opts.config) {
		doctor_add(d, c, DOCTOR_OK, "", "none was named (--config)");
		return;
	}
	/* Reading a FIFO would wait for ever. */
	if (stat(d->opts.config, &st) == 0 && !S_ISREG(st.st_mode)) {
		doctor_add(d, c, DOCTOR_FAIL, d->opts.config,
			   "not a regular file");
		return;
	}
	ret = node_config_load(&config, d->opts.config, &no_defines, &err);
	if (ret == 0) {
		node_config_pairs(&config, &pairs);
		ret = conf_parse(pairs.names, pairs.values, pairs.count, &conf,
				 &err);
	}
	if (ret)
		doctor_add(d, c, DOCTOR_FAIL, d->opts.config, "%s", err.text);
	else if (strcmp(conf.local.host, "localhost") == 0 &&
		 conf.segment_bytes)
		doctor_add(d, c, DOCTOR_WARN, d->opts.config,
			   "local_hostname is localhost, so no other host "
			   "finds this segment");
	else
		doctor_add(d, c, DOCTOR_OK, d->opts.config, "valid");
	node_config_fini(&config);
}

/* --- proxies --- */

/* One entry of no_proxy: "*", a host, or a domain with or without its dot. */
static bool entry_covers(struct str entry, struct str host)
{
	struct str tail;

	if (str_eq(entry, STR("*")) || str_eq_nocase(entry, host))
		return true;
	if (entry.n && entry.p[0] == '.') {
		entry.p++;
		entry.n--;
	}
	if (!entry.n || host.n <= entry.n)
		return false;
	tail = (struct str){host.p + host.n - entry.n, entry.n};
	return host.p[host.n - entry.n - 1] == '.' &&
	       str_eq_nocase(entry, tail);
}

bool doctor_is_direct(const char *no_proxy, const char *host)
{
	struct str rest = str_of(no_proxy);

	while (rest.p && rest.n) {
		struct str entry = str_trim(str_cut(rest, ',', &rest));

		if (entry_covers(entry, str_of(host)))
			return true;
	}
	return false;
}

static const char *find_proxy(void)
{
	static const char *const names[] = {"http_proxy",  "HTTP_PROXY",
					    "https_proxy", "HTTPS_PROXY",
					    "all_proxy",   "ALL_PROXY"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *value = getenv(names[i]);

		if (value && *value)
			return names[i];
	}
	return NULL;
}

static void check_proxy(struct doctor *d, const struct doctor_check *c)
{
	const char *name = find_proxy();
	const char *except = env_either("no_proxy", "NO_PROXY");
	struct hostport hp = {0};

	if (!name) {
		doctor_add(d, c, DOCTOR_OK, "", "none is set");
		return;
	}
	if (*d->opts.master)
		hostport_parse(str_of(d->opts.master), 0, &hp,
			       &(struct err){0});
	if (hp.host[0] && except && doctor_is_direct(except, hp.host)) {
		doctor_add(d, c, DOCTOR_OK, name,
			   "set; no_proxy keeps %s from it", hp.host);
		return;
	}
	doctor_add(d, c, hp.host[0] || !except ? DOCTOR_WARN : DOCTOR_NOTE,
		   name,
		   "set%s%s; our programs ignore it, but others (curl, "
		   "Python) would ask it for the cluster's pages",
		   hp.host[0] ? ", and no_proxy does not name " : "", hp.host);
	doctor_advise(d,
		      "Add the cluster's hosts to no_proxy "
		      "(no_proxy=%s%s%s), or unset %s where engines run.",
		      except ? except : "", except ? "," : "",
		      hp.host[0] ? hp.host : "HOST,…", name);
}

const struct doctor_check doctor_setup_checks[] = {
	{"machine id", "/etc/machine-id", DOCTOR_WARN,
	 "Make one with systemd-machine-id-setup (on a cloned disk: empty "
	 "/etc/machine-id first), or give each host its own "
	 "/etc/nvme/hostnqn.",
	 check_machine_id},
	{"host identity",
	 "MC_NVME_HOSTNQN, MC_NVME_HOSTID, /etc/nvme, /etc/machine-id",
	 DOCTOR_FAIL,
	 "Set MC_NVME_HOSTNQN, or write /etc/nvme/hostnqn and "
	 "/etc/nvme/hostid, as targets know this host by them.",
	 check_identity},
	{"keys", "MC_NVME_DHCHAP_KEY_FILE, MC_NVME_DHCHAP_CTRL_KEY_FILE",
	 DOCTOR_FAIL,
	 "The file must be readable by this user and by nobody else (chown, "
	 "chmod 600), and hold one key of mooncakectl gen-dhchap-key.",
	 check_keys},
	{"TLS", "MC_NVME_TLS, MC_NVME_TLS_KEY_FILE, MC_NVME_TLS_IDENTITY",
	 DOCTOR_FAIL,
	 "The file must be readable by this user and by nobody else (chown, "
	 "chmod 600), and hold one key of mooncakectl gen-tls-key, the one "
	 "that "
	 "targets have for this host.",
	 check_tls},
	{"environment", "MC_NOF_*, MC_NVME_*, MC_STORE_*, MC_RPC_*",
	 DOCTOR_FAIL, "Correct or unset it: clients refuse to start with it.",
	 check_environment},
	{"configuration", "--config, MOONCAKE_CONFIG_PATH", DOCTOR_FAIL,
	 "Correct the file: mooncake_store_service(8) has its keys.",
	 check_config},
	{"proxies", "http_proxy, https_proxy, all_proxy, no_proxy", DOCTOR_WARN,
	 NULL, check_proxy},
	{0},
};
