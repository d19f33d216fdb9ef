/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and ending ssh.  Any thread, one per process.  Invariant: the
 * password is in no argument list and in no file with a name: ssh calls this
 * program back (SSH_ASKPASS), which reads it from a memory file of ours.
 */
#include "deploy/sshproc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "deploy/askpass.h"

#define ARGS_MAX      40
#define ARG_TEXT_MAX  320
#define END_MS	      2000  /* for ssh to end by itself */
#define ASK_MS	      20000 /* for ssh to answer by itself */
#define ALIVE_OPTIONS "-oServerAliveInterval=5", "-oServerAliveCountMax=3"

/* argv of "sh -c 'exec COMMAND "$@"' ssh ARG …" */
struct argv {
	char *items[ARGS_MAX + 1];
	char texts[ARGS_MAX][ARG_TEXT_MAX];
	unsigned count;
};

static void arg(struct argv *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void arg(struct argv *a, const char *fmt, ...)
{
	va_list ap;

	ASSERT(a->count < ARGS_MAX);
	va_start(ap, fmt);
	vsnprintf(a->texts[a->count], ARG_TEXT_MAX, fmt, ap);
	va_end(ap);
	a->items[a->count] = a->texts[a->count];
	a->count++;
}

static void add_command(struct argv *a)
{
	const char *command = getenv("MOONCAKE_SSH_COMMAND");

	if (command && command[0]) {
		arg(a, "/bin/sh");
		arg(a, "-c");
		arg(a, "exec %s \"$@\"", command);
	}
	arg(a, "ssh");
}

static void add_options(struct argv *a, const struct remote_opts *opts,
			uint32_t connect_ms)
{
	static const char *const fixed[] = {
		"-T",
		"-x",
		ALIVE_OPTIONS,
		"-oEscapeChar=none",
		"-oPermitLocalCommand=no",
	};

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		arg(a, "%s", fixed[i]);
	arg(a, "-oConnectTimeout=%u", MAX((connect_ms + 999) / 1000, 1u));
	if (opts->password) {
		arg(a, "-oNumberOfPasswordPrompts=1");
		arg(a, "-oStrictHostKeyChecking=yes");
	} else {
		arg(a, "-oBatchMode=yes");
	}
	if (opts->user)
		arg(a, "-l%s", opts->user);
	if (opts->port)
		arg(a, "-p%u", opts->port);
	if (opts->key_file)
		arg(a, "-i%s", opts->key_file);
}

static int check_opts(const struct remote_opts *opts, struct err *err)
{
	/* A host that looks like an option would be taken for one. */
	if (!opts->host[0] || opts->host[0] == '-' ||
	    strlen(opts->host) >= ARG_TEXT_MAX ||
	    strcspn(opts->host, " \t\r\n'\"\\;&|<>$`") != strlen(opts->host))
		return err_set(err, -EINVAL, "'%.100s' is no name of a host",
			       opts->host);
	if (opts->user &&
	    (!opts->user[0] || opts->user[0] == '-' || strlen(opts->user) > 64))
		return err_set(err, -EINVAL, "'%.64s' is no name of a user",
			       opts->user);
	if (opts->key_file && strlen(opts->key_file) > ARG_TEXT_MAX - 4)
		return err_set(err, -EINVAL,
			       "the key file's path is longer "
			       "than %d bytes",
			       ARG_TEXT_MAX - 4);
	if (opts->password && (strlen(opts->password) >= ASKPASS_MAX ||
			       strchr(opts->password, '\n')))
		return err_set(err, -EINVAL,
			       "the password is longer than %d bytes or has "
			       "several lines",
			       ASKPASS_MAX - 1);
	return 0;
}

/* --- the password --- */

static int secret_open(const char *password)
{
	size_t n = strlen(password);
	int fd = memfd_create("askpass", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, password, n) != (ssize_t)n) {
		close(fd);
		return -1;
	}
	return fd;
}

#define ENV_TEXTS    4
#define ENV_TEXT_MAX (ASKPASS_WHO_LEN + 32)
struct env_texts {
	char items[ENV_TEXTS][ENV_TEXT_MAX];
};

