/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back end mooncake: mooncake_nof_target as a service of the node, the rest by
 * JSON-RPC.  Rounds: the service runs -> disks are opened -> subsystem.  It
 * keeps what it was told in a file of its own.
 *
 * Invariant: a disk is opened only after it was looked at; a target that runs
 * is added to, never ended, unless --replace was given.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "deploy/deployment.h"
#include "deploy/removal.h"
#include "deploy/replace.h"
#include "deploy/rpcplan.h"

#define SERVICE	    "mooncake-nof-target"
#define SOCKET	    MOONCAKE_TARGET_SOCKET
#define STATE_FILE  DEPLOY_FOLDER "/" SERVICE ".json"
#define COPIED	    "/usr/local/lib/mooncake/mooncake_nof_target"
#define BLOCK_BYTES 4096

struct facts {
	char program[256], missing[200];
	bool is_running, has_state, has_service;
};

/* Pids of the target that has our socket.  By the process' name, cut to 15
 * bytes as the kernel has it: pgrep -f would find the shell that runs this. */
#define PIDS                                                                   \
	"ours() { for i in $(pgrep -x mooncake_nof_ta); do\n"                  \
	"  tr '\\0' ' ' </proc/$i/cmdline | grep -q -- "                       \
	"'rpc_socket=" SOCKET "' && echo $i; done; }\n"

static const char facts_script[] = PIDS
	"for p in " COPIED " $(command -v mooncake_nof_target) "
	"/usr/local/bin/mooncake_nof_target /usr/bin/mooncake_nof_target; do\n"
	"  [ -x \"$p\" ] || continue\n"
	"  echo \"program=$p\"\n"
	"  echo \"missing=$(ldd $p 2>/dev/null | awk '/not found/ "
	"{print $1}' | tr '\\n' ' ')\"\n"
	"  break; done\n"
	"[ ! -s " STATE_FILE " ] || echo state=1\n"
	"[ ! -e " DEPLOY_FOLDER "/" SERVICE ".sh ] || echo service=1\n"
	"[ -z \"$(ours)\" ] || echo running=1\n";

static void take_fact(void *arg, struct str key, struct str value)
{
	struct facts *f = arg;

	if (str_eq(key, STR("program")))
		snprintf(f->program, sizeof(f->program), STR_FMT,
			 STR_ARG(value));
	else if (str_eq(key, STR("missing")))
		snprintf(f->missing, sizeof(f->missing), STR_FMT,
			 STR_ARG(str_trim(value)));
	else if (str_eq(key, STR("running")))
		f->is_running = true;
	else if (str_eq(key, STR("service")))
		f->has_service = true;
	else if (str_eq(key, STR("state")))
		f->has_state = true;
}

static void plan_service(struct deployment *d, const char *program)
{
	struct strbuf script = {0};

	strbuf_adds(&script, "#!/bin/sh\nexec ");
	shell_quote(&script, program);
	strbuf_adds(&script,
		    " --rpc_socket=" SOCKET " --state=" STATE_FILE "\n");
	deployment_service(d, SERVICE, "Mooncake NVMe-oF target",
			   script.p ? script.p : "");
	d->plan.failed |= script.failed;
	strbuf_fini(&script);
}

static int plan_start(struct deployment *d, const struct facts *f,
		      struct err *err)
{
	const char *program = f->program;

	if (d->opts->program) {
		plan_script(&d->plan, "make the folder /usr/local/lib/mooncake",
			    "mkdir -p -m 0755 /usr/local/lib/mooncake", NULL);
		plan_copy(&d->plan, "copy mooncake_nof_target", COPIED,
			  d->opts->program, 0755);
		program = COPIED;
	} else if (!program[0]) {
		return err_set(
			err, -ENOENT,
			"%s: mooncake_nof_target is not installed there; "
			"install the package, or let "
			"--program=/path/mooncake_nof_target copy it",
			d->node->host);
	} else if (f->missing[0]) {
		return err_set(err, -ENOENT,
			       "%s: %.80s lacks libraries there: %.100s",
			       d->node->host, program, f->missing);
	}
	plan_service(d, program);
	if (!f->has_state && !d->plan.failed) {
		d->is_forgetful = true;
		step_undo_add(&d->plan, &d->plan.steps[d->plan.count - 1],
			      "rm -f " STATE_FILE);
	}
	return 0;
}

