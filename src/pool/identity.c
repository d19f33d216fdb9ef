/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host NQN, host id and keys.  Any thread (those that look at the
 * environment, before others change it), and they may wait for a disk.
 * Invariant: a value that someone has set is used or refused, never passed
 * over.
 */
#include "pool/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"
#include "base/uuid.h"
#include "io/tls.h"

#define TEXT_LEN 512
#define PATH_LEN 256

/* Where a value comes from, for sentences, and the value; n 0 = nowhere. */
struct found {
	const char *name;
	char path[PATH_LEN];
	char buf[TEXT_LEN];
	struct str text;
};

/* A short text; empty where there is no such file. */
static int read_file(const char *etc, const char *name, struct found *out,
		     struct err *err)
{
	ssize_t n;
	int fd, ret = 0;

	out->text = (struct str){out->buf, 0};
	out->name = out->path;
	snprintf(out->path, sizeof(out->path), "%s/%s", etc, name);
	fd = open(out->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0)
		return err_set(err, -errno, "'%s' can't be opened: %s",
			       out->path, strerror(errno));
	n = read(fd, out->buf, sizeof(out->buf));
	if (n < 0)
		ret = err_set(err, -errno, "'%s' can't be read: %s", out->path,
			      strerror(errno));
	else
		out->text = str_trim((struct str){out->buf, (size_t)n});
	close(fd);
	return ret;
}

static bool read_env(const char *name, struct found *out)
{
	out->name = name;
	out->text = str_trim(str_of(getenv(name)));
	return out->text.n > 0;
}

static int read_nqn(const char *etc, struct found *from, struct host_id *out,
		    struct err *err)
{
	struct err why = {0};
	int ret = 0;

	if (!read_env("MC_NVME_HOSTNQN", from))
		ret = read_file(etc, "nvme/hostnqn", from, err);
	if (ret || !from->text.n)
		return ret;
	ret = nqn_check(from->text, &why);
	if (ret)
		return err_set(err, ret, "the host NQN of %s is not valid: %s",
			       from->name, why.text);
	memcpy(out->nqn, from->text.p, from->text.n);
	return 0;
}

static int read_id(const char *etc, bool use_file, struct found *from,
		   struct err *err)
{
	struct uuid uuid;
	int ret = 0;

	if (!read_env("MC_NVME_HOSTID", from) && use_file)
		ret = read_file(etc, "nvme/hostid", from, err);
	if (ret || !from->text.n)
		return ret;
	if (uuid_parse(from->text, &uuid) || uuid_is_zero(&uuid))
		return err_set(err, -EINVAL,
			       "the host id of %s is not valid: '%.*s' is no "
			       "UUID, or zero",
			       from->name, (int)MIN(from->text.n, (size_t)60),
			       from->text.p);
	return 0;
}

static void tell_source(const struct found *nqn, const struct found *id,
			const struct found *machine,
			struct identity_source *out)
{
	if (!out)
		return;
	*out = (struct identity_source){.has_machine_id = machine->text.n > 0};
	if (nqn->text.n)
		snprintf(out->nqn, sizeof(out->nqn), "%s", nqn->name);
	if (id->text.n)
		snprintf(out->id, sizeof(out->id), "%s", id->name);
}

int identity_read_host(const char *etc, struct host_id *out,
		       struct identity_source *source, struct err *err)
{
	struct found nqn, id, machine;
	struct host_id host = {0};
	struct uuid uuid;
	int ret = read_nqn(etc, &nqn, &host, err);

	/* A host NQN of its own must not share its id with others. */
	if (ret == 0)
		ret = read_id(etc, !host.nqn[0] || nqn.name == nqn.path, &id,
			      err);
	if (ret)
		return ret;
	/* Without permission to read it there is none. */
	if (read_file(etc, "machine-id", &machine, &(struct err){0}))
		machine.text = (struct str){0};
	tell_source(&nqn, &id, &machine, source);
	if (host.nqn[0])
		host_id_of_nqn(host.nqn, out);
	else
		host_id_derive(machine.text, out);
	if (id.text.n && uuid_parse(id.text, &uuid) == 0)
		memcpy(out->id, uuid.b, sizeof(out->id));
	return 0;
}

