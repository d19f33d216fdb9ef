/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A POSIX shell on another host, over the operator's own OpenSSH client: their
 * configuration, agent, jump hosts and known hosts apply.  Commands run one
 * after another in one session; every wait has a deadline.
 *
 * One remote belongs to one thread; several may be used at the same time.
 * MOONCAKE_SSH_COMMAND replaces "ssh" (words of a shell command, as
 * GIT_SSH_COMMAND does).
 */
#ifndef DEPLOY_REMOTE_H
#define DEPLOY_REMOTE_H

#include "base/err.h"
#include "deploy/shell.h"

struct remote;

/* Texts must live as long as the remote. */
struct remote_opts {
	const char *host;     /* name, address or alias of ssh_config */
	const char *user;     /* NULL = ssh's choice */
	uint16_t port;	      /* 0 = ssh's choice */
	const char *key_file; /* NULL = ssh's choice */
	/* NULL = keys and agents only, no prompt.  Never on a command line of
	 * ours: ssh asks this program for it (remote_askpass()). */
	const char *password;
	uint32_t connect_ms; /* to a working shell */
	uint32_t command_ms; /* for each command, 0 = what it asks for */
};

/*
 * 0; -EHOSTUNREACH ssh could not connect; -EACCES refused (key, password, host
 * key); -ETIMEDOUT.  err says which host, and what ssh said.
 */
int remote_open(const struct remote_opts *opts, struct remote **out,
		struct err *err);
/* Closes the session; what runs there is sent a hang-up.  NULL is fine. */
void remote_close(struct remote *r);
const char *remote_host(const struct remote *r);
/*
 * After a failure: a new session in place of the lost one, and what the lost
 * one has left running there is ended.  What can't be ended, or that there is
 * no way back, is added to err's sentence.
 */
void remote_recover(struct remote *r, struct err *err);
/* 0 when commands can be run as root; -EPERM with what sudo says. */
int remote_check_root(struct remote *r, struct err *err);
/* Something failed, and nothing can be run any more. */
bool remote_is_broken(const struct remote *r);
/* A socket there, forwarded to here; opened when first asked for.  NULL: there
 * is no way, nor will there be for this session. */
struct forward *remote_forward(struct remote *r, const char *there);
/* It has turned out to be of no use. */
void remote_give_up_forward(struct remote *r);

struct remote_result {
	int status; /* of the script: 0 to 255 */
	struct strbuf out;
	struct strbuf errors; /* its stderr, the last REMOTE_ERRORS_MAX bytes */
};
#define REMOTE_OUT_MAX	  ((size_t)16 << 20)
#define REMOTE_ERRORS_MAX ((size_t)8 << 10)
void remote_result_fini(struct remote_result *res);

/*
 * Runs the text of a POSIX shell script (at most 96 KiB; stdin is /dev/null)
 * and waits for its end; the script finds in $limit_s how many seconds it may
 * wait itself.  as_root: by "sudo -n" when the user is not root. 0 when it ran,
 * whatever its status; -ETIMEDOUT: it is still running there and the session is
 * closed; -EPIPE: the connection was lost.  After a failure the remote is only
 * good for remote_recover() and remote_close().
 */
struct remote_cmd {
	const char *script;
	bool as_root;
	uint32_t timeout_ms;
	bool is_undo; /* has LIMIT_UNDO_MS at least */
};
int remote_run(struct remote *r, const struct remote_cmd *cmd,
	       struct remote_result *res, struct err *err);
/* As remote_run, and -EREMOTEIO with what it wrote to stderr when the status
 * is not 0.  what: for the sentence, "load the module nvmet". */
int remote_must(struct remote *r, const char *what,
		const struct remote_cmd *cmd, struct err *err);
/* Writes a file there: to a temporary name (path and this), fsync, then
 * rename. */
#define REMOTE_NEW ".mooncake-new"
struct remote_file {
	const char *path;
	const void *data;
	size_t len;
	unsigned mode;
	bool as_root;
	uint32_t timeout_ms;
};
int remote_write(struct remote *r, const struct remote_file *file,
		 struct err *err);
/* main() of programs that open remotes calls this first: true when ssh has
 * started the program to ask for a password, which has been answered then. */
bool remote_askpass(int argc, char **argv, int *exit_status);

#endif