/* --- disks --- */

struct wanted_disk {
	char path[256], name[64];
	uint64_t bytes; /* of a file to be made */
};

static int parse_disk(const char *text, size_t index, struct wanted_disk *out,
		      struct err *err)
{
	const char *base;
	int ret;

	*out = (struct wanted_disk){0};
	ret = node_split_disk(text, BLOCK_BYTES, out->path, &out->bytes, err);
	if (ret)
		return ret;
	base = strrchr(out->path, '/');
	snprintf(out->name, sizeof(out->name), "%zu-%.40s", index,
		 base ? base + 1 : out->path);
	return 0;
}

/* The file or device of a bdev; NULL: it has none. */
static const char *path_of(const json_t *bdev)
{
	const json_t *driver = json_object_get(bdev, "driver_specific");

	return json_string_value(
		json_object_get(json_object_get(driver, "aio"), "filename"));
}

/* The name under which the target has the disk already, or NULL. */
static const char *bdev_of(const json_t *bdevs, const char *path)
{
	json_t *item;
	size_t i;

	json_array_foreach(bdevs, i, item)
	{
		const char *have = path_of(item);

		if (have && !strcmp(have, path))
			return json_string_value(json_object_get(item, "name"));
	}
	return NULL;
}

static int plan_disk(struct deployment *d, const struct wanted_disk *w,
		     struct err *err)
{
	struct err why = {0};
	struct disk disk;
	struct step *step;
	char title[340];
	int ret = deployment_check_disk(d, w->path, &disk, &why);

	if (ret == -ENOENT && w->bytes)
		deployment_make_file(d, w->path, w->bytes);
	else if (ret)
		return err_set(err, ret, "%s", why.text);
	snprintf(title, sizeof(title), "open %s as %s", w->path, w->name);
	step = plan_rpc(&d->plan, title, "bdev_aio_create",
			json_pack("{s:s, s:s, s:i}", "name", w->name,
				  "filename", w->path, "block_size",
				  BLOCK_BYTES));
	step_undo_rpc(&d->plan, step, "bdev_aio_delete",
		      json_pack("{s:s}", "name", w->name));
	return 0;
}

/* Before anything is started for disks that can't be had.  A target that has a
 * state has disks, too: which, it says itself. */
static int check_disks(struct deployment *d, struct err *err)
{
	const struct node *node = d->node;
	int ret = 0;

	for (size_t i = 0; i < node->disk_count && ret == 0; i++) {
		struct wanted_disk w;
		struct disk disk;
		struct err why = {0};

		ret = parse_disk(node->disk[i], i, &w, err);
		if (ret)
			return ret;
		ret = deployment_check_disk(d, w.path, &disk, &why);
		if (ret == -ENOENT && w.bytes)
			ret = 0;
		else if (ret)
			err_set(err, ret, "%s", why.text);
	}
	return ret;
}

static int plan_disks(struct deployment *d, const json_t *bdevs,
		      struct rpc_want *want, struct err *err)
{
	const struct node *node = d->node;
	int ret = 0;

	for (size_t i = 0; i < node->disk_count && ret == 0; i++) {
		struct wanted_disk w;
		const char *name;

		ret = parse_disk(node->disk[i], i, &w, err);
		if (ret)
			return ret;
		name = bdev_of(bdevs, w.path);
		if (!name)
			ret = plan_disk(d, &w, err);
		snprintf(want->bdevs[want->bdev_count++],
			 sizeof(want->bdevs[0]), "%s", name ? name : w.name);
	}
	return ret;
}