bool identity_has_var(const char *name)
{
	static const char *const names[] = {
		"MC_NVME_HOSTNQN",
		"MC_NVME_HOSTID",
		"MC_NVME_DHCHAP_KEY_FILE",
		"MC_NVME_DHCHAP_CTRL_KEY_FILE",
		"MC_NVME_TLS",
		"MC_NVME_TLS_KEY_FILE",
		"MC_NVME_TLS_IDENTITY",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static int file_name(const char *name, char out[IDENTITY_PATH_LEN],
		     struct err *err)
{
	struct str path = str_of(getenv(name));

	out[0] = '\0';
	if (path.n >= IDENTITY_PATH_LEN)
		return err_set(err, -ENAMETOOLONG,
			       "%s: a path has less than %d bytes", name,
			       IDENTITY_PATH_LEN);
	memcpy(out, path.n ? path.p : "", path.n + 1);
	return 0;
}

/* 0 off, 1 on; -EINVAL.  Without the variable a key file means on. */
static int read_tls_mode(bool has_file, struct err *err)
{
	struct str text = str_trim(str_of(getenv("MC_NVME_TLS")));
	bool is_on = has_file;

	if (text.n && !str_eq_nocase(text, STR("required")) &&
	    str_to_bool(text, &is_on))
		return err_set(err, -EINVAL,
			       "MC_NVME_TLS=\"%.60s\" is not 0, 1 or required: "
			       "correct it or unset it",
			       text.p);
	if (str_eq_nocase(text, STR("required")))
		is_on = true;
	if (is_on && !has_file)
		return err_set(err, -EINVAL,
			       "MC_NVME_TLS asks for TLS: set "
			       "MC_NVME_TLS_KEY_FILE to a file with the key");
	if (is_on && !stream_tls_is_built())
		return err_set(err, -EOPNOTSUPP,
			       "MC_NVME_TLS_KEY_FILE is set, but this program "
			       "was built without TLS (meson -Dtls=enabled)");
	return is_on;
}

static int read_tls_form(enum tls_form *out, struct err *err)
{
	struct str text = str_trim(str_of(getenv("MC_NVME_TLS_IDENTITY")));

	*out = TLS_FORM_V1;
	if (!text.n)
		return 0;
	for (*out = 0; *out < TLS_FORM_COUNT; (*out)++) {
		if (str_eq(text, str_of(tls_form_name(*out))))
			return 0;
	}
	return err_set(err, -EINVAL,
		       "MC_NVME_TLS_IDENTITY=\"%.60s\" is not 1, 0, 1-compat "
		       "or 0-compat: correct it or unset it",
		       text.p);
}

/* out->tls is empty when there is to be no TLS. */
static int read_tls_file(struct identity_files *out, struct err *err)
{
	int ret = file_name("MC_NVME_TLS_KEY_FILE", out->tls, err);
	int is_on = ret ? ret : read_tls_mode(out->tls[0] != '\0', err);

	if (is_on <= 0)
		out->tls[0] = '\0';
	return is_on < 0 ? is_on : read_tls_form(&out->tls_form, err);
}

static int read_dhchap_files(struct identity_files *out, struct err *err)
{
	int ret = file_name("MC_NVME_DHCHAP_KEY_FILE", out->key, err);

	if (ret == 0)
		ret = file_name("MC_NVME_DHCHAP_CTRL_KEY_FILE", out->ctrl_key,
				err);
	if (ret == 0 && out->ctrl_key[0] && !out->key[0])
		return err_set(
			err, -EINVAL,
			"MC_NVME_DHCHAP_CTRL_KEY_FILE is set without "
			"MC_NVME_DHCHAP_KEY_FILE: a target proves itself "
			"only to a host that does so, too");
	return ret;
}

int identity_files_read(struct identity_files *out, struct err *err)
{
	int ret = read_dhchap_files(out, err);

	return ret ? ret : read_tls_file(out, err);
}

static int read_key(const char *name, const char *path, struct dhchap_key *out,
		    struct err *err)
{
	struct err why = {0};
	int ret = 0;

	*out = (struct dhchap_key){0};
	if (path[0])
		ret = dhchap_key_load(path, out, &why);
	return ret ? err_set(err, ret, "%s: %s", name, why.text) : 0;
}

static int read_tls_key(const char *path, struct tls_key *out, struct err *err)
{
	struct err why = {0};
	int ret = 0;

	*out = (struct tls_key){0};
	if (path[0])
		ret = tls_key_load(path, out, &why);
	return ret ? err_set(err, ret, "MC_NVME_TLS_KEY_FILE: %s", why.text)
		   : 0;
}

int identity_keys_again(const struct identity_files *files,
			struct nvmf_opts *out, struct err *err)
{
	struct dhchap_key key, ctrl_key = {0};
	struct tls_key tls_key = {0};
	int ret = read_key("MC_NVME_DHCHAP_KEY_FILE", files->key, &key, err);

	if (ret == 0)
		ret = read_key("MC_NVME_DHCHAP_CTRL_KEY_FILE", files->ctrl_key,
			       &ctrl_key, err);
	if (ret == 0)
		ret = read_tls_key(files->tls, &tls_key, err);
	if (ret == 0) {
		out->dhchap_key = key;
		out->dhchap_ctrl_key = ctrl_key;
		out->tls_key = tls_key;
		out->tls_form = files->tls_form;
	}
	secret_clear(&key, sizeof(key));
	secret_clear(&ctrl_key, sizeof(ctrl_key));
	secret_clear(&tls_key, sizeof(tls_key));
	return ret;
}

int identity_read_dhchap(struct nvmf_opts *out, struct err *err)
{
	struct identity_files files = {0};
	int ret = read_dhchap_files(&files, err);

	return ret ? ret : identity_keys_again(&files, out, err);
}

int identity_read_tls(struct nvmf_opts *out, struct err *err)
{
	struct identity_files files = {0};
	int ret = read_tls_file(&files, err);

	return ret ? ret : identity_keys_again(&files, out, err);
}

int identity_read(const char *etc, struct nvmf_opts *out, struct err *err)
{
	struct identity_files files;
	int ret = identity_read_host(etc, &out->host, NULL, err);

	if (ret == 0)
		ret = identity_files_read(&files, err);
	if (ret == 0)
		ret = identity_keys_again(&files, out, err);
	return ret;
}
