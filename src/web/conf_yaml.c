/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML configuration (libyaml's parser): one mapping of names to texts or to
 * lists of texts.  Runs once while a program starts.  Invariant: each event is
 * deleted before the next one is taken.
 */
#include <errno.h>
#include <yaml.h>

#include "web/conf_impl.h"

struct reader {
	const struct conf *conf;
	struct err *err;
	yaml_parser_t parser;
	yaml_event_t event;
	bool has_event;
};

static struct conf_pos mark_pos(yaml_mark_t mark)
{
	return (struct conf_pos){(unsigned)mark.line + 1,
				 (unsigned)mark.column + 1};
}

static int next_event(struct reader *rd)
{
	if (rd->has_event)
		yaml_event_delete(&rd->event);
	rd->has_event = yaml_parser_parse(&rd->parser, &rd->event);
	if (rd->has_event)
		return 0;
	return conf_fail(rd->conf, mark_pos(rd->parser.problem_mark),
			 rd->parser.problem ? rd->parser.problem
					    : "not readable as YAML",
			 rd->err);
}

static int fail_here(struct reader *rd, const char *what)
{
	return conf_fail(rd->conf, mark_pos(rd->event.start_mark), what,
			 rd->err);
}

static struct str scalar(const struct reader *rd)
{
	return (struct str){(const char *)rd->event.data.scalar.value,
			    rd->event.data.scalar.length};
}

/* Behind the value that begins with the current event. */
static int skip_value(struct reader *rd)
{
	unsigned depth = 0;
	int ret;

	for (;;) {
		yaml_event_type_t type = rd->event.type;

		depth += type == YAML_SEQUENCE_START_EVENT ||
			 type == YAML_MAPPING_START_EVENT;
		depth -= type == YAML_SEQUENCE_END_EVENT ||
			 type == YAML_MAPPING_END_EVENT;
		if (depth == 0)
			return 0;
		ret = next_event(rd);
		if (ret < 0)
			return ret;
	}
}

/* "key:" and "key: null" leave the option as it is. */
static bool is_null(const struct reader *rd)
{
	struct str text = scalar(rd);

	if (rd->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	return text.n == 0 || str_eq(text, STR("~")) ||
	       str_eq(text, STR("null"));
}

static int set_list(struct reader *rd, const char *key)
{
	int ret;

	for (;;) {
		ret = next_event(rd);
		if (ret < 0 || rd->event.type == YAML_SEQUENCE_END_EVENT)
			return ret;
		if (rd->event.type != YAML_SCALAR_EVENT)
			return fail_here(rd, "expected a list of texts");
		ret = conf_set(rd->conf, key, scalar(rd),
			       mark_pos(rd->event.start_mark), rd->err);
		if (ret < 0)
			return ret;
	}
}

static int read_value(struct reader *rd, const char *key)
{
	struct conf_pos pos;
	int ret = next_event(rd);

	if (ret < 0)
		return ret;
	pos = mark_pos(rd->event.start_mark);
	if (!conf_is_known(rd->conf, key)) {
		ret = conf_unknown(rd->conf, key, pos, rd->err);
		return ret < 0 ? ret : skip_value(rd);
	}
	if (rd->event.type == YAML_SEQUENCE_START_EVENT)
		return set_list(rd, key);
	if (rd->event.type != YAML_SCALAR_EVENT)
		return fail_here(rd, "expected a text or a list of texts");
	if (is_null(rd))
		return 0;
	return conf_set(rd->conf, key, scalar(rd), pos, rd->err);
}

static int read_pair(struct reader *rd)
{
	struct strbuf key = {0};
	int ret;

	if (rd->event.type != YAML_SCALAR_EVENT)
		return fail_here(rd, "expected the name of an option");
	strbuf_add(&key, scalar(rd).p, scalar(rd).n);
	ret = key.p ? read_value(rd, key.p)
		    : fail_here(rd, "expected the name of an option");
	strbuf_fini(&key);
	return ret;
}

static int read_document(struct reader *rd)
{
	int ret = next_event(rd); /* stream start */

	if (ret == 0)
		ret = next_event(rd);
	/* An empty file sets nothing. */
	if (ret < 0 || rd->event.type == YAML_STREAM_END_EVENT)
		return ret;
	ret = next_event(rd);
	if (ret < 0)
		return ret;
	if (rd->event.type != YAML_MAPPING_START_EVENT)
		return fail_here(rd, "expected lines of the form \"name: "
				     "value\"");
	while ((ret = next_event(rd)) == 0 &&
	       rd->event.type != YAML_MAPPING_END_EVENT) {
		ret = read_pair(rd);
		if (ret < 0)
			return ret;
	}
	return ret;
}

int conf_read_yaml(const struct conf *conf, struct err *err)
{
	struct reader rd = {.conf = conf, .err = err};
	int ret;

	if (!yaml_parser_initialize(&rd.parser))
		return err_set(err, -ENOMEM, "out of memory");
	yaml_parser_set_input_string(
		&rd.parser, (const unsigned char *)conf->text.p, conf->text.n);
	ret = read_document(&rd);
	if (rd.has_event)
		yaml_event_delete(&rd.event);
	yaml_parser_delete(&rd.parser);
	return ret;
}
