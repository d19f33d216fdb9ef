/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps and their undoing.  One thread per plan.  Invariant: undo is run, last
 * first, for every step that has or may have changed something: also for a
 * script that failed or was cut off half-way (undo scripts take anything they
 * find) and for a call whose answer was lost.
 */
#include "deploy/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypt/key.h"
#include "deploy/limit.h"
#include "deploy/relay.h"

#define COPY_MAX ((size_t)256 << 20)

static void step_fini(struct step *step)
{
	if (step->is_secret && step->data)
		secret_clear(step->data, strlen(step->data));
	free(step->title);
	free(step->text);
	free(step->data);
	free(step->undo_script);
	free(step->undo_method);
	free(step->settle_script);
	json_decref(step->params);
	json_decref(step->undo_params);
}

void plan_fini(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		step_fini(&plan->steps[i]);
	free(plan->steps);
	strbuf_fini(&plan->notes);
	*plan = (struct plan){0};
}

void plan_note(struct plan *plan, const char *fmt, ...)
{
	struct strbuf line = {0};
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&line, fmt, ap);
	va_end(ap);
	strbuf_addc(&line, '\n');
	/* Several rounds may find the same. */
	if (line.p && !(plan->notes.p && strstr(plan->notes.p, line.p)))
		strbuf_adds(&plan->notes, line.p);
	strbuf_fini(&line);
}

static char *copy(struct plan *plan, const char *text)
{
	char *out = text ? str_dup(str_of(text)) : NULL;

	if (text && !out)
		plan->failed = true;
	return out;
}

/* A place for failed plans, so that callers need not look. */
static struct step *step_new(struct plan *plan, enum step_kind kind,
			     const char *title, const char *text)
{
	struct step *steps = plan->steps;
	size_t cap = plan->cap ? plan->cap * 2 : 16;

	if (plan->count == plan->cap) {
		steps = realloc(steps, cap * sizeof(*steps));
		if (!steps) {
			plan->failed = true;
			return NULL;
		}
		plan->steps = steps;
		plan->cap = cap;
	}
	steps = &plan->steps[plan->count++];
	*steps = (struct step){.kind = kind,
			       .timeout_ms = LIMIT_CHANGE_MS,
			       .undo_ms = LIMIT_CHANGE_MS};
	steps->title = copy(plan, title);
	steps->text = copy(plan, text);
	return steps;
}

struct step *plan_script(struct plan *plan, const char *title,
			 const char *script, const char *undo_script)
{
	struct step *step = step_new(plan, STEP_SCRIPT, title, script);

	if (step)
		step->undo_script = copy(plan, undo_script);
	return step;
}

struct step *plan_rpc(struct plan *plan, const char *title, const char *method,
		      json_t *params)
{
	struct step *step = step_new(plan, STEP_RPC, title, method);

	if (step)
		step->params = params;
	else
		json_decref(params);
	return step;
}

void step_undo_rpc(struct plan *plan, struct step *step, const char *method,
		   json_t *params)
{
	if (!step) {
		json_decref(params);
		return;
	}
	step->undo_method = copy(plan, method);
	step->undo_params = params;
}

/* Both scripts know the path as $f and what it held before as $o. */
static void add_names(struct strbuf *out, const char *path)
{
	strbuf_adds(out, "f=");
	shell_quote(out, path);
	strbuf_adds(out, "; o=$f" PLAN_OLD "\n");
}

static struct step *file_step(struct plan *plan, enum step_kind kind,
			      const char *title, const char *path,
			      const char *data)
{
	struct step *step = step_new(plan, kind, title, path);
	struct strbuf undo = {0}, settle = {0};

	add_names(&settle, path);
	strbuf_adds(&settle, "rm -f \"$o\"\n");
	add_names(&undo, path);
	strbuf_adds(&undo, "rm -f \"$f" REMOTE_NEW "\"\n"
			   "if [ -e \"$o\" ] || [ -L \"$o\" ]; then\n"
			   "  mv -fT \"$o\" \"$f\"; else rm -f \"$f\"; fi\n");
	if (step) {
		step->data = copy(plan, data);
		step->undo_script = copy(plan, undo.p);
		step->settle_script = copy(plan, settle.p);
	}
	plan->failed |= undo.failed || settle.failed;
	strbuf_fini(&undo);
	strbuf_fini(&settle);
	return step;
}

static void exchange(struct plan *plan, char **text, const char *by)
{
	free(*text);
	*text = copy(plan, by);
}

void step_undo_script(struct plan *plan, struct step *step, const char *script)
{
	if (step)
		exchange(plan, &step->undo_script, script);
}

void step_settle_script(struct plan *plan, struct step *step,
			const char *script)
{
	if (step)
		exchange(plan, &step->settle_script, script);
}

void step_undo_add(struct plan *plan, struct step *step, const char *line)
{
	struct strbuf text = {0};

	if (!step)
		return;
	strbuf_addf(&text, "%s%s\n", step->undo_script ? step->undo_script : "",
		    line);
	exchange(plan, &step->undo_script, text.p);
	plan->failed |= text.failed;
	strbuf_fini(&text);
}

