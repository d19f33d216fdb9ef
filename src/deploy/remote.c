/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session: an ssh child whose remote side is a shell that reads commands
 * from its stdin.  The thread that opened it.  Invariant: between two calls
 * the shell waits for a command; otherwise is_broken is set and nothing more
 * is sent.
 *
 * A command is framed by a here-document with a random end mark, so that its
 * text may hold anything, and followed by "mark status" on stdout and a mark
 * on stderr.
 */
#include "deploy/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/rand.h"
#include "base/time.h"
#include "deploy/askpass.h"
#include "deploy/forward.h"
#include "deploy/limit.h"
#include "deploy/sshproc.h"

#define SCRIPT_MAX ((size_t)96 << 10)
#define FILE_CHUNK ((size_t)48 << 10) /* of base64 in one script */
#define MARK_LEN   24
#define READ_BYTES 16384
#define SAID_MAX   200 /* bytes of stderr that fit into a sentence */

struct remote {
	struct sshproc proc;
	struct remote_opts opts;
	char host[256];
	char user[64];	/* there */
	char shell[48]; /* process and start time of the session's shell */
	uint32_t command_ms;
	bool is_root;
	bool is_broken;
	bool has_no_forward;	 /* it was tried */
	struct forward *forward; /* or NULL */
	struct rng rng;
};

/* What comes back on one of the two descriptors. */
struct side {
	int fd;
	struct strbuf *out;
	size_t max;
	const char *mark;
	bool is_done;
	bool is_tail; /* keeps the last bytes, not the first */
};

void remote_result_fini(struct remote_result *res)
{
	strbuf_fini(&res->out);
	strbuf_fini(&res->errors);
	res->status = 0;
}

const char *remote_host(const struct remote *r)
{
	return r->host;
}

static const char *find_mark(const struct strbuf *sb, const char *mark)
{
	return sb->n ? memmem(sb->p, sb->n, mark, strlen(mark)) : NULL;
}

/* The end of what was said on stderr, on one line. */
static void said(const struct strbuf *errors, char out[SAID_MAX])
{
	struct str s = str_trim(strbuf_str(errors));
	const char *refusal = find_mark(errors, ASKPASS_SAYS);
	size_t n;

	/* The cause of all that follows it. */
	if (refusal)
		s = (struct str){refusal, MIN(strcspn(refusal, "\r\n"),
					      (size_t)SAID_MAX - 1)};
	if (s.n >= SAID_MAX)
		s = (struct str){s.p + s.n - (SAID_MAX - 1), SAID_MAX - 1};
	for (n = 0; n < s.n; n++)
		out[n] = (unsigned char)s.p[n] < ' ' ? ' ' : s.p[n];
	out[n] = '\0';
}

/* --- reading --- */

static void keep_tail(struct side *side)
{
	size_t cut;

	if (side->out->n <= 2 * side->max)
		return;
	cut = side->out->n - side->max;
	memmove(side->out->p, side->out->p + cut, side->max + 1);
	side->out->n = side->max;
}

/* 0, -EPIPE at the end, -E2BIG. */
static int side_read(struct side *side)
{
	char buf[READ_BYTES];
	ssize_t n = read(side->fd, buf, sizeof(buf));
	const char *mark;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	strbuf_add(side->out, buf, (size_t)n);
	if (side->out->failed)
		return -ENOMEM;
	mark = find_mark(side->out, side->mark);
	/* The whole line, so that the status is there. */
	side->is_done =
		mark && memchr(mark, '\n',
			       (size_t)(side->out->p + side->out->n - mark));
	if (side->is_tail)
		keep_tail(side);
	else if (side->out->n > side->max)
		return -E2BIG;
	return 0;
}

static int wait_ms(uint64_t deadline_ns)
{
	uint64_t now = time_mono_ns();

	if (now >= deadline_ns)
		return 0;
	return (int)MIN((deadline_ns - now) / NS_PER_MS + 1, (uint64_t)3600000);
}

