/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl target: a target on this machine, over its control socket.  One
 * thread, one call at a time.  Invariant: everything but "fault" is done by
 * methods that SPDK has too, so it works with SPDK's targets as well.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hostport.h"
#include "cmd/ctl.h"
#include "deploy/jsonrpc.h"
#include "deploy/table.h"

static const struct flag target_flags[] = {
	{.name = "rpc_socket",
	 .alias = "r",
	 .type = FLAG_STR,
	 .off = offsetof(struct ctl_config, rpc_socket),
	 .def = "/var/tmp/spdk.sock",
	 .env = "MOONCAKE_RPC_SOCKET",
	 .arg = "PATH",
	 .help = "The target's --rpc_socket."},
	{.name = "any_host",
	 .type = FLAG_BOOL,
	 .off = offsetof(struct ctl_config, any_host),
	 .help = "add-subsystem: hosts need not be named by add-host."},
	{.name = "json",
	 .type = FLAG_BOOL,
	 .off = offsetof(struct ctl_config, json),
	 .help = "Lists: print JSON instead of text for people."},
	{.name = "timeout",
	 .type = FLAG_MS,
	 .off = offsetof(struct ctl_config, timeout_ms),
	 .def = "10s",
	 .min = 100,
	 .max = 3600000,
	 .arg = "TIME",
	 .help = "Patience with the target."},
};

/* Argument i, the command itself being 0. */
static const char *arg(const struct ctl *ctl, size_t i)
{
	return ctl->args->items[i];
}

int ctl_target_call(struct ctl *ctl, const char *method, json_t *params,
		    json_t **result, struct err *err)
{
	return jsonrpc_call(ctl->config.rpc_socket, method, params,
			    (uint32_t)ctl->config.timeout_ms, result, err);
}

/* For those whose answer is only "true". */
static int call_plain(struct ctl *ctl, const char *method, json_t *params,
		      struct err *err)
{
	json_t *result;
	int ret = ctl_target_call(ctl, method, params, &result, err);

	json_decref(result);
	return ret;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void add_addresses(struct table *table, const json_t *subsys)
{
	const json_t *list = json_object_get(subsys, "listen_addresses");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		char line[HOST_TEXT_LEN];

		snprintf(line, sizeof(line), "at %s %.100s port %s",
			 text_of(one, "trtype"), text_of(one, "traddr"),
			 text_of(one, "trsvcid"));
		table_add_line(table, line);
	}
}

static const json_t *find_bdev(const json_t *bdevs, const char *name)
{
	for (size_t i = 0; i < json_array_size(bdevs); i++) {
		const json_t *one = json_array_get(bdevs, i);

		if (strcmp(text_of(one, "name"), name) == 0)
			return one;
	}
	return NULL;
}

static void add_subsys(struct table *table, const json_t *subsys,
		       const json_t *bdevs)
{
	const json_t *list = json_object_get(subsys, "namespaces");
	size_t count = json_array_size(list);

	for (size_t i = 0; i < count; i++) {
		const json_t *ns = json_array_get(list, i);
		const char *name = text_of(ns, "bdev_name");
		const json_t *bdev = find_bdev(bdevs, name);
		json_int_t block =
			json_integer_value(json_object_get(bdev, "block_size"));
		json_int_t blocks =
			json_integer_value(json_object_get(bdev, "num_blocks"));

		table_add(table, i ? "" : text_of(subsys, "nqn"));
		table_addf(table, "%lld",
			   (long long)json_integer_value(
				   json_object_get(ns, "nsid")));
		table_add(table, name);
		table_add_size(table, (uint64_t)block * (uint64_t)blocks);
		table_addf(table, "%lld", (long long)block);
		table_add(table, text_of(bdev, "product_name"));
	}
	if (!count) {
		table_add(table, text_of(subsys, "nqn"));
		for (int i = 0; i < 5; i++)
			table_add(table, "");
	}
	add_addresses(table, subsys);
}

static int run_list(struct ctl *ctl, struct err *err)
{
	static const char *const heads[] = {"SUBSYSTEM", ">NSID",  "DISK",
					    ">SIZE",	 ">BLOCK", "KIND"};
	json_t *subsystems = NULL, *bdevs = NULL;
	struct table table;
	int ret = ctl_target_call(ctl, "nvmf_get_subsystems", NULL, &subsystems,
				  err);

	if (!ret)
		ret = ctl_target_call(ctl, "bdev_get_bdevs", NULL, &bdevs, err);
	if (!ret && ctl->config.json) {
		ret = ctl_print_json(ctl,
				     json_pack("{s:O, s:O}", "subsystems",
					       subsystems, "bdevs", bdevs),
				     err);
	} else if (!ret) {
		table_init(&table, heads, ARRAY_SIZE(heads));
		for (size_t i = 0; i < json_array_size(subsystems); i++)
			add_subsys(&table, json_array_get(subsystems, i),
				   bdevs);
		table_format(&table, &ctl->out);
	}
	json_decref(subsystems);
	json_decref(bdevs);
	return ret;
}

