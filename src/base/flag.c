/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option tables: finding an option, parsing its value, precedence.  Set-up
 * path of a program, one thread.
 *
 * A value is stored only when its source ranks at least as high as that of
 * the value in place, but it is parsed and checked in any case: a typo in the
 * environment is found even where the command line overrides it.
 */
#include "base/flag.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/flag_text.h"
#include "base/log.h"

/* A value on its way in. */
struct input {
	struct str text;
	enum flag_source source;
	const char *where; /* for messages: "--port", "MC_PORT", "a.json:3" */
};

static void *field(const struct flag_set *fs, const struct flag *flag)
{
	return (char *)fs->config + flag->off;
}

static bool is_ignored(const struct flag *flag)
{
	return flag->attrs & FLAG_IGNORED;
}

/* Names */

static bool name_eq(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if ((a.p[i] == '-' ? '_' : a.p[i]) !=
		    (b.p[i] == '-' ? '_' : b.p[i]))
			return false;
	return true;
}

static bool has_name(const struct flag *flag, struct str name)
{
	struct str one, rest = str_of(flag->alias);

	if (!name.n || name_eq(str_of(flag->name), name))
		return name.n != 0;
	while (rest.p) {
		one = str_cut(rest, ',', &rest);
		if (name_eq(str_trim(one), name))
			return true;
	}
	return false;
}

static const struct flag *find_flag(const struct flag_prog *prog,
				    struct str name)
{
	for (size_t i = 0; i < prog->flag_count; i++)
		if (has_name(&prog->flags[i], name))
			return &prog->flags[i];
	return NULL;
}

/* Lists */

static void list_fini(struct flag_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct flag_list){0};
}

static int list_add(struct flag_list *list, struct str text)
{
	char *copy = str_dup(text), **items;

	items = copy ? realloc(list->items, (list->count + 1) * sizeof(*items))
		     : NULL;
	if (!items) {
		free(copy);
		return -ENOMEM;
	}
	items[list->count++] = copy;
	list->items = items;
	return 0;
}

/*
 * On the command line and in files each item comes on its own; a default or
 * an environment variable has one text for all, so there commas part them.
 */
static int list_store(struct flag_list *list, const struct input *in)
{
	struct str rest = in->text, one;
	int ret = 0;

	if (!in->text.n)
		return 0;
	if (in->source == FLAG_SRC_FILE || in->source == FLAG_SRC_CMDLINE)
		return list_add(list, in->text);
	while (rest.p && ret == 0) {
		one = str_trim(str_cut(rest, ',', &rest));
		if (one.n)
			ret = list_add(list, one);
	}
	return ret;
}

/* Values */

union value {
	bool boolean;
	int64_t i64;
	uint64_t u64;
	double number;
};

/* Numbers; texts and lists are taken as they are. */
static int parse_value(const struct flag *flag, struct str text,
		       union value *out, double *number)
{
	int ret;

	switch (flag->type) {
	case FLAG_BOOL:
		ret = str_to_bool(text, &out->boolean);
		*number = 0;
		return ret;
	case FLAG_INT:
		ret = str_to_i64(text, &out->i64);
		*number = ret ? 0 : (double)out->i64;
		return ret;
	case FLAG_DOUBLE:
		ret = str_to_double(text, &out->number);
		*number = ret ? 0 : out->number;
		return ret;
	case FLAG_SIZE:
		ret = str_to_size(text, &out->u64);
		break;
	case FLAG_MS:
		ret = str_to_ms(text, &out->u64);
		break;
	default:
		ret = str_to_u64(text, &out->u64);
		break;
	}
	*number = ret ? 0 : (double)out->u64;
	return ret;
}

static int store_text(struct flag_set *fs, const struct flag *flag,
		      const struct input *in)
{
	char **at = field(fs, flag), *copy;

	if (flag->type == FLAG_LIST) {
		if (in->source > fs->source[flag - fs->prog->flags])
			list_fini(field(fs, flag));
		return list_store(field(fs, flag), in);
	}
	copy = str_dup(in->text);
	if (!copy)
		return -ENOMEM;
	free(*at);
	*at = copy;
	return 0;
}

