/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table in words: --help, the values in effect, what a value has
 * to look like, and the nearest name to a mistyped one.  Set-up path, one
 * thread; only reads the table.
 */
#include "base/flag_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define COLUMNS	     80
#define HELP_INDENT  8
#define NAME_MAX_LEN 63

/* How a type is shown: placeholder, what to type, unit of a bare number. */
static const struct {
	const char *arg, *expected, *unit;
} types[] = {
	[FLAG_BOOL] = {"BOOL", "true or false", ""},
	[FLAG_INT] = {"N", "a whole number", ""},
	[FLAG_UINT] = {"N", "a whole number, 0 or more", ""},
	[FLAG_DOUBLE] = {"X", "a number", ""},
	[FLAG_STR] = {"TEXT", "a text", ""},
	[FLAG_SIZE] = {"SIZE", "a size such as 4096, 64kb or 1.5gb", " bytes"},
	[FLAG_MS] = {"TIME", "a time such as 500ms, 30s, 5m or 1h", " ms"},
	[FLAG_LIST] = {"TEXT", "a text", ""},
};

static bool has_range(const struct flag *flag)
{
	return flag->max > flag->min;
}

/* Bounds are shown as they can be typed: 64kb, 1h. */
static const struct unit {
	uint64_t factor;
	const char *name;
} size_units[] = {{1024 * GiB, "tb"}, {GiB, "gb"}, {MiB, "mb"}, {KiB, "kb"}},
  time_units[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};

static void add_exact(uint64_t value, const struct unit *units, size_t count,
		      struct strbuf *out)
{
	for (size_t i = 0; i < count && value; i++) {
		if (value % units[i].factor)
			continue;
		value /= units[i].factor;
		strbuf_addf(out, "%" PRIu64 "%s", value, units[i].name);
		return;
	}
	strbuf_addf(out, "%" PRIu64, value);
}

static void add_bound(const struct flag *flag, double bound, struct strbuf *out)
{
	if (flag->type == FLAG_SIZE && bound >= 0 && bound < 0x1p64)
		add_exact((uint64_t)bound, size_units, ARRAY_SIZE(size_units),
			  out);
	else if (flag->type == FLAG_MS && bound >= 0 && bound < 0x1p64)
		add_exact((uint64_t)bound, time_units, ARRAY_SIZE(time_units),
			  out);
	else
		strbuf_addf(out, "%.15g", bound);
}

static void add_range(const struct flag *flag, struct strbuf *out)
{
	add_bound(flag, flag->min, out);
	strbuf_adds(out, " to ");
	add_bound(flag, flag->max, out);
}

void flag_add_expected(const struct flag *flag, struct strbuf *out)
{
	if (has_range(flag) && flag->type == FLAG_UINT)
		strbuf_adds(out, types[FLAG_INT].expected);
	else
		strbuf_adds(out, types[flag->type].expected);
	if (!has_range(flag))
		return;
	strbuf_adds(out, flag->type == FLAG_SIZE || flag->type == FLAG_MS
				 ? ", from "
				 : " from ");
	add_range(flag, out);
}

/* The nearest name */

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned least = MIN(a, b);

	return MIN(least, c);
}

/* Levenshtein distance with '-' and '_' alike; far for very long names. */
static unsigned distance(struct str a, struct str b)
{
	unsigned row[NAME_MAX_LEN + 1], diagonal, above;

	if (a.n > NAME_MAX_LEN || b.n > NAME_MAX_LEN)
		return UINT32_MAX;
	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (size_t i = 0; i < a.n; i++) {
		diagonal = row[0];
		row[0]++;
		for (size_t j = 0; j < b.n; j++) {
			bool same = a.p[i] == b.p[j] ||
				    (a.p[i] == '-' && b.p[j] == '_');

			above = row[j + 1];
			row[j + 1] =
				min3(diagonal + !same, above + 1, row[j] + 1);
			diagonal = above;
		}
	}
	return row[b.n];
}

/* A third of the letters wrong is no longer a typing error. */
static const char *nearest(const struct flag_prog *prog, struct str name)
{
	unsigned best = (unsigned)MIN(MAX(name.n / 3, (size_t)1), (size_t)4);
	const char *found = NULL;

	for (size_t i = 0; i < prog->flag_count; i++) {
		const struct flag *flag = &prog->flags[i];
		unsigned d = distance(name, str_of(flag->name));

		if (flag->attrs & (FLAG_HIDDEN | FLAG_IGNORED))
			continue;
		if (d < best || (d == best && !found)) {
			best = d;
			found = flag->name;
		}
	}
	return found;
}