static int run_rpc(struct ctl *ctl, struct err *err)
{
	json_t *params = NULL, *result;
	json_error_t where;
	int ret;

	if (ctl->args->count > 2) {
		params = json_loads(arg(ctl, 2), 0, &where);
		if (!params)
			return err_set(err, -EINVAL,
				       "the parameters are no JSON: %.80s at "
				       "column %d",
				       where.text, where.column);
	}
	ret = ctl_target_call(ctl, arg(ctl, 1), params, &result, err);
	return ret ? ret : ctl_print_json(ctl, result, err);
}

/* As SPDK's rpc.py save_config writes it. */
static int run_save(struct ctl *ctl, struct err *err)
{
	json_t *names, *calls, *list = json_array();
	int ret = ctl_target_call(ctl, "framework_get_subsystems", NULL, &names,
				  err);

	for (size_t i = 0; !ret && i < json_array_size(names); i++) {
		const char *name =
			text_of(json_array_get(names, i), "subsystem");

		ret = ctl_target_call(ctl, "framework_get_config",
				      json_pack("{s:s}", "name", name), &calls,
				      err);
		if (!ret)
			json_array_append_new(list, json_pack("{s:s, s:o}",
							      "subsystem", name,
							      "config", calls));
	}
	json_decref(names);
	if (!ret)
		return ctl_print_json(
			ctl, json_pack("{s:o}", "subsystems", list), err);
	json_decref(list);
	return ret;
}

static int run_add_subsystem(struct ctl *ctl, struct err *err)
{
	return call_plain(ctl, "nvmf_create_subsystem",
			  json_pack("{s:s, s:b}", "nqn", arg(ctl, 1),
				    "allow_any_host", ctl->config.any_host),
			  err);
}

static int run_rm_subsystem(struct ctl *ctl, struct err *err)
{
	return call_plain(ctl, "nvmf_delete_subsystem",
			  json_pack("{s:s}", "nqn", arg(ctl, 1)), err);
}

/* The name of the bdev for what DISK says, made when it is a medium. */
static int make_disk(struct ctl *ctl, const char *disk, json_t **name,
		     struct err *err)
{
	struct stat st;
	json_t *params;
	uint64_t size;

	if (strncmp(disk, "ram:", 4) == 0) {
		if (str_to_size(str_of(disk + 4), &size) || size % 4096)
			return err_set(err, -EINVAL,
				       "'%.60s': write ram:SIZE, a multiple "
				       "of 4096 bytes",
				       disk);
		params = json_pack("{s:I, s:i}", "num_blocks",
				   (json_int_t)(size / 4096), "block_size",
				   4096);
		return ctl_target_call(ctl, "bdev_malloc_create", params, name,
				       err);
	}
	if (disk[0] != '/') {
		*name = json_string(disk);
		return 0;
	}
	if (stat(disk, &st))
		return err_set(err, -errno, "%.150s: %s", disk,
			       strerror(errno));
	params = json_pack("{s:s, s:s}", "name", disk, "filename", disk);
	if (S_ISREG(st.st_mode))
		json_object_set_new(params, "block_size", json_integer(4096));
	return ctl_target_call(ctl, "bdev_aio_create", params, name, err);
}

static int run_add_ns(struct ctl *ctl, struct err *err)
{
	json_t *name = NULL, *nsid = NULL;
	int ret = make_disk(ctl, arg(ctl, 2), &name, err);

	if (!ret)
		ret = ctl_target_call(ctl, "nvmf_subsystem_add_ns",
				      json_pack("{s:s, s:{s:O}}", "nqn",
						arg(ctl, 1), "namespace",
						"bdev_name", name),
				      &nsid, err);
	if (!ret)
		strbuf_addf(&ctl->out, "namespace %lld\n",
			    (long long)json_integer_value(nsid));
	json_decref(name);
	json_decref(nsid);
	return ret;
}

static int run_rm_ns(struct ctl *ctl, struct err *err)
{
	uint64_t nsid;

	if (str_to_u64(str_of(arg(ctl, 2)), &nsid) || nsid > UINT32_MAX)
		return err_set(err, -EINVAL, "'%.40s' is no namespace id",
			       arg(ctl, 2));
	return call_plain(ctl, "nvmf_subsystem_remove_ns",
			  json_pack("{s:s, s:I}", "nqn", arg(ctl, 1), "nsid",
				    (json_int_t)nsid),
			  err);
}

