/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plan: the steps that bring one host from what it is to what is wanted.
 * Built from facts, shown to people or as JSON, then applied step by step;
 * when one fails, those that were done are undone in reverse order.
 */
#ifndef DEPLOY_PLAN_H
#define DEPLOY_PLAN_H

#include <jansson.h>

#include "deploy/fleet.h"
#include "deploy/remote.h"

enum step_kind {
	STEP_SCRIPT, /* a shell script there, as root */
	STEP_RPC,    /* a JSON-RPC call to the target there */
	STEP_FILE,   /* a file written there, as root */
	STEP_COPY,   /* a file of this machine copied there, as root */
};

struct step {
	enum step_kind kind;
	char *title;	/* "create the subsystem nqn.…": for people */
	char *text;	/* script, method, or the file's path */
	json_t *params; /* of the method */
	char *data;	/* of the file, text */
	unsigned mode;	/* of the file */
	uint32_t timeout_ms, undo_ms;
	/* How it is taken back: a script, then a method with parameters.  NULL:
	 * there is nothing to take back. */
	char *undo_script, *undo_method;
	json_t *undo_params;
	char *settle_script; /* run when all is well, or NULL */
	bool is_secret;	     /* data is shown to nobody */
	bool is_unsure;	     /* its answer was lost: it may be done or not */
};

struct plan {
	struct step *steps;
	size_t count, cap;
	struct strbuf notes; /* lines: what was found, what was left as it is */
	bool failed;	     /* out of memory while it was built */
	bool is_one_way;     /* what it does is not taken back */
};

void plan_fini(struct plan *plan);
/* A line for people. */
void plan_note(struct plan *plan, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Texts are copied, params are taken over.  Out of memory sets failed, which
 * plan_apply() tells. */
struct step *plan_script(struct plan *plan, const char *title,
			 const char *script, const char *undo_script);
struct step *plan_rpc(struct plan *plan, const char *title, const char *method,
		      json_t *params);
void step_undo_rpc(struct plan *plan, struct step *step, const char *method,
		   json_t *params);
/* What was there before is kept beside it until plan_settle(), and comes back
 * when the step is taken back; what was not there is removed then. */
#define PLAN_OLD ".mooncake-old"
struct step *plan_file(struct plan *plan, const char *title, const char *path,
		       const char *data, unsigned mode);
struct step *plan_copy(struct plan *plan, const char *title, const char *path,
		       const char *local, unsigned mode);
/* One more line of its undo script; another one in its place. */
void step_undo_add(struct plan *plan, struct step *step, const char *line);
void step_undo_script(struct plan *plan, struct step *step, const char *script);
void step_settle_script(struct plan *plan, struct step *step,
			const char *script);

/* "host: nothing to do", or numbered steps; scripts only with is_verbose. */
void plan_format(const struct plan *plan, const char *host, bool is_verbose,
		 struct strbuf *out);
json_t *plan_json(const struct plan *plan, const char *host);

struct plan_target {
	struct remote *remote;
	const char *socket;	 /* of the target's JSON-RPC */
	const char *tree;	 /* SPDK's there, or NULL */
	bool is_forgetful;	 /* it keeps nothing when it ends */
	struct fleet_host *host; /* shows progress; may be NULL */
};
/*
 * Applies the steps from *done on and moves *done.  0, or the failed step's
 * error: then all steps, also those of earlier calls, have been taken back and
 * *done is 0; err says step and cause, and what could not be taken back (then
 * the host is not as it was).  Stops between steps when fleet_is_stopping().
 */
int plan_apply(const struct plan *plan, size_t *done,
	       const struct plan_target *target, struct err *err);
/* Takes back the *done first steps and adds to err's sentence how it went. */
void plan_undo(const struct plan *plan, size_t *done,
	       const struct plan_target *target, struct err *err);
/* All is well: forgets what was kept for taking back.  Steps that were applied
 * can't be taken back any more. */
void plan_settle(const struct plan *plan, const struct plan_target *target);

#endif
