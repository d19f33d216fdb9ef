/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One script gathers what the kernel there knows about the disk, a second one
 * sends its head and tail.  The caller's thread.  Invariant: a disk is FREE or
 * OURS only after both have been judged; what can't be read is not free.
 */
#include "deploy/disk.h"

#include <errno.h>
#include <stdio.h>

#include "base/base64.h"
#include "deploy/limit.h"

/*
 * Prints key=value lines.  A mount or swap is found by device number, so that
 * names (by-id, mapper) don't matter; partitions of the disk count as it.
 */
static const char look_script[] =
	"set -u\n"
	"[ -e \"$d\" ] || { echo state=absent; exit 0; }\n"
	"r=$(readlink -f -- \"$d\")\n"
	"exported() {\n"
	"  for f in /sys/kernel/config/nvmet/subsystems/*/namespaces/*/"
	"device_path; do [ -e \"$f\" ] || continue\n"
	"    [ \"$(readlink -f -- \"$(cat \"$f\")\")\" != \"$r\" ] ||\n"
	"    echo 'use=exported by the Linux kernel target (nvmet)'; done; }\n"
	/* Who has it open for writing; who only reads (udev) is no obstacle. */
	"writer() {\n"
	"  w=$(ls -l /proc/[0-9]*/fd 2>/dev/null | r=$r awk '\n"
	"    /^\\/proc\\// { split($0, p, \"/\"); next }\n"
	"    /^l.w/ && (at = index($0, \" -> \")) &&\n"
	"      substr($0, at + 4) == ENVIRON[\"r\"] { print p[3]; exit }')\n"
	"  [ -z \"$w\" ] || echo \"use=open for writing in $(cat "
	"/proc/$w/comm) (process $w)\"; }\n"
	"if [ -f \"$r\" ]; then\n"
	"  echo kind=file; echo bytes=$(stat -c %s -- \"$r\"); echo "
	"block=4096\n"
	"  for l in $(losetup -nO NAME -j \"$r\" 2>/dev/null); do\n"
	"    echo \"use=behind the loop device $l\"; done\n"
	"  exported; writer; exit 0\n"
	"fi\n"
	"[ -b \"$r\" ] || { echo state=odd; exit 0; }\n"
	"n=${r##*/}; s=/sys/class/block/$n\n"
	"echo kind=block; echo \"name=$n\"\n"
	"echo bytes=$(($(cat $s/size) * 512)); echo read_only=$(cat $s/ro)\n"
	"q=$s/queue; [ -d $q ] || q=$s/../queue\n"
	"echo block=$(cat $q/logical_block_size)\n"
	"[ ! -e $s/partition ] || echo 'use=a partition of another disk'\n"
	"c=$(readlink -f $s/device/device 2>/dev/null || :)\n"
	"case ${c##*/} in *:*:*.*) echo \"pci=${c##*/}\";; esac\n"
	"devs=$(cat $s/dev)\n"
	"for h in $s/holders/*; do\n"
	"  [ ! -e \"$h\" ] || echo \"use=a member of ${h##*/}\"; done\n"
	"for p in $s/*/partition; do\n"
	"  [ -e \"$p\" ] || continue\n"
	"  p=${p%/partition}; echo \"use=partitioned (${p##*/})\"\n"
	"  devs=\"$devs $(cat $p/dev)\"; done\n"
	"for v in $devs; do while read -r _ _ v2 _ m _; do\n"
	"  [ \"$v\" != \"$v2\" ] || echo \"use=mounted on $m\"\n"
	"done </proc/self/mountinfo; done\n"
	"while read -r w _; do\n"
	"  [ \"$(readlink -f -- \"$w\")\" != \"$r\" ] || echo use=swap\n"
	"done </proc/swaps\n"
	"exported; writer\n"
	/* What the kernel holds without a trace above (a mounted Btrfs, an
	 * imported ZFS pool) can't be opened exclusively; -n writes nothing. */
	"! command -v wipefs >/dev/null || case $(LC_ALL=C wipefs -an -- "
	"\"$r\" 2>&1) in\n"
	"  *busy*) echo 'use=held by something in the kernel there';; esac\n"
	"exit 0\n";

const char *disk_state_text(enum disk_state state)
{
	static const char *const texts[] = {
		[DISK_FREE] = "free",	    [DISK_OURS] = "pool disk",
		[DISK_FOREIGN] = "foreign", [DISK_IN_USE] = "in use",
		[DISK_ABSENT] = "absent",
	};

	return texts[state];
}

static void copy(char *to, size_t size, struct str from)
{
	snprintf(to, size, STR_FMT, (int)MIN(from.n, size - 1), from.p);
}

static void take_fact(struct disk *d, struct str key, struct str value)
{
	uint64_t n = 0;

	str_to_u64(value, &n);
	if (str_eq(key, STR("state"))) {
		d->state = str_eq(value, STR("absent")) ? DISK_ABSENT
							: DISK_IN_USE;
		if (d->state == DISK_IN_USE)
			copy(d->why, sizeof(d->why),
			     STR("neither a block device nor a file"));
	} else if (str_eq(key, STR("use")) && d->state != DISK_IN_USE) {
		d->state = DISK_IN_USE; /* the first reason is the one told */
		copy(d->why, sizeof(d->why), value);
	} else if (str_eq(key, STR("kind"))) {
		d->is_block = str_eq(value, STR("block"));
	} else if (str_eq(key, STR("name"))) {
		copy(d->name, sizeof(d->name), value);
	} else if (str_eq(key, STR("pci"))) {
		copy(d->pci, sizeof(d->pci), value);
	} else if (str_eq(key, STR("bytes"))) {
		d->bytes = n;
	} else if (str_eq(key, STR("block"))) {
		d->block_bytes = (uint32_t)n;
	} else if (str_eq(key, STR("read_only"))) {
		d->is_read_only = n != 0;
	}
}