int flag_unknown(const struct flag_prog *prog, struct str name,
		 const char *where, struct err *err)
{
	const char *guess = nearest(prog, name);

	return err_set(err, -ENOENT, "%s: unknown option%s%s%s", where,
		       guess ? "; did you mean --" : "", guess ? guess : "",
		       guess ? "?" : "");
}

/* Wrapped text */

static void add_indent(struct strbuf *out, size_t indent)
{
	for (size_t i = 0; i < indent; i++)
		strbuf_addc(out, ' ');
}

/* Characters, not bytes: what continues a UTF-8 sequence has no width. */
static size_t width_of(struct str s)
{
	size_t width = 0;

	for (size_t i = 0; i < s.n; i++)
		width += (s.p[i] & 0xc0) != 0x80;
	return width;
}

static void add_line_wrapped(struct strbuf *out, struct str line, size_t indent)
{
	size_t column = 0;

	while (line.p) {
		struct str word = str_cut(line, ' ', &line);
		size_t width = width_of(word);

		if (!word.n)
			continue;
		if (column && column + 1 + width > COLUMNS - 1) {
			strbuf_addc(out, '\n');
			column = 0;
		}
		if (column)
			strbuf_addc(out, ' ');
		else
			add_indent(out, indent);
		column = (column ? column + 1 : indent) + width;
		strbuf_add(out, word.p, word.n);
	}
	strbuf_addc(out, '\n');
}

/* Newlines in text are kept: they part paragraphs and items. */
static void add_wrapped(struct strbuf *out, const char *text, size_t indent)
{
	struct str rest = str_of(text);

	while (rest.p)
		add_line_wrapped(out, str_cut(rest, '\n', &rest), indent);
}

/* --help */

static const char *arg_of(const struct flag *flag)
{
	return flag->arg ? flag->arg : types[flag->type].arg;
}

static bool is_number(const char *text)
{
	return text[0] && text[strspn(text, "0123456789.")] == '\0';
}

static void add_default(const struct flag *flag, struct strbuf *notes)
{
	if (flag->attrs & FLAG_REQUIRED) {
		strbuf_adds(notes, "required");
		return;
	}
	if (!flag->def || !*flag->def) {
		if (flag->type == FLAG_BOOL)
			strbuf_adds(notes, "default: false");
		else if (flag->type != FLAG_STR && flag->type != FLAG_LIST)
			strbuf_adds(notes, "default: 0");
		return;
	}
	strbuf_addf(notes, "default: %s%s", flag->def,
		    is_number(flag->def) ? types[flag->type].unit : "");
}

/* "[default: 50051; from 1 to 65535; environment: MC_PORT]" */
static void add_notes(const struct flag *flag, struct strbuf *notes)
{
	const char *sep = "; ";

	add_default(flag, notes);
	if (has_range(flag)) {
		strbuf_adds(notes, notes->n ? sep : "");
		add_range(flag, notes);
	}
	if (flag->type == FLAG_LIST)
		strbuf_addf(notes, "%smay be repeated", notes->n ? sep : "");
	if (flag->alias)
		strbuf_addf(notes, "%salso %s%s", notes->n ? sep : "",
			    strlen(flag->alias) > 1 ? "--" : "-", flag->alias);
	if (flag->env)
		strbuf_addf(notes, "%senvironment: %s", notes->n ? sep : "",
			    flag->env);
}

static void add_flag(const struct flag *flag, struct strbuf *out)
{
	struct strbuf text = {0}, notes = {0};

	if (flag->type == FLAG_BOOL)
		strbuf_addf(out, "  --[no]%s\n", flag->name);
	else if (flag->alone)
		strbuf_addf(out, "  --%s[=%s]\n", flag->name, arg_of(flag));
	else
		strbuf_addf(out, "  --%s=%s\n", flag->name, arg_of(flag));
	add_notes(flag, &notes);
	strbuf_adds(&text, flag->help ? flag->help : "");
	if (notes.n)
		strbuf_addf(&text, " [%s]", notes.p);
	if (text.n)
		add_wrapped(out, text.p, HELP_INDENT);
	out->failed |= text.failed || notes.failed;
	strbuf_fini(&text);
	strbuf_fini(&notes);
}

