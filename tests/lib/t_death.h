/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Death tests: the body runs in a child, whose stderr is kept, and must end
 * by abort().
 *
 *	assert_non_null(strstr(t_death(fn, arg), "what it said"));
 */
#ifndef T_DEATH_H
#define T_DEATH_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Returns what the child said, or "" when it did not die of SIGABRT. */
static inline const char *t_death(void (*fn)(void *arg), void *arg)
{
	static char said[8192];
	size_t n = 0;
	ssize_t got;
	int fds[2], status;
	pid_t pid;

	if (pipe(fds) < 0)
		return "";
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		/* No core file, and the default action of abort(). */
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		signal(SIGABRT, SIG_DFL);
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		fn(arg);
		_exit(0);
	}
	close(fds[1]);
	while (n < sizeof(said) - 1 &&
	       (got = read(fds[0], said + n, sizeof(said) - 1 - n)) > 0)
		n += (size_t)got;
	said[n] = '\0';
	close(fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return "";
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? said : "";
}

#endif
