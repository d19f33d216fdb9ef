/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spdk_tgt_create.  The main thread reads options and prints; the nodes are
 * worked on by the fleet's threads, one deployment each.  Invariant: a node
 * ends as wanted, as it was, or with a sentence that says what remains.
 */
#include "deploy/create.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "deploy/deployment.h"
#include "deploy/login.h"
#include "deploy/report.h"
#include "deploy/secret.h"
#include "deploy/table.h"

#define PROGRAM	  "spdk_tgt_create"
#define MASTER_MS 15000

struct config {
	struct flag_list infos;
	struct login_config login;
	char *core_mask, *trtype, *program, *master;
	uint64_t depth, queues, max_io, icd, io_unit, aq_depth, buffers, cache;
	bool dry_run, json, verbose, replace, remove, force;
};

#define OFF(field) offsetof(struct config, field)
static const struct flag flags[] = {
	{.name = "spdk_target_info",
	 .alias = "node",
	 .type = FLAG_LIST,
	 .off = OFF(infos),
	 .arg = "TEXT",
	 .attrs = FLAG_REQUIRED,
	 .group = "Nodes (repeat the option for several)",
	 .help = "A node and what it is to serve: 'ip:ADDRESS path:SPDK-FOLDER "
		 "pci:BDF,BDF' for SPDK (without pci: every free NVMe disk), "
		 "'ip:ADDRESS backend:nvmet disk:/dev/…,…' for the Linux "
		 "kernel's target, 'ip:ADDRESS backend:mooncake "
		 "disk:/dev/…,/file:SIZE' for ours. More keys: nqn:, serial:, "
		 "addr:ADDRESS,… (data addresses), port:, rpc_socket:PATH "
		 "(which nvmf_tgt, where several run), allow:HOSTNQN,…, "
		 "key:[HOSTNQN=]FILE,… and ctrl_key: (their DH-HMAC-CHAP "
		 "keys)."},
	LOGIN_FLAGS(struct config, login),
	{.name = "transport_type",
	 .type = FLAG_STR,
	 .off = OFF(trtype),
	 .arg = "RDMA|TCP",
	 .group = "The target",
	 .help = "Transport to create. Default: RDMA for SPDK, TCP for the "
		 "others."},
	{.name = "core_mask",
	 .type = FLAG_STR,
	 .off = OFF(core_mask),
	 .def = "0xff",
	 .arg = "MASK",
	 .help = "CPUs of SPDK's nvmf_tgt, which it keeps busy."},
	{.name = "max_queue_depth",
	 .type = FLAG_UINT,
	 .off = OFF(depth),
	 .def = "128",
	 .min = 2,
	 .max = 65535,
	 .arg = "N",
	 .help = "Entries of an I/O queue."},
	{.name = "max_io_qpairs_per_ctrlr",
	 .type = FLAG_UINT,
	 .off = OFF(queues),
	 .def = "127",
	 .min = 1,
	 .max = 65534,
	 .arg = "N",
	 .help = "I/O queues of a host."},
	{.name = "max_io_size",
	 .type = FLAG_SIZE,
	 .off = OFF(max_io),
	 .def = "131072",
	 .arg = "SIZE",
	 .help = "Largest read or write command, a power of two."},
	{.name = "in_capsule_data_size",
	 .type = FLAG_SIZE,
	 .off = OFF(icd),
	 .def = "4096",
	 .arg = "SIZE",
	 .help = "Writes up to this size travel with their command."},
	{.name = "io_unit_size",
	 .type = FLAG_SIZE,
	 .off = OFF(io_unit),
	 .def = "131072",
	 .arg = "SIZE",
	 .help = "Size of SPDK's data buffers."},
	{.name = "max_aq_depth",
	 .type = FLAG_UINT,
	 .off = OFF(aq_depth),
	 .def = "128",
	 .min = 2,
	 .max = 4096,
	 .arg = "N",
	 .help = "Entries of the admin queue."},
	{.name = "num_shared_buffers",
	 .type = FLAG_UINT,
	 .off = OFF(buffers),
	 .def = "4096",
	 .min = 1,
	 .max = 1 << 20,
	 .arg = "N",
	 .help = "SPDK's data buffers."},
	{.name = "buf_cache_size",
	 .type = FLAG_UINT,
	 .off = OFF(cache),
	 .def = "32",
	 .min = 0,
	 .max = 1 << 20,
	 .arg = "N",
	 .help = "Of these, kept by each of its threads."},
	{.name = "program",
	 .type = FLAG_STR,
	 .off = OFF(program),
	 .arg = "FILE",
	 .help = "backend:mooncake: copy this mooncake_nof_target there. "
		 "Default: it is installed on the node."},
	{.name = "dry_run",
	 .type = FLAG_BOOL,
	 .off = OFF(dry_run),
	 .group = "How",
	 .help = "Look at the nodes and print the plan; change nothing."},
	{.name = "verbose",
	 .type = FLAG_BOOL,
	 .off = OFF(verbose),
	 .help = "Print every command and file of the plan."},
	{.name = "json",
	 .type = FLAG_BOOL,
	 .off = OFF(json),
	 .help = "Print plan and result as JSON."},
	{.name = "replace",
	 .type = FLAG_BOOL,
	 .off = OFF(replace),
	 .help = "End the target of that socket that runs there already, and "
		 "its hosts' connections with it; it comes back when the new "
		 "one fails. Without this it is only added to."},
	{.name = "remove",
	 .type = FLAG_BOOL,
	 .off = OFF(remove),
	 .help = "Take away what was made with the same texts: the disks that "
		 "a text names, or all of its subsystem when it names none. "
		 "The data on them stays. Refused while they are registered "
		 "or hosts are connected: unregister first."},
	{.name = "master_server_address",
	 .alias = "master",
	 .type = FLAG_STR,
	 .off = OFF(master),
	 .env = "MOONCAKE_MASTER",
	 .arg = "HOST:PORT",
	 .help = "With --remove: who is asked what is registered."},
	{.name = "force",
	 .type = FLAG_BOOL,
	 .off = OFF(force),
	 .help = "Take disks that hold something else, which is lost. Never "
		 "those that are mounted or otherwise in use. With --remove: "
		 "also what has hosts, or was made by somebody else."},
};

