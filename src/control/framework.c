/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods about the program itself: version, methods, log level, the end.
 * Control loop.  Invariant: they change nothing that --state remembers.
 */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/flag.h"
#include "base/log.h"
#include "control/methods.h"

/* The version of the interface, which is what tools compare. */
#define SPDK_MAJOR 26
#define SPDK_MINOR 5

static void get_version(struct jrpc_call *call, void *args)
{
	char text[128];

	snprintf(text, sizeof(text),
		 "mooncake_nof_target v%s (JSON-RPC of SPDK v%d.%02d)",
		 mooncake_version, SPDK_MAJOR, SPDK_MINOR);
	jrpc_result(call, json_pack("{s:s, s:{s:i, s:i, s:i, s:s, s:s}}",
				    "version", text, "fields", "major",
				    SPDK_MAJOR, "minor", SPDK_MINOR, "patch", 0,
				    "suffix", "-mooncake", "commit", ""));
}

struct methods_args {
	bool current, include_aliases;
};

static const struct param methods_params[] = {
	{"current", PARAM_BOOL, offsetof(struct methods_args, current)},
	{"include_aliases", PARAM_BOOL,
	 offsetof(struct methods_args, include_aliases)},
};

static void get_methods(struct jrpc_call *call, void *args)
{
	const struct methods_args *a = args;
	json_t *names = json_array();
	int ret = names ? 0 : -1;

	for (size_t t = 0; !ret && call->rpc->tables[t]; t++) {
		const struct jrpc_table *table = call->rpc->tables[t];

		for (size_t i = 0; !ret && i < table->count; i++) {
			if (a->current &&
			    (table->methods[i].attrs & JRPC_HIDDEN))
				continue;
			ret = json_array_append_new(
				names, json_string(table->methods[i].name));
		}
	}
	if (ret) {
		json_decref(names);
		names = NULL;
	}
	jrpc_result(call, names);
}

/* There is nothing to wait for: whoever can ask finds the target ready. */
static void init_done(struct jrpc_call *call, void *args)
{
	jrpc_true(call);
}

/* SPDK's names; its NOTICE is what we call info. */
static const struct {
	const char *name;
	enum log_level level;
} levels[] = {
	{"ERROR", LOG_ERROR}, {"WARNING", LOG_WARN}, {"NOTICE", LOG_INFO},
	{"INFO", LOG_INFO},   {"DEBUG", LOG_DEBUG},
};

struct level_args {
	const char *level;
};

static const struct param level_params[] = {
	{"level", PARAM_STR, offsetof(struct level_args, level), true},
};

static void set_level(struct jrpc_call *call, void *args)
{
	const struct level_args *a = args;

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		if (strcasecmp(a->level, levels[i].name) == 0) {
			log_level_max = levels[i].level;
			jrpc_true(call);
			return;
		}
	}
	jrpc_fail_params(call);
}

static void get_level(struct jrpc_call *call, void *args)
{
	size_t i = 0;

	while (i + 1 < ARRAY_SIZE(levels) && levels[i].level != log_level_max)
		i++;
	jrpc_result(call, json_string(levels[i].name));
}

struct kill_args {
	const char *sig_name;
};

static const struct param kill_params[] = {
	{"sig_name", PARAM_STR, offsetof(struct kill_args, sig_name), true},
};

static void kill_instance(struct jrpc_call *call, void *args)
{
	static const struct {
		const char *name, *number;
		int signo;
	} signals[] = {
		{"SIGINT", "2", SIGINT},   {"SIGTERM", "15", SIGTERM},
		{"SIGQUIT", "3", SIGTERM}, {"SIGHUP", "1", SIGTERM},
		{"SIGKILL", "9", SIGKILL},
	};
	const struct kill_args *a = args;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		if (strcmp(a->sig_name, signals[i].name) == 0 ||
		    strcmp(a->sig_name, signals[i].number) == 0) {
			jrpc_true(call);
			kill(getpid(), signals[i].signo);
			return;
		}
	}
	jrpc_fail_params(call);
}

static const struct jrpc_method methods[] = {
	{.name = "spdk_get_version", .run = get_version},
	{.name = "rpc_get_methods",
	 .params = methods_params,
	 .param_count = ARRAY_SIZE(methods_params),
	 .args_size = sizeof(struct methods_args),
	 .run = get_methods},
	{.name = "framework_wait_init", .run = init_done},
	/* Hidden: load_config would call it again and again. */
	{.name = "framework_start_init",
	 .run = init_done,
	 .attrs = JRPC_HIDDEN},
	{.name = "log_set_level",
	 .params = level_params,
	 .param_count = ARRAY_SIZE(level_params),
	 .args_size = sizeof(struct level_args),
	 .run = set_level},
	{.name = "log_get_level", .run = get_level},
	{.name = "spdk_kill_instance",
	 .params = kill_params,
	 .param_count = ARRAY_SIZE(kill_params),
	 .args_size = sizeof(struct kill_args),
	 .run = kill_instance},
};

const struct jrpc_table control_framework = {methods, ARRAY_SIZE(methods)};