static int listener(struct ctl *ctl, const char *method, struct err *err)
{
	struct hostport hp;
	char port[8];
	int ret = hostport_parse(str_of(arg(ctl, 2)), 4420, &hp, err);

	if (ret)
		return ret;
	snprintf(port, sizeof(port), "%u", hp.port);
	return call_plain(ctl, method,
			  json_pack("{s:s, s:{s:s, s:s, s:s, s:s}}", "nqn",
				    arg(ctl, 1), "listen_address", "trtype",
				    "TCP", "adrfam",
				    strchr(hp.host, ':') ? "IPv6" : "IPv4",
				    "traddr", hp.host, "trsvcid", port),
			  err);
}

static int run_add_listener(struct ctl *ctl, struct err *err)
{
	return listener(ctl, "nvmf_subsystem_add_listener", err);
}

static int run_rm_listener(struct ctl *ctl, struct err *err)
{
	return listener(ctl, "nvmf_subsystem_remove_listener", err);
}

static json_t *host_params(const struct ctl *ctl)
{
	return json_pack("{s:s, s:s}", "nqn", arg(ctl, 1), "host", arg(ctl, 2));
}

static int run_add_host(struct ctl *ctl, struct err *err)
{
	return call_plain(ctl, "nvmf_subsystem_add_host", host_params(ctl),
			  err);
}

static int run_rm_host(struct ctl *ctl, struct err *err)
{
	return call_plain(ctl, "nvmf_subsystem_remove_host", host_params(ctl),
			  err);
}

static const struct {
	const char *name, *args;
	size_t args_min, args_max;
	int (*run)(struct ctl *ctl, struct err *err);
} words[] = {
	{"list", "", 0, 0, run_list},
	{"add-subsystem", "NQN", 1, 1, run_add_subsystem},
	{"rm-subsystem", "NQN", 1, 1, run_rm_subsystem},
	{"add-ns", "NQN DISK", 2, 2, run_add_ns},
	{"rm-ns", "NQN NSID", 2, 2, run_rm_ns},
	{"add-listener", "NQN HOST:PORT", 2, 2, run_add_listener},
	{"rm-listener", "NQN HOST:PORT", 2, 2, run_rm_listener},
	{"add-host", "NQN HOSTNQN", 2, 2, run_add_host},
	{"rm-host", "NQN HOSTNQN", 2, 2, run_rm_host},
	{"fault", "set RULE | list | clear [ID]", 1, 2, ctl_fault},
	{"save", "", 0, 0, run_save},
	{"rpc", "METHOD [JSON]", 1, 2, run_rpc},
};

static int run(struct ctl *ctl, struct err *err)
{
	size_t given = ctl->args->count - 1;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(words[i].name, arg(ctl, 0)) != 0)
			continue;
		if (given < words[i].args_min || given > words[i].args_max)
			return err_set(err, -EINVAL,
				       "write '" CTL_NAME " target %s %s'",
				       words[i].name, words[i].args);
		return words[i].run(ctl, err);
	}
	return err_set(err, -EINVAL,
		       "there is no '%.40s'; '" CTL_NAME
		       " target --help' says what there is",
		       arg(ctl, 0));
}

const struct ctl_command ctl_target = {
	.prog = {.name = CTL_NAME " target",
		 .summary = "change a target that runs on this machine",
		 .usage = "[options] list|add-ns|… [arguments]",
		 .details =
			 "list: subsystems, namespaces, addresses\n"
			 "add-subsystem NQN: --any_host lets every host in\n"
			 "rm-subsystem NQN\n"
			 "add-ns NQN DISK: a file or device (/…), ram:SIZE, or "
			 "a bdev's name\n"
			 "rm-ns NQN NSID: its data stay where they are\n"
			 "add-listener NQN HOST:PORT, rm-listener NQN "
			 "HOST:PORT\n"
			 "add-host NQN HOSTNQN, rm-host NQN HOSTNQN\n"
			 "fault set RULE, fault list, fault clear [ID]: drills "
			 "on a target of ours\n"
			 "save: the configuration, for --json_config\n"
			 "rpc METHOD [JSON]: any other method, with its "
			 "parameters",
		 .examples = "  " CTL_NAME " target list\n"
			     "  " CTL_NAME " target add-ns nqn.2026-11.a:b "
			     "/dev/nvme1n1\n"
			     "  " CTL_NAME " target rpc bdev_get_bdevs "
			     "'{\"name\": \"Malloc0\"}'\n",
		 .flags = target_flags,
		 .flag_count = ARRAY_SIZE(target_flags),
		 .args_min = 1,
		 .args_max = 4},
	.run = run,
	.is_without_master = true,
};
