/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answering ssh's question for a password.  A process of its own that ssh
 * starts; pure but for remote_askpass().  Invariant: the password is written
 * only after a question that names the node itself.
 */
#include "deploy/askpass.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "deploy/remote.h"

/* --- who --- */

static void take(char *out, size_t size, struct str value)
{
	snprintf(out, size, STR_FMT, (int)MIN(value.n, size - 1), value.p);
}

void askpass_who_parse(struct str text, struct askpass_who *who)
{
	bool has_alias = false;

	while (text.n) {
		struct str line = str_cut(text, '\n', &text), value;
		struct str key = str_cut(line, ' ', &value);

		if (!value.n)
			continue;
		if (str_eq(key, STR("user"))) {
			take(who->user, sizeof(who->user), value);
		} else if (str_eq(key, STR("hostname"))) {
			if (!has_alias)
				take(who->host, sizeof(who->host), value);
		} else if (str_eq(key, STR("hostkeyalias"))) {
			has_alias = true;
			take(who->host, sizeof(who->host), value);
		}
	}
}

void askpass_who_format(const struct askpass_who *who,
			char out[ASKPASS_WHO_LEN])
{
	snprintf(out, ASKPASS_WHO_LEN, "%s@%s", who->user, who->host);
}

void askpass_who_read(const char *text, struct askpass_who *who)
{
	struct str host, user = str_cut(str_of(text), '@', &host);

	*who = (struct askpass_who){0};
	if (!host.p)
		return;
	take(who->user, sizeof(who->user), user);
	take(who->host, sizeof(who->host), host);
}

/* OpenSSH has put the name before a server's question from 8.5 on.  Before, a
 * jump host could ask in the node's words (and before 8.4 this program would
 * not have been asked for certain). */
bool askpass_is_told(struct str version, char name[ASKPASS_SSH_LEN])
{
	unsigned major, minor;

	version = str_trim(version);
	snprintf(name, ASKPASS_SSH_LEN, STR_FMT,
		 (int)MIN(version.n, (size_t)ASKPASS_SSH_LEN - 1),
		 version.p ? version.p : "");
	name[strcspn(name, " ,\r\n")] = '\0';
	return sscanf(name, "OpenSSH_%4u.%4u", &major, &minor) == 2 &&
	       (major > 8 || (major == 8 && minor >= 5));
}

/* --- the question --- */

/* "USER@HOST", each cut as ssh cuts it. */
static bool is_name(const struct askpass_who *who, struct str name,
		    size_t user_max, size_t host_max)
{
	struct str host, user = str_cut(name, '@', &host);
	struct str want_user = str_of(who->user), want = str_of(who->host);

	want_user.n = MIN(want_user.n, user_max);
	want.n = MIN(want.n, host_max);
	return host.n && str_eq_nocase(host, want) &&
	       (!want_user.n || str_eq(user, want_user));
}

bool askpass_is_for(const struct askpass_who *who, const char *question)
{
	struct str text = str_of(question), rest, name;
	const char *end = strstr(question, "'s password: ");

	/* The server has part in what follows the name in brackets, so that
	 * only its beginning says who asks. */
	if (question[0] == '(') {
		name = str_cut((struct str){text.p + 1, text.n - 1}, ')',
			       &rest);
		return rest.n && is_name(who, name, SIZE_MAX, SIZE_MAX) &&
		       strcasestr(rest.p, "password");
	}
	return end && strcmp(end, "'s password: ") == 0 &&
	       is_name(who, (struct str){question, (size_t)(end - question)},
		       30, 128);
}

static int answer(const char *path)
{
	char text[ASKPASS_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = -EIO;
	ssize_t n = -1;

	if (fd >= 0) {
		n = pread(fd, text, sizeof(text), 0);
		close(fd);
	}
	if (n >= 0 && write(STDOUT_FILENO, text, (size_t)n) == n &&
	    write(STDOUT_FILENO, "\n", 1) == 1)
		ret = 0;
	explicit_bzero(text, sizeof(text));
	return ret;
}

/* One line, without what a server may have put into it. */
static void refuse(const struct askpass_who *who, const char *question)
{
	char asked[100];
	size_t n = 0;

	for (; question[n] && n < sizeof(asked) - 1; n++)
		asked[n] = question[n] < ' ' || question[n] > '~' ? '?'
								  : question[n];
	asked[n] = '\0';
	fprintf(stderr,
		ASKPASS_SAYS "%s%s%s only, and was not given to \"%s\": use a "
			     "key or an agent there\n",
		who->user, who->user[0] ? "@" : "", who->host, asked);
}

bool remote_askpass(int argc, char **argv, int *exit_status)
{
	const char *path = getenv(ASKPASS_ENV), *text = getenv(ASKPASS_WHO_ENV);
	struct askpass_who who;

	if (!path)
		return false;
	*exit_status = 1;
	if (argc < 2 || !text)
		return true;
	askpass_who_read(text, &who);
	if (askpass_is_for(&who, argv[1]))
		*exit_status = answer(path) ? 1 : 0;
	/* Host keys and the like are not asked for by mistake. */
	else if (strcasestr(argv[1], "password"))
		refuse(&who, argv[1]);
	return true;
}
