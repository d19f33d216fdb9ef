/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl: looks at and changes a store from the command line.  One
 * thread.  Here: finding the command, its options, printing what it gathered.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "cmd/ctl.h"
#include "deploy/table.h"
#include "deploy/tool.h"
#include "proto/frame.h"

static const struct ctl_command *const commands[] = {
	&ctl_status, &ctl_segments, &ctl_pool,	 &ctl_ls,
	&ctl_get,    &ctl_put,	    &ctl_rm,	 &ctl_target,
	&ctl_key,    &ctl_tls_key,  &ctl_doctor, &ctl_journal,
};

static const char help_head[] = CTL_NAME
	" - looks at and changes a Mooncake store\n\n"
	"Usage: " CTL_NAME " [--master=HOST:PORT] COMMAND [options] …\n\n"
	"Commands:\n";
static const char help_tail[] =
	"\nWhat asks the master takes --master=HOST:PORT (or the environment\n"
	"variable MOONCAKE_MASTER; 127.0.0.1:50051 when neither is given), "
	"--json\n"
	"and --timeout. '" CTL_NAME " COMMAND --help' says more.\n\n"
	"Examples:\n"
	"  " CTL_NAME " status\n"
	"  " CTL_NAME " --master=10.0.0.1 segments\n"
	"  " CTL_NAME " put greeting hello.txt && " CTL_NAME " get greeting\n"
	"  " CTL_NAME " ls model/ --limit=20\n"
	"  " CTL_NAME " rm --regex '^model/'\n\n"
	"Exit status: 0 when all went well, 1 when not, 2 for wrong options.\n";

int ctl_call(struct ctl *ctl, uint16_t method, const ProtobufCMessage *req,
	     const ProtobufCMessage **rsp, struct err *err)
{
	return rpc_sync_call(ctl->master, method, req, rsp, err);
}

int ctl_print_json(struct ctl *ctl, json_t *root, struct err *err)
{
	char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_ENCODE_ANY)
			  : NULL;

	json_decref(root);
	if (!text)
		return err_set(err, -ENOMEM,
			       "the answer can't be written as "
			       "JSON");
	strbuf_adds(&ctl->out, text);
	strbuf_addc(&ctl->out, '\n');
	free(text);
	return 0;
}

void ctl_add_key(struct strbuf *out, struct str key)
{
	json_t *text = json_stringn(key.p, key.n); /* NULL: no UTF-8 */

	for (size_t i = 0; i < key.n; i++) {
		unsigned char c = (unsigned char)key.p[i];

		if (c < 0x20 || c == 0x7f || c == '\\' || (c >= 0x80 && !text))
			strbuf_addf(out, "\\x%02x", c);
		else
			strbuf_addc(out, (char)c);
	}
	json_decref(text);
}

int ctl_check_key(const char *key, struct err *err)
{
	size_t n = strlen(key);

	if (n >= 1 && n <= KEY_LEN_MAX)
		return 0;
	return err_set(err, -EINVAL,
		       "a key has 1 to %d bytes, '%.20s%s' has %zu",
		       KEY_LEN_MAX, key, n > 20 ? "…" : "", n);
}

static void print_help(FILE *file)
{
	fputs(help_head, file);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(file, "  %-14s %s\n",
			commands[i]->prog.name + strlen(CTL_NAME) + 1,
			commands[i]->prog.summary);
	fputs(help_tail, file);
}

/* Index of the command in argv, 0 when there is none. */
static int command_index(int argc, char **argv)
{
	static const char *const with_value[] = {"master",
						 "master_server_address",
						 "master-server-address",
						 "timeout",
						 "admin",
						 "config",
						 "endpoint",
						 "discover",
						 "rpc_socket",
						 "rpc-socket"};

	for (int i = 1; i < argc; i++) {
		const char *name = argv[i];

		if (name[0] != '-')
			return i;
		name += 1 + (name[1] == '-');
		for (size_t k = 0; k < ARRAY_SIZE(with_value); k++) {
			if (strcmp(name, with_value[k]) == 0) {
				i++;
				break;
			}
		}
	}
	return 0;
}

static const struct ctl_command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i]->prog.name + strlen(CTL_NAME) + 1,
			   name) == 0)
			return commands[i];
	}
	return NULL;
}

static bool is_option(const char *arg, const char *name)
{
	return arg[0] == '-' && strcmp(arg + 1 + (arg[1] == '-'), name) == 0;
}

static int without_command(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (is_option(argv[i], "help") || is_option(argv[i], "h")) {
			print_help(stdout);
			return 0;
		}
		if (is_option(argv[i], "version")) {
			printf(CTL_NAME " %s\n", mooncake_version);
			return 0;
		}
	}
	if (argc > 1)
		fprintf(stderr,
			CTL_NAME ": no command behind '%s'\n"
				 "Try '" CTL_NAME " --help'.\n",
			argv[1]);
	else
		print_help(stderr);
	return 2;
}

static int run_command(const struct ctl_command *command, int argc, char **argv)
{
	struct ctl ctl = {0};
	struct flag_set fs;
	struct err err = {0};
	int status, ret = 0;

	if (flag_main(&fs, &command->prog, &ctl.config, argc, argv, &status))
		return status;
	ctl.args = &fs.args;
	if (command->check && command->check(&ctl.config, &err)) {
		fprintf(stderr, "%s: %s\n", command->prog.name, err.text);
		flag_fini(&fs);
		return 2;
	}
	if (!command->is_without_master)
		ret = rpc_sync_dial(ctl.config.master,
				    (uint32_t)ctl.config.timeout_ms,
				    &ctl.master, &err);
	if (ret == 0)
		ret = command->run(&ctl, &err);
	term_status(NULL);
	if (ctl.out.n)
		fwrite(ctl.out.p, 1, ctl.out.n, stdout);
	if (fflush(stdout) && ret >= 0)
		ret = err_set(&err, -errno, "cannot write the output: %s",
			      strerror(errno));
	if (ret < 0)
		fprintf(stderr, "%s: %s\n", command->prog.name, err.text);
	rpc_sync_close(ctl.master);
	strbuf_fini(&ctl.out);
	flag_fini(&fs);
	return ret != 0;
}

int main(int argc, char **argv)
{
	int at = command_index(argc, argv);
	const struct ctl_command *command;
	bool is_help;

	log_set_name(CTL_NAME);
	log_level_max = LOG_ERROR; /* answers are sentences of ours */
	if (!at)
		return without_command(argc, argv);
	is_help = strcmp(argv[at], "help") == 0;
	if (is_help && at + 1 == argc) {
		print_help(stdout);
		return 0;
	}
	command = find_command(argv[at + is_help]);
	if (!command) {
		fprintf(stderr,
			CTL_NAME ": there is no command '%.40s'; try '" CTL_NAME
				 " --help'\n",
			argv[at + is_help]);
		return 2;
	}
	if (is_help) {
		char help[] = "--help", *words[] = {argv[0], help};

		return run_command(command, 2, words);
	}
	/* Options may stand before the command as well as behind it. */
	memmove(argv + at, argv + at + 1, (size_t)(argc - at) * sizeof(*argv));
	return run_command(command, argc - 1, argv);
}
