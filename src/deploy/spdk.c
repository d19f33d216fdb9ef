/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back end SPDK: nvmf_tgt of a checkout, disks bound to user space, the rest by
 * JSON-RPC.  Rounds: the process runs -> its disks are attached -> subsystem ->
 * what it is told to keep over a reboot.
 *
 * Invariant: a target that runs is added to, never ended, unless --replace was
 * given.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "deploy/deployment.h"
#include "deploy/limit.h"
#include "deploy/removal.h"
#include "deploy/replace.h"
#include "deploy/rpcplan.h"
#include "deploy/spdkfind.h"

#define SERVICE	    "mooncake-spdk-tgt"
#define CONFIG_FILE DEPLOY_FOLDER "/" SERVICE ".json"

struct pci_disk {
	char bdf[16], driver[32];
	char blocks[4][64]; /* names of its block devices */
	size_t block_count;
};

struct facts {
	bool has_setup, has_program, is_running;
	char ours[108]; /* socket of the target that our service keeps */
	struct pci_disk disks[NODE_DISKS_MAX];
	size_t disk_count;
};

/* SYSFS stands for /sys where a test says so. */
static const char facts_script[] =
	"sys=${SYSFS:-/sys}\n"
	"[ ! -x \"$p/scripts/setup.sh\" ] || echo setup=1\n"
	"[ ! -x \"$p/build/bin/nvmf_tgt\" ] || echo program=1\n"
	"echo ours=$(sed -n 's/^set -- -m .* -r //p' " DEPLOY_FOLDER "/" SERVICE
	".sh 2>/dev/null)\n"
	"for d in $sys/bus/pci/devices/*; do\n"
	"  case $(cat $d/class 2>/dev/null) in 0x0108*) ;; *) continue;; esac\n"
	"  l=$(readlink $d/driver || :)\n"
	/* nvme0c1n1 is a path to /dev/nvme0n1: the disk may have several. */
	"  b=; for n in $d/nvme/nvme*/nvme*n*; do\n"
	"    [ -e \"$n/size\" ] || continue; n=${n##*/}\n"
	"    case $n in *c*) n=${n%%c*}n${n##*n};; esac; b=$b,$n; done\n"
	"  echo \"pci=${d##*/},${l##*/}$b\"; done\n";

static void take_disk(struct facts *f, struct str value)
{
	struct pci_disk *disk = &f->disks[f->disk_count];
	struct str rest, item = str_cut(value, ',', &rest);

	if (f->disk_count == NODE_DISKS_MAX)
		return;
	f->disk_count++;
	snprintf(disk->bdf, sizeof(disk->bdf), STR_FMT, STR_ARG(item));
	item = str_cut(rest, ',', &rest);
	snprintf(disk->driver, sizeof(disk->driver), STR_FMT, STR_ARG(item));
	while (rest.n && disk->block_count < ARRAY_SIZE(disk->blocks)) {
		item = str_cut(rest, ',', &rest);
		snprintf(disk->blocks[disk->block_count++],
			 sizeof(disk->blocks[0]), STR_FMT, STR_ARG(item));
	}
}

static void take_fact(void *arg, struct str key, struct str value)
{
	struct facts *f = arg;

	if (str_eq(key, STR("setup")))
		f->has_setup = true;
	else if (str_eq(key, STR("program")))
		f->has_program = true;
	else if (str_eq(key, STR("ours")))
		snprintf(f->ours, sizeof(f->ours), STR_FMT,
			 (int)MIN(value.n, sizeof(f->ours) - 1),
			 value.p ? value.p : "");
	else if (str_eq(key, STR("pci")))
		take_disk(f, value);
}