static int look_at_target(struct deployment *d, struct err *err)
{
	struct relay relay = deployment_relay(d);
	struct rpc_want *want = rpc_want_new(d);
	json_t *bdevs = NULL;
	int ret;

	if (!want)
		return err_set(err, -ENOMEM, "out of memory");
	ret = rpcplan_transport(&relay, want, &d->plan, err);
	if (ret == 0)
		ret = relay_list(&relay, "bdev_get_bdevs", &bdevs, err);
	if (ret == 0)
		ret = plan_disks(d, bdevs, want, err);
	if (ret == 0)
		ret = rpcplan_subsystem(&relay, want, &d->plan, err);
	json_decref(bdevs);
	free(want);
	return ret;
}

static int look(struct deployment *d, struct err *err)
{
	struct facts f = {0};
	int ret;

	if (!strcmp(d->trtype, "RDMA"))
		return err_set(err, -ENOTSUP,
			       "%s: mooncake_nof_target serves TCP: give "
			       "--transport-type=TCP",
			       d->node->host);
	if (d->node->rpc_socket[0] && strcmp(d->node->rpc_socket, SOCKET))
		return err_set(err, -EINVAL,
			       "%s: rpc_socket: a deployed mooncake_nof_target "
			       "has " SOCKET,
			       d->node->host);
	snprintf(d->socket, sizeof(d->socket), SOCKET);
	ret = deployment_facts(d, facts_script, take_fact, &f, err);
	if (ret)
		return ret;
	if (f.is_running && d->opts->is_replacing && d->done == 0) {
		deployment_replace(d, &(struct replace){
					      .service = SERVICE,
					      .find = PIDS "one() { ours; }\n",
					      .saved = STATE_FILE,
				      });
		f.has_state = false; /* it is put aside */
	} else if (f.is_running) {
		return look_at_target(d, err);
	} else if (!f.has_state) {
		ret = check_disks(d, err);
	}
	return ret ? ret : plan_start(d, &f, err);
}

/* --- away --- */

static bool is_same(const char *disk, const char *bdev)
{
	return !strcmp(disk, bdev);
}

static bool names(const struct node *node, const char *at)
{
	return node_names_disk(node, BLOCK_BYTES, at);
}

/* Others than files and devices are nobody's business here. */
static void take_bdevs(const json_t *bdevs, struct removal *r)
{
	json_t *item;
	size_t i;

	json_array_foreach(bdevs, i, item)
	{
		const char *at = path_of(item);
		const char *name =
			json_string_value(json_object_get(item, "name"));
		struct removal_disk *disk = &r->disks[r->count];

		if (!at || !name || r->count == REMOVAL_DISKS_MAX)
			continue;
		snprintf(disk->name, sizeof(disk->name), "%s", name);
		snprintf(disk->at, sizeof(disk->at), "%s", at);
		r->count++;
	}
}

static int remove_from_target(struct deployment *d, struct removal *r,
			      struct err *err)
{
	struct relay relay = deployment_relay(d);
	json_t *bdevs;
	int ret = relay_list(&relay, "bdev_get_bdevs", &bdevs, err);

	if (ret)
		return ret;
	take_bdevs(bdevs, r);
	json_decref(bdevs);
	return removal_plan(d, r, err);
}

static int look_away(struct deployment *d, struct err *err)
{
	struct removal *r = calloc(1, sizeof(*r));
	struct facts f = {0};
	int ret = r ? 0 : err_set(err, -ENOMEM, "out of memory");

	snprintf(d->socket, sizeof(d->socket), SOCKET);
	if (ret == 0)
		ret = deployment_facts(d, facts_script, take_fact, &f, err);
	if (ret == 0) {
		*r = (struct removal){
			.service = SERVICE,
			.is_ours = f.has_service,
			.find = PIDS "one() { ours; }\n",
			.with_service = "rm -f " COPIED "\n"
					"rmdir /usr/local/lib/mooncake "
					"2>/dev/null || :\n",
			.method = "bdev_aio_delete",
			.has = is_same,
			.names = names,
		};
		ret = f.is_running ? remove_from_target(d, r, err)
				   : removal_plan_stopped(d, r, err);
	}
	free(r);
	return ret;
}

const struct backend backend_mooncake = {.look = look, .look_away = look_away};
