/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the calls of a configuration at start.  Control loop, which is turned
 * here.  Invariant: nothing is remembered meanwhile, or a start that fails
 * half-way would forget the other half.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "control/config.h"
#include "control/methods.h"

#define CALL_NS (60 * NS_PER_S)

struct loader {
	struct control *ctl;
	json_t *answer;
	bool is_done;
};

static void on_answer(struct jrpc_call *call, json_t *answer, void *arg)
{
	struct loader *l = arg;

	l->answer = answer;
	l->is_done = true;
}

/* NULL when all is well, or why not; out holds the text. */
static const char *make_call(struct loader *l, json_t *entry, char out[256])
{
	json_t *request = json_pack("{s:i, s:O?, s:O?}", "id", 1, "method",
				    json_object_get(entry, "method"), "params",
				    json_object_get(entry, "params"));
	uint64_t end = time_mono_ns() + CALL_NS;
	const char *text = NULL;

	if (!request)
		return "no memory";
	if (!json_object_get(entry, "params"))
		json_object_del(request, "params");
	l->is_done = false;
	l->answer = NULL;
	jrpc_run(&l->ctl->rpc, request, on_answer, l);
	while (!l->is_done && time_mono_ns() < end)
		loop_turn(l->ctl->loop, NS_PER_MS * 10);
	/* A device that does not answer for a minute will not serve either. */
	ASSERT(l->is_done);
	if (!l->answer)
		text = "no memory";
	json_unpack(l->answer, "{s:{s:s}}", "error", "message", &text);
	if (text)
		snprintf(out, 256, "%.250s", text);
	json_decref(request);
	json_decref(l->answer);
	return text ? out : NULL;
}

static void keep(struct control *ctl, const char *section, json_t *entry)
{
	json_t *list = json_object_get(ctl->not_loaded, section);

	if (!ctl->not_loaded)
		ctl->not_loaded = json_object();
	if (!list) {
		json_object_set_new(ctl->not_loaded, section, json_array());
		list = json_object_get(ctl->not_loaded, section);
	}
	json_array_append(list, entry);
}

static int load_section(struct loader *l, const char *name, const json_t *calls,
			bool is_strict, struct err *err)
{
	const char *method, *why;
	char text[256];

	for (size_t i = 0; i < json_array_size(calls); i++) {
		json_t *entry = json_array_get(calls, i);

		method = json_string_value(json_object_get(entry, "method"));
		why = method ? make_call(l, entry, text) : "no method";
		if (why && is_strict)
			return err_set(err, -EINVAL,
				       "subsystem %.40s, call %zu (%.60s): %s",
				       name, i + 1, method ? method : "?", why);
		if (why) {
			log_err("a remembered call failed; it stays remembered",
				"method=%s reason=\"%s\"",
				method ? method : "?", why);
			keep(l->ctl, name, entry);
		}
	}
	return 0;
}

int config_load(struct control *ctl, const json_t *root, bool is_strict,
		struct err *err)
{
	struct loader l = {.ctl = ctl};
	const json_t *list = json_object_get(root, "subsystems");
	int ret = 0;

	if (!json_is_array(list))
		return err_set(err, -EINVAL,
			       "no configuration: \"subsystems\" is missing");
	ASSERT(!ctl->rpc.hold);
	for (size_t i = 0; !ret && i < json_array_size(list); i++) {
		const json_t *section = json_array_get(list, i);
		const char *name = json_string_value(
			json_object_get(section, "subsystem"));

		if (!name)
			return err_set(err, -EINVAL,
				       "subsystem %zu has no name", i + 1);
		ret = load_section(&l, name, json_object_get(section, "config"),
				   is_strict, err);
	}
	return ret;
}

int config_load_file(struct control *ctl, const char *path, bool is_strict,
		     struct err *err)
{
	struct err why = {0};
	json_error_t where;
	json_t *root;
	int ret;

	if (access(path, F_OK))
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
	if (!root)
		return err_set(err, -EINVAL, "%s:%d:%d: %s", path, where.line,
			       where.column, where.text);
	ret = config_load(ctl, root, is_strict, &why);
	json_decref(root);
	return ret ? err_set(err, ret, "%.80s: %.170s", path, why.text) : 0;
}