static void store_value(void *at, enum flag_type type, union value value)
{
	switch (type) {
	case FLAG_BOOL:
		*(bool *)at = value.boolean;
		break;
	case FLAG_INT:
		*(int64_t *)at = value.i64;
		break;
	case FLAG_DOUBLE:
		*(double *)at = value.number;
		break;
	default:
		*(uint64_t *)at = value.u64;
		break;
	}
}

/* -EINVAL with a sentence that says what is expected. */
static int bad_value(const struct flag *flag, const struct input *in,
		     struct err *err)
{
	struct strbuf expected = {0};

	flag_add_expected(flag, &expected);
	err_set(err, -EINVAL, "%s: '%.*s' is not possible; expected %s",
		in->where, (int)MIN(in->text.n, (size_t)60),
		in->text.p ? in->text.p : "", strbuf_str(&expected).p);
	strbuf_fini(&expected);
	return -EINVAL;
}

static int set_value(struct flag_set *fs, const struct flag *flag,
		     const struct input *in, struct err *err)
{
	uint8_t *source = &fs->source[flag - fs->prog->flags];
	bool is_text = flag->type == FLAG_STR || flag->type == FLAG_LIST;
	union value value;
	double number;

	if (is_ignored(flag)) {
		*source = MAX(*source, (uint8_t)in->source);
		return 0;
	}
	if (!is_text) {
		if (parse_value(flag, in->text, &value, &number))
			return bad_value(flag, in, err);
		if (flag->max > flag->min &&
		    (number < flag->min || number > flag->max))
			return bad_value(flag, in, err);
	} else if (in->text.n && memchr(in->text.p, '\0', in->text.n)) {
		return err_set(err, -EINVAL, "%s: the value contains a NUL",
			       in->where);
	}
	if (in->source < *source)
		return 0;
	if (!is_text)
		store_value(field(fs, flag), flag->type, value);
	else if (store_text(fs, flag, in))
		return err_set(err, -ENOMEM, "%s: out of memory", in->where);
	*source = (uint8_t)in->source;
	return 0;
}

int flag_init(struct flag_set *fs, const struct flag_prog *prog, void *config,
	      struct err *err)
{
	*fs = (struct flag_set){.prog = prog, .config = config};
	fs->source = calloc(MAX(prog->flag_count, (size_t)1), 1);
	if (!fs->source)
		return err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < prog->flag_count; i++) {
		const struct flag *flag = &prog->flags[i];
		bool is_number =
			flag->type != FLAG_STR && flag->type != FLAG_LIST;
		int ret;

		if (is_ignored(flag) || (is_number && !flag->def))
			continue;
		ret = set_value(fs, flag,
				&(struct input){
					.text = str_of(flag->def),
					.source = FLAG_SRC_DEFAULT,
					.where = flag->name,
				},
				err);
		/* A default that its own option refuses is a bug of ours. */
		ASSERT(ret == 0 || ret == -ENOMEM);
		if (ret)
			return ret;
	}
	return 0;
}

void flag_fini(struct flag_set *fs)
{
	if (!fs || !fs->prog)
		return;
	for (size_t i = 0; i < fs->prog->flag_count; i++) {
		const struct flag *flag = &fs->prog->flags[i];
		char **text = field(fs, flag);

		if (is_ignored(flag))
			continue;
		if (flag->type == FLAG_LIST)
			list_fini(field(fs, flag));
		if (flag->type == FLAG_STR)
			free(TAKE(*text));
	}
	list_fini(&fs->args);
	free(fs->source);
	*fs = (struct flag_set){0};
}

int flag_parse_env(struct flag_set *fs, struct err *err)
{
	for (size_t i = 0; i < fs->prog->flag_count; i++) {
		const struct flag *flag = &fs->prog->flags[i];
		struct input in = {.source = FLAG_SRC_ENV, .where = flag->env};
		int ret;

		if (!flag->env)
			continue;
		in.text = str_of(getenv(flag->env));
		if (!in.text.n) /* "VAR= program" is the way to unset one */
			continue;
		ret = set_value(fs, flag, &in, err);
		if (ret)
			return ret;
	}
	return 0;
}