/* Runs script there as root, with the path in $d. */
static int run_on(struct remote *r, const struct disk *d, const char *script,
		  struct remote_result *res, struct err *err)
{
	struct strbuf text = {0};
	int ret;

	strbuf_adds(&text, "d=");
	shell_quote(&text, d->path);
	strbuf_addf(&text, "\n%s", script);
	ret = text.failed ? err_set(err, -ENOMEM, "out of memory")
			  : remote_run(r,
				       &(struct remote_cmd){
					       .script = text.p,
					       .as_root = true,
					       .timeout_ms = LIMIT_DISK_MS,
				       },
				       res, err);
	strbuf_fini(&text);
	if (ret == 0 && res->status)
		ret = err_set(err, -EREMOTEIO,
			      "%s: can't look at %.100s: " STR_FMT,
			      remote_host(r), d->path,
			      (int)MIN(res->errors.n, (size_t)100),
			      res->errors.p ? res->errors.p : "");
	return ret;
}

static int gather(struct remote *r, struct disk *d, struct err *err)
{
	struct remote_result res = {0};
	int ret = run_on(r, d, look_script, &res, err);
	struct str rest = strbuf_str(&res.out);

	while (ret == 0 && rest.n) {
		struct str line = str_cut(rest, '\n', &rest), value;
		struct str key = str_cut(line, '=', &value);

		take_fact(d, key, value);
	}
	remote_result_fini(&res);
	return ret;
}

/* What lies from off on, as much as a judge wants to see. */
static int fetch(struct remote *r, const struct disk *d, uint64_t off,
		 struct strbuf *out, struct err *err)
{
	struct remote_result res = {0};
	char script[200];
	int ret;

	snprintf(script, sizeof(script),
		 "set -e\ntail -c +%llu -- \"$d\" | head -c %u | base64\n",
		 (unsigned long long)off + 1, LABEL_HEAD_BYTES);
	ret = run_on(r, d, script, &res, err);
	if (ret == 0 && base64_decode(out, strbuf_str(&res.out)))
		ret = err_set(err, -EPROTO, "%s: %.100s could not be read",
			      remote_host(r), d->path);
	remote_result_fini(&res);
	return ret;
}

static void judge(struct disk *d, const struct strbuf *head,
		  const struct strbuf *tail)
{
	struct err ignored = {0};
	char what[128] = "";

	switch (label_judge((const uint8_t *)head->p, head->n,
			    (const uint8_t *)tail->p, tail->n, what)) {
	case LABEL_EMPTY:
		d->state = DISK_FREE;
		break;
	case LABEL_OURS:
		d->state = DISK_OURS;
		sb_decode((const uint8_t *)head->p, &d->sb, &ignored);
		snprintf(d->why, sizeof(d->why), "data of the pool '%.100s'",
			 d->sb.cluster_id);
		break;
	case LABEL_FOREIGN:
		d->state = DISK_FOREIGN;
		snprintf(d->why, sizeof(d->why), "holds %s", what);
		break;
	}
}

static int read_and_judge(struct remote *r, struct disk *d, struct err *err)
{
	uint64_t tail_bytes = MIN((uint64_t)LABEL_TAIL_BYTES, d->bytes);
	struct strbuf head = {0}, tail = {0};
	int ret = fetch(r, d, 0, &head, err);

	if (ret == 0)
		ret = fetch(r, d, d->bytes - tail_bytes, &tail, err);
	/* A disk that gives less than it has is not judged by what it gave. */
	if (ret == 0 && (head.n != MIN((uint64_t)LABEL_HEAD_BYTES, d->bytes) ||
			 tail.n != tail_bytes || head.failed || tail.failed))
		ret = err_set(err, -EIO,
			      "%s: only %zu and %zu bytes of %.100s could be "
			      "read",
			      remote_host(r), head.n, tail.n, d->path);
	if (ret == 0)
		judge(d, &head, &tail);
	strbuf_fini(&head);
	strbuf_fini(&tail);
	return ret;
}

int disk_look(struct remote *r, const char *path, struct disk *out,
	      struct err *err)
{
	int ret;

	*out = (struct disk){.state = DISK_FREE};
	snprintf(out->path, sizeof(out->path), "%s", path);
	if (path[0] != '/' || strlen(path) >= sizeof(out->path))
		return err_set(err, -EINVAL,
			       "'%.100s' is no absolute path of a disk or file",
			       path);
	ret = gather(r, out, err);
	if (ret || out->state != DISK_FREE)
		return ret;
	if (out->bytes < POOL_DATA_OFFSET + MiB) {
		out->state = DISK_IN_USE;
		snprintf(out->why, sizeof(out->why),
			 "has %llu bytes only: too small for a pool",
			 (unsigned long long)out->bytes);
		return 0;
	}
	return read_and_judge(r, out, err);
}
