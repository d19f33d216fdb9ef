/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON configuration (jansson).  Runs once while a program starts.  jansson
 * tells positions of syntax errors only; for wrong values the text, by then
 * known to be valid, is walked again.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "web/conf_impl.h"

/* Index behind the string that begins at text[i]. */
static size_t skip_string(struct str text, size_t i)
{
	for (i++; i < text.n && text.p[i] != '"'; i++) {
		if (text.p[i] == '\\')
			i++;
	}
	return MIN(i + 1, text.n);
}

static size_t skip_blanks(struct str text, size_t i)
{
	while (i < text.n && strchr(" \t\r\n", text.p[i]))
		i++;
	return i;
}

static struct conf_pos pos_of(struct str text, size_t index)
{
	struct conf_pos pos = {1, 1};

	for (size_t i = 0; i < index; i++) {
		if (text.p[i] == '\n') {
			pos.line++;
			pos.column = 1;
		} else if ((text.p[i] & 0xc0) != 0x80) {
			pos.column++; /* continuation bytes have no width */
		}
	}
	return pos;
}

/* Of the value of a key of the outermost object; 1:1 when the key is written
 * with escapes. */
static struct conf_pos value_pos(struct str text, const char *key)
{
	unsigned depth = 0;
	size_t i = 0;

	while (i < text.n) {
		size_t end, start = i;

		depth += text.p[i] == '{' || text.p[i] == '[';
		depth -= text.p[i] == '}' || text.p[i] == ']';
		if (text.p[i] != '"') {
			i++;
			continue;
		}
		i = skip_string(text, i);
		end = skip_blanks(text, i);
		if (depth != 1 || end >= text.n || text.p[end] != ':')
			continue;
		if (str_eq((struct str){text.p + start + 1, i - start - 2},
			   str_of(key)))
			return pos_of(text, skip_blanks(text, end + 1));
	}
	return (struct conf_pos){1, 1};
}

/* buf is for numbers; n == SIZE_MAX when value is none of the simple types. */
static struct str scalar_text(const json_t *value, char buf[40])
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		return (struct str){json_string_value(value),
				    json_string_length(value)};
	case JSON_INTEGER:
		snprintf(buf, 40, "%" JSON_INTEGER_FORMAT,
			 json_integer_value(value));
		return str_of(buf);
	case JSON_REAL:
		snprintf(buf, 40, "%.17g", json_real_value(value));
		return str_of(buf);
	case JSON_TRUE:
		return STR("true");
	case JSON_FALSE:
		return STR("false");
	default:
		return (struct str){NULL, SIZE_MAX};
	}
}

static int set_value(const struct conf *conf, const char *key,
		     const json_t *value, struct conf_pos pos, struct err *err)
{
	char buf[40];
	struct str text = scalar_text(value, buf);

	if (text.n == SIZE_MAX)
		return conf_fail(conf, pos,
				 "expected a text, a number, true or false",
				 err);
	return conf_set(conf, key, text, pos, err);
}

static int set_member(const struct conf *conf, const char *key,
		      const json_t *value, struct err *err)
{
	struct conf_pos pos = value_pos(conf->text, key);
	const json_t *item;
	size_t i;
	int ret;

	if (!conf_is_known(conf, key))
		return conf_unknown(conf, key, pos, err);
	if (json_is_null(value))
		return 0;
	if (!json_is_array(value))
		return set_value(conf, key, value, pos, err);
	json_array_foreach(value, i, item)
	{
		ret = set_value(conf, key, item, pos, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int conf_read_json(const struct conf *conf, struct err *err)
{
	json_error_t jerr;
	json_t *root = json_loadb(conf->text.p, conf->text.n,
				  JSON_REJECT_DUPLICATES, &jerr);
	struct conf_pos pos = {1, 1};
	const char *key;
	json_t *value;
	int ret = 0;

	if (!root) {
		pos.line = (unsigned)MAX(jerr.line, 1);
		pos.column = (unsigned)MAX(jerr.column, 1);
		return conf_fail(conf, pos, jerr.text, err);
	}
	if (!json_is_object(root))
		ret = conf_fail(conf, pos, "expected an object { … }", err);
	else
		json_object_foreach(root, key, value)
		{
			ret = set_member(conf, key, value, err);
			if (ret < 0)
				break;
		}
	json_decref(root);
	return ret;
}