static int look_around(struct deployment *d, struct facts *f, struct err *err)
{
	struct strbuf script = {0};
	struct err why = {0};
	int ret;

	strbuf_adds(&script, "p=");
	shell_quote(&script, d->node->path);
	strbuf_addf(&script, "\n%s", facts_script);
	ret = deployment_facts(d, script.p ? script.p : "", take_fact, f, err);
	strbuf_fini(&script);
	if (ret)
		return ret;
	if (!f->has_setup || !f->has_program)
		return err_set(err, -ENOENT,
			       "%s: %.100s holds no built SPDK: %s is missing",
			       d->node->host, d->node->path,
			       f->has_setup ? "build/bin/nvmf_tgt"
					    : "scripts/setup.sh");
	ret = spdk_socket(d->remote, d->node, d->socket, &why);
	f->is_running = ret == 0;
	if (ret == -ENOENT)
		snprintf(d->socket, sizeof(d->socket), "%s",
			 d->node->rpc_socket[0] ? d->node->rpc_socket
						: SPDK_SOCKET);
	return ret && ret != -ENOENT ? err_set(err, ret, "%s", why.text) : 0;
}

/* One service keeps one target. */
static int check_service(struct deployment *d, const struct facts *f,
			 struct err *err)
{
	if (!f->ours[0] || !strcmp(f->ours, d->socket))
		return 0;
	return err_set(err, -EEXIST,
		       "%s: the service " SERVICE " there keeps the nvmf_tgt "
		       "at %.80s: rpc_socket:%.80s adds to that one",
		       d->node->host, f->ours, f->ours);
}

static bool is_user_driver(const struct pci_disk *disk)
{
	static const char *const names[] = {"vfio-pci", "uio_pci_generic",
					    "igb_uio"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(disk->driver, names[i]))
			return true;
	return false;
}

/* --- which disks --- */

static int check_blocks(struct deployment *d, const struct pci_disk *disk,
			struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < disk->block_count && ret == 0; i++) {
		char path[80];
		struct disk seen;

		snprintf(path, sizeof(path), "/dev/%s", disk->blocks[i]);
		ret = deployment_check_disk(d, path, &seen, err);
	}
	return ret;
}

static const struct pci_disk *find_disk(const struct facts *f, const char *bdf)
{
	for (size_t i = 0; i < f->disk_count; i++)
		if (!strcmp(f->disks[i].bdf, bdf))
			return &f->disks[i];
	return NULL;
}

struct choice {
	const struct pci_disk *disks[NODE_DISKS_MAX];
	size_t count;
};

static int choose_named(struct deployment *d, const struct facts *f,
			struct choice *out, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < d->node->pci_count && ret == 0; i++) {
		const struct pci_disk *disk = find_disk(f, d->node->pci[i]);

		if (!disk)
			return err_set(err, -ENODEV,
				       "%s: there is no NVMe disk at %s",
				       d->node->host, d->node->pci[i]);
		if (!is_user_driver(disk))
			ret = check_blocks(d, disk, err);
		out->disks[out->count++] = disk;
	}
	return ret;
}

/* All that are free; what is not is left out with the reason. */
static int choose_free(struct deployment *d, const struct facts *f,
		       struct choice *out, struct err *err)
{
	for (size_t i = 0; i < f->disk_count; i++) {
		const struct pci_disk *disk = &f->disks[i];
		struct err why = {0};
		int ret = 0;

		if (!is_user_driver(disk) && !disk->block_count)
			ret = err_set(&why, -ENODEV, "it has no block device");
		else if (!is_user_driver(disk))
			ret = check_blocks(d, disk, &why);
		if (ret == 0)
			out->disks[out->count++] = disk;
		else if (ret == -EBUSY || ret == -EEXIST || ret == -ENODEV)
			plan_note(&d->plan, "%s is left out: %s", disk->bdf,
				  why.text);
		else
			return err_set(err, ret, "%s", why.text);
	}
	if (!out->count)
		return err_set(err, -ENODEV,
			       "%s: no NVMe disk there is free; say pci:… to "
			       "see why one can't be taken",
			       d->node->host);
	return 0;
}

static int choose(struct deployment *d, const struct facts *f,
		  struct choice *out, struct err *err)
{
	*out = (struct choice){0};
	return d->node->pci_count ? choose_named(d, f, out, err)
				  : choose_free(d, f, out, err);
}

/* --- rounds --- */

/* Shell: the target that has $socket. */
static void add_find(struct strbuf *out)
{
	strbuf_addf(out,
		    "%sone() { targets | while read -r i s; do\n"
		    "  [ \"$s\" != \"$socket\" ] || echo $i; done; }\n",
		    spdk_targets);
}

