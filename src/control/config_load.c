/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the calls of a configuration at start.  Control loop, which is turned
 * here.  Invariant: nothing is remembered meanwhile, or a start that fails
 * half-way would forget the other half.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "control/config.h"
#include "control/methods.h"

/* One call under way; its own, because an answer may come when nobody waits
 * for it any more. */
struct pending {
	json_t *answer;
	bool is_done, is_abandoned;
};

static void on_answer(struct jrpc_call *call, json_t *answer, void *arg)
{
	struct pending *p = arg;

	p->answer = answer;
	p->is_done = true;
	if (p->is_abandoned) {
		json_decref(answer);
		free(p);
	}
}

/* 0 with the answer (NULL: no memory); -ETIMEDOUT. */
static int wait_for(struct control *ctl, json_t *request, json_t **answer)
{
	struct pending *p = calloc(1, sizeof(*p));
	uint64_t end = time_mono_ns() + ctl->load_call_ns;

	*answer = NULL;
	if (!p)
		return 0;
	jrpc_run(&ctl->rpc, request, on_answer, p);
	while (!p->is_done && time_mono_ns() < end)
		loop_turn(ctl->loop, NS_PER_MS * 10);
	if (!p->is_done) {
		p->is_abandoned = true;
		return -ETIMEDOUT;
	}
	*answer = p->answer;
	free(p);
	return 0;
}

/* 0; -EINVAL: refused, and why; -ETIMEDOUT. */
static int make_call(struct control *ctl, const json_t *entry, char why[256])
{
	json_t *request = json_pack("{s:i, s:O?, s:O?}", "id", 1, "method",
				    json_object_get(entry, "method"), "params",
				    json_object_get(entry, "params"));
	const char *text = NULL;
	json_t *answer;
	int ret;

	snprintf(why, 256, "no memory");
	if (!request)
		return -EINVAL;
	if (!json_object_get(entry, "params"))
		json_object_del(request, "params");
	ret = wait_for(ctl, request, &answer);
	if (ret)
		snprintf(why, 256, "no answer in %llu s",
			 (unsigned long long)(ctl->load_call_ns / NS_PER_S));
	else if (!answer)
		ret = -EINVAL;
	json_unpack(answer, "{s:{s:s}}", "error", "message", &text);
	if (text) {
		snprintf(why, 256, "%.250s", text);
		ret = -EINVAL;
	}
	json_decref(request);
	json_decref(answer);
	return ret;
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

static int load_section(struct control *ctl, const char *name,
			const json_t *calls, bool is_strict, struct err *err)
{
	const char *method;
	char why[256];
	int ret;

	for (size_t i = 0; i < json_array_size(calls); i++) {
		json_t *entry = json_array_get(calls, i);

		method = json_string_value(json_object_get(entry, "method"));
		snprintf(why, sizeof(why), "no method");
		ret = method ? make_call(ctl, entry, why) : -EINVAL;
		if (ret && (is_strict || ret == -ETIMEDOUT))
			return err_set(err, ret,
				       "subsystem %.40s, call %zu (%.60s): %s",
				       name, i + 1, method ? method : "?", why);
		if (ret) {
			log_err("a remembered call failed; it stays remembered",
				"method=%s reason=\"%s\"",
				method ? method : "?", why);
			keep(ctl, name, entry);
		}
	}
	return 0;
}

int config_load(struct control *ctl, const json_t *root, bool is_strict,
		struct err *err)
{
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
		ret = load_section(ctl, name,
				   json_object_get(section, "config"),
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
