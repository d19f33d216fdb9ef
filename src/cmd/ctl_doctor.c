/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl doctor: the checks of deploy/doctor.h from the command line.  One
 * thread.
 */
#include <errno.h>

#include "base/hostport.h"
#include "cmd/ctl.h"
#include "deploy/doctor.h"
#include "deploy/nslist.h"
#include "deploy/table.h"

static void show_progress(const char *what)
{
	term_status("looking at %s …", what);
}

/* Texts that can't be understood are wrong options, not findings. */
static int check(const struct ctl_config *config, struct err *err)
{
	const char *const addresses[] = {config->master, config->admin};
	struct endpoint ep;
	struct hostport hp;

	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++)
		if (*addresses[i] &&
		    hostport_parse(str_of(addresses[i]), 1, &hp, err))
			return -EINVAL;
	for (size_t i = 0; i < config->endpoints.count; i++)
		if (endpoint_parse(str_of(config->endpoints.items[i]), &ep,
				   err))
			return -EINVAL;
	for (size_t i = 0; i < config->discover.count; i++)
		if (discovery_parse(str_of(config->discover.items[i]), &ep,
				    err))
			return -EINVAL;
	return 0;
}

static int run(struct ctl *ctl, struct err *err)
{
	const struct ctl_config *config = &ctl->config;
	struct doctor_opts opts = {
		.root = "",
		.master = config->master,
		.admin = config->admin,
		.config = config->store_config,
		.endpoints = &config->endpoints,
		.discover = &config->discover,
		.timeout_ms = (uint32_t)config->timeout_ms,
	};
	struct doctor *d;
	int ret = doctor_create(&opts, &d, err);

	if (ret)
		return ret;
	doctor_run(d, show_progress);
	if (config->json)
		ret = ctl_print_json(ctl, doctor_json(d), err);
	else
		doctor_format(d, &ctl->out);
	if (ret == 0)
		ret = doctor_worst(d) == DOCTOR_FAIL;
	doctor_destroy(d);
	return ret;
}

static const struct flag flags[] = {
	{.name = "master",
	 .alias = "master_server_address",
	 .type = FLAG_STR,
	 .off = offsetof(struct ctl_config, master),
	 .env = "MOONCAKE_MASTER",
	 .arg = "HOST:PORT",
	 .group = "What to look at beside this host",
	 .help = "A master, its segments and their targets."},
	{.name = "admin",
	 .type = FLAG_STR,
	 .off = offsetof(struct ctl_config, admin),
	 .arg = "HOST:PORT",
	 .help = "The master's admin pages; port 9003 of the master's host "
		 "when not given."},
	{.name = "endpoint",
	 .type = FLAG_LIST,
	 .off = offsetof(struct ctl_config, endpoints),
	 .arg = "TEXT",
	 .help = "A namespace, as mooncake_ssd_register takes it; without ns: "
		 "all of the subsystem."},
	{.name = "discover",
	 .type = FLAG_LIST,
	 .off = offsetof(struct ctl_config, discover),
	 .arg = "HOST:PORT",
	 .help = "All that this NVMe-oF discovery service names; port 8009 "
		 "when only a host is given."},
	{.name = "config",
	 .type = FLAG_STR,
	 .off = offsetof(struct ctl_config, store_config),
	 .env = "MOONCAKE_CONFIG_PATH",
	 .arg = "FILE",
	 .help = "A configuration file of mooncake_store_service."},
	{.name = "json",
	 .type = FLAG_BOOL,
	 .off = offsetof(struct ctl_config, json),
	 .group = "How",
	 .help = "Print JSON instead of a table."},
	{.name = "timeout",
	 .type = FLAG_MS,
	 .off = offsetof(struct ctl_config, timeout_ms),
	 .def = "5s",
	 .min = 100,
	 .max = 600000,
	 .arg = "TIME",
	 .help = "Patience with each question."},
};

const struct ctl_command ctl_doctor = {
	.prog = {.name = CTL_NAME " doctor",
		 .summary = "what is wrong with this host or the cluster",
		 .usage = "[--master=HOST:PORT] [--endpoint=TEXT] "
			  "[--discover=HOST:PORT] [options]",
		 .details =
			 "Checks this host, and the master and targets that "
			 "are named, as a client on this host sees them. "
			 "Changes nothing and needs no root. NOTE is worth "
			 "knowing, WARN works but badly, FAIL does not work; "
			 "each has its advice below it. Exit status: 0 "
			 "without a FAIL, 1 with one, 2 for wrong options.",
		 .examples = "  " CTL_NAME " doctor\n"
			     "  " CTL_NAME " doctor --master=10.0.0.1\n"
			     "  " CTL_NAME " doctor --discover=10.0.0.7:4420\n",
		 .flags = flags,
		 .flag_count = ARRAY_SIZE(flags)},
	.run = run,
	.check = check,
	.is_without_master = true,
};