/* A target that says nothing any more may be replaced, too. */
static void plan_replace(struct deployment *d)
{
	struct strbuf find = {0};
	struct err why = {0};
	char *running = NULL;

	if (rpc_config_text(d, &running, &why))
		plan_note(&d->plan,
			  "what the target at %s was told can't be kept: %s",
			  d->socket, why.text);
	add_find(&find);
	deployment_replace(d, &(struct replace){
				      .service = SERVICE,
				      .find = find.p ? find.p : "",
				      .saved = CONFIG_FILE,
				      .running = running,
			      });
	d->plan.failed |= find.failed;
	strbuf_fini(&find);
	free(running);
}

static void add_list(struct strbuf *out, const struct choice *c)
{
	for (size_t i = 0; i < c->count; i++)
		strbuf_addf(out, "%s%s", i ? " " : "", c->disks[i]->bdf);
}

/* The name under which the target has the disk, or NULL. */
static const char *controller_of(const json_t *ctrls, const char *bdf)
{
	json_t *item, *path;
	size_t i, k;

	json_array_foreach(ctrls, i, item)
	{
		json_t *paths = json_object_get(item, "ctrlrs");

		json_array_foreach(paths, k, path)
		{
			json_t *trid = json_object_get(path, "trid");
			const char *have = json_string_value(
				json_object_get(trid, "traddr"));

			if (have && !strcmp(have, bdf))
				return json_string_value(
					json_object_get(item, "name"));
		}
	}
	return NULL;
}

/* Those that the kernel has: taken back, the others would be lost to whoever
 * had them before. */
static void plan_bind(struct deployment *d, const struct choice *all,
		      const json_t *ctrls)
{
	struct strbuf go = {0}, undo = {0}, title = {0};
	struct choice unbound = {0}, *c = &unbound;
	struct step *step;

	for (size_t i = 0; i < all->count; i++)
		if (!controller_of(ctrls, all->disks[i]->bdf) &&
		    !is_user_driver(all->disks[i]))
			unbound.disks[unbound.count++] = all->disks[i];
	if (!unbound.count)
		return;

	strbuf_adds(&title, "give the disks to user space: ");
	add_list(&title, c);
	for (int back = 0; back < 2; back++) {
		struct strbuf *out = back ? &undo : &go;

		strbuf_adds(out, "cd ");
		shell_quote(out, d->node->path);
		strbuf_adds(out, " && PCI_ALLOWED='");
		add_list(out, c);
		strbuf_addf(out, "' ./scripts/setup.sh%s\n",
			    back ? " reset" : "");
	}
	step = plan_script(&d->plan, title.p ? title.p : "", go.p ? go.p : "",
			   undo.p ? undo.p : "");
	if (step)
		step->timeout_ms = step->undo_ms = LIMIT_START_MS;
	strbuf_fini(&go);
	strbuf_fini(&undo);
	strbuf_fini(&title);
}

static void plan_start(struct deployment *d, const struct choice *c)
{
	struct strbuf script = {0};

	strbuf_adds(&script, "cd ");
	shell_quote(&script, d->node->path);
	strbuf_adds(&script, " || exit 1\nPCI_ALLOWED='");
	add_list(&script, c);
	strbuf_adds(&script, "' ./scripts/setup.sh || exit 1\nset -- -m ");
	shell_quote(&script, d->opts->core_mask);
	strbuf_addf(&script,
		    " -r %s\n[ ! -s " CONFIG_FILE
		    " ] || set -- \"$@\" -c " CONFIG_FILE "\n"
		    "exec ./build/bin/nvmf_tgt \"$@\"\n",
		    d->socket);
	deployment_service(d, SERVICE, "SPDK NVMe-oF target",
			   script.p ? script.p : "");
	strbuf_fini(&script);
}

static unsigned free_number(const json_t *ctrls)
{
	unsigned next = 0, n;
	json_t *item;
	size_t i;

	json_array_foreach(ctrls, i, item)
	{
		const char *name =
			json_string_value(json_object_get(item, "name"));

		if (name && sscanf(name, "Nvme%u", &n) == 1 && n < 100000)
			next = MAX(next, n + 1);
	}
	return next;
}