/* Environment of the child: ours, and how to ask. */
static char **child_env(const struct sshproc *proc, struct env_texts *t)
{
	extern char **environ;
	size_t n = 0, k = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + ENV_TEXTS + 1, sizeof(*env));
	if (!env)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "SSH_ASKPASS", 11))
			env[k++] = environ[i];
	if (proc->secret >= 0) {
		char who[ASKPASS_WHO_LEN];

		askpass_who_format(&proc->who, who);
		snprintf(t->items[0], ENV_TEXT_MAX,
			 ASKPASS_ENV "=/proc/%d/fd/%d", (int)getpid(),
			 proc->secret);
		snprintf(t->items[1], ENV_TEXT_MAX, "SSH_ASKPASS=/proc/%d/exe",
			 (int)getpid());
		snprintf(t->items[2], ENV_TEXT_MAX,
			 "SSH_ASKPASS_REQUIRE=force");
		snprintf(t->items[3], ENV_TEXT_MAX, ASKPASS_WHO_ENV "=%s", who);
		for (int i = 0; i < ENV_TEXTS; i++)
			env[k++] = t->items[i];
	}
	return env;
}

/* --- the process --- */

static void close_pair(int fds[2])
{
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* Between fork and exec only what is async-signal-safe. */
__attribute__((noreturn)) static void child(char *const *argv, char **env,
					    const int fds[3])
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setpgid(0, 0); /* a Ctrl-C is for us, who then clean up */
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			_exit(127);
	execvpe(argv[0], argv, env);
	_exit(127);
}

static int spawn(struct sshproc *proc, const struct argv *a, struct err *err)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1}, errs[2] = {-1, -1};
	struct env_texts texts;
	char **env = child_env(proc, &texts);
	int ret = 0;

	if (!env || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) ||
	    pipe2(errs, O_CLOEXEC))
		ret = env ? -errno : -ENOMEM;
	proc->pid = ret ? 0 : fork();
	if (proc->pid == 0 && !ret)
		child(a->items, env, (int[3]){in[0], out[1], errs[1]});
	if (proc->pid < 0) {
		ret = -errno;
		proc->pid = 0;
	}
	free(env);
	if (ret) {
		close_pair(in);
		close_pair(out);
		close_pair(errs);
		return err_set(err, ret, "can't start ssh: %s", strerror(-ret));
	}
	close(in[0]);
	close(out[1]);
	close(errs[1]);
	proc->in = in[1];
	proc->out = out[0];
	proc->err = errs[0];
	fcntl(proc->in, F_SETFL, O_NONBLOCK);
	fcntl(proc->out, F_SETFL, O_NONBLOCK);
	fcntl(proc->err, F_SETFL, O_NONBLOCK);
	return 0;
}

