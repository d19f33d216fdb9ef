/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a password.  The main thread, before others are started.
 * Invariants: the terminal echoes again whatever happens; what was read is
 * nowhere but in the text that is handed out.
 */
#include "deploy/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define SECRET_MAX 1024

/* The first line; all that was read is overwritten. */
static int keep(char *text, size_t size, char **out, struct err *err)
{
	int ret = 0;

	text[strcspn(text, "\r\n")] = '\0';
	if (!text[0])
		ret = err_set(err, -EINVAL, "the password is empty");
	else if (!(*out = strdup(text)))
		ret = err_set(err, -ENOMEM, "out of memory");
	explicit_bzero(text, size);
	return ret;
}

static int read_file(const char *path, char **out, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char text[SECRET_MAX + 1];
	struct stat st;
	ssize_t n;
	int ret;

	if (fd < 0)
		return err_set(err, -errno, "password file %.150s: %s", path,
			       strerror(errno));
	ret = fstat(fd, &st) ? -errno : 0;
	if (ret == 0 && !S_ISREG(st.st_mode))
		ret = err_set(err, -EINVAL,
			      "password file %.150s is no regular file", path);
	if (ret == 0 && (st.st_mode & 077))
		ret = err_set(err, -EINVAL,
			      "password file %.100s can be read by others "
			      "(mode %03o): chmod 600 %.60s",
			      path, st.st_mode & 0777, path);
	n = ret ? 0 : read(fd, text, SECRET_MAX);
	close(fd);
	if (ret)
		return ret;
	if (n < 0)
		return err_set(err, -EIO, "password file %.150s can't be read",
			       path);
	text[n] = '\0';
	return keep(text, sizeof(text), out, err);
}

static int ask(const char *prompt, char **out, struct err *err)
{
	FILE *tty = fopen("/dev/tty", "r+e");
	struct termios old, quiet;
	sigset_t all, before;
	char text[SECRET_MAX];
	bool ok;

	if (!tty || tcgetattr(fileno(tty), &old)) {
		if (tty)
			fclose(tty);
		return err_set(err, -ENOTTY,
			       "there is no terminal to ask for the password: "
			       "use --password_file");
	}
	setvbuf(tty, NULL, _IONBF, 0); /* a buffer would keep it */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before); /* a Ctrl-C waits */
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(fileno(tty), TCSAFLUSH, &quiet);
	fprintf(tty, "%s: ", prompt);
	fflush(tty);
	ok = fgets(text, sizeof(text), tty) != NULL;
	fprintf(tty, "\n");
	tcsetattr(fileno(tty), TCSAFLUSH, &old);
	sigprocmask(SIG_SETMASK, &before, NULL);
	fclose(tty);
	if (!ok)
		return err_set(err, -EINVAL, "no password was entered");
	return keep(text, sizeof(text), out, err);
}

int secret_read(const struct secret_source *source, const char *prompt,
		char **out, struct err *err)
{
	char text[SECRET_MAX];

	*out = NULL;
	if (!!source->text + !!source->file + source->is_asked > 1)
		return err_set(err, -EINVAL,
			       "one of --password_file, --ask_password and "
			       "--password, not several");
	if (source->file)
		return read_file(source->file, out, err);
	if (source->is_asked)
		return ask(prompt, out, err);
	if (!source->text)
		return 0;
	fprintf(stderr, "warning: --password can be read by everybody on this "
			"machine; use --password_file or --ask_password\n");
	snprintf(text, sizeof(text), "%s", source->text);
	return keep(text, sizeof(text), out, err);
}

void secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}