int flag_set_text(struct flag_set *fs, const char *name, struct str value,
		  enum flag_source source, const char *where, struct err *err)
{
	const struct flag *flag = find_flag(fs->prog, str_of(name));
	struct strbuf at = {0};
	int ret;

	strbuf_addf(&at, "%s: %s", where, name);
	if (flag)
		ret = set_value(fs, flag,
				&(struct input){
					.text = value,
					.source = source,
					.where = strbuf_str(&at).p,
				},
				err);
	else
		ret = flag_unknown(fs->prog, str_of(name), strbuf_str(&at).p,
				   err);
	strbuf_fini(&at);
	return ret;
}

/* The command line */

struct cursor {
	int argc, at;
	char **argv;
};

/* "-5" and "-.5" are numbers, "-" is the usual name of stdin. */
static bool is_option(const char *arg)
{
	return arg[0] == '-' && arg[1] != '\0' && arg[1] != '.' &&
	       !(arg[1] >= '0' && arg[1] <= '9');
}

static struct str strip_dashes(const char *arg)
{
	return str_of(arg + (arg[1] == '-' ? 2 : 1));
}

/*
 * The value in the next argument.  It may begin with '-', as a number does,
 * but when it is an option by itself the value was forgotten.
 */
static int next_value(struct cursor *cur, const struct flag_prog *prog,
		      struct input *in, struct err *err)
{
	const char *arg = cur->at < cur->argc ? cur->argv[cur->at] : NULL;
	struct str rest;

	if (!arg || (is_option(arg) &&
		     find_flag(prog, str_cut(strip_dashes(arg), '=', &rest))))
		return err_set(err, -EINVAL, "%s needs a value; write %s=VALUE",
			       in->where, in->where);
	in->text = str_of(arg);
	cur->at++;
	return 0;
}

/* "nofoo" for a boolean foo; sets *in and returns foo, or NULL. */
static const struct flag *find_negated(const struct flag_prog *prog,
				       struct str name, struct input *in)
{
	const struct flag *flag;
	struct str rest;

	if (!str_has_prefix(name, STR("no")))
		return NULL;
	rest = (struct str){name.p + 2, name.n - 2};
	if (rest.n && (rest.p[0] == '-' || rest.p[0] == '_'))
		rest = (struct str){rest.p + 1, rest.n - 1};
	flag = find_flag(prog, rest);
	if (!flag || flag->type != FLAG_BOOL)
		return NULL;
	in->text = STR("false");
	return flag;
}

static bool is_word(struct str name, const char *word)
{
	return str_eq(name, str_of(word));
}

/* Returns FLAG_DONE when name asks for a text that is now printed. */
static int print_and_stop(const struct flag_prog *prog, struct str name)
{
	if (is_word(name, "help") || is_word(name, "h"))
		return flag_print_help(prog);
	if (is_word(name, "version"))
		return flag_print_version(prog);
	return 0;
}

static int parse_option(struct flag_set *fs, struct cursor *cur,
			struct err *err)
{
	const char *arg = cur->argv[cur->at++];
	struct str value, name = str_cut(strip_dashes(arg), '=', &value);
	struct input in = {.source = FLAG_SRC_CMDLINE, .text = value};
	const struct flag *flag = find_flag(fs->prog, name);
	char where[80];
	int ret;