static void close_fds(struct sshproc *proc)
{
	int *fds[] = {&proc->in, &proc->out, &proc->err, &proc->secret};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

void sshproc_kill(struct sshproc *proc)
{
	if (proc->pid > 0)
		kill(-proc->pid, SIGKILL);
}

void sshproc_end(struct sshproc *proc)
{
	uint64_t until_ns = time_mono_ns() + END_MS * NS_PER_MS;

	close_fds(proc);
	while (proc->pid > 0 && waitpid(proc->pid, NULL, WNOHANG) == 0) {
		if (time_mono_ns() >= until_ns)
			sshproc_kill(proc);
		poll(NULL, 0, 5);
	}
	proc->pid = 0;
}

/* What ssh says on stdout or stderr until it ends, which it does by itself. */
static void hear(const struct argv *a, bool is_err, struct strbuf *text)
{
	struct sshproc ask = SSHPROC_NONE;
	uint64_t until_ns = time_mono_ns() + ASK_MS * NS_PER_MS;
	struct err ignored = {0};
	char part[4096];
	ssize_t n = 1;

	if (spawn(&ask, a, &ignored) == 0) {
		struct pollfd p = {is_err ? ask.err : ask.out, POLLIN, 0};

		close(ask.in);
		ask.in = -1;
		while (n && time_mono_ns() < until_ns && text->n < 65536) {
			n = poll(&p, 1, 100) > 0
				    ? read(p.fd, part, sizeof(part))
				    : -1;
			strbuf_add(text, part, n > 0 ? (size_t)n : 0);
		}
		if (n)
			sshproc_kill(&ask);
	}
	sshproc_end(&ask);
}

/* Whom will ssh ask for the password of?  Its configuration knows: -G prints
 * it.  Another command in its place may not: then the name that was given. */
static void find_who(struct sshproc *proc, const struct remote_opts *opts,
		     struct argv *a)
{
	struct strbuf text = {0};

	snprintf(proc->who.user, sizeof(proc->who.user), "%s",
		 opts->user ? opts->user : "");
	snprintf(proc->who.host, sizeof(proc->who.host), "%s", opts->host);
	add_command(a);
	add_options(a, opts, ASK_MS);
	arg(a, "-G");
	arg(a, "--");
	arg(a, "%s", opts->host);
	hear(a, false, &text);
	askpass_who_parse(strbuf_str(&text), &proc->who);
	strbuf_fini(&text);
	*a = (struct argv){0};
}

/* A password is for an ssh that says whose question it answers. */
static int check_version(const struct remote_opts *opts, struct argv *a,
			 struct err *err)
{
	struct strbuf text = {0};
	char name[ASKPASS_SSH_LEN];
	bool is_told;

	add_command(a);
	arg(a, "-V");
	hear(a, true, &text);
	is_told = askpass_is_told(strbuf_str(&text), name);
	strbuf_fini(&text);
	*a = (struct argv){0};
	if (is_told)
		return 0;
	return err_set(err, -ENOTSUP,
		       "%s: no password is given to %s%s, which does not say "
		       "who asks for it: OpenSSH does from 8.5 on; or use "
		       "--key_file or an agent",
		       opts->host, name[0] ? "the ssh here, " : "this ssh",
		       name);
}

/* Command and options; begin() and run() around what is wanted. */
static int begin(struct sshproc *proc, const struct remote_opts *opts,
		 uint32_t connect_ms, struct argv **out, struct err *err)
{
	struct argv *a;
	int ret = check_opts(opts, err);

	*proc = SSHPROC_NONE;
	*out = NULL;
	if (ret)
		return ret;
	a = calloc(1, sizeof(*a));
	if (!a)
		return err_set(err, -ENOMEM, "out of memory");
	*out = a;
	if (opts->password) {
		ret = check_version(opts, a, err);
		if (ret)
			return ret;
		find_who(proc, opts, a);
		proc->secret = secret_open(opts->password);
	}
	if (opts->password && proc->secret < 0)
		return err_set(err, -ENOMEM, "no memory for the password");
	add_command(a);
	add_options(a, opts, connect_ms);
	return 0;
}

int sshproc_start(struct sshproc *proc, const struct remote_opts *opts,
		  uint32_t connect_ms, struct err *err)
{
	struct argv *a;
	int ret = begin(proc, opts, connect_ms, &a, err);

	if (ret == 0) {
		arg(a, "-oClearAllForwardings=yes");
		arg(a, "--");
		arg(a, "%s", opts->host);
		arg(a, "exec sh -s");
		ret = spawn(proc, a, err);
	}
	free(a);
	return ret;
}

int sshproc_master(struct sshproc *proc, const struct remote_opts *opts,
		   const char *control, struct err *err)
{
	struct argv *a;
	int ret = begin(proc, opts, opts->connect_ms, &a, err);

	if (ret == 0) {
		/* What is refused is told on stderr. */
		arg(a, "-oLogLevel=INFO");
		arg(a, "-oStreamLocalBindMask=0177");
		/* Those of the configuration, which are not ours to open; ours
		 * would go with them if it were named here. */
		arg(a, "-oClearAllForwardings=yes");
		arg(a, "-oControlMaster=yes");
		arg(a, "-oControlPersist=no");
		arg(a, "-oControlPath=%s", control);
		arg(a, "--");
		arg(a, "%s", opts->host);
		arg(a, "exec cat >/dev/null");
		ret = spawn(proc, a, err);
	}
	free(a);
	return ret;
}

void sshproc_forward(const struct remote_opts *opts, const char *control,
		     const char *path, const char *there)
{
	struct argv *a = calloc(1, sizeof(*a));
	struct strbuf ignored = {0};

	if (!a)
		return;
	add_command(a);
	/* The configuration has nothing to add to that. */
	arg(a, "-F/dev/null");
	arg(a, "-S%s", control);
	arg(a, "-Oforward");
	arg(a, "-L%s:%s", path, there);
	arg(a, "--");
	arg(a, "%s", opts->host);
	hear(a, true, &ignored);
	strbuf_fini(&ignored);
	free(a);
}
