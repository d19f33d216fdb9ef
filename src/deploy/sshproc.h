/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ssh child itself: its command line, its three descriptors, its end.
 * Used by remote.c and by what forwards sockets.
 */
#ifndef DEPLOY_SSHPROC_H
#define DEPLOY_SSHPROC_H

#include <sys/types.h>

#include "deploy/askpass.h"
#include "deploy/remote.h"

struct sshproc {
	pid_t pid;		/* 0 = none */
	int in, out, err;	/* ours, non-blocking; -1 = none */
	int secret;		/* memory file with the password, -1 = none */
	struct askpass_who who; /* whose it is */
};

#define SSHPROC_NONE                                                           \
	((struct sshproc){.in = -1, .out = -1, .err = -1, .secret = -1})

/* A shell on opts->host that reads commands from in.  0, -EINVAL, -errno. */
int sshproc_start(struct sshproc *proc, const struct remote_opts *opts,
		  uint32_t connect_ms, struct err *err);
/* A login that forwards what it is asked to, at the socket control here.  It
 * ends with in, so also when we are killed. */
int sshproc_master(struct sshproc *proc, const struct remote_opts *opts,
		   const char *control, struct err *err);
/* Asks such a login to forward the Unix socket there to one at path here;
 * which is there then, or it has refused. */
void sshproc_forward(const struct remote_opts *opts, const char *control,
		     const char *path, const char *there);
/* After every start, also a failed one: closes the descriptors, so
 * that both sides end, and waits a little; then kills. */
void sshproc_end(struct sshproc *proc);
/* At once; sshproc_end() has still to be called. */
void sshproc_kill(struct sshproc *proc);

#endif