static void add_ignored(const struct flag_prog *prog, struct strbuf *out)
{
	struct strbuf names = {0};

	for (size_t i = 0; i < prog->flag_count; i++)
		if (prog->flags[i].attrs & FLAG_IGNORED &&
		    !(prog->flags[i].attrs & FLAG_HIDDEN))
			strbuf_addf(&names, "%s--%s", names.n ? ", " : "",
				    prog->flags[i].name);
	if (names.n) {
		strbuf_adds(out, "\nAccepted for compatibility, no effect:\n");
		add_wrapped(out, names.p, 2);
	}
	out->failed |= names.failed;
	strbuf_fini(&names);
}

static void add_flags(const struct flag_prog *prog, struct strbuf *out)
{
	const char *group = "Options", *printed = NULL;

	for (size_t i = 0; i < prog->flag_count; i++) {
		const struct flag *flag = &prog->flags[i];

		if (flag->group)
			group = flag->group;
		if (flag->attrs & (FLAG_HIDDEN | FLAG_IGNORED))
			continue;
		if (!printed || strcmp(printed, group) != 0)
			strbuf_addf(out, "\n%s:\n", group);
		printed = group;
		add_flag(flag, out);
	}
	add_ignored(prog, out);
	strbuf_adds(out,
		    "\nGeneral:\n"
		    "  --help\n        Print this text and stop.\n"
		    "  --version\n        Print the version and stop.\n\n");
	add_wrapped(out,
		    "Options are written --name=value or --name value; '-' and "
		    "'_' in names are the same; --noNAME switches one off. "
		    "The command line wins over a configuration file, that "
		    "over the environment, that over the default.",
		    0);
}

void flag_format_help(const struct flag_prog *prog, struct strbuf *out)
{
	struct strbuf title = {0};

	strbuf_addf(&title, "%s - %s", prog->name,
		    prog->summary ? prog->summary : "");
	if (title.n)
		add_wrapped(out, title.p, 0);
	out->failed |= title.failed;
	strbuf_fini(&title);
	strbuf_addf(out, "\nUsage: %s %s\n", prog->name,
		    prog->usage ? prog->usage : "[options]");
	if (prog->details) {
		strbuf_addc(out, '\n');
		add_wrapped(out, prog->details, 0);
	}
	add_flags(prog, out);
	if (prog->examples)
		strbuf_addf(out, "\nExamples:\n%s%s", prog->examples,
			    prog->examples[strlen(prog->examples) - 1] == '\n'
				    ? ""
				    : "\n");
}

int flag_print_help(const struct flag_prog *prog)
{
	struct strbuf out = {0};
	int ret;

	flag_format_help(prog, &out);
	if (!out.failed)
		fputs(out.p, stdout);
	fflush(stdout);
	ret = out.failed ? -ENOMEM : FLAG_DONE;
	strbuf_fini(&out);
	return ret;
}

int flag_print_version(const struct flag_prog *prog)
{
	printf("%s %s\n", prog->name, mooncake_version);
	fflush(stdout);
	return FLAG_DONE;
}

/* Values in effect */

static void add_value(const void *at, enum flag_type type, struct strbuf *out)
{
	const struct flag_list *list = at;

	switch (type) {
	case FLAG_BOOL:
		strbuf_adds(out, *(const bool *)at ? "true" : "false");
		break;
	case FLAG_INT:
		strbuf_addf(out, "%" PRId64, *(const int64_t *)at);
		break;
	case FLAG_DOUBLE:
		strbuf_addf(out, "%.15g", *(const double *)at);
		break;
	case FLAG_STR:
		strbuf_adds(out, *(char *const *)at);
		break;
	case FLAG_LIST:
		for (size_t i = 0; i < list->count; i++)
			strbuf_addf(out, "%s%s", i ? "," : "", list->items[i]);
		break;
	default:
		strbuf_addf(out, "%" PRIu64 "%s", *(const uint64_t *)at,
			    types[type].unit);
		break;
	}
}

void flag_format_values(const struct flag_set *fs, struct strbuf *out)
{
	static const char *const sources[] = {"default", "environment", "file",
					      "command line"};

	for (size_t i = 0; i < fs->prog->flag_count; i++) {
		const struct flag *flag = &fs->prog->flags[i];

		if (flag->attrs & FLAG_IGNORED)
			continue;
		strbuf_addf(out, "%s=", flag->name);
		add_value((const char *)fs->config + flag->off, flag->type,
			  out);
		strbuf_addf(out, " (%s)\n", sources[fs->source[i]]);
	}
}