static const struct flag_prog prog = {
	.name = PROGRAM,
	.summary = "makes NVMe-oF targets on SSD nodes, over SSH",
	.usage = "--spdk_target_info='ip:… path:…' [options]",
	.details =
		"Looks at every node, works out what is missing, and does it; "
		"what is there already stays, so that a second run changes "
		"nothing. Disks that are mounted, partitioned or hold data "
		"are refused. When a step fails the node is put back as it "
		"was. --remove takes it all away again. Login is by ssh with "
		"your own configuration, agent and "
		"known hosts. Exit status: 0 when all nodes are as wanted, 1 "
		"when one is not, 2 for wrong options.",
	.examples =
		"  " PROGRAM " --transport-type=TCP --spdk_target_info="
		"'ip:10.0.0.7 path:/opt/spdk pci:0000:81:00.0'\n"
		"  " PROGRAM " --transport-type=TCP --dry_run \\\n"
		"    --node='ip:10.0.0.7 backend:nvmet disk:/dev/nvme0n1' \\\n"
		"    --node='ip:10.0.0.8 backend:mooncake "
		"disk:/dev/nvme0n1,/dev/nvme1n1'\n",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

struct job {
	struct node node;
	struct deployment d;
	const struct config *config;
	const struct deploy_opts *opts;
	const char *password;
};

/* --- options --- */

static bool is_pow2_size(uint64_t n)
{
	return n >= 8192 && IS_POW2(n);
}

/* Upstream's tool exchanged the two sizes; its documented values are refused
 * by every target, so they are explained. */
static int check_sizes(const struct config *c, struct err *err)
{
	if (is_pow2_size(c->max_io) && c->icd <= c->max_io)
		return 0;
	if (c->max_io < 8192 && is_pow2_size(c->icd))
		return err_set(err, -EINVAL,
			       "--max-io-size=%llu: targets take powers of two "
			       "from 8192 on. Upstream's tool exchanged this "
			       "option and --in-capsule-data-size; what it did "
			       "is --max-io-size=%llu "
			       "--in-capsule-data-size=%llu",
			       (unsigned long long)c->max_io,
			       (unsigned long long)c->icd,
			       (unsigned long long)c->max_io);
	return err_set(err, -EINVAL,
		       "--max-io-size=%llu --in-capsule-data-size=%llu: the "
		       "first must be a power of two from 8192 on, and not "
		       "below the second",
		       (unsigned long long)c->max_io,
		       (unsigned long long)c->icd);
}

static int check_options(const struct config *c, struct err *err)
{
	if (c->trtype[0] && !str_eq_nocase(str_of(c->trtype), STR("TCP")) &&
	    !str_eq_nocase(str_of(c->trtype), STR("RDMA")))
		return err_set(err, -EINVAL,
			       "--transport-type=%.20s: TCP or RDMA",
			       c->trtype);
	if (c->remove && (c->replace || c->program[0]))
		return err_set(err, -EINVAL,
			       "--remove makes nothing: it does not go with "
			       "--replace or --program");
	if (c->remove && !c->master[0] && !c->force && !c->dry_run)
		return err_set(err, -EINVAL,
			       "--remove: --master_server_address says which "
			       "master to ask whether the disks are "
			       "registered; --force asks nobody");
	if (!c->infos.count)
		return err_set(err, -EINVAL,
			       "--spdk_target_info= is empty: "
			       "give 'ip:… path:…'");
	if (c->infos.count > FLEET_MAX)
		return err_set(err, -EINVAL, "more than %d nodes", FLEET_MAX);
	return check_sizes(c, err);
}

static json_t *transport_params(const struct config *c)
{
	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "max_queue_depth",
		(json_int_t)c->depth, "max_io_qpairs_per_ctrlr",
		(json_int_t)c->queues, "in_capsule_data_size",
		(json_int_t)c->icd, "max_io_size", (json_int_t)c->max_io,
		"io_unit_size", (json_int_t)c->io_unit, "max_aq_depth",
		(json_int_t)c->aq_depth, "num_shared_buffers",
		(json_int_t)c->buffers, "buf_cache_size", (json_int_t)c->cache);
}

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