static int sides_read(struct side sides[2], uint64_t deadline_ns)
{
	while (!sides[0].is_done || !sides[1].is_done) {
		struct pollfd p[2] = {{sides[0].fd, POLLIN, 0},
				      {sides[1].fd, POLLIN, 0}};
		int ms = wait_ms(deadline_ns), ret = 0;

		if (ms == 0)
			return -ETIMEDOUT;
		if (poll(p, 2, ms) < 0 && errno != EINTR)
			return -errno;
		/* stderr first, then stdout's last words. */
		for (int i = 1; i >= 0; i--) {
			int one = p[i].revents ? side_read(&sides[i]) : 0;

			ret = ret ? ret : one;
		}
		if (ret)
			return ret;
	}
	return 0;
}

/* --- writing --- */

static int write_all(struct remote *r, const struct strbuf *text,
		     uint64_t deadline_ns)
{
	size_t done = 0;

	while (done < text->n) {
		struct pollfd p = {r->proc.in, POLLOUT, 0};
		int ms = wait_ms(deadline_ns);
		ssize_t n;

		if (ms == 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, ms) < 0 && errno != EINTR)
			return -errno;
		n = write(r->proc.in, text->p + done, text->n - done);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static void new_mark(struct remote *r, char mark[MARK_LEN])
{
	snprintf(mark, MARK_LEN, "MOONCAKE%015" PRIX64, rng_u64(&r->rng) >> 4);
}

static uint32_t time_limit(const struct remote *r, const struct remote_cmd *cmd)
{
	uint32_t ms = cmd->timeout_ms ? cmd->timeout_ms : LIMIT_LOOK_MS;

	if (r->command_ms)
		ms = r->command_ms;
	return cmd->is_undo ? MAX(ms, LIMIT_UNDO_MS) : ms;
}

static void frame(struct strbuf *out, const struct remote *r,
		  const struct remote_cmd *cmd, const char *mark)
{
	bool sudo = cmd->as_root && !r->is_root;

	/* By its stdin, because everybody there can read its arguments. */
	strbuf_addf(out, "%ssh -c 'eval \"$(cat)\" </dev/null' <<'%s'\n",
		    sudo ? "sudo -n -- " : "", mark);
	strbuf_addf(out, "limit_s=%u\n", limit_inner_s(time_limit(r, cmd)));
	strbuf_adds(out, cmd->script);
	strbuf_addf(out, "\n%s\n", mark);
	strbuf_addf(out, "printf '\\n%s %%d\\n' \"$?\"\n", mark);
	strbuf_addf(out, "printf '\\n%s\\n' >&2\n", mark);
}

/* Cuts the mark off and reads the status behind it. */
static int take_status(struct remote_result *res, const char *mark)
{
	const char *at = find_mark(&res->out, mark);
	const char *end = find_mark(&res->errors, mark);
	struct str rest;
	uint64_t status;

	if (!at)
		return -EPROTO;
	rest = (struct str){at + strlen(mark),
			    strcspn(at + strlen(mark), "\n")};
	if (str_to_u64(str_trim(rest), &status) || status > 255)
		return -EPROTO;
	res->status = (int)status;
	res->out.n = (size_t)(at - res->out.p);
	res->out.n -= res->out.n > 0; /* the newline in front of the mark */
	res->out.p[res->out.n] = '\0';
	if (end) {
		res->errors.n = (size_t)(end - res->errors.p);
		res->errors.n -= res->errors.n > 0;
		res->errors.p[res->errors.n] = '\0';
	}
	return 0;
}

static int explain(struct remote *r, const struct remote_cmd *cmd, int ret,
		   const struct remote_result *res, struct err *err)
{
	char why[SAID_MAX];

	said(&res->errors, why);
	if (ret == -ETIMEDOUT)
		return err_set(err, ret, "%s: no answer within %u s", r->host,
			       (time_limit(r, cmd) + 999) / 1000);
	if (ret == -E2BIG)
		return err_set(err, ret,
			       "%s: the answer is longer than %zu "
			       "bytes",
			       r->host, REMOTE_OUT_MAX);
	return err_set(err, ret, "%s: the connection was lost%s%s", r->host,
		       why[0] ? ": " : "", why);
}

int remote_run(struct remote *r, const struct remote_cmd *cmd,
	       struct remote_result *res, struct err *err)
{
	uint64_t deadline_ns = time_mono_ns() + time_limit(r, cmd) * NS_PER_MS;
	struct strbuf text = {.is_secret = true}; /* there may be keys in it */
	struct side sides[2] = {
		{.fd = r->proc.out, .out = &res->out, .max = REMOTE_OUT_MAX},
		{.fd = r->proc.err,
		 .out = &res->errors,
		 .max = REMOTE_ERRORS_MAX,
		 .is_tail = true},
	};
	char mark[MARK_LEN];
	int ret;

	ASSERT(strlen(cmd->script) <= SCRIPT_MAX);
	*res = (struct remote_result){0};
	if (r->is_broken)
		return err_set(err, -EPIPE, "%s: the session is closed",
			       r->host);
	new_mark(r, mark);
	sides[0].mark = sides[1].mark = mark;
	frame(&text, r, cmd, mark);
	ret = text.failed ? -ENOMEM : write_all(r, &text, deadline_ns);
	if (ret == 0 || ret == -EPIPE) /* stderr says why */
		ret = sides_read(sides, deadline_ns);
	if (ret == 0)
		ret = take_status(res, mark);
	strbuf_fini(&text);
	if (ret == 0)
		return 0;
	r->is_broken = true;
	sshproc_kill(&r->proc);
	return explain(r, cmd, ret, res, err);
}

int remote_must(struct remote *r, const char *what,
		const struct remote_cmd *cmd, struct err *err)
{
	struct remote_result res;
	struct err cause = {0};
	size_t host_n = strlen(r->host);
	char why[SAID_MAX];
	int ret = remote_run(r, cmd, &res, &cause);

	if (ret == 0 && res.status) {
		said(&res.errors, why);
		ret = err_set(err, -EREMOTEIO, "%s: can't %s: %s", r->host,
			      what, why[0] ? why : "the command failed");
	} else if (ret < 0) { /* cause begins with the host, too */
		err_set(err, ret, "%s: can't %.80s%s", r->host, what,
			strlen(cause.text) > host_n ? cause.text + host_n : "");
	}
	remote_result_fini(&res);
	return ret;
}

/* --- files --- */

static int write_part(struct remote *r, const struct remote_file *file,
		      size_t at, struct err *err)
{
	size_t n = MIN(file->len - at, FILE_CHUNK);
	struct strbuf script = {.is_secret = true}, name = {0};
	int ret;

	strbuf_addf(&name, "%s" REMOTE_NEW, file->path);
	strbuf_addf(&script, "set -e\numask 077\nbase64 -d %s ",
		    at ? ">>" : ">");
	shell_quote(&script, name.p ? name.p : "");
	strbuf_adds(&script, " <<'END'\n");
	base64_encode(&script, (const uint8_t *)file->data + at, n, true);
	strbuf_adds(&script, "\nEND\n");
	if (at + n == file->len) {
		strbuf_addf(&script, "chmod %o ", file->mode);
		shell_quote(&script, name.p ? name.p : "");
		strbuf_adds(&script, "\nsync ");
		shell_quote(&script, name.p ? name.p : "");
		strbuf_adds(&script, "\nmv -f ");
		shell_quote(&script, name.p ? name.p : "");
		strbuf_addc(&script, ' ');
		shell_quote(&script, file->path);
		strbuf_addc(&script, '\n');
	}
	if (script.failed || name.failed)
		ret = err_set(err, -ENOMEM, "out of memory");
	else
		ret = remote_must(r, "write a file",
				  &(struct remote_cmd){
					  .script = script.p,
					  .as_root = file->as_root,
					  .timeout_ms = file->timeout_ms,
				  },
				  err);
	strbuf_fini(&script);
	strbuf_fini(&name);
	return ret;
}

int remote_write(struct remote *r, const struct remote_file *file,
		 struct err *err)
{
	size_t at = 0;
	int ret;

	do {
		ret = write_part(r, file, at, err);
		at += FILE_CHUNK;
	} while (ret == 0 && at < file->len);
	return ret;
}

/* --- opening and closing --- */

/* One line that is found among what a login prints. */
#define HELLO "mooncake-hello "
static const char hello_script[] = "echo " HELLO "$(id -u) $(id -un) $PPID "
				   "$(cut -d' ' -f22 /proc/$PPID/stat)\n";

static void take_word(struct str *rest, char *out, size_t size, char end)
{
	struct str word = str_cut(*rest, end, rest);

	snprintf(out, size, STR_FMT, (int)MIN(word.n, size - 1), word.p);
}

static void take_hello(struct remote *r, const struct strbuf *out)
{
	const char *at = find_mark(out, HELLO);
	struct str rest;

	if (!at)
		return;
	at += strlen(HELLO);
	rest = (struct str){at, (size_t)(out->p + out->n - at)};
	r->is_root = str_eq(str_cut(rest, ' ', &rest), STR("0"));
	take_word(&rest, r->user, sizeof(r->user), ' ');
	take_word(&rest, r->shell, sizeof(r->shell), '\n');
}

/* Who are we there?  Its answer also proves that the shell works. */
static int hello(struct remote *r, uint32_t ms, struct err *err)
{
	struct remote_result res;
	struct err cause = {0};
	char why[SAID_MAX], heard[SAID_MAX];
	size_t bytes;
	int ret = remote_run(
		r,
		&(struct remote_cmd){.script = hello_script, .timeout_ms = ms},
		&res, &cause);

	if (ret == 0)
		take_hello(r, &res.out);
	said(&res.errors, why);
	said(&res.out, heard);
	bytes = res.out.n;
	remote_result_fini(&res);
	if (ret == 0)
		return 0;
	if (ret == -ETIMEDOUT)
		return err_set(err, ret,
			       "%s: no shell over ssh within %u s%s%s", r->host,
			       (ms + 999) / 1000, why[0] ? ": " : "", why);
	if (strstr(why, "ermission denied") || strstr(why, "erification") ||
	    strstr(why, ASKPASS_SAYS))
		ret = -EACCES;
	else
		ret = -EHOSTUNREACH;
	if (bytes && !why[0])
		return err_set(err, ret,
			       "%s: no shell over ssh: it said %zu bytes, the "
			       "last of them \"%.60s\"",
			       r->host, bytes, heard);
	return err_set(err, ret, "%s: %s%s", r->host,
		       strncmp(why, "ssh: ", 5) == 0 ? "" : "ssh: ",
		       why[0] ? why : "closed without a word");
}

static int start(struct remote *r, struct err *err)
{
	uint32_t ms = r->opts.connect_ms ? r->opts.connect_ms : LIMIT_LOGIN_MS;
	int ret = sshproc_start(&r->proc, &r->opts, ms, err);

	r->is_broken = false;
	r->command_ms = 0;
	if (ret == 0)
		ret = hello(r, ms, err);
	r->command_ms = r->opts.command_ms;
	return ret;
}

bool remote_is_broken(const struct remote *r)
{
	return r->is_broken;
}

struct forward *remote_forward(struct remote *r, const char *there)
{
	if (r->forward && strcmp(forward_there(r->forward), there)) {
		forward_close(r->forward);
		r->forward = NULL;
	}
	if (!r->forward && !r->has_no_forward)
		r->has_no_forward =
			forward_open(&r->opts, there, &r->forward) != 0;
	return r->forward;
}

void remote_give_up_forward(struct remote *r)
{
	forward_close(r->forward);
	r->forward = NULL;
	r->has_no_forward = true;
}

/* Ends the processes that descend from the shell $p, which began at $t; its
 * number may be somebody else's by now.  Status 3 and a list: they stay. */
static const char end_script[] =
	"kids() { for c in $(cat /proc/$1/task/*/children 2>/dev/null); do\n"
	"  kids $c; echo $c; done; }\n"
	"[ \"$(cut -d' ' -f22 /proc/$p/stat 2>/dev/null)\" = \"$t\" ] || exit "
	"0\n"
	"k=\"$(kids $p) $p\"; i=0\n"
	"kill -KILL $k 2>/dev/null\n"
	"while :; do\n"
	"  l=\n"
	"  for c in $k; do\n"
	"    s=$(cut -d' ' -f2,3 /proc/$c/stat 2>/dev/null)\n"
	"    case $s in ''|*Z) ;; *) l=\"$l $c ${s% *}\";; esac; done\n"
	"  [ -n \"$l\" ] || exit 0\n"
	"  i=$((i + 1)); [ $i -lt 50 ] || { echo \"$l\"; exit 3; }\n"
	"  sleep 0.1\ndone\n";

static void end_what_is_left(struct remote *r, const char *shell,
			     struct err *err)
{
	struct strbuf script = {0};
	struct remote_result res;
	struct err ignored = {0};
	struct str start, pid = str_cut(str_of(shell), ' ', &start);
	uint64_t n;

	if (str_to_u64(pid, &n) || str_to_u64(start, &n))
		return;
	strbuf_addf(&script, "p=" STR_FMT " t=" STR_FMT "\n%s", STR_ARG(pid),
		    STR_ARG(start), end_script);
	if (!script.failed &&
	    remote_run(r,
		       &(struct remote_cmd){
			       .script = script.p,
			       .as_root = true,
		       },
		       &res, &ignored) == 0 &&
	    res.status == 3)
		err_add(err, "; still running there:" STR_FMT,
			(int)MIN(res.out.n, (size_t)40), res.out.p);
	remote_result_fini(&res);
	strbuf_fini(&script);
}

void remote_recover(struct remote *r, struct err *err)
{
	char shell[sizeof(r->shell)];
	struct err why = {0};

	memcpy(shell, r->shell, sizeof(shell));
	remote_give_up_forward(r);
	sshproc_end(&r->proc);
	if (start(r, &why))
		err_add(err, "; no way back to it");
	else
		end_what_is_left(r, shell, err);
}

int remote_check_root(struct remote *r, struct err *err)
{
	struct remote_result res = {0};
	char why[SAID_MAX];
	int ret;

	if (r->is_root)
		return 0;
	ret = remote_run(r,
			 &(struct remote_cmd){.script = ":", .as_root = true},
			 &res, err);
	said(&res.errors, why);
	if (ret == 0 && res.status)
		ret = err_set(err, -EPERM,
			      "%s: the user %s is not root there, and sudo "
			      "does not let it (%.90s); log in as root, or "
			      "allow sudo without a password",
			      r->host, r->user, why);
	remote_result_fini(&res);
	return ret;
}

int remote_open(const struct remote_opts *opts, struct remote **out,
		struct err *err)
{
	struct remote *r = calloc(1, sizeof(*r));
	int ret;

	*out = NULL;
	if (!r)
		return err_set(err, -ENOMEM, "out of memory");
	snprintf(r->host, sizeof(r->host), "%s", opts->host);
	r->opts = *opts;
	rng_seed(&r->rng, time_wall_ns() ^ (uintptr_t)r);
	ret = start(r, err);
	if (ret) {
		remote_close(r);
		return ret;
	}
	*out = r;
	return 0;
}

void remote_close(struct remote *r)
{
	if (!r)
		return;
	forward_close(r->forward);
	sshproc_end(&r->proc);
	free(r);
}