struct step *plan_file(struct plan *plan, const char *title, const char *path,
		       const char *data, unsigned mode)
{
	struct step *step = file_step(plan, STEP_FILE, title, path, data);

	if (step)
		step->mode = mode;
	return step;
}

struct step *plan_copy(struct plan *plan, const char *title, const char *path,
		       const char *local, unsigned mode)
{
	struct step *step = file_step(plan, STEP_COPY, title, path, local);

	if (step)
		step->mode = mode;
	return step;
}

/* --- showing --- */

static void add_indented(struct strbuf *out, const char *text)
{
	struct str rest = str_of(text);

	while (rest.n) {
		struct str line = str_cut(rest, '\n', &rest);

		strbuf_addf(out, "       " STR_FMT "\n", STR_ARG(line));
	}
}

static const char *shown(const struct step *step)
{
	return step->is_secret ? "(a secret)" : step->data;
}

void plan_format(const struct plan *plan, const char *host, bool is_verbose,
		 struct strbuf *out)
{
	strbuf_addf(out, "%s:%s\n", host, plan->count ? "" : " nothing to do");
	if (plan->notes.n)
		add_indented(out, plan->notes.p);
	for (size_t i = 0; i < plan->count; i++) {
		const struct step *step = &plan->steps[i];
		char *params = NULL;

		strbuf_addf(out, "  %2zu. %s\n", i + 1, step->title);
		if (!is_verbose)
			continue;
		if (step->params)
			params = json_dumps(step->params, JSON_COMPACT);
		add_indented(out, step->text);
		if (params)
			add_indented(out, params);
		if (step->data)
			add_indented(out, shown(step));
		free(params);
	}
}

static json_t *step_json(const struct step *step)
{
	static const char *const kinds[] = {"script", "rpc", "file", "copy"};
	json_t *out =
		json_pack("{s:s, s:s, s:s, s:b}", "title", step->title, "kind",
			  kinds[step->kind], "text", step->text, "can_undo",
			  step->undo_script || step->undo_method);

	if (out && step->params)
		json_object_set(out, "params", step->params);
	if (out && step->data)
		json_object_set_new(out, "data", json_string(shown(step)));
	return out;
}

json_t *plan_json(const struct plan *plan, const char *host)
{
	json_t *steps = json_array();

	for (size_t i = 0; i < plan->count; i++)
		json_array_append_new(steps, step_json(&plan->steps[i]));
	return json_pack("{s:s, s:s, s:o}", "host", host, "notes",
			 plan->notes.n ? plan->notes.p : "", "steps", steps);
}

/* --- applying --- */

static int call(const struct plan_target *t, const char *method,
		const json_t *params, uint32_t ms, struct err *err)
{
	struct relay relay = {
		.remote = t->remote, .tree = t->tree, .timeout_ms = ms};
	json_t *result;
	int ret;

	snprintf(relay.socket, sizeof(relay.socket), "%s", t->socket);
	ret = relay_call(&relay, method, params, &result, err);
	json_decref(result);
	return ret;
}

static int write_there(const struct step *step, const struct plan_target *t,
		       struct str data, struct err *err)
{
	return remote_write(t->remote,
			    &(struct remote_file){
				    .path = step->text,
				    .data = data.p,
				    .len = data.n,
				    .mode = step->mode,
				    .as_root = true,
				    .timeout_ms = step->timeout_ms,
			    },
			    err);
}

static int copy_there(const struct step *step, const struct plan_target *t,
		      struct err *err)
{
	int fd = open(step->data, O_RDONLY | O_CLOEXEC), ret;
	struct strbuf data = {0};
	char part[65536];
	ssize_t n = 0;

	if (fd < 0)
		return err_set(err, -errno, "%.150s: %s", step->data,
			       strerror(errno));
	while (data.n < COPY_MAX && (n = read(fd, part, sizeof(part))) > 0)
		strbuf_add(&data, part, (size_t)n);
	close(fd);
	if (n || data.failed)
		ret = err_set(err, -EIO,
			      "%.150s can't be read, or is larger "
			      "than 256 MiB",
			      step->data);
	else
		ret = write_there(step, t, strbuf_str(&data), err);
	strbuf_fini(&data);
	return ret;
}

/* Until this has succeeded the step has changed nothing. */
static int keep_old(const struct step *step, const struct plan_target *t,
		    struct err *err)
{
	struct strbuf script = {0};
	int ret;

	strbuf_adds(&script, "set -e\n");
	add_names(&script, step->text);
	strbuf_adds(&script, "rm -f \"$o\"\n"
			     "[ ! -e \"$f\" ] && [ ! -L \"$f\" ] || "
			     "cp -pP \"$f\" \"$o\"\n");
	ret = script.failed
		      ? err_set(err, -ENOMEM, "out of memory")
		      : remote_must(t->remote, "keep what is there",
				    &(struct remote_cmd){
					    .script = script.p,
					    .as_root = true,
					    .timeout_ms = step->timeout_ms,
				    },
				    err);
	strbuf_fini(&script);
	return ret;
}