static void plan_attach(struct deployment *d, const struct choice *c,
			const json_t *ctrls)
{
	unsigned next = free_number(ctrls);

	plan_bind(d, c, ctrls);
	for (size_t i = 0; i < c->count; i++) {
		const char *bdf = c->disks[i]->bdf;
		char name[32], title[64];
		struct step *step;

		if (controller_of(ctrls, bdf))
			continue;
		snprintf(name, sizeof(name), "Nvme%u", next++);
		snprintf(title, sizeof(title), "attach %s as %s", bdf, name);
		step = plan_rpc(&d->plan, title, "bdev_nvme_attach_controller",
				json_pack("{s:s, s:s, s:s}", "name", name,
					  "trtype", "PCIe", "traddr", bdf));
		step_undo_rpc(&d->plan, step, "bdev_nvme_detach_controller",
			      json_pack("{s:s}", "name", name));
	}
}

/* "Nvme0" has "Nvme0n1", "Nvme0n2", …: every namespace of the disk. */
static bool is_bdev_of(const char *bdev, const char *ctrl)
{
	size_t n = strlen(ctrl);

	return bdev && !strncmp(bdev, ctrl, n) && bdev[n] == 'n' &&
	       bdev[n + 1] &&
	       strspn(bdev + n + 1, "0123456789") == strlen(bdev + n + 1);
}

static void collect_bdevs(const json_t *bdevs, const json_t *ctrls,
			  const struct choice *c, struct rpc_want *want)
{
	json_t *item;
	size_t k;

	for (size_t i = 0; i < c->count; i++) {
		const char *ctrl = controller_of(ctrls, c->disks[i]->bdf);

		json_array_foreach(bdevs, k, item)
		{
			const char *name = json_string_value(
				json_object_get(item, "name"));

			if (ctrl && is_bdev_of(name, ctrl) &&
			    want->bdev_count < RPC_BDEVS_MAX)
				snprintf(want->bdevs[want->bdev_count++],
					 sizeof(want->bdevs[0]), "%s", name);
		}
	}
}

static int look_at_target(struct deployment *d, const struct choice *c,
			  struct err *err)
{
	struct relay relay = deployment_relay(d);
	struct rpc_want *want = rpc_want_new(d);
	json_t *ctrls = NULL, *bdevs = NULL;
	size_t before = d->plan.count;
	int ret;

	if (!want)
		return err_set(err, -ENOMEM, "out of memory");
	ret = rpcplan_transport(&relay, want, &d->plan, err);
	if (ret == 0)
		ret = relay_list(&relay, "bdev_nvme_get_controllers", &ctrls,
				 err);
	if (ret == 0)
		plan_attach(d, c, ctrls);
	/* Names are known when the disks are attached. */
	if (ret == 0 && d->plan.count == before) {
		ret = relay_list(&relay, "bdev_get_bdevs", &bdevs, err);
		if (ret == 0)
			collect_bdevs(bdevs, ctrls, c, want);
		if (ret == 0)
			ret = rpcplan_subsystem(&relay, want, &d->plan, err);
	}
	json_decref(ctrls);
	json_decref(bdevs);
	free(want);
	return ret;
}

static void plan_new(struct deployment *d, const struct facts *f,
		     const struct choice *choice)
{
	if (f->is_running)
		plan_replace(d);
	plan_bind(d, choice, NULL);
	plan_start(d, choice);
}

static int look(struct deployment *d, struct err *err)
{
	struct facts *f = calloc(1, sizeof(*f));
	struct choice choice;
	size_t before = d->plan.count;
	int ret;

	d->is_forgetful = true;
	ret = f ? look_around(d, f, err)
		: err_set(err, -ENOMEM, "out of memory");

	if (ret == 0)
		ret = choose(d, f, &choice, err);
	if (ret == 0 &&
	    (!f->is_running || (d->opts->is_replacing && d->done == 0))) {
		ret = check_service(d, f, err);
		if (ret == 0)
			plan_new(d, f, &choice);
	} else if (ret == 0) {
		ret = look_at_target(d, &choice, err);
	}
	if (ret == 0 && d->plan.count == before) {
		if (!strcmp(f->ours, d->socket))
			ret = rpcplan_config(d, CONFIG_FILE, err);
		else
			plan_note(&d->plan,
				  "the nvmf_tgt there was started by somebody "
				  "else: what is added is lost when it ends");
	}
	free(f);
	return ret;
}