	snprintf(where, sizeof(where), "--%.*s", (int)MIN(name.n, (size_t)70),
		 name.p);
	in.where = where;
	if (!flag) {
		ret = value.p ? 0 : print_and_stop(fs->prog, name);
		if (ret < 0)
			return err_set(err, ret, "out of memory");
		if (ret)
			return ret;
		flag = find_negated(fs->prog, name, &in);
		if (!flag)
			return flag_unknown(fs->prog, name, where, err);
		if (value.p)
			return err_set(err, -EINVAL,
				       "%s takes no value; write --%s=%.*s",
				       where, flag->name,
				       (int)MIN(value.n, (size_t)60), value.p);
	} else if (!value.p && flag->type == FLAG_BOOL) {
		in.text = STR("true");
	} else if (!value.p && flag->alone) {
		in.text = str_of(flag->alone);
	} else if (!value.p) {
		ret = next_value(cur, fs->prog, &in, err);
		if (ret)
			return ret;
	}
	return set_value(fs, flag, &in, err);
}

static int check_args(const struct flag_set *fs, struct err *err)
{
	const struct flag_prog *prog = fs->prog;

	if (fs->args.count < prog->args_min)
		return err_set(err, -EINVAL,
			       "an argument is missing; usage: %s %s",
			       prog->name, prog->usage ? prog->usage : "");
	if (fs->args.count > prog->args_max)
		return err_set(err, -EINVAL,
			       "unexpected argument '%.80s'; an option begins "
			       "with '--' and has its value after '='",
			       fs->args.items[prog->args_max]);
	return 0;
}

int flag_parse_args(struct flag_set *fs, int argc, char **argv, struct err *err)
{
	struct cursor cur = {.argc = argc, .at = 1, .argv = argv};
	bool only_args = false;
	int ret = 0;

	while (cur.at < argc && ret == 0) {
		const char *arg = argv[cur.at];

		if (!only_args && strcmp(arg, "--") == 0) {
			only_args = true;
			cur.at++;
		} else if (!only_args && is_option(arg)) {
			ret = parse_option(fs, &cur, err);
		} else {
			cur.at++;
			if (list_add(&fs->args, str_of(arg)))
				ret = err_set(err, -ENOMEM, "out of memory");
		}
	}
	return ret ? ret : check_args(fs, err);
}

/* One line for all of them: old start scripts carry many. */
static int warn_ignored(const struct flag_set *fs)
{
	struct strbuf names = {0};
	bool failed;

	for (size_t i = 0; i < fs->prog->flag_count; i++) {
		const struct flag *flag = &fs->prog->flags[i];

		if (is_ignored(flag) && fs->source[i] != FLAG_SRC_DEFAULT)
			strbuf_addf(&names, "%s--%s", names.n ? "," : "",
				    flag->name);
	}
	if (names.n)
		log_warn("options without effect, kept for compatibility",
			 "options=%s", names.p);
	failed = names.failed;
	strbuf_fini(&names);
	return failed ? -ENOMEM : 0;
}

int flag_check(struct flag_set *fs, struct err *err)
{
	for (size_t i = 0; i < fs->prog->flag_count; i++) {
		const struct flag *flag = &fs->prog->flags[i];

		if (!(flag->attrs & FLAG_REQUIRED) ||
		    fs->source[i] != FLAG_SRC_DEFAULT)
			continue;
		return err_set(err, -EINVAL, "option --%s is required%s%s",
			       flag->name,
			       flag->env ? "; it can also be set by the "
					   "environment variable "
					 : "",
			       flag->env ? flag->env : "");
	}
	if (warn_ignored(fs))
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}

int flag_main(struct flag_set *fs, const struct flag_prog *prog, void *config,
	      int argc, char **argv, int *exit_status)
{
	struct err err = {0};
	int ret = flag_init(fs, prog, config, &err);

	/* The command line first: --help must work in any environment. */
	if (ret == 0)
		ret = flag_parse_args(fs, argc, argv, &err);
	if (ret == 0)
		ret = flag_parse_env(fs, &err);
	if (ret == 0)
		ret = flag_check(fs, &err);
	if (ret == 0)
		return 0;
	flag_fini(fs);
	*exit_status = ret == FLAG_DONE ? 0 : 2;
	if (ret != FLAG_DONE)
		fprintf(stderr, "%s: %s\nTry '%s --help'.\n", prog->name,
			err.text, prog->name);
	return 1;
}