/* --- one node --- */

static int work(struct fleet_host *host, struct err *err)
{
	struct job *job = host->arg;
	const struct config *c = job->config;
	struct remote_opts ssh =
		login_opts(&c->login, job->node.host, job->password);
	int ret;

	fleet_step(host, "connecting");
	ret = remote_open(&ssh, &job->d.remote, err);
	if (ret == 0)
		ret = remote_check_root(job->d.remote, err);
	if (ret)
		return ret;
	job->d.node = &job->node;
	job->d.opts = job->opts;
	job->d.host = host;
	ret = deployment_run(&job->d, err);
	if (ret == 0)
		fleet_step(host, "%s",
			   !job->d.plan.count ? "nothing to do"
			   : c->dry_run	      ? "planned"
			   : c->remove	      ? "removed"
					      : "serves its disks");
	return ret;
}

/* --- what became of them --- */

static void print_people(const struct config *c, struct job *jobs,
			 const struct fleet_host *hosts, size_t failed)
{
	struct strbuf out = {0};

	for (size_t i = 0; i < c->infos.count; i++) {
		if (c->dry_run && !hosts[i].ret)
			plan_format(&jobs[i].d.plan, hosts[i].name, c->verbose,
				    &out);
		else if (hosts[i].ret)
			strbuf_addf(&out, "%s: FAILED: %s\n", hosts[i].name,
				    hosts[i].err.text);
		else
			strbuf_addf(
				&out, "%s: %s (%zu steps)\n%s", hosts[i].name,
				jobs[i].d.nqn, jobs[i].d.plan.count,
				jobs[i].d.plan.notes.n ? jobs[i].d.plan.notes.p
						       : "");
	}
	strbuf_addf(&out,
		    "Total targets: %zu\nSuccessfully %s: %zu\nFailed: %zu\n",
		    c->infos.count,
		    c->dry_run	? "planned"
		    : c->remove ? "removed"
				: "deployed",
		    c->infos.count - failed, failed);
	fputs(out.p ? out.p : "", stdout);
	strbuf_fini(&out);
}

static void print_json(const struct config *c, struct job *jobs,
		       const struct fleet_host *hosts, size_t failed)
{
	json_t *list = json_array(), *root;
	char *text;

	for (size_t i = 0; i < c->infos.count; i++) {
		json_t *item = plan_json(&jobs[i].d.plan, hosts[i].name);

		json_object_set_new(item, "nqn", json_string(jobs[i].d.nqn));
		json_object_set_new(item, "ok", json_boolean(!hosts[i].ret));
		if (hosts[i].ret)
			json_object_set_new(item, "error",
					    report_text(hosts[i].err.text));
		json_array_append_new(list, item);
	}
	root = json_pack("{s:b, s:I, s:I, s:o}", "dry_run", c->dry_run, "total",
			 (json_int_t)c->infos.count, "failed",
			 (json_int_t)failed, "nodes", list);
	text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	puts(text ? text : "{}");
	free(text);
	json_decref(root);
}