/* --- away --- */

static bool names(const struct node *node, const char *at)
{
	for (size_t i = 0; i < node->pci_count; i++)
		if (!strcmp(node->pci[i], at))
			return true;
	return false;
}

static bool has_bdev(const char *ctrl, const char *bdev)
{
	return is_bdev_of(bdev, ctrl);
}

static void take_controllers(const struct facts *f, const json_t *ctrls,
			     struct removal *r)
{
	for (size_t i = 0; i < f->disk_count; i++) {
		struct removal_disk *disk = &r->disks[r->count];
		const char *name = controller_of(ctrls, f->disks[i].bdf);

		if (!name || r->count == REMOVAL_DISKS_MAX)
			continue;
		snprintf(disk->name, sizeof(disk->name), "%s", name);
		snprintf(disk->at, sizeof(disk->at), "%s", f->disks[i].bdf);
		r->count++;
	}
}

/* Disks that the target has let go of; before us the kernel had them, or gets
 * them at the next boot. */
static void plan_reset(struct deployment *d, const struct removal *r)
{
	struct strbuf script = {0}, list = {0};
	struct step *step;

	for (size_t i = 0; i < r->count; i++)
		if (r->disks[i].goes)
			strbuf_addf(&list, "%s%s", list.n ? " " : "",
				    r->disks[i].at);
	if (list.n && !r->is_ours)
		plan_note(&d->plan,
			  "somebody else's target: %s stay bound to user space",
			  list.p);
	if (list.n && r->is_ours) {
		strbuf_adds(&script, "cd ");
		shell_quote(&script, d->node->path);
		strbuf_addf(&script,
			    " && PCI_ALLOWED='%s' ./scripts/setup.sh reset\n",
			    list.p);
		step = plan_script(&d->plan, "give the disks to the kernel",
				   script.p ? script.p : "", NULL);
		if (step)
			step->timeout_ms = LIMIT_START_MS;
	}
	d->plan.failed |= script.failed || list.failed;
	strbuf_fini(&script);
	strbuf_fini(&list);
}

static int remove_from_target(struct deployment *d, const struct facts *f,
			      struct removal *r, struct err *err)
{
	struct relay relay = deployment_relay(d);
	size_t before = d->plan.count;
	json_t *ctrls;
	int ret = relay_list(&relay, "bdev_nvme_get_controllers", &ctrls, err);

	if (ret)
		return ret;
	take_controllers(f, ctrls, r);
	json_decref(ctrls);
	ret = removal_plan(d, r, err);
	if (ret == 0 && d->plan.count == before && r->is_ours)
		ret = rpcplan_config(d, CONFIG_FILE, err);
	return ret;
}

static int look_away(struct deployment *d, struct err *err)
{
	struct removal *r = calloc(1, sizeof(*r));
	struct facts *f = calloc(1, sizeof(*f));
	struct strbuf find = {0};
	int ret = r && f ? look_around(d, f, err)
			 : err_set(err, -ENOMEM, "out of memory");

	if (ret == 0) {
		add_find(&find);
		*r = (struct removal){
			.service = SERVICE,
			.is_ours = f->ours[0] && !strcmp(f->ours, d->socket),
			.find = find.p ? find.p : "",
			.with_service = "",
			.method = "bdev_nvme_detach_controller",
			.has = has_bdev,
			.names = names,
			.let_go = plan_reset,
		};
		d->plan.failed |= find.failed;
		ret = f->is_running ? remove_from_target(d, f, r, err)
				    : removal_plan_stopped(d, r, err);
	}
	strbuf_fini(&find);
	free(f);
	free(r);
	return ret;
}

const struct backend backend_spdk = {.look = look, .look_away = look_away};
