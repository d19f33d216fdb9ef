/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a stream of bytes into JSON values and runs them.  One thread.
 * Invariant: each byte is scanned once, and at most one call is under way.
 */
#include "control/session.h"

#include <stdlib.h>

#include "base/log.h"

void session_init(struct session *s, struct jrpc *rpc,
		  void (*notify)(struct session *s), void *arg)
{
	*s = (struct session){.rpc = rpc, .notify = notify, .arg = arg};
}

void session_fini(struct session *s)
{
	ASSERT(!s->is_busy);
	json_decref(s->batch);
	json_decref(s->answers);
	s->batch = s->answers = NULL;
	strbuf_fini(&s->in);
	strbuf_fini(&s->out);
}

bool session_is_waiting(const struct session *s)
{
	return !s->is_busy && s->depth > 0;
}

/* Takes value over. */
static void session_say(struct session *s, json_t *value)
{
	char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;

	json_decref(value);
	if (text) {
		strbuf_adds(&s->out, text);
		strbuf_addc(&s->out, '\n');
	}
	free(text);
	if (!text || s->out.failed)
		s->is_broken = true;
}

static void session_break(struct session *s, int code, const char *text)
{
	log_warn("control client sent no request", "reason=\"%s\"", text);
	session_say(s, jrpc_error_object(NULL, code, text));
	s->is_broken = true;
}

static void session_run(struct session *s);

static void session_done(struct jrpc_call *call, json_t *answer, void *arg)
{
	struct session *s = arg;

	s->is_busy = false;
	if (answer && s->batch) {
		if (json_array_append_new(s->answers, answer))
			s->is_broken = true;
	} else if (answer) {
		session_say(s, answer);
	}
	if (!s->is_running)
		session_run(s);
}

static void session_call(struct session *s, json_t *request)
{
	s->is_busy = true;
	jrpc_run(s->rpc, request, session_done, s);
}

static void batch_end(struct session *s)
{
	json_t *answers = s->answers;

	json_decref(s->batch);
	s->batch = s->answers = NULL;
	/* Nothing is said to a batch of notifications. */
	if (json_array_size(answers))
		session_say(s, answers);
	else
		json_decref(answers);
}

static void batch_next(struct session *s)
{
	if (s->batch_next < json_array_size(s->batch))
		session_call(s, json_array_get(s->batch, s->batch_next++));
	else
		batch_end(s);
}

static void session_value(struct session *s, json_t *value)
{
	if (json_array_size(value)) {
		s->batch = json_incref(value);
		s->batch_next = 0;
		s->answers = json_array();
		if (!s->answers)
			s->is_broken = true;
	} else {
		session_call(s, value);
	}
}

static void session_parse(struct session *s, size_t end)
{
	json_error_t where;
	json_t *value = json_loadb(s->in.p + s->start, end - s->start,
				   JSON_REJECT_DUPLICATES, &where);

	s->start = end;
	if (!value) {
		session_break(s, JRPC_PARSE_ERROR, "Parse error");
		return;
	}
	session_value(s, value);
	json_decref(value);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Inside an array or object.  true: c ends it. */
static bool scan_inside(struct session *s, char c)
{
	if (s->is_escaped)
		s->is_escaped = false;
	else if (s->is_in_text && c == '\\')
		s->is_escaped = true;
	else if (c == '"')
		s->is_in_text = !s->is_in_text;
	else if (!s->is_in_text && (c == '{' || c == '['))
		s->depth++;
	else if (!s->is_in_text && (c == '}' || c == ']'))
		return --s->depth == 0;
	return false;
}

/* Between requests: blanks, or the beginning of one. */
static void scan_outside(struct session *s, char c)
{
	if (is_blank(c)) {
		s->start = s->scan;
	} else if (c == '{' || c == '[') {
		s->start = s->scan - 1;
		s->depth = 1;
	} else if (strchr("-0123456789\"tfn", c) && c) {
		/* JSON, but no request; where it ends nobody knows. */
		session_break(s, JRPC_INVALID_REQUEST, "Invalid request");
	} else {
		session_break(s, JRPC_PARSE_ERROR, "Parse error");
	}
}

static void session_scan(struct session *s)
{
	while (!s->is_broken && s->scan < s->in.n) {
		char c = s->in.p[s->scan++];

		if (s->depth == 0) {
			scan_outside(s, c);
		} else if (scan_inside(s, c)) {
			session_parse(s, s->scan);
			return;
		}
		if (s->depth && s->scan - s->start > SESSION_REQUEST_MAX)
			session_break(s, JRPC_INVALID_REQUEST,
				      "the request is larger than 1 MiB");
	}
}

/* What has been read goes, what is left moves to the front. */
static void session_compact(struct session *s)
{
	size_t left = s->in.n - s->start;

	if (s->start == 0)
		return;
	memmove(s->in.p, s->in.p + s->start, left);
	s->in.n = left;
	s->scan -= s->start;
	s->start = 0;
}

static void session_run(struct session *s)
{
	s->is_running = true;
	while (!s->is_busy && !s->is_broken) {
		if (s->batch)
			batch_next(s);
		else if (s->scan < s->in.n)
			session_scan(s);
		else
			break;
	}
	s->is_running = false;
	if (!s->is_busy)
		session_compact(s);
	s->notify(s);
}

void session_feed(struct session *s, const void *p, size_t n)
{
	ASSERT(!s->is_busy && !s->is_broken);
	strbuf_add(&s->in, p, n);
	if (s->in.failed)
		s->is_broken = true;
	session_run(s);
}
