/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration files.  Runs once while a program starts.  Invariant: a value
 * reaches the option table only through conf_set(), with its place.
 */
#include "web/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "web/conf_impl.h"

#define CONF_FILE_MAX (1u << 20)

static bool name_eq(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++) {
		char x = a.p[i] == '-' ? '_' : a.p[i];
		char y = b.p[i] == '-' ? '_' : b.p[i];

		if (x != y)
			return false;
	}
	return true;
}

bool conf_is_known(const struct conf *conf, const char *name)
{
	const struct flag_prog *prog = conf->fs->prog;

	for (size_t i = 0; i < prog->flag_count; i++) {
		struct str rest = str_of(prog->flags[i].alias), alias;

		if (name_eq(str_of(prog->flags[i].name), str_of(name)))
			return true;
		while (rest.n > 0) {
			alias = str_cut(rest, ',', &rest);
			if (name_eq(str_trim(alias), str_of(name)))
				return true;
		}
	}
	return false;
}

int conf_unknown(const struct conf *conf, const char *name, struct conf_pos pos,
		 struct err *err)
{
	char text[160];

	if (conf->how & CONF_IGNORE_UNKNOWN) {
		log_warn("configuration key ignored",
			 "key=\"%.80s\" at=%s:%u:%u", name, conf->path,
			 pos.line, pos.column);
		return 0;
	}
	snprintf(text, sizeof(text), "there is no option \"%.80s\"", name);
	return conf_fail(conf, pos, text, err);
}

int conf_set(const struct conf *conf, const char *name, struct str value,
	     struct conf_pos pos, struct err *err)
{
	char where[192];

	snprintf(where, sizeof(where), "%.150s:%u:%u", conf->path, pos.line,
		 pos.column);
	return flag_set_text(conf->fs, name, value, FLAG_SRC_FILE, where, err);
}

int conf_fail(const struct conf *conf, struct conf_pos pos, const char *what,
	      struct err *err)
{
	return err_set(err, -EINVAL, "%.100s:%u:%u: %s", conf->path, pos.line,
		       pos.column, what);
}

static int read_file(const char *path, struct strbuf *out, struct err *err)
{
	FILE *file = fopen(path, "re");
	char buf[4096];
	size_t n;
	int ret = 0;

	if (!file)
		return err_set(err, -errno, "cannot open %.150s: %s", path,
			       strerror(errno));
	while ((n = fread(buf, 1, sizeof(buf), file)) > 0 &&
	       out->n <= CONF_FILE_MAX)
		strbuf_add(out, buf, n);
	if (ferror(file))
		ret = err_set(err, -EIO, "cannot read %.150s", path);
	else if (out->n > CONF_FILE_MAX)
		ret = err_set(err, -EFBIG,
			      "%.150s has more than %u bytes: that is no "
			      "configuration",
			      path, CONF_FILE_MAX);
	else if (out->failed)
		ret = err_set(err, -ENOMEM, "out of memory");
	fclose(file);
	return ret;
}

static bool has_suffix(const char *path, const char *suffix)
{
	size_t n = strlen(path), len = strlen(suffix);

	return n > len && strcmp(path + n - len, suffix) == 0;
}

/* Other names than .json, .yaml and .yml: JSON begins with a brace. */
static bool is_json(const char *path, struct str text)
{
	struct str trimmed = str_trim(text);

	if (has_suffix(path, ".json"))
		return true;
	if (has_suffix(path, ".yaml") || has_suffix(path, ".yml"))
		return false;
	return trimmed.n > 0 && trimmed.p[0] == '{';
}

int conf_load(struct flag_set *fs, const char *path, unsigned how,
	      struct err *err)
{
	struct conf conf = {.fs = fs, .path = path, .how = how};
	struct strbuf text = {0};
	int ret = read_file(path, &text, err);

	if (ret == 0) {
		conf.text = strbuf_str(&text);
		ret = is_json(path, conf.text) ? conf_read_json(&conf, err)
					       : conf_read_yaml(&conf, err);
	}
	strbuf_fini(&text);
	return ret;
}