static int check_node(const struct config *c, const struct job *jobs,
		      size_t count, struct err *err)
{
	const struct node *node = &jobs[count].node;

	if (node->backend == NODE_SPDK && !node->path[0])
		return err_set(err, -EINVAL,
			       "%s: path: is missing: where is SPDK's built "
			       "tree there?",
			       node->host);
	if (node->backend != NODE_SPDK && !node->disk_count && !c->remove)
		return err_set(err, -EINVAL,
			       "%s: disk:/dev/… or disk:/path/file:SIZE is "
			       "missing: what is to be served? (SPDK's target "
			       "needs path:)",
			       node->host);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(jobs[i].node.host, node->host) &&
		    jobs[i].node.backend == node->backend)
			return err_set(
				err, -EINVAL,
				"%s is named twice: put all of its disks "
				"into one text",
				node->host);
	return 0;
}

static int parse_nodes(const struct config *c, struct job *jobs,
		       struct fleet_host *hosts, struct err *err)
{
	for (size_t i = 0; i < c->infos.count; i++) {
		int ret = node_parse(str_of(c->infos.items[i]), &jobs[i].node,
				     err);

		if (ret == 0)
			ret = check_node(c, jobs, i, err);
		if (ret == 0 && !c->remove)
			ret = hostkeys_load(&jobs[i].node, &jobs[i].d.keys,
					    err);
		if (ret)
			return ret;
		snprintf(hosts[i].name, sizeof(hosts[i].name), "%s",
			 jobs[i].node.host);
		hosts[i].arg = &jobs[i];
	}
	return 0;
}

static int run_all(const struct config *c, const struct deploy_opts *opts,
		   const char *password, size_t *failed, struct err *err)
{
	struct job *jobs = calloc(c->infos.count, sizeof(*jobs));
	struct fleet_host *hosts = calloc(c->infos.count, sizeof(*hosts));
	int ret = jobs && hosts ? parse_nodes(c, jobs, hosts, err)
				: err_set(err, -ENOMEM, "out of memory");

	for (size_t i = 0; ret == 0 && i < c->infos.count; i++) {
		jobs[i].config = c;
		jobs[i].opts = opts;
		jobs[i].password = password;
	}
	if (ret == 0) {
		*failed = fleet_run(hosts, c->infos.count, work);
		(c->json ? print_json : print_people)(c, jobs, hosts, *failed);
	}
	for (size_t i = 0; jobs && i < c->infos.count; i++)
		deployment_fini(&jobs[i].d);
	free(jobs);
	free(hosts);
	return ret;
}

static int run(const struct config *c, size_t *failed, struct err *err)
{
	struct deploy_opts opts = {
		.core_mask = c->core_mask,
		.trtype = !c->trtype[0] ? NULL
			  : str_eq_nocase(str_of(c->trtype), STR("RDMA"))
				  ? "RDMA"
				  : "TCP",
		.is_replacing = c->replace,
		.is_removing = c->remove,
		.is_forced = c->force,
		.is_dry_run = c->dry_run,
		.program = or_null(c->program),
	};
	struct registered registered = {0};
	char *password = NULL;
	int ret = check_options(c, err);

	if (ret == 0 && c->remove && c->master[0] && !c->force) {
		ret = registered_load(c->master, MASTER_MS, &registered, err);
		opts.registered = &registered;
	}
	if (ret == 0)
		ret = login_password(&c->login, &password, err);
	if (ret) {
		registered_fini(&registered);
		return ret;
	}
	opts.transport = transport_params(c);
	ret = run_all(c, &opts, password, failed, err);
	json_decref(opts.transport);
	registered_fini(&registered);
	secret_free(password);
	return ret;
}

int create_main(int argc, char **argv)
{
	struct config config = {0};
	struct flag_set fs;
	struct err err = {0};
	size_t failed = 0;
	int status;

	log_set_name(PROGRAM);
	log_level_max = LOG_ERROR;
	if (remote_askpass(argc, argv, &status) ||
	    flag_main(&fs, &prog, &config, argc, argv, &status))
		return status;
	if (run(&config, &failed, &err)) {
		fprintf(stderr, "%s: %s\n", PROGRAM, err.text);
		status = err.code == -EINVAL ? 2 : 1;
	} else {
		status = failed != 0;
	}
	flag_fini(&fs);
	return status;
}