static int step_do(const struct step *step, const struct plan_target *t,
		   struct err *err)
{
	switch (step->kind) {
	case STEP_SCRIPT:
		return remote_must(t->remote, step->title,
				   &(struct remote_cmd){
					   .script = step->text,
					   .as_root = true,
					   .timeout_ms = step->timeout_ms,
				   },
				   err);
	case STEP_RPC:
		return call(t, step->text, step->params, step->timeout_ms, err);
	case STEP_FILE:
		return write_there(step, t, str_of(step->data), err);
	case STEP_COPY:
		return copy_there(step, t, err);
	}
	UNREACHABLE();
}

/* The target said no, or there is none: it has done nothing. */
static bool is_refused(int ret)
{
	return ret == -EREMOTEIO || ret == -ENOSYS || ret == -ENOENT ||
	       ret == -ENOTSUP;
}

/* The step, and whether it is to be taken back when it failed. */
static int step_run(struct step *step, const struct plan_target *t,
		    bool *is_touched, struct err *err)
{
	bool is_file = step->kind == STEP_FILE || step->kind == STEP_COPY;
	int ret = is_file ? keep_old(step, t, err) : 0;

	*is_touched = ret == 0;
	if (ret == 0)
		ret = step_do(step, t, err);
	if (step->kind == STEP_RPC && is_refused(ret))
		*is_touched = false;
	step->is_unsure = ret && *is_touched;
	return ret;
}

/* What was written first, then what has read it. */
static int step_undo(const struct step *step, const struct plan_target *t,
		     struct err *err)
{
	int ret = 0;

	if (step->undo_script)
		ret = remote_must(t->remote, "take it back",
				  &(struct remote_cmd){
					  .script = step->undo_script,
					  .as_root = true,
					  .is_undo = true,
					  .timeout_ms = step->undo_ms,
				  },
				  err);
	if (ret == 0 && step->undo_method) {
		ret = call(t, step->undo_method, step->undo_params,
			   step->timeout_ms, err);
		/* gone, and what it was told with it */
		if (ret == -ENOENT && t->is_forgetful)
			ret = 0;
		if (step->is_unsure && is_refused(ret))
			ret = 0;
	}
	return ret;
}

void plan_undo(const struct plan *plan, size_t *done,
	       const struct plan_target *t, struct err *err)
{
	const char *left = NULL;
	unsigned failed = 0;

	if (remote_is_broken(t->remote))
		remote_recover(t->remote, err);
	if (plan->is_one_way) {
		err_add(err, "; what was done before that stays done: try "
			     "again");
		*done = 0;
		return;
	}
	while (*done > 0) {
		const struct step *step = &plan->steps[--*done];
		struct err why = {0};

		if (t->host)
			fleet_step(t->host, "taking back: %s", step->title);
		if (step_undo(step, t, &why)) {
			failed++;
			left = step->title;
		}
	}
	if (failed)
		err_add(err, "; NOT taken back: %.60s%s", left,
			failed > 1 ? " and more" : "");
	else
		err_add(err, "; all taken back");
}

/* Most causes begin with the host already. */
static const char *after_host(const struct remote *r, const char *text)
{
	const char *host = remote_host(r);
	size_t n = strlen(host);

	return strncmp(text, host, n) == 0 && strncmp(text + n, ": ", 2) == 0
		       ? text + n + 2
		       : text;
}

int plan_apply(const struct plan *plan, size_t *done,
	       const struct plan_target *t, struct err *err)
{
	int ret = 0;

	if (plan->failed)
		return err_set(err, -ENOMEM, "out of memory");
	while (*done < plan->count && ret == 0) {
		struct step *step = &plan->steps[*done];
		bool is_touched = false;
		struct err why = {0};

		if (t->host)
			fleet_step(t->host, "%zu/%zu %s", *done + 1,
				   plan->count, step->title);
		if (fleet_is_stopping())
			ret = err_set(&why, -EINTR, "interrupted");
		else
			ret = step_run(step, t, &is_touched, &why);
		*done += is_touched;
		/* A script's sentence names the step itself. */
		if (ret && step->kind == STEP_SCRIPT)
			err_set(err, ret, "%.165s", why.text);
		else if (ret)
			err_set(err, ret, "%.40s: step %.60s: %.100s",
				remote_host(t->remote), step->title,
				after_host(t->remote, why.text));
	}
	if (ret)
		plan_undo(plan, done, t, err);
	return ret;
}

void plan_settle(const struct plan *plan, const struct plan_target *t)
{
	struct strbuf script = {0};
	struct err ignored = {0};

	for (size_t i = 0; i < plan->count; i++)
		if (plan->steps[i].settle_script)
			strbuf_adds(&script, plan->steps[i].settle_script);
	/* What is left behind harms nobody, and the next time takes it away. */
	if (script.n && !script.failed)
		remote_must(t->remote, "remove what was kept",
			    &(struct remote_cmd){
				    .script = script.p,
				    .as_root = true,
				    .timeout_ms = LIMIT_CHANGE_MS,
			    },
			    &ignored);
	strbuf_fini(&script);
}
