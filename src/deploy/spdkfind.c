/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets are told apart by their JSON-RPC sockets: no two that run have the
 * same.  The caller's thread.  Invariant: without a name one is taken only when
 * there is no other.
 */
#include "deploy/spdkfind.h"

#include <errno.h>
#include <stdio.h>

/* SPDK gives its process the name of the thread on its first core, so the
 * program is told by its command. */
const char spdk_targets[] =
	"targets() { for i in $(pgrep -x nvmf_tgt; "
	"pgrep -x 'reactor_[0-9]+'); do\n"
	"  tr '\\0' '\\n' <\"/proc/$i/cmdline\" 2>/dev/null | {\n"
	"    s=" SPDK_SOCKET "; n=; prev=\n"
	"    while IFS= read -r a; do\n"
	"      case $a in nvmf_tgt|*/nvmf_tgt) n=1;;\n"
	"      --rpc-socket=*) s=${a#*=};; -r?*) s=${a#-r};; esac\n"
	"      case $prev in -r|--rpc-socket) s=$a;; esac; prev=$a; done\n"
	"    case $s in /*) ;; *) s=$(readlink \"/proc/$i/cwd\")/$s;; esac\n"
	"    [ -z \"$n\" ] || echo \"$i $s\"; }; done; }\n";

static int none(struct remote *remote, const struct node *node, struct err *err)
{
	const char *host = remote_host(remote);

	if (node->rpc_socket[0])
		return err_set(err, -ENOENT, "%s: no nvmf_tgt there has %s",
			       host, node->rpc_socket);
	return err_set(err, -ENOENT, "%s: no nvmf_tgt runs there", host);
}

static int several(struct remote *remote, struct str lines, struct err *err)
{
	struct strbuf names = {0};

	while (lines.n) {
		struct str line = str_cut(lines, '\n', &lines), socket;
		struct str pid = str_cut(line, ' ', &socket);

		strbuf_addf(&names, "%s" STR_FMT " (process " STR_FMT ")",
			    names.n ? ", " : "", STR_ARG(socket), STR_ARG(pid));
	}
	err_set(err, -ENOTUNIQ,
		"%s: several nvmf_tgt run there, with the sockets %.150s; "
		"rpc_socket:PATH says which",
		remote_host(remote), names.p ? names.p : "");
	strbuf_fini(&names);
	return -ENOTUNIQ;
}

static int choose(struct remote *remote, const struct node *node,
		  struct str lines, char out[108], struct err *err)
{
	struct str rest = lines;
	size_t found = 0;

	while (rest.n) {
		struct str line = str_cut(rest, '\n', &rest), socket;

		str_cut(line, ' ', &socket);
		/* Anybody there may call a process so and give it a socket of
		 * his choice, and scripts of root's will name it. */
		if (!node_is_socket(socket) || socket.n >= 108 ||
		    (node->rpc_socket[0] &&
		     !str_eq(socket, str_of(node->rpc_socket))))
			continue;
		if (found && !str_eq(socket, str_of(out)))
			return several(remote, lines, err);
		snprintf(out, 108, STR_FMT, STR_ARG(socket));
		found++;
	}
	return found ? 0 : none(remote, node, err);
}

int spdk_socket(struct remote *remote, const struct node *node, char out[108],
		struct err *err)
{
	struct remote_result res = {0};
	struct strbuf script = {0};
	int ret = -ENOMEM;

	strbuf_addf(&script, "%stargets\n", spdk_targets);
	if (script.failed)
		err_set(err, ret, "out of memory");
	else
		ret = remote_run(remote,
				 &(struct remote_cmd){
					 .script = script.p,
					 .as_root = true,
				 },
				 &res, err);
	if (ret == 0)
		ret = choose(remote, node, str_trim(strbuf_str(&res.out)), out,
			     err);
	remote_result_fini(&res);
	strbuf_fini(&script);
	return ret;
}
